"""A Graph prepared for many passes: templates become fillers, expressions become callables, and constants are computed
once.

A Plan is immutable, apart from a cache of compiled operands for explanations. One Plan serves all instances of a
definition.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from operator import itemgetter
from typing import Any, Final, TypeAlias

from kroasync.engine.allowance import EVALUATION_STEPS, PASS_STEPS
from kroasync.engine.explain import Explainer
from kroasync.engine.labels import label_value
from kroasync.engine.scope import Compiled
from kroasync.engine.taint import Taint
from kroasync.engine.yielding import reads
from kroasync.graph.nodes import Expression, Graph, Node, Path
from kroasync.model import names, paths
from kroasync.model.objects import Obj
from kroasync.model.policies import FORMS, NEVER_RECREATED, Policies, Update

# The deepest nesting of an object that is sent: JSON encoders and the API server refuse more.
MAX_DEPTH: Final = 200
# etcd accepts requests of 1.5 MiB, and the stored object is a little larger than the sent one.
MAX_OBJECT_BYTES: Final = 1_500_000

Filler: TypeAlias = Callable[[Sequence[Any]], Any]
"""Puts the values of a node's expressions into a copy of its template. The copy shares the constant parts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """Settings of the engine."""

    # The controller's version: a label on everything it touches, and the ApplySet tooling annotation.
    version: str = "devel"
    max_collection_size: int = 1000
    # Label keys, or prefixes ending in "/", that never go from an instance to its children.
    unpropagated_labels: tuple[str, ...] = names.UNPROPAGATED_LABELS
    # How many steps one evaluation may take, and all evaluations of a pass together.
    evaluation_steps: int = EVALUATION_STEPS
    pass_steps: int = PASS_STEPS
    # How many bytes of JSON an object may have.
    max_object_bytes: int = MAX_OBJECT_BYTES
    # The key that seals children (model.seal). If it is empty there are no seals, and labels and manager must suffice.
    seal_key: bytes = field(default=b"", repr=False)
    # What holds where neither the resource nor the definition sets a policy.
    policies: Policies = field(default_factory=Policies)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class NodePlan:
    """One node, prepared."""

    node: Node
    id: str
    position: int
    # The distinct expressions of the template; `fill` takes their values in this order.
    expressions: tuple[Compiled, ...]
    fill: Filler
    # How deeply the value of each expression may nest.
    rooms: tuple[int, ...]
    may_omit: bool
    dimensions: tuple[tuple[str, Compiled], ...]
    include_when: tuple[Compiled, ...]
    ready_when: tuple[Compiled, ...]
    dependents: tuple[int, ...]
    # `metadata.name` and `metadata.namespace` of the template: a constant, an expression, or None.
    name: "str | Compiled | None"
    namespace: "str | Compiled | None"
    # The labels that all objects of the node share.
    labels: Mapping[str, str]
    # The annotations that all objects of the node share.
    annotations: Mapping[str, str]
    # The annotations that the template may set although their prefix is reserved.
    exempt_annotations: frozenset[str]
    # The places of the template whose values come from Secrets or fill a Secret.
    secrets: tuple[Path, ...]
    # The policies of the node, and the expressions that replace some of them in each pass (`engine.policy_values`).
    policies: Policies
    computed_policies: Mapping[str, Compiled]
    # The fields of its objects that a pass reads; a cache must keep them.
    reads: frozenset[tuple[str, ...]]

    @property
    def naming(self) -> tuple[Compiled, ...]:
        """The expressions that decide which objects the node has."""
        names_ = (part for part in (self.name, self.namespace) if isinstance(part, Compiled))
        return (*names_, *(expression for _, expression in self.dimensions))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Plan:
    """A definition's graph, prepared. `nodes` are in topological order."""

    graph: Graph
    options: Options
    nodes: tuple[NodePlan, ...]
    positions: Mapping[str, int]
    # The managed nodes that share a kind with another one: their objects may be the same.
    rivals: frozenset[str]
    # The labels that the instance gets: ownership and definition.
    instance_labels: Mapping[str, str]
    # The labels that all children get whatever their instance.
    child_labels: Mapping[str, str]
    status: tuple[tuple[Path, Compiled], ...]
    conditions: tuple[Compiled, ...]
    # Whether the author's status contains values of Secrets.
    status_is_secret: bool
    explainer: Explainer = field(default_factory=Explainer)

    @staticmethod
    def of(graph: Graph, options: Options | None = None) -> "Plan":
        options = options or Options()
        positions = {id_: position for position, id_ in enumerate(graph.order)}
        taint = Taint(graph)
        dependents: dict[str, list[int]] = {id_: [] for id_ in graph.order}
        for id_ in graph.order:
            for dependency in graph.nodes[id_].dependencies:
                dependents[dependency].append(positions[id_])
        version = label_value(options.version.replace("+", "-"))
        owned = {names.LABEL_OWNED: "true", names.LABEL_KRO_VERSION: version}
        resource, definition = graph.resource, graph.definition

        def compiled(expression: Expression, place: str) -> Compiled:
            return Compiled.of(expression, secret=taint.reaches(expression), place=place)

        return Plan(
            graph=graph,
            options=options,
            nodes=tuple(
                _plan_node(graph, graph.nodes[id_], positions[id_], tuple(dependents[id_]), taint, options.policies)
                for id_ in graph.order
            ),
            positions=positions,
            rivals=_rivals(graph),
            instance_labels={
                **owned,
                names.LABEL_DEFINITION_ID: definition.uid,
                names.LABEL_DEFINITION_NAME: label_value(definition.name),
            },
            child_labels={
                **owned,
                names.LABEL_MANAGED_BY: names.MANAGED_BY,
                names.LABEL_INSTANCE_GROUP: label_value(resource.group),
                names.LABEL_INSTANCE_VERSION: resource.version,
                names.LABEL_INSTANCE_KIND: resource.kind,
            },
            status=tuple((f.path, compiled(f.expression, f"status.{paths.build(f.path)}")) for f in graph.status),
            conditions=tuple(compiled(e, f"status.conditions[{i}]") for i, e in enumerate(graph.conditions)),
            status_is_secret=any(map(taint.reaches, (*(f.expression for f in graph.status), *graph.conditions))),
        )


