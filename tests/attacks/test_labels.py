"""Children get the labels of an instance only to identify them, never to grant rights or to configure."""

from __future__ import annotations

from typing import Any

import pytest

from tests.attacks.people import RBAC, People, User, rule
from tests.integration.cluster import Cluster, Lab, Obj, RefusedError, config, eventually, node

pytestmark = pytest.mark.integration

GRANTING = {
    "pod-security.kubernetes.io/enforce": "privileged",
    "istio-injection": "disabled",
    "istio.io/rev": "hers",
    "sidecar.istio.io/inject": "false",
    "topology.istio.io/network": "hers",
    "linkerd.io/inject": "disabled",
    "admission.gatekeeper.sh/ignore": "yes",
    "rbac.authorization.k8s.io/aggregate-to-admin": "true",
    "rbac.authorization.k8s.io/aggregate-to-edit": "true",
    "rbac.kro.run/aggregate-to-controller": "true",
    "rbac.example.com/aggregate-to-something": "true",
    "kubernetes.io/metadata.name": "kube-system",
    "kubernetes.io/cluster-service": "true",
    "node-role.kubernetes.io/x": "y",
    "node.kubernetes.io/exclude-from-external-load-balancers": "true",
    "service.kubernetes.io/headless": "",
    "service.kubernetes.io/service-proxy-name": "hers",
    "batch.kubernetes.io/job-name": "hers",
    "endpointslice.kubernetes.io/managed-by": "hers",
    "x.k8s.io/y": "z",
    "gateway.networking.k8s.io/gateway-name": "hers",
    "kueue.x-k8s.io/queue-name": "hers",
    "app.kubernetes.io/managed-by": "Helm",
    "app.kubernetes.io/instance": "hers",
}
IDENTIFYING = {
    "team": "a",
    "example.com/team": "b",
    "app.kubernetes.io/name": "shop",
    "app.kubernetes.io/part-of": "shops",
}
# Only the first kind has children that labels identify.
IDENTIFIED, OTHERS = ("ConfigMap", "Deployment"), ("Namespace", "ClusterRole")


def resources(name: str) -> list[Obj]:
    pod: Obj = {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "x"}]}}
    spec: Obj = {"replicas": 0, "selector": {"matchLabels": {"a": "b"}}, "template": pod}
    rules = [{"apiGroups": [""], "resources": ["configmaps"], "verbs": ["get"]}]
    own = {"name": name, "labels": {"own": "x"}}
    return [
        config("map", name, metadata={"labels": {"own": "x"}}),
        node("deployment", {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": own, "spec": spec}),
        node("space", {"apiVersion": "v1", "kind": "Namespace", "metadata": own}),
        node("role", {"apiVersion": f"{RBAC}/v1", "kind": "ClusterRole", "metadata": own, "rules": rules}),
    ]


@pytest.fixture
def roles_managed(cluster: Cluster) -> None:
    """The controller may manage ClusterRoles that only get ConfigMaps; it may not grant more than it has."""
    verbs = ["get", "list", "watch", "create", "patch", "delete"]
    role = {
        "apiVersion": f"{RBAC}/v1",
        "kind": "ClusterRole",
        "metadata": {"name": "test-cluster-roles", "labels": {"rbac.kro.run/aggregate-to-controller": "true"}},
        "rules": [{"apiGroups": [RBAC], "resources": ["clusterroles"], "verbs": verbs}],
    }
    # The right stays for the session: without it, the API server would refuse a request of an open watch.
    try:
        cluster.create(role)
    except RefusedError as error:
        if error.status != 409:
            raise


@pytest.fixture
def writer(lab: Lab, people: People) -> User:
    return people.holding(lab.namespace, {lab.namespace: [rule("get create patch", "*", lab.group)]})


def test_labels_that_grant_reach_no_child(lab: Lab, roles_managed: None, writer: User) -> None:
    name = f"{lab.namespace}-space"
    lab.define("Space", resources(name))

    def put(**labels: str) -> Obj:
        meta: dict[str, Any] = {"name": "mine", "namespace": lab.namespace, "labels": labels}
        return writer.apply({"apiVersion": f"{lab.group}/v1alpha1", "kind": "Space", "metadata": meta})

    def labels_of(kind: str) -> dict[str, str]:
        return dict(lab.child(kind, name).get("metadata", {}).get("labels", {}))

    put(**GRANTING, **IDENTIFYING)
    lab.await_state("Space", "mine", timeout_s=30)
    for kind in (*IDENTIFIED, *OTHERS):
        found = labels_of(kind)
        assert found["own"] == "x"
        got = {key for key, value in GRANTING.items() if found.get(key) == value}
        # The server itself writes this label, with the namespace's name.
        assert got == set(), kind
    for kind in IDENTIFIED:
        assert labels_of(kind).items() >= IDENTIFYING.items()
    for kind in OTHERS:
        assert not labels_of(kind).keys() & IDENTIFYING.keys()
    # A changed label reaches the children that it identifies.
    put(**GRANTING, **IDENTIFYING | {"team": "c"})
    eventually(lambda: labels_of("ConfigMap").get("team") == "c", what="the new label arrives")
    assert not labels_of("Namespace").keys() & IDENTIFYING.keys()
    lab.cluster.delete(lab.path("Space", "mine"))
    lab.await_gone(lab.path("Space", "mine"), timeout_s=60)
