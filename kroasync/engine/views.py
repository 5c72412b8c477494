"""The state of a live instance and its nodes as data for display, from a pass that changes nothing or from labels.

A view shows the cluster and plans no changes, so every existing object counts as applied. For an instance without a
definition, the view shows the labels of the children.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from kroasync.engine.actions import (
    Action,
    Apply,
    Delete,
    Done,
    Need,
    PatchParent,
    Pause,
    Read,
    Refusal,
    Refused,
    Release,
    Result,
    WatchExternal,
)
from kroasync.engine.adoption import objection
from kroasync.engine.labels import node_of
from kroasync.engine.membership import retiring_text
from kroasync.engine.offline import OfflineWorld
from kroasync.engine.outcome import NodeState, Outcome
from kroasync.engine.owners import OwnersView
from kroasync.engine.prune_guard import held_text
from kroasync.graph.nodes import Graph
from kroasync.model import names
from kroasync.model.conditions import conditions_of, find
from kroasync.model.objects import GVK, Key, Obj, Resource, annotations_of, is_deleting, labels_of, metadata

_NOTHING: Final[Mapping[Key, Obj]] = {}
_NOBODY: Final[Mapping[Key, OwnersView]] = {}


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectView:
    """One object of a node. `since` is the time of its creation, or of the start of its deletion. `standing` is empty
    for a child of the instance. `owners` is None unless it was asked for and the object could be read.
    """

    kind: str
    namespace: str
    name: str
    exists: bool = True
    deleting: bool = False
    since: str = ""
    standing: str = ""
    owners: OwnersView | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeView:
    """One node: its state in the engine's terms, the reason why it waits, and since when."""

    id: str
    state: str
    needs: tuple[str, ...] = ()
    waits_for: str = ""
    blocked_by: tuple[str, ...] = ()
    since: str = ""
    objects: tuple[ObjectView, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class InstanceView:
    """An instance with its nodes in order of creation; `note` names the parts that could not be read."""

    kind: str
    namespace: str
    name: str
    state: str
    ready: str
    message: str
    definition: str
    note: str = ""
    nodes: tuple[NodeView, ...] = field(default=())


class LiveWorld(OfflineWorld):
    """A World in which every existing object counts as applied."""

    def __init__(
        self, instance: Obj, objects: Iterable[Obj], resource_of_kind: Callable[[GVK], Resource | None]
    ) -> None:
        super().__init__(instance, objects, resource_of_kind)
        self._watched: set[WatchExternal] = set()
        # Objects of declared names that are no children of the instance.
        self.foreign: dict[Key, Obj] = {}

    def compare(self, key: Key, desired: Obj) -> Need | None:
        return None if self.get(key) is not None else Need.CREATE

    def external(self, watch: WatchExternal) -> Sequence[Obj] | None:
        return super().external(watch) if watch in self._watched else None

    def watched(self, watch: WatchExternal) -> None:
        """Note that the objects of an external reference were read."""
        self._watched.add(watch)


def unchanged(action: Action, instance: Obj, world: LiveWorld) -> Result:
    """The result of an action in a pass that changes nothing, after the objects that it is about were read."""
    match action:
        case PatchParent():
            return Done(action=action, obj=instance, changed=False)
        case WatchExternal():
            return Done(action=action)
        case Apply():
            return _not_applied(action, world)
        case Read():
            return Done(action=action, obj=world.get(action.key), changed=False)
        case Delete() | Release() | Pause():
            return Done(action=action, changed=False)


def _not_applied(action: Apply, world: LiveWorld) -> Refused:
    """Why the object is not there as a child."""
    if action.key.resource.group_kind in world.unseen():
        return Refused(action=action, refusal=Refusal.FORBIDDEN, message="cannot be read")
    live = world.foreign.get(action.key)
    if live is None:
        return Refused(action=action, refusal=Refusal.MISSING, message="does not exist yet")
    found = objection(action.policies.adoption, live, action.obj, action.secrets)
    if found is not None:
        return Refused(action=action, refusal=found.refusal, message=found.text)
    return Refused(action=action, refusal=Refusal.MISSING, message="exists, and is not a child of the instance")


def stored_nodes(members: Sequence[tuple[Key, Obj]]) -> tuple[NodeView, ...]:
    """The nodes by what their objects say, in the order of their deletion waves."""
    by_node: dict[str, list[tuple[Key, Obj]]] = {}
    for key, obj in members:
        by_node.setdefault(node_of(obj) or "?", []).append((key, obj))

    def wave(entry: tuple[str, list[tuple[Key, Obj]]]) -> tuple[int, str]:
        text = annotations_of(entry[1][0][1]).get(names.ANNOTATION_APPLY_ORDER, "0")
        return (int(text) if text.isdecimal() else 0, entry[0])

    return tuple(
        NodeView(id=node, state="UNKNOWN", objects=tuple(_object(key, obj) for key, obj in objs))
        for node, objs in sorted(by_node.items(), key=wave)
    )


def nodes_of(
    graph: Graph,
    outcome: Outcome,
    world: OfflineWorld,
    instance: Obj,
    *,
    foreign: Mapping[Key, Obj] = _NOTHING,
    owners: Mapping[Key, OwnersView] = _NOBODY,
) -> tuple[NodeView, ...]:
    """The nodes as the pass found them, in order of creation. `foreign` are objects of declared names that are no
    children, `owners` those who manage fields of the objects.
    """
    since = _since(instance)
    retiring = _by_node((member.node, member.key) for member in outcome.retiring)
    found = []
    for id_ in graph.order:
        report = outcome.nodes.get(id_)
        if report is None:
            found.append(NodeView(id=id_, state="UNKNOWN", needs=graph.nodes[id_].dependencies))
            continue
        found.append(
            NodeView(
                id=id_,
                state=report.state.value,
                needs=graph.nodes[id_].dependencies,
                waits_for=report.message,
                blocked_by=report.blocked_by,
                since="" if report.state.is_settled else since,
                objects=tuple(
                    replace(_declared(key, world, foreign), owners=owners.get(key)) for key in report.objects
                ),
            )
        )
    # Nothing declares these any more, so their nodes do not show them, or are no longer in the graph.
    text = retiring_text(outcome.retiring)
    views = {view.id: view for view in found}
    for node, keys in retiring.items():
        view = views.get(node) or NodeView(id=node or "?", state=NodeState.SKIPPED.value, since=since)
        objects = (*view.objects, *(_object(key, world.get(key)) for key in keys))
        is_settled = view.state in (NodeState.SKIPPED, NodeState.SYNCED)
        waits_for = text if is_settled else view.waits_for
        state = NodeState.DELETING.value if is_settled else view.state
        views[view.id] = replace(view, state=state, waits_for=waits_for, since=since, objects=objects)
    for held in outcome.held:
        view = views[held.node]
        objects = (*view.objects, *(_object(key, world.get(key)) for key in held.objects))
        text = held_text((held,), instance)
        views[view.id] = replace(view, state=NodeState.ERROR.value, waits_for=text, since=since, objects=objects)
    return tuple(views.values())


def _by_node(members: Iterable[tuple[str, Key]]) -> dict[str, list[Key]]:
    found: dict[str, list[Key]] = {}
    for node, key in members:
        found.setdefault(node, []).append(key)
    return found


def _declared(key: Key, world: OfflineWorld, foreign: Mapping[Key, Obj]) -> ObjectView:
    """A declared object: a child, an object that is none, or nothing."""
    child = world.get(key)
    if child is None and key in foreign:
        return replace(_object(key, foreign[key]), standing="not a child")
    is_hidden = child is None and key.resource.group_kind in world.unseen()
    return replace(_object(key, child), standing="not readable" if is_hidden else "")


def _object(key: Key, obj: Obj | None) -> ObjectView:
    if obj is None:
        return ObjectView(kind=key.resource.kind, namespace=key.namespace, name=key.name, exists=False)
    meta = metadata(obj)
    return ObjectView(
        kind=key.resource.kind,
        namespace=key.namespace,
        name=key.name,
        deleting=is_deleting(obj),
        since=str(meta.get("deletionTimestamp") or meta.get("creationTimestamp") or ""),
    )


def _since(instance: Obj) -> str:
    """The time since which the instance is not ready, or else the time of its creation."""
    ready = find(conditions_of(instance), "Ready") or {}
    return str(ready.get("lastTransitionTime") or metadata(instance).get("creationTimestamp") or "")


def view_of(key: Key, instance: Obj, nodes: tuple[NodeView, ...], note: str) -> InstanceView:
    """The view of an instance: its status and its nodes."""
    status = instance.get("status") or {}
    ready = find(conditions_of(instance), "Ready") or {}
    return InstanceView(
        kind=key.resource.kind,
        namespace=key.namespace,
        name=key.name,
        state=str(status.get("state", "")),
        ready=str(ready.get("status", "Unknown")),
        message=str(ready.get("message", "")),
        definition=labels_of(instance).get(names.LABEL_DEFINITION_NAME, ""),
        note=note,
        nodes=nodes,
    )