def _plan_node(
    graph: Graph, node: Node, position: int, dependents: tuple[int, ...], taint: Taint, defaults: Policies
) -> NodePlan:
    def compiled(expression: Expression, place: str, *, secret: bool = False) -> Compiled:
        secret = secret or taint.reaches(expression, node)
        return Compiled.of(expression, secret=secret, place=place)

    policies = _fixed_policies(node, defaults)
    computed = {name: value for name, value in node.policy.items() if isinstance(value, Expression)}
    decisive = reads(node.template, policies, computed, node.external_fields)
    # An expression that fills a Secret must not be quoted in other places either.
    filling = {i.expression.program.source for i in node.fields if taint.fills_secret(node, tuple(i.path))}

    distinct: dict[tuple[str, bool], int] = {}
    expressions: list[Compiled] = []
    slots: dict[Path, int] = {}
    for item in node.fields:
        key = (item.expression.program.source, item.expression.to_bytes_field)
        if key not in distinct:
            distinct[key] = len(expressions)
            place = paths.build(item.path)
            expressions.append(compiled(item.expression, place, secret=key[0] in filling))
        slots[tuple(item.path)] = distinct[key]
    constants = node.template.get("metadata", {})

    def part(name: str) -> "str | Compiled | None":
        slot = slots.get(("metadata", name))
        return expressions[slot] if slot is not None else constants.get(name) or None

    return NodePlan(
        node=node,
        id=node.id,
        position=position,
        expressions=tuple(expressions),
        fill=filler(node.template, slots),
        rooms=tuple(
            MAX_DEPTH - max(len(path) for path, slot in slots.items() if slot == place)
            for place in range(len(expressions))
        ),
        may_omit=any(e.may_omit for e in expressions),
        dimensions=tuple((d.name, compiled(d.expression, f"forEach {d.name}")) for d in node.for_each),
        include_when=tuple(compiled(e, f"includeWhen[{i}]") for i, e in enumerate(node.include_when)),
        ready_when=tuple(compiled(e, f"readyWhen[{i}]") for i, e in enumerate(node.ready_when)),
        dependents=dependents,
        name=part("name"),
        namespace=part("namespace"),
        labels={names.LABEL_NODE_ID: label_value(node.id)},
        annotations={
            names.ANNOTATION_APPLY_ORDER: str(node.apply_order),
            names.ANNOTATION_NODE_PATH: node.id,
        },
        exempt_annotations=graph.exempt_annotations,
        secrets=taint.fields(node),
        policies=policies,
        computed_policies={name: compiled(value, f"policy.{name}") for name, value in computed.items()},
        reads=graph.reads.get(node.id, frozenset()) | (frozenset() if node.is_external else decisive),
    )


def _fixed_policies(node: Node, defaults: Policies) -> Policies:
    """The policies of a node as far as they are words. A default never recreates what cannot be created again."""
    if defaults.update is Update.RECREATE and node.resource.group_kind in NEVER_RECREATED:
        defaults = replace(defaults, update=Update.APPLY)
    words = {name: FORMS[name](value) for name, value in node.policy.items() if isinstance(value, str)}
    return replace(defaults, **words)  # type: ignore[arg-type]


def _rivals(graph: Graph) -> frozenset[str]:
    managed = [node for node in graph.nodes.values() if not node.is_external]
    kinds = Counter(node.resource.group_kind for node in managed)
    return frozenset(node.id for node in managed if kinds[node.resource.group_kind] > 1)


def filler(template: Obj, slots: Mapping[Path, int]) -> Filler:
    """A function from values to the template with the value of each slot at its path."""
    tree: dict[str | int, Any] = {}
    for path, slot in slots.items():
        branch = tree
        for part in path[:-1]:
            branch = branch.setdefault(part, {})
        branch[path[-1]] = slot
    return _filler(template, tree)


def _filler(value: Any, tree: "dict[str | int, Any] | int") -> Filler:
    if isinstance(tree, int):
        return itemgetter(tree)
    if not tree:
        return lambda _values: value
    parts = tuple((part, _filler(value[part], below)) for part, below in tree.items())
    # dict(...) and list(...) keep the order of the template. Only the containers above a slot are copied.
    copy: Callable[[Any], Any] = dict if isinstance(value, dict) else list

    def fill(values: Sequence[Any]) -> Any:
        filled = copy(value)
        for part, inner in parts:
            filled[part] = inner(values)
        return filled

    return fill
