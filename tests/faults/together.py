"""A definition and its instances in one file, which `kubectl apply` sends until it succeeds, as users do."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

import yaml

from kroasync.playground import CommandError
from tests.faults.site import Report, Site, names, pause, site
from tests.integration.cluster import Lab

_INSTANCES = 20
_ATTEMPTS = 30
# The pause between two attempts of a user, or of the loop in a script.
_AGAIN_S = 1.0
_SERVER_SIDE = ("--server-side",)


def main() -> Report:
    report = Report("together")
    with site() as place:
        for number, (flags, first) in enumerate(
            (flags, first) for flags in ((), _SERVER_SIDE) for first in ("definition", "instances")
        ):
            _applied(place, report, number, flags, first)
    return report


def _applied(place: Site, report: Report, number: int, flags: tuple[str, ...], first: str) -> None:
    """One file with its own kind and namespace."""
    lab = Lab(place.cluster, namespace=f"together-{number}", group=place.lab.group, controller=place.controller)
    lab.open()
    here = Site(lab=lab, user=place.user, kind=f"Together{number}")
    what = f"kubectl apply {' '.join(flags)}".strip() + f", {first} first"
    definition, instances = [here.definition()], [here.instance(name, "one") for name in names(_INSTANCES)]
    objs = definition + instances if first == "definition" else instances + definition
    here.declared.update(dict.fromkeys(names(_INSTANCES), "one"))
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "all.yaml"
        file.write_text(yaml.safe_dump_all(objs))
        began = time.monotonic()
        attempts = 1
        while not _accepted(place, report, what, ("apply", "-f", str(file), *flags)):
            if attempts == _ATTEMPTS:
                report.check(f"{what}: accepted", [f"not within {attempts} attempts"])
                return
            pause(_AGAIN_S)
            attempts += 1
        accepted = time.monotonic() - began
    here.settle(report, what, within_s=60)
    took = time.monotonic() - began
    report.figure(what, f"accepted by attempt {attempts} after {accepted:.1f} s, all ACTIVE after {took:.1f} s")
    here.rest(report, what)


def _accepted(place: Site, report: Report, what: str, command: tuple[str, ...]) -> bool:
    try:
        place.playground.kubectl(*command)
    except CommandError as error:
        report.note(f"{what}: {str(error).splitlines()[-1][:150]}")
        return False
    return True
