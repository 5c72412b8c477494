"""Every name the cluster sees: labels, annotations, finalizers, field managers, groups.

One place, because a client of kro reads these names; the values are contracts (kro's, and KEP-3659 for ApplySets).
"""

from typing import Final

KRO_GROUP: Final = "kro.run"
KRO_VERSION: Final = "v1alpha1"
KRO_API_VERSION: Final = f"{KRO_GROUP}/{KRO_VERSION}"
INTERNAL_GROUP: Final = "internal.kro.run"
RESOURCE_GROUP: Final = "ResourceGroup"
RESOURCE_GRAPH_DEFINITION: Final = "ResourceGraphDefinition"
GRAPH_REVISION: Final = "GraphRevision"

FINALIZER: Final = "kro.run/finalizer"
# Early kro (v0.1.0) used one finalizer per object: "<uid>.kro.run/finalizer".
LEGACY_FINALIZER_SUFFIX: Final = ".kro.run/finalizer"

# Templates may not set labels or annotations under these prefixes.
RESERVED_PREFIXES: Final = ("kro.run/", "internal.kro.run/")

LABEL_OWNED: Final = "kro.run/owned"
LABEL_KRO_VERSION: Final = "kro.run/kro-version"
LABEL_MANAGED_BY: Final = "app.kubernetes.io/managed-by"
MANAGED_BY: Final = "kro"
LABEL_DEFINITION_ID: Final = "kro.run/resource-graph-definition-id"
LABEL_DEFINITION_NAME: Final = "kro.run/resource-graph-definition-name"
LABEL_INSTANCE_ID: Final = "kro.run/instance-id"
LABEL_INSTANCE_NAME: Final = "kro.run/instance-name"
LABEL_INSTANCE_NAMESPACE: Final = "kro.run/instance-namespace"
LABEL_INSTANCE_GROUP: Final = "kro.run/instance-group"
LABEL_INSTANCE_VERSION: Final = "kro.run/instance-version"
LABEL_INSTANCE_KIND: Final = "kro.run/instance-kind"
LABEL_NODE_ID: Final = "kro.run/node-id"
LABEL_COLLECTION_INDEX: Final = "kro.run/collection-index"
LABEL_COLLECTION_SIZE: Final = "kro.run/collection-size"
LABEL_REVISION_HASH: Final = "kro.run/graph-revision-hash"

ANNOTATION_APPLY_ORDER: Final = "internal.kro.run/apply-order"
# On every child we apply: it shows that we did (model.seal). The key is in a Secret beside the Lease.
ANNOTATION_SEAL: Final = "kroasync.io/seal"
SEAL_SECRET: Final = "kroasync-seal"
ANNOTATION_INVENTORY_HASH: Final = "internal.kro.run/applyset-inventory-hash"
ANNOTATION_ALLOW_BREAKING: Final = "kro.run/allow-breaking-changes"
ANNOTATION_RECONCILE: Final = "kro.run/reconcile"
RECONCILE_SUSPENDED: Final = ("suspended", "disabled")

# KEP-3659 (ApplySet: kubectl apply --prune redesign).
APPLYSET_PREFIX: Final = "applyset.kubernetes.io/"
LABEL_APPLYSET_ID: Final = "applyset.kubernetes.io/id"
LABEL_APPLYSET_PART_OF: Final = "applyset.kubernetes.io/part-of"
ANNOTATION_APPLYSET_TOOLING: Final = "applyset.kubernetes.io/tooling"
ANNOTATION_APPLYSET_GROUP_KINDS: Final = "applyset.kubernetes.io/contains-group-kinds"
ANNOTATION_APPLYSET_NAMESPACES: Final = "applyset.kubernetes.io/additional-namespaces"

MANAGER_CHILDREN: Final = "kro.run/applyset"
MANAGER_PARENT: Final = "kro.run/applyset-parent"
MANAGER_LABELLER: Final = "kro.run/labeller"
MANAGER_STATUS: Final = "kro.run/status"

LEASE_NAME: Final = "controller.kroasync"

