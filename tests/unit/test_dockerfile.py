"""The image without a container engine: its files exist, its steps work in a clean environment, it runs as nobody."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import kroasync

ROOT = Path(__file__).parents[2]
DOCKERFILE = re.sub(r"\\\n\s*", "", (ROOT / "Dockerfile").read_text(encoding="utf-8"))


def instructions(name: str) -> list[str]:
    """The arguments of every instruction of that name, in order."""
    return re.findall(rf"^{name} (.*)$", DOCKERFILE, re.M)


def copied() -> list[tuple[list[str], str]]:
    """Sources and target of what is copied from the checkout."""
    found = [line.split() for line in instructions("COPY") if not line.startswith("--from=")]
    return [(sources, target) for *sources, target in found]


def test_everything_it_copies_exists() -> None:
    assert [source for sources, _ in copied() for source in sources if not (ROOT / source).exists()] == []


def test_everything_it_copies_is_sent_to_the_builder() -> None:
    """.dockerignore lets through what it names, and nothing else."""
    lines = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    admitted = {line[1:] for line in lines if line.startswith("!")}
    assert lines[0] == "*"
    assert {source for sources, _ in copied() for source in sources} == admitted


def test_runs_as_a_numeric_user_other_than_root() -> None:
    (user,) = instructions("USER")
    uid, gid = map(int, user.split(":"))
    assert uid > 0
    assert gid > 0


def test_is_built_in_a_stage_of_its_own() -> None:
    stages = instructions("FROM")
    assert len(stages) == 2
    last = DOCKERFILE[DOCKERFILE.rindex("\nFROM ") :]
    assert "RUN" not in last
    assert stages == ["${BASE} AS build", "${BASE}"]
    assert "BASE=python:${PYTHON}-slim" in instructions("ARG")


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


@pytest.mark.slow
def test_its_steps_give_a_working_command(tmp_path: Path) -> None:
    """The RUN lines of the build stage, with a folder in the place of the image."""
    source = tmp_path / "src"
    source.mkdir()
    for sources, target in copied():
        for name in sources:
            place = source / target / (name if target.endswith("/") else "")
            if (ROOT / name).is_dir():
                shutil.copytree(ROOT / name, place, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy(ROOT / name, place)
    home = tmp_path / "kroasync"
    path = os.pathsep.join((str(home / "bin"), str(Path(sys.executable).parent), os.environ["PATH"]))
    environment = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "VIRTUAL_ENV")} | {"PATH": path}
    for step in instructions("RUN"):
        done = subprocess.run(
            step.replace("/opt/kroasync", str(home)),
            shell=True,
            cwd=source,
            env=environment,
            capture_output=True,
            text=True,
            timeout=250,
        )
        assert done.returncode == 0, f"{step}\n{done.stdout}\n{done.stderr}"
    assert done.stdout == f"kroasync {kroasync.__version__}\n"
    # What the package needs at run time came along, not only its modules.
    shutil.rmtree(source)
    definition, instance = (ROOT / "examples" / "webapplication" / f for f in ("resourcegroup.yaml", "instance.yaml"))
    rendered = subprocess.run(
        [str(home / "bin" / "kroasync"), "render", str(definition), str(instance)],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert rendered.returncode == 0, rendered.stderr
    assert "kind: Deployment" in rendered.stdout
