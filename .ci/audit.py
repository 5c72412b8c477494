"""Audits what kroasync runs on: `make audit`.

First, without a network: every distribution in the closure of kroasync's dependencies, as installed, is listed in
dependencies.toml with its licences, and none is older than a version without a known vulnerability that concerns us.
Then pip-audit asks a public database about each of them; a vulnerability found is a failure. If no database answers for
every one of them the run says that they were NOT audited, and fails only if KROASYNC_AUDIT=required. Tools of
development are asked about too, and only reported.
"""

import json
import os
import re
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import Distribution, distribution, distributions
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name
from packaging.version import Version

FOLDER = Path(__file__).parent
LIST = FOLDER / "dependencies.toml"
PROJECT = FOLDER.parent / "pyproject.toml"
ROOT = "kroasync"
# PyPI's own advisories, then OSV's, which have the same and more.
SERVICES = ("pypi", "osv")
_ANSWER_S = "3"
_SERVICE_S = 20
_FAMILIES = {
    "AGPL": r"\bAGPL|Affero",
    "Apache": r"\bApache\b",
    "BSD": r"\bBSD\b",
    "GPL": r"\bGPL|(?<!Lesser )General Public License",
    "ISC": r"\bISC\b",
    "LGPL": r"\bLGPL|Lesser General Public License",
    "MIT": r"\bMIT\b",
    "MPL": r"\bMPL\b|Mozilla Public License",
    "PSF": r"\bPSF\b|Python Software Foundation",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """A vulnerability of an installed distribution."""

    package: str
    version: str
    id: str
    fixed: tuple[str, ...]

    def __str__(self) -> str:
        advice = f", fixed in {', '.join(self.fixed)}" if self.fixed else ""
        return f"{self.package} {self.version}: {self.id}{advice}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What one database said: `asked` are the packages it knows, `failure` why it said nothing at all."""

    asked: frozenset[str] = frozenset()
    findings: tuple[Finding, ...] = ()
    failure: str = ""


def closure(root: str = ROOT) -> dict[str, Distribution]:
    """Every installed distribution that `root` needs at run time, by normalised name, without `root` itself."""
    found: dict[str, Distribution] = {}
    seen: set[tuple[str, str]] = set()
    waiting: list[tuple[str, str]] = [(root, "")]
    while waiting:
        name, extra = waiting.pop()
        if (name, extra) in seen:
            continue
        seen.add((name, extra))
        found[canonicalize_name(name)] = dist = distribution(name)
        for text in dist.requires or ():
            requirement = Requirement(text)
            if requirement.marker is None or requirement.marker.evaluate({"extra": extra}):
                waiting += [(requirement.name, wanted) for wanted in ("", *requirement.extras)]
    del found[canonicalize_name(root)]
    return found


def licences_of(dist: Distribution) -> set[str]:
    """The licence families the metadata names; empty if it names none that is known."""
    expression, classifiers, text = (
        "\n".join(dist.metadata.get_all(field) or ()) for field in ("License-Expression", "Classifier", "License")
    )
    licences = [line for line in classifiers.splitlines() if line.startswith("License ::")]
    stated = expression or "\n".join(licences) or text.partition("\n")[0]
    return {family for family, pattern in _FAMILIES.items() if re.search(pattern, stated)}


def list_faults(listed: Mapping[str, Mapping[str, Any]], installed: Mapping[str, Distribution]) -> Iterator[str]:
    """How the list and what is installed disagree."""
    for name in sorted(installed.keys() - listed.keys()):
        by = sorted(n for n, dist in installed.items() if name in _required(dist)) or [ROOT]
        yield f"{name} {installed[name].version}: not listed; {', '.join(by)} brings it. Is it needed, and trusted?"
    for name, entry in listed.items():
        dist = installed.get(name)
        if dist is None:
            if "when" not in entry:
                yield f"{name}: listed, but nothing needs it any more"
            continue
        unknown = licences_of(dist) - set(entry["licences"])
        if unknown:
            yield f"{name} {dist.version}: licence {', '.join(sorted(unknown))} is not the one listed"
        floor = entry.get("floor")
        if floor and Version(dist.version) < Version(floor):
            yield f"{name} {dist.version}: older than {floor}, so it has {'; '.join(entry['advisories'])}"


def floor_faults(listed: Mapping[str, Mapping[str, Any]], declared: Iterable[str]) -> Iterator[str]:
    """Declared dependencies that allow a version below the listed floor."""
    for requirement in map(Requirement, declared):
        entry = listed.get(canonicalize_name(requirement.name), {})
        if "floor" in entry and not _excludes_below(requirement.specifier, Version(entry["floor"])):
            why = "; ".join(entry["advisories"])
            yield f"pyproject.toml: {requirement} allows versions below {entry['floor']}: {why}"


def _required(dist: Distribution) -> set[str]:
    return {canonicalize_name(Requirement(text).name) for text in dist.requires or ()}


def _excludes_below(specifiers: SpecifierSet, floor: Version) -> bool:
    bounds = [Version(s.version.removesuffix(".*")) for s in specifiers if s.operator in (">=", "==", "~=", ">", "===")]
    return any(bound >= floor for bound in bounds)


def ask(service: str, packages: Mapping[str, str]) -> Answer:
    """What a database knows of these versions."""
    with tempfile.TemporaryDirectory() as folder:
        requirements = Path(folder) / "requirements.txt"
        requirements.write_text("".join(f"{name}=={version}\n" for name, version in sorted(packages.items())))
        command = [
            *(sys.executable, "-m", "pip_audit", "--vulnerability-service", service, "--timeout", _ANSWER_S),
            *("--requirement", str(requirements), "--no-deps", "--disable-pip"),
            *("--format", "json", "--desc", "off", "--progress-spinner", "off", "--cache-dir", folder),
        ]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=_SERVICE_S, check=False)
        except subprocess.TimeoutExpired:
            return Answer(failure=f"no answer within {_SERVICE_S} s")
    return read_answer(done.stdout, done.stderr)


