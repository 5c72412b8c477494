"""The compiled form of a definition. It is immutable, and all passes over all of its instances share it.

The engine needs only a Graph, which has no reference to the cluster. Expressions are compiled programs over plain
dicts; an evaluation never changes the data that it reads.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Protocol, TypeAlias

from kroasync.cel import Program
from kroasync.model.definition import Definition
from kroasync.model.objects import GVK, Obj, Resource
from kroasync.model.policies import MaxPrune

Path: TypeAlias = tuple[str | int, ...]


class NodeType(Enum):
    RESOURCE = "Resource"
    COLLECTION = "Collection"
    EXTERNAL = "External"
    EXTERNAL_COLLECTION = "ExternalCollection"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Expression:
    """One compiled expression.

    `text` is the author's text: the inside of `${...}`, or a whole string template.
    """

    text: str
    program: Program
    # The node ids that it reads (not `schema`, iterators, `each` or `runtime`), in order of discovery.
    references: tuple[str, ...] = ()
    # The node's iterators that it uses; such an expression is evaluated once for each item of the collection.
    iterators: tuple[str, ...] = ()
    # Whether the field contains bytes (OpenAPI format byte): a result of type bytes is written in base64.
    to_bytes_field: bool = False


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class FieldExpression:
    """An expression and the path in the template whose value it replaces."""

    path: Path
    expression: Expression


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Dimension:
    """One `forEach` entry."""

    name: str
    expression: Expression


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Node:
    """One entry of `spec.resources`, compiled."""

    id: str
    index: int
    type: NodeType
    resource: Resource
    # The object, with its expressions as strings; for external references {apiVersion, kind, metadata}.
    template: Obj
    fields: tuple[FieldExpression, ...] = ()
    include_when: tuple[Expression, ...] = ()
    # Bound to the node's id (Resource, External, ExternalCollection by own id) or to `each`.
    ready_when: tuple[Expression, ...] = ()
    # Whether `ready_when` reads `each` item instead of the node's id.
    ready_each: bool = False
    for_each: tuple[Dimension, ...] = ()
    # The ids that this node needs, in order of discovery: template, then forEach, then includeWhen.
    dependencies: tuple[str, ...] = ()
    # The number of the deletion wave; the wave that is deleted last is 1 (graph order of the ApplySet annotation).
    apply_order: int = 1
    # The policies that the author set for this node or for the definition, by the names of `model.policies.FORMS`: a
    # word, or an expression over `schema`.
    policy: Mapping[str, "str | Expression"] = field(default_factory=dict)
    # How many objects of the collection one pass may delete; None for any number.
    max_prune: MaxPrune | None = None
    # Fields of the template that another field manager may take over.
    external_fields: tuple[tuple[str, ...], ...] = ()

    @property
    def is_external(self) -> bool:
        return self.type in (NodeType.EXTERNAL, NodeType.EXTERNAL_COLLECTION)

    @property
    def is_collection(self) -> bool:
        return self.type in (NodeType.COLLECTION, NodeType.EXTERNAL_COLLECTION)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Graph:
    """A definition that passed every check."""

    definition: Definition
    # Hash of the normalised definition spec (graph revision hash).
    hash: str
    # The instance kind.
    resource: Resource
    nodes: Mapping[str, Node]
    # Node ids in topological order, ties by place in the definition.
    order: tuple[str, ...]
    # The leaves of `schema.status` (without `conditions`), in the author's order.
    status: tuple[FieldExpression, ...] = ()
    # The author's status tree with the texts of the expressions.
    status_template: Obj = field(default_factory=dict)
    # The entries of `schema.status.conditions`.
    conditions: tuple[Expression, ...] = ()
    # The generated CustomResourceDefinition, without ownership labels.
    crd: Obj = field(default_factory=dict)
    # For each node id, the field paths of its objects that expressions of the graph read ("*" is any index or
    # key); an empty path means the whole object. A cache must keep these fields.
    reads: Mapping[str, frozenset[tuple[str, ...]]] = field(default_factory=dict)
    # The annotations that templates may set although their prefix is reserved.
    exempt_annotations: frozenset[str] = frozenset()

    def dependents(self, node_id: str) -> tuple[str, ...]:
        """Ids of the nodes that need this one, in topological order."""
        return tuple(n for n in self.order if node_id in self.nodes[n].dependencies)


class Kinds(Protocol):
    """The kinds of the cluster, for the checks: read before the build, or from the bundled catalog."""

    def resource(self, gvk: GVK) -> Resource | None:
        """How the kind is served; None if the cluster does not have it."""

    def schema(self, gvk: GVK) -> dict[str, Any] | None:
        """The kind's OpenAPI v3 schema with every `$ref` inlined; None if there is none."""
