"""Declarations: a library is one table that the checker, the compiler, the reference page and the tests all read.

A signature is written the way the reference prints it:

    library = LibraryBuilder("strings", doc="...")

    @library.fn("string.charAt(int) string", example="'añb'.charAt(1) == 'ñ'")     receiver before the dot
    @library.fn("lists.range(int) list(int)", example=...)                         a namespace: a global function
    @library.fn("list(A).slice(int, int) list(A)", example=...)                    single capitals are type parameters
    @library.fn("_+_(int, int) int", example=...)                                  an operator

    LIBRARY = library.build()

An implementation takes the values in order, receiver first, and returns a value or raises an EvalError. The outermost
type of each argument matches the signature. An implementation checks the elements of lists and maps itself.
"""

import re
from collections.abc import Callable, Mapping, Set
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Final, Protocol, TypeAlias, TypeVar

from kroasync.cel import types
from kroasync.cel.meter import CHARS_PER_STEP
from kroasync.cel.types import Type, TypeProvider

Impl: TypeAlias = Callable[..., Any]
# The minimum cost of a function call, in eighths of a step; every other node of the tree costs 1.
CALL_WEIGHT: Final = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Overload:
    """One signature of a function and its implementation. `params` starts with the receiver of a member function."""

    function: str
    params: tuple[Type, ...]
    result: Type
    member: bool
    impl: Impl
    example: str
    doc: str = ""
    signature: str = ""
    # True for the libraries that kro does not register (math, sets, regex, format). The reference marks them.
    extra: bool = False
    # True if `impl` pays for its work itself: it takes the keyword `budget` (a Meter).
    metered: bool = False
    # How many characters, bytes or elements of its arguments an unmetered `impl` reads in one step; 0 if it reads none.
    rate: int = CHARS_PER_STEP
    # The fixed cost of a call, in eighths of a step.
    weight: int = CALL_WEIGHT


