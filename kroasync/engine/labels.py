"""Label values from names that may be too long, and the rule for which labels children inherit from their instance.

Children inherit labels so that people find related objects. But a user who may write an instance may give it any label,
and the controller then puts the label on objects that the user may not write. So children do not inherit labels that
grant or configure something, and kinds that use labels for that purpose inherit none. Operators exclude more labels
with `--label-propagation-exclude`.
"""

import hashlib
import re
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Final

from kroasync.model import names
from kroasync.model.name_forms import MAX_LABEL
from kroasync.model.objects import Obj, Resource, annotations_of, labels_of

_HASHED: Final = "h-"
_HASH_DIGITS: Final = 40
# The form before 0.2: the beginning of the text and some digits.
_FORMER_DIGITS: Final = 10
# Characters of a node's id that are kept of an object: anybody may write that annotation.
_LONGEST_NODE: Final = 253
# Digits of a size that are read: anybody may write that label, and Python refuses to read very long numbers.
_SIZE_DIGITS: Final = 9
_WORDS: Final = re.compile(r"[-_.]+")

# The labels of Kubernetes that identify objects for people; its other labels grant or configure something.
RECOMMENDED_LABELS: Final = frozenset(
    f"app.kubernetes.io/{name}" for name in ("name", "version", "component", "part-of")
)
# Domains and their subdomains whose labels make a platform or a tool act: inject a container, enforce or skip a policy,
# grant a role or an identity, place, scale, back up or prune an object.
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
# First parts of any domain that have the same meaning.
CONFIGURING_SUBDOMAINS: Final = frozenset(
    {
        *("rbac", "iam", "auth", "authorization", "identity", "admission", "webhook", "webhooks", "policy", "policies"),
        *("security", "pod-security", "inject", "injector", "injection", "sidecar", "mesh", "node-role", "topology"),
        *("scheduling", "scheduler", "autoscaling", "autoscaler"),
    }
)
# Words in a label's name that have the same meaning, with or without a domain. For the last words a prefix suffices.
CONFIGURING_WORDS: Final = frozenset(
    {"sidecar", "enforce", "enforced", "enforcement", "privileged", "exempt", "bypass", "webhook", "aadpodidbinding"}
)
CONFIGURING_STEMS: Final = (
    *("inject", "istio", "linkerd", "cilium", "kyverno", "gatekeeper", "karpenter", "aggregate-to-", "pod-security"),
)
# Groups of kinds that configure the cluster or grant something by their labels: they inherit none.
UNLABELLED_GROUPS: Final = frozenset(
    {
        *("rbac.authorization.k8s.io", "authentication.k8s.io", "authorization.k8s.io", "certificates.k8s.io"),
        *("admissionregistration.k8s.io", "apiregistration.k8s.io", "apiextensions.k8s.io"),
        *("flowcontrol.apiserver.k8s.io", "scheduling.k8s.io", "node.k8s.io", "storage.k8s.io"),
    }
)
UNLABELLED_CORE_KINDS: Final = frozenset({"Namespace", "Node", "PersistentVolume"})


def label_value(text: str) -> str:
    """The text, or a hash of it if it is too long for a label value, as kro writes it."""
    return f"{_HASHED}{_digest(text)[:_HASH_DIGITS]}" if is_hashed(text) else text


def is_hashed(text: str) -> bool:
    """Whether the label value of a text is a hash of it."""
    return len(text.encode()) > MAX_LABEL


def is_value_of(found: str | None, text: str) -> bool:
    """Whether `found` is the label value of the text, or was it in a former version of this controller."""
    if not is_hashed(text):
        return found == text
    return found in (label_value(text), _former_value(text))


def _former_value(text: str) -> str:
    """The label value of a text that is too long, as a former version of this controller wrote it."""
    beginning = text[: MAX_LABEL - _FORMER_DIGITS - 1].rstrip("-_.")
    return f"{beginning}-{_digest(text)[:_FORMER_DIGITS]}"


def hash_text(text: str, label: str, annotation: str) -> str:
    """What people are told of a text that a label has a hash of; empty if the label has the text."""
    if not is_hashed(text):
        return ""
    return (
        f'"{text}" exceeds the {MAX_LABEL} character label value limit: children have the label '
        f"{label}={label_value(text)}, and the annotation {annotation} with the full value"
    )


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def node_of(obj: Obj) -> str:
    """The id of the node that an object was applied for, as it says itself; empty if it does not."""
    path = annotations_of(obj).get(names.ANNOTATION_NODE_PATH)
    return str(path or labels_of(obj).get(names.LABEL_NODE_ID, ""))[:_LONGEST_NODE]


def names_of_node(id_: str) -> tuple[str, ...]:
    """What `node_of` may be for an object of the node with this id."""
    return (id_[:_LONGEST_NODE], label_value(id_), _former_value(id_)) if is_hashed(id_) else (id_,)


def collection_size_of(obj: Obj) -> int:
    """How many objects a collection had when this one was applied, as it says itself; 0 if it does not."""
    size = str(labels_of(obj).get(names.LABEL_COLLECTION_SIZE, ""))
    return int(size) if size.isdecimal() and len(size) <= _SIZE_DIGITS else 0


def is_listed(key: str, listed: Iterable[str]) -> bool:
    """Whether the key is in the list, or starts with one of its prefixes (entries that end in a slash)."""
    return any(key.startswith(entry) if entry.endswith("/") else key == entry for entry in listed)


def inherited(labels: Mapping[str, str], unpropagated: Iterable[str]) -> dict[str, str]:
    """The labels that children inherit."""
    listed = tuple(unpropagated)
    return {k: v for k, v in labels.items() if identifies(k) and not is_listed(k, listed)}


def for_pods(labels: Mapping[str, str]) -> dict[str, str]:
    """The inherited labels that Pods may have, too: a selector of a Service, a policy or a controller could mean a key
    without a prefix, and a copy would put the Pod behind it.
    """
    return {key: value for key, value in labels.items() if "/" in key}


def is_pod(resource: Resource) -> bool:
    return (resource.group, resource.kind) == ("", "Pod")


def inherits(resource: Resource) -> bool:
    """Whether objects of the kind inherit labels."""
    if not resource.group:
        return resource.kind not in UNLABELLED_CORE_KINDS
    return resource.group not in UNLABELLED_GROUPS


@lru_cache(maxsize=1024)
def identifies(key: str) -> bool:
    """Whether a label only describes an object; False if it is known to trigger something."""
    if key in RECOMMENDED_LABELS:
        return True
    domain, _, name = key.lower().rpartition("/")
    return not _configures(name) and not (domain and _is_configuring(domain))


def _is_configuring(domain: str) -> bool:
    parts = domain.split(".")
    if parts[0] in CONFIGURING_SUBDOMAINS or parts[0].startswith(CONFIGURING_STEMS):
        return True
    return any(".".join(parts[start:]) in CONFIGURING_DOMAINS for start in range(len(parts)))


def _configures(name: str) -> bool:
    words = _WORDS.split(name)
    return (
        name.startswith(CONFIGURING_STEMS)
        or not CONFIGURING_WORDS.isdisjoint(words)
        or any(word.startswith(CONFIGURING_STEMS) for word in words)
    )
