"""The output of `render`: one pass of the controller's engine over an instance, with the given objects as the cluster.

Nodes really wait: a child has a status only if `observed` contains it, so nodes that need a readyWhen wait and say so.
What the pass deletes, releases or holds is known if `observed` contains the instance too: its UID and its inventory say
which of the objects are its children. Fields are left to other managers if the objects have `managedFields`.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

import orjson

from kroasync.cli.inputs import usage_error
from kroasync.engine.actions import Apply
from kroasync.engine.instance_status import compose
from kroasync.engine.offline import OfflineWorld, defaulted
from kroasync.engine.orphans import is_orphaned
from kroasync.engine.outcome import ChangeKind, NodeState, Outcome
from kroasync.engine.plan import Plan
from kroasync.engine.prune_guard import held_text
from kroasync.engine.walk import Walk
from kroasync.graph.analysis import Analysis
from kroasync.graph.nodes import Graph
from kroasync.model import names, timestamps
from kroasync.model.manifests import Document, Text, dump_all, load_objects
from kroasync.model.objects import GVK, Obj, Resource, metadata, name_of, namespace_of
from kroasync.model.policies import Update
from kroasync.model.problems import Problem, has_errors
from kroasync.schema.catalog import bundled
from kroasync.schema.crd import CRD_KIND

# Instead of the UID that the API server would assign.
_UID: Final = "00000000-0000-0000-0000-000000000000"
_ORPHANED: Final = f"{names.ANNOTATION_DELETION_POLICY}: {names.POLICY_ORPHANED}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rendered:
    """The result of the pass."""

    manifests: tuple[Obj, ...]
    # The instance with updated metadata and the status that it would get.
    instance: Obj
    # Nodes that are left out, wait or failed, each with the reason, in topological order; then the objects that are
    # deleted, released or held, the fields that are left to others, and the objects that will be released instead of
    # being deleted.
    remarks: tuple[str, ...]
    has_errors: bool


def observed_objects(texts: Iterable[Text]) -> tuple[list[Obj], list[Problem]]:
    """The objects in some manifests, including the items of lists, and their problems."""
    objects: list[Obj] = []
    problems: list[Problem] = []
    for document in load_objects(texts):
        problems += document.problems
        if _is_object(document.obj):
            objects.append(document.obj)
        elif not has_errors(document.problems):
            fault = "an observed object needs apiVersion, kind and metadata.name"
            problems.append(document.locate(Problem(code="observed-object", message=fault)))
    return objects, problems


def _is_object(obj: Any) -> bool:
    return (
        isinstance(obj, dict)
        and isinstance(obj.get("apiVersion"), str)
        and isinstance(obj.get("kind"), str)
        and bool(name_of(obj))
    )


def only_instance(found: Analysis, source: str) -> tuple[Graph, Obj]:
    """The one instance in a file as the API server would store it, and the graph of its definition.

    The program exits with status 2 if there is none, or more than one.
    """
    instances = [document.obj for document in found.instances if document.source == source]
    if len(instances) > 1:
        raise usage_error(f"several instances in {source}: render takes one")
    for checked in found.definitions:
        built = checked.built
        if instances and built is not None and built.graph is not None:
            resource = built.graph.resource
            if (resource.api_version, resource.kind) == (instances[0].get("apiVersion"), instances[0].get("kind")):
                return built.graph, _completed(instances[0], built.graph, built.spec_schema or {})
    raise usage_error(f"no instance of the definition in {source}")


def _completed(instance: Obj, graph: Graph, spec_schema: Obj) -> Obj:
    """The instance with defaults, UID and namespace."""
    meta = {"uid": _UID, "generation": 1, **metadata(instance)}
    if graph.resource.namespaced:
        meta.setdefault("namespace", "default")
    spec = instance.get("spec")
    spec = defaulted(spec_schema.get("default", {}) if spec is None else spec, spec_schema)
    return {**{k: v for k, v in instance.items() if k != "status"}, "metadata": meta, "spec": spec}


def render(graph: Graph, instance: Obj, observed: Sequence[Obj], others: Iterable[Document]) -> Rendered:
    """One pass that sends everything declared, even if it does not differ from the observed objects."""
    plan = Plan.of(graph)
    instance = _as_stored(instance, observed)
    world = OfflineWorld(instance, observed, _kinds(graph, others).get, resend=True)
    walk = Walk(plan, instance, world)
    applies: list[Apply] = []
    while actions := walk.next_actions():
        applies += [action for action in actions if isinstance(action, Apply)]
        walk.feed([world.perform(action) for action in actions])
    outcome = walk.outcome
    return Rendered(
        manifests=tuple(action.obj for action in applies),
        instance={**outcome.instance, "status": _status(plan, outcome)},
        remarks=(
            *_remarks(outcome),
            *_undeclared(outcome),
            *_yielded(outcome),
            *_left(applies, outcome),
            *_kept(applies),
        ),
        has_errors=bool(outcome.failures) or outcome.management_error is not None,
    )


def _as_stored(instance: Obj, observed: Sequence[Obj]) -> Obj:
    """The instance with the metadata that the observed objects show it with, as if it had just been applied."""
    live = next((one for one in observed if _identity(one, instance) == _identity(instance, instance)), None)
    if live is None:
        return instance
    given, stored = metadata(instance), metadata(live)
    is_edited = live.get("spec") != instance["spec"]
    merged = {field: {**(stored.get(field) or {}), **(given.get(field) or {})} for field in ("labels", "annotations")}
    generation = int(stored.get("generation") or 0) + is_edited
    return {**instance, "metadata": {**given, **stored, **merged, "generation": generation}}


def _identity(obj: Obj, instance: Obj) -> tuple[object, ...]:
    return obj.get("apiVersion"), obj.get("kind"), namespace_of(obj) or namespace_of(instance), name_of(obj)


def _kinds(graph: Graph, others: Iterable[Document]) -> dict[GVK, Resource]:
    """How the kinds of observed objects are served."""
    catalog = bundled().with_crds(one.obj for one in others if one.obj.get("kind") == CRD_KIND)
    kinds = {gvk: resource for gvk in catalog if (resource := catalog.resource(gvk)) is not None}
    kinds.update({node.resource.gvk: node.resource for node in graph.nodes.values()})
    return kinds


def _status(plan: Plan, outcome: Outcome) -> Obj:
    """The status of this pass, without transition times, which mean nothing offline."""
    status = dict(compose(plan, outcome, now=timestamps.seconds(datetime.now(UTC))))
    status["conditions"] = [
        {k: v for k, v in condition.items() if k != "lastTransitionTime"} for condition in status["conditions"]
    ]
    return status


def _remarks(outcome: Outcome) -> Iterator[str]:
    for report in outcome.nodes.values():
        if report.state is NodeState.SKIPPED:
            yield f'left out: node "{report.id}": {report.message}'
        elif report.state not in (NodeState.SYNCED, NodeState.ERROR):
            yield f"waiting: {report.message}"
    for failure in outcome.failures:
        yield f"error: {failure.message}"
    if outcome.management_error is not None:
        yield f"error: {outcome.management_error}"


def _undeclared(outcome: Outcome) -> Iterator[str]:
    """What happened to the objects that no node declares any more."""
    for change in outcome.changes:
        if change.kind is ChangeKind.DELETED:
            yield f'deleted: node "{change.node}": {change.key} is no longer declared'
        elif change.kind is ChangeKind.RELEASED:
            yield f'released: node "{change.node}": {change.key} stays ({_ORPHANED})'
    if outcome.held:
        yield f"held: {held_text(outcome.held, outcome.instance)}"


def _yielded(outcome: Outcome) -> Iterator[str]:
    """The declared fields that the manifests do not have, because other managers have them."""
    for key, left in outcome.yielded.items():
        for one in left.fields:
            yield f"yielded: {key}: {one}"


def _left(applies: Sequence[Apply], outcome: Outcome) -> Iterator[str]:
    """The objects that exist and are never changed, so the manifests do not have them."""
    sent = {action.key for action in applies}
    for report in outcome.nodes.values():
        is_applied = report.state in (NodeState.SYNCED, NodeState.WAITING_FOR_READINESS)
        for key in report.objects if is_applied else ():
            if key not in sent:
                text = f"{key} exists, and is never changed (update: {Update.ONCE})"
                yield f'left as it is: node "{report.id}": {text}'


def _kept(applies: Sequence[Apply]) -> Iterator[str]:
    """The objects that will be released instead of being deleted."""
    for action in applies:
        if is_orphaned(action.obj):
            yield f'kept: node "{action.node}": {action.key} is released where it would be deleted ({_ORPHANED})'


def as_yaml(manifests: Sequence[Obj]) -> str:
    """A stream of documents."""
    return dump_all(manifests)


def as_json(manifests: Sequence[Obj]) -> str:
    """One List, as `kubectl get -o json` prints it."""
    document = {"apiVersion": "v1", "kind": "List", "items": list(manifests)}
    return orjson.dumps(document, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE).decode()
