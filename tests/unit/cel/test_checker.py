"""The checker: one table of expressions with their type, or their error in cel-go's words."""

import sys

import pytest

from kroasync.cel.check.checker import MAX_ISSUES
from kroasync.cel.env import Env
from kroasync.cel.errors import CheckError, ParseError
from kroasync.cel.lib import ALL_LIBRARIES
from kroasync.cel.syntax import MAX_DEPTH
from kroasync.cel.types import (
    BOOL,
    BYTES,
    DOUBLE,
    DURATION,
    DYN,
    INT,
    NULL,
    STRING,
    TIMESTAMP,
    UINT,
    list_of,
    map_of,
    object_type,
    optional_of,
)
from kroasync.schema.celtypes import SchemaTypes

POD = {
    "type": "object",
    "properties": {
        "metadata": {
            "type": "object",
            "properties": {
                "name": {"type": "string"},
                "namespace": {"type": "string"},
                "labels": {"type": "object", "additionalProperties": {"type": "string"}},
                "creationTimestamp": {"type": "string", "format": "date-time"},
            },
        },
        "spec": {
            "type": "object",
            "properties": {
                "containers": {
                    "type": "array",
                    "items": {"type": "object", "properties": {"image": {"type": "string"}}},
                },
                "host-network": {"type": "boolean"},
                "port": {"x-kubernetes-int-or-string": True},
            },
        },
        "status": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
    },
}
TYPES = SchemaTypes({"pod": POD, "pods": {"type": "array", "items": POD}})
ENV = Env(
    libraries=ALL_LIBRARIES,
    types=TYPES,
    variables={
        **TYPES.variables(),
        "b": BOOL,
        "by": BYTES,
        "d": DOUBLE,
        "du": DURATION,
        "i": INT,
        "l": list_of(INT),
        "ll": list_of(list_of(INT)),
        "m": map_of(STRING, INT),
        "n": NULL,
        "o": optional_of(INT),
        "ol": optional_of(list_of(INT)),
        "om": optional_of(map_of(STRING, INT)),
        "s": STRING,
        "t": TIMESTAMP,
        "u": UINT,
        "y": DYN,
        "a.dotted": INT,
        "cond": object_type("kro.run.Condition"),
    },
)

