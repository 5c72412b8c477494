"""The lock: the versions and hashes of everything kroasync is run, built and developed with, in requirements/*.txt.

`make lock` makes it from pyproject.toml by uv, for every supported Python on Linux and macOS at once. It keeps the
versions that are locked already where pyproject.toml still allows them; `make lock UPGRADE=1` takes the newest instead.
The check, a part of `make check`, asks nobody and runs no resolver: what pyproject.toml asks for is locked in a version
it allows, nothing else is locked for its sake, every entry has hashes and no address, and the files agree.
"""

import argparse
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
FOLDER = "requirements"
# First the one that has everything: the others follow it.
FILES: Mapping[str, tuple[str, ...]] = {
    "development": ("project", "build", "dev"),
    "runtime": ("project",),
    "build": ("build",),
}
_HASH = re.compile(r" --hash=sha256:[0-9a-f]{64}")
_DIRECT = re.compile(r"\(pyproject\.toml(:\w+)?\)|pyproject\.toml:\w+")


@dataclass(frozen=True, slots=True, kw_only=True)
class Locked:
    """An entry of a lock file; `direct` if it is there because pyproject.toml names it."""

    name: str
    version: str
    direct: bool


def read(text: str) -> tuple[list[Locked], list[str]]:
    """The entries of a lock file, and the lines that are none."""
    blocks: list[tuple[str, list[str]]] = []
    for line in text.replace("\\\n", " ").splitlines():
        if not line.lstrip().startswith("#"):
            blocks.append((line, []))
        elif blocks:
            blocks[-1][1].append(line)
    entries, others = [], []
    for line, remarks in blocks:
        entry = _entry(line, direct=any(map(_DIRECT.search, remarks)))
        entries += [entry] if entry else []
        others += [] if entry else [line]
    return entries, others


def _entry(line: str, *, direct: bool) -> Locked | None:
    """One requirement of exactly one version, with hashes, from nowhere in particular."""
    stated, hashes = _HASH.subn("", re.sub(r"\s+", " ", line))
    try:
        requirement = Requirement(stated)
    except InvalidRequirement:
        return None
    operators = [s.operator for s in requirement.specifier]
    if not hashes or requirement.url or operators != ["=="]:
        return None
    (specifier,) = requirement.specifier
    return Locked(name=canonicalize_name(requirement.name), version=specifier.version, direct=direct)


def declared(project: Mapping[str, Any], sources: Iterable[str]) -> list[Requirement]:
    """What pyproject.toml asks for in its dependencies (`project`) and in groups."""
    groups = {**project["dependency-groups"], "project": project["project"]["dependencies"]}
    return [Requirement(text) for source in sources for text in groups[source]]


def file_faults(text: str, wanted: Iterable[Requirement]) -> Iterator[str]:
    """How a lock file and what pyproject.toml asks for disagree."""
    entries, others = read(text)
    for line in others:
        yield f"not a name with one version and its hashes: {line.split(' --hash')[0].strip()}"
    asked = {canonicalize_name(requirement.name): requirement for requirement in wanted}
    for name, requirement in asked.items():
        versions = [entry.version for entry in entries if entry.name == name]
        if not versions:
            yield f"{name}: not locked, pyproject.toml asks for {requirement}"
        for version in versions:
            if not requirement.specifier.contains(version, prereleases=True):
                yield f"{name}: locked in {version}, pyproject.toml asks for {requirement}"
    for entry in entries:
        if entry.direct and entry.name not in asked:
            yield f"{entry.name}: locked, but pyproject.toml asks for it no more"


def faults(project: Mapping[str, Any], texts: Mapping[str, str]) -> Iterator[str]:
    """Everything wrong with the lock files, given by name, each with the file it is in."""
    for name, sources in FILES.items():
        for fault in file_faults(texts[name], declared(project, sources)):
            yield f"{FOLDER}/{name}.txt: {fault}"
    everything = {(entry.name, entry.version) for entry in read(texts["development"])[0]}
    for name in FILES:
        for entry in read(texts[name])[0]:
            if (entry.name, entry.version) not in everything:
                yield f"{FOLDER}/{name}.txt: {entry.name} {entry.version} is not the one of {FOLDER}/development.txt"
    group, backend = project["dependency-groups"]["build"], project["build-system"]["requires"]
    if group != backend:
        yield f"pyproject.toml: build-system.requires is {backend}, the group `build` has {group}"


def compile_command(project: Mapping[str, Any], name: str, *, upgrade: bool) -> list[str]:
    """The call of uv that makes one lock file."""
    sources = FILES[name]
    lowest = project["project"]["requires-python"].removeprefix(">=")
    command = ["uv", "pip", "compile", "--quiet", "--universal", "--python-version", lowest]
    command += ["--generate-hashes", "--no-emit-index-url", "--custom-compile-command", "make lock"]
    command += ["--upgrade"] if upgrade else []
    command += [] if name == "development" else ["--constraints", f"{FOLDER}/development.txt"]
    command += ["pyproject.toml"] if "project" in sources else []
    command += [word for source in sources if source != "project" for word in ("--group", f"pyproject.toml:{source}")]
    return [*command, "--output-file", f"{FOLDER}/{name}.txt"]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("command", choices=("make", "check"))
    parser.add_argument("--upgrade", action="store_true", help="take the newest versions that pyproject.toml allows")
    arguments = parser.parse_args()
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    if arguments.command == "make":
        for name in FILES:
            command = compile_command(project, name, upgrade=arguments.upgrade)
            subprocess.run([sys.executable, "-m", *command], cwd=ROOT, check=True)
    texts = {name: (ROOT / FOLDER / f"{name}.txt").read_text(encoding="utf-8") for name in FILES}
    found = list(faults(project, texts))
    for fault in found:
        print(f"error: {fault}", file=sys.stderr)
    if found:
        print("run `make lock`", file=sys.stderr)
        return 1
    print(f"locked: {len(read(texts['runtime'])[0])} packages to run, {len(read(texts['development'])[0])} to develop")
    return 0


if __name__ == "__main__":
    sys.exit(main())
