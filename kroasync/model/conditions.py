"""Condition lists: one root condition that summarises ordered dependents.

These are pure functions over `status.conditions` as JSON. The time is an argument (RFC 3339, seconds, UTC). The rules
are those of kro: a transition time changes only with the status, and a dependent of an older generation counts as
unhealthy.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from kroasync.model.objects import Obj, is_deleting, metadata

Condition: TypeAlias = dict[str, Any]
Conditions: TypeAlias = list[Condition]

TRUE: Final = "True"
FALSE: Final = "False"
UNKNOWN: Final = "Unknown"
STATUSES: Final = (TRUE, FALSE, UNKNOWN)
AWAITING: Final = "AwaitingReconciliation"


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """The facts about the object that has the conditions."""

    generation: int = 0
    created: str | None = None
    deleting: bool = False

    @staticmethod
    def of(obj: Obj) -> "Subject":
        """From `metadata`."""
        meta = metadata(obj)
        generation = meta.get("generation")
        return Subject(
            generation=generation if isinstance(generation, int) else 0,
            created=meta.get("creationTimestamp"),
            deleting=is_deleting(obj),
        )


def find(conditions: Iterable[Condition], type_: str) -> Condition | None:
    """The condition of a type, None if there is none."""
    return next((c for c in conditions if c.get("type") == type_), None)


def is_true(conditions: Iterable[Condition], type_: str, generation: int | None = None) -> bool:
    """Whether the condition is True, and describes `generation` if that is given."""
    found = find(conditions, type_)
    return (
        found is not None
        and found.get("status") == TRUE
        and (generation is None or found.get("observedGeneration", 0) == generation)
    )


def conditions_of(obj: Obj) -> Conditions:
    """`status.conditions` of an object, without entries that are not conditions."""
    status = obj.get("status")
    listed = status.get("conditions") if isinstance(status, dict) else None
    if not isinstance(listed, list):
        return []
    return [c for c in listed if isinstance(c, dict) and isinstance(c.get("type"), str)]


def make(
    type_: str,
    status: str,
    *,
    reason: str = "",
    message: str = "",
    at: str | None = None,
    generation: int = 0,
) -> Condition:
    """One condition in its serialised form: always with `message`, without unknown fields."""
    made: Condition = {"type": type_, "status": status}
    if at is not None:
        made["lastTransitionTime"] = at
    if reason:
        made["reason"] = reason
    made["message"] = message
    if generation:
        made["observedGeneration"] = generation
    return made


@dataclass(frozen=True, slots=True, kw_only=True)
class ConditionSet:
    """The condition types of one kind: the root, its dependents in order, and retired types to drop."""

    root: str
    dependents: tuple[str, ...]
    pruned: tuple[str, ...] = ()

    def initialise(self, conditions: Sequence[Condition], subject: Subject, *, now: str) -> Conditions:
        """Retired types dropped, every missing type Unknown."""
        current = [c for c in conditions if c.get("type") not in self.pruned]
        for type_ in (self.root, *self.dependents):
            if find(current, type_) is None:
                message = f'condition "{type_}" is awaiting reconciliation'
                current = self.set(current, subject, type_, UNKNOWN, reason=AWAITING, message=message, now=now)
        return current

    def set(
        self,
        conditions: Sequence[Condition],
        subject: Subject,
        type_: str,
        status: str,
        *,
        reason: str,
        message: str = "",
        now: str,
    ) -> Conditions:
        """The sorted list with one condition set and the root recomputed; the same list if nothing changes."""
        current = list(conditions)
        old = find(current, type_)
        new = make(
            type_,
            status,
            reason=reason,
            message=message,
            at=self._transition(old, type_, status, subject, now),
            generation=subject.generation,
        )
        if old is not None and _normal(old) == _normal(new):
            return current
        others = [c for c in current if c.get("type") != type_]
        if subject.deleting:
            others = [_stamped(c, subject.generation) for c in others]
        changed = self._sorted([*others, new])
        return changed if type_ == self.root else self.recompute(changed, subject, now=now)

    def recompute(self, conditions: Sequence[Condition], subject: Subject, *, now: str) -> Conditions:
        """The list with the root derived from its dependents.

        The root copies the newest False dependent, otherwise the newest Unknown one. If all unhealthy dependents only
        describe an older generation, the root does not change.
        """
        found = [c for c in conditions if c.get("type") in self.dependents]
        unhealthy = [c for c in found if not is_true([c], c["type"], subject.generation)]
        if not unhealthy and len(found) == len(self.dependents):
            return self.set(conditions, subject, self.root, TRUE, reason=self.root, now=now)
        newest_first = sorted(unhealthy, key=_time, reverse=True)
        for status in (FALSE, UNKNOWN):
            for cause in newest_first:
                if cause.get("status") == status:
                    return self.set(
                        conditions,
                        subject,
                        self.root,
                        status,
                        reason=cause.get("reason", ""),
                        message=cause.get("message", ""),
                        now=now,
                    )
        return list(conditions)

    def is_ready(self, conditions: Iterable[Condition], generation: int) -> bool:
        """Whether the root is True and describes this generation."""
        return is_true(conditions, self.root, generation)

    def _transition(self, old: Condition | None, type_: str, status: str, subject: Subject, now: str) -> str | None:
        if old is not None and old.get("status") == status:
            return old.get("lastTransitionTime")
        if old is None and (type_ == self.root or type_ in self.dependents):
            return subject.created or now
        return now

    def _sorted(self, conditions: Conditions) -> Conditions:
        return sorted(conditions, key=lambda c: (c.get("type") == self.root, _time(c)))


def _time(condition: Condition) -> str:
    # RFC 3339 in UTC with seconds sorts as text; a missing time sorts first.
    return condition.get("lastTransitionTime") or ""


def _stamped(condition: Condition, generation: int) -> Condition:
    return {**condition, "observedGeneration": generation} if generation else condition


def _normal(condition: Condition) -> tuple[Any, ...]:
    return (
        condition.get("status"),
        condition.get("lastTransitionTime"),
        condition.get("reason") or "",
        condition.get("message") or "",
        condition.get("observedGeneration") or 0,
    )