# Labels by which other tools claim objects: copied onto a child they would make those tools prune or adopt it.
UNPROPAGATED_LABELS: Final = (
    "kro.run/",
    "internal.kro.run/",
    APPLYSET_PREFIX,
    "argocd.argoproj.io/",
    "app.kubernetes.io/instance",
    "app.kubernetes.io/managed-by",
    "kustomize.toolkit.fluxcd.io/",
    "helm.toolkit.fluxcd.io/",
    "helm.sh/",
)

# Labels of Kubernetes by which people tell objects apart; all others of it grant or configure something.
RECOMMENDED_LABELS: Final = frozenset(
    f"app.kubernetes.io/{name}" for name in ("name", "version", "component", "part-of")
)
# Domains, with all below them, whose labels make a platform or a tool do something: inject a container, enforce or
# skip a policy, grant a role or an identity, place, scale, back up or prune an object.
CONFIGURING_DOMAINS: Final = frozenset(
    {
        *("kubernetes.io", "k8s.io", "x-k8s.io", "kro.run", "kroasync.io", "cncf.io", "openshift.io"),
        *("argoproj.io", "fluxcd.io", "weave.works", "helm.sh", "crossplane.io", "operatorframework.io", "coreos.com"),
        *("istio.io", "linkerd.io", "kuma.io", "konghq.com", "consul.hashicorp.com", "dapr.io", "solo.io"),
        *("openservicemesh.io", "traefik.io", "projectcontour.io", "nginx.org", "nginx.com", "knative.dev"),
        *("gatekeeper.sh", "openpolicyagent.org", "kyverno.io", "kubewarden.io", "sigstore.dev", "styra.com"),
        *("cilium.io", "projectcalico.org", "tigera.io", "antrea.io", "ovn.org", "metallb.io", "kubevirt.io"),
        *("cert-manager.io", "vault.hashicorp.com", "external-secrets.io", "spiffe.io", "azure.workload.identity"),
        *("karpenter.sh", "keda.sh", "volcano.sh", "yunikorn.apache.org", "velero.io", "kanister.io", "longhorn.io"),
        *("amazonaws.com", "eksctl.io", "gke.io", "cloud.google.com", "azure.com", "cattle.io", "rancher.io"),
        *("aquasec.com", "sysdig.com", "falco.org", "twistlock.com", "stackrox.io", "dynatrace.com", "stakater.com"),
    }
)
# First parts of a domain, whoever's, that say the same.
CONFIGURING_SUBDOMAINS: Final = frozenset(
    {
        *("rbac", "iam", "auth", "authorization", "identity", "admission", "webhook", "webhooks", "policy", "policies"),
        *("security", "pod-security", "inject", "injector", "injection", "sidecar", "mesh", "node-role", "topology"),
        *("scheduling", "scheduler", "autoscaling", "autoscaler"),
    }
)
# Words of a label's own name that say the same, with or without a domain; of the last ones beginnings are enough.
CONFIGURING_WORDS: Final = frozenset(
    {"sidecar", "enforce", "enforced", "enforcement", "privileged", "exempt", "bypass", "webhook", "aadpodidbinding"}
)
CONFIGURING_STEMS: Final = (
    *("inject", "istio", "linkerd", "cilium", "kyverno", "gatekeeper", "karpenter", "aggregate-to-", "pod-security"),
)
# Kinds that configure the cluster or grant something by their labels: they inherit none.
UNLABELLED_GROUPS: Final = frozenset(
    {
        *("rbac.authorization.k8s.io", "authentication.k8s.io", "authorization.k8s.io", "certificates.k8s.io"),
        *("admissionregistration.k8s.io", "apiregistration.k8s.io", "apiextensions.k8s.io"),
        *("flowcontrol.apiserver.k8s.io", "scheduling.k8s.io", "node.k8s.io", "storage.k8s.io"),
    }
)
UNLABELLED_CORE_KINDS: Final = frozenset({"Namespace", "Node", "PersistentVolume"})
