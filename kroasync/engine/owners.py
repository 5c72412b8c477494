"""Who manages the fields of an instance's objects, as data for display: what `kroasync tree --owners` shows.

A field is shown if the definition declares it and another field manager has it. Of undeclared fields only the number is
shown, for each manager. Values of Secrets are withheld, and so is whatever of a field's path may be one.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final

import orjson

from kroasync.engine.contests import Contest, contests, element_keys, merge_key, owner_of
from kroasync.engine.drift import stored
from kroasync.engine.passstate import NodeRun
from kroasync.engine.plan import NodePlan
from kroasync.engine.taint import is_secret
from kroasync.graph.nodes import Path
from kroasync.model import names, paths
from kroasync.model.objects import Key, Obj, metadata
from kroasync.model.policies import Conflicts, Policies, Update

# How many characters of a value are shown.
_SHOWN: Final = 40
_WITHHELD: Final = "(withheld)"
_ABSENT: Final = object()


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
    """One declared field that another manager has. The values are JSON, cut or withheld; empty if there is none."""

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
    found = (
        FieldView(
            field=_field(plan, one),
            declared=_value(plan, one, one.declared),
            live=_value(plan, one, one.live),
            manager=_manager(live, one.manager),
            treatment=_treatment(plan, policies, live, one) if is_child else Treatment.NOT_ADOPTED,
        )
        for one in contests(live, declared, names.MANAGER_CHILDREN)
    )
    return OwnersView(fields=tuple(dict.fromkeys(found)), undeclared=_undeclared(live, declared))


def owners_of(runs: Iterable[NodeRun], seen: Callable[[Key], tuple[Obj, bool] | None]) -> dict[Key, OwnersView]:
    """Who else manages declared fields, for each object that was seen. `seen` also says whether it is a child."""
    found: dict[Key, OwnersView] = {}
    for run in runs:
        for item in run.desired:
            live = seen(item.key)
            if live is not None:
                found[item.key] = owners(run.plan, run.policies, item.obj, live[0], is_child=live[1])
    return found


def _treatment(plan: NodePlan, policies: Policies, live: Obj, contest: Contest) -> Treatment:
    if policies.update is Update.ONCE:
        return Treatment.KEPT
    if _is_external(plan, live, contest):
        return Treatment.EXTERNAL
    if policies.conflicts is Conflicts.YIELD and not contest.is_ours:
        return Treatment.YIELDED
    if not contest.differs:
        return Treatment.SHARED
    return {
        Conflicts.FORCE: Treatment.TAKEN_BACK,
        Conflicts.YIELD: Treatment.YIELDED,
        Conflicts.FAIL: Treatment.CONTESTED,
    }[policies.conflicts]


def _is_external(plan: NodePlan, live: Obj, contest: Contest) -> bool:
    """Whether the field is in one that the definition leaves to whoever has exactly that field."""
    return any(
        contest.path[: len(path)] == path and owner_of(live, path, names.MANAGER_CHILDREN) is not None
        for path in plan.node.external_fields
    )


# What is shown of a field


def _field(plan: NodePlan, contest: Contest) -> str:
    """The field as the API server writes it. If the object holds values of Secrets, the field ends where such a value
    begins, and elements of lists have their index instead of their keys.
    """
    if not plan.secrets:
        return _printable(contest.field)
    cut = min((len(path) for path in plan.secrets if contest.path[: len(path)] == path), default=None)
    return _printable(f".{paths.build(contest.path[:cut])}")


def _value(plan: NodePlan, contest: Contest, value: Any) -> str:
    if is_secret(plan.node) or any(_is_along(contest.path, path) for path in plan.secrets):
        return _WITHHELD
    if value is None:
        return ""
    text = _json(value)
    return _printable(text if len(text) <= _SHOWN else f"{text[: _SHOWN - 3]}...")


def _printable(text: str) -> str:
    """The text without characters that would steer a terminal."""
    return "".join(char if char.isprintable() else f"\\u{ord(char):04x}" for char in text)


def _is_along(one: Path, other: Path) -> bool:
    """Whether one path is above the other, or both are the same."""
    return all(a == b for a, b in zip(one, other, strict=False))


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
    total = 0
    for element, below in fields.items():
        if element == ".":
            continue
        part = _part(declared, element)
        total += _leaves(below) if part is _ABSENT else _count(below, part)
    return total


def _leaves(fields: Obj) -> int:
    inner = [below for element, below in fields.items() if element != "."]
    return sum(map(_leaves, inner)) if inner else 1


def _part(declared: Any, element: str) -> Any:
    """The part of a declared value that a path element of managedFields means."""
    form, _, text = element.partition(":")
    if form == "f":
        return declared.get(text, _ABSENT) if isinstance(declared, dict) else _ABSENT
    if not isinstance(declared, list):
        return _ABSENT
    if form == "v":
        return next((item for item in declared if _json(item) == text), _ABSENT)
    keys = element_keys(element)
    wanted = merge_key(keys, tuple(keys))
    return next((item for item in declared if keys and merge_key(item, tuple(keys)) == wanted), _ABSENT)


def _json(value: Any) -> str:
    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS).decode()