def read_answer(output: str, errors: str) -> Answer:
    """pip-audit's JSON; anything else is a failure, told by the last line of its errors."""
    try:
        entries = json.loads(output)["dependencies"]
    except (json.JSONDecodeError, KeyError, TypeError):
        lines = errors.strip().splitlines() or ["pip-audit said nothing"]
        return Answer(failure=lines[-1][:200])
    known = [entry for entry in entries if "skip_reason" not in entry]
    findings = [
        Finding(
            package=canonicalize_name(entry["name"]),
            version=entry["version"],
            id=found["id"],
            fixed=tuple(found.get("fix_versions") or ()),
        )
        for entry in known
        for found in entry.get("vulns") or ()
    ]
    return Answer(asked=frozenset(canonicalize_name(e["name"]) for e in known), findings=tuple(findings))


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What to tell of the databases' answers, and whether the run fails by it."""

    lines: tuple[str, ...]
    failed: bool


def judge(answers: Mapping[str, Answer], needed: frozenset[str], *, required: bool) -> Verdict:
    """`needed` are the packages kroasync runs on; others are reported only."""
    findings = {f for answer in answers.values() for f in answer.findings}
    serious = sorted(str(f) for f in findings if f.package in needed)
    lines = [f"VULNERABLE: {text}" for text in serious]
    lines += sorted(f"tool of development, not part of kroasync: {f}" for f in findings if f.package not in needed)
    asked = frozenset[str]().union(*(answer.asked for answer in answers.values())) & needed
    if asked == needed:
        lines.append(f"audited: {len(needed)} packages, {len(serious) or 'no'} known vulnerabilities")
        return Verdict(lines=tuple(lines), failed=bool(serious))
    lines.append(f"NOT audited: {len(needed - asked)} of {len(needed)} packages, as no database answered for them")
    lines += [f"  {name}: {answer.failure or 'it knows none of them'}" for name, answer in answers.items()]
    if required:
        lines.append("this is a failure, since KROASYNC_AUDIT=required")
    return Verdict(lines=tuple(lines), failed=bool(serious) or required)


def consult(installed: Mapping[str, Distribution]) -> dict[str, Answer]:
    """What the databases say, until one knows all that is needed; that one is asked about the tools, too."""
    needed: dict[str, str] = {name: dist.version for name, dist in installed.items()}
    tools: dict[str, str] = {canonicalize_name(d.metadata["Name"]): d.version for d in distributions()}
    tools = {name: version for name, version in tools.items() if name not in (*needed, canonicalize_name(ROOT))}
    answers: dict[str, Answer] = {}
    for service in SERVICES:
        answers[service] = ask(service, needed)
        if needed.keys() <= answers[service].asked:
            answers[f"{service}, tools"] = ask(service, tools)
            break
    return answers


def main(environment: Mapping[str, str] = os.environ) -> int:
    listed = tomllib.loads(LIST.read_text(encoding="utf-8"))
    declared: Sequence[str] = tomllib.loads(PROJECT.read_text(encoding="utf-8"))["project"]["dependencies"]
    installed = closure()
    faults = [*list_faults(listed, installed), *floor_faults(listed, declared)]
    for fault in faults:
        print(f"error: {fault}", file=sys.stderr)
    if not faults:
        print(f"known: {len(installed)} packages, their licences, none below its floor")
    verdict = judge(consult(installed), frozenset(installed), required=environment.get("KROASYNC_AUDIT") == "required")
    for line in verdict.lines:
        print(line, file=sys.stderr if verdict.failed else sys.stdout)
    return 1 if faults or verdict.failed else 0


if __name__ == "__main__":
    sys.exit(main())