ACCEPTED = [
    # literals and names
    ("1", "int"),
    ("1u", "uint"),
    ("1.5", "double"),
    ("'x'", "string"),
    ("b'x'", "bytes"),
    ("true", "bool"),
    ("null", "null_type"),
    ("t", "google.protobuf.Timestamp"),
    ("du", "google.protobuf.Duration"),
    ("int", "type(int)"),
    ("net.IP", "type(net.IP)"),
    ("type(1)", "type(int)"),
    ("type(type(1))", "type(type(int))"),
    ("a.dotted + 1", "int"),
    (".i + 1", "int"),
    # lists and maps
    ("[]", "list(dyn)"),
    ("[1, 2]", "list(int)"),
    ("[1, 'a']", "list(dyn)"),
    ("[1, null]", "list(dyn)"),
    ("[[], [1]]", "list(list(int))"),
    ("[] + [1]", "list(int)"),
    ("[?o, 1]", "list(int)"),
    ("[t, null]", "list(google.protobuf.Timestamp)"),
    ("[null, t]", "list(google.protobuf.Timestamp)"),
    ("[type(1), type('a')]", "list(type(int))"),
    ("{}", "map(dyn, dyn)"),
    ("{'a': 1}", "map(string, int)"),
    ("{1: 2, 'a': 'b'}", "map(dyn, dyn)"),
    ("{?'a': o}", "map(string, int)"),
    ("{t: 1}", "map(google.protobuf.Timestamp, int)"),
    ("{[1]: 1}", "map(dyn, int)"),
    # selection and indexing
    ("l[0]", "int"),
    ("l[?0]", "optional_type(int)"),
    ("m['a']", "int"),
    ("m.a", "int"),
    ("m[?'a']", "optional_type(int)"),
    ("m.?a", "optional_type(int)"),
    ("ol[0]", "optional_type(int)"),
    ("om.a", "optional_type(int)"),
    ("om.?a", "optional_type(int)"),
    ("has(m.a)", "bool"),
    ("y.a.b[0].c", "dyn"),
    ("y[?0]", "dyn"),
    ("y.?a", "optional_type(dyn)"),
    # operators
    ("i + 1", "int"),
    ("t + du", "google.protobuf.Timestamp"),
    ("t - t", "google.protobuf.Duration"),
    ("y + 'a'", "string"),
    ("y + y", "dyn"),
    ("y == 'a'", "bool"),
    ("y < 1", "bool"),
    ("t == null", "bool"),
    ("o == null", "bool"),
    ("i in l", "bool"),
    ("'a' in m", "bool"),
    ("b && y || b", "bool"),
    ("b ? 1 : 2", "int"),
    ("b ? y : 2", "dyn"),
    ("b ? [] : l", "list(int)"),
    ("b ? null : du", "google.protobuf.Duration"),
    ("b ? o : optional.none()", "optional_type(int)"),
    # functions
    ("size(l)", "int"),
    ("dyn(1)", "dyn"),
    ("optional.of(1)", "optional_type(int)"),
    ("optional.none().orValue(1)", "int"),
    ("l.indexOf(1)", "int"),
    ("lists.range(3)", "list(int)"),
    ("url('/').getQuery()", "map(string, list(string))"),
    ("quantity('1').add(1)", "kubernetes.Quantity"),
    ("json.unmarshal(s)", "dyn"),
    ("{'a': 1}.merge({'b': 2})", "map(string, int)"),
    ("lists.setAtIndex([], 0, 1)", "list(int)"),
    ("cond.status", "string"),
    ("runtime.condition(pod, 'Ready').reason", "string"),
    ("runtime.newCondition({type: 'A', status: 'True'})", "kro.run.Condition"),
    ("omit()", "dyn"),
    # macros
    ("l.all(x, x > 1)", "bool"),
    ("l.all(k, v, k < v)", "bool"),
    ("m.exists(k, k == 'a')", "bool"),
    ("m.exists(k, v, v == 1)", "bool"),
    ("l.exists_one(x, x == 1)", "bool"),
    ("l.filter(x, x > 1)", "list(int)"),
    ("m.filter(k, k > 'a')", "list(string)"),
    ("l.map(x, string(x))", "list(string)"),
    ("l.map(x, x > 1, x * 2)", "list(int)"),
    ("[[]].map(x, x + [1])", "list(list(int))"),
    ("m.map(k, k)", "list(string)"),
    ("y.map(x, x)", "list(dyn)"),
    ("[].map(x, x)", "list(dyn)"),
    ("l.transformList(k, v, k + v)", "list(int)"),
    ("l.transformMap(k, v, string(v))", "map(int, string)"),
    ("m.transformMap(k, v, v > 1, v)", "map(string, int)"),
    ("m.transformMapEntry(k, v, {v: k})", "map(int, string)"),
    ("l.transformMapEntry(k, v, y)", "map(dyn, dyn)"),
    ("l.sortBy(x, -x)", "list(int)"),
    ("y.sortBy(x, x)", "dyn"),
    ("cel.bind(x, l, x[0])", "int"),
    ("o.optMap(x, string(x))", "optional_type(string)"),
    ("y.optMap(x, x)", "optional_type(dyn)"),
    ("n.optMap(x, 1)", "optional_type(int)"),
    ("o.optFlatMap(x, optional.of('a'))", "optional_type(string)"),
    # objects
    ("pod.metadata", "__type_pod.metadata"),
    ("pod.metadata.name", "string"),
    ("pod.metadata.namespace", "string"),
    ("pod.metadata.labels['a']", "string"),
    ("pod.metadata.labels.app", "string"),
    ("pod.metadata.creationTimestamp < t", "bool"),
    ("pod.spec.host__dash__network", "bool"),
    ("pod.spec.`host-network`", "bool"),
    ("pod.spec.port", "dyn"),
    ("pod.spec.containers[0].image", "string"),
    ("pod.spec.?containers[0].image", "optional_type(string)"),
    ("pod.status.anything.goes", "dyn"),
    ("has(pod.spec.containers)", "bool"),
    ("pods.map(p, p.metadata.name)", "list(string)"),
    ("pods[0] == pods[1]", "bool"),
    ("b ? pod.spec : null", "__type_pod.spec"),
]

