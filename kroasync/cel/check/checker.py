"""The type checker: from a syntax tree and an environment to the type of every node, or all that is wrong.

It follows cel-go's rules and words. Checking goes on after a fault: the node gets the type error, which fits
everything, so that one fault is reported once. Variables and fields may have that type from the start. Nodes are at
most `syntax.MAX_DEPTH` deep, except the left spines of operators, which are walked in a loop.
"""

import difflib
from collections.abc import Callable, Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final, TypeAlias

from kroasync.cel import syntax
from kroasync.cel.check.bound_names import BoundNames
from kroasync.cel.check.literal_checks import literal_fault, shown
from kroasync.cel.check.reads import find_reads
from kroasync.cel.check.unify import Substitution, bounded
from kroasync.cel.decls import Environment, Overload, Signature, parse_signature
from kroasync.cel.errors import CheckError, Issue, TooLargeError
from kroasync.cel.syntax import (
    NO_LIMIT,
    Ast,
    Call,
    CheckedAst,
    Expr,
    Ident,
    Index,
    ListLit,
    Literal,
    Macro,
    MapLit,
    Select,
    StructLit,
)
from kroasync.cel.types import (
    BOOL,
    BYTES,
    DOUBLE,
    DYN,
    ERROR,
    INT,
    NULL,
    STRING,
    UINT,
    Type,
    list_of,
    map_of,
    optional_of,
    type_of,
)
from kroasync.cel.values import UInt


def check(ast: Ast, env: Environment, *, max_work: int = NO_LIMIT) -> CheckedAst:
    """Types of all nodes; raises CheckError with every issue.

    Checking stops with TooLargeError when it has looked at more than `max_work` types, their parts counted: some ten a
    node are usual, types nested in each other take more.
    """
    checker = _Checker(env, ast.source, max_work)
    try:
        checker.check(ast.root)
        return _result(ast, env, checker)
    except RecursionError:
        # The caller's own stack was nearly used up; the parser's limit keeps expressions well below it.
        issue = Issue(syntax.TOO_DEEP, ast.root.span)
        raise CheckError(ast.source, (issue,)) from None


def _result(ast: Ast, env: Environment, checker: "_Checker") -> CheckedAst:
    if checker.issues:
        issues = sorted(checker.issues, key=lambda issue: issue.span)
        raise CheckError(ast.source, tuple(issues))
    final = checker.finals()
    types = {id_: final(type_) for id_, type_ in checker.types.items()}
    variables = {id_: tuple(map(final, bound)) for id_, bound in checker.variables.items()}
    return CheckedAst(
        ast=ast,
        types=types,
        result_type=types[ast.root.id],
        reads=find_reads(ast.root, types, variables=env.variables, qualified=checker.qualified, provider=env.types),
        functions=frozenset(checker.functions),
        variables=variables,
        overloads=checker.overloads,
        work=checker.work,
    )


# Faults reported of one expression; each repeats its line of source.
MAX_ISSUES: Final = 20

_LITERALS: Final[Mapping[type, Type]] = MappingProxyType(
    {type(None): NULL, bool: BOOL, int: INT, UInt: UINT, float: DOUBLE, str: STRING, bytes: BYTES}
)
# Operators whose operands the tree holds in nodes of their own, or that take part in macros.
_INDEX: Final = tuple(
    map(
        parse_signature,
        (
            "_[_](list(A), int) A",
            "_[_](map(A, B), A) B",
            "_[_](optional(list(A)), int) optional(A)",
            "_[_](optional(map(A, B)), A) optional(B)",
        ),
    )
)
_OPT_INDEX: Final = tuple(
    map(
        parse_signature,
        (
            "_[?_](list(A), int) optional(A)",
            "_[?_](map(A, B), A) optional(B)",
            "_[?_](optional(list(A)), int) optional(A)",
            "_[?_](optional(map(A, B)), A) optional(B)",
        ),
    )
)
_CONDITIONAL: Final = (parse_signature("_?_:_(bool, A, A) A"),)
_MAP_INSERT: Final = (parse_signature("cel.@mapInsert(map(K, V), map(K, V)) map(K, V)"),)
_SORT_BY: Final = tuple(
    parse_signature(f"list(T).@sortByAssociatedKeys(list({key})) list(T)")
    for key in ("int", "uint", "double", "bool", "duration", "timestamp", "string", "bytes")
)
# The fields of kro's conditions, which belong to the language and not to a schema.
_CONDITION: Final = "kro.run.Condition"

_Candidate: TypeAlias = Overload | Signature


