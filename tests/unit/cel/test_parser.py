"""The parser: the grammar, its fixed defects, limits, and the positions of errors."""

import contextlib
import json
import subprocess
import sys
import time
from pathlib import Path

import pytest

from kroasync.cel import Env, ParseError
from kroasync.cel.parse import parser, tables
from kroasync.cel.parse.parser import parse
from kroasync.cel.syntax import MAX_CODE_POINTS, Call, Expr, Index, ListLit, Literal, Macro, MapLit, Select, spine
from tests.unit.cel.printer import same, unparse

ROOT = Path(__file__).parents[3]


def literal(text: str) -> object:
    root = parse(text).root
    assert isinstance(root, Literal)
    return root.value


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("null", None),
        ("true", True),
        ("12", 12),
        ("-12", -12),
        ("0x1F", 31),
        ("-0x1f", -31),
        ("9223372036854775807", 2**63 - 1),
        ("-9223372036854775808", -(2**63)),
        ("18446744073709551615u", 2**64 - 1),
        ("0xFFu", 255),
        ("1.5", 1.5),
        (".5", 0.5),
        ("1e3", 1000.0),
        ("-1.5E-3", -0.0015),
        ("'a'", "a"),
        ('"a\'b"', "a'b"),
        (r"'\a\b\f\n\r\t\v\\\?\"\'\`'", "\a\b\f\n\r\t\v\\?\"'`"),
        (r"'\x41\101\u00f1\U0001F600'", "AAñ😀"),
        (r"r'\n'", r"\n"),
        (r'r"\"', "\\"),
        ("'''a\nb'c'''", "a\nb'c"),
        ('"""a""b"""', 'a""b'),
        ("r'''\\'''", "\\"),
        ("''", ""),
        (r"b'\xff\377a'", b"\xff\xffa"),
        ("b'ñ'", "ñ".encode()),
        (r"br'\x'", rb"\x"),
        ("  1 // comment", 1),
    ],
)
def test_literals(text: str, value: object) -> None:
    found = literal(text)
    assert found == value
    assert isinstance(value, bool) is isinstance(found, bool)


@pytest.mark.parametrize(
    ("text", "message", "span"),
    [
        ("", "unexpected input '<EOF>'", (0, 0)),
        ("1 +", "unexpected input '<EOF>'", (3, 3)),
        ("a b", "unexpected input 'b'", (2, 3)),
        ("(1", "unexpected input '<EOF>'", (2, 2)),
        ("1.", "unexpected input '<EOF>'", (2, 2)),
        ("a.in", "unexpected input 'in'", (2, 4)),
        ("a.null", "unexpected input 'null'", (2, 6)),
        ("a.true", "unexpected input 'true'", (2, 6)),
        ("-!a", "unexpected input '!'", (1, 2)),
        ("a ? b ? 1 : 2 : 3", "unexpected input '?'", (6, 7)),
        ("f(1,)", "unexpected input ')'", (4, 5)),
        ("a #", "token recognition error at: '#'", (2, 3)),
        ("a & b", "token recognition error at: '&'", (2, 3)),
        ("'abc", "string literal is not terminated", (0, 1)),
        (r"'\'", "string literal is not terminated", (0, 1)),
        ("'a\nb'", "string literal is not terminated", (0, 1)),
        ('"""a"', "unexpected input '\"a\"'", (2, 5)),
        (r"'a\d'", "invalid escape sequence", (2, 5)),
        (r"'\x4'", "invalid escape sequence", (1, 5)),
        (r"'\999'", "invalid escape sequence", (1, 6)),
        (r"'\uD800'", "invalid code point", (1, 8)),
        (r"'\U00110000'", "invalid code point", (1, 12)),
        (r"b'\u00f1'", "invalid escape sequence", (2, 9)),
        ("9223372036854775808", "invalid int literal", (0, 19)),
        ("--9223372036854775808", "invalid int literal", (1, 21)),
        ("18446744073709551616u", "invalid uint literal", (0, 21)),
        ("1" * 5000, "invalid int literal", (0, 5000)),
        ("1e999", "invalid double literal", (0, 5)),
        ("for", "reserved identifier: for", (0, 3)),
        ("a + while(1)", "reserved identifier: while", (4, 9)),
        ("has(a)", "invalid argument to has() macro", (4, 5)),
        ("has(a.?b)", "invalid argument to has() macro", (4, 8)),
        ("[1].all(x.y, true)", "argument is not an identifier", (8, 11)),
        ("[1].all(x.y, z, true)", "argument must be a simple name", (8, 11)),
        ("[1].all(x, x, true)", "duplicate variable name: x", (11, 12)),
        ("cel.bind(1, 2, 3)", "argument is not an identifier", (9, 10)),
        ("a.b(){c: 1}", "unexpected input '{'", (5, 6)),
    ],
)
def test_rejected_texts_say_what_and_where(text: str, message: str, span: tuple[int, int]) -> None:
    with pytest.raises(ParseError) as caught:
        parse(text)
    (issue,) = caught.value.issues
    assert message in issue.message
    assert issue.span == span


