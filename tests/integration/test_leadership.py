"""Two replicas on a real control plane: only one leads, and another takes over quickly and cleanly."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from kroasync.app import DEPOSED, STOPPED
from kroasync.model.names import LEASE_NAME
from tests.integration.cluster import Cluster, Lab, Obj, condition, config, eventually, for_a_while
from tests.integration.process import ControllerProcess

pytestmark = pytest.mark.integration


class Replica(ControllerProcess):
    """One of several controllers with leader election."""

    def told(self, message: str) -> float:
        """The time of the first such log line, in seconds since the epoch; 0 if there is none."""
        return next((float(line["ts"]) for line in self.lines() if line.get("msg") == message), 0.0)

    @property
    def leads(self) -> bool:
        return self.told("leading") > 0


def lease(cluster: Cluster, namespace: str) -> Obj:
    found = cluster.read(f"/apis/coordination.k8s.io/v1/namespaces/{namespace}/leases/{LEASE_NAME}")
    return dict(found["spec"]) if found else {}


@pytest.fixture
def replicas(
    cluster: Cluster, lab: Lab, chart: Any, controller: ControllerProcess, controller_kubeconfig: Path, tmp_path: Path
) -> Iterator[Callable[[str], Replica]]:
    """replicas(name): starts another replica, in place of the session's controller; all end with the test."""
    made: list[Replica] = []
    controller.stop()

    def make(name: str) -> Replica:
        replica = Replica(
            kubeconfig=controller_kubeconfig,
            log=tmp_path / f"{name}.log",
            arguments=(
                *("--leader-elect", "--enable-controller-warmup", "--allow-crd-deletion"),
                *(f"--leader-election-namespace={chart.namespace}", "--zap-time-encoding=epoch"),
            ),
        )
        made.append(replica)
        replica.start()
        return replica

    try:
        yield make
    finally:
        for replica in made:
            if replica.is_running:
                replica.stop()
        controller.start()
        controller.wait_ready()


def test_a_standby_leads_within_two_seconds_of_sigterm(replicas: Callable[[str], Replica], lab: Lab) -> None:
    """During work, three times."""
    first = replicas("first")
    eventually(lambda: first.leads, what="somebody leads")
    lab.define("Handed", [config("a"), config("b", data={"x": "${a.metadata.uid}"})])
    took_s: list[float] = []
    for turn in range(3):
        second = replicas(f"second-{turn}")
        second.wait_ready()
        assert not second.leads
        names = [f"t{turn}-{number:02}" for number in range(30)]
        for name in names:
            lab.instance("Handed", name)
        began = time.time()
        assert first.stop(timeout_s=20) == STOPPED
        eventually(lambda replica=second: replica.leads, what="the standby leads")  # type: ignore[misc]
        took_s.append(second.told("leading") - began)
        for name in names:
            lab.await_state("Handed", name)
        first = second
    assert max(took_s) < 2.0, took_s
    assert len(lab.configs()) == 2 * 3 * 30


def test_a_frozen_leader_that_wakes_up_writes_nothing_and_ends(
    replicas: Callable[[str], Replica], cluster: Cluster, lab: Lab, chart: Any
) -> None:
    first = replicas("frozen")
    eventually(lambda: first.leads, what="somebody leads")
    lab.define("Thawed", [config("a"), config("b", data={"x": "${a.metadata.uid}"})])
    second = replicas("other")
    second.wait_ready()
    for number in range(20):
        lab.instance("Thawed", f"i{number:02}")
    first.pause()
    frozen = lease(cluster, chart.namespace)["holderIdentity"]
    assert first.get("/healthz") == (0, ""), "an event loop that does not turn answers no probe"
    eventually(lambda: second.leads, timeout_s=30, what="the other replica leads")
    for number in range(20):
        lab.await_state("Thawed", f"i{number:02}")
    holder = lease(cluster, chart.namespace)["holderIdentity"]
    assert holder != frozen
    versions = {name: obj["metadata"]["resourceVersion"] for name, obj in lab.configs().items()}
    first.resume()
    assert first.process.wait(10) == DEPOSED
    assert first.told("the lead is lost; exiting") > 0
    for _ in for_a_while(lambda: None, seconds=1.0):
        assert lease(cluster, chart.namespace)["holderIdentity"] == holder
    assert {name: obj["metadata"]["resourceVersion"] for name, obj in lab.configs().items()} == versions
    assert condition(lab.read("Thawed", "i00"), "Ready")["status"] == "True"