class Environment(Protocol):
    """What the checker and the compiler need from an environment; `env.Env` implements it."""

    @property
    def functions(self) -> Mapping[str, tuple[Overload, ...]]:
        """Overloads by function name."""

    @property
    def type_names(self) -> Mapping[str, Type]:
        """The identifiers that stand for a type, with that type."""

    @property
    def variables(self) -> Mapping[str, Type]:
        """Types of the variables."""

    @property
    def types(self) -> TypeProvider | None:
        """Fields of object types."""

    @property
    def dotted_roots(self) -> Set[str]:
        """The first parts of dotted variables and type names."""

    def is_function(self, name: str) -> bool:
        """True if a global function (or one in a namespace) of this name exists."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MacroDoc:
    """A macro for the reference page; its expansion is in `macros`."""

    signature: str
    example: str
    doc: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Library:
    """A named table of functions, macros and constants."""

    name: str
    doc: str
    overloads: tuple[Overload, ...] = ()
    macros: tuple[MacroDoc, ...] = ()
    # Identifiers that stand for a type, such as `net.IP`, with their own type: type(net.IP).
    types: Mapping[str, Type] = field(default_factory=dict)
    # Names in signatures that stand for opaque types, such as "quantity".
    aliases: Mapping[str, Type] = field(default_factory=dict)


_ImplT = TypeVar("_ImplT", bound=Impl)

# Types without parameters by their names in signatures.
_TYPE_NAMES: Final[Mapping[str, Type]] = MappingProxyType(
    {
        "dyn": types.DYN,
        "bool": types.BOOL,
        "int": types.INT,
        "uint": types.UINT,
        "double": types.DOUBLE,
        "string": types.STRING,
        "bytes": types.BYTES,
        "null": types.NULL,
        "null_type": types.NULL,
        "timestamp": types.TIMESTAMP,
        "duration": types.DURATION,
        "google.protobuf.Timestamp": types.TIMESTAMP,
        "google.protobuf.Duration": types.DURATION,
    }
)
# Generic types, with the number of their parameters.
_GENERIC: Final = MappingProxyType({"list": 1, "map": 2, "optional": 1, "optional_type": 1, "type": 1})
# `optional.of` is a function in a namespace, `list.join` a method of any list.
_NEEDS_PARAMETERS: Final = frozenset(("optional", "type"))
_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_.]*")


class SignatureError(ValueError):
    """A signature in a library table is malformed: a bug in the table."""


class _TypeReader:
    """Reads one type expression such as `map(string, list(A))`."""

    def __init__(self, text: str, aliases: Mapping[str, Type]) -> None:
        self.text = text
        self.aliases = aliases
        self.offset = 0

    def read(self) -> Type:
        match = _NAME.match(self.text, self.offset)
        if match is None:
            raise SignatureError(f"type expected in {self.text!r} at {self.offset}")
        name = match.group()
        self.offset = match.end()
        params: list[Type] = []
        if self._take("("):
            params.append(self.read())
            while self._take(","):
                params.append(self.read())
            if not self._take(")"):
                raise SignatureError(f"')' expected in {self.text!r} at {self.offset}")
        return self._type(name, params)

    def _take(self, char: str) -> bool:
        while self.text.startswith(" ", self.offset):
            self.offset += 1
        if not self.text.startswith(char, self.offset):
            return False
        self.offset += 1
        while self.text.startswith(" ", self.offset):
            self.offset += 1
        return True

    def _type(self, name: str, params: list[Type]) -> Type:
        arity = _GENERIC.get(name)
        if arity is not None and (len(params) == arity or (not params and name not in _NEEDS_PARAMETERS)):
            kind = "optional" if name == "optional_type" else name
            return Type(kind, params=tuple(params) or (types.DYN,) * arity)
        if not params:
            if name in self.aliases:
                return self.aliases[name]
            if name in _TYPE_NAMES:
                return _TYPE_NAMES[name]
            if len(name) == 1 and name.isupper():
                return types.param(name)
        raise SignatureError(f"unknown type {name!r} in {self.text!r}")


def parse_type(text: str, aliases: Mapping[str, Type] = MappingProxyType({})) -> Type:
    """The type that a text such as `map(string, A)` denotes; raises SignatureError."""
    reader = _TypeReader(text.strip(), aliases)
    result = reader.read()
    if reader.offset != len(reader.text):
        raise SignatureError(f"unexpected text in {text!r} at {reader.offset}")
    return result


@dataclass(frozen=True, slots=True, kw_only=True)
class Signature:
    """A parsed signature; `params` includes the receiver."""

    function: str
    params: tuple[Type, ...]
    result: Type
    member: bool


def parse_signature(
    text: str, aliases: Mapping[str, Type] = MappingProxyType({}), *, static: bool = False
) -> Signature:
    """Read `receiver.name(params) result`, or `name(params) result`; raises SignatureError.

    A prefix that names a type is a receiver, any other a namespace; with `static` every prefix is a namespace
    (`ip.isCanonical(string) bool`, where `ip` is a type too).
    """
    start, end = _argument_list(text)
    head, arguments, result = text[:start].strip(), text[start + 1 : end].strip(), text[end + 1 :]
    params = [parse_type(part, aliases) for part in _split(arguments)] if arguments else []
    receiver, dot, name = head.rpartition(".")
    member = False
    if dot and not static:
        try:
            params.insert(0, parse_type(receiver, aliases))
            member = True
        except SignatureError:
            member = False
    return Signature(
        function=name if member else head, params=tuple(params), result=parse_type(result, aliases), member=member
    )


def _argument_list(text: str) -> tuple[int, int]:
    """Offsets of the parentheses around the arguments: the pair that is followed by a space."""
    depth = start = 0
    for offset, char in enumerate(text):
        if char == "(":
            start = offset if depth == 0 else start
            depth += 1
        elif char == ")":
            depth -= 1
            if depth == 0 and text.startswith(" ", offset + 1):
                return start, offset
    raise SignatureError(f"no argument list in {text!r}")


def _split(text: str) -> list[str]:
    """Split at commas outside parentheses."""
    parts, depth, start = [], 0, 0
    for offset, char in enumerate(text):
        depth += (char == "(") - (char == ")")
        if char == "," and depth == 0:
            parts.append(text[start:offset])
            start = offset + 1
    return [*parts, text[start:]]


class LibraryBuilder:
    """Collects the rows of one library; `build` freezes them."""

    def __init__(
        self,
        name: str,
        *,
        doc: str,
        types: Mapping[str, Type] = MappingProxyType({}),
        aliases: Mapping[str, Type] = MappingProxyType({}),
        extra: bool = False,
        weight: int = CALL_WEIGHT,
        rate: int = CHARS_PER_STEP,
    ) -> None:
        self._name = name
        self._doc = doc
        self._types = dict(types)
        self._aliases = dict(aliases)
        self._extra = extra
        self._weight = weight
        self._rate = rate
        self._overloads: list[Overload] = []
        self._macros: list[MacroDoc] = []

    def fn(
        self,
        signature: str,
        *,
        example: str,
        doc: str = "",
        metered: bool = False,
        static: bool = False,
        weight: int | None = None,
        rate: int | None = None,
    ) -> Callable[[_ImplT], _ImplT]:
        """Decorator: the function implements this overload. Stack decorators for more overloads."""
        parsed = parse_signature(signature, self._aliases, static=static)

        def add(impl: _ImplT) -> _ImplT:
            overload = Overload(
                function=parsed.function,
                params=parsed.params,
                result=parsed.result,
                member=parsed.member,
                impl=impl,
                example=example,
                doc=doc,
                signature=signature,
                extra=self._extra,
                metered=metered,
                weight=self._weight if weight is None else weight,
                rate=self._rate if rate is None else rate,
            )
            self._overloads.append(overload)
            return impl

        return add

    def macro(self, signature: str, *, example: str, doc: str = "") -> None:
        """Describe a macro for the reference."""
        self._macros.append(MacroDoc(signature=signature, example=example, doc=doc))

    def build(self) -> Library:
        """The finished table. Stacked decorators apply bottom up, so each stack's rows are in reverse order."""
        return Library(
            name=self._name,
            doc=self._doc,
            overloads=tuple(self._overloads),
            macros=tuple(self._macros),
            types=MappingProxyType(self._types),
            aliases=MappingProxyType(self._aliases),
        )
