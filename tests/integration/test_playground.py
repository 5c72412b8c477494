"""The playground as its user sees it: real processes and a real API, and no remains after the end."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from kroasync.cli.playground import app
from kroasync.playground import Binaries, CommandError, ComponentError, NotUpError, Playground
from kroasync.playground.access import request
from kroasync.playground.processes import Identity, await_end, state_of
from kroasync.playground.state import read_state
from tests.waiting import eventually

pytestmark = pytest.mark.integration

COMPONENTS = ["etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "kwok"]


@pytest.fixture
def namespace(playground: Playground) -> Iterator[str]:
    """A namespace for one test."""
    name = f"playground-{time.monotonic_ns()}"
    playground.kubectl("create", "namespace", name)
    yield name
    playground.kubectl("delete", "namespace", name, "--wait=false")


def processes_of(directory: Path) -> list[Identity]:
    state = read_state(directory / "state.json")
    assert state is not None
    return [record.process for record in state.components.values() if record.process is not None]


def test_deployment_becomes_available_and_its_pods_run(playground: Playground, namespace: str) -> None:
    playground.kubectl("-n", namespace, "create", "deployment", "web", "--image=web", "--replicas=2")
    playground.kubectl("-n", namespace, "wait", "--for=condition=Available", "deployment/web", "--timeout=30s")
    pods = json.loads(playground.kubectl("-n", namespace, "get", "pods", "-o", "json"))["items"]
    assert [pod["status"]["phase"] for pod in pods] == ["Running", "Running"]
    assert {pod["spec"]["nodeName"] for pod in pods} == {"node-0"}


def test_deleting_a_deployment_collects_its_pods(playground: Playground, namespace: str) -> None:
    playground.kubectl("-n", namespace, "create", "deployment", "web", "--image=web")
    playground.kubectl("-n", namespace, "wait", "--for=condition=Available", "deployment/web", "--timeout=30s")
    playground.kubectl("-n", namespace, "delete", "deployment", "web")
    playground.kubectl("-n", namespace, "wait", "--for=delete", "pods", "--all", "--timeout=30s")
    assert playground.kubectl("-n", namespace, "get", "pods", "-o", "name") == ""


def test_token_of_a_service_account_may_do_what_rbac_says(
    playground: Playground, namespace: str, tmp_path: Path
) -> None:
    playground.kubectl("-n", namespace, "create", "serviceaccount", "reader")
    token = playground.kubectl("-n", namespace, "create", "token", "reader").strip()
    own = playground.kubeconfig_for_token(token, tmp_path / "reader")
    with pytest.raises(CommandError, match="forbidden") as refused:
        playground.kubectl(f"--kubeconfig={own}", "-n", namespace, "get", "configmaps")
    assert f"system:serviceaccount:{namespace}:reader" in refused.value.stderr

    playground.kubectl(
        "-n",
        namespace,
        "create",
        "rolebinding",
        "r",
        "--clusterrole=view",
        f"--serviceaccount={namespace}:reader",
    )
    listing = ("get", "configmap/kube-root-ca.crt", "-o", "name")
    assert eventually(lambda: succeeds(playground, f"--kubeconfig={own}", "-n", namespace, *listing))


def succeeds(playground: Playground, *arguments: str) -> bool:
    try:
        playground.kubectl(*arguments)
    except CommandError:
        return False
    return True


def test_audit_log_has_clients_and_leaves_the_control_plane_out(playground: Playground, namespace: str) -> None:
    playground.kubectl("-n", namespace, "create", "configmap", "audited")

    def logged() -> list[dict[str, object]]:
        return [json.loads(line) for line in playground.audit_log.read_text().splitlines()]

    def is_there() -> bool:
        return any(
            event["verb"] == "create" and event["requestURI"].startswith(f"/api/v1/namespaces/{namespace}/configmaps")
            for event in logged()
            if isinstance(event["requestURI"], str)
        )

    assert eventually(is_there)
    names = {event["user"]["username"] for event in logged() if isinstance(event["user"], dict)}
    assert "playground-admin" in names
    assert not names & {
        "system:kube-controller-manager",
        "system:kube-scheduler",
        "system:kwok",
        "system:apiserver",
    }


def test_helm_talks_to_the_playground(playground: Playground) -> None:
    assert json.loads(playground.helm("list", "--namespace=kube-public", "--output=json")) == []


@pytest.fixture(scope="module")
def victim(playground: Playground, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Playground]:
    """A second control plane, for faults."""
    directory = tmp_path_factory.mktemp("victim") / "data"
    with Playground.up(name="victim", directory=directory, binaries=Binaries.ensure()) as running:
        yield running


def test_two_side_by_side_share_nothing(playground: Playground, victim: Playground) -> None:
    victim.kubectl("create", "namespace", "only-here")
    assert not succeeds(playground, "get", "namespace", "only-here")
    assert victim.server != playground.server
    with pytest.raises(CommandError):  # the other's token and certificate do not open this one
        victim.kubectl(f"--kubeconfig={playground.kubeconfig}", f"--server={victim.server}", "get", "nodes")


def test_api_server_comes_back_with_its_data_and_address(victim: Playground) -> None:
    victim.kubectl("create", "configmap", "kept")
    victim.stop("kube-apiserver")
    assert [s.state for s in victim.status()] == ["running", "stopped", "running", "running", "running"]
    assert not succeeds(victim, "get", "configmap", "kept")
    victim.start("kube-apiserver")
    assert victim.kubectl("get", "configmap", "kept", "-o", "name") == "configmap/kept\n"


def test_paused_api_server_answers_nothing_until_it_is_resumed(victim: Playground) -> None:
    def healthy() -> int:
        url = f"{victim.server}/readyz"
        return request(url, token=victim.admin_token, certificate=victim.certificate, timeout_s=0.5)[0]

    assert healthy() == 200
    victim.pause("kube-apiserver")
    assert victim.status()[1].state == "paused"
    with pytest.raises(TimeoutError):
        healthy()
    victim.resume("kube-apiserver")
    assert eventually(lambda: healthy() == 200)


def test_crashed_component_is_reported_with_its_log_and_repaired(victim: Playground) -> None:
    with victim.log("kwok").open("a") as log:
        log.write("last words\n")
    victim.kill("kwok")
    shown = CliRunner().invoke(app, ["status", "--dir", str(victim.directory)])
    assert shown.exit_code == 1
    assert [line.split()[1] for line in shown.stdout.splitlines()[1:6]] == ["running"] * 4 + ["crashed"]
    assert "kwok crashed" in shown.stderr
    assert "last words" in shown.stderr
    Playground.load(directory=victim.directory).repair()
    assert [s.state for s in victim.status()] == ["running"] * 5


def test_unknown_component_is_named(victim: Playground) -> None:
    with pytest.raises(Exception, match="unknown component 'apiserver'; known: etcd, kube-apiserver"):
        victim.stop("apiserver")


def test_command_line_from_up_to_down_leaves_nothing(playground: Playground, tmp_path: Path) -> None:
    place = ["--dir", str(tmp_path / "data"), "--name", "cli"]
    run = CliRunner()
    up = run.invoke(app, ["up", *place])
    assert up.exit_code == 0, up.output
    assert up.stdout == f"{tmp_path}/data/kubeconfig\n"
    assert run.invoke(app, ["up", *place]).stdout == up.stdout  # running already: says the same
    assert run.invoke(app, ["kubeconfig", *place]).stdout == up.stdout
    shown = run.invoke(app, ["status", *place])
    assert shown.exit_code == 0
    assert [line.split()[0] for line in shown.stdout.splitlines()[1:6]] == COMPONENTS

    processes = processes_of(tmp_path / "data")
    assert [state_of(process) for process in processes] == ["running"] * 5
    assert run.invoke(app, ["down", *place]).exit_code == 0
    assert [state_of(process) for process in processes] == ["gone"] * 5
    assert list(tmp_path.iterdir()) == []
    again = run.invoke(app, ["down", *place])
    assert (again.exit_code, again.stdout) == (1, "")
    assert "there is no playground" in again.stderr


def test_crash_at_the_start_shows_the_log_and_leaves_nothing(
    playground: Playground, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assets = tmp_path / "assets"
    assets.mkdir()
    fake = assets / "etcd"
    fake.write_text("#!/bin/sh\necho no space left on device\nexit 3\n")
    fake.chmod(0o755)
    monkeypatch.setenv("KUBEBUILDER_ASSETS", str(assets))
    with pytest.raises(ComponentError) as crash:
        Playground.up(name="broken", directory=tmp_path / "data")
    assert crash.value.component == "etcd"
    assert crash.value.log_tail == "no space left on device"
    assert not (tmp_path / "data").exists()


_OWNER = """
import sys, threading
from pathlib import Path
from kroasync.playground import Playground
playground = Playground.up(name="tied", directory=Path(sys.argv[1]))
print("ready", flush=True)
threading.Event().wait()
"""


def test_tied_playground_ends_with_its_owner_even_when_that_is_killed(playground: Playground, tmp_path: Path) -> None:
    directory = tmp_path / "data"
    command = [sys.executable, "-c", _OWNER, str(directory)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=os.environ) as owner:
        assert owner.stdout is not None
        assert owner.stdout.readline() == "ready\n"
        processes = processes_of(directory)
        owner.send_signal(signal.SIGKILL)
    assert all(await_end(process, timeout_s=15) for process in processes)
    assert eventually(lambda: not directory.exists())
    with pytest.raises(NotUpError):
        Playground.load(directory=directory)
