"""YAML text to objects with positions and back; errors become problems."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kroasync.model import manifests
from kroasync.model.plain_scalars import resolve_plain
from kroasync.model.problems import Problem

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False).filter(lambda x: x != int(x) or abs(x) > 2**63)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)
YAML_ISH = st.text(alphabet=" \n-:{}[],&*!|>'\"#%@abx01?<~.\t\\", max_size=120) | st.text(max_size=80)


def codes(text: str) -> list[str]:
    return [p.code for d in manifests.load(text) for p in d.problems + d.surprises]


def value(text: str) -> object:
    (document,) = manifests.load(f"x: {text}")
    assert document.problems == ()
    return document.obj["x"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1", 1),
        ("-7", -7),
        ("0777", 511),
        ("0x1F", 31),
        ("0b11", 3),
        ("0o17", 15),
        ("1_000", 1000),
        ("08", 8),
        ("1.5", 1.5),
        ("1.0", 1),
        ("1e3", 1000),
        (".5", 0.5),
        ("yes", True),
        ("Off", False),
        ("true", True),
        ("y", True),
        ("Y", True),
        ("n", False),
        ("N", False),
        ("ON", True),
        ("t", "t"),
        ("0O17", 15),
        ("-0o17", -15),
        ("0X1f", 31),
        ("0B11", 3),
        ("0o8", "0o8"),
        ("1__0", 10),
        ("0_7", 7),
        ("_1", "_1"),
        ("1_0.5", 10.5),
        (".1_0", 0.1),
        (".1__0", ".1__0"),
        ("1e_3", 1000),
        ("1e400", "1e400"),
        ("-1e400", "-1e400"),
        ("1e-400", 0),
        ("1e18", 10**18),
        ("1e19", 1e19),
        ("-0.0", 0),
        ("0x1p2", "0x1p2"),
        ("190:20:30", "190:20:30"),
        ("9223372036854775807", 2**63 - 1),
        ("9223372036854775808", float(2**63)),
        ("-9223372036854775809", float(-(2**63))),
        ("077777777777777777777777", 7.777777777777777e22),
        ("1234567890123456789.0", 1234567890123456800),
        ("~", None),
        ("", None),
        ("null", None),
        ("2001-01-01", "2001-01-01"),
        ("2001-01-01T00:00:00Z", "2001-01-01T00:00:00Z"),
        ("22:22", "22:22"),
        ("1.2.3", "1.2.3"),
        ("'1'", "1"),
        ('"yes"', "yes"),
        ("!!str 5", "5"),
        ('!!int "5"', 5),
        ("!!float 1.5", 1.5),
        ("${schema.spec.x}", "${schema.spec.x}"),
        ("18446744073709551615", float(2**64)),
        ("18446744073709551616", float(2**64)),
        ("0xfffffffffffffffffffff", "0xfffffffffffffffffffff"),
        ("|\n  a\n  b\n", "a\nb\n"),
    ],
)
def test_scalar_means_what_it_means_to_kubectl(text: str, expected: object) -> None:
    found = value(text)
    assert found == expected
    assert type(found) is type(expected)


def test_positions_are_one_based_lines_and_columns_of_keys_and_values() -> None:
    (doc,) = manifests.load("a:\n  b: 1\n  c:\n  - x\n  - {y: 2}\n", "f.yaml")
    where = doc.positions
    assert where.value(("a", "b")) == (2, 6)
    assert where.key(("a", "b")) == (2, 3)
    assert where.value(("a", "c", 0)) == (4, 5)
    assert where.key(("a", "c", 1, "y")) == (5, 6)
    assert where.value(("a", "nope")) is None
    assert where.key(("a", "c", 9)) is None


def test_nearest_position_is_the_value_of_a_scalar_and_the_key_of_a_container() -> None:
    (doc,) = manifests.load("a:\n  b: 1\n  c: [1]\n")
    assert doc.positions.nearest(("a", "b")) == (2, 6)
    assert doc.positions.nearest(("a", "c")) == (3, 3)
    assert doc.positions.nearest(("a", "missing", 3)) == (1, 1)


def test_locate_adds_file_line_and_column() -> None:
    doc = manifests.load("---\nkind: X\n---\nspec:\n  a: 1\n", "f.yaml")[1]
    found = doc.locate(Problem(code="c", message="m", path=("spec", "a")))
    assert (found.source, found.line, found.column) == ("f.yaml", 5, 6)


def test_empty_documents_are_left_out() -> None:
    docs = manifests.load("---\n---\n# nothing\n---\na: 1\n---\n")
    assert [d.obj for d in docs] == [{"a": 1}]
    assert manifests.load("") == []


def test_a_syntax_error_does_not_hide_the_documents_around_it() -> None:
    docs = manifests.load("a: 1\n---\nb: [1\n---\nc: 1\n---\n\td: 1\n---\ne: 5\n", "f.yaml")
    assert [d.obj for d in docs] == [{"a": 1}, {}, {"c": 1}, {}, {"e": 5}]
    assert [len(d.problems) for d in docs] == [0, 1, 0, 1, 0]
    assert docs[1].problems[0].line == 4
    assert docs[3].problems[0].line == 7
    assert docs[4].positions.value(("e",)) == (9, 4)


def test_every_fault_of_one_document_is_reported_with_its_place() -> None:
    text = "a: 1\na: 2\nb: !foo x\n~: c\nd: .nan\n? [k]\n: v\n"
    (doc,) = manifests.load(text, "f.yaml")
    assert [(p.code, p.line) for p in doc.problems] == [
        ("yaml-duplicate-key", 2),
        ("yaml-tag", 3),
        ("yaml-key", 4),
        ("yaml-value", 5),
        ("yaml-key", 6),
    ]
    assert str(doc.problems[0]) == 'f.yaml:2:1: error: a: duplicate key "a", first in line 1 [yaml-duplicate-key]'


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("a: \x00", "yaml-syntax"),
        ("a: \x1b[0m", "yaml-syntax"),
        ("a: \ud800", "yaml-syntax"),
        ("- 1", "yaml-document"),
        ("just text", "yaml-document"),
        ("on: 1", "yaml-key"),
        ("9223372036854775808: 1", "yaml-key"),
        ("~: 1", "yaml-key"),
        ("a: *b", "yaml-syntax"),
        ("a: &a {b: *a}", "yaml-syntax"),
        ("<<: 1", "yaml-value"),
        ("a: !!python/object:x {}", "yaml-tag"),
        ("a: !!set {}", "yaml-tag"),
        ("a: !!int x", "yaml-value"),
        ("a: -.inf", "yaml-value"),
        ("a: 1e999", "yaml-ambiguous"),
        ("a: " + "9" * 5000, "yaml-ambiguous"),
        ("%YAML 3.0\n---\na: 1", "yaml-syntax"),
        ("a: " + "x" * (manifests.MAX_BYTES + 1), "yaml-limit"),
        ("a: " + "[" * 100_000, "yaml-limit"),
        ("a: " + "{a: " * 10_000, "yaml-limit"),
        ("- " * 10_000, "yaml-limit"),
        ("? " * 10_000, "yaml-limit"),
        ("a: &b " + "[" * 150 + "]" * 150 + "\nc: " + "[" * 150 + "*b" + "]" * 150, "yaml-limit"),
    ],
)
def test_bad_text_is_a_problem(text: str, code: str) -> None:
    assert code in codes(text)


def test_alias_bomb_is_refused() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 20)]
    assert codes("\n".join(lines)) == ["yaml-limit"]


def test_aliases_and_merge_keys_expand_and_the_keys_after_them_win() -> None:
    (doc,) = manifests.load("base: &b {v: 1, w: 2}\nc: {<<: *b, w: 3}\nd: *b\ne: {<<: [{z: 0, v: 5}, *b], w: 9}\n")
    assert doc.problems == ()
    assert doc.obj["c"] == {"v": 1, "w": 3}
    assert doc.obj["d"] == {"v": 1, "w": 2}
    assert doc.obj["e"] == {"z": 0, "v": 5, "w": 9}
    assert doc.positions.value(("c", "v")) == (1, 14)


def test_a_merge_key_replaces_the_keys_before_it_and_says_so() -> None:
    (doc,) = manifests.load("a:\n  v: 2\n  same: 1\n  <<: {v: 1, same: 1}\n  <<: {v: 3}\n")
    assert doc.obj == {"a": {"v": 3, "same": 1}}
    assert [str(problem) for problem in doc.problems] == [
        '<text>:4:3: warning: a: merge key << replaces "v" of line 2: write << before it [yaml-merge]',
        '<text>:5:3: warning: a: merge key << replaces "v" of line 2: write << before it [yaml-merge]',
    ]


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("y", "true"),
        ("Off", "false"),
        ("true", "true"),
        ("8080", "8080"),
        ("010", "8"),
        ("1_0", "10"),
        ("1.10", "1.1"),
        ("1.0", "1"),
        ("1e3", "1000"),
        ("123456.0", "123456"),
        ("1234567.0", "1.234567e+06"),
        ("0.0001", "0.0001"),
        ("0.00001", "1e-05"),
        ("1e300", ".inf"),
        ("-.inf", "-.inf"),
        ("18446744073709551616", "1.8446744e+19"),
        ("2001-01-01", "2001-01-01"),
        ("'y'", "y"),
        ("!!str y", "y"),
        ("*a ", "true"),
    ],
)
def test_a_key_is_the_text_that_kubectl_makes_of_it(text: str, key: str) -> None:
    (doc,) = manifests.load(f"- &a y\n- {text}: 1\n".replace("- ", "a: ", 1).replace("- ", "b:\n  ", 1))
    assert doc.obj["b"] == {key: 1}
    assert doc.positions.value(("b", key)) is not None
    assert [p.code for p in doc.problems if p.path == ("b",)] == ["yaml-key"] * (
        text.strip("'") not in (key, "!!str y")
    )


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ("y", "the boolean true"),
        ("N", "the boolean false"),
        ("1_0", "the number 10"),
        ("9223372036854775808", "the number 9.223372036854776e+18"),
        ("1e400", "text, since no number is so large"),
        ("0xfffffffffffffffffffff", "text, since no number is so large"),
    ],
)
def test_a_scalar_that_may_surprise_is_a_warning(text: str, read: str) -> None:
    (doc,) = manifests.load(f"a: [{text}, '{text}', !!str {text}]")
    assert doc.problems == ()
    assert [str(problem) for problem in doc.surprises] == [
        f"<text>:1:5: warning: a[0]: unquoted {text} is read as {read}: quote text [yaml-ambiguous]"
    ]


@pytest.mark.parametrize(
    "text", ["yes", "true", "0644", "0o17", "1.10", "1e3", "x", "2001-01-01", "1:30", "~", "-", "''"]
)
def test_scalars_that_are_what_they_look_like_are_no_warning(text: str) -> None:
    assert codes(f"a: {text}" if text != "-" else "a: '-'") == []


def test_warnings_do_not_displace_errors() -> None:
    assert codes("a: [" + "y, " * 200 + "]\nb: .nan")[:2] == ["yaml-value", "yaml-ambiguous"]


def test_json_with_surrogate_pairs_and_tabs_is_read() -> None:
    (doc,) = manifests.load('{\n\t"a": "\\ud83d\\ude00",\n\t"b": [1.5, null]\n}')
    assert doc.problems == ()
    assert doc.obj == {"a": "\N{GRINNING FACE}", "b": [1.5, None]}


def test_large_texts_are_fine() -> None:
    (doc,) = manifests.load("a: |\n" + "  some text\n" * 100_000)
    assert doc.problems == ()
    assert len(doc.obj["a"]) == 1_000_000


def test_dump_keeps_order_and_writes_text_as_blocks() -> None:
    obj = {"b": "x\ny\n", "a": ["1", 1, None, True], "c": {}, "d": "yes", "e": "${a.b}"}
    assert manifests.dump(obj) == ('b: |\n  x\n  y\na:\n- "1"\n- 1\n- null\n- true\nc: {}\nd: "yes"\ne: ${a.b}\n')


@pytest.mark.parametrize("text", ["y", "N", "on", "0777", "1e3", "1_0", "1:30", "2001-01-01", "~", "=", "<<", "0o7"])
def test_dump_quotes_what_any_yaml_reader_could_misread(text: str) -> None:
    assert manifests.dump({"a": text}).strip() in (f'a: "{text}"', f"a: '{text}'")


def test_dump_all_separates_documents() -> None:
    text = manifests.dump_all([{"a": 1}, {"b": 2}])
    assert [d.obj for d in manifests.load(text)] == [{"a": 1}, {"b": 2}]


@given(st.dictionaries(st.text(), JSON, max_size=5))
@settings(max_examples=150, deadline=None)
def test_what_is_dumped_loads_as_the_same(obj: dict[str, object]) -> None:
    (doc,) = manifests.load(manifests.dump(obj))
    assert doc.problems == ()
    assert doc.obj == obj


@given(YAML_ISH)
@settings(max_examples=400, deadline=None)
def test_any_text_gives_objects_or_located_problems(text: str) -> None:
    for doc in manifests.load(text, "f"):
        assert isinstance(doc.obj, dict)
        for problem in doc.problems:
            assert problem.source == "f"
            assert problem.line is not None
            assert problem.line >= 1


def test_numbers_of_plain_text_are_finite_or_refused() -> None:
    infinite = resolve_plain(".inf")
    assert isinstance(infinite, float)
    assert math.isinf(infinite)
    assert codes("a: .inf") == ["yaml-value"]


def test_bytes_that_are_not_utf_8_are_named_once() -> None:
    text = b"a: 1\nb: x\xff\xfe\xfd\n".decode("utf-8", errors="surrogateescape")
    (doc,) = manifests.load(text, "f")
    assert [str(problem) for problem in doc.problems] == [
        "f:2:5: error: the text is not UTF-8: found byte 0xFF [yaml-syntax]"
    ]


def opened(text: str) -> list[manifests.Document]:
    return manifests.load_objects([manifests.Text("f", text)])


@pytest.mark.parametrize(
    ("text", "objects"),
    [
        ("{kind: List, apiVersion: v1, items: [{kind: A}, {kind: B}]}", [{"kind": "A"}, {"kind": "B"}]),
        ("{kind: List, items: []}", []),
        ("{kind: List, items: [{kind: List, items: [{kind: A}]}, {kind: B}]}", [{"kind": "A"}, {"kind": "B"}]),
        (
            "{kind: WebList, apiVersion: kro.run/v1, items: [{spec: {}}, {kind: B, apiVersion: v1}]}",
            [{"spec": {}, "apiVersion": "kro.run/v1", "kind": "Web"}, {"kind": "B", "apiVersion": "v1"}],
        ),
        # An object of a kind that is only called so.
        ("{kind: PriceList, spec: {items: []}}", [{"kind": "PriceList", "spec": {"items": []}}]),
        ("{kind: ConfigMap, items: [1]}", [{"kind": "ConfigMap", "items": [1]}]),
    ],
)
def test_lists_are_opened_as_kubectl_opens_them(text: str, objects: list[object]) -> None:
    assert [doc.obj for doc in opened(text)] == objects


def test_items_of_a_list_have_their_own_places_and_problems() -> None:
    docs = opened("kind: List\nitems:\n- {kind: A, b: y}\n- 5\n-\n  kind: B\n  c: 1\n  c: 2\n")
    assert [doc.obj for doc in docs] == [{"kind": "A", "b": True}, {"kind": "B", "c": 2}, {}]
    assert [str(problem).removeprefix("f:") for doc in docs for problem in doc.surprises + doc.problems] == [
        "3:16: warning: b: unquoted y is read as the boolean true: quote text [yaml-ambiguous]",
        '8:3: error: c: duplicate key "c", first in line 7 [yaml-duplicate-key]',
        "4:3: error: items[1]: expected an object, found a number [yaml-document]",
    ]
    assert docs[1].locate(Problem(code="c", message="m", path=("kind",))).line == 6
    assert docs[1].locate(Problem(code="c", message="m", path=("absent",))).line == 6


@pytest.mark.parametrize(
    "text",
    [
        "kind: X\nmetadata:\n  namespace: {{ .Release.Namespace }}\n",
        "{{- if .Values.enabled }}\nkind: X\n{{- end }}\n",
        'kind: X\nmetadata:\n  name: {{ include "web.name" . }}\n',
        "kind: X\nspec:\n  {{- toYaml .Values.spec | nindent 2 }}\n",
        "{{/* a comment */}}\nkind: X\n---\nkind: Y\n",
        'kind: X\nmetadata:\n  name: "{{ .Release.Name }}-x"\n',
        "kind: X\nmetadata:\n  name: x\n  namespace: '{{ $.Release.Namespace }}'\n",
        "kind: X\nspec: {{$x}}\n---\nkind: Y\n",
    ],
)
def test_a_helm_template_is_named_so_and_is_an_error_if_it_is_a_definition(text: str) -> None:
    (doc,) = manifests.load(text)
    assert doc.obj == {}
    (problem,) = doc.problems
    place = text[: text.index("{{")]
    line, column = place.count("\n") + 1, len(place) - place.rfind("\n")
    assert (problem.code, problem.severity, problem.line, problem.column) == ("helm-template", "warning", line, column)
    (doc,) = manifests.load(text.replace("X", "ResourceGroup"))
    assert [problem.severity for problem in doc.problems] == ["error"]


@pytest.mark.parametrize("text", ['a: ${{"k": 1}}\nb: [', "a: {{x: 1}: 2}", "a: [\nb: {{ x }}"])
def test_other_braces_are_no_helm_template(text: str) -> None:
    assert "helm-template" not in codes(text)


@pytest.mark.parametrize(
    "value",
    [
        '"{{ $labels.pod }} is down"',
        "'{{ $labels.pod }}'",
        "pod {{ $labels.pod }} is down",
        "|\n  pod {{ $labels.pod }}",
    ],
)
def test_braces_inside_of_text_hide_no_other_fault(value: str) -> None:
    assert codes(f"a: {value}\nb: 1\nb: 2\n") == ["yaml-duplicate-key"]


def test_braces_in_readable_yaml_are_no_helm_template() -> None:
    assert codes('a: "{{ .Values.x }}"') == []
    assert codes('kind: X\nmetadata: {name: a, annotations: {text: "{{ .Values.x }}"}}') == []
    assert codes("kind: X\nmetadata: {name: '${{\"a\": 1}.a}'}") == []
