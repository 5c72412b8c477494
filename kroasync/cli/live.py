"""What `kroasync tree` reads of a live instance: the instance, its children, and its definition; it writes nothing.

The engine makes a pass over what is read and says how every node stands (`engine.views`).
"""

from collections.abc import Iterable, Sequence

from kroasync.controller.cluster_kinds import ClusterKinds
from kroasync.controller.crds import CrdStore, SeenCrd, is_established, seen
from kroasync.engine.actions import Action, Apply, Refusal, Refused, Result, WatchExternal
from kroasync.engine.labels import is_value_of
from kroasync.engine.owners import owners_of
from kroasync.engine.plan import Options
from kroasync.engine.views import InstanceView, LiveWorld, nodes_of, stored_nodes, unchanged, view_of
from kroasync.engine.walk import Walk
from kroasync.graph.build import build, needed_kinds
from kroasync.graph.nodes import Graph
from kroasync.kube.api_errors import ForbiddenError, NotFoundError
from kroasync.kube.client import Client
from kroasync.model import applyset, names
from kroasync.model.applyset import InventoryError
from kroasync.model.definition import parse_definition
from kroasync.model.kinds import CRDS, GRAPH_DEFINITIONS, GROUPS
from kroasync.model.objects import (
    GVK,
    Key,
    Obj,
    Resource,
    annotations_of,
    key_of,
    labels_of,
    name_of,
    namespace_of,
    uid_of,
)
from kroasync.model.policies import Policies


class InspectionError(Exception):
    """There is nothing to show; the text says why."""


async def find_instance(client: Client, *, kind: str, namespace: str, name: str) -> tuple[Key, Obj]:
    """The instance called `name`; `kind` may be a kind, plural, singular or short name, or empty for any of kro's.

    Raises InspectionError if there is none, or more than one.
    """
    crds, _ = await client.list(CRDS, label_selector=f"{names.LABEL_OWNED}=true")
    candidates = [crd for crd in crds if is_established(crd) and (not kind or kind.lower() in _called(crd))]
    if not candidates:
        known = ", ".join(sorted(name_of(crd) for crd in crds)) or "none"
        raise InspectionError(f'there is no generated kind "{kind}"; known: {known}')
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
        raise InspectionError(f'"{name}" is the name of several instances ({kinds}); use KIND/NAME')
    return found[0]


def _called(crd: Obj) -> set[str]:
    found = crd["spec"]["names"]
    words = [found["kind"], found["plural"], found.get("singular", ""), *found.get("shortNames", ()), name_of(crd)]
    return {word.lower() for word in words if word}


async def inspect_instance(
    client: Client, key: Key, instance: Obj, *, policies: Policies, with_owners: bool = False
) -> InstanceView:
    """How every node of the instance stands; nothing is written. Raises ApiError if the cluster cannot be asked.

    `policies` are the defaults of the controller. With `with_owners`, the view says who else manages declared fields.
    """
    crds = CrdStore(_ignore)
    listed, _ = await client.list(CRDS, keep=crds.keep)
    crds.replace(listed)
    kinds = ClusterKinds(client, crds)
    members, unread = await _members(client, kinds, instance)
    graph, note = await _graph(client, kinds, instance)
    notes = [note, *unread.values()]
    if graph is None:
        return view_of(key, instance, stored_nodes(members), _joined(notes))
    known = {node.resource.gvk: node.resource for node in graph.nodes.values()}
    known |= {child.resource.gvk: child.resource for child, _ in members}
    world = LiveWorld(instance, (obj for _, obj in members), known.get)
    world.out_of_sight = frozenset(unread)
    walk = Walk(graph, instance, world, options=Options(policies=policies))
    while actions := walk.next_actions():
        walk.feed([await _looked_at(client, world, action, instance) for action in actions])
    owners = owners_of(walk.runs, world.get, world.foreign) if with_owners else {}
    nodes = nodes_of(graph, walk.outcome, world, instance, foreign=world.foreign, owners=owners)
    return view_of(key, instance, nodes, _joined(notes))


def _joined(notes: Iterable[str]) -> str:
    return "; ".join(note for note in notes if note)