def test_every_issue_is_reported_with_line_and_caret() -> None:
    with pytest.raises(ParseError) as caught:
        parse("for +\n  if")
    assert [issue.message for issue in caught.value.issues] == ["reserved identifier: for", "reserved identifier: if"]
    assert "ERROR: <input>:2:3: reserved identifier: if\n |   if\n | ..^" in str(caught.value)


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("1 + 2 * 3 - 4", "(1 + (2 * 3)) - 4"),
        ("a || b && c", "a || (b && c)"),
        ("a == b && c", "(a == b) && c"),
        ("!a.b", "!(a.b)"),
        ("!!a", "a"),
        ("!!!a", "!a"),
        ("--a", "a"),
        ("a-1", "a - 1"),
        ("a -1", "a - 1"),
        ("[1]-1", "[1] - 1"),
        ("a ? b : c ? d : e", "a ? b : (c ? d : e)"),
        ("a ? [?b] : {?'c': d}", "(a) ? ([?b]) : ({?'c': d})"),
        ("[1, 2,]", "[1, 2]"),
        ("{'a': 1,}", "{'a': 1}"),
        ("a.`b`", "a.b"),
        ("[1].existsOne(x, true)", "[1].exists_one(x, true)"),
        ("math.greatest(1, 2, 3)", "math.greatest([1, 2, 3])"),
    ],
)
def test_what_a_text_means(written: str, meant: str) -> None:
    left, right = parse(written).root, parse(meant).root
    assert same(left, right) or unparse(left) == unparse(right)


def test_optional_syntax() -> None:
    index = parse("a.?b[?0]").root
    assert isinstance(index, Index)
    assert index.optional
    assert isinstance(index.operand, Select)
    assert index.operand.optional
    items = parse("[?a, b]").root
    assert isinstance(items, ListLit)
    assert items.optional == {0}
    entries = parse("{?'a': b, 'c': d}").root
    assert isinstance(entries, MapLit)
    assert [entry.optional for entry in entries.entries] == [True, False]


def test_backticks_and_reserved_words_select_fields() -> None:
    for text, field in (("a.`b.c/d-e f`", "b.c/d-e f"), ("a.for", "for"), ("a.namespace", "namespace")):
        root = parse(text).root
        assert isinstance(root, Select)
        assert root.field == field


def test_macros_keep_their_parts() -> None:
    root = parse("pods.map(p, p.ready, p.name)").root
    assert isinstance(root, Macro)
    assert (root.kind, root.variables) == ("map", ("p",))
    assert [unparse(part) for part in (root.range, root.condition or root.range, root.body)] == [
        "pods",
        "p.ready",
        "p.name",
    ]


def test_a_macro_name_with_other_arguments_is_a_call() -> None:
    root = parse("a.all(1)").root
    assert isinstance(root, Call)
    assert root.function == "all"


@pytest.mark.parametrize(
    ("argument", "messages"),
    [
        ("1", ["argument must be a map literal"]),
        ("{'type': 'a', status: 'b'}", ["keys must be bare identifiers"]),
        ("{type: 'a', status: 'b', x: 'c'}", ['unknown key "x" (allowed: type, status, reason, message)']),
        ("{type: 'a', status: 'b', type: 'c'}", ['duplicate key "type"']),
        ("{reason: 'a'}", ["'type' is required", "'status' is required"]),
    ],
)
def test_conditions_are_checked_when_parsed(argument: str, messages: list[str]) -> None:
    with pytest.raises(ParseError) as caught:
        parse(f"runtime.newCondition({argument})")
    found = [issue.message for issue in caught.value.issues]
    assert len(found) == len(messages)
    for issue, message in zip(found, messages, strict=True):
        assert issue.startswith(f"runtime.newCondition: {message}")


