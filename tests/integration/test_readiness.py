"""Readiness tells whether the process could do its work: a Lease, rights and a token that are taken away."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from kroasync.playground import Playground
from tests.integration.cluster import Cluster, Lab, config, eventually
from tests.integration.process import ControllerProcess

pytestmark = pytest.mark.integration

ACCOUNT = "unlucky"
RBAC = "/apis/rbac.authorization.k8s.io/v1"


def binding(namespace: str) -> dict[str, Any]:
    return {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRoleBinding",
        "metadata": {"name": ACCOUNT},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"},
        "subjects": [{"kind": "ServiceAccount", "name": ACCOUNT, "namespace": namespace}],
    }


@pytest.fixture
def unlucky(
    playground: Playground, cluster: Cluster, lab: Lab, controller: ControllerProcess, tmp_path: Path
) -> Iterator[Callable[..., ControllerProcess]]:
    """unlucky(arguments): a controller with an account of its own and no rights yet, in place of the session's."""
    playground.kubectl("create", "serviceaccount", ACCOUNT, "--namespace", lab.namespace)
    token = playground.kubectl("create", "token", ACCOUNT, "--namespace", lab.namespace).strip()
    kubeconfig = playground.kubeconfig_for_token(token, tmp_path / "kubeconfig")
    made: list[ControllerProcess] = []
    controller.stop()

    def make(*arguments: str) -> ControllerProcess:
        made.append(ControllerProcess(kubeconfig=kubeconfig, log=tmp_path / "log", arguments=arguments))
        made[-1].start()
        return made[-1]

    try:
        yield make
    finally:
        for process in made:
            process.kill()
        cluster.delete(f"{RBAC}/clusterrolebindings/{ACCOUNT}")
        controller.start()
        controller.wait_ready()


def says(process: ControllerProcess, text: str, *, status: int) -> Callable[[], bool]:
    def look() -> bool:
        answer = process.get("/readyz?verbose")
        return answer[0] == status and text in answer[1]

    return look


def test_a_process_that_may_not_have_the_lease_is_not_ready(
    unlucky: Callable[..., ControllerProcess], cluster: Cluster, lab: Lab
) -> None:
    process = unlucky("--leader-elect", f"--leader-election-namespace={lab.namespace}")
    eventually(says(process, "[-]leadership failed", status=500), what="not ready without a right on the Lease")
    cluster.create(binding(lab.namespace))
    eventually(says(process, "leads", status=200), what="ready once it has the right")


def test_a_process_whose_rights_or_token_are_taken_away_is_not_ready(
    unlucky: Callable[..., ControllerProcess], playground: Playground, cluster: Cluster, lab: Lab
) -> None:
    """Its watches are open and go on: the API server asks for rights when one begins."""
    cluster.create(binding(lab.namespace))
    process = unlucky()
    process.wait_ready()
    definition = lab.define("Unlucky", [config("a")])
    path = cluster.path_of(definition)

    def describe(text: str) -> None:
        cluster.merge(path, {"spec": {"resources": [config("a", data={"x": text})]}})

    cluster.delete(f"{RBAC}/clusterrolebindings/{ACCOUNT}")
    describe("rights")
    eventually(says(process, "cannot", status=500), timeout_s=40, what="not ready without rights")
    cluster.create(binding(lab.namespace))
    eventually(says(process, "passed", status=200), timeout_s=40, what="ready with rights")
    playground.kubectl("delete", "serviceaccount", ACCOUNT, "--namespace", lab.namespace)
    describe("token")
    eventually(says(process, "Unauthorized", status=500), timeout_s=60, what="not ready with a token that is revoked")
