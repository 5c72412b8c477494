"""Decide which declared fields of a child are left to other field managers: the policy `conflicts`, `externalFields`.

Under `Force` a child is applied as it is declared. Otherwise `managedFields` decides, so a restart changes nothing:

- An external field is left out as soon as another manager owns exactly that field.
- `Yield` leaves a field out if another manager owns it and we do not, whatever its value. A scaler that passes through
  the declared number thus costs no write. A field that we own, too, is sent, and the API server may report a conflict.
- `Fail` sends nothing of an object if another manager alone owns a field with another value.
- `spec.replicas` that are 0 and belong to nobody were scaled to zero through the subresource `scale`, for which the API
  server records no manager. They are left to the scaler.

A field that nobody else owns any more is declared again. If the API server reports conflicts, `agree` decides by the
object as it was read after that, about exactly the fields that the API server named.

Our own labels and annotations belong to nobody else: a child without them is none. Where another manager has one of
them, the apply must be forced.
"""

import json
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, TypeAlias

from kroasync.engine.actions import ForeignField, Yielding
from kroasync.engine.contests import Contest, contests, owner_of, without
from kroasync.engine.drift import stored
from kroasync.model import names
from kroasync.model.objects import Obj, uid_of
from kroasync.model.paths import Path
from kroasync.model.policies import Conflicts, Policies

ExternalFields: TypeAlias = tuple[tuple[str, ...], ...]

# How much of a value, of a field and of a list of fields a message has.
_VALUE: Final = 64
_FIELD: Final = 160
_LISTED: Final = 5
_MARKS: Final = (*names.RESERVED_PREFIXES, names.APPLYSET_PREFIX, names.OWN_PREFIX, names.LABEL_MANAGED_BY)
_MARKED: Final = (("metadata", "labels"), ("metadata", "annotations"))
# Without these an object is another one, or none of ours.
_IDENTITY: Final = (
    ("apiVersion",),
    ("kind",),
    ("metadata",),
    ("metadata", "name"),
    ("metadata", "namespace"),
    *_MARKED,
)
_WITHHELD: Final = "a value that is withheld"
_REPLICAS: Final = ("spec", "replicas")
_A_SCALER: Final = "unknown (scaled to zero)"


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """What is compared and sent of a child, what is left to others, and what stops the apply."""

    obj: Obj
    yielded: tuple[Contest, ...] = ()
    refused: tuple[Contest, ...] = ()
    # Whether the apply must take the fields that others have of it.
    force: bool = False


def is_guarded(policies: Policies, external: ExternalFields) -> bool:
    """Whether fields of a child may be left to others."""
    return bool(external) or policies.conflicts is not Conflicts.FORCE


def agree(
    live: Obj, declared: Obj, policies: Policies, external: ExternalFields, named: Collection[str] | None = None
) -> Terms:
    """The terms of an apply of `declared` to a live object.

    `named` are the fields that the API server named in its conflict; None if it was not asked.
    """
    declared, conflicts = stored(declared), policies.conflicts
    given = tuple(_external(live, declared, external))
    found = (*contests(live, declared, names.MANAGER_CHILDREN), *_scaled_to_zero(live, declared))
    others = [contest for contest in found if not _is_in(contest, given)]
    contested = tuple(c for c in others if not _is_fixed(c.path) and _counts(c, conflicts, named))
    must_take = named is not None and any(_is_fixed(c.path) and c.field in named for c in others)
    yielded = (*given, *contested) if conflicts is Conflicts.YIELD else given
    return Terms(
        obj=without(declared, (contest.path for contest in yielded)) if yielded else declared,
        yielded=yielded,
        refused=contested if conflicts is Conflicts.FAIL else (),
        force=must_take or conflicts is Conflicts.FORCE,
    )


def yielding(live: Obj, terms: Terms, secrets: Sequence[Path]) -> Yielding | None:
    """What the terms leave to others; None if that is nothing."""
    return Yielding(uid_of(live), foreign_fields(terms.yielded, secrets)) if terms.yielded else None


def foreign_fields(found: Iterable[Contest], secrets: Sequence[Path]) -> tuple[ForeignField, ...]:
    """The contests as messages show them. `secrets` are the places of the declaration with values of Secrets."""
    shown: dict[Path, ForeignField] = {}
    fields: list[ForeignField] = []
    for contest in found:
        # Many managers may have the same long value.
        field = shown.get(contest.path) or _foreign(contest, secrets)
        shown[contest.path] = field
        fields.append(replace(field, manager=contest.manager))
    return tuple(fields)


