"""Every name that the cluster sees: labels, annotations, finalizers, field managers, groups.

They are in one place, because clients of kro read them. The values are contracts (of kro, and of KEP-3659 for
ApplySets).
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
# kro v0.1.0 used one finalizer for each object: "<uid>.kro.run/finalizer".
LEGACY_FINALIZER_SUFFIX: Final = ".kro.run/finalizer"

# Templates must not set labels or annotations with these prefixes.
RESERVED_PREFIXES: Final = ("kro.run/", "internal.kro.run/")
# The prefix of names that only kroasync has.
OWN_PREFIX: Final = "kroasync.io/"

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
# On every child: the id of its node. The label has a hash of an id that is too long.
ANNOTATION_NODE_PATH: Final = "internal.kro.run/node-path"
# On a child, where the label of the same name has a hash.
ANNOTATION_INSTANCE_NAME: Final = "internal.kro.run/instance-name"
ANNOTATION_INSTANCE_GROUP: Final = "internal.kro.run/instance-group"
# On every child: the seal proves that this controller applied it (model.seal).
ANNOTATION_SEAL: Final = "kroasync.io/seal"
# On an instance: the children that were recreated for its generation (engine.recreation).
ANNOTATION_RECREATED: Final = "kroasync.io/recreated"
ANNOTATION_INVENTORY_HASH: Final = "internal.kro.run/applyset-inventory-hash"
ANNOTATION_ALLOW_BREAKING: Final = "kro.run/allow-breaking-changes"
# On a child: what happens when its instance no longer wants it. Behind its gate, templates may set it.
ANNOTATION_DELETION_POLICY: Final = "kro.run/deletion-policy"
# On an instance: the generation for which a held prune may go on, once (`engine.prune_guard`).
ANNOTATION_ALLOW_PRUNE: Final = "kroasync.io/allow-prune"
POLICY_DELETE: Final = "Delete"
POLICY_ORPHANED: Final = "Orphaned"
# On an instance, by kro: what it wrote into objects of others.
ANNOTATION_PATCH_CONTRIBUTIONS: Final = "internal.kro.run/patch-contributions"
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
# Defined by kro.
KRO_LEASE_NAME: Final = "controller.kro.run"

# Labels by which other tools claim objects. If a child had them, those tools would prune or adopt it.
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
    # Rancher and Fleet: objects of a set that are not in it are deleted.
    "objectset.rio.cattle.io/",
    "fleet.cattle.io/",
    # kapp: objects of an app that it does not declare are deleted.
    "kapp.k14s.io/",
    # Velero: objects of a restore are deleted or restored with it.
    "velero.io/",
    # Cluster API and Crossplane: objects of a cluster or a composite resource are moved, or deleted with it.
    "cluster.x-k8s.io/",
    "clusterctl.cluster.x-k8s.io/",
    "topology.cluster.x-k8s.io/",
    "addons.cluster.x-k8s.io/",
    "crossplane.io/",
    # Kubernetes itself: the controllers of Pods find their own by these labels.
    "pod-template-hash",
    "controller-revision-hash",
    "pod-template-generation",
    "controller-uid",
    "job-name",
)
