"""The compiled form of a definition: immutable, shared by every pass over every instance of it.

A Graph is all the engine needs; nothing in it refers to the cluster. Expressions are compiled programs over
plain dicts, so evaluating one never mutates what it reads.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Protocol, TypeAlias

from kroasync.cel import Program
from kroasync.model.definition import Definition
from kroasync.model.objects import GVK, Obj, Resource

Path: TypeAlias = tuple[str | int, ...]


class NodeType(Enum):
    RESOURCE = "Resource"
    COLLECTION = "Collection"
    EXTERNAL = "External"
    EXTERNAL_COLLECTION = "ExternalCollection"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Expression:
    """One compiled expression.

    `text` is what the author wrote: the inside of `${...}`, or a whole string template.
    """

    text: str
    program: Program
    # Node ids it refers to (not `schema`, iterators, `each` or `runtime`), in order of discovery.
    references: tuple[str, ...] = ()
    # Own iterators it uses; such an expression is evaluated once per item of the collection.
    iterators: tuple[str, ...] = ()
    # The field the result goes to holds bytes (OpenAPI format byte): a bytes result is written
    # base64-encoded.
    to_bytes_field: bool = False


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class FieldExpression:
    """An expression and the place in the template whose value it replaces."""

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
    # The object with its expressions still in place as strings; for externals {apiVersion, kind, metadata}.
    template: Obj
    fields: tuple[FieldExpression, ...] = ()
    include_when: tuple[Expression, ...] = ()
    # Bound to the node's id (Resource, External, ExternalCollection by own id) or to `each`.
    ready_when: tuple[Expression, ...] = ()
    # True if `ready_when` speaks of `each` item instead of the node's id.
    ready_each: bool = False
    for_each: tuple[Dimension, ...] = ()
    # Ids this node needs, in order of discovery: template, then forEach, then includeWhen.
    dependencies: tuple[str, ...] = ()
    # Wave number of deletion: dependency-most is 1 (graph order of the ApplySet member annotation).
    apply_order: int = 1

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
    # Leaves of `schema.status` (without `conditions`), in the author's order.
    status: tuple[FieldExpression, ...] = ()
    # The author's status tree with expressions still in place.
    status_template: Obj = field(default_factory=dict)
    # Entries of `schema.status.conditions`.
    conditions: tuple[Expression, ...] = ()
    # The generated CustomResourceDefinition, without ownership labels.
    crd: Obj = field(default_factory=dict)
    # Per node id, the field paths any expression of the graph reads of its objects ("*" stands for any index
    # or key); an empty path means the whole object. What a cache must keep.
    reads: Mapping[str, frozenset[tuple[str, ...]]] = field(default_factory=dict)

    def dependents(self, node_id: str) -> tuple[str, ...]:
        """Ids of the nodes that need this one, in topological order."""
        return tuple(n for n in self.order if node_id in self.nodes[n].dependencies)


class Kinds(Protocol):
    """What the checks ask about the cluster's kinds: fetched beforehand, or from the bundled catalog."""

    def resource(self, gvk: GVK) -> Resource | None:
        """How the kind is served; None if the cluster does not know it."""

    def schema(self, gvk: GVK) -> dict[str, Any] | None:
        """The kind's OpenAPI v3 schema with every `$ref` inlined; None if there is none."""
