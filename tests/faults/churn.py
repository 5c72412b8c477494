"""Steady churn: instances are created, changed and deleted around a level; a definition changes; a kind comes and goes.

The scenario samples the controller's memory all the time, and checks the line through the last two thirds. In the first
ten minutes, the controller still fills its bounded memories, such as that of the last 4,096 deleted children.
"""

from __future__ import annotations

import os
import random
import time
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from tests.faults.checks import slope
from tests.faults.site import Report, Site, family, names, pause, persistently, site
from tests.integration.cluster import config, eventually

_SAMPLE_S = 10
_DEFINITION_S = 30
_VISIT_S = 60
_CHANGES, _EXCHANGES, _VISITORS = 5, 2, 5
# A smaller growth per hour does not matter, because every rollout restarts the process.
_HARMLESS_MB = 1.0


@dataclass(slots=True)
class _Churn:
    place: Site
    rng: random.Random
    samples: list[tuple[float, float]] = field(default_factory=list)
    handles: list[tuple[int, int]] = field(default_factory=list)
    born: int = 0
    changed: int = 0
    gone: int = 0
    definitions: int = 0
    visits: int = 0

    def second(self, number: int) -> None:
        """The changes of one second of churn."""
        place = self.place
        if number % _SAMPLE_S == 0:
            self._sample()
        if number % _DEFINITION_S == _DEFINITION_S - 1:
            self._change_definition()
        if number % _VISIT_S == _VISIT_S // 4:
            self._arrive(f"Visitor{self.visits}")
        if number % _VISIT_S == _VISIT_S // 2:
            self._leave(f"Visitor{self.visits}")
            self.visits += 1
        for name in self.rng.sample(sorted(place.declared), _CHANGES):
            place.put(name, f"{self.rng.random()}")
        self.changed += _CHANGES
        for name in self.rng.sample(sorted(place.declared), _EXCHANGES):
            place.delete(name)
        self.gone += _EXCHANGES
        for _ in range(_EXCHANGES):
            place.put(f"n{self.born}", "new")
            self.born += 1

    def _sample(self) -> None:
        pid = self.place.controller.pid
        self.samples.append((time.monotonic(), _resident_mb(pid)))
        self.handles.append((len(os.listdir(f"/proc/{pid}/fd")), len(os.listdir(f"/proc/{pid}/task"))))

    def _change_definition(self) -> None:
        """Every other time, add a field with a new number in its description."""
        self.definitions += 1
        more = {"more": f'string | default="" description="{self.definitions}"'} if self.definitions % 2 else {}
        lab = self.place.lab
        changed = lab.definition(self.place.kind, family(), spec={"value": "string", **more})
        changed["metadata"]["annotations"] = {"kro.run/allow-breaking-changes": "true"}
        persistently(lambda: lab.cluster.apply(changed))

    def _arrive(self, kind: str) -> None:
        lab = self.place.lab
        persistently(lambda: lab.cluster.apply(lab.definition(kind, [config("v", data={"x": "y"})])))
        eventually(lambda: lab.read_definition(lab.definition_name(kind)).get("status", {}).get("state") == "Active")
        for name in names(_VISITORS):
            persistently(partial(lab.instance, kind, f"{kind.lower()}-{name}"))

    def _leave(self, kind: str) -> None:
        lab = self.place.lab
        for name in names(_VISITORS):
            path = lab.path(kind, f"{kind.lower()}-{name}")
            persistently(partial(lab.cluster.delete, path))
        path = lab.cluster.path("ResourceGraphDefinition", "", lab.definition_name(kind))
        persistently(partial(lab.cluster.delete, path))


def main(instances: int, seed: int, minutes: float) -> Report:
    report = Report("churn")
    with site(flags=("--allow-crd-deletion",)) as place:
        for name in names(instances):
            place.put(name, "first")
        place.settle(report, "before")
        pid, mark = place.controller.pid, place.mark()
        churn = _Churn(place, random.Random(seed))
        began = time.monotonic()
        for number in range(round(minutes * 60)):
            pause(max(0.0, began + number - time.monotonic()))
            churn.second(number)
            if number % 60 == 0:
                behind = len(persistently(place.unfinished))
                report.note(f"{churn.samples[-1][1]:.1f} MB, {churn.handles[-1][0]} files, behind: {behind}")
        took = time.monotonic() - began
        report.figure("converged after the last change", f"{place.settle(report, 'after churn'):.1f} s")
        place.check_creation(report)
        place.rest(report, "after churn")
        report.check("one process all the time", [] if place.controller.pid == pid else ["it was started again"])
        _figures(report, churn, took, calls=sum(c.user == place.user for c in place.calls(mark)))
    return report


def _figures(report: Report, churn: _Churn, took: float, *, calls: int) -> None:
    report.figure("time", f"{took / 60:.1f} min")
    report.figure("instances created, changed, deleted", f"{churn.born}, {churn.changed}, {churn.gone}")
    report.figure("definition changed; kinds come and gone", f"{churn.definitions}; {churn.visits}")
    report.figure("requests of the controller", calls)
    judged = churn.samples[len(churn.samples) // 3 :]
    files = [files for files, _ in churn.handles]
    threads = [threads for _, threads in churn.handles]
    report.figure("memory: first, start and end of what is judged, highest", _memory(churn.samples, judged))
    report.figure("open files: first, last, most", f"{files[0]}, {files[-1]}, {max(files)}")
    report.figure("threads: first, last, most", f"{threads[0]}, {threads[-1]}, {max(threads)}")
    found = slope(judged)
    text = f"{found.per_hour:+.2f} MB/h, standard error {found.error:.2f} ({len(judged)} samples)"
    report.figure("slope of the last two thirds", text + (", within noise" if found.is_noise else ""))
    harmless = found.is_noise or found.per_hour < _HARMLESS_MB
    report.check(f"memory rises within noise, or by less than {_HARMLESS_MB:g} MB/h", [] if harmless else [text])


def _memory(samples: list[tuple[float, float]], judged: list[tuple[float, float]]) -> str:
    values = (samples[0][1], judged[0][1], judged[-1][1], max(mb for _, mb in samples))
    return ", ".join(f"{mb:.1f}" for mb in values) + " MB"


def _resident_mb(pid: int) -> float:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    return 0.0