def _ignore(before: SeenCrd | None, after: SeenCrd | None) -> None:
    """The list is looked at once; nobody waits for changes."""


async def _looked_at(client: Client, world: LiveWorld, action: Action, instance: Obj) -> Result:
    """The result of an action in a pass that changes nothing: what it is about is read, as far as the caller may."""
    try:
        if isinstance(action, WatchExternal):
            await _read(client, world, action)
        elif isinstance(action, Apply) and action.key.resource.group_kind not in world.unseen():
            world.foreign[action.key] = await client.get(action.key)
    except NotFoundError:
        pass
    except ForbiddenError as error:
        return Refused(action=action, refusal=Refusal.FORBIDDEN, message=error.message)
    return unchanged(action, instance, world)


async def _read(client: Client, world: LiveWorld, watch: WatchExternal) -> None:
    """Read what an external reference covers."""
    for obj in await _external(client, watch):
        world.put(key_of(watch.resource, obj), obj)
    world.watched(watch)


async def _external(client: Client, action: WatchExternal) -> Sequence[Obj]:
    if action.name is None:
        found, _ = await client.list(action.resource, action.namespace, label_selector=action.selector or "")
        return found
    try:
        return [await client.get(Key(action.resource, action.namespace, action.name))]
    except NotFoundError:
        return []


async def _members(client: Client, kinds: ClusterKinds, instance: Obj) -> tuple[list[tuple[Key, Obj]], dict[str, str]]:
    """The children the instance's inventory leads to, and by kind (`Kind.group`) why its objects cannot be read."""
    try:
        inventory = applyset.parse(annotations_of(instance), namespace_of(instance))
    except InventoryError:
        return [], {}
    namespaces = {*inventory.namespaces, namespace_of(instance)} - {""}
    found: list[tuple[Key, Obj]] = []
    unread: dict[str, str] = {}
    for group_kind in sorted(inventory.group_kinds):
        kind, _, group = group_kind.partition(".")
        resource = await kinds.resource_of_group_kind(group, kind)
        if resource is None:
            continue
        try:
            objs = await _children(client, resource, namespaces, uid_of(instance))
        except ForbiddenError as error:
            unread[group_kind] = f"objects of kind {group_kind} are not shown: {error.message}"
            continue
        found += [(key_of(resource, obj), obj) for obj in objs]
    return found, unread


async def _children(client: Client, resource: Resource, namespaces: Iterable[str], uid: str) -> list[Obj]:
    """The children of a kind. A caller without rights for all namespaces may have rights for those of the instance."""
    selector = f"{names.LABEL_INSTANCE_ID}={uid}"
    try:
        return (await client.list(resource, label_selector=selector))[0]
    except ForbiddenError:
        if not resource.namespaced:
            raise
    found: list[Obj] = []
    for namespace in sorted(namespaces):
        found += (await client.list(resource, namespace, label_selector=selector))[0]
    return found


async def _graph(client: Client, kinds: ClusterKinds, instance: Obj) -> tuple[Graph | None, str]:
    """The graph the instance follows, or why it cannot be told."""
    name = labels_of(instance).get(names.LABEL_DEFINITION_NAME, "")
    uid = labels_of(instance).get(names.LABEL_DEFINITION_ID, "")
    gvk = GVK.of(instance)
    for resource in (GRAPH_DEFINITIONS, GROUPS):
        try:
            listed, _ = await client.list(resource)
        except ForbiddenError as error:
            return None, f"the definition cannot be read: {error.message}; showing what its objects record"
        for obj in listed:
            definition, _ = parse_definition(obj)
            if definition is None or (definition.group, definition.kind) != (gvk.group, gvk.kind):
                continue
            if uid not in ("", definition.uid) and not is_value_of(name, definition.name):
                continue
            known = await kinds.load(needed_kinds(definition))
            built = build(definition, known, features=frozenset({"CELOmitFunction", "DeletionPolicy"}))
            if built.graph is not None:
                return built.graph, ""
            return None, f"the definition {definition.name} is refused; see its conditions"
    return None, f'the definition "{name}" of this kind is gone; showing what its objects record'
