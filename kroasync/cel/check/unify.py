"""Type variables, their substitutions, and whether a value of one type is assignable to another.

The rules are cel-go's (checker/types.go): dyn and error fit everything, null fits messages, timestamps,
durations, optionals and abstract types, and a type variable takes the more general of the types it meets. One
deviation: null never counts as the more general type, so that `c ? null : duration('1s')` is a duration.
"""

from collections.abc import Sequence
from typing import Final

from kroasync.cel.types import DYN, Type, param

_WILDCARDS: Final = frozenset(("dyn", "error"))
_NULLABLE: Final = frozenset(("null", "object", "timestamp", "duration", "optional", "opaque"))
# Below this depth a type becomes dyn: a chain of `cel.bind` can build a type of any depth.
_MAX_DEPTH: Final = 64


def bounded(type_: Type) -> Type:
    """The type, or with dyn below the deepest level allowed."""
    depth, inner = 0, type_
    while inner.params:
        depth += 1
        if depth > _MAX_DEPTH:
            return _cut(type_, _MAX_DEPTH // 2)
        inner = inner.params[-1]
    return type_


def _cut(type_: Type, depth: int) -> Type:
    if not type_.params:
        return type_
    if depth == 0:
        return DYN
    return Type(type_.kind, type_.name, (*type_.params[:-1], _cut(type_.params[-1], depth - 1)))


def fits(given: Type, expected: Type) -> bool:
    """True if a value of the first type is assignable to the second."""
    return Substitution().assignable(given, expected)


class Substitution:
    """The type that each type variable stands for. An attempt that fails changes nothing."""

    __slots__ = ("_bound", "_fresh", "_trail", "work")

    def __init__(self) -> None:
        # How many types were visited so far: the cost of checking an expression beyond its nodes.
        self.work = 0
        self._bound: dict[str, Type] = {}
        # Variables in the order in which they were (re)bound, each with its previous binding.
        self._trail: list[tuple[str, Type | None]] = []
        self._fresh = 0

    def variable(self) -> Type:
        """A new type variable."""
        self._fresh += 1
        return param(f"_var{self._fresh}")

    def instantiate(self, types: Sequence[Type]) -> list[Type]:
        """The types with every type parameter replaced by a new variable, the same one for the same name."""
        names: dict[str, Type] = {}
        return [self._renamed(type_, names) for type_ in types]

    def _renamed(self, type_: Type, names: dict[str, Type]) -> Type:
        self.work += 1
        if type_.kind == "param":
            if type_.name not in names:
                names[type_.name] = self.variable()
            return names[type_.name]
        if not type_.params:
            return type_
        return Type(type_.kind, type_.name, tuple(self._renamed(inner, names) for inner in type_.params))

    def apply(self, type_: Type) -> Type:
        """The type with all bound variables replaced; the others stay."""
        self.work += 1
        if type_.kind == "param":
            bound = self._bound.get(type_.name)
            return type_ if bound is None else self.apply(bound)
        return _with_params(type_, [self.apply(part) for part in type_.params])

    def final(self, type_: Type, known: dict[int, Type]) -> Type:
        """The type with all variables replaced; an unbound variable becomes dyn.

        `known` caches the results by the id of a type, because the types of an expression share their parts.
        """
        found = known.get(id(type_))
        if found is not None:
            return found
        self.work += 1
        if type_.kind == "param":
            bound = self._bound.get(type_.name)
            found = DYN if bound is None else self.final(bound, known)
        else:
            found = _with_params(type_, [self.final(part, known) for part in type_.params])
        known[id(type_)] = found
        return found

    def assignable(self, given: Type, expected: Type) -> bool:
        """Whether a value of the first type is assignable to the second; binds variables if so."""
        mark = len(self._trail)
        if self._fits(given, expected):
            return True
        self._rollback(mark)
        return False

    def all_assignable(self, given: Sequence[Type], expected: Sequence[Type]) -> bool:
        """The same for all arguments together."""
        mark = len(self._trail)
        if all(self._fits(a, b) for a, b in zip(given, expected, strict=True)):
            return True
        self._rollback(mark)
        return False

    def join(self, first: Type, second: Type) -> Type | None:
        """The more general of two types, if one is assignable to the other; otherwise None."""
        if not self.assignable(first, second):
            return None
        return self._more_general(first, second)

    def _rollback(self, mark: int) -> None:
        while len(self._trail) > mark:
            name, before = self._trail.pop()
            if before is None:
                del self._bound[name]
            else:
                self._bound[name] = before

    def _bind(self, variable: Type, type_: Type) -> None:
        self._trail.append((variable.name, self._bound.get(variable.name)))
        self._bound[variable.name] = type_

    def _fits(self, given: Type, expected: Type) -> bool:
        self.work += 1
        if expected.kind == "param":
            fits, was_bound = self._stands_for(expected, given)
            if fits or was_bound:
                return fits
        if given.kind == "param":
            return self._stands_for(given, expected)[0]
        if given.kind in _WILDCARDS or expected.kind in _WILDCARDS:
            return True
        if given.kind == "null" or expected.kind == "null":
            other = expected if given.kind == "null" else given
            return other.kind in _NULLABLE
        if given.kind != expected.kind:
            return False
        if given.kind == "type":
            return True
        if given.name != expected.name or len(given.params) != len(expected.params):
            return False
        return all(self._fits(a, b) for a, b in zip(given.params, expected.params, strict=True))

    def _stands_for(self, variable: Type, type_: Type) -> tuple[bool, bool]:
        """Whether a variable can stand for a type, and whether the variable was bound before."""
        if variable == type_:
            return True, True
        bound = self._bound.get(variable.name)
        if bound is None:
            if self._occurs(variable, type_):
                return False, False
            self._bind(variable, type_)
            return True, False
        if bound == type_:
            return True, True
        if not self._fits(type_, bound):
            return False, True
        general = self._more_general(type_, bound)
        if not self._occurs(variable, general):
            self._bind(variable, general)
        return True, True

    def _occurs(self, variable: Type, type_: Type) -> bool:
        self.work += 1
        if type_ == variable:
            return True
        if type_.kind == "param":
            bound = self._bound.get(type_.name)
            return bound is not None and self._occurs(variable, bound)
        return any(self._occurs(variable, inner) for inner in type_.params)

    def _more_general(self, first: Type, second: Type) -> Type:
        if first.kind == "null" and second.kind not in _WILDCARDS:
            return second
        if second.kind == "null":
            return first
        return first if self._is_as_general(first, second) else second

    def _is_as_general(self, first: Type, second: Type) -> bool:
        self.work += 1
        if first.kind in ("dyn", "param"):
            return True
        if second.kind in ("dyn", "param") or first.kind != second.kind:
            return False
        if first.kind == "type":
            return True
        if first.name != second.name or len(first.params) != len(second.params):
            return False
        return all(self._is_as_general(a, b) for a, b in zip(first.params, second.params, strict=True))


def _with_params(type_: Type, params: list[Type]) -> Type:
    # Compare by identity: comparing by value would visit the whole type again at each level.
    if all(new is old for new, old in zip(params, type_.params, strict=True)):
        return type_
    return Type(type_.kind, type_.name, tuple(params))