REJECTED = [
    ("x", "undeclared reference to 'x' (in container '')"),
    ("x.y.z", "undeclared reference to 'x' (in container '')"),
    ("[1].map(x, y.z, x) + x", "undeclared reference to 'x' (in container '')"),
    ("l.map(i2, .i2)", "undeclared reference to 'i2' (in container '')"),
    ("foo(1)", "undeclared reference to 'foo' (in container '')"),
    ("'a'.foo()", "undeclared reference to 'foo' (in container '')"),
    ("Foo{a: 1}", "undeclared reference to 'Foo' (in container '')"),
    ("s.foo", "type 'string' does not support field selection"),
    ("l.size", "type 'list(int)' does not support field selection"),
    ("[t].size", "type 'list(timestamp)' does not support field selection"),
    ("has(i.a)", "type 'int' does not support field selection"),
    ("m.?a.b", "type 'int' does not support field selection"),
    ("pod.metadata.nme", "undefined field 'nme'"),
    ("has(pod.speck)", "undefined field 'speck'"),
    ("pod.?speck", "undefined field 'speck'"),
    ("cond.lastTransitionTime", "undefined field 'lastTransitionTime'"),
    ("pods.all(p, p.nam == 'a')", "undefined field 'nam'"),
    ("i + s", "found no matching overload for '_+_' applied to '(int, string)'"),
    ("i == s", "found no matching overload for '_==_' applied to '(int, string)'"),
    ("1 == 1.0", "found no matching overload for '_==_' applied to '(int, double)'"),
    ("null == 1", "found no matching overload for '_==_' applied to '(null, int)'"),
    ("t == 1", "found no matching overload for '_==_' applied to '(timestamp, int)'"),
    ("1 in ['a']", "found no matching overload for '@in' applied to '(int, list(string))'"),
    ("1 in 2", "found no matching overload for '@in' applied to '(int, int)'"),
    ("!1", "found no matching overload for '!_' applied to '(int)'"),
    ("-'a'", "found no matching overload for '-_' applied to '(string)'"),
    ("[[]] == [1]", "found no matching overload for '_==_' applied to '(list(list(dyn)), list(int))'"),
    ("l['a']", "found no matching overload for '_[_]' applied to '(list(int), string)'"),
    ("m[1]", "found no matching overload for '_[_]' applied to '(map(string, int), int)'"),
    ("pod['spec']", "found no matching overload for '_[_]' applied to '(__type_pod, string)'"),
    ("b ? 1 : 'a'", "found no matching overload for '_?_:_' applied to '(bool, int, string)'"),
    ("1 ? 2 : 3", "found no matching overload for '_?_:_' applied to '(int, int, int)'"),
    ("b ? pod.spec : {}", "found no matching overload for '_?_:_' applied to '(bool, __type_pod.spec, map(dyn, dyn))'"),
    ("b && 1", "expected type 'bool' but found 'int'"),
    ("b || b || s", "expected type 'bool' but found 'string'"),
    ("[?1]", "expected type 'optional_type(int)' but found 'int'"),
    ("{?'a': 1}", "expected type 'optional_type(int)' but found 'int'"),
    ("size(1)", "found no matching overload for 'size' applied to '(int)'"),
    ("find('a', 'b')", "found no matching overload for 'find' applied to '(string, string)'"),
    ("24.indexOf('2')", "found no matching overload for 'indexOf' applied to 'int.(string)'"),
    ("string(quantity('1'))", "found no matching overload for 'string' applied to '(kubernetes.Quantity)'"),
    ("{1: 'a'}.merge({'a': 'b'})", "found no matching overload for 'merge' applied to"),
    (
        "'a'.all(x, true)",
        "expression of type 'string' cannot be range of a comprehension (must be list, map, or dynamic)",
    ),
    ("pod.all(x, true)", "expression of type '__type_pod' cannot be range of a comprehension"),
    ("o.map(x, x)", "expression of type 'optional_type(int)' cannot be range of a comprehension"),
    ("l.all(x, 1)", "expected type 'bool' but found 'int'"),
    ("l.exists(x, 'a' + x)", "found no matching overload for '_+_' applied to '(string, int)'"),
    ("l.filter(x, 'a')", "found no matching overload for '_?_:_' applied to '(string, list(int), list(int))'"),
    ("l.map(x, 1, x)", "found no matching overload for '_?_:_' applied to '(int, list(int), list(int))'"),
    ("l.exists_one(x, 1)", "found no matching overload for '_?_:_' applied to '(int, int, int)'"),
    (
        "{}.transformMapEntry(j, k, 'no', {k: j})",
        "found no matching overload for '_?_:_' applied to '(string, map(dyn, dyn), map(dyn, dyn))'",
    ),
    (
        "m.transformMapEntry(k, v, [])",
        "found no matching overload for 'cel.@mapInsert' applied to '(map(dyn, dyn), list(dyn))'",
    ),
    (
        "l.sortBy(x, [x])",
        "found no matching overload for '@sortByAssociatedKeys' applied to 'list(int).(list(list(int)))'",
    ),
    ("s.optMap(x, x)", "found no matching overload for 'hasValue' applied to 'string.()'"),
    ("o.optMap(x, x + 'a')", "found no matching overload for '_+_' applied to '(int, string)'"),
    ("o.optFlatMap(x, x)", "found no matching overload for '_?_:_' applied to '(bool, int, optional_type(dyn))'"),
    ("cel.bind(x, 1, x + 'a')", "found no matching overload for '_+_' applied to '(int, string)'"),
    ("runtime.newCondition({type: 1, status: 'True'})", "applied to '(int, string, string, string)'"),
    # literal arguments
    ("'%d'.format(['a'])", "decimal clause can only be used on ints, uints, and doubles, was given string"),
    ("'%d'.format([t])", "was given google.protobuf.Timestamp"),
    ("'%s'.format([o])", "was given optional_type"),
    ("'%e'.format([b])", "scientific clause can only be used on ints, uints, and doubles, was given bool"),
    ("'%f'.format([s])", "fixed-point clause can only be used on ints, uints, and doubles, was given string"),
    ("'%b'.format(['a'])", "only ints, uints, and bools can be formatted as binary, was given string"),
    ("'%x'.format([1.0])", "only ints, uints, bytes, and strings can be formatted as hex, was given double"),
    ("'%X'.format([1.0])", "can be formatted as hex"),
    ("'%o'.format(['a'])", "octal clause can only be used on ints and uints, was given string"),
    ("'%q'.format([1])", 'unrecognized formatting clause "q"'),
    ("'%'.format([])", "unexpected end of string"),
    ("'%.101f'.format([1.0])", "precision 101 exceeds maximum allowed precision 100"),
    ("'%d %s'.format([1])", "index 1 out of range"),
    ("'%d'.format([1, 2])", "too many arguments supplied to string.format (expected 1, got 2)"),
    ("math.least()", "math.least() requires at least one argument"),
    ("math.least('hello')", "math.least() invalid single argument value"),
    ("math.least(1, true)", "math.least() simple literal arguments must be numeric"),
    ("math.least({1: 2})", "math.least() invalid single argument value"),
    ("math.greatest([])", "math.greatest() invalid single argument value"),
    ("math.least(1, 2, true)", "math.least() simple literal arguments must be numeric"),
]