def test_spans_cover_the_text_of_every_node() -> None:
    source = 'has(a.b) ? [1, x.f(2)][0] : "s" + {k: -v}.z'
    pieces = set()
    stack: list[Expr] = [parse(source).root]
    while stack:
        node = stack.pop()
        pieces.add(source[slice(*node.span)])
        assert node.span[0] <= node.at < node.span[1]
        stack.extend(syntax_children(node))
    assert pieces >= {"has(a.b)", "[1, x.f(2)][0]", "x.f(2)", '"s"', "{k: -v}", "-v", "{k: -v}.z", source}


def syntax_children(node: Expr) -> tuple[Expr, ...]:
    from kroasync.cel.syntax import children

    return children(node)


@pytest.mark.parametrize(
    "text",
    [
        "(" * 251 + "1" + ")" * 251,
        "[" * 5000,
        "a" + ".b" * 300,
        "a" + "[0]" * 300,
        "a ? b : " * 300 + "c",
        "a" + " == a" * 300,
        "f(" * 200 + "[" * 100 + "]" * 100 + ")" * 200,
        "a" + ".f()" * 300,
        "a" * (MAX_CODE_POINTS + 1),
    ],
)
def test_deep_or_long_texts_are_refused(text: str) -> None:
    with pytest.raises(ParseError, match="limit"):
        parse(text)


@pytest.mark.parametrize("depth", [1, 100, 240])
def test_nesting_up_to_the_limit_parses_checks_and_runs(depth: int) -> None:
    env = Env()
    assert env.program("(" * depth + "1" + ")" * depth).evaluate({}) == 1
    assert env.program("[" * depth + "]" * depth + ".size()").evaluate({}) in (0, 1)


@pytest.mark.parametrize(
    ("term", "joint", "value"), [("1", "+", 8_000), ("true", "&&", True), ("false", "||", False), ("'a'", "+", None)]
)
def test_chains_of_thousands_of_terms_parse_check_and_run(term: str, joint: str, value: object) -> None:
    found = Env().program(joint.join([term] * 8_000)[:MAX_CODE_POINTS].rstrip(joint)).evaluate({})
    assert found == value or (value is None and set(found) == {"a"})


def test_a_chain_is_a_spine_and_logic_is_flat() -> None:
    assert len(spine(parse("1 + 2 - 3 + 4").root)) == 3
    root = parse("a && b && c && d").root
    assert isinstance(root, Call)
    assert len(root.args) == 4


@pytest.mark.parametrize(
    "text",
    [
        "'" + "\\n" * 40_000,
        '"""' + '""\\' * 20_000,
        "r'" + "\\" * 50_000,
        "!" * 90_000 + "a",
        "-" * 90_000 + "1",
        "a" * 99_999,
        "`" + "a" * 90_000,
        "1" * 99_999,
        "/" * 2 + "x" * 90_000,
        "{" * 90_000,
        "1." * 40_000,
    ],
)
def test_hostile_texts_take_linear_time(text: str) -> None:
    start = time.process_time()
    with contextlib.suppress(ParseError):
        parse(text)
    assert time.process_time() - start < 2


def test_shipped_tables_are_those_of_the_installed_grammar() -> None:
    shipped = Path(parser.__file__).with_name("grammar.json").read_text("utf-8")
    assert tables.render() == shipped
    digest = json.loads(shipped)["digest"]
    assert len(digest) == 64


def test_another_grammar_is_built_afresh() -> None:
    base = parser.base_grammar()
    changed = base.replace('relation_lt    : relation "<"', 'relation_lt    : relation "<<"')
    assert parser.load_tables(base).rules != parser.load_tables(changed).rules
    assert parser.load_tables(base + "\n// another version\n") == parser.load_tables(base)


def test_parsing_imports_neither_lark_nor_celpy() -> None:
    code = (
        "import sys; from kroasync.cel import Env; Env().program('1 + 1').evaluate({});"
        "print(sorted({'lark', 'celpy', 're2'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.strip() == "[]"
