"""The conformance tests of the CEL specification (cel.dev/expr, the version in the go.mod of this folder).

The files are in Go's module cache, which `go mod download` fills if necessary. The rules below leave out those of the
2,508 tests that need protobuf messages, enums, containers, dotted variables or functions that the test declares. All
others must give the specified value, error and deduced type, except where cel-go (and so kro) gives another answer.
"""

import json
import math
import re
import shutil
import subprocess
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from kroasync.cel import CelError, Env, ParseError
from kroasync.cel import types as t
from kroasync.cel.lib import ALL_LIBRARIES
from kroasync.cel.syntax import StructLit, walk
from kroasync.cel.types import Type
from kroasync.cel.values import Duration, Timestamp, TypeValue, UInt, to_key

# Whole files about protobuf or about features of a host.
FILES_LEFT_OUT = {
    "block_ext": "cel.@block is an optimiser's form",
    "dynamic": "conversion between protobuf's dynamic types",
    "enums": "protobuf enums",
    "namespace": "containers and dotted variables",
    "proto2": "protobuf messages",
    "proto2_ext": "protobuf extensions",
    "proto3": "protobuf messages",
    "unknowns": "no tests",
    "wrappers": "protobuf wrapper types",
}
# Single tests of the other files, by reason.
TESTS_LEFT_OUT = {
    "container": 84,
    "struct literal": 37,
    "message type": 14,
    "dotted variable": 5,
    "own function": 5,
}
TOTAL = 1744

# The results of cel-go 0.31 with kro's libraries that differ from the specification; None stands for an error.
CEL_GO_ANSWERS: dict[str, Any] = {
    # The last of equal keys in a literal wins.
    "fields/qualified_identifier_resolution/map_value_repeat_key": 3,
    # Kubernetes rejects IPv4-mapped addresses.
    "network_ext/ipv4/ipv4_equals_ipv6": None,
    "network_ext/ipv4/ipv4_not_equals_ipv6": None,
    # In an optional chain, a field of a value that is not a map is none.
    "optionals/optionals/map_null_entry_no_such_key": False,
    "optionals/optionals/map_present_key_invalid_field": False,
    # A search that starts after the end finds nothing.
    "string_ext/value_errors/indexof_out_of_range": True,
    "string_ext/value_errors/lastindexof_out_of_range": True,
    # All milliseconds of a duration, not only those of its last second.
    "timestamps/duration_converters/get_milliseconds": 123_321,
}

HERE = Path(__file__).parent
FILES = (
    *("basic", "bindings_ext", "comparisons", "conversions", "encoders_ext", "fields", "fp_math", "integer_math"),
    *("lists", "lists_ext", "logic", "macros", "macros2", "math_ext", "network_ext", "optionals", "parse"),
    *("plumbing", "string", "string_ext", "timestamps", "type_deduction"),
)
BASE = Env(libraries=ALL_LIBRARIES)


class LeftOutError(Exception):
    """A test outside the JSON profile."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One test; `fails` if an error is expected."""

    name: str
    expression: str
    variables: dict[str, Type]
    bindings: dict[str, Any]
    expected: Any
    fails: bool
    checked: bool
    check_only: bool
    deduced: Type | None


# Text format of protobuf, read without a schema: a message becomes a dict from field names to lists of values. Strings
# stay bytes, because only the schema knows which of them are text; names (enum values, true, inf) become str.

Message = dict[str, list[Any]]

_TOKEN = re.compile(
    r"""(?P<skip>(?:\s|\#[^\n]*)+)
      | (?P<string>"(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*')
      | (?P<number>-?(?:0x[0-9a-fA-F]+|(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)f?(?![\w.]))
      | (?P<name>-?[A-Za-z_][\w.]*|\[[\w./]+\])
      | (?P<sign>[{}<>:,;\[\]])""",
    re.VERBOSE,
)
_ESCAPE = re.compile(rb"\\(?:([abfnrtv\\'\"?])|x([0-9a-fA-F]{1,2})|([0-7]{1,3})|u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8}))")
_SIMPLE = dict(zip(b"abfnrtv\\'\"?", b"\a\b\f\n\r\t\v\\'\"?", strict=True))


def read_message(text: str) -> Message:
    """The message in a file."""
    tokens = []
    position = 0
    while position < len(text):
        match = _TOKEN.match(text, position)
        if match is None:
            raise ValueError(f"unexpected text at {position}: {text[position : position + 20]!r}")
        if match.lastgroup != "skip":
            tokens.append((str(match.lastgroup), match.group()))
        position = match.end()
    tokens.append(("sign", ""))
    message, _ = _fields(tokens, 0, "")
    return message