@pytest.mark.parametrize(("expression", "type_"), ACCEPTED, ids=[row[0] for row in ACCEPTED])
def test_type_of_an_expression(expression: str, type_: str) -> None:
    assert str(ENV.check(ENV.parse(expression)).result_type) == type_


@pytest.mark.parametrize(("expression", "message"), REJECTED, ids=[row[0] for row in REJECTED])
def test_message_of_a_fault(expression: str, message: str) -> None:
    assert message in rejection(expression).issues[0].message


def rejection(expression: str) -> CheckError:
    with pytest.raises(CheckError) as caught:
        ENV.check(ENV.parse(expression))
    return caught.value


@pytest.mark.parametrize(
    "expression",
    [
        "'%d %s %.3f %% %x'.format([1, 'a', 2.0, b'a'])",
        "'%d'.format([y])",
        "'%d'.format(y)",
        "s.format(['a'])",
        "'%s'.format([type(1)])",
        "math.least([1, i, 2.0])",
    ],
)
def test_literal_checks_let_through_what_may_be_right(expression: str) -> None:
    ENV.check(ENV.parse(expression))


def test_all_faults_are_reported_in_source_order() -> None:
    error = rejection("foo + pod.nme + bar('x') + (1 + 'a')")
    assert [issue.message for issue in error.issues] == [
        "undeclared reference to 'foo' (in container '')",
        "undefined field 'nme'",
        "undeclared reference to 'bar' (in container '')",
        "found no matching overload for '_+_' applied to '(int, string)'",
    ]


def test_a_fault_is_reported_once() -> None:
    assert len(rejection("(nothing + 1 + ip('::1')).size() > 1 && nothing.all(x, x.y)").issues) == 2


def test_the_number_of_faults_reported_is_limited() -> None:
    assert len(rejection(" && ".join(["1"] * 5000)).issues) == MAX_ISSUES


def test_the_message_shows_the_place() -> None:
    assert str(rejection("pod.metadata.nme == 'a'")) == (
        "ERROR: <input>:1:13: undefined field 'nme'\n | pod.metadata.nme == 'a'\n | ............^"
    )


def test_the_place_of_a_fault_on_a_later_line() -> None:
    error = rejection("b &&\n  i == 'x'")
    assert error.issues[0].render(error.source).startswith("ERROR: <input>:2:5: found no matching overload")


