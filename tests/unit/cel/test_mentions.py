"""The names that an expression refers to, found without types."""

import pytest

from kroasync.cel import Env, find_mentions
from kroasync.cel.check.mentions import read_paths

ENV = Env()
KNOWN = {"schema", "each", "runtime", "random", "configs", "instances", "pods", "deployment", "json", "i"}


def references(text: str) -> dict[str, set[str]]:
    found = find_mentions(ENV.parse(text), KNOWN, ENV)
    return {name: {".".join(path) for path in paths} for name, paths in found.references.items()}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1 + 2", {}),
        ("deployment.status.x", {"deployment": {"status.x"}}),
        ("deployment['status'].x == schema.spec.y", {"deployment": {"status.x"}, "schema": {"spec.y"}}),
        ("deployment.list[0].name", {"deployment": {"list.*.name"}}),
        ("deployment.list[schema.spec.n]", {"deployment": {"list.*"}, "schema": {"spec.n"}}),
        ("deployment.?a[?'b']", {"deployment": {"a.b"}}),
        ("has(deployment.a)", {"deployment": {"a"}}),
        ("size(pods)", {"pods": {""}}),
        # a namespaced function is not a reference, but a resource with that name is
        ("json.marshal(deployment)", {"deployment": {""}}),
        ("random.seededInt(0, 1, 's') > 0", {}),
        ("random.status.x == 'y' && random.seededString(5, 's') != ''", {"random": {"status.x"}}),
        ("random.unknown(1)", {"random": {""}}),
        # loop variables are local in the body, the range is not
        ("configs.sortBy(c, c.data.priority).map(c, c.metadata.name)", {"configs": {"", "*.data.priority"}}),
        ("i.status == 'ready' && instances.filter(i, i.ok).size() > 0", {"i": {"status"}, "instances": {"", "*.ok"}}),
        ("pods.map(pods, pods.name)", {"pods": {"", "*.name"}}),
        ("pods.all(k, v, v.ready)", {"pods": {"", "*.ready"}}),
        ("[1].map(pods, pods + 1)", {}),
        ("[1].map(pods, .pods)", {"pods": {""}}),
        ("cel.bind(a, deployment.spec, cel.bind(b, a.x, b.y))", {"deployment": {"spec", "spec.x", "spec.x.y"}}),
        ("deployment.?spec.optMap(s, s.x)", {"deployment": {"spec", "spec.x"}}),
        ("runtime.newCondition({type: 'a', status: schema.spec.s})", {"schema": {"spec.s"}}),
        ("runtime.condition(deployment, 'Up').status", {"deployment": {""}}),
    ],
)
def test_references(text: str, expected: dict[str, set[str]]) -> None:
    assert references(text) == expected


@pytest.mark.parametrize(
    ("text", "identifiers", "functions"),
    [
        ("unknown.method(1)", ("unknown",), ()),
        ("zzz + yyy.a", ("yyy", "zzz"), ()),
        ("foo(1) + bar(2) + size([])", (), ("bar", "foo")),
        ("deployment.foo(1)", (), ()),
        ("type(1) == int && type(ip('10.0.0.1')) == net.IP", (), ()),
        ("[1].map(x, x + y)", ("y",), ()),
        ("!a && -b > 1 || c in d ? e : f[g]", ("a", "b", "c", "d", "e", "f", "g"), ()),
        ("1 + 2 - 3 * 4 / 5 % 6 == 7 && 1 <= 2 && 1 >= 2 && 1 < 2 && 1 > 2 && 1 != 2", (), ()),
        ("has(schema.a) || [?x.?y] == {?'a': z}", ("x", "z"), ()),
    ],
)
def test_unknown_names(text: str, identifiers: tuple[str, ...], functions: tuple[str, ...]) -> None:
    found = find_mentions(ENV.parse(text), KNOWN, ENV)
    assert found.unknown_identifiers == identifiers
    assert found.unknown_functions == functions


@pytest.mark.parametrize(
    ("text", "uses"), [("omit()", True), ("true ? 1 : [omit()]", True), ("omit", False), ("x.omit()", False)]
)
def test_omit_is_found_anywhere(text: str, uses: bool) -> None:
    assert find_mentions(ENV.parse(text), KNOWN, ENV).uses_omit is uses


def test_reads_of_an_unchecked_program_cover_everything() -> None:
    assert ENV.program("a.b.c + a.b + d['e'].f", check=False).reads == {("a", "b"), ("d", "e", "f")}
    assert read_paths(ENV.parse("math.least(a.b)"), lambda name: name == "math.least") == {("a", "b")}


def test_long_chains_are_inspected_without_recursion() -> None:
    text = " + ".join(["schema.spec.a"] * 5000)
    assert find_mentions(ENV.parse(text), KNOWN, ENV).references == {"schema": (("spec", "a"),)}