class _Checker:
    def __init__(self, env: Environment, source: str, max_work: int) -> None:
        self.env = env
        self.issues: list[Issue] = []
        self.types: dict[int, Type] = {}
        self.variables: dict[int, tuple[Type, ...]] = {}
        self.overloads: dict[int, tuple[Overload, ...]] = {}
        self.functions: set[str] = set()
        # Selections that are one dotted name and calls whose receiver is a namespace: the name by node id.
        self.qualified: dict[int, str] = {}
        self._scope: BoundNames[Type] = BoundNames()
        self._unify = Substitution()
        self._dotted_roots = env.dotted_roots
        self._source = source
        self._max_work = max_work
        # Whether there may be arguments that are not known.
        self._meets_error = False

    def final(self, type_: Type) -> Type:
        """The type with what was found out about its variables; dyn for those nothing is known of."""
        return self._unify.final(type_, {})

    def finals(self) -> Callable[[Type], Type]:
        """The same for many types, when nothing more will be found out."""
        known: dict[int, Type] = {}
        return lambda type_: self._unify.final(type_, known)

    def check(self, node: Expr) -> Type:
        """The type of a node; it and all below are recorded."""
        # Handlers are called from here, and take few frames of their own: nesting may be 250 deep.
        handler = _MACRO[node.kind] if isinstance(node, Macro) else _CHECK[type(node)]
        type_ = bounded(handler(self, node))
        self.types[node.id] = type_
        if type_.kind == "error" or (isinstance(node, Ident) and _has_error(type_)):
            self._meets_error = True
        self.stop_at_limit(node)
        return type_

    def stop_at_limit(self, node: Expr) -> None:
        """Raises TooLargeError when the types have been too much work."""
        if self._unify.work > self._max_work:
            message = f"type-checking takes more than {self._max_work} steps"
            raise TooLargeError(self._source, (Issue(message, node.span),))

    @property
    def work(self) -> int:
        """Types looked at so far."""
        return self._unify.work

    # Issues

    def _issue(self, node: "Expr | syntax.MapEntry", message: str, suggestion: str | None = None) -> Type:
        if len(self.issues) < MAX_ISSUES:
            self.issues.append(Issue(message, (node.at, max(node.at + 1, node.span[1])), suggestion))
        return ERROR

    def _undeclared(self, node: Expr, name: str, known: Iterable[str]) -> Type:
        return self._issue(node, f"undeclared reference to '{name}' (in container '')", _near(name, known))

    def _mismatch(self, node: Expr, expected: Type, found: Type) -> Type:
        return self._issue(node, f"expected type '{self._show(expected)}' but found '{self._show(found)}'")

    def _no_overload(self, node: Expr, function: str, given: Sequence[Type], *, member: bool) -> Type:
        if any(type_.kind == "error" for type_ in given):
            return ERROR
        texts = [self._show(type_) for type_ in given]
        applied = f"{texts[0]}.({', '.join(texts[1:])})" if member else f"({', '.join(texts)})"
        return self._issue(node, f"found no matching overload for '{function}' applied to '{applied}'")

    def _show(self, type_: Type) -> str:
        return shown(self.final(type_))

    # Names and literals

    def _literal(self, node: Literal) -> Type:
        return _LITERALS[type(node.value)]

    def _ident(self, node: Ident) -> Type:
        if not node.absolute:
            local = self._scope.find(node.name)
            if local is not None:
                return local
        return self._global(node.name) or self._undeclared(node, node.name, [*self._scope.names(), *self.env.variables])

    def _global(self, name: str) -> Type | None:
        variable = self.env.variables.get(name)
        if variable is not None:
            return variable
        named = self.env.type_names.get(name)
        return None if named is None else type_of(named)

    def _select(self, node: Select) -> Type:
        named = self._qualified(node)
        if named is not None:
            return named
        operand = self._unify.apply(self.check(node.operand))
        inner = operand.element if operand.kind == "optional" else operand
        field = self._field(node, self._unify.apply(inner))
        if node.test:
            return BOOL
        return optional_of(field) if node.optional or operand.kind == "optional" else field

    def _qualified(self, node: Select) -> Type | None:
        """The type of a dotted name, such as `net.IP`."""
        if not self._dotted_roots or node.test or node.optional:
            return None
        name = syntax.dotted(node)
        if name is None:
            return None
        root = name.partition(".")[0]
        if root not in self._dotted_roots or root in self._scope:
            return None
        named = self._global(name)
        if named is not None:
            self.qualified[node.id] = name
        return named

    def _field(self, node: Select, operand: Type) -> Type:
        if operand.kind == "object":
            return self._object_field(node, operand.name)
        if operand.kind == "map":
            return operand.params[1]
        if operand.kind == "param":
            self._unify.assignable(DYN, operand)
            return DYN
        if operand.kind in ("dyn", "error"):
            return operand
        return self._issue(node, f"type '{self._show(operand)}' does not support field selection")

    def _object_field(self, node: Select, type_name: str) -> Type:
        if type_name == _CONDITION:
            known: Iterable[str] = syntax.CONDITION_KEYS
            found = STRING if node.field in syntax.CONDITION_KEYS else None
        elif self.env.types is None:
            return DYN
        else:
            found = self.env.types.field(type_name, node.field)
            known = self.env.types.fields(type_name) or () if found is None else ()
        if found is not None:
            return found
        return self._issue(node, f"undefined field '{node.field}'", _near(node.field, known))

    # Calls and operators

    def _call(self, node: Call) -> Type:
        if node.function in syntax.SPINE_OPERATORS:
            return self._spine(node)
        if node.function in (syntax.AND, syntax.OR):
            return self._logical(node)
        if node.function == syntax.CONDITIONAL:
            return self._conditional(node)
        if node.target is None:
            return self._named_call(node, node.function, None)
        qualified = syntax.qualified_name(node)
        if qualified is not None and qualified in self.env.functions:
            self.qualified[node.id] = qualified
            return self._named_call(node, qualified, None)
        return self._named_call(node, node.function, node.target)

    def _named_call(self, node: Call, function: str, target: Expr | None) -> Type:
        self.functions.add(function)
        given = [] if target is None else [self.check(target)]
        for arg in node.args:
            given.append(self.check(arg))  # noqa: PERF401 -- a comprehension is a frame
        candidates = self.env.functions.get(function)
        if candidates is None:
            return self._undeclared(node, function, self._function_names(node))
        fault = literal_fault(node, function, self.final, self.types)
        if fault is not None:
            return self._issue(*fault)
        return self._resolve(node, function, candidates, given, member=target is not None)

    def _function_names(self, node: Call) -> list[str]:
        """What an unknown function may have been meant to be: methods, or functions in the same namespace."""
        namespace = "" if node.target is None else syntax.dotted(node.target)
        if namespace and any(name.startswith(f"{namespace}.") for name in self.env.functions):
            return [name.removeprefix(f"{namespace}.") for name in self.env.functions if name.startswith(namespace)]
        member = node.target is not None
        return [
            name
            for name, overloads in self.env.functions.items()
            if any(overload.member == member for overload in overloads)
        ]

    def _spine(self, node: Call) -> Type:
        """Operators that lean left, from the innermost out."""
        calls = syntax.spine(node)
        left = self.check(calls[0].args[0])
        for call in calls:
            self.functions.add(call.function)
            given = (left, self.check(call.args[1]))
            left = bounded(self._resolve(call, call.function, self.env.functions.get(call.function, ()), given))
            self.types[call.id] = left
            self.stop_at_limit(call)
        return left

    def _conditional(self, node: Call) -> Type:
        self.functions.add(node.function)
        condition, then, otherwise = node.args
        given = (self.check(condition), self.check(then), self.check(otherwise))
        if ERROR in given[1:]:
            return ERROR
        return self._resolve(node, node.function, _CONDITIONAL, given)

    def _logical(self, node: Call) -> Type:
        self.functions.add(node.function)
        for arg in node.args:
            self._expect_bool(arg, self.check(arg))
        return BOOL

    def _expect_bool(self, node: Expr, found: Type) -> None:
        if not self._unify.assignable(found, BOOL):
            self._mismatch(node, BOOL, found)

    def _index(self, node: Index) -> Type:
        function = syntax.OPT_INDEX if node.optional else syntax.INDEX
        self.functions.add(function)
        given = (self.check(node.operand), self.check(node.index))
        return self._resolve(node, function, _OPT_INDEX if node.optional else _INDEX, given)

    def _resolve(
        self,
        node: Expr,
        function: str,
        candidates: Sequence[_Candidate],
        given: Sequence[Type],
        *,
        member: bool = False,
    ) -> Type:
        """The result of the overloads that take the arguments: that of the first, dyn if others differ."""
        if function in syntax.SPINE_OPERATORS and any(type_.kind == "error" for type_ in given):
            # What the other operand suggests about the result would only lead to more reports of one fault.
            return ERROR
        matching: list[Overload] = []
        result: Type | None = None
        for candidate in candidates:
            if candidate.member != member or len(candidate.params) != len(given):
                continue
            if any(_never_fits(a, b) for a, b in zip(given, candidate.params, strict=True)):
                continue
            *expected, returned = self._unify.instantiate((*candidate.params, candidate.result))
            if not self._unify.all_assignable(given, expected):
                continue
            if isinstance(candidate, Overload):
                matching.append(candidate)
            returned = self._unify.apply(returned)
            if result is None:
                result = returned
            elif result.kind != "dyn" and result != returned:
                result = DYN
        if result is None:
            return self._no_overload(node, function, given, member=member)
        if matching:
            self.overloads[node.id] = tuple(matching)
        return _lost(self._unify.apply(result)) if self._meets_error and any(map(_has_error, given)) else result

    # Aggregates

    def _list(self, node: ListLit) -> Type:
        element: Type | None = None
        for position, item in enumerate(node.elements):
            found = self.check(item)
            if position in node.optional:
                found = self._unwrapped(item, found)
            element = self._joined(element, found)
        return list_of(self._unify.variable() if element is None else element)

    def _map(self, node: MapLit) -> Type:
        key: Type | None = None
        value: Type | None = None
        for entry in node.entries:
            found = self.check(entry.key)
            # A list or map is no key, which evaluation will say; as a type it could grow without bounds.
            key = self._joined(key, DYN if found.params else found)
            found = self.check(entry.value)
            if entry.optional:
                found = self._unwrapped(entry.value, found)
            value = self._joined(value, found)
        if key is None or value is None:
            return map_of(self._unify.variable(), self._unify.variable())
        return map_of(key, value)

    def _unwrapped(self, node: Expr, found: Type) -> Type:
        """What an element written with `?` contributes."""
        found = self._unify.apply(found)
        if found.kind == "optional":
            return found.element
        if found.kind not in ("dyn", "error"):
            self._mismatch(node, optional_of(found), found)
        return found

    def _joined(self, before: Type | None, found: Type) -> Type:
        if before is None or ERROR in (before, found):
            return ERROR if before == ERROR else found
        joined = self._unify.join(before, found)
        return DYN if joined is None else joined

    def _struct(self, node: StructLit) -> Type:
        for init in node.fields:
            self.check(init.value)
        return self._undeclared(node, node.name, self.env.type_names)

    # Macros

    def _range(self, node: Macro) -> Type:
        self.functions.add(node.kind)
        return self._unify.apply(self.check(node.range))

    def _within(self, node: Macro, types: tuple[Type, ...], part: Expr | None) -> Type:
        """The type of a part that sees the macro's variables."""
        self.variables[node.id] = types
        if part is None:
            return BOOL
        outer = self._scope
        self._scope = outer.enter(zip(node.variables, types, strict=True))
        found = self.check(part)
        self._scope = outer
        return found

    def _loop_types(self, node: Macro, range_: Type) -> tuple[Type, ...]:
        """Types of one variable (element or key), or of two (index and element, or key and value)."""
        two = len(node.variables) == 2
        if range_.kind == "list":
            return (INT, range_.element) if two else (range_.element,)
        if range_.kind == "map":
            return range_.params if two else range_.params[:1]
        if range_.kind == "param":
            self._unify.assignable(DYN, range_)
        elif range_.kind not in ("dyn", "error"):
            self._issue(
                node.range,
                f"expression of type '{self._show(range_)}' cannot be range of a comprehension "
                "(must be list, map, or dynamic)",
            )
            return (ERROR,) * len(node.variables)
        return (ERROR if range_ == ERROR else DYN,) * len(node.variables)

    def _condition(self, node: Macro, types: tuple[Type, ...]) -> Type:
        """The condition comes before the body: what it says of the variables' types decides, as in cel-go."""
        return BOOL if node.condition is None else self._within(node, types, node.condition)

    def _guard(self, node: Macro, found: Type, result: Type) -> None:
        """A condition is the first operand of `?:` in what the macro stands for."""
        if not self._unify.assignable(found, BOOL):
            self._no_overload(node, syntax.CONDITIONAL, (found, result, result), member=False)

    def _predicate(self, node: Macro) -> Type:
        found = self._within(node, self._loop_types(node, self._range(node)), node.body)
        self._expect_bool(node.body, found)
        return BOOL

    def _exists_one(self, node: Macro) -> Type:
        self._guard(node, self._within(node, self._loop_types(node, self._range(node)), node.body), INT)
        return BOOL

    def _filter(self, node: Macro) -> Type:
        types = self._loop_types(node, self._range(node))
        result = list_of(types[0])
        self._guard(node, self._within(node, types, node.body), result)
        return result

    def _mapped(self, node: Macro) -> Type:
        types = self._loop_types(node, self._range(node))
        condition = self._condition(node, types)
        result = list_of(self._within(node, types, node.body))
        self._guard(node, condition, result)
        return result

    def _transform_map(self, node: Macro) -> Type:
        types = self._loop_types(node, self._range(node))
        condition = self._condition(node, types)
        result = map_of(types[0], self._within(node, types, node.body))
        self._guard(node, condition, result)
        return result

    def _transform_map_entry(self, node: Macro) -> Type:
        types = self._loop_types(node, self._range(node))
        condition = self._condition(node, types)
        body = self._within(node, types, node.body)
        empty = map_of(self._unify.variable(), self._unify.variable())
        result = self._resolve(node, "cel.@mapInsert", _MAP_INSERT, (empty, body))
        self._guard(node, condition, result)
        return result

    def _sort_by(self, node: Macro) -> Type:
        range_ = self._range(node)
        keys = list_of(self._within(node, self._loop_types(node, range_), node.body))
        return self._resolve(node, "@sortByAssociatedKeys", _SORT_BY, (range_, keys), member=True)

    def _bind(self, node: Macro) -> Type:
        return self._within(node, (self._range(node),), node.body)

    def _inner(self, node: Macro) -> Type:
        """The type of what an optional holds."""
        range_ = self._range(node)
        if range_ == ERROR:
            return ERROR
        if range_.kind in ("optional", "null", "dyn", "param"):
            return range_.element if range_.kind == "optional" else DYN
        return self._no_overload(node, "hasValue", (range_,), member=True)

    def _opt_map(self, node: Macro) -> Type:
        return optional_of(self._within(node, (self._inner(node),), node.body))

    def _opt_flat_map(self, node: Macro) -> Type:
        body = self._within(node, (self._inner(node),), node.body)
        given = (BOOL, body, optional_of(self._unify.variable()))
        return self._resolve(node, syntax.CONDITIONAL, _CONDITIONAL, given)