@pytest.mark.parametrize(
    ("expression", "suggestion"),
    [
        ("pod.metadata.nmae", "name"),
        ("pod.metdata", "metadata"),
        ("pdos.size()", "pods"),
        ("l.map(item, itm)", "item"),
        ("'a'.startWith('b')", "startsWith"),
        ("lists.rang(3)", "range"),
        ("cond.mesage", "message"),
        ("zzzzzz", None),
        ("x" * 100, None),
    ],
)
def test_a_near_miss_is_suggested(expression: str, suggestion: str | None) -> None:
    assert rejection(expression).issues[-1].suggestion == suggestion


def test_every_node_has_a_type() -> None:
    checked = ENV.check(ENV.parse("l.map(x, x + 1)[0] == size('a')"))
    assert all("_var" not in str(type_) for type_ in checked.types.values())


def test_variables_of_macros_have_types() -> None:
    checked = ENV.check(ENV.parse("m.transformList(k, v, v)"))
    assert [tuple(map(str, types)) for types in checked.variables.values()] == [("string", "int")]


def test_overloads_of_a_call_are_those_its_arguments_allow() -> None:
    checked = ENV.check(ENV.parse("i + 1"))
    assert [overload.signature for overload in checked.overloads[checked.ast.root.id]] == ["_+_(int, int) int"]


def test_an_unknown_argument_leaves_several_overloads() -> None:
    checked = ENV.check(ENV.parse("y + 1"))
    assert {str(overload.result) for overload in checked.overloads[checked.ast.root.id]} == {"int"}
    (overloads,) = ENV.check(ENV.parse("y + y")).overloads.values()
    assert len(overloads) > 3


def test_functions_are_named_with_their_namespace() -> None:
    checked = ENV.check(ENV.parse("base64.encode(by) + 'a'.trim()"))
    assert checked.functions == {"base64.encode", "trim", "_+_"}


def test_a_namespaced_function_wins_over_a_variable_of_that_name() -> None:
    env = ENV.extend(variables={"random": INT})
    assert str(env.check(env.parse("random.seededString(5, 's')")).result_type) == "string"


def test_a_macro_variable_hides_a_dotted_name() -> None:
    assert str(ENV.check(ENV.parse("[m].map(a, a.dotted)")).result_type) == "list(int)"


def test_without_a_provider_objects_are_open() -> None:
    env = Env(variables={"x": object_type("Unknown")})
    assert str(env.check(env.parse("x.y")).result_type) == "dyn"


def test_long_chains_are_checked_without_recursion() -> None:
    assert ENV.check(ENV.parse(" + ".join(["i"] * 5000))).result_type == INT
    assert ENV.check(ENV.parse(" && ".join(["b"] * 5000))).result_type == BOOL


DEEP = [
    ("(", "y", ")"),
    ("[", "y", "]"),
    ("{'a': ", "y", "}"),
    ("!(", "b", ")"),
    ("b ? y : (", "y", ")"),
    ("dyn(", "y", ")"),
    ("y[", "0", "]"),
    ("", "y", ".a"),
    ("", "y", ".?a"),
    ("", "s", ".trim()"),
    ("", "l", ".map(x, x)"),
    ("l.map(x, ", "y", ")"),
    ("l.exists(x, b && ", "b", ")"),
    ("cel.bind(x, 1, ", "y", ")"),
    ("o.optMap(x, ", "y", ")"),
    ("i == 1 && (b || ", "b", ")"),
    ("i + (", "i", ")"),
]


@pytest.mark.parametrize(("before", "inside", "after"), DEEP, ids=[f"{row[0]}{row[2]}" for row in DEEP])
def test_the_deepest_nesting_the_parser_takes_is_checked(before: str, inside: str, after: str) -> None:
    expression = ""
    for depth in range(MAX_DEPTH, 0, -1):
        try:
            ast = ENV.parse(before * depth + inside + after * depth)
        except ParseError:
            continue
        expression = ast.source
        ENV.check(ast)
        break
    assert len(expression) > MAX_DEPTH // 3


def test_a_stack_nearly_used_up_is_a_clear_error() -> None:
    ast = ENV.parse("dyn(" * 200 + "y" + ")" * 200)

    def deeper(levels: int) -> None:
        if levels:
            deeper(levels - 1)
        else:
            ENV.check(ast)

    with pytest.raises(CheckError, match="expression recursion limit exceeded"):
        deeper(sys.getrecursionlimit() - 400)


def test_types_cannot_grow_without_bounds() -> None:
    expression = "z"
    for index in reversed(range(60)):
        name, before = f"x{index}", f"x{index - 1}" if index else "1"
        expression = f"cel.bind({name}, {{{before}: [[[{before}]]]}}, {expression if index < 59 else name})"
    assert len(str(ENV.check(ENV.parse(expression)).result_type)) < 2000
