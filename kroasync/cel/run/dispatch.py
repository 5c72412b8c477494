"""Selects the overload of a function by the run-time types of the arguments.

A call site caches the overload by the classes of the arguments. Only overloads that differ in the elements of their
lists and maps (`list(int)`, `list(double)`) need a look at the elements at every call.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from kroasync.cel.decls import Impl, Overload
from kroasync.cel.errors import OverloadError
from kroasync.cel.meter import Meter
from kroasync.cel.run.operations import type_name
from kroasync.cel.types import Type
from kroasync.cel.values import SIZED, TYPE_OF, from_key, size_of


@dataclass(frozen=True, slots=True)
class Callee:
    """The target of a call: the implementation, whether it takes the budget, and how much it reads in one step.

    A rate of 0 means that the size of texts, lists and maps does not matter.
    """

    impl: Impl
    metered: bool
    rate: int


def accepts(param: Type, value: Any) -> bool:
    """True if the outermost type of a value matches a parameter."""
    if param.kind in ("dyn", "param"):
        return True
    own = TYPE_OF.get(value.__class__) or getattr(value.__class__, "cel_type", None)
    if own is None:
        return False
    if param.kind == "object" and own.kind == "map":
        return True
    return bool(own.kind == param.kind and (own.name == param.name))


def accepts_elements(param: Type, value: Any) -> bool:
    """True if the first element, if there is one, matches too."""
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


def resolve(name: str, overloads: Sequence[Overload], values: Sequence[Any], *, member: bool) -> tuple[Callee, bool]:
    """The target for these values, and whether it is the target for all values of these classes.

    Raises OverloadError if no overload takes them.
    """
    fitting = [row for row in overloads if all(map(accepts, row.params, values))]
    if not fitting:
        raise no_matching(name, values, member=member)
    stable = len({row.impl for row in fitting}) == 1
    if stable:
        return _callee(fitting[0], values), True
    for row in fitting:
        if all(map(accepts_elements, row.params, values)):
            return _callee(row, values), False
    raise no_matching(name, values, member=member)


def _callee(row: Overload, values: Sequence[Any]) -> Callee:
    if row.metered:
        return Callee(row.impl, True, 0)
    if any(hasattr(value.__class__, "cel_size") for value in values):
        return Callee(_priced(row), True, 0)
    return Callee(row.impl, False, row.rate if any(value.__class__ in SIZED for value in values) else 0)


def _priced(row: Overload) -> Impl:
    """The implementation, which pays for the size of its arguments; the size of an opaque value is that of its text."""

    def priced(*values: Any, budget: Meter) -> Any:
        budget.spend(sum(map(size_of, values)) // (row.rate or 1))
        return row.impl(*values)

    return priced


def no_matching(name: str, values: Sequence[Any], *, member: bool) -> OverloadError:
    names = [type_name(value) for value in values]
    applied = f"{names[0]}.({', '.join(names[1:])})" if member else f"({', '.join(names)})"
    return OverloadError(f"no such overload: found no matching overload for '{name}' applied to '{applied}'")
