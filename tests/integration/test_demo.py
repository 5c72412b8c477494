"""The demonstration as a user starts it: it shows the steps of the page on instances, cleans up, reports failures."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from kroasync.playground import NotUpError, Playground

pytestmark = pytest.mark.integration

ROOT = Path(__file__).parents[2]
HEADINGS = (
    *("A control plane", "The chart", "A definition becomes an API", "An instance becomes resources"),
    *("The status", "A deleted resource comes back", "A changed image is rolled out"),
    *("ingress.enabled: false removes just the Ingress", "Events tell the story", "Deletion in reverse order"),
)


def demo(name: str, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "examples/demo.py", f"--name={name}", *arguments],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT), "COLUMNS": "120"} | environment,
        capture_output=True,
        text=True,
        timeout=280,
    )


@pytest.fixture
def name() -> Iterator[str]:
    """A separate playground and log folder for the test."""
    chosen = f"demo-{os.getpid()}"
    yield chosen
    shutil.rmtree(ROOT / ".demo" / chosen, ignore_errors=True)


@pytest.mark.slow
def test_shows_everything_and_leaves_nothing_behind(playground: Playground, helm: Path, name: str) -> None:
    done = demo(name)
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    found = [done.stdout.find(f"\n{heading}") if i else 0 for i, heading in enumerate(HEADINGS)]
    assert found == sorted(found)
    assert -1 not in found
    assert re.search(r"^  NAME +STATUS +SYNCED +AGE\n  my-app +ACTIVE +true +\d+s$", done.stdout, re.M)
    assert "availableReplicas: 3" in done.stdout
    assert "message: All resources are available and configured correctly" in done.stdout
    assert "All of it happened" in done.stdout
    assert "\x1b[" not in done.stdout
    with pytest.raises(NotUpError):
        Playground.load(name)
    log = ROOT / ".demo" / name / "controller.log"
    assert str(log) in done.stdout
    assert "pass raised" not in log.read_text(encoding="utf-8")


@pytest.mark.slow
def test_keep_leaves_it_running_and_says_how_to_talk_to_it(playground: Playground, helm: Path, name: str) -> None:
    done = demo(name, "--keep")
    left = Playground.load(name)
    try:
        assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
        assert f"export KUBECONFIG={left.kubeconfig}" in done.stdout
        assert "ACTIVE" in left.kubectl("get", "webapplications")
    finally:
        ending = re.search(r"^  kill (\d+); (.*)$", done.stdout, re.M)
        left.down()
    assert ending is not None
    pid, command = ending.groups()
    assert command.endswith(f"playground down --name {name}")
    subprocess.run(["kill", pid], check=True)


def test_fails_loudly_with_the_log_when_the_controller_does_not_run(
    playground: Playground, helm: Path, name: str
) -> None:
    done = demo(name, KROASYNC_WORKERS="none")
    assert done.returncode == 1
    assert "The controller's log ends:" in done.stdout
    assert '$KROASYNC_WORKERS: invalid value "none"' in done.stdout
    assert "FAILED: the controller ended with status 2" in done.stdout
    with pytest.raises(NotUpError):
        Playground.load(name)
