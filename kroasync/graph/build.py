"""Compiles a definition with its schemas to a Graph, or reports all problems of the definition.

The module is pure: the caller reads the schemas of `needed_kinds` first. One problem neither hides nor causes others:
an expression without a type because of an earlier problem is not type-checked.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Final

from kroasync.graph import author_conditions, author_status, checks, dag
from kroasync.graph.budget import Budget, OverBudgetError
from kroasync.graph.compiling import compiling
from kroasync.graph.declarations import Declarations
from kroasync.graph.linking import Linked, linking
from kroasync.graph.node_policies import WrittenPolicies, compiling_defaults
from kroasync.graph.nodes import Graph, Kinds, Node
from kroasync.graph.problem_report import Report
from kroasync.graph.references import OMIT_GATE
from kroasync.graph.resources import Entry, reading_entry
from kroasync.model.definition import Definition, hashing
from kroasync.model.objects import GVK, Obj
from kroasync.model.problems import Problem, Severity, has_errors
from kroasync.model.steps import Steps, drained
from kroasync.schema import name_rules, simple
from kroasync.schema.crd import build_crd, instance_resource

# The number of dimensions of a resource that are checked, even if fewer are allowed.
_MOST_DIMENSIONS: Final = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Limits that an operator sets."""

    max_dimensions: int = 10
    """The maximum number of `forEach` entries of one resource."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Built:
    """The result of a build: a graph, or errors. A graph may have warnings."""

    graph: Graph | None
    problems: tuple[Problem, ...] = ()
    waiting_for: tuple[GVK, ...] = ()
    """Unknown kinds of the definition; each also has a problem with the code `kind-not-found`."""
    crd: Obj | None = None
    """The generated CRD, even without a graph, if the spec has a schema."""
    spec_schema: Obj | None = None
    known_spec: Obj | None = None
    """The schema of the spec as far as it is known: a field with an error takes every value. None if the build ended
    before it was read.
    """
    needs: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Node id -> the ids that it needs, from the expressions that parse; in declaration order."""
    offsets: Mapping[Problem, int] = field(default_factory=dict)
    """For a problem inside an expression: its position in the author's string at the problem's path."""
    short_messages: Mapping[Problem, str] = field(default_factory=dict)
    """The messages without the prefixes that a path says already."""

    @property
    def is_waiting(self) -> bool:
        """Whether unknown kinds are the only errors."""
        codes = {problem.code for problem in self.problems if problem.severity is Severity.ERROR}
        return codes == {"kind-not-found"}


def needed_kinds(definition: Definition) -> tuple[GVK, ...]:
    """The kinds whose schemas `build` needs, in the order of their first use."""
    found = (checks.object_kind(spec) for spec in definition.resources)
    return tuple(dict.fromkeys(gvk for gvk in found if gvk is not None))


def build(
    definition: Definition, kinds: Kinds, *, limits: Limits = Limits(), features: frozenset[str] = frozenset()
) -> Built:
    """Checks and compiles a definition, in kro's order of steps. Each step works on the results of those before it."""
    return drained(building(definition, kinds, limits=limits, features=features))


def building(
    definition: Definition, kinds: Kinds, *, limits: Limits = Limits(), features: frozenset[str] = frozenset()
) -> Steps[Built]:
    """`build` with a pause after each resource and within each long part; `kinds` must not change."""
    report = Report()
    try:
        return (yield from _building(definition, kinds, limits, features, report))
    except OverBudgetError as error:
        return Built(
            graph=None,
            problems=(*report.problems, error.problem),
            offsets=report.offsets,
            short_messages=report.short_messages,
        )


