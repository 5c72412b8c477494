"""What an expression gives to a field, looked at through its literals.

The type of `{"name": "a", "value": "b"}` is `map(string, string)`, which does not say which keys there are. The tree of
the expression does. So each key and each value of a literal is compared with the fields of the object that it stands
for: alone, in a list, as a branch of `?:`, as what `map` makes of every element, inside another literal. Everything
else is compared by its type.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Final, TypeAlias

from kroasync.cel import CheckedAst
from kroasync.cel.syntax import (
    ADD,
    CONDITIONAL,
    NO_LIMIT,
    Call,
    Expr,
    ListLit,
    Literal,
    Macro,
    MapEntry,
    MapLit,
    qualified_name,
    spine,
)
from kroasync.cel.types import STRING, Type
from kroasync.schema.assignability import Loose, Strict, unknown_field
from kroasync.schema.celtypes import SchemaTypes

MAX_MISMATCHES: Final = 20
"""Most mismatches that are reported of one expression."""

_UNCHECKED: Final = frozenset(("dyn", "error"))
_ELEMENT: Final = "list element type incompatible: "
_KEY: Final = "map key type incompatible: "
_OBJECT_KEY: Final = "map keys must be strings to assign to struct: "
_VALUE: Final = "map value type incompatible: "
# Methods whose result has the elements of their target, no others.
_SAME_ELEMENTS: Final = frozenset(("distinct", "reverse", "slice"))
_OPTIONALS: Final = frozenset(("optional.of", "optional.ofNonZeroValue"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Mismatch:
    """A part of a result that the API server will not take, and where in the expression it is."""

    cause: str
    offset: int
    # Whether it is a part of the result, not the result as a whole.
    is_part: bool
    # The key of a literal that its object does not have, and the keys that the object has.
    key: str | None = None
    known: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class FieldComparison:
    """What is wrong with the result of an expression in a field; nothing if there are no mismatches.

    kro refuses it, and `refusal` says why in kro's words, or only the API server will.
    """

    mismatches: tuple[Mismatch, ...]
    refusal: str | None
    # Types looked at.
    work: int


def compare(checked: CheckedAst, expected: Type, types: SchemaTypes, *, max_work: int = NO_LIMIT) -> FieldComparison:
    """Compares a result with the type of a field. What kro refuses is accepted if no part of it is a mismatch.

    After looking at `max_work` types the other parts are left to the API server.
    """
    if expected.kind in _UNCHECKED or checked.result_type == expected:
        return FieldComparison(mismatches=(), refusal=None, work=1)
    tree = _TreeComparison(checked.types, types, max_work)
    mismatches = {
        mismatch.cause: mismatch for mismatch in islice(tree.mismatches(checked.ast.root, expected), MAX_MISMATCHES)
    }
    loose = Loose(types)
    refusal = loose.refusal(checked.result_type, expected) if mismatches else None
    return FieldComparison(mismatches=tuple(mismatches.values()), refusal=refusal, work=tree.work + loose.work)


# What is above a part of a literal, as causes tell it: the text of the innermost step, and what is above that.
_Above: TypeAlias = "tuple[_Above, str] | None"
# A node, the type of its place, and what is above it.
_Part: TypeAlias = tuple[Expr, Type, _Above]


class _TreeComparison:
    """One way through the tree of an expression; it uses no recursion."""

    def __init__(self, node_types: Mapping[int, Type], types: SchemaTypes, max_work: int) -> None:
        self._max_work = max_work
        self._node_types = node_types
        self._types = types
        self._strict = Strict(types)
        self._nodes = 0

    @property
    def work(self) -> int:
        return self._nodes + self._strict.work

    def mismatches(self, root: Expr, expected: Type) -> Iterator[Mismatch]:
        """In the order of the source."""
        stack: list[_Part | Mismatch] = [(root, expected, None)]
        while stack and self.work <= self._max_work:
            part = stack.pop()
            if isinstance(part, Mismatch):
                yield part
                continue
            self._nodes += 1
            node, wanted, above = part
            if wanted.kind in _UNCHECKED:
                continue
            below = list(self._below(node, wanted, above))
            if below or (isinstance(node, MapLit | ListLit) and _holds(node, wanted)):
                stack.extend(reversed(below))
                continue
            cause = self._refusal(node, wanted, above)
            if cause is not None:
                yield _located(cause, node, above)

    def _refusal(self, node: Expr, wanted: Type, above: _Above) -> str | None:
        given = self._node_types[node.id]
        # As a part of an object, null is the same as nothing.
        return None if above and given.kind == "null" else self._strict.refusal(given, wanted)

    def _below(self, node: Expr, wanted: Type, above: _Above) -> Iterator[_Part | Mismatch]:
        """The parts that decide about a node instead of its type; none if its type decides."""
        match node:
            case MapLit() if _holds(node, wanted):
                for entry in node.entries:
                    yield from self._entry(entry, wanted, above)
            case ListLit() if _holds(node, wanted):
                for element in node.elements:
                    yield element, wanted.element, (above, _ELEMENT)
            case Macro():
                yield from _of_macro(node, wanted, above)
            case Call():
                for operand in _of_call(node, wanted):
                    yield operand, wanted, above

    def _entry(self, entry: MapEntry, wanted: Type, above: _Above) -> Iterator[_Part | Mismatch]:
        cause = self._strict.refusal(self._node_types[entry.key.id], STRING)
        if cause is not None:
            yield _located(cause, entry.key, (above, _KEY if wanted.kind == "map" else _OBJECT_KEY))
        elif wanted.kind == "map":
            yield entry.value, wanted.element, (above, _VALUE)
        elif isinstance(entry.key, Literal):
            key = str(entry.key.value)
            field = self._types.value_type(wanted.name, key)
            if field is None:
                yield _located(unknown_field(key), entry.key, above, key=key, known=self._types.keys(wanted.name))
            else:
                yield entry.value, field, (above, f'field "{key}" has incompatible type: ')


def _holds(node: MapLit | ListLit, wanted: Type) -> bool:
    """Whether a field of this type holds such a literal."""
    return wanted.kind == "list" if isinstance(node, ListLit) else wanted.kind in ("map", "object")


def _of_macro(node: Macro, wanted: Type, above: _Above) -> Iterator[_Part]:
    match node.kind, wanted.kind:
        case (("map" | "transformList"), "list"):
            yield node.body, wanted.element, (above, _ELEMENT)
        case "transformMap", "map":
            yield node.body, wanted.element, (above, _VALUE)
        case (("bind" | "optMap" | "optFlatMap"), _):
            yield node.body, wanted, above


def _of_call(node: Call, wanted: Type) -> tuple[Expr, ...]:
    """The operands each of which may be the result, or contributes its elements to it."""
    if node.function == CONDITIONAL:
        return node.args[1:]
    if node.function == ADD and wanted.kind == "list":
        calls = spine(node)
        return (calls[0].args[0], *(call.args[1] for call in calls))
    if node.target is None:
        return ()
    if node.function in ("orValue", "or"):
        # `optional.none()` has the type of the alternative.
        is_none = isinstance(node.target, Call) and qualified_name(node.target) == "optional.none"
        return node.args if is_none else (node.target, *node.args)
    if node.function in _SAME_ELEMENTS and wanted.kind == "list":
        return (node.target,)
    return node.args if qualified_name(node) in _OPTIONALS else ()


def _located(cause: str, node: Expr, above: _Above, *, key: str | None = None, known: tuple[str, ...] = ()) -> Mismatch:
    steps = [cause]
    is_part = above is not None or key is not None
    while above is not None:
        above, text = above
        steps.append(text)
    return Mismatch(cause="".join(reversed(steps)), offset=node.span[0], is_part=is_part, key=key, known=known)
