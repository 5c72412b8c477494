"""The lock files agree with pyproject.toml, and the check reports a difference."""

from __future__ import annotations

import importlib.util
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def lock() -> Iterator[ModuleType]:
    spec = importlib.util.spec_from_file_location("ci_lock", ROOT / ".ci" / "lock.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["ci_lock"] = module
    spec.loader.exec_module(module)
    yield module
    del sys.modules["ci_lock"]


HASH = f"--hash=sha256:{'0' * 64}"


def entry(stated: str, via: str = "other") -> str:
    return f"{stated} \\\n    {HASH} \\\n    {HASH}\n    # via {via}\n"


DIRECT = "kroasync (pyproject.toml)"
NO_ENTRY = "not a name with one version and its hashes: "


@pytest.mark.parametrize(
    ("text", "wanted", "faults"),
    [
        (entry("a==1.5", DIRECT), ["A>=1"], []),
        (entry("a==1.5 ; sys_platform == 'linux'", f"\n    #   b\n    #   {DIRECT}"), ["a>=1"], []),
        (entry("a==2.0rc1", DIRECT), ["a>=1"], []),
        ("# by hand\n", ["a>=1"], ["a: not locked, pyproject.toml asks for a>=1"]),
        (entry("a==1.5", DIRECT), ["a>=2"], ["a: locked in 1.5, pyproject.toml asks for a>=2"]),
        (
            entry("a==2 ; python_version < '3.12'", DIRECT) + entry("a==1 ; python_version >= '3.12'", DIRECT),
            ["a>=2"],
            ["a: locked in 1, pyproject.toml asks for a>=2"],
        ),
        (entry("a==1") + entry("b==1", DIRECT), [], ["b: locked, but pyproject.toml asks for it no more"]),
        (entry("b==1", "kroasync (pyproject.toml:dev)"), [], ["b: locked, but pyproject.toml asks for it no more"]),
        ("a==1\n", [], [NO_ENTRY + "a==1"]),
        (entry("a>=1"), [], [NO_ENTRY + "a>=1"]),
        (entry("a"), [], [NO_ENTRY + "a"]),
        (entry("a @ https://host.example/a.whl"), [], [NO_ENTRY + "a @ https://host.example/a.whl"]),
        ("--index-url https://host.example/simple\n", [], [NO_ENTRY + "--index-url https://host.example/simple"]),
        ("-e .\n", [], [NO_ENTRY + "-e ."]),
    ],
)
def test_a_lock_file_and_what_is_asked_for(lock: ModuleType, text: str, wanted: list[str], faults: list[str]) -> None:
    assert list(lock.file_faults(text, map(lock.Requirement, wanted))) == faults


PROJECT = {
    "build-system": {"requires": ["back>=1"]},
    "project": {"dependencies": ["a>=1"], "requires-python": ">=3.11"},
    "dependency-groups": {"build": ["back>=1"], "dev": ["tool"]},
}
TEXTS = {
    "development": entry("a==1", DIRECT) + entry("back==1", DIRECT) + entry("tool==3", DIRECT),
    "runtime": entry("a==1", DIRECT),
    "build": entry("back==1", DIRECT),
}


@pytest.mark.parametrize(
    ("texts", "backend", "found"),
    [
        ({}, "back>=1", []),
        ({"runtime": entry("a==2", DIRECT)}, "back>=1", ["requirements/runtime.txt: a 2 is not the one of"]),
        ({"build": ""}, "back>=1", ["requirements/build.txt: back: not locked"]),
        ({}, "back>=2", ["pyproject.toml: build-system.requires is ['back>=2'], the group `build` has ['back>=1']"]),
    ],
)
def test_the_files_agree(lock: ModuleType, texts: dict[str, str], backend: str, found: list[str]) -> None:
    project: dict[str, Any] = {**PROJECT, "build-system": {"requires": [backend]}}
    faults = list(lock.faults(project, {**TEXTS, **texts}))
    assert len(faults) == len(found)
    for fault, start in zip(faults, found, strict=True):
        assert fault.startswith(start)


def test_it_is_made_for_the_lowest_python_and_keeps_what_is_locked(lock: ModuleType) -> None:
    command = lock.compile_command(PROJECT, "build", upgrade=False)
    words = " ".join(command)
    assert "--universal --python-version 3.11 --generate-hashes --no-emit-index-url" in words
    assert words.endswith("--group pyproject.toml:build --output-file requirements/build.txt")
    assert "--upgrade" not in command
    assert "--upgrade" in lock.compile_command(PROJECT, "build", upgrade=True)


def test_the_lock_is_that_of_the_project(lock: ModuleType) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    texts = {name: (ROOT / "requirements" / f"{name}.txt").read_text(encoding="utf-8") for name in lock.FILES}
    assert list(lock.faults(project, texts)) == []
