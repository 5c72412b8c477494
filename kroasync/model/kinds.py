"""The kinds kroasync itself reads and writes, as the API server serves them; what definitions name is discovered."""

from typing import Final

from kroasync.model import names
from kroasync.model.objects import Resource

GROUPS: Final = Resource(names.KRO_GROUP, names.KRO_VERSION, names.RESOURCE_GROUP, "resourcegroups")
GRAPH_DEFINITIONS: Final = Resource(
    names.KRO_GROUP, names.KRO_VERSION, names.RESOURCE_GRAPH_DEFINITION, "resourcegraphdefinitions", namespaced=False
)
REVISIONS: Final = Resource(
    names.INTERNAL_GROUP, names.KRO_VERSION, names.GRAPH_REVISION, "graphrevisions", namespaced=False
)
CRDS: Final = Resource(
    "apiextensions.k8s.io", "v1", "CustomResourceDefinition", "customresourcedefinitions", namespaced=False
)
EVENTS: Final = Resource("events.k8s.io", "v1", "Event", "events")
LEASES: Final = Resource("coordination.k8s.io", "v1", "Lease", "leases")
SECRETS: Final = Resource("", "v1", "Secret", "secrets")
