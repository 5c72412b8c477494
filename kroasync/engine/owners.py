"""Who manages the fields of an instance's objects, as data for display: what `kroasync tree --owners` shows.

A field is shown if the definition declares it and another field manager has it. Of undeclared fields only the number is
shown, for each manager. Values of Secrets are withheld as in the messages about contested fields (`engine.yielding`).
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

import orjson

from kroasync.engine.contests import Contest, contests, element_keys, merge_key
from kroasync.engine.drift import stored
from kroasync.engine.passstate import NodeRun
from kroasync.engine.plan import NodePlan
from kroasync.engine.yielding import Terms, agree, foreign_fields
from kroasync.model import names
from kroasync.model.objects import Key, Obj, metadata
from kroasync.model.policies import Policies, Update


class Treatment(StrEnum):
    """What the policies of a resource mean for a field that another manager has."""

    SHARED = "shared"  # both declare the same value
    TAKEN_BACK = "taken back"  # the next apply sets the declared value
    YIELDED = "yielded"  # left to the manager until nobody else has the field
    EXTERNAL = "external"  # listed in externalFields, and left to the manager
    CONTESTED = "contested"  # nothing of the object is changed while somebody else has the field with another value
    KEPT = "kept"  # update: Once, so nothing of the object is changed
    NOT_ADOPTED = "not adopted"  # the object is not a child of the instance


@dataclass(frozen=True, slots=True, kw_only=True)
class FieldView:
    """One declared field that another manager has. The values are short texts, or say that they are withheld."""

    field: str
    declared: str
    live: str
    manager: str
    treatment: str


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnersView:
    """The declared fields of an object that others manage, and how many undeclared fields each manager has."""

    fields: tuple[FieldView, ...] = ()
    undeclared: Mapping[str, int] = field(default_factory=dict)


def owners(plan: NodePlan, policies: Policies, declared: Obj, live: Obj, *, is_child: bool = True) -> OwnersView:
    """Who else manages fields of an object that the node declares."""
    declared = stored(declared)
    terms = agree(live, declared, policies, plan.node.external_fields)
    found = []
    for contest in contests(live, declared, names.MANAGER_CHILDREN):
        (shown,) = foreign_fields((contest,), plan.secrets)
        treatment = _treatment(plan, policies, terms, contest) if is_child else Treatment.NOT_ADOPTED
        found.append(
            FieldView(
                field=shown.field,
                declared=shown.declared,
                live=shown.live,
                manager=_manager(live, contest.manager),
                treatment=treatment,
            )
        )
    return OwnersView(fields=tuple(dict.fromkeys(found)), undeclared=_undeclared(live, declared))


def owners_of(
    runs: Iterable[NodeRun], child: Callable[[Key], Obj | None], foreign: Mapping[Key, Obj]
) -> dict[Key, OwnersView]:
    """Who else manages declared fields, for each object that exists. `foreign` has those that are no children."""
    found: dict[Key, OwnersView] = {}
    for run in runs:
        for item in run.desired:
            live = child(item.key)
            other = live or foreign.get(item.key)
            if other is not None:
                found[item.key] = owners(run.plan, run.policies, item.obj, other, is_child=live is not None)
    return found


def _treatment(plan: NodePlan, policies: Policies, terms: Terms, contest: Contest) -> Treatment:
    if policies.update is Update.ONCE:
        return Treatment.KEPT
    left = [one.path for one in terms.yielded if _is_within(contest, one)]
    if any(path in plan.node.external_fields for path in left):
        return Treatment.EXTERNAL
    if left:
        return Treatment.YIELDED
    if contest in terms.refused:
        return Treatment.CONTESTED
    # A field that is ours, too, has the value on which its managers agree, if in another form.
    return Treatment.TAKEN_BACK if contest.differs and not contest.is_ours else Treatment.SHARED


def _is_within(contest: Contest, other: Contest) -> bool:
    return contest.path[: len(other.path)] == other.path


def _manager(live: Obj, name: str) -> str:
    """The manager with its operations, and the subresource if it writes through one."""
    ways = dict.fromkeys(
        f"{entry.get('operation', '')} of {entry['subresource']}" if entry.get("subresource") else entry["operation"]
        for entry in _entries(live)
        if str(entry.get("manager")) == name and entry.get("operation")
    )
    return f"{name} ({', '.join(ways)})" if ways else name


def _entries(live: Obj) -> Iterator[Obj]:
    """The entries of managedFields that can be about declared fields."""
    for entry in metadata(live).get("managedFields") or ():
        if entry.get("subresource") != "status":
            yield entry


# Undeclared fields


def _undeclared(live: Obj, declared: Obj) -> dict[str, int]:
    """How many fields each other manager has that the object does not declare."""
    found: dict[str, int] = {}
    for entry in _entries(live):
        manager = str(entry.get("manager") or "unknown")
        count = _count(entry.get("fieldsV1") or {}, declared)
        if manager != names.MANAGER_CHILDREN and count:
            found[manager] = found.get(manager, 0) + count
    return dict(sorted(found.items()))


def _count(fields: Obj, declared: Any) -> int:
    """How many leaves of a fieldsV1 set `declared` lacks."""
    parts = _parts(fields, declared)
    return sum(
        _count(below, parts[element]) if element in parts else _leaves(below)
        for element, below in fields.items()
        if element != "."
    )


def _parts(fields: Obj, declared: Any) -> dict[str, Any]:
    """The parts of a declared value, by the elements of a fieldsV1 set that mean them. All elements of a list have the
    same keys.
    """
    if isinstance(declared, dict):
        return {f"f:{name}": value for name, value in declared.items()}
    if not isinstance(declared, list):
        return {}
    found = {f"v:{orjson.dumps(item).decode()}": item for item in declared if not isinstance(item, dict | list)}
    keyed = {element: keys for element in fields if (keys := element_keys(element))}
    key_names = next((tuple(keys) for keys in keyed.values()), ())
    by_key = {key: item for item in declared if (key := merge_key(item, key_names)) is not None}
    places = ((element, merge_key(keys, key_names)) for element, keys in keyed.items())
    return found | {element: by_key[key] for element, key in places if key in by_key}


def _leaves(fields: Obj) -> int:
    inner = [below for element, below in fields.items() if element != "."]
    return sum(map(_leaves, inner)) if inner else 1
