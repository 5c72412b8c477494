"""What will happen if files are applied, as data: for each instance the steps that the controller will take.

A step is about one object. The steps that the controller would take without the edit are the drift of an instance, and
stand apart. Values of Secrets are withheld before they enter a forecast.
"""

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from kroasync.engine.difference import FieldChange
from kroasync.model.names import APPLYSET_PREFIX, RESERVED_PREFIXES
from kroasync.model.objects import Key, Obj, labels_of
from kroasync.model.problems import Problem


class Verb(StrEnum):
    """The classes of steps, from the harmless to what nobody can tell."""

    CREATE = "create"
    UPDATE = "update"
    DELETE = "delete"
    RELEASE = "release"  # the object stays, and leaves the instance
    RECREATE = "recreate"  # deleted and created anew
    CONFLICT = "conflict"  # another manager holds fields, so nothing of the object changes
    HELD = "held"  # more would be deleted than the policy allows
    REFUSED = "refused"  # the API server, or the owner of an object, says no
    UNKNOWN = "unknown"  # it depends on what is known only after other steps


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedStep:
    """One step. `key` is None where only the node is known; `why` is one sentence."""

    verb: Verb
    node: str
    key: Key | None = None
    why: str = ""
    fields: tuple[FieldChange, ...] = ()
    # The states of the object, without what only the API server keeps.
    before: Obj | None = None
    after: Obj | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class InstanceForecast:
    """One instance. `steps` follow from the edit; `drift` would happen without it."""

    key: Key
    # What the files change of the instance itself.
    edit: PlannedStep | None = None
    steps: tuple[PlannedStep, ...] = ()
    drift: tuple[PlannedStep, ...] = ()
    # What a reader should know: suspended, being deleted, fields left to other managers.
    notes: tuple[str, ...] = ()
    # Why nothing can be told of it; empty if something can.
    error: str = ""

    @property
    def whole(self) -> tuple[PlannedStep, ...]:
        """All steps that follow from the files."""
        return (*([self.edit] if self.edit is not None else []), *self.steps)


@dataclass(frozen=True, slots=True, kw_only=True)
class SchemaStep:
    """One change of the generated CRD."""

    path: str
    text: str
    breaking: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class UnfitInstance:
    """A stored instance that the new schema refuses, with the reasons."""

    key: Key
    problems: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class DefinitionForecast:
    """One definition, and its CRD. `verb` is CREATE, UPDATE, DELETE or REFUSED; None if the spec stays the same."""

    name: str
    kind: str
    crd: str
    verb: Verb | None = None
    # Why it is refused, or what a reader should know.
    why: str = ""
    schema: tuple[SchemaStep, ...] = ()
    misfits: tuple[UnfitInstance, ...] = ()
    # How many live instances it has.
    instances: int = 0
    # The place of the definition in the files.
    source: str | None = None
    line: int | None = None

    @property
    def is_breaking(self) -> bool:
        return any(step.breaking for step in self.schema)


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """Instances with the same steps. `sample` is the first of them."""

    sample: InstanceForecast
    keys: tuple[Key, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Forecast:
    """The whole forecast. `unread` says what could not be read, and why."""

    definitions: tuple[DefinitionForecast, ...] = ()
    instances: tuple[InstanceForecast, ...] = ()
    unread: tuple[str, ...] = ()
    # Warnings about the files, with their places.
    warnings: tuple[Problem, ...] = ()
    # Whether the API server answered dry runs: `all`, `existing` or `none`.
    dry_run: str = "all"

    def counts(self) -> Counter[Verb]:
        """How many steps of each class follow from the files, over all instances."""
        return counted(step for one in self.instances for step in one.whole)

    def drift_counts(self) -> Counter[Verb]:
        return counted(step for one in self.instances for step in one.drift)

    @property
    def errors(self) -> tuple[str, ...]:
        """What could not be told, one text each."""
        return (*self.unread, *(f"{one.key}: {one.error}" for one in self.instances if one.error))

    @property
    def has_changes(self) -> bool:
        """Whether the files change anything."""
        return any(one.verb is not None for one in self.definitions) or any(one.whole for one in self.instances)

    def groups(self) -> tuple[Group, ...]:
        """The instances by their steps, those with most instances first; instances without any step are left out."""
        found: dict[Any, list[InstanceForecast]] = {}
        for one in self.instances:
            if one.whole or one.drift or one.error:
                found.setdefault(_signature(one), []).append(one)
        groups = [Group(sample=same[0], keys=tuple(one.key for one in same)) for same in found.values()]
        return tuple(sorted(groups, key=lambda group: (-len(group.keys), group.keys[0])))


def counted(steps: Iterable[PlannedStep]) -> Counter[Verb]:
    """How many steps there are of each class."""
    return Counter(step.verb for step in steps)


def _signature(one: InstanceForecast) -> Any:
    """Equal for two instances whose steps differ in nothing but the names that come from the instances."""
    told = _Told(one.key)
    return (
        told.text(one.error),
        tuple(told.step(step) for step in one.whole),
        tuple(told.step(step) for step in one.drift),
        tuple(map(told.text, one.notes)),
    )


class _Told:
    """Steps as data in which the name and the namespace of the instance are placeholders."""

    def __init__(self, key: Key) -> None:
        words = {key.name: "{name}", **({key.namespace: "{namespace}"} if key.namespace else {})}
        self._words = words
        # Whole words only: an instance may be called "a".
        self._pattern = re.compile("(?<![a-z0-9])(?:" + "|".join(map(re.escape, words)) + ")(?![a-z0-9])")

    def text(self, text: str) -> str:
        return self._pattern.sub(lambda match: self._words[match.group()], text)

    def value(self, value: Any) -> Any:
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, dict):
            return tuple((self.value(k), self.value(v)) for k, v in sorted(value.items()))
        if isinstance(value, list | tuple):
            return tuple(map(self.value, value))
        return (type(value).__name__, str(value))

    def step(self, step: PlannedStep) -> Any:
        place = (step.key.resource, self.text(step.key.namespace), self.text(step.key.name)) if step.key else None
        fields: Sequence[FieldChange] = step.fields
        changed = tuple((self.value(c.route), self.value(c.before), self.value(c.after)) for c in fields)
        created = self.value(_unmarked(step.after)) if step.verb is Verb.CREATE and step.after else None
        return step.verb, step.node, place, self.text(step.why), changed, created


def _unmarked(obj: Obj) -> Obj:
    """The object without the labels by which it belongs to its instance."""
    ours = (*RESERVED_PREFIXES, APPLYSET_PREFIX)
    kept = {key: value for key, value in labels_of(obj).items() if not key.startswith(ours)}
    return {**obj, "metadata": {**obj["metadata"], "labels": kept}}
