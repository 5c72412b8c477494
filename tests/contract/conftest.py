"""A control plane for this folder only, because its tests stop and freeze the API server."""

import os
import sys
from collections.abc import AsyncIterator, Iterator

import pytest

from kroasync.kube.client import Client
from kroasync.kube.config import connect
from kroasync.playground import Binaries, Playground, reporting


@pytest.fixture(scope="session")
def plane(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Playground]:
    capture = request.config.pluginmanager.getplugin("capturemanager")
    with capture.global_and_fixture_disabled(), reporting(sys.stderr) as progress:
        binaries = Binaries.ensure(progress=progress)
    directory = tmp_path_factory.mktemp("contract") / "data"
    with Playground.up(name=f"contract-{os.getpid()}", directory=directory, binaries=binaries) as running:
        yield running


@pytest.fixture
async def client(plane: Playground) -> AsyncIterator[Client]:
    connection = await connect(kubeconfig=str(plane.kubeconfig))
    yield Client(connection)
    await connection.close()