# Kinds that a type of a signature must meet exactly; the others need a closer look.
_EXACT_KINDS: Final = frozenset(
    (
        "bool",
        "int",
        "uint",
        "double",
        "string",
        "bytes",
        "list",
        "map",
        "optional",
        "timestamp",
        "duration",
        "opaque",
    )
)


def _never_fits(given: Type, expected: Type) -> bool:
    """A quick no, before variables are made: two concrete kinds that differ."""
    return (
        given.kind != expected.kind
        and given.kind in _EXACT_KINDS
        and (expected.kind in _EXACT_KINDS or expected.kind == "type")
    )


def _has_error(type_: Type) -> bool:
    return type_.kind == "error" or any(map(_has_error, type_.params))


def _lost(result: Type) -> Type:
    """What an overload returns for an argument that is not known: what it returns for every type is unknown, too."""
    if result.kind in ("dyn", "param"):
        return ERROR
    return Type(result.kind, result.name, tuple(map(_lost, result.params))) if result.params else result


def _near(name: str, known: Iterable[str]) -> str | None:
    """The known name most like a misspelt one."""
    if len(name) > 64:
        return None
    matches = difflib.get_close_matches(name, sorted(set(known)), n=1, cutoff=0.7)
    return matches[0] if matches else None


_CHECK: Final[Mapping[type, Callable[[_Checker, Any], Type]]] = MappingProxyType(
    {
        Literal: _Checker._literal,
        Ident: _Checker._ident,
        Select: _Checker._select,
        Index: _Checker._index,
        Call: _Checker._call,
        ListLit: _Checker._list,
        MapLit: _Checker._map,
        StructLit: _Checker._struct,
    }
)
_MACRO: Final[Mapping[str, Callable[[_Checker, Any], Type]]] = MappingProxyType(
    {
        "all": _Checker._predicate,
        "exists": _Checker._predicate,
        "exists_one": _Checker._exists_one,
        "filter": _Checker._filter,
        "map": _Checker._mapped,
        "transformList": _Checker._mapped,
        "transformMap": _Checker._transform_map,
        "transformMapEntry": _Checker._transform_map_entry,
        "sortBy": _Checker._sort_by,
        "bind": _Checker._bind,
        "optMap": _Checker._opt_map,
        "optFlatMap": _Checker._opt_flat_map,
    }
)
