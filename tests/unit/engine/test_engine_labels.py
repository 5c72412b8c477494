"""Children get the labels of an instance only to identify them, never to grant rights or to configure."""

import pytest

from kroasync.engine.labels import identifies, inherits
from kroasync.model import names
from kroasync.model.objects import Resource

IDENTIFYING = [
    *("team", "app", "cost-center", "tier", "env", "owner.name", "release_1", "k8s-app"),
    *("example.com/team", "acme.io/cost-center", "labels.acme.io/app", "backstage.io/kubernetes-id"),
    *("tags.datadoghq.com/service", "kubernetes.io.example.com/x", "notkubernetes.io/x", "mykro.run/x"),
    *(
        "app.kubernetes.io/name",
        "app.kubernetes.io/version",
        "app.kubernetes.io/component",
        "app.kubernetes.io/part-of",
    ),
]
CONFIGURING = [
    *(
        "pod-security.kubernetes.io/enforce",
        "pod-security.kubernetes.io/enforce-version",
        "kubernetes.io/metadata.name",
    ),
    *(
        "kubernetes.io/anything",
        "k8s.io/anything",
        "app.kubernetes.io/anything",
        "node-role.kubernetes.io/control-plane",
    ),
    *("rbac.authorization.k8s.io/aggregate-to-admin", "rbac.kro.run/aggregate-to-controller", "rbac.acme.io/role"),
    *("istio-injection", "istio.io/rev", "sidecar.istio.io/inject", "topology.istio.io/network", "linkerd.io/inject"),
    *(
        "admission.gatekeeper.sh/ignore",
        "openpolicyagent.org/webhook",
        "policies.kyverno.io/skip",
        "admission.acme.io/off",
    ),
    *("azure.workload.identity/use", "aadpodidbinding", "eks.amazonaws.com/fargate-profile", "iam.gke.io/x"),
    *("karpenter.sh/do-not-disrupt", "cluster-autoscaler.kubernetes.io/safe-to-evict", "topology.kubernetes.io/zone"),
    *(
        "acme.io/inject",
        "acme.io/sidecar",
        "vault-agent-injector",
        "sidecar",
        "PRIVILEGED",
        "acme.io/aggregate-to-view",
    ),
    *("kro.run/owned", "internal.kro.run/x", "kroasync.io/seal", "admission.datadoghq.com/enabled", "helm.sh/chart"),
    *(
        "security.istio.io/tlsMode",
        "networking.knative.dev/visibility",
        "kueue.x-k8s.io/queue-name",
        "velero.io/backup",
    ),
]


@pytest.mark.parametrize("key", IDENTIFYING)
def test_what_identifies_is_inherited(key: str) -> None:
    assert identifies(key)


@pytest.mark.parametrize("key", CONFIGURING)
def test_what_grants_or_configures_is_not(key: str) -> None:
    assert not identifies(key)


@pytest.mark.parametrize(
    ("group", "kind", "inherited"),
    [
        ("", "ConfigMap", True),
        ("", "Service", True),
        ("apps", "Deployment", True),
        ("kro.run", "WebApp", True),
        ("networking.k8s.io", "Ingress", True),
        ("policy", "PodDisruptionBudget", True),
        ("example.com", "Namespace", True),
        ("", "Namespace", False),
        ("", "Node", False),
        ("rbac.authorization.k8s.io", "ClusterRole", False),
        ("rbac.authorization.k8s.io", "RoleBinding", False),
        ("admissionregistration.k8s.io", "ValidatingWebhookConfiguration", False),
        ("apiregistration.k8s.io", "APIService", False),
        ("apiextensions.k8s.io", "CustomResourceDefinition", False),
        ("storage.k8s.io", "StorageClass", False),
    ],
)
def test_kinds_that_configure_the_cluster_inherit_nothing(group: str, kind: str, inherited: bool) -> None:
    assert inherits(Resource(group, "v1", kind, kind.lower() + "s")) is inherited


def test_a_writer_of_instances_gives_a_namespace_no_label_and_other_children_only_what_identifies(
    graph_of, cluster_of, instance_of, walked, config
):
    namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "space", "labels": {"by": "author"}}}
    graph = graph_of({"id": "ns", "template": namespace}, config("a"))
    labels = {**dict.fromkeys(CONFIGURING, "x"), "team": "x", "example.com/team": "y"}
    passed = walked(graph, cluster_of(instance_of(labels=labels)))
    own = {key for key in passed.desired("ns")["metadata"]["labels"] if not key.startswith("kro.run/")}
    assert own == {"by", names.LABEL_MANAGED_BY, names.LABEL_APPLYSET_PART_OF}
    child = passed.desired("a")["metadata"]["labels"]
    assert (child["team"], child["example.com/team"]) == ("x", "y")
    assert child[names.LABEL_OWNED] == "true"
    assert not (set(CONFIGURING) - {names.LABEL_OWNED}) & child.keys()