def _building(
    definition: Definition, kinds: Kinds, limits: Limits, features: frozenset[str], report: Report
) -> Steps[Built]:
    budget = Budget()
    hash_ = yield from hashing(definition.source_spec)
    yield from checks.checking_names(definition, report, budget, max_dimensions=limits.max_dimensions)
    known_schema, spec_schema = yield from _spec_schema(definition, report)
    for text in name_rules.read(definition.name_validation)[1]:
        report.add("name-validation", f"failed to build the schema of metadata.name: {text}", name_rules.PATH)
    entries: list[Entry] = []
    exempt = checks.exempt_annotations(features)
    for spec in definition.resources:
        # Dimensions beyond the limit have been reported. If there are many, the last ones are not checked.
        spec = replace(spec, for_each=spec.for_each[: max(limits.max_dimensions, _MOST_DIMENSIONS)])
        reading = reading_entry(
            spec, kinds, cluster_instance=not definition.namespaced, exempt=exempt, report=report, budget=budget
        )
        entries.append((yield from reading))
        yield
    declared = Declarations(
        definition,
        entries,
        known_schema,
        allow_omit=OMIT_GATE in features,
        report=report,
        budget=budget,
    )
    yield
    linked: list[Linked] = []
    for entry in entries:
        linked.append((yield from linking(entry, declared)))
        yield
    needs = {one.entry.id: one.dependencies for one in linked if declared.owns(one.entry)}
    order = yield from _order(needs, declared)
    yield
    waves = (yield from dag.numbering(needs)) if order else {}
    defaults = yield from compiling_defaults(definition.policy, declared)
    nodes = yield from _nodes(linked, waves, defaults, declared)
    template = author_status.status_template(definition.status)
    leaves, status_schema = yield from author_status.compiling_status(template, declared)
    yield
    written = definition.status.get("conditions")
    conditions = yield from author_conditions.compiling_conditions(written, declared)
    author_status.check_references(leaves, report)
    crd = build_crd(definition, spec_schema, status_schema, owner_labels={}) if spec_schema is not None else None
    graph = None
    if crd is not None and not has_errors(report.problems):
        graph = Graph(
            definition=definition,
            hash=hash_,
            resource=instance_resource(definition),
            nodes=nodes,
            order=order,
            status=tuple(leaf for leaf, _ in leaves),
            status_template=template,
            conditions=conditions,
            crd=crd,
            reads=(yield from _reads(order, declared)),
            exempt_annotations=exempt,
        )
    return Built(
        graph=graph,
        problems=tuple(report.problems),
        waiting_for=_unknown_kinds(entries),
        crd=crd,
        spec_schema=spec_schema,
        known_spec=known_schema,
        needs=needs,
        offsets=report.offsets,
        short_messages=report.short_messages,
    )


def _reads(order: Iterable[str], declared: Declarations) -> Steps[dict[str, frozenset[tuple[str, ...]]]]:
    found = {}
    for name in order:
        found[name] = declared.reads(name)
        if declared.budget.pause_after(1 + len(found[name])):
            yield
    return found


def _spec_schema(definition: Definition, report: Report) -> Steps[tuple[Obj, Obj | None]]:
    """The schema of the instance's spec as far as it is known, for the types; and the schema itself, None if it has
    errors.
    """
    schema, problems = yield from simple.building(definition.spec, definition.types)
    prefix = f'failed to build resourcegraphdefinition "{definition.name}": '
    with report.step(f"{prefix}failed to build OpenAPI schema for instance: "):
        for problem in problems:
            report.add(
                problem.code,
                problem.message,
                problem.path,
                suggestion=problem.suggestion,
                severity=problem.severity,
            )
    return schema, None if has_errors(problems) else schema


def _order(needs: Mapping[str, tuple[str, ...]], declared: Declarations) -> Steps[tuple[str, ...]]:
    """Topological order of the nodes; empty if there is a cycle."""
    order = yield from dag.ordering(needs)
    if len(order) == len(needs):
        return order
    cycles = dag.cycles(needs)
    for cycle in cycles:
        text = f"failed to build dependency graph: graph contains a cycle: {' -> '.join(cycle)}"
        declared.report.add("cycle", text, declared.entries[cycle[0]].spec.path)
    return ()


def _nodes(
    linked: list[Linked],
    waves: Mapping[str, int],
    defaults: WrittenPolicies,
    declared: Declarations,
) -> Steps[dict[str, Node]]:
    nodes: dict[str, Node] = {}
    for one in linked:
        with declared.report.step(f'failed to validate resource "{one.entry.id}": '):
            node = yield from compiling(one, declared, defaults, apply_order=waves.get(one.entry.id, 1))
        if node is not None:
            nodes[node.id] = node
        yield
    return nodes


def _unknown_kinds(entries: list[Entry]) -> tuple[GVK, ...]:
    found = (entry.gvk for entry in entries if entry.gvk is not None and entry.schema is None)
    return tuple(dict.fromkeys(found))
