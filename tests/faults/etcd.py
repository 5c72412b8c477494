"""etcd restarts during work: it is stopped gracefully for 5 s, and later killed."""

from __future__ import annotations

from tests.faults import outage
from tests.faults.site import Report, Site, pause, site

_OUTAGE_S = 5.0


def main(instances: int) -> Report:
    report = Report("etcd")
    with site() as place:
        outage.run(place, report, instances=instances, away=(_stopped, _killed))
    return report


def _stopped(place: Site) -> None:
    place.playground.stop("etcd")
    pause(_OUTAGE_S)
    place.playground.start("etcd")


def _killed(place: Site) -> None:
    place.playground.kill("etcd")
    pause(_OUTAGE_S)
    place.playground.start("etcd")
