"""What policies promise, as a function over the history of writes: the violations of a history.

Every check looks only at what the server stored, and at what the definitions and instances ever said until then: the
controller may act on an old state, but on no state that never was. The history of a story is checked at its end.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final, TypeVar

from kroasync.model.kinds import GRAPH_DEFINITIONS
from kroasync.model.names import (
    ANNOTATION_DELETION_POLICY,
    LABEL_APPLYSET_PART_OF,
    LABEL_INSTANCE_ID,
    LABEL_MANAGED_BY,
    LABEL_NODE_ID,
    MANAGER_CHILDREN,
    POLICY_ORPHANED,
)
from kroasync.model.objects import Obj, annotations_of, labels_of
from kroasync.model.policies import MaxPrune
from tests.fakes.kube import Stored, Write
from tests.samples import CONFIG_MAPS
from tests.simulation.family import resource_of
from tests.simulation.policy_family import (
    CHILDREN,
    PODS,
    Plan,
    Policed,
    Wish,
    contested_paths,
    declared_value,
    excluded,
    external_path,
    live_values,
    names_of,
    wish_of,
    words,
)

ALLOW_PRUNE: Final = "kroasync.io/allow-prune"
PLAN: Final = "example.com/plan"
"""The annotation of a definition with the number of its plan."""
_OURS: Final = (MANAGER_CHILDREN, "Apply", "")
# The longest that a controller may act on an old state, and the longest that one pass deletes after its release.
_STALE_S: Final = 120.0
_PASS_S: Final = 75.0
Path = tuple[str, ...]
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Event:
    """A write, the time, and whether the controller made it."""

    at_s: float
    by_controller: bool
    write: Write


@dataclass(slots=True)
class _Instance:
    name: str
    wishes: list[tuple[float, Wish]] = field(default_factory=list)
    generations: set[int] = field(default_factory=set)
    ending: bool = False
    releases: list[float] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class _Desired:
    """The names that an instance wanted for a node from one time to another; None if it has no such node."""

    begin_s: float
    end_s: float
    names: frozenset[str] | None


@dataclass(slots=True)
class _History:
    plans: Sequence[Plan]
    planned: list[tuple[float, Plan]] = field(default_factory=list)
    listed: list[tuple[float, frozenset[str]]] = field(default_factory=lambda: [(0.0, frozenset())])
    instances: dict[str, _Instance] = field(default_factory=dict)
    # The children by UID, and the deletions and recreations of the controller by node and by name.
    ours: dict[str, Stored] = field(default_factory=dict)
    deleted: dict[tuple[str, str], list[tuple[float, str]]] = field(default_factory=dict)
    recreated: dict[tuple[str, str], int] = field(default_factory=dict)
    # The names of Jobs that were deleted to be recreated, and the Pods with the names of their Jobs.
    recreating: set[str] = field(default_factory=set)
    pods: dict[str, str] = field(default_factory=dict)

    def nodes(self, id_: str) -> list[Policed]:
        return [node for _, plan in self.planned if (node := plan.node(id_)) is not None]

    def ever(self, policy: str, uid: str, id_: str) -> set[str]:
        """Every word that ever held for a node of an instance."""
        found = set()
        for _, plan in self.planned:
            node = plan.node(id_)
            if node is not None:
                found |= {words(plan, node, wish)[0][policy] for _, wish in self.instances[uid].wishes}
        return found


def violations(history: Iterable[Event], plans: Sequence[Plan]) -> list[str]:
    """Every broken promise, with its time."""
    seen = _History(plans)
    told = []
    for event in history:
        told += [f"{event.at_s:.2f} s: {text}" for text in _checked(seen, event)]
        _note(seen, event)
    return told


def _checked(seen: _History, event: Event) -> list[str]:
    write = event.write
    if not event.by_controller or write.resource not in CHILDREN:
        return []
    if write.before is None:
        return _of_creation(seen, write.after)
    before, after = write.before, write.after
    known = before.uid in seen.ours
    if not known:
        return _of_stranger(seen, write, before, after)
    labels = labels_of(before.obj)
    uid, id_ = labels.get(LABEL_INSTANCE_ID, ""), labels.get(LABEL_NODE_ID, "")
    if uid not in seen.instances or not seen.nodes(id_):
        return []
    if write.verb == "delete":
        return [] if before.deleting else _of_deletion(seen, event, before, uid, id_)
    if after is not None and LABEL_APPLYSET_PART_OF not in labels_of(after.obj):
        return _of_release(before, after, seen.ever("deletion", uid, id_))
    return [] if after is None else _of_change(seen, write, before, after, uid, id_)


def _of_creation(seen: _History, after: Stored | None) -> list[str]:
    """A Job that is recreated starts when the Pods of the old one are gone."""
    if after is None or after.obj["metadata"]["name"] not in seen.recreating:
        return []
    seen.recreating.discard(after.obj["metadata"]["name"])
    running = [pod for pod, job in seen.pods.items() if job == after.obj["metadata"]["name"]]
    return [f"{_name(after)} was recreated beside {', '.join(running)} of the old one"] if running else []


# Objects that are not ours


def _of_stranger(seen: _History, write: Write, before: Stored, after: Stored | None) -> list[str]:
    name = _name(before)
    if write.verb == "delete":
        return [f"{name} was deleted, which is not ours"]
    labels = labels_of(after.obj) if after is not None else {}
    uid, id_ = labels.get(LABEL_INSTANCE_ID, ""), labels.get(LABEL_NODE_ID, "")
    if after is None or uid not in seen.instances or not seen.nodes(id_):
        return [f"{name} was changed by {write.verb}, which is not ours"]
    adoption, update = seen.ever("adoption", uid, id_), seen.ever("update", uid, id_)
    found = []
    if all(word == "Never" or refuses(word, before, after) for word in adoption):
        found.append(f"{name} was adopted under {', '.join(sorted(adoption))}")
    if update == {"Once"} and _content(before.obj) != _content(after.obj):
        found.append(f"{name} was changed by its adoption under Once")
    return found + _of_fields(seen, write, before, after, uid, id_)


def refuses(word: str, before: Stored, after: Stored | None = None) -> bool:
    """Whether a policy keeps an object from being adopted; `after` has what the adoption made of it."""
    labels, annotations = labels_of(before.obj), annotations_of(before.obj)
    if word == "Never" or labels.get(LABEL_APPLYSET_PART_OF):
        return True
    if word == "Always":
        return False
    if any(owner.get("controller") for owner in before.obj["metadata"].get("ownerReferences") or ()):
        return True
    if labels.get(LABEL_MANAGED_BY) == "Helm" or "meta.helm.sh/release-name" in annotations:
        return True
    return word == "IfUnowned" and after is not None and bool(_taken(before, after))


def _taken(before: Stored, after: Stored) -> list[Path]:
    """The fields of other managers whose value changed."""
    return [path for path in _changed(before, after) if others(before, path)]


def _changed(before: Stored, after: Stored) -> list[Path]:
    was, now = before.leaves(), after.leaves()
    return sorted(path for path in was.keys() | now.keys() if was.get(path) != now.get(path))


def others(stored: Stored, path: Path) -> list[str]:
    """The other managers of a field."""
    return [by[0] for by, (paths, _) in stored.managers.items() if by != _OURS and by[2] != "status" and path in paths]


def is_ours(stored: Stored, path: Path) -> bool:
    return path in stored.managers.get(_OURS, (frozenset(), ""))[0]


def _content(obj: Obj) -> Obj:
    return {name: value for name, value in obj.items() if name != "metadata"}


# Changes of children


def _of_change(seen: _History, write: Write, before: Stored, after: Stored, uid: str, id_: str) -> list[str]:
    name = _name(before)
    found = _of_fields(seen, write, before, after, uid, id_)
    if seen.ever("update", uid, id_) == {"Once"}:
        found.append(f"{name} was changed under Once: {', '.join(map(_text, _changed(before, after)))}")
    if seen.ever("conflicts", uid, id_) == {"Fail"}:
        wishes = [wish for _, wish in seen.instances[uid].wishes]
        for path, spec_field in contested_paths(seen.nodes(id_)[0]).items():
            node = seen.nodes(id_)[0]
            declared = [declared_value(node, spec_field, wish) for wish in wishes]
            live = live_values(before.obj)[spec_field]
            is_listed = external_path(node) == path
            if others(before, path) and not is_ours(before, path) and live not in declared and not is_listed:
                found.append(f"{name} was changed under Fail, though {others(before, path)} has {_text(path)}")
    return found


def _of_fields(seen: _History, write: Write, before: Stored, after: Stored, uid: str, id_: str) -> list[str]:
    """No field that is left to another manager changes its value."""
    conflicts = seen.ever("conflicts", uid, id_)
    listed = {external_path(node) for node in seen.nodes(id_)}
    found = []
    for path in _changed(before, after):
        if not others(before, path):
            continue
        is_listed = len(listed) == 1 and path in listed and write.verb != "create"
        adopted = before.uid not in seen.ours
        if ("Force" not in conflicts and not adopted) or (is_listed and not adopted):
            found.append(f"{_text(path)} of {_name(before)} was changed, which {others(before, path)} has")
    return found


def _of_release(before: Stored, after: Stored, deletion: set[str]) -> list[str]:
    found = []
    if annotations_of(before.obj).get(ANNOTATION_DELETION_POLICY) != POLICY_ORPHANED and "Orphan" not in deletion:
        found.append(f"{_name(before)} was released, which is no orphan")
    if _content(before.obj) != _content(after.obj):
        found.append(f"{_name(before)} lost data by its release")
    return found


# Deletions of children


def _of_deletion(seen: _History, event: Event, before: Stored, uid: str, id_: str) -> list[str]:
    name = before.obj["metadata"]["name"]
    found = []
    if annotations_of(before.obj).get(ANNOTATION_DELETION_POLICY) == POLICY_ORPHANED:
        found.append(f"{_name(before)} was deleted, which is an orphan")
    elif seen.ever("deletion", uid, id_) == {"Orphan"}:
        found.append(f"{_name(before)} was deleted, which always was to be an orphan")
    if seen.instances[uid].ending or not seen.instances[uid].wishes:
        return found
    recent = [desired for desired in _desired(seen, uid, id_) if desired.end_s >= event.at_s - _STALE_S]
    wanted = [desired.names is not None and name in desired.names for desired in recent]
    if all(wanted):
        return found + _of_recreation(seen, before, uid, id_)
    pruned = _of_prune(seen, event.at_s, before, uid, id_, recent)
    # A controller that does not know yet that its instance no longer wants an object may recreate it.
    return found if any(wanted) and "Recreate" in seen.ever("update", uid, id_) else found + pruned


def _of_recreation(seen: _History, before: Stored, uid: str, id_: str) -> list[str]:
    name = _name(before)
    if "Recreate" not in seen.ever("update", uid, id_):
        return [f"{name} was deleted, which its instance wants"]
    if before.obj["kind"] == "Job":
        seen.recreating.add(str(before.obj["metadata"]["name"]))
    times = seen.recreated[uid, name] = seen.recreated.get((uid, name), 0) + 1
    tokens = len(seen.instances[uid].generations) * len({plan for _, plan in seen.planned})
    return [f"{name} was recreated {times} times in {tokens} generations"] if times > tokens else []


def _of_prune(seen: _History, now_s: float, before: Stored, uid: str, id_: str, recent: list[_Desired]) -> list[str]:
    limits = {node.max_prune for node in seen.nodes(id_)}
    if limits != {seen.nodes(id_)[0].max_prune} or limits == {""} or any(d.names is None for d in recent):
        return []
    written = next(iter(limits))
    limit = MaxPrune.of(int(written) if written.isdecimal() else written)
    assert limit is not None
    members = {
        stored.obj["metadata"]["name"]
        for stored in seen.ours.values()
        if labels_of(stored.obj).get(LABEL_INSTANCE_ID) == uid
        and labels_of(stored.obj).get(LABEL_NODE_ID) == id_
        and not stored.deleting
    }
    told = []
    for desired in recent:
        assert desired.names is not None
        if before.obj["metadata"]["name"] in desired.names:
            continue
        gone = {name for at_s, name in seen.deleted.get((uid, id_), ()) if at_s >= desired.begin_s}
        existing = members | gone
        extra = existing - desired.names
        released = any(max(desired.begin_s, now_s - _PASS_S) <= at_s for at_s in seen.instances[uid].releases)
        if released or limit.allows(len(extra), len(existing)):
            return []
        told.append(f"{len(extra)} of {len(existing)}")
    return [f"{_name(before)} was pruned, one of {' or '.join(told)} objects, with maxPrune {limit}"]


def _desired(seen: _History, uid: str, id_: str) -> list[_Desired]:
    """What the instance wanted for the node over time, one entry for each change."""
    instance = seen.instances[uid]
    times = sorted({at for at, _ in (*seen.planned, *instance.wishes, *seen.listed)})
    times = [at for at in times if at >= max(instance.wishes[0][0], seen.planned[0][0])] or [instance.wishes[0][0]]
    found: list[_Desired] = []
    for begin_s, end_s in zip(times, [*times[1:], float("inf")], strict=True):
        plan, wish, listed = _at(seen.planned, begin_s), _at(instance.wishes, begin_s), _at(seen.listed, begin_s)
        node = plan.node(id_)
        names: frozenset[str] | None = None
        if node is not None:
            left_out = id_ in excluded(plan, wish)
            names = frozenset() if left_out else frozenset(names_of(node, instance.name, wish, listed))
        if found and found[-1].names == names:
            begin_s = found.pop().begin_s
        found.append(_Desired(begin_s, end_s, names))
    return found


def _at(said: Sequence[tuple[float, T]], at_s: float) -> T:
    """What was said last at a time."""
    return next((value for since_s, value in reversed(said) if since_s <= at_s), said[0][1])


# The state of the history


def _note(seen: _History, event: Event) -> None:
    write = event.write
    if write.resource == GRAPH_DEFINITIONS:
        _note_definition(seen, event)
    elif write.resource == resource_of(0):
        _note_instance(seen, event)
    elif write.resource == PODS:
        _note_pod(seen, write)
    elif write.resource in CHILDREN:
        _note_child(seen, event)
        if write.resource == CONFIG_MAPS:
            _note_list(seen, event)


def _note_definition(seen: _History, event: Event) -> None:
    if event.write.after is None:
        return
    plan = seen.plans[int(annotations_of(event.write.after.obj)[PLAN])]
    if not seen.planned or seen.planned[-1][1] != plan:
        seen.planned.append((event.at_s, plan))


def _note_instance(seen: _History, event: Event) -> None:
    before, after = event.write.before, event.write.after
    stored = after or before
    assert stored is not None
    instance = seen.instances.setdefault(stored.uid, _Instance(stored.obj["metadata"]["name"]))
    if after is None or after.deleting:
        instance.ending = True
        return
    wish = wish_of(after.obj["spec"])
    if not instance.wishes or instance.wishes[-1][1] != wish:
        instance.wishes.append((event.at_s, wish))
    instance.generations.add(after.obj["metadata"]["generation"])
    if before is not None and event.by_controller:
        allowed = annotations_of(before.obj).get(ALLOW_PRUNE)
        is_valid = allowed == str(before.obj["metadata"]["generation"])
        if is_valid and ALLOW_PRUNE not in annotations_of(after.obj):
            instance.releases.append(event.at_s)


def _note_child(seen: _History, event: Event) -> None:
    before, after = event.write.before, event.write.after
    stored = after or before
    assert stored is not None
    if after is None or LABEL_APPLYSET_PART_OF not in labels_of(after.obj):
        seen.ours.pop(stored.uid, None)
    elif stored.uid in seen.ours or event.by_controller:
        seen.ours[stored.uid] = after
    if event.by_controller and event.write.verb == "delete" and before is not None and not before.deleting:
        labels = labels_of(before.obj)
        at = labels.get(LABEL_INSTANCE_ID, ""), labels.get(LABEL_NODE_ID, "")
        seen.deleted.setdefault(at, []).append((event.at_s, before.obj["metadata"]["name"]))


def _note_pod(seen: _History, write: Write) -> None:
    stored = write.after or write.before
    assert stored is not None
    meta = stored.obj["metadata"]
    if write.after is None:
        seen.pods.pop(meta["name"], None)
    else:
        seen.pods[meta["name"]] = meta["ownerReferences"][0]["name"]


def _note_list(seen: _History, event: Event) -> None:
    before, after = event.write.before, event.write.after
    stored = after or before
    assert stored is not None
    if labels_of(stored.obj).get("list") != "yes":
        return
    letters = {stored.obj["data"]["letter"]}
    known = seen.listed[-1][1]
    seen.listed.append((event.at_s, known - letters if after is None else known | letters))


def _name(stored: Stored) -> str:
    return f"{stored.obj['kind']} {stored.obj['metadata']['name']}"


def _text(path: Path) -> str:
    return ".".join(step.removeprefix("f:") for step in path)
