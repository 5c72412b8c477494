"""One real control plane for the test session, tied to it: it ends with pytest, however pytest ends."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from kroasync.playground import Binaries, Playground, reporting


@pytest.fixture(scope="session")
def playground(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Playground]:
    """The session's control plane, audited. The first time its programs are built, with visible progress."""
    capture = request.config.pluginmanager.getplugin("capturemanager")
    with capture.global_and_fixture_disabled(), reporting(sys.stderr) as progress:
        binaries = Binaries.ensure(progress=progress)
    directory = tmp_path_factory.mktemp("playground") / "data"
    name = f"tests-{os.getpid()}"
    with Playground.up(name=name, directory=directory, audit=True, binaries=binaries) as running:
        yield running


@pytest.fixture(scope="session")
def kubeconfig(playground: Playground) -> Path:
    """The administrator's kubeconfig of the session's control plane."""
    return playground.kubeconfig
