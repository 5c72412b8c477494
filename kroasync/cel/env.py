"""Environments: declare what an expression may use, and compile text to a program.

An Env is immutable; `extend` returns a new one that shares the function table. The first check imports the checker, so
a caller that only parses does not pay for the import.
"""

from collections.abc import Iterable, Mapping, Set
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final

from kroasync.cel.check.mentions import read_paths
from kroasync.cel.decls import Library, Overload
from kroasync.cel.parse.parser import parse
from kroasync.cel.run.compiler import Program, compile_program
from kroasync.cel.syntax import MAX_CODE_POINTS, NO_LIMIT, Ast, CheckedAst
from kroasync.cel.types import Type, TypeProvider

_NOTHING: Final[Mapping[str, Any]] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class FunctionTable:
    """The functions and type names of some libraries.

    `overloads` by name: "size", "_+_", "math.least"; methods and global functions of one name are together.
    `type_names` has the identifiers that stand for a type ("int", "net.IP"), with that type.
    """

    overloads: Mapping[str, tuple[Overload, ...]]
    type_names: Mapping[str, Type]

    @classmethod
    def of(cls, libraries: Iterable[Library]) -> "FunctionTable":
        overloads: dict[str, list[Overload]] = {}
        type_names: dict[str, Type] = {}
        for library in libraries:
            for overload in library.overloads:
                overloads.setdefault(overload.function, []).append(overload)
            for name, named in library.types.items():
                type_names[name] = named.element
        return cls(
            MappingProxyType({name: tuple(rows) for name, rows in overloads.items()}), MappingProxyType(type_names)
        )


class Env:
    """Libraries, variables and the types of objects."""

    __slots__ = ("dotted_roots", "functions", "libraries", "type_names", "types", "variables")

    def __init__(
        self,
        *,
        libraries: Iterable[Library] | None = None,
        variables: Mapping[str, Type] = _NOTHING,
        types: TypeProvider | None = None,
    ) -> None:
        """`libraries` default to those of kro; `types` answers questions about object types."""
        if libraries is None:
            from kroasync.cel.lib import KRO_LIBRARIES

            libraries = KRO_LIBRARIES
        self.libraries: tuple[Library, ...] = tuple(libraries)
        table = FunctionTable.of(self.libraries)

        self.functions: Mapping[str, tuple[Overload, ...]] = table.overloads
        self.type_names: Mapping[str, Type] = table.type_names
        self.variables: Mapping[str, Type] = MappingProxyType(dict(variables))
        self.types: TypeProvider | None = types
        # Computed once, not at each check: there may be thousands of variables.
        self.dotted_roots: Set[str] = _dotted_roots(self.type_names) | _dotted_roots(self.variables)

    def extend(self, *, variables: Mapping[str, Type] = _NOTHING, types: TypeProvider | None = None) -> "Env":
        """An Env with more variables (a known name is redeclared) and, if given, another provider of types."""
        other = object.__new__(Env)
        other.libraries = self.libraries
        other.functions = self.functions
        other.type_names = self.type_names
        other.variables = MappingProxyType({**self.variables, **variables})
        other.types = self.types if types is None else types
        other.dotted_roots = self.dotted_roots | _dotted_roots(variables)
        return other

    def parse(self, text: str, *, max_nodes: int = MAX_CODE_POINTS) -> Ast:
        """The syntax tree; raises ParseError, TooLargeError beyond `max_nodes`."""
        return parse(text, max_nodes=max_nodes)

    def check(self, ast: Ast, *, max_work: int = NO_LIMIT) -> CheckedAst:
        """Types of all nodes; raises CheckError with every issue, TooLargeError beyond `max_work` types."""
        from kroasync.cel.check import checker

        return checker.check(ast, self, max_work=max_work)

    def program(self, expression: str | Ast | CheckedAst, *, check: bool = True) -> Program:
        """Compile; raises ParseError or CheckError. Without `check`, all types are determined at run time."""
        if isinstance(expression, CheckedAst):
            return compile_program(expression.ast, self, expression, expression.reads)
        ast = parse(expression) if isinstance(expression, str) else expression
        if check:
            return self.program(self.check(ast))
        return compile_program(ast, self, None, read_paths(ast, self.is_function))

    def is_function(self, name: str) -> bool:
        """True if a global function (or one in a namespace) of this name exists."""
        return any(not overload.member for overload in self.functions.get(name, ()))


def _dotted_roots(names: Iterable[str]) -> Set[str]:
    return {name.partition(".")[0] for name in names if "." in name}