def foreign_text(found: Sequence[ForeignField]) -> str:
    """A few fields with their managers and values, and how many more there are."""
    more = f"; and {len(found) - _LISTED} more" if len(found) > _LISTED else ""
    return "; ".join(map(str, found[:_LISTED])) + more


def refusal_text(found: Sequence[ForeignField]) -> str:
    """Why nothing of a child is sent under `Fail`."""
    return f"fields belong to other managers, and policy.conflicts is Fail: {foreign_text(found)}"


def reads(
    template: Obj, policies: Policies, computed: Collection[str], external: ExternalFields
) -> frozenset[tuple[str, ...]]:
    """The fields of a node's objects that `agree` needs; `computed` names the policies that expressions set."""
    if not (is_guarded(policies, external) or "conflicts" in computed):
        return frozenset()
    # Without the times of the entries, which change with every write of the status.
    entry = ("manager", "operation", "subresource", "fieldsV1")
    owners = (("metadata", "managedFields", "*", name) for name in entry)
    return frozenset((*owners, *_MARKED, *_leaves(template, ())))


def _external(live: Obj, declared: Obj, external: ExternalFields) -> Iterable[Contest]:
    for path in external:
        found, there = _value(declared, path), _value(live, path)
        manager = owner_of(live, path, names.MANAGER_CHILDREN)
        if manager is None and path == _REPLICAS:
            yield from _scaled_to_zero(live, declared)
        if manager is not None and found is not None and not _is_fixed(path):
            yield Contest(path, "." + ".".join(path), manager, found, there, False, found != there)


def _scaled_to_zero(live: Obj, declared: Obj) -> Iterable[Contest]:
    wanted, there = _value(declared, _REPLICAS), _value(live, _REPLICAS)
    if type(wanted) is int and wanted and there == 0 and owner_of(live, _REPLICAS, "") is None:
        yield Contest(_REPLICAS, ".spec.replicas", _A_SCALER, wanted, there, False, True)


def _value(obj: Any, path: Iterable[str]) -> Any:
    for name in path:
        obj = obj.get(name) if type(obj) is dict else None
    return obj


def _is_in(contest: Contest, given: Iterable[Contest]) -> bool:
    return any(contest.path[: len(one.path)] == one.path for one in given)


def _counts(contest: Contest, conflicts: Conflicts, named: Collection[str] | None) -> bool:
    """Whether a contested field is left out, or stops the apply."""
    if named is not None:
        return contest.field in named
    return not contest.is_ours and (contest.differs or conflicts is Conflicts.YIELD)


def _is_fixed(path: Path) -> bool:
    """Whether a field is part of the object's identity, or a label or an annotation of ours."""
    return path in _IDENTITY or (path[:2] in _MARKED and str(path[2]).startswith(_MARKS))


def _leaves(value: Any, path: tuple[str, ...]) -> Iterable[tuple[str, ...]]:
    """The paths of a template, as a projection takes them. A Secret stores `stringData` as `data`."""
    if type(value) is dict and value:
        for name, below in value.items():
            yield from _leaves(below, (*path, name) if path or name != "stringData" else ("data",))
    elif type(value) is list and value:
        for below in value:
            yield from _leaves(below, (*path, "*"))
    else:
        yield path


def _foreign(contest: Contest, secrets: Sequence[Path]) -> ForeignField:
    """A field whose object has values of Secrets is shown by its place: keys of elements could quote them."""
    secret = next((path for path in secrets if _overlap(path, contest.path)), None)
    field = _place(contest.path[: len(secret)] if secret else contest.path) if secrets else contest.field
    declared, live = (_WITHHELD, _WITHHELD) if secret else (_shown(contest.declared), _shown(contest.live))
    return ForeignField(_cut(field, _FIELD), contest.manager, declared, live)


def _overlap(one: Path, other: Path) -> bool:
    """Whether one path is above the other, or both are the same. Indexes count as equal: elements may be omitted."""
    return all(a == b or (type(a) is int and type(b) is int) for a, b in zip(one, other, strict=False))


def _place(path: Path) -> str:
    return "".join(f"[{part}]" if type(part) is int else f".{part}" for part in path)


def _shown(value: Any) -> str:
    if value is None:
        return "nothing"
    try:
        return _cut(json.dumps(value, ensure_ascii=False, default=str), _VALUE)
    except RecursionError:
        return "a deeply nested value"


def _cut(text: str, limit: int) -> str:
    return text if len(text) <= limit else f"{text[:limit]}…"
