"""A process that cannot do its work is not ready: without the Lease, the token or rights, or next to kro."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.attacks.gauges import FULL
from tests.attacks.people import RBAC, People, User, write_kubeconfig
from tests.integration.cluster import Cluster, Lab, Obj, RefusedError, config, eventually, for_a_while
from tests.integration.process import ControllerProcess

pytestmark = pytest.mark.integration

NOTICED_S = 90.0
SLOW = pytest.mark.skipif(not FULL, reason="waits for leases to run out: full form only; the simulation has it, too")
Deputy = Callable[..., tuple[User, list[str]]]


def await_unready(process: ControllerProcess, word: str) -> None:
    """Wait until /readyz fails, with this word in the reason."""

    def look() -> tuple[int, str]:
        assert process.is_running, f"the controller ended\n{process.tail()}"
        return process.get("/readyz")

    eventually(
        look,
        lambda found: found[0] == 500 and word in found[1].lower(),
        timeout_s=NOTICED_S,
        what=f"unready because of {word}",
    )


def family(lab: Lab, process: ControllerProcess) -> None:
    """A kind and an instance, which a working controller has created."""
    lab.controller = process
    lab.define("Ready", [config("c", data={"v": "1"})])
    lab.instance("Ready")
    lab.await_state("Ready")


def lose_child(lab: Lab) -> None:
    """Something for the controller to write."""
    lab.cluster.delete(lab.child_path("ConfigMap", "one-c"))


def test_a_process_whose_lease_is_forbidden_is_not_ready(
    lab: Lab, deputy: Deputy, people: People, stand_in: Any, tmp_path: Path
) -> None:
    user, _ = deputy()
    role: Obj = {
        "apiVersion": f"{RBAC}/v1",
        "kind": "Role",
        "metadata": {"name": "leases", "namespace": lab.namespace},
        "rules": [{"apiGroups": ["coordination.k8s.io"], "resources": ["leases"], "verbs": ["*"]}],
    }
    process: ControllerProcess = stand_in(
        *("--leader-elect", f"--leader-election-namespace={lab.namespace}"),
        kubeconfig=write_kubeconfig(tmp_path / "kubeconfig", user),
    )
    await_unready(process, "lease")
    lab.cluster.create(role)
    people.bind(user, "Role", "leases", lab.namespace)
    process.wait_ready(NOTICED_S)
    family(lab, process)


def test_a_process_whose_token_was_revoked_is_not_ready(
    lab: Lab, deputy: Deputy, people: People, stand_in: Any, tmp_path: Path
) -> None:
    """The watches continue: they were opened while the token was valid."""
    user, _ = deputy()
    token = tmp_path / "token"
    token.write_text(user.token, encoding="utf-8")
    process = stand_in(kubeconfig=write_kubeconfig(tmp_path / "kubeconfig", user, token_file=str(token)))
    process.wait_ready()
    family(lab, process)
    account = lab.cluster.path("ServiceAccount", user.home, user.name)
    lab.cluster.delete(account)
    eventually(lambda: is_unauthorized(user), timeout_s=60, what="the API server refuses the token")
    lose_child(lab)
    await_unready(process, "unauthorized")
    meta = {"name": user.name, "namespace": user.home}
    lab.cluster.create({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": meta})
    token.write_text(people.token(user.home, user.name), encoding="utf-8")
    process.wait_ready(NOTICED_S)
    lab.await_child("ConfigMap", "one-c", timeout_s=NOTICED_S)


def is_unauthorized(user: User) -> bool:
    try:
        user.call("GET", "/api/v1/namespaces/default/configmaps")
    except RefusedError as error:
        return error.status == 401
    return False


def test_a_process_whose_rights_were_taken_is_not_ready(
    lab: Lab, deputy: Deputy, people: People, stand_in: Any, tmp_path: Path
) -> None:
    user, bindings = deputy()
    process = stand_in(kubeconfig=write_kubeconfig(tmp_path / "kubeconfig", user))
    process.wait_ready()
    family(lab, process)
    taken = [(path, lab.cluster.read(path) or {}) for path in bindings if "/clusterrolebindings/" in path]
    for path, _ in taken:
        lab.cluster.delete(path)
    eventually(lambda: not user.may("patch", "configmaps", lab.namespace), what="the rights are gone")
    lose_child(lab)
    await_unready(process, "forbidden")
    for _, binding in taken:
        del binding["metadata"]["resourceVersion"], binding["metadata"]["uid"]
        lab.cluster.create(binding)
    process.wait_ready(NOTICED_S)
    lab.await_child("ConfigMap", "one-c", timeout_s=NOTICED_S)


# kro on the same cluster

KRO_SYSTEM, KRO_LEASE = "kro-system", "controller.kro.run"


class Kro:
    """kro's Lease, renewed as by a running kro."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._path = f"/apis/coordination.k8s.io/v1/namespaces/{KRO_SYSTEM}/leases"
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._renew, name="kro", daemon=True)

    def start(self) -> None:
        self._write()
        self._thread.start()

    def stop(self) -> None:
        """Like a crash: the Lease stays, and is no longer renewed."""
        self._stopped.set()
        self._thread.join()

    def forget(self) -> None:
        self._cluster.delete(f"{self._path}/{KRO_LEASE}")

    def _renew(self) -> None:
        while not self._stopped.wait(1.0):
            self._write()

    def _write(self, age: timedelta = timedelta()) -> None:
        now = (datetime.now(UTC) - age).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        lease: Obj = {
            "apiVersion": "coordination.k8s.io/v1",
            "kind": "Lease",
            "metadata": {"name": KRO_LEASE, "namespace": KRO_SYSTEM},
            "spec": {
                "holderIdentity": "kro-7f9c_0f5ee0c4",
                "leaseDurationSeconds": 15,
                "acquireTime": now,
                "renewTime": now,
                "leaseTransitions": 1,
            },
        }
        path = f"{self._path}/{KRO_LEASE}?fieldManager=kro&force=true"
        self._cluster.call("PATCH", path, lease, content_type="application/apply-patch+yaml")

    def write_old(self) -> None:
        self._write(timedelta(hours=1))