def _fields(tokens: list[tuple[str, str]], at: int, end: str) -> tuple[Message, int]:
    message: Message = {}
    while tokens[at] != ("sign", end):
        kind, name = tokens[at]
        if kind != "name":
            raise ValueError(f"field name expected, found {name!r}")
        at += 1
        if tokens[at] == ("sign", ":"):
            at += 1
        values = message.setdefault(name, [])
        if tokens[at] == ("sign", "["):
            at += 1
            while tokens[at] != ("sign", "]"):
                value, at = _value(tokens, at)
                values.append(value)
                at += tokens[at] == ("sign", ",")
            at += 1
        else:
            value, at = _value(tokens, at)
            values.append(value)
        at += tokens[at] in (("sign", ","), ("sign", ";"))
    return message, at + 1


def _value(tokens: list[tuple[str, str]], at: int) -> tuple[Any, int]:
    kind, text = tokens[at]
    if (kind, text) in (("sign", "{"), ("sign", "<")):
        return _fields(tokens, at + 1, "}" if text == "{" else ">")
    if kind == "number":
        return _number(text), at + 1
    if kind == "name":
        return text, at + 1
    parts = []
    while tokens[at][0] == "string":
        parts.append(_unescape(tokens[at][1][1:-1].encode()))
        at += 1
    if not parts:
        raise ValueError(f"value expected, found {text!r}")
    return b"".join(parts), at


def _number(text: str) -> int | float:
    text = text.removesuffix("f") if not text.startswith(("0x", "-0x")) else text
    try:
        return int(text, 0)
    except ValueError:
        return float(text)


def _unescape(body: bytes) -> bytes:
    def char(match: re.Match[bytes]) -> bytes:
        simple, hexadecimal, octal, short, long = match.groups()
        if simple:
            return bytes((_SIMPLE[simple[0]],))
        if hexadecimal or octal:
            return bytes((int(hexadecimal, 16) if hexadecimal else int(octal, 8),))
        return chr(int(short or long, 16)).encode()

    return _ESCAPE.sub(char, body)


# From messages to cases


def one(message: Message, name: str) -> Any:
    (value,) = message[name]
    return value


def text(message: Message, name: str) -> str:
    return str(one(message, name).decode())


def value_of(message: Message) -> Any:
    """A cel.expr.Value."""
    ((kind, (content,)),) = message.items()
    match kind:
        case "null_value":
            return None
        case "bool_value":
            return content == "true"
        case "int64_value":
            return int(content)
        case "uint64_value":
            return UInt(content)
        case "double_value":
            return float(content)
        case "string_value":
            return content.decode()
        case "bytes_value":
            return content
        case "list_value":
            return [value_of(item) for item in content.get("values", [])]
        case "map_value":
            entries = content.get("entries", [])
            return {to_key(value_of(one(entry, "key"))): value_of(one(entry, "value")) for entry in entries}
        case "type_value" if content.decode() in BASE.type_names:
            return TypeValue(BASE.type_names[content.decode()])
        case "object_value":
            ((url, (body,)),) = content.items()
            ns = int(body.get("seconds", [0])[0]) * 10**9 + int(body.get("nanos", [0])[0])
            if url.endswith("/google.protobuf.Timestamp]"):
                return Timestamp(ns)
            if url.endswith("/google.protobuf.Duration]"):
                return Duration(ns)
    raise LeftOutError("message type")


PRIMITIVES = {
    "BOOL": t.BOOL,
    "INT64": t.INT,
    "UINT64": t.UINT,
    "DOUBLE": t.DOUBLE,
    "STRING": t.STRING,
    "BYTES": t.BYTES,
    "TIMESTAMP": t.TIMESTAMP,
    "DURATION": t.DURATION,
    b"google.protobuf.Timestamp": t.TIMESTAMP,
    b"google.protobuf.Duration": t.DURATION,
}


def type_of(message: Message) -> Type:
    """A cel.expr.Type."""
    ((kind, (content,)),) = message.items()
    match kind:
        case "primitive" | "well_known" | "message_type" if content in PRIMITIVES:
            return PRIMITIVES[content]
        case "list_type":
            return t.list_of(type_of(one(content, "elem_type")))
        case "map_type":
            return t.map_of(type_of(one(content, "key_type")), type_of(one(content, "value_type")))
        case "dyn":
            return t.DYN
        case "null":
            return t.NULL
        case "type":
            return t.type_of(type_of(content) if content else t.DYN)
        case "abstract_type" if text(content, "name") == "optional_type":
            return t.optional_of(type_of(one(content, "parameter_types")))
    raise LeftOutError("message type")


