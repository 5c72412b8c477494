"""Children get the labels of an instance only to identify them, never to grant rights or to configure."""

import pytest

from kroasync.engine.labels import for_pods, identifies, inherited, inherits
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


@pytest.mark.parametrize(
    "key",
    [
        pytest.param("objectset.rio.cattle.io/hash", id="Rancher prunes what is not in the set"),
        pytest.param("fleet.cattle.io/bundle-name", id="Fleet counts it as part of the bundle"),
        pytest.param("kapp.k14s.io/app", id="kapp deletes what the app does not declare"),
        pytest.param("kapp.k14s.io/association", id="kapp counts it as part of the app"),
        pytest.param("velero.io/backup-name", id="Velero counts it as restored from the backup"),
        pytest.param("velero.io/restore-name", id="Velero deletes it with the restore"),
        pytest.param("velero.io/exclude-from-backup", id="Velero does not back it up"),
        pytest.param("cluster.x-k8s.io/cluster-name", id="Cluster API counts it as part of the cluster"),
        pytest.param("clusterctl.cluster.x-k8s.io/move", id="clusterctl moves it to another cluster"),
        pytest.param("topology.cluster.x-k8s.io/owned", id="Cluster API deletes it with the topology"),
        pytest.param("addons.cluster.x-k8s.io/x", id="Cluster API applies it as an addon"),
        pytest.param("crossplane.io/composite", id="Crossplane counts it as composed"),
        pytest.param("crossplane.io/claim-name", id="Crossplane lists it under the claim"),
        pytest.param("pod-template-hash", id="a ReplicaSet adopts it"),
        pytest.param("controller-revision-hash", id="a StatefulSet or DaemonSet counts it as a revision"),
        pytest.param("pod-template-generation", id="a DaemonSet counts it as its Pod"),
        pytest.param("controller-uid", id="a Job counts it as its Pod"),
        pytest.param("job-name", id="kubectl logs job/x shows it"),
        pytest.param("argocd.argoproj.io/instance", id="Argo CD prunes it"),
        pytest.param("kustomize.toolkit.fluxcd.io/name", id="Flux prunes it"),
        pytest.param("app.kubernetes.io/instance", id="Argo CD prunes it, by default"),
        pytest.param("app.kubernetes.io/managed-by", id="Helm adopts it"),
        pytest.param("applyset.kubernetes.io/part-of", id="kubectl apply --prune deletes it"),
    ],
)
def test_labels_by_which_tools_claim_objects_are_not_inherited(key: str) -> None:
    """By the list itself, whatever else is known of the domain."""
    assert any(key.startswith(e) if e.endswith("/") else key == e for e in names.UNPROPAGATED_LABELS)
    assert inherited({key: "x", "team": "red"}, names.UNPROPAGATED_LABELS) == {"team": "red"}


def test_pods_inherit_only_keys_with_a_prefix() -> None:
    assert for_pods({"app": "shop", "tier": "web", "example.com/team": "red"}) == {"example.com/team": "red"}
