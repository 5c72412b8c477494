"""Which overload of a function takes some values, found by their run-time types.

A call site keeps what it found in a dict from the classes of the arguments; only overloads that differ in the elements
of their lists and maps (`list(int)`, `list(double)`) are told apart at every call.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from kroasync.cel.decls import Impl, Overload
from kroasync.cel.errors import OverloadError
from kroasync.cel.operations import type_name
from kroasync.cel.types import Type
from kroasync.cel.values import TYPE_OF, from_key


@dataclass(frozen=True, slots=True)
class Target:
    """What a call site calls: the implementation, whether it takes the budget, whether its receiver costs by size."""

    impl: Impl
    metered: bool
    sized: bool


def accepts(param: Type, value: Any) -> bool:
    """True if the outermost type of a value fits a parameter."""
    if param.kind in ("dyn", "param"):
        return True
    own = TYPE_OF.get(value.__class__) or getattr(value.__class__, "cel_type", None)
    if own is None:
        return False
    if param.kind == "object" and own.kind == "map":
        return True
    return bool(own.kind == param.kind and (own.name == param.name))


def accepts_elements(param: Type, value: Any) -> bool:
    """True if the first element, if any, fits too."""
    if param.kind == "list" and value.__class__ is list and value:
        return accepts_deeply(param.params[0], value[0])
    if param.kind == "map" and value.__class__ is dict and value:
        key, item = next(iter(value.items()))
        return accepts_deeply(param.params[0], from_key(key)) and accepts_deeply(param.params[1], item)
    if param.kind == "optional" and value.present:
        return accepts_deeply(param.params[0], value.value)
    return True


def accepts_deeply(param: Type, value: Any) -> bool:
    return accepts(param, value) and accepts_elements(param, value)


def resolve(name: str, overloads: Sequence[Overload], values: Sequence[Any], *, member: bool) -> tuple[Target, bool]:
    """What to call for these values, and whether the answer holds for all values of these classes.

    Raises OverloadError if no overload takes them.
    """
    fitting = [row for row in overloads if all(map(accepts, row.params, values))]
    if not fitting:
        raise no_matching(name, values, member=member)
    stable = len({row.impl for row in fitting}) == 1
    if stable:
        return _target(fitting[0]), True
    for row in fitting:
        if all(map(accepts_elements, row.params, values)):
            return _target(row), False
    raise no_matching(name, values, member=member)


def _target(row: Overload) -> Target:
    sized = bool(row.params) and row.params[0].kind in ("string", "bytes", "list", "map") and not row.metered
    return Target(row.impl, row.metered, sized)


def no_matching(name: str, values: Sequence[Any], *, member: bool) -> OverloadError:
    names = [type_name(value) for value in values]
    applied = f"{names[0]}.({', '.join(names[1:])})" if member else f"({', '.join(names)})"
    return OverloadError(f"no such overload: found no matching overload for '{name}' applied to '{applied}'")
