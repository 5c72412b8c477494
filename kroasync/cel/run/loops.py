"""Compiles macros that loop, and the macros of optionals, to closures.

A loop pays for all its items when it starts. So nested loops soon exceed the budget, and a plain loop has no cost per
item. A loop that copies from the results of its body pays for the copy then. `all` and `exists` absorb errors of their
predicate if another item decides; the other macros do not.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any, Final, TypeAlias

from kroasync.cel.errors import EvalError, OverloadError, Span, ValueError_
from kroasync.cel.meter import COMPARED_PER_STEP, Meter
from kroasync.cel.run.absorbing import absorb, decides
from kroasync.cel.run.lifting import Lift
from kroasync.cel.run.operations import FIXED, ORDERED, TEXTS, key_text, type_name
from kroasync.cel.values import NONE, Optional, map_keys, to_key

_Frame: TypeAlias = list[Any]
_Code: TypeAlias = Callable[[_Frame], Any]
_METER: Final = 1
# How many comparisons of a sort make one step.
_COMPARISONS_PER_STEP: Final = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class LoopCode:
    """The compiled parts of a macro; `cost` is the number of steps that one item costs."""

    kind: str
    range: _Code
    slots: tuple[int, ...]
    lifts: tuple[Lift | None, ...]
    condition: _Code | None
    body: _Code
    cost: int
    span: Span


def compile_loop(loop: LoopCode) -> _Code:
    """The code of the macro."""
    return _KINDS[loop.kind](loop)


def _items(loop: LoopCode) -> _Code:
    """The items of a loop, paid for: elements or keys for one variable, pairs for two."""
    range_code, cost, span = loop.range, loop.cost, loop.span
    if len(loop.slots) == 2:
        return _pairs(loop)
    (lift,) = loop.lifts

    def items(frame: _Frame) -> list[Any]:
        values = range_code(frame)
        if values.__class__ is not list:
            values = _keys(values, span)
        meter = frame[_METER]
        meter.left -= len(values) * cost + 1
        if meter.left < 0:
            raise meter.exhausted()
        return values if lift is None else _lifted(lift, values, span, meter)

    return items


def _lifted(lift: Lift, values: list[Any], span: Span, budget: Meter) -> list[Any]:
    try:
        budget.spend(len(values))
        return [lift(value, budget) for value in values]
    except EvalError as error:
        error.span = error.span or span
        raise


def _keys(values: Any, span: Span) -> list[Any]:
    if values.__class__ is not dict:
        raise OverloadError(f"expression of type '{type_name(values)}' cannot be range of a comprehension", span=span)
    return map_keys(values)


def _pairs(loop: LoopCode) -> _Code:
    range_code, cost, span = loop.range, loop.cost, loop.span
    lift_key, lift_value = loop.lifts

    def pairs(frame: _Frame) -> Iterable[tuple[Any, Any]]:
        values = range_code(frame)
        if values.__class__ is list:
            keys: list[Any] = list(range(len(values)))
        else:
            keys = _keys(values, span)
            values = list(values.values())
        meter = frame[_METER]
        meter.left -= len(keys) * cost + 1
        if meter.left < 0:
            raise meter.exhausted()
        if lift_key is not None:
            keys = _lifted(lift_key, keys, span, meter)
        if lift_value is not None:
            values = _lifted(lift_value, values, span, meter)
        return zip(keys, values, strict=True)

    return pairs


def _assign(loop: LoopCode) -> Callable[[_Frame, Any], None]:
    """A function that stores an item in the slots of the variables."""
    if len(loop.slots) == 1:
        return lambda frame, item: frame.__setitem__(loop.slots[0], item)
    first, second = loop.slots

    def assign(frame: _Frame, item: Any) -> None:
        frame[first], frame[second] = item

    return assign


def _not_bool(value: Any, span: Span) -> OverloadError:
    return OverloadError(f"no such overload: {type_name(value)} is not a bool", span=span)


def _quantifier(loop: LoopCode) -> _Code:
    """`all` stops at the first False, `exists` at the first True."""
    decisive: bool = loop.kind == "exists"
    other = not decisive
    items, body, span, rest = _items(loop), loop.body, loop.span, _rest(loop, decisive)
    if len(loop.slots) == 2:
        return _quantifier2(loop, decisive)
    (slot,) = loop.slots

    def quantifier(frame: _Frame) -> bool:
        left = iter(items(frame))
        try:
            for frame[slot] in left:
                value: object = body(frame)
                if value is decisive:
                    return decisive
                if value is not other:
                    raise _not_bool(value, span)
        except EvalError as error:
            return rest(frame, left, error)
        return other

    return quantifier


def _quantifier2(loop: LoopCode, decisive: bool) -> _Code:
    """A quantifier with two variables. Its loop is written out: a call for each item would cost too much."""
    other = not decisive
    items, body, span, rest, (first, second) = _items(loop), loop.body, loop.span, _rest(loop, decisive), loop.slots

    def quantifier2(frame: _Frame) -> bool:
        left = iter(items(frame))
        try:
            for frame[first], frame[second] in left:
                value: object = body(frame)
                if value is decisive:
                    return decisive
                if value is not other:
                    raise _not_bool(value, span)
        except EvalError as error:
            return rest(frame, left, error)
        return other

    return quantifier2


def _rest(loop: LoopCode, decisive: bool) -> Callable[[_Frame, Iterable[Any], EvalError], bool]:
    """The items that are left after the first error."""
    body, assign = loop.body, _assign(loop)

    def rest(frame: _Frame, left: Iterable[Any], failure: EvalError) -> bool:
        meter = frame[_METER]
        absorb(failure, meter)
        for item in left:
            assign(frame, item)
            if decides(body, frame, decisive, meter):
                return decisive
        raise failure

    return rest


def _holds(code: _Code, span: Span) -> _Code:
    """A condition that must return a bool."""

    def holds(frame: _Frame) -> bool:
        value = code(frame)
        if value is True or value is False:
            return value
        raise _not_bool(value, span)

    return holds


def _exists_one(loop: LoopCode) -> _Code:
    items, holds, assign = _items(loop), _holds(loop.body, loop.span), _assign(loop)

    def exists_one(frame: _Frame) -> bool:
        count = 0
        for item in items(frame):
            assign(frame, item)
            count += holds(frame)
        return count == 1

    return exists_one


def _filter(loop: LoopCode) -> _Code:
    items, body, span = _items(loop), loop.body, loop.span
    (slot,) = loop.slots

    def filter_items(frame: _Frame) -> list[Any]:
        kept = []
        for item in items(frame):
            frame[slot] = item
            value = body(frame)
            if value is True:
                kept.append(item)
            elif value is not False:
                raise _not_bool(value, span)
        return kept

    return filter_items


def _map(loop: LoopCode) -> _Code:
    """`map` and `transformList`."""
    items, body = _items(loop), loop.body
    if loop.condition is None and len(loop.slots) == 1:
        (slot,) = loop.slots

        def map_items(frame: _Frame) -> list[Any]:
            values = []
            for item in items(frame):
                frame[slot] = item
                values.append(body(frame))
            return values

        return map_items
    assign = _assign(loop)
    holds = None if loop.condition is None else _holds(loop.condition, loop.span)

    def map_some(frame: _Frame) -> list[Any]:
        values = []
        for item in items(frame):
            assign(frame, item)
            if holds is None or holds(frame):
                values.append(body(frame))
        return values

    return map_some


def _transform_map(loop: LoopCode) -> _Code:
    items, body, assign = _pairs(loop), loop.body, _assign(loop)
    holds = None if loop.condition is None else _holds(loop.condition, loop.span)
    at = loop.slots[0]

    def transform_map(frame: _Frame) -> dict[Any, Any]:
        result: dict[Any, Any] = {}
        for item in items(frame):
            assign(frame, item)
            if holds is None or holds(frame):
                key = to_key(frame[at])
                result[key] = body(frame)
        return result

    return transform_map


def _transform_map_entry(loop: LoopCode) -> _Code:
    items, body, assign, span = _pairs(loop), loop.body, _assign(loop), loop.span
    holds = None if loop.condition is None else _holds(loop.condition, loop.span)

    def transform_map_entry(frame: _Frame) -> dict[Any, Any]:
        result: dict[Any, Any] = {}
        for item in items(frame):
            assign(frame, item)
            if holds is not None and not holds(frame):
                continue
            entries = body(frame)
            if entries.__class__ is not dict:
                raise OverloadError(f"no such overload: {type_name(entries)} is not a map", span=span)
            frame[_METER].spend(len(entries))
            for key, value in entries.items():
                if key in result:
                    raise ValueError_(f"insert failed: key {key_text(key)} already exists", span=span)
                result[key] = value
        return result

    return transform_map_entry


def _sort_by(loop: LoopCode) -> _Code:
    range_code, body, span = loop.range, loop.body, loop.span
    (slot,) = loop.slots

    def elements(frame: _Frame) -> list[Any]:
        values = range_code(frame)
        if values.__class__ is not list:
            # sortBy is the only loop that does not accept a map.
            raise OverloadError(f"no such overload: sortBy of {type_name(values)}", span=span)
        return list(values)

    items = _items(replace(loop, range=elements))

    def sort_by(frame: _Frame) -> list[Any]:
        values = items(frame)
        keys = []
        for frame[slot] in values:
            keys.append(body(frame))
        try:
            order = sorted_positions(keys, frame[_METER])
        except EvalError as error:
            error.span = error.span or span
            raise
        return [values[place] for place in order]

    return sort_by


def sorted_positions(keys: list[Any], budget: Meter) -> list[int]:
    """The positions of keys of one comparable type in stable order; raises OverloadError for other types."""
    rounds = len(keys).bit_length()
    budget.spend(len(keys) * rounds // _COMPARISONS_PER_STEP)
    kinds = {key.__class__ for key in keys}
    if len(kinds) > 1:
        raise OverloadError("list elements must have the same type")
    if not kinds <= ORDERED:
        raise OverloadError(f"list elements must be comparable, got {type_name(keys[0])}")
    if kinds <= TEXTS:
        budget.spend(rounds * (sum(map(len, keys)) // COMPARED_PER_STEP))
    elif not kinds <= FIXED:
        # Python compares numbers much faster than timestamps and durations.
        keys = [key.ns for key in keys]
    return sorted(range(len(keys)), key=keys.__getitem__)


def in_order(keys: Iterable[str], budget: Meter) -> list[str]:
    """Texts in ascending order."""
    texts = list(keys)
    return [texts[place] for place in sorted_positions(texts, budget)]


def _optional_map(loop: LoopCode) -> _Code:
    """`optMap` wraps the result of its body; `optFlatMap` expects the body to return an optional."""
    operand, body, span, flat = loop.range, loop.body, loop.span, loop.kind == "optFlatMap"
    ((slot,), (lift,)) = loop.slots, loop.lifts

    def optional_map(frame: _Frame) -> Any:
        value = operand(frame)
        if value.__class__ is not Optional:
            raise OverloadError(f"no such overload: {type_name(value)} is not an optional", span=span)
        if not value.present:
            return NONE
        frame[slot] = value.value if lift is None else lift(value.value, frame[_METER])
        result = body(frame)
        if not flat:
            return Optional(result)
        if result.__class__ is not Optional:
            raise OverloadError(f"no such overload: {type_name(result)} is not an optional", span=span)
        return result

    return optional_map


_KINDS: Final = MappingProxyType(
    {
        "all": _quantifier,
        "exists": _quantifier,
        "exists_one": _exists_one,
        "filter": _filter,
        "map": _map,
        "transformList": _map,
        "transformMap": _transform_map,
        "transformMapEntry": _transform_map_entry,
        "sortBy": _sort_by,
        "optMap": _optional_map,
        "optFlatMap": _optional_map,
    }
)
