"""The image, without a container engine: its files exist, all its packages are locked, and it runs as nobody."""

from __future__ import annotations

import re
from pathlib import Path

import kroasync

ROOT = Path(__file__).parents[2]
DOCKERFILE = re.sub(r"\\\n\s*", "", (ROOT / "Dockerfile").read_text(encoding="utf-8"))


def instructions(name: str) -> list[str]:
    """The arguments of every instruction with that name, in order."""
    return re.findall(rf"^{name} (.*)$", DOCKERFILE, re.M)


def copied() -> list[tuple[list[str], str]]:
    """The sources and the target of every copy from the checkout."""
    found = [line.split() for line in instructions("COPY") if not line.startswith("--from=")]
    return [(sources, target) for *sources, target in found]


def test_everything_it_copies_exists() -> None:
    assert [source for sources, _ in copied() for source in sources if not (ROOT / source).exists()] == []


def test_everything_it_copies_is_sent_to_the_builder() -> None:
    """.dockerignore excludes everything except the paths that it names."""
    lines = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    admitted = {line[1:] for line in lines if line.startswith("!")}
    assert lines[0] == "*"
    assert {source for sources, _ in copied() for source in sources} == admitted


def test_runs_as_a_numeric_user_other_than_root() -> None:
    (user,) = instructions("USER")
    uid, gid = map(int, user.split(":"))
    assert uid > 0
    assert gid > 0


def test_what_runs_is_put_together_by_stages_of_their_own() -> None:
    """A file that a later layer removes is still in the image, so the last stage begins with nothing."""
    assert instructions("FROM") == ["${BASE} AS root", "${BUILDER} AS build", "scratch"]
    last = DOCKERFILE[DOCKERFILE.rindex("\nFROM ") :]
    assert "RUN" not in last
    assert [line for line in instructions("COPY") if line.startswith("--from=")] == [
        *("--from=root / /", "--from=build /opt/kroasync /opt/kroasync"),
    ]
    assert {"BASE=python:${PYTHON}-slim", "BUILDER=python:${PYTHON}"} <= set(instructions("ARG"))


def test_nothing_that_installs_or_tests_is_left() -> None:
    steps = "\n".join(instructions("RUN"))
    for removed in ("site-packages/pip*", "ensurepip", "-name tests", "*_test.py"):
        assert removed in steps
    assert "venv --without-pip /opt/kroasync" in steps
    assert "strip --strip-unneeded" in steps


def test_all_of_python_is_compiled_for_a_root_that_is_read_only() -> None:
    compiled = [step for step in instructions("RUN") if "compileall" in step]
    assert len(compiled) == 2, "the standard library, and what is installed"
    assert all("--invalidation-mode unchecked-hash" in step for step in compiled)
    (environment,) = [line for line in instructions("ENV") if "PATH=" in line]
    assert "PYTHONDONTWRITEBYTECODE=1" in environment


def test_installs_nothing_that_is_not_locked() -> None:
    installs = [step for step in instructions("RUN") if re.search(r"\bpip (install|wheel)\b", step)]
    assert len(installs) == 4
    for step in installs:
        assert "--require-hashes" in step or "--no-deps" in step, step
        assert "--no-index" in step or "--no-build-isolation" in step or "--require-hashes" in step, step


def test_has_the_version_of_the_program() -> None:
    assert f"VERSION={kroasync.__version__}" in instructions("ARG")


def test_starts_the_controller() -> None:
    assert instructions("ENTRYPOINT") == ['["kroasync"]']
    assert instructions("CMD") == ['["run"]']
