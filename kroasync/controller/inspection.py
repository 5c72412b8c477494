"""Look at one live instance the way a pass does, without writing anything.

The definition, the instance and its children are read from the API server; the engine then says how every node stands
and what it waits for. Without its definition an instance is shown by what is stored on its children.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from kroasync.controller.crds import CRDS, CrdStore, SeenCrd, is_established, seen
from kroasync.controller.definitions import GRAPH_DEFINITIONS, GROUPS
from kroasync.controller.kinds import ClusterKinds
from kroasync.engine.actions import (
    Action,
    Apply,
    Delete,
    Done,
    Need,
    PatchParent,
    Pause,
    Refusal,
    Refused,
    Result,
    Watch,
)
from kroasync.engine.offline import OfflineWorld
from kroasync.engine.outcome import Outcome
from kroasync.engine.walk import Walk
from kroasync.graph.build import build, needed_kinds
from kroasync.graph.nodes import Graph
from kroasync.kube.client import Client
from kroasync.kube.errors import NotFoundError
from kroasync.model import applyset, names
from kroasync.model.applyset import InventoryError
from kroasync.model.conditions import conditions_of, find
from kroasync.model.definition import parse_definition
from kroasync.model.objects import (
    GVK,
    Key,
    Obj,
    Resource,
    annotations_of,
    is_deleting,
    labels_of,
    metadata,
    name_of,
    namespace_of,
    uid_of,
)


class InspectionError(Exception):
    """There is nothing to show; the text says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectView:
    """One object of a node. `since` is when it was created, or when its deletion began."""

    kind: str
    namespace: str
    name: str
    exists: bool = True
    deleting: bool = False
    since: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeView:
    """One node: its state in the engine's words, what it waits for, and since when."""

    id: str
    state: str
    needs: tuple[str, ...] = ()
    waits_for: str = ""
    blocked_by: tuple[str, ...] = ()
    since: str = ""
    objects: tuple[ObjectView, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class InstanceView:
    """An instance with its nodes in order of creation; `note` says what could not be found out."""

    kind: str
    namespace: str
    name: str
    state: str
    ready: str
    message: str
    definition: str
    note: str = ""
    nodes: tuple[NodeView, ...] = field(default=())


async def find_instance(client: Client, *, kind: str, namespace: str, name: str) -> tuple[Key, Obj]:
    """The instance called `name`; `kind` may be a kind, plural, singular or short name, or empty for any of kro's.

    Raises InspectionError if there is none, or more than one.
    """
    crds, _ = await client.list(CRDS, label_selector=f"{names.LABEL_OWNED}=true")
    candidates = [crd for crd in crds if is_established(crd) and (not kind or kind.lower() in _called(crd))]
    if not candidates:
        known = ", ".join(sorted(name_of(crd) for crd in crds)) or "none"
        raise InspectionError(f'no generated kind is called "{kind}"; there are: {known}')
    found: list[tuple[Key, Obj]] = []
    for crd in candidates:
        resource = seen(crd).resource()
        key = Key(resource, namespace if resource.namespaced else "", name)
        try:
            found.append((key, await client.get(key)))
        except NotFoundError:
            continue
    if not found:
        where = f' in namespace "{namespace}"' if namespace else ""
        raise InspectionError(f'there is no instance "{name}"{where} of {", ".join(name_of(c) for c in candidates)}')
    if len(found) > 1:
        kinds = ", ".join(key.resource.kind for key, _ in found)
        raise InspectionError(f'"{name}" is the name of several instances ({kinds}); say KIND/NAME')
    return found[0]


def _called(crd: Obj) -> set[str]:
    found = crd["spec"]["names"]
    words = [found["kind"], found["plural"], found.get("singular", ""), *found.get("shortNames", ()), name_of(crd)]
    return {word.lower() for word in words if word}


async def inspect_instance(client: Client, key: Key, instance: Obj) -> InstanceView:
    """How every node of the instance stands; nothing is written. Raises ApiError if the cluster cannot be asked."""
    crds = CrdStore(_ignore)
    listed, _ = await client.list(CRDS)
    crds.replace(listed)
    kinds = ClusterKinds(client, crds)
    members = await _members(client, kinds, instance)
    graph, note = await _graph(client, kinds, instance)
    if graph is None:
        return _view(key, instance, _stored_nodes(members), note)
    known = {node.resource.gvk: node.resource for node in graph.nodes.values()}
    known |= {child.resource.gvk: child.resource for child, _ in members}
    world = _LiveWorld(instance, (obj for _, obj in members), known.get)
    walk = Walk(graph, instance, world)
    while actions := walk.next_actions():
        walk.feed([await _answer(client, world, instance, action) for action in actions])
    return _view(key, instance, _nodes(graph, walk.outcome, world, instance), note)


def _ignore(before: SeenCrd | None, after: SeenCrd | None) -> None:
    """The list is looked at once; nobody waits for changes."""


class _LiveWorld(OfflineWorld):
    """What is there counts as applied: the view shows the cluster, it does not plan changes."""

    def __init__(
        self, instance: Obj, objects: Iterable[Obj], resource_of_kind: Callable[[GVK], Resource | None]
    ) -> None:
        super().__init__(instance, objects, resource_of_kind)
        self._watched: set[Watch] = set()

    def compare(self, key: Key, desired: Obj) -> Need | None:
        return None if self.get(key) is not None else Need.CREATE

    def external(self, watch: Watch) -> Sequence[Obj] | None:
        return super().external(watch) if watch in self._watched else None

    def watched(self, watch: Watch) -> None:
        """The objects an external reference covers were read."""
        self._watched.add(watch)


async def _answer(client: Client, world: _LiveWorld, instance: Obj, action: Action) -> Result:
    match action:
        case PatchParent():
            return Done(action=action, obj=instance, changed=False)
        case Watch():
            for obj in await _external(client, action):
                found = Key(action.resource, namespace_of(obj) if action.resource.namespaced else "", name_of(obj))
                world.put(found, obj)
            world.watched(action)
            return Done(action=action)
        case Apply():
            return Refused(action=action, refusal=Refusal.MISSING, message="not there yet")
        case Delete() | Pause():
            return Done(action=action, changed=False)


async def _external(client: Client, action: Watch) -> Sequence[Obj]:
    if action.name is None:
        found, _ = await client.list(action.resource, action.namespace, label_selector=action.selector or "")
        return found
    try:
        return [await client.get(Key(action.resource, action.namespace, action.name))]
    except NotFoundError:
        return []


async def _members(client: Client, kinds: ClusterKinds, instance: Obj) -> list[tuple[Key, Obj]]:
    """The children the instance's inventory leads to."""
    try:
        inventory = applyset.parse(annotations_of(instance), namespace_of(instance))
    except InventoryError:
        return []
    found: list[tuple[Key, Obj]] = []
    for group_kind in sorted(inventory.group_kinds):
        kind, _, group = group_kind.partition(".")
        resource = await kinds.resource_of_group_kind(group, kind)
        if resource is None:
            continue
        objs, _ = await client.list(resource, label_selector=f"{names.LABEL_INSTANCE_ID}={uid_of(instance)}")
        found += [(Key(resource, namespace_of(obj) if resource.namespaced else "", name_of(obj)), obj) for obj in objs]
    return found


async def _graph(client: Client, kinds: ClusterKinds, instance: Obj) -> tuple[Graph | None, str]:
    """The graph the instance follows, or why it cannot be told."""
    name = labels_of(instance).get(names.LABEL_DEFINITION_NAME, "")
    uid = labels_of(instance).get(names.LABEL_DEFINITION_ID, "")
    gvk = GVK.of(instance)
    for resource in (GRAPH_DEFINITIONS, GROUPS):
        for obj in (await client.list(resource))[0]:
            definition, _ = parse_definition(obj)
            if definition is None or (definition.group, definition.kind) != (gvk.group, gvk.kind):
                continue
            if uid not in ("", definition.uid) and name != definition.name:
                continue
            known = await kinds.load(needed_kinds(definition))
            built = build(definition, known, features=frozenset({"CELOmitFunction"}))
            if built.graph is not None:
                return built.graph, ""
            return None, f"the definition {definition.name} is refused; see its conditions"
    return None, f'the definition "{name}" of this kind is gone; shown is what is stored on the objects'


def _stored_nodes(members: Sequence[tuple[Key, Obj]]) -> tuple[NodeView, ...]:
    """Nodes by the labels of their objects, in order of their deletion waves."""
    by_node: dict[str, list[tuple[Key, Obj]]] = {}
    for key, obj in members:
        by_node.setdefault(labels_of(obj).get(names.LABEL_NODE_ID, "?"), []).append((key, obj))

    def wave(entry: tuple[str, list[tuple[Key, Obj]]]) -> tuple[int, str]:
        text = annotations_of(entry[1][0][1]).get(names.ANNOTATION_APPLY_ORDER, "0")
        return (int(text) if text.isdecimal() else 0, entry[0])

    return tuple(
        NodeView(id=node, state="UNKNOWN", objects=tuple(_object(key, obj) for key, obj in objs))
        for node, objs in sorted(by_node.items(), key=wave)
    )


def _nodes(graph: Graph, outcome: Outcome, world: _LiveWorld, instance: Obj) -> tuple[NodeView, ...]:
    since = _since(instance)
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
                objects=tuple(_object(key, world.get(key)) for key in report.objects),
            )
        )
    return tuple(found)


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
    """When the instance stopped being ready, or was made."""
    ready = find(conditions_of(instance), "Ready") or {}
    return str(ready.get("lastTransitionTime") or metadata(instance).get("creationTimestamp") or "")


def _view(key: Key, instance: Obj, nodes: tuple[NodeView, ...], note: str) -> InstanceView:
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