def case_of(name: str, test: Message) -> Case:
    """A cel.expr.conformance.test.SimpleTest; raises LeftOutError."""
    if "container" in test:
        raise LeftOutError("container")
    variables: dict[str, Type] = {}
    for declared in test.get("type_env", []):
        if "function" in declared:
            raise LeftOutError("own function")
        variables[undotted(text(declared, "name"))] = type_of(one(one(declared, "ident"), "type"))
    bindings = {
        undotted(text(binding, "key")): value_of(one(one(binding, "value"), "value"))
        for binding in test.get("bindings", [])
    }
    expression = text(test, "expr")
    if has_struct(expression):
        raise LeftOutError("struct literal")
    typed = test.get("typed_result", [{}])[0]
    expected = test.get("value") or typed.get("result")
    return Case(
        name=name,
        expression=expression,
        variables=variables,
        bindings=bindings,
        expected=value_of(expected[0]) if expected else True,
        fails="eval_error" in test or "any_eval_errors" in test,
        checked=test.get("disable_check") != ["true"],
        check_only="check_only" in test,
        deduced=type_of(one(typed, "deduced_type")) if "deduced_type" in typed else None,
    )


def undotted(name: str) -> str:
    if "." in name:
        raise LeftOutError("dotted variable")
    return name


def has_struct(expression: str) -> bool:
    """True for expressions that make messages."""
    try:
        nodes = walk(BASE.parse(expression).root)
    except ParseError:
        return False
    return any(isinstance(node, StructLit) for node in nodes)


def same(found: Any, expected: Any) -> bool:
    """Equality of type and value; NaN equals NaN."""
    if type(found) is not type(expected):
        return False
    if isinstance(found, float):
        return found == expected or (math.isnan(found) and math.isnan(expected))
    if isinstance(found, list):
        return len(found) == len(expected) and all(map(same, found, expected))
    if isinstance(found, dict):
        return found.keys() == expected.keys() and all(same(found[key], expected[key]) for key in found)
    return bool(found == expected)


@pytest.fixture(scope="module")
def messages() -> dict[str, Message]:
    """Every test file of the module in Go's cache, downloaded if missing."""
    go = shutil.which("go")
    if go is None:
        pytest.skip("needs Go, whose module cache holds the tests")
    command = [go, "mod", "download", "-json", "cel.dev/expr"]
    done = subprocess.run(command, cwd=HERE, capture_output=True, text=True, check=True, timeout=120)
    folder = Path(json.loads(done.stdout)["Dir"], "tests", "simple", "testdata")
    return {path.stem: read_message(path.read_text("utf-8")) for path in sorted(folder.glob("*.textproto"))}


def cases_of(file: str, message: Message) -> tuple[list[Case], Counter[str]]:
    """The cases of a file, and how many were left out for which reason."""
    cases: list[Case] = []
    left_out: Counter[str] = Counter()
    for section in message.get("section", []):
        for test in section.get("test", []):
            name = f"{file}/{text(section, 'name')}/{text(test, 'name')}"
            try:
                cases.append(case_of(name, test))
            except LeftOutError as reason:
                left_out[str(reason)] += 1
    return cases, left_out


def problem(case: Case, *, check: bool) -> str | None:
    """The error in our answer to a case; None if the answer is right."""
    env = BASE.extend(variables=case.variables)
    expected, fails = case.expected, case.fails
    if case.name in CEL_GO_ANSWERS:
        expected = CEL_GO_ANSWERS[case.name]
        fails = expected is None
    try:
        program = env.program(case.expression, check=check and case.checked)
        if check and case.deduced is not None and str(program.result_type) != str(case.deduced):
            return f"{case.name}: {case.expression}: deduced {program.result_type}, expected {case.deduced}"
        if case.check_only:
            return None
        found = program.evaluate(case.bindings)
    except CelError as error:
        return None if fails else f"{case.name}: {case.expression}: {error!r}"
    if fails or not same(found, expected):
        return f"{case.name}: {case.expression}: {found!r}, expected {'an error' if fails else expected!r}"
    return None


@pytest.mark.parametrize("check", [True, False], ids=["checked", "unchecked"])
@pytest.mark.parametrize("file", FILES)
def test_every_case_of_the_json_profile_has_the_specified_answer(
    messages: dict[str, Message], file: str, check: bool
) -> None:
    cases, _ = cases_of(file, messages[file])
    problems = [found for case in cases if (found := problem(case, check=check))]
    assert not problems, "\n".join(problems)


def test_what_is_left_out_is_exactly_what_the_tables_say(messages: dict[str, Message]) -> None:
    assert {*FILES, *FILES_LEFT_OUT} == set(messages)
    left_out: Counter[str] = Counter()
    # Three names are used twice.
    names: list[str] = []
    deduced = 0
    for file in FILES:
        cases, more = cases_of(file, messages[file])
        left_out += more
        names.extend(case.name for case in cases)
        deduced += sum(case.deduced is not None for case in cases)
    assert dict(left_out) == TESTS_LEFT_OUT
    assert len(names) == TOTAL
    assert set(CEL_GO_ANSWERS) <= set(names)
    print(f"\n{TOTAL - len(CEL_GO_ANSWERS)} of {TOTAL} as specified, {len(CEL_GO_ANSWERS)} as in cel-go;")
    print(f"{deduced} with a deduced type; left out: {dict(left_out)}")
