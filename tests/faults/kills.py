"""kill -9 at random moments while instances are created, changed and deleted; the controller restarts at once."""

from __future__ import annotations

import random
from collections.abc import Callable
from functools import partial

from tests.faults.checks import chain_of, deleted_out_of_order, replaced
from tests.faults.site import Report, Site, Spread, names, pause, persistently, site

# How long a process lives.
_SHORTEST_S, _LONGEST_S = 0.5, 2.5


def main(instances: int, seed: int, kills: int = 30) -> Report:
    with site() as found:
        return run(found, instances=instances, seed=seed, kills=kills)


def run(place: Site, *, instances: int, seed: int, kills: int, rest_s: float = 10.0) -> Report:
    """A third of the kills in each phase, on a new site."""
    report = Report("kills")
    rng = random.Random(seed)
    wanted = names(instances)
    shares = [kills // 3 + (phase < kills % 3) for phase in range(3)]
    unfinished = _phase(place, report, "creation", shares[0], rng, [partial(place.put, name, "one") for name in wanted])
    place.check_creation(report)
    uids = place.uids()
    bystander = place.put_bystander(f"{wanted[0]}-b")
    place.rest(report, "after creation", seconds=rest_s)

    unfinished += _phase(place, report, "update", shares[1], rng, [partial(place.put, name, "two") for name in wanted])
    report.check("no child replaced by an update", replaced(uids, place.uids()))
    place.rest(report, "after update", seconds=rest_s)

    mark = place.mark()
    unfinished += _phase(place, report, "deletion", shares[2], rng, [partial(place.delete, name) for name in wanted])
    report.check("deletion order", deleted_out_of_order(place.here(mark), [chain_of(name) for name in wanted]))
    place.rest(report, "after deletion", seconds=rest_s)
    kept = place.lab.child("ConfigMap", "bystander").get("metadata", {})
    same = kept.get("resourceVersion") == bystander["metadata"]["resourceVersion"]
    report.check("a bystander with copied labels is untouched", [] if same else [kept])
    report.figure("kills", kills)
    report.figure("of them with something unfinished", sum(left > 0 for left in unfinished))
    report.figure("objects unfinished at a kill (median, most)", f"{_median(unfinished)}, {max(unfinished)}")
    return report


def _phase(
    place: Site, report: Report, what: str, kills: int, rng: random.Random, changes: list[Callable[[], None]]
) -> list[int]:
    """Make the changes while the controller is killed repeatedly; returns the unfinished work at each kill."""
    rng.shuffle(changes)
    lives = [rng.uniform(_SHORTEST_S, _LONGEST_S) for _ in range(kills)]
    found = []
    # Fast enough that there is always work left: a start takes a second.
    with Spread(changes, over_s=sum(lives) / 2):
        for life in lives:
            pause(life)
            place.controller.kill()
            place.controller.start()
            # A start takes longer than this.
            found.append(len(persistently(place.unfinished)))
    took = place.settle(report, f"after {what}")
    report.figure(f"converged after the last change and kill of {what}", f"{took:.1f} s")
    return found


def _median(numbers: list[int]) -> int:
    return sorted(numbers)[len(numbers) // 2]
