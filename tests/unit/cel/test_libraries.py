"""The library tables: the example of every row is true, checked and unchecked, and the reference is current."""

from pathlib import Path

import pytest

from kroasync.cel import Env, Library, MacroDoc, Overload, function_pages
from kroasync.cel.decls import SignatureError, parse_signature, parse_type
from kroasync.cel.lib import ALL_LIBRARIES, KRO_LIBRARIES

ENV = Env(libraries=ALL_LIBRARIES)
DOCS = Path(__file__).parents[3] / "docs" / "cel.md"


@pytest.mark.parametrize("library", ALL_LIBRARIES, ids=lambda library: library.name)
@pytest.mark.parametrize("check", [True, False], ids=["checked", "unchecked"])
def test_every_example_is_true(library: Library, check: bool) -> None:
    rows: list[Overload | MacroDoc] = [*library.overloads, *library.macros]
    assert rows
    for row in rows:
        program = ENV.program(row.example, check=check)
        assert program.evaluate({}) is True, row.signature


@pytest.mark.parametrize("library", KRO_LIBRARIES, ids=lambda library: library.name)
def test_examples_of_kros_functions_need_only_kros_libraries(library: Library) -> None:
    for row in library.overloads:
        assert Env().program(row.example).evaluate({}) is True, row.signature


def test_no_two_rows_have_the_same_signature() -> None:
    rows = [row.signature for library in ALL_LIBRARIES for row in library.overloads]
    assert len(rows) == len(set(rows))


def test_extras_are_marked() -> None:
    extra = {library.name for library in ALL_LIBRARIES} - {library.name for library in KRO_LIBRARIES}
    assert {library.name for library in ALL_LIBRARIES for row in library.overloads if row.extra} == extra


def test_the_committed_reference_is_current() -> None:
    assert DOCS.read_text("utf-8") == function_pages.render()


@pytest.mark.parametrize(
    ("text", "function", "params", "result", "member"),
    [
        ("string.charAt(int) string", "charAt", ["string", "int"], "string", True),
        ("lists.range(int) list(int)", "lists.range", ["int"], "list(int)", False),
        ("list(A).slice(int, int) list(A)", "slice", ["list(A)", "int", "int"], "list(A)", True),
        ("map(K, V).merge(map(K,V)) map(K, V)", "merge", ["map(K, V)", "map(K, V)"], "map(K, V)", True),
        ("optional.none() optional(A)", "optional.none", [], "optional_type(A)", False),
        ("optional(A).value() A", "value", ["optional_type(A)"], "A", True),
        ("_+_(int, int) int", "_+_", ["int", "int"], "int", False),
        ("_[_](map(A, B), A) B", "_[_]", ["map(A, B)", "A"], "B", False),
        ("type(A) type(A)", "type", ["A"], "type(A)", False),
        ("f(list) map", "f", ["list(dyn)"], "map(dyn, dyn)", False),
    ],
)
def test_signatures(text: str, function: str, params: list[str], result: str, member: bool) -> None:
    signature = parse_signature(text)
    assert signature.function == function
    assert [str(param) for param in signature.params] == params
    assert str(signature.result) == result
    assert signature.member is member


@pytest.mark.parametrize(
    "text", ["f", "f(int)", "f(int int", "f(foo) int", "f(list(int) int", "f() bar", "f() list(int, int)"]
)
def test_malformed_signatures_are_bugs(text: str) -> None:
    with pytest.raises(SignatureError):
        parse_signature(text)


def test_malformed_types_are_bugs() -> None:
    with pytest.raises(SignatureError):
        parse_type("list(int) x")
