"""Properties of the language, over generated texts and trees."""

# ruff: noqa: PT017 - the test does not know in advance whether there is an error

import string
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kroasync.cel import CelError, CheckError, ConversionError, Env, EvalError, ParseError, to_json
from kroasync.cel.lib import ALL_LIBRARIES
from kroasync.cel.parse.literals import bytes_value, string_value
from kroasync.cel.parse.parser import parse
from kroasync.cel.run.operations import equal, less
from kroasync.cel.run.times import MAX_NS, MIN_NS, format_duration, format_seconds, format_timestamp, parse_duration
from kroasync.cel.run.times import parse_timestamp as parse_time
from kroasync.cel.types import DYN
from kroasync.cel.values import INT_MAX, INT_MIN, Duration, Timestamp
from tests.unit.cel.printer import quote, quote_bytes, same, unparse

ENV = Env(libraries=ALL_LIBRARIES, variables={"x": DYN, "y": DYN})
DATA: dict[str, Any] = {
    "x": {"a": 1, "b": [1, 2.5, "c", None, {"d": True}], "s": "text", "n": None},
    "y": [{"name": "a", "ready": True}, {"name": "b"}],
}
QUICK = settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])

LEAVES = st.sampled_from(
    [
        *("1", "-1", "0", "2.5", "1u", "'a'", "''", "b'a'", "true", "false", "null", "x", "y", "x.a", "x.b", "x.s"),
        *("x.n", "x.?b", "y[0]", "y[?9]", "[]", "{}", "v", ".x", "int", "duration('1m')", "timestamp(0)", "missing"),
        *("9223372036854775807", "'\\u00f1\\n'", "x.`b`", "optional.none()", "omit()", "quantity('1Ki')", "1e300"),
    ]
)


def _branch(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    binary = st.sampled_from(["+", "-", "*", "/", "%", "==", "!=", "<", "<=", ">", ">=", "in", "&&", "||"])
    method = st.sampled_from(
        [
            *("size()", "a", "b", "name", "?a", "value()", "orValue(1)", "reverse()", "sort()", "distinct()", "join()"),
            *("flatten()", "first()", "trim()", "split('')", "format([1])", "charAt(0)", "matches('a')", "sum()"),
        ]
    )
    macro = st.sampled_from(["all", "exists", "exists_one", "map", "filter", "sortBy", "optMap", "optFlatMap"])
    two = st.sampled_from(["all", "exists", "transformList", "transformMap", "transformMapEntry"])
    function = st.sampled_from(["size", "type", "string", "int", "dyn", "!", "-", "json.marshal", "optional.of"])
    return st.one_of(
        st.builds("{} {} {}".format, inner, binary, inner),
        st.builds("({} {} {})".format, inner, binary, inner),
        st.builds("({} ? {} : {})".format, inner, inner, inner),
        st.builds("({}).{}".format, inner, method),
        st.builds("({})[{}]".format, inner, inner),
        st.builds("({})[?{}]".format, inner, inner),
        st.builds("({}).{}(v, {})".format, inner, macro, inner),
        st.builds("({}).{}(w, v, {})".format, inner, two, inner),
        st.builds("({}).map(v, {}, {})".format, inner, inner, inner),
        st.builds("cel.bind(v, {}, {})".format, inner, inner),
        st.builds("{}({})".format, function, inner),
        st.builds("[{}, ?{}]".format, inner, inner),
        st.builds("{{{}: {}, ?{}: {}}}".format, inner, inner, inner, inner),
        st.builds("has(({}).{})".format, inner, st.sampled_from(["a", "b", "`a-b`"])),
    )


EXPRESSIONS = st.recursive(LEAVES, _branch, max_leaves=12)


@QUICK
@given(EXPRESSIONS)
def test_printing_and_parsing_gives_the_same_tree(text: str) -> None:
    try:
        root = parse(text).root
    except ParseError:
        return
    printed = unparse(root)
    again = parse(printed).root
    assert same(root, again), (text, printed)
    assert unparse(again) == printed


@QUICK
@given(EXPRESSIONS)
def test_any_expression_gives_a_value_issues_or_a_typed_error(text: str) -> None:
    for check in (True, False):
        try:
            value = ENV.program(text, check=check).evaluate(DATA, budget=20_000)
        except (ParseError, CheckError) as error:
            assert all(0 <= issue.span[0] <= issue.span[1] <= len(text) for issue in error.issues)
            continue
        except EvalError:
            continue
        try:
            to_json(value)
        except ConversionError as error:
            assert error.message


@QUICK
@given(EXPRESSIONS)
def test_checking_changes_no_answer(text: str) -> None:
    """An accepted expression has the same value without the checker; only overloads of empty lists may differ."""
    try:
        checked = ENV.program(text)
    except CelError:
        return
    results = []
    for program in (checked, ENV.program(text, check=False)):
        try:
            results.append(program.evaluate(DATA, budget=20_000))
        except EvalError as error:
            results.append(type(error))
    left, right = results
    if isinstance(left, type) or isinstance(right, type):
        assert left is right, text
    else:
        assert repr(left) == repr(right), text


@QUICK
@given(st.text(alphabet=string.printable + "ñ😀\x00\ud800`?", max_size=80))
def test_any_text_is_parsed_or_refused(text: str) -> None:
    try:
        root = parse(text).root
    except ParseError as error:
        assert error.issues
        assert all(0 <= issue.span[0] <= issue.span[1] <= len(text) for issue in error.issues)
    else:
        assert same(root, parse(unparse(root)).root)


@QUICK
@given(
    st.lists(
        st.sampled_from([*"()[]{}.,:?!-+&|<>=\"'`", "a", "1", "in", "has", " ", "b'", '"""', "all", "\\"]), max_size=60
    )
)
def test_any_tokens_are_parsed_or_refused(parts: list[str]) -> None:
    text = "".join(parts)
    try:
        parse(text)
    except ParseError as error:
        assert str(error).startswith("ERROR: <input>:")


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(INT_MIN, INT_MAX)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@QUICK
@given(JSON, JSON)
def test_equality_is_reflexive_and_symmetric_and_json_comes_back(left: Any, right: Any) -> None:
    assert equal(left, left)
    assert equal(left, right) is equal(right, left)
    assert to_json(left) == left


@QUICK
@given(st.integers(INT_MIN, INT_MAX), st.floats(allow_nan=False))
def test_numbers_are_less_equal_or_greater(left: int, right: float) -> None:
    assert less(left, right) + less(right, left) + equal(left, right) == 1


@QUICK
@given(st.integers(MIN_NS, MAX_NS))
def test_timestamps_come_back_from_text(ns: int) -> None:
    assert parse_time(format_timestamp(Timestamp(ns))) == Timestamp(ns)


@QUICK
@given(st.integers(INT_MIN, INT_MAX))
def test_durations_come_back_from_text(ns: int) -> None:
    assert parse_duration(format_duration(Duration(ns))) == Duration(ns)
    assert parse_duration(format_seconds(Duration(ns))) == Duration(ns)


@QUICK
@given(st.text(), st.binary())
def test_literals_come_back_from_text(text: str, data: bytes) -> None:
    assert string_value(quote(text)) == text
    assert bytes_value(quote_bytes(data)) == data