@contextmanager
def running_kro(cluster: Cluster) -> Iterator[Kro]:
    if cluster.read(cluster.path("Namespace", "", KRO_SYSTEM)) is None:
        cluster.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": KRO_SYSTEM}})
    kro = Kro(cluster)
    try:
        yield kro
    finally:
        kro._stopped.set()
        kro.forget()


def warned(process: ControllerProcess) -> bool:
    return any(
        KRO_LEASE in str(line) and line.get("level", "").lower() in ("warn", "warning", "error")
        for line in process.lines()
    )


@SLOW
def test_beside_a_living_kro_nothing_is_written(lab: Lab, controller: ControllerProcess) -> None:
    """Two controllers of the same kinds fight, with 24 writes a second: this one stops and says why."""
    family(lab, controller)
    with running_kro(lab.cluster) as kro:
        controller.stop()
        kro.start()
        controller.start()
        lose_child(lab)
        await_unready(controller, KRO_LEASE)
        assert warned(controller)
        for found in for_a_while(lambda: lab.child("ConfigMap", "one-c"), seconds=3.0):
            assert found == {}
        kro.stop()
        # Clocks are never compared: a Lease that does not change for its duration has expired.
        controller.wait_ready(NOTICED_S)
        lab.await_child("ConfigMap", "one-c", timeout_s=30)


def test_a_kro_that_comes_later_is_noticed(lab: Lab, controller: ControllerProcess) -> None:
    family(lab, controller)
    pid = controller.pid
    with running_kro(lab.cluster) as kro:
        kro.start()
        await_unready(controller, KRO_LEASE)
        assert warned(controller)
        lose_child(lab)
        for found in for_a_while(lambda: lab.child("ConfigMap", "one-c"), seconds=2.0):
            assert found == {}
        kro.stop()
        kro.forget()
        controller.wait_ready(NOTICED_S)
        lab.await_child("ConfigMap", "one-c", timeout_s=30)
    assert controller.pid == pid


@SLOW
def test_the_lease_of_a_kro_that_is_gone_hinders_nobody(lab: Lab, controller: ControllerProcess) -> None:
    with running_kro(lab.cluster) as kro:
        kro.write_old()
        controller.stop()
        controller.start()
        controller.wait_ready()
        family(lab, controller)
        lose_child(lab)
        lab.await_child("ConfigMap", "one-c", timeout_s=30)
