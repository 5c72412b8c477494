"""Compare a forecast with what happened: the objects before and after it, and the writes of the controller.

What the forecast calls unknown may be anything. Everything else must be as planned, and all other objects must be
untouched: their resourceVersion stays the same.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias

from kroasync.engine.difference import difference
from kroasync.model.names import LABEL_INSTANCE_NAME, LABEL_NODE_ID
from kroasync.model.objects import Key, Obj, labels_of, uid_of, version_of
from kroasync.planning.forecast import Forecast, InstanceForecast, PlannedStep, Verb

Place: TypeAlias = tuple[str, str]
"""A kind and a name."""
State: TypeAlias = Mapping[Place, Obj]

_STAYS: Final = (Verb.CONFLICT, Verb.HELD, Verb.REFUSED)
_OPEN: Final = ("(withheld", "(known after apply)")


@dataclass(slots=True)
class Expectation:
    """What a forecast promises about children."""

    # The last step about each object; None: it stays as it was.
    steps: dict[Place, PlannedStep | None] = field(default_factory=dict)
    # Objects of which nothing is promised, and the nodes of instances whose objects are such.
    unknown: set[Place] = field(default_factory=set)
    open_nodes: set[tuple[str, str]] = field(default_factory=set)

    @staticmethod
    def of(forecast: Forecast) -> Expectation:
        found = Expectation()
        for one in forecast.instances:
            for step in (*one.drift, *one.steps):
                found._take(one, step)
        return found

    def _take(self, one: InstanceForecast, step: PlannedStep) -> None:
        if step.key is None:
            if step.verb in (Verb.UNKNOWN, Verb.REFUSED):
                self.open_nodes.add((one.key.name, step.node))
            return
        place = _place(step.key)
        if step.verb is Verb.UNKNOWN:
            self.unknown.add(place)
        else:
            # A step that the edit adds to drift without a state says that the object stays as it is.
            stays = step.verb in _STAYS or (step.verb is Verb.UPDATE and step.after is None)
            self.steps[place] = None if stays else step

    def is_open(self, place: Place, obj: Obj) -> bool:
        node = (labels_of(obj).get(LABEL_INSTANCE_NAME, ""), labels_of(obj).get(LABEL_NODE_ID, ""))
        return place in self.unknown or node in self.open_nodes


def broken(forecast: Forecast, before: State, after: State, writes: Iterable[tuple[Place, str]]) -> list[str]:
    """Where something else happened than was planned. `writes` are the successful ones of the controller."""
    expected = Expectation.of(forecast)
    found = [f"{one.key}: {one.error}" for one in forecast.instances if one.error]
    done: dict[Place, set[str]] = {}
    for place, verb in writes:
        done.setdefault(place, set()).add(verb)
    for place in sorted({*before, *after, *expected.steps, *done}):
        old, new = before.get(place), after.get(place)
        if any(expected.is_open(place, obj) for obj in (old, new) if obj is not None) or place in expected.unknown:
            continue
        step = expected.steps.get(place)
        texts = _of_step(step, old, new) if step is not None else _untouched(old, new)
        texts += _of_writes(step, done.get(place, set()))
        found += [f"{place[0]} {place[1]}: {_planned(step)}, but {text}" for text in texts]
    return found


def _planned(step: PlannedStep | None) -> str:
    if step is None:
        return "planned nothing"
    return f"planned {step.verb} ({step.why}) of {[change.path for change in step.fields]}"


def _untouched(old: Obj | None, new: Obj | None) -> list[str]:
    if old is None and new is None:
        return []
    if old is None or new is None:
        return ["it was created" if old is None else "it was deleted"]
    changed = [change.path for change in difference(old, new)]
    if changed:
        return [f"{changed} changed"]
    return [] if version_of(old) == version_of(new) else ["it was written"]


def _of_step(step: PlannedStep, old: Obj | None, new: Obj | None) -> list[str]:
    if step.verb is Verb.DELETE:
        return [] if new is None or (old is not None and uid_of(new) != uid_of(old)) else ["it is there"]
    if new is None:
        return ["it is not there"]
    if step.verb is Verb.RELEASE:
        return ["it is still a child"] if LABEL_NODE_ID in labels_of(new) else []
    is_new = old is None or uid_of(old) != uid_of(new)
    if is_new != (step.verb in (Verb.CREATE, Verb.RECREATE)):
        return [f"it is {'another' if is_new else 'the same'} object"]
    if step.after is None:
        return []
    return [
        f"{change.path} is {change.after!r}, not {change.before!r}"
        for change in difference(step.after, new)
        if not _is_open(change.before)
    ]


def _is_open(value: Any) -> bool:
    if isinstance(value, str):
        return any(mark in value for mark in _OPEN)
    return isinstance(value, dict) and bool(value) and all(map(_is_open, value.values()))


_WRITES: Final[Mapping[Verb, frozenset[str]]] = {
    Verb.CREATE: frozenset({"create"}),
    Verb.UPDATE: frozenset({"update"}),
    Verb.DELETE: frozenset({"delete"}),
    Verb.RELEASE: frozenset({"update"}),
    Verb.RECREATE: frozenset({"delete", "create"}),
}


def _of_writes(step: PlannedStep | None, verbs: set[str]) -> Iterator[str] | list[str]:
    wanted = _WRITES[step.verb] if step is not None else frozenset[str]()
    return [] if verbs == wanted else [f"the writes were {sorted(verbs)}"]


def _place(key: Key) -> Place:
    return key.resource.kind, key.name


def writes_of(events: Sequence[Obj], namespace: str) -> Iterator[tuple[Place, str]]:
    """The successful writes to children in the audit log, as `create`, `update` or `delete`."""
    kinds = {"configmaps": "ConfigMap", "secrets": "Secret"}
    for event in events:
        target, code = event.get("objectRef") or {}, (event.get("responseStatus") or {}).get("code", 0)
        if target.get("namespace") != namespace or target.get("resource") not in kinds or not 200 <= code < 300:
            continue
        verb = {"patch": "create" if code == 201 else "update", "delete": "delete"}.get(event["verb"])
        if verb is not None:
            yield (kinds[target["resource"]], target["name"]), verb
