"""Compiles a syntax tree to Python closures.

Every node becomes a function of the frame, a list: [variables, meter, a slot per macro variable...]. At run time, only
the variables are looked up by name. Fast paths are optimistic: they try a raw subscript first, and apply the exact
rules, with their errors, if it raises. An error gets the span of the innermost node that knows its span.

A CheckedAst has static types. They add lifts (see `lifting`), escaped field names, and the equality of set and map
lists.
"""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Final, TypeAlias

from kroasync.cel import syntax
from kroasync.cel.decls import Environment, Overload
from kroasync.cel.errors import (
    BudgetError,
    CheckError,
    EvalError,
    Issue,
    NoSuchKeyError,
    OverloadError,
    Span,
    UnboundError,
    ValueError_,
)
from kroasync.cel.meter import CHARS_PER_STEP, COMPARED_PER_STEP, DEFAULT_BUDGET, Meter
from kroasync.cel.run import listtypes, operations
from kroasync.cel.run.absorbing import absorb, decides
from kroasync.cel.run.dispatch import no_matching, resolve
from kroasync.cel.run.lifting import Lift, lift_for
from kroasync.cel.run.loops import LoopCode, compile_loop
from kroasync.cel.run.operations import FIXED, KEYS, no_overload, same_text
from kroasync.cel.syntax import (
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
from kroasync.cel.types import DYN, Type
from kroasync.cel.values import NONE, SIZED, Optional, TypeValue, UInt, size_of, to_key

Frame: TypeAlias = list[Any]
Code: TypeAlias = Callable[[Frame], Any]
# How to read a name in scope: its slot, and the code of the value if `cel.bind` binds the name.
_Local: TypeAlias = tuple[int, Code | None, Lift | None]
_Locals: TypeAlias = Mapping[str, _Local]

_VARIABLES: Final = 0
_METER: Final = 1
_FIRST_SLOT: Final = 2
_NO_LOCALS: Final[_Locals] = MappingProxyType({})
_UNSET: Final = object()
# How many nodes of the tree make one step; some nodes count more than once.
_WEIGHT_PER_STEP: Final = 8
# How many nodes an optional selection or index counts as, then an operation that makes a new number, then a container.
_OPTIONAL_WEIGHT: Final = 6
_ARITHMETIC_WEIGHT: Final = 4
_CONTAINER_WEIGHT: Final = 2
# The fixed cost of every evaluation covers smaller expressions.
_FREE_STEPS: Final = 16


class Program:
    """A compiled expression. It may be evaluated any number of times, also from several threads."""

    __slots__ = ("_code", "_slots", "ast", "reads", "result_type")

    def __init__(self, ast: Ast, code: Code, slots: int, result_type: Type, reads: frozenset[tuple[str, ...]]) -> None:
        self.ast = ast
        self.result_type = result_type
        # Field paths that the expression may read; see CheckedAst.reads.
        self.reads = reads
        self._code = code
        # The part of the frame after the variables and the meter.
        self._slots = [None] * slots

    @property
    def source(self) -> str:
        """The text of the expression."""
        return self.ast.source

    def evaluate(self, variables: Mapping[str, Any], *, budget: int | Meter = DEFAULT_BUDGET) -> Any:
        """The value for some variables (JSON data or values of `kroasync.cel.values`), which never change.

        `budget` is the number of steps that the evaluation may take, or a meter that counts them. Raises EvalError.
        The result may share parts with the variables; `to_json` copies.
        """
        meter = budget if isinstance(budget, Meter) else Meter(budget)
        try:
            return self._code([variables, meter, *self._slots])
        except RecursionError:
            raise BudgetError("evaluation is nested too deeply") from None


def compile_program(
    ast: Ast, env: Environment, checked: CheckedAst | None, reads: frozenset[tuple[str, ...]]
) -> Program:
    """Compile a tree to closures; raises CheckError if the tree is too deep for the Python stack."""
    compiler = _Compiler(env, checked)
    try:
        code = compiler.compile(ast.root, _NO_LOCALS)
    except RecursionError:
        raise CheckError(ast.source, (Issue(syntax.TOO_DEEP, ast.root.span),)) from None
    steps = compiler.weight // _WEIGHT_PER_STEP
    code = code if steps <= _FREE_STEPS else _priced(code, steps)
    return Program(ast, code, compiler.slots, checked.result_type if checked else DYN, reads)


def _priced(code: Code, steps: int) -> Code:
    """The code of a big expression, which first pays once for each node. A loop pays for repeating its body."""

    def priced(frame: Frame) -> Any:
        frame[_METER].spend(steps)
        return code(frame)

    return priced


def _located(error: EvalError, span: Span) -> EvalError:
    if error.span is None:
        error.span = span
    return error


class _Compiler:
    """Compiles the nodes of one tree."""

    def __init__(self, env: Environment, checked: CheckedAst | None) -> None:
        self.env = env
        self.types: Mapping[int, Type] = checked.types if checked else {}
        self.variables: Mapping[int, tuple[Type, ...]] = checked.variables if checked else {}
        self.overloads: Mapping[int, tuple[Overload, ...]] = checked.overloads if checked else {}
        self.slots = 0
        # The weight of all nodes compiled so far, in eighths of a step.
        self.weight = 0

    def new_slot(self) -> int:
        self.slots += 1
        return _FIRST_SLOT + self.slots - 1

    def compile(self, node: Expr, scope: _Locals) -> Code:
        """The code of a node, which lifts the value to its static type."""
        # Each level of the tree takes one Python frame here and one in the method: deep trees must fit on the stack.
        self.weight += 1
        code = _COMPILE[type(node)](self, node, scope)
        if isinstance(node, Select | Index) and not (isinstance(node, Select) and node.test):
            lift = lift_for(self.types.get(node.id))
        elif isinstance(node, Ident):
            local = None if node.absolute else scope.get(node.name)
            lift = lift_for(self.types.get(node.id)) if local is None else local[2]
        else:
            return code
        return code if lift is None else _lifted(code, lift, node.span)

    def compile_raw(self, node: Expr, scope: _Locals) -> Code:
        """The code of a node, which returns the value as the data has it."""
        self.weight += 1
        return _COMPILE[type(node)](self, node, scope)

    # Leaves

    def literal(self, node: Literal, scope: _Locals) -> Code:
        value = node.value
        # Charge for its size: the code that takes the literal may copy, hash or compare it.
        self.weight += size_of(value) // CHARS_PER_STEP
        return lambda frame: value

    def ident(self, node: Ident, scope: _Locals) -> Code:
        local = None if node.absolute else scope.get(node.name)
        if local is not None:
            return _local(local)
        return self.type_constant(node, scope) or _variable(node.name, node.span)

    def type_constant(self, node: Expr, scope: _Locals) -> Code | None:
        """The code of a name such as `int` or `net.IP`, which stands for a type."""
        name = syntax.dotted(node)
        root = _root(node)
        if name is None or not isinstance(root, Ident) or (root.name in scope and not root.absolute):
            return None
        named = self.env.type_names.get(name)
        if named is None or name in self.env.variables:
            return None
        value = TypeValue(named)
        return lambda frame: value

    # Selection and index

    def select(self, node: Select, scope: _Locals) -> Code:
        if node.test:
            return self.has(node, scope)
        constant = self.type_constant(node, scope)
        if constant is not None:
            return constant
        if node.optional:
            return self.optional_select(node, scope)
        # Compile consecutive plain selections as one chain.
        fields: list[tuple[str, bool]] = []
        at: Expr = node
        while isinstance(at, Select) and not at.test and not at.optional and (at is node or self.is_plain(at, scope)):
            fields.append(self.field_key(at))
            at = at.operand
        fields.reverse()
        self.weight += sum(1 + len(key) // CHARS_PER_STEP for key, _ in fields)
        return self.chain(at, fields, node.span, scope)

    def is_plain(self, node: Select, scope: _Locals) -> bool:
        """True if a selection from this selection needs no lift and is not the name of a type."""
        return lift_for(self.types.get(node.id)) is None and self.type_constant(node, scope) is None

    def field_key(self, node: Select) -> tuple[str, bool]:
        """The key of a field in the data, and whether null means absent (true for an object's property)."""
        owner = self.types.get(node.operand.id)
        provider = self.env.types
        if owner is not None and owner.kind == "optional":
            owner = owner.element
        if owner is None or owner.kind != "object" or provider is None:
            return node.field, False
        declared = provider.fields(owner.name)
        key = provider.key_of(owner.name, node.field)
        return key, declared is not None and node.field in declared

    def chain(self, root: Expr, fields: list[tuple[str, bool]], span: Span, scope: _Locals) -> Code:
        keys = [key for key, _ in fields]
        nullable = not fields[-1][1]
        slow = _slow_chain(fields, span)
        if isinstance(root, Ident):
            local = None if root.absolute else scope.get(root.name)
            if local is None and self.type_constant(root, scope) is None:
                return _variable_chain(root.name, keys, nullable, _variable(root.name, root.span), slow)
            if local is not None and local[1] is None and local[2] is None:
                return _slot_chain(local[0], keys, nullable, slow)
        return _code_chain(self.compile(root, scope), keys, nullable, slow)

    def optional_select(self, node: Select, scope: _Locals) -> Code:
        operand, span = self.compile(node.operand, scope), node.span
        key, null_is_absent = self.field_key(node)
        self.weight += _OPTIONAL_WEIGHT + len(key) // CHARS_PER_STEP

        def optional_select(frame: Frame) -> Any:
            try:
                found = operations.optional_select(operand(frame), key)
            except EvalError as error:
                raise _located(error, span) from None
            return NONE if null_is_absent and found.value is None else found

        return optional_select

    def has(self, node: Select, scope: _Locals) -> Code:
        operand, span = self.compile(node.operand, scope), node.span
        key, null_is_absent = self.field_key(node)
        self.weight += len(key) // CHARS_PER_STEP

        def has(frame: Frame) -> bool:
            value = operand(frame)
            if value.__class__ is dict:
                return value.get(key) is not None if null_is_absent else key in value
            try:
                return operations.has(value, key)
            except EvalError as error:
                raise _located(error, span) from None

        return has

    def index(self, node: Index, scope: _Locals) -> Code:
        operand, key, span = self.compile_raw(node.operand, scope), self.compile(node.index, scope), node.span
        if node.optional:
            self.weight += _OPTIONAL_WEIGHT
            return _optional_index(operand, key, span)

        def index(frame: Frame) -> Any:
            container, position = operand(frame), key(frame)
            if position.__class__ is str and len(position) > COMPARED_PER_STEP:
                frame[_METER].spend(len(position) // COMPARED_PER_STEP)
            if position.__class__ is str or (position.__class__ is int and position >= 0):
                try:
                    # Do not let an index reach the characters of a string.
                    return container[position] if container.__class__ is not str else _NEVER[position]
                except (KeyError, IndexError, TypeError):
                    pass
            try:
                if container.__class__ is Optional:
                    return operations.optional_index(container, position)
                return operations.index(container, position)
            except EvalError as error:
                raise _located(error, span) from None

        return index

    # Literals of containers

    def list_literal(self, node: ListLit, scope: _Locals) -> Code:
        self.weight += _CONTAINER_WEIGHT
        elements: list[Code] = []
        for element in node.elements:
            elements.append(self.compile(element, scope))  # noqa: PERF401 - see compile
        if not node.optional:
            return lambda frame: [element(frame) for element in elements]
        parts = [(code, position in node.optional) for position, code in enumerate(elements)]
        span = node.span

        def optional_elements(frame: Frame) -> list[Any]:
            values: list[Any] = []
            for code, optional in parts:
                value = code(frame)
                if not optional:
                    values.append(value)
                elif _present(value, span):
                    values.append(value.value)
            return values

        return optional_elements

    def map_literal(self, node: MapLit, scope: _Locals) -> Code:
        self.weight += _CONTAINER_WEIGHT + len(node.entries)
        entries: list[tuple[Code, Code, bool, Span]] = []
        for entry in node.entries:
            key_code, value_code = self.compile(entry.key, scope), self.compile(entry.value, scope)
            entries.append((key_code, value_code, entry.optional, entry.span))
        if all(isinstance(e.key, Literal) and e.key.value.__class__ is str and not e.optional for e in node.entries):
            plain = [(entry.key.value, code[1]) for entry, code in zip(node.entries, entries, strict=True)]  # type: ignore[union-attr]
            return lambda frame: {key: value(frame) for key, value in plain}

        def entry_values(frame: Frame) -> dict[Any, Any]:
            result: dict[Any, Any] = {}
            for key_code, value_code, optional, span in entries:
                key = key_code(frame)
                if key.__class__ not in _LITERAL_KEYS:
                    raise OverloadError(f"unsupported key type: {operations.type_name(key)}", span=span)
                value = value_code(frame)
                if optional:
                    if not _present(value, span):
                        continue
                    value = value.value
                key = to_key(key)
                # As in cel-go, the last of equal keys wins. For cel-go, 0 and 0u are two keys; here they are one.
                if key in result and key.__class__ is UInt:
                    raise ValueError_(f"Failed with repeated key: {key}", span=span)
                result[key] = value
            return result

        return entry_values

    def struct_literal(self, node: StructLit, scope: _Locals) -> Code:
        name, span = node.name, node.span

        def refuse(frame: Frame) -> Any:
            raise OverloadError(f"undeclared reference to '{name}'", span=span)

        return refuse

    # Calls

    def call(self, node: Call, scope: _Locals) -> Code:
        operator = _OPERATORS.get(node.function) if node.target is None else None
        return operator(self, node, scope) if operator else self.function(node, scope)

    def function(self, node: Call, scope: _Locals) -> Code:
        """A function, method or namespaced function; the run-time types select the overload."""
        qualified = syntax.qualified_name(node)
        if node.target is None or (qualified is not None and self.env.is_function(qualified)):
            name, arguments, member = qualified or node.function, list(node.args), False
        else:
            name, arguments, member = node.function, [node.target, *node.args], True
        if member and name in ("or", "orValue") and len(arguments) == 2:
            return self.alternative(node, scope)
        rows = self.overloads.get(node.id) or tuple(
            row
            for row in self.env.functions.get(name, ())
            if row.member is member and len(row.params) == len(arguments)
        )
        self.weight += max((row.weight for row in rows), default=0)
        codes: list[Code] = []
        for argument in arguments:
            codes.append(self.compile(argument, scope))  # noqa: PERF401 - see compile
        return _dispatch(name, rows, tuple(codes), node.span, member=member)

    def alternative(self, node: Call, scope: _Locals) -> Code:
        """`a.or(b)` and `a.orValue(b)`, which evaluate b only if a is none."""
        assert node.target is not None
        target, other = self.compile(node.target, scope), self.compile(node.args[0], scope)
        unwrap, name, span = node.function == "orValue", node.function, node.span

        def alternative(frame: Frame) -> Any:
            value = target(frame)
            if value.__class__ is not Optional:
                raise _located(no_matching(name, (value,), member=True), span)
            if value.present:
                return value.value if unwrap else value
            instead = other(frame)
            if not unwrap and instead.__class__ is not Optional:
                raise _located(no_matching(name, (value, instead), member=True), span)
            return instead

        return alternative

    def conditional(self, node: Call, scope: _Locals) -> Code:
        test, then = self.compile(node.args[0], scope), self.compile(node.args[1], scope)
        otherwise = self.compile(node.args[2], scope)
        span = node.span

        def conditional(frame: Frame) -> Any:
            chosen = test(frame)
            if chosen is True:
                return then(frame)
            if chosen is False:
                return otherwise(frame)
            raise OverloadError(f"no such overload: {operations.type_name(chosen)} is not a bool", span=span)

        return conditional

    def logic(self, node: Call, scope: _Locals) -> Code:
        codes: list[Code] = []
        for argument in node.args:
            codes.append(self.compile(argument, scope))  # noqa: PERF401 - see compile
        return _logic(tuple(codes), node.function == syntax.OR, node.function, node.span)

    def negation(self, node: Call, scope: _Locals) -> Code:
        operand, span = self.compile(node.args[0], scope), node.span

        def negation(frame: Frame) -> bool:
            value = operand(frame)
            if value is True:
                return False
            if value is False:
                return True
            raise OverloadError(f"no such overload: !_ applied to ({operations.type_name(value)})", span=span)

        return negation

    def minus(self, node: Call, scope: _Locals) -> Code:
        self.weight += _ARITHMETIC_WEIGHT
        operand, span = self.compile(node.args[0], scope), node.span

        def minus(frame: Frame) -> Any:
            try:
                return operations.negate(operand(frame))
            except EvalError as error:
                raise _located(error, span) from None

        return minus

    def equality(self, node: Call, scope: _Locals) -> Code:
        left, right = self.compile(node.args[0], scope), self.compile(node.args[1], scope)
        wanted, span = node.function == syntax.EQUAL, node.span
        kind = self.list_kind(node.args[0])
        equal = operations.equal if kind is None else listtypes.equality(*kind)
        constant = node.args[1]
        if isinstance(constant, Literal) and constant.value.__class__ is str:
            slot = self.slot_field(node.args[0], scope)
            if slot is not None:
                return _field_equals_text(*slot, left, constant.value, wanted, span)
            return _equals_text(left, constant.value, wanted, span)

        def equality(frame: Frame) -> bool:
            a, b = left(frame), right(frame)
            own = a.__class__
            if own is b.__class__:
                if own in FIXED:
                    return (a == b) is wanted
                if own is str:
                    return same_text(a, b, frame[_METER]) is wanted
            try:
                return equal(a, b, frame[_METER]) is wanted
            except EvalError as error:
                raise _located(error, span) from None

        return equality

    def slot_field(self, node: Expr, scope: _Locals) -> tuple[int, str] | None:
        """The slot and key of a node that is a plain field of a loop variable, as in most predicates; or None."""
        if not isinstance(node, Select) or node.test or node.optional or not isinstance(node.operand, Ident):
            return None
        local = None if node.operand.absolute else scope.get(node.operand.name)
        if local is None or local[1] is not None or lift_for(self.types.get(node.id)) is not None:
            return None
        return local[0], self.field_key(node)[0]

    def comparison(self, node: Call, scope: _Locals) -> Code:
        left, right = self.compile(node.args[0], scope), self.compile(node.args[1], scope)
        return _COMPARISONS[node.function](left, right, node.span)

    def membership(self, node: Call, scope: _Locals) -> Code:
        item, container = self.compile(node.args[0], scope), self.compile(node.args[1], scope)
        span = node.span

        def membership(frame: Frame) -> bool:
            try:
                return operations.contains(item(frame), container(frame), frame[_METER])
            except EvalError as error:
                raise _located(error, span) from None

        return membership

    def arithmetic(self, node: Call, scope: _Locals) -> Code:
        calls = syntax.spine(node)
        self.weight += _ARITHMETIC_WEIGHT * len(calls) - 2
        first = self.compile(calls[0].args[0], scope)
        kind = self.list_kind(calls[0].args[0])
        if kind is not None and all(call.function == syntax.ADD for call in calls):
            joins = [(listtypes.addition(*kind), self.compile(call.args[1], scope), call.span) for call in calls]
            return _fold(first, joins)
        if len(calls) == 1:
            return _binary(_ARITHMETIC[node.function], first, self.compile(node.args[1], scope), node.span)
        steps = [(_ARITHMETIC[call.function], self.compile(call.args[1], scope), call.span) for call in calls]
        if all(call.function == syntax.ADD for call in calls):
            return _sum(first, steps)
        return _fold(first, steps)

    def list_kind(self, node: Expr) -> tuple[str, tuple[str, ...]] | None:
        """The kind ("set", "map") and keys of a list field whose schema changes its equality."""
        provider = self.env.types
        while isinstance(node, Call) and node.function == syntax.ADD:
            # The sum of a set and a list is a set.
            node = node.args[0]
        if provider is None or not isinstance(node, Select) or node.test or node.optional:
            return None
        owner, own = self.types.get(node.operand.id), self.types.get(node.id)
        if owner is None or own is None or owner.kind != "object" or own.kind != "list":
            return None
        kind, keys = provider.list_kind(owner.name, node.field)
        return None if kind == "atomic" else (kind, keys)

    # Macros

    def macro(self, node: Macro, scope: _Locals) -> Code:
        if node.kind == "bind":
            return self.bind(node, scope)
        slots = tuple(self.new_slot() for _ in node.variables)
        kinds = self.variables.get(node.id, ())
        lifts = tuple(lift_for(kind) for kind in kinds) if kinds else (None,) * len(slots)
        inner = dict(scope)
        for name, slot in zip(node.variables, slots, strict=True):
            # The loop itself lifts the values of its variables.
            inner[name] = (slot, None, None)
        range_code = self.compile_raw(node.range, scope)
        outside = self.weight
        condition = None if node.condition is None else self.compile(node.condition, inner)
        body = self.compile(node.body, inner)
        return compile_loop(
            LoopCode(
                kind=node.kind,
                range=range_code,
                slots=slots,
                lifts=lifts,
                condition=condition,
                body=body,
                cost=1 + (self.weight - outside) // _WEIGHT_PER_STEP,
                span=node.span,
            )
        )

    def bind(self, node: Macro, scope: _Locals) -> Code:
        """`cel.bind`: the first read computes the value; later reads reuse it until the bind is entered again."""
        (name,) = node.variables
        slot = self.new_slot()
        body = self.compile(node.body, {**scope, name: (slot, self.compile(node.range, scope), None)})

        def bind(frame: Frame) -> Any:
            frame[slot] = _UNSET
            return body(frame)

        return bind


# A map literal must not have doubles as keys (the specification's rule; cel-go allows them).
_LITERAL_KEYS: Final = KEYS - {float}
# A subscript of this value always raises, and so takes the slow path.
_NEVER: Final[dict[Any, Any]] = {}


def _root(node: Expr) -> Expr:
    while isinstance(node, Select):
        node = node.operand
    return node


def _lifted(code: Code, lift: Lift, span: Span) -> Code:
    def lifted(frame: Frame) -> Any:
        value = code(frame)
        try:
            return lift(value, frame[_METER])
        except EvalError as error:
            raise _located(error, span) from None

    return lifted


def _local(local: _Local) -> Code:
    slot, init, _ = local
    if init is None:
        return lambda frame: frame[slot]

    def bound(frame: Frame) -> Any:
        value = frame[slot]
        if value is _UNSET:
            value = frame[slot] = init(frame)
        return value

    return bound


def _variable(name: str, span: Span) -> Code:
    def variable(frame: Frame) -> Any:
        try:
            return frame[_VARIABLES][name]
        except KeyError:
            raise UnboundError(f"no such attribute(s): {name}", span=span, value=name) from None

    return variable


# Chains of selections: `slow` repeats the selections by the exact rules, from the value of the root.

_Slow: TypeAlias = Callable[[Any], Any]


def _slow_chain(fields: list[tuple[str, bool]], span: Span) -> _Slow:
    def slow(value: Any) -> Any:
        try:
            for key, null_is_absent in fields:
                value = operations.select(value, key)
                if null_is_absent and (value is None or (value.__class__ is Optional and value.value is None)):
                    if value is not None:
                        return NONE
                    raise NoSuchKeyError(f"no such key: {key}", value=key)
        except EvalError as error:
            raise _located(error, span) from None
        return value

    return slow


def _variable_chain(name: str, keys: list[str], nullable: bool, root: Code, slow: _Slow) -> Code:
    first, rest = keys[0], keys[1:]
    if len(keys) == 1:

        def chain1(frame: Frame) -> Any:
            try:
                value = frame[0][name][first]
            except (KeyError, TypeError):
                return slow(root(frame))
            return value if nullable or value is not None else slow(root(frame))

        return chain1
    second = keys[1]
    if len(keys) == 2:

        def chain2(frame: Frame) -> Any:
            try:
                value = frame[0][name][first][second]
            except (KeyError, TypeError):
                return slow(root(frame))
            return value if nullable or value is not None else slow(root(frame))

        return chain2

    def chain(frame: Frame) -> Any:
        try:
            value = frame[0][name][first]
            for key in rest:
                value = value[key]
        except (KeyError, TypeError):
            return slow(root(frame))
        return value if nullable or value is not None else slow(root(frame))

    return chain


def _slot_chain(slot: int, keys: list[str], nullable: bool, slow: _Slow) -> Code:
    if len(keys) == 1:
        (only,) = keys

        def chain1(frame: Frame) -> Any:
            try:
                value = frame[slot][only]
            except (KeyError, TypeError):
                return slow(frame[slot])
            return value if nullable or value is not None else slow(frame[slot])

        return chain1

    def chain(frame: Frame) -> Any:
        value = frame[slot]
        try:
            for key in keys:
                value = value[key]
        except (KeyError, TypeError):
            return slow(frame[slot])
        return value if nullable or value is not None else slow(frame[slot])

    return chain


def _code_chain(root: Code, keys: list[str], nullable: bool, slow: _Slow) -> Code:
    def chain(frame: Frame) -> Any:
        start = value = root(frame)
        try:
            for key in keys:
                value = value[key]
        except (KeyError, TypeError):
            return slow(start)
        return value if nullable or value is not None else slow(start)

    return chain


def _present(value: Any, span: Span) -> bool:
    if value.__class__ is not Optional:
        raise OverloadError(
            f"cannot initialize optional entry from non-optional {operations.type_name(value)}", span=span
        )
    return bool(value.present)


# Operators


def _optional_index(left: Code, right: Code, span: Span) -> Code:
    def optional_index(frame: Frame) -> Any:
        try:
            container, key = left(frame), right(frame)
            if key.__class__ is str and len(key) > COMPARED_PER_STEP:
                frame[_METER].spend(len(key) // COMPARED_PER_STEP)
            return operations.optional_index(container, key)
        except EvalError as error:
            raise _located(error, span) from None

    return optional_index


def _equals_text(left: Code, text: str, wanted: bool, span: Span) -> Code:
    def equals_text(frame: Frame) -> bool:
        value = left(frame)
        if value.__class__ is str:
            return (value == text) is wanted
        try:
            return operations.equal(value, text) is wanted
        except EvalError as error:
            raise _located(error, span) from None

    return equals_text


def _field_equals_text(slot: int, key: str, left: Code, text: str, wanted: bool, span: Span) -> Code:
    """`x.key == "text"` in one step, if the field is a string; other values take the general code."""
    general = _equals_text(left, text, wanted, span)

    def field_equals_text(frame: Frame) -> bool:
        try:
            value = frame[slot][key]
        except (KeyError, TypeError):
            return bool(general(frame))
        return (value == text) is wanted if value.__class__ is str else bool(general(frame))

    return field_equals_text


def _less(left: Code, right: Code, span: Span) -> Code:
    def less(frame: Frame) -> bool:
        a, b = left(frame), right(frame)
        if a.__class__ is b.__class__ and a.__class__ in FIXED:
            return bool(a < b)
        return bool(_guard(operations.less, a, b, frame[_METER], span))

    return less


def _less_equal(left: Code, right: Code, span: Span) -> Code:
    def less_equal(frame: Frame) -> bool:
        a, b = left(frame), right(frame)
        if a.__class__ is b.__class__ and a.__class__ in FIXED:
            return bool(a <= b)
        return bool(_guard(operations.less_equal, a, b, frame[_METER], span))

    return less_equal


def _greater(left: Code, right: Code, span: Span) -> Code:
    def greater(frame: Frame) -> bool:
        a, b = left(frame), right(frame)
        if a.__class__ is b.__class__ and a.__class__ in FIXED:
            return bool(a > b)
        return bool(_guard(operations.greater, a, b, frame[_METER], span))

    return greater


def _greater_equal(left: Code, right: Code, span: Span) -> Code:
    def greater_equal(frame: Frame) -> bool:
        a, b = left(frame), right(frame)
        if a.__class__ is b.__class__ and a.__class__ in FIXED:
            return bool(a >= b)
        return bool(_guard(operations.greater_equal, a, b, frame[_METER], span))

    return greater_equal


_COMPARISONS: Final = MappingProxyType(
    {
        syntax.LESS: _less,
        syntax.LESS_EQUAL: _less_equal,
        syntax.GREATER: _greater,
        syntax.GREATER_EQUAL: _greater_equal,
    }
)


def _guard(operation: Callable[[Any, Any, Meter], Any], a: Any, b: Any, budget: Meter, span: Span) -> Any:
    try:
        return operation(a, b, budget)
    except EvalError as error:
        raise _located(error, span) from None


_Operation: TypeAlias = Callable[[Any, Any, Meter], Any]
_Step: TypeAlias = tuple[_Operation, Code, Span]

_ARITHMETIC: Final[Mapping[str, _Operation]] = MappingProxyType(
    {
        syntax.ADD: operations.add,
        syntax.SUBTRACT: lambda a, b, meter: operations.subtract(a, b),
        syntax.MULTIPLY: lambda a, b, meter: operations.multiply(a, b),
        syntax.DIVIDE: lambda a, b, meter: operations.divide(a, b),
        syntax.MODULO: lambda a, b, meter: operations.modulo(a, b),
    }
)


def _binary(operation: _Operation, left: Code, right: Code, span: Span) -> Code:
    def binary(frame: Frame) -> Any:
        try:
            return operation(left(frame), right(frame), frame[_METER])
        except EvalError as error:
            raise _located(error, span) from None

    return binary


def _fold(first: Code, steps: list[_Step]) -> Code:
    return lambda frame: _folded(first(frame), steps, frame)


def _folded(value: Any, steps: list[_Step], frame: Frame) -> Any:
    meter = frame[_METER]
    for operation, code, span in steps:
        try:
            value = operation(value, code(frame), meter)
        except EvalError as error:
            raise _located(error, span) from None
    return value


def _sum(first: Code, steps: list[_Step]) -> Code:
    """`a + b + c...`, with strings joined once, so that a chain takes linear time."""
    terms = [(code, span) for _, code, span in steps]

    def joined(frame: Frame) -> Any:
        text = first(frame)
        if text.__class__ is not str:
            return _folded(text, steps, frame)
        parts = [text]
        for code, span in terms:
            part = code(frame)
            if part.__class__ is not str:
                _guard(lambda a, b, meter: no_overload("_+_", a, b), text, part, frame[_METER], span)
            parts.append(part)
        size = sum(map(len, parts))
        if size > CHARS_PER_STEP:
            frame[_METER].spend(size // CHARS_PER_STEP)
        return "".join(parts)

    return joined


def _logic(codes: tuple[Code, ...], decisive: bool, name: str, span: Span) -> Code:
    """`&&` (False decides) and `||` (True decides): an error counts only if no operand decides."""
    if len(codes) == 2:
        return _logic2(*codes, decisive, name, span)
    other = not decisive

    def logic(frame: Frame) -> bool:
        left = iter(codes)
        try:
            for code in left:
                value: object = code(frame)
                if value is decisive:
                    return decisive
                if value is not other:
                    raise _not_logical(name, value, span)
        except EvalError as error:
            meter = frame[_METER]
            absorb(error, meter)
            if any(decides(code, frame, decisive, meter) for code in left):
                return decisive
            raise
        return other

    return logic


def _logic2(left: Code, right: Code, decisive: bool, name: str, span: Span) -> Code:
    other = not decisive

    def logic2(frame: Frame) -> bool:
        try:
            value: object = left(frame)
            if value is decisive:
                return decisive
            if value is not other:
                raise _not_logical(name, value, span)
        except EvalError as error:
            absorb(error, frame[_METER])
            if decides(right, frame, decisive, frame[_METER]):
                return decisive
            raise
        value = right(frame)
        if value is decisive or value is other:
            return bool(value)
        raise _not_logical(name, value, span)

    return logic2


def _not_logical(name: str, value: Any, span: Span) -> OverloadError:
    return OverloadError(f"no such overload: {name} applied to {operations.type_name(value)}", span=span)


# Functions


def _dispatch(name: str, rows: tuple[Overload, ...], codes: tuple[Code, ...], span: Span, *, member: bool) -> Code:
    """A call site: the classes of the arguments select the target, which is cached for each combination."""
    known: dict[Any, tuple[Callable[..., Any], bool, int]] = {}

    def find(values: tuple[Any, ...], key: Any) -> tuple[Callable[..., Any], bool, int]:
        if not rows:
            raise no_matching(name, values, member=member)
        target, stable = resolve(name, rows, values, member=member)
        found = (target.impl, target.metered, target.rate)
        if stable:
            known[key] = found
        return found

    if len(codes) == 1:
        (only,) = codes

        def call1(frame: Frame) -> Any:
            value = only(frame)
            try:
                found = known.get(value.__class__) or find((value,), value.__class__)
                if found[2] and len(value) >= found[2]:
                    frame[_METER].spend(len(value) // found[2])
                return found[0](value, budget=frame[_METER]) if found[1] else found[0](value)
            except EvalError as error:
                raise _located(error, span) from None

        return call1

    if len(codes) == 2:
        first, second = codes

        def call2(frame: Frame) -> Any:
            a, b = first(frame), second(frame)
            key = (a.__class__, b.__class__)
            try:
                found = known.get(key) or find((a, b), key)
                if found[2]:
                    size = (len(a) if a.__class__ in SIZED else 0) + (len(b) if b.__class__ in SIZED else 0)
                    if size >= found[2]:
                        frame[_METER].spend(size // found[2])
                return found[0](a, b, budget=frame[_METER]) if found[1] else found[0](a, b)
            except EvalError as error:
                raise _located(error, span) from None

        return call2

    def call(frame: Frame) -> Any:
        values = tuple([code(frame) for code in codes])
        key = tuple([value.__class__ for value in values])
        try:
            found = known.get(key) or find(values, key)
            if found[2]:
                frame[_METER].spend(sum(map(size_of, values)) // found[2])
            return found[0](*values, budget=frame[_METER]) if found[1] else found[0](*values)
        except EvalError as error:
            raise _located(error, span) from None

    return call


_COMPILE: Final[Mapping[type, Callable[[_Compiler, Any, _Locals], Code]]] = MappingProxyType(
    {
        Literal: _Compiler.literal,
        Ident: _Compiler.ident,
        Select: _Compiler.select,
        Index: _Compiler.index,
        Call: _Compiler.call,
        ListLit: _Compiler.list_literal,
        MapLit: _Compiler.map_literal,
        StructLit: _Compiler.struct_literal,
        Macro: _Compiler.macro,
    }
)
_OPERATORS: Final[Mapping[str, Callable[[_Compiler, Call, _Locals], Code]]] = MappingProxyType(
    {
        syntax.CONDITIONAL: _Compiler.conditional,
        syntax.AND: _Compiler.logic,
        syntax.OR: _Compiler.logic,
        syntax.NOT: _Compiler.negation,
        syntax.NEGATE: _Compiler.minus,
        syntax.EQUAL: _Compiler.equality,
        syntax.NOT_EQUAL: _Compiler.equality,
        syntax.LESS: _Compiler.comparison,
        syntax.LESS_EQUAL: _Compiler.comparison,
        syntax.GREATER: _Compiler.comparison,
        syntax.GREATER_EQUAL: _Compiler.comparison,
        syntax.IN: _Compiler.membership,
        syntax.ADD: _Compiler.arithmetic,
        syntax.SUBTRACT: _Compiler.arithmetic,
        syntax.MULTIPLY: _Compiler.arithmetic,
        syntax.DIVIDE: _Compiler.arithmetic,
        syntax.MODULO: _Compiler.arithmetic,
    }
)
