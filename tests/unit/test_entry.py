"""How the process begins: the signal that comes early, and the version that it says of itself."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import kroasync

ROOT = Path(__file__).parents[2]

# Sends SIGTERM to itself when that module is about to be imported.
INTERRUPTED = """
import os, runpy, signal, sys
at = sys.argv.pop()

class Interrupt:
    def find_spec(self, name, *_):
        if name == at:
            os.kill(os.getpid(), signal.SIGTERM)

sys.meta_path.insert(0, Interrupt())
runpy.run_module("kroasync", run_name="__main__")
"""


@pytest.mark.parametrize("module", ["typer", "aiohttp", "kroasync.controller.runtime"])
def test_a_signal_during_the_imports_ends_the_process_well(module: str) -> None:
    """Process 1 would ignore it without a handler; another process would die of it, with code -15."""
    arguments = [sys.executable, "-c", INTERRUPTED, "run", module]
    done = subprocess.run(arguments, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")


def test_the_commands_begin_with_the_handler() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert set(project["scripts"].values()) == {"kroasync.__main__:main"}


def says(*path: Path) -> str:
    """The version label, with these folders before all others."""
    folders = [str(folder) for folder in path]
    program = f"import sys; sys.path[:0] = {folders}; from kroasync.app import _version; print(_version())"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, cwd="/")
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_an_installed_package_says_its_version_whatever_lies_beside_it(tmp_path: Path) -> None:
    """Some wheels put their pyproject.toml into site-packages."""
    ignored = shutil.ignore_patterns("__pycache__", "modules")
    shutil.copytree(ROOT / "kroasync", tmp_path / "kroasync", ignore=ignored)
    (tmp_path / "pyproject.toml").write_text("")
    facts = tmp_path / f"kroasync-{kroasync.__version__}.dist-info"
    facts.mkdir()
    (facts / "METADATA").write_text(f"Metadata-Version: 2.4\nName: kroasync\nVersion: {kroasync.__version__}\n")
    assert says(tmp_path) == kroasync.__version__


def test_a_checkout_says_devel() -> None:
    assert says(ROOT) == "devel"
