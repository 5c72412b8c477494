"""The API server is stopped for 20 s, once while instances are created and once while they are changed."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import partial

from tests.faults.checks import replaced
from tests.faults.site import Report, Site, Spread, names, pause, persistently, site

_OUTAGE_S = 20.0
_BEFORE_S, _OVER_S = 2.0, 6.0


def main(instances: int) -> Report:
    report = Report("outage")

    def away(place: Site) -> None:
        place.playground.stop("kube-apiserver")
        pause(_OUTAGE_S)
        place.playground.start("kube-apiserver")

    with site() as place:
        run(place, report, instances=instances, away=(away, away))
    return report


def run(place: Site, report: Report, *, instances: int, away: Sequence[Callable[[Site], None]]) -> None:
    """Create, then change the instances, with one interruption each; `away` returns when the server is back."""
    pid, wanted = place.controller.pid, names(instances)
    _interrupted(place, report, "creation", [partial(place.put, name, "one") for name in wanted], away[0])
    place.check_creation(report)
    uids = place.uids()
    _interrupted(place, report, "update", [partial(place.put, name, "two") for name in wanted], away[1])
    report.check("no child replaced by an update", replaced(uids, place.uids()))
    place.rest(report, "afterwards")
    survived = place.controller.is_running and place.controller.pid == pid
    report.check("the controller's process lives", [] if survived else [place.controller.tail()])


def _interrupted(
    place: Site, report: Report, what: str, changes: list[Callable[[], None]], away: Callable[[Site], None]
) -> None:
    with Spread(changes, over_s=_OVER_S) as changing:
        pause(_BEFORE_S)
        before = len(persistently(place.unfinished))
        if changing.is_done:
            report.note("all changes were made before the interruption")
        away(place)
        back = time.monotonic()
    accepted = time.monotonic() - back
    place.settle(report, f"after {what}")
    took = time.monotonic() - back
    report.figure(f"{what}: objects unfinished when it stopped", before)
    report.figure(f"{what}: from its return until the last change was accepted", f"{accepted:.1f} s")
    report.figure(f"{what}: from its return until everything was converged", f"{took:.1f} s")
