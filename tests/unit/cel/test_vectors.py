"""All 488 vectors: the type, value or class of error of the Go runtime with the libraries of kro."""

import base64
import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from kroasync.cel import CelError, CheckError, ConversionError, Env, EvalError, ParseError, PendingError, to_json
from kroasync.cel.lib import ALL_LIBRARIES
from kroasync.cel.values import map_keys, type_of_value

ROWS = [
    json.loads(line)
    for line in (Path(__file__).parents[2] / "data" / "cel-vectors.jsonl").read_text("utf-8").splitlines()
]
ENV = Env(libraries=ALL_LIBRARIES)
# For kro, an error with one of these texts means that data is missing yet.
PENDING = ("no such key", "no such field", "no such attribute", "index out of bounds")
# The vectors were made without the variable `runtime`. The macro needs the variable there, but not here.
WITHOUT_RUNTIME = "no such attribute(s): runtime"


def outcome(expression: str) -> tuple[str, str, Any, str]:
    """(kind of outcome, static type, value in JSON, kind of the value)."""
    try:
        program = ENV.program(expression)
    except (ParseError, CheckError):
        return "compile_error", "", None, ""
    try:
        value = program.evaluate({})
    except EvalError as error:
        return "pending" if isinstance(error, PendingError) else "runtime_error", str(program.result_type), None, ""
    return "value", str(program.result_type), shown(value), type_of_value(value).kind


def shown(value: Any) -> Any:
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    if isinstance(value, dict) and not all(isinstance(key, str) for key in value):
        return f"map[{' '.join(f'{key}:{value[key]}' for key in map_keys(value))}]"
    try:
        return to_json(value)
    except ConversionError:
        return str(value)


def expected(row: dict[str, Any]) -> tuple[str, str, Any, str]:
    if "compile_error" in row:
        return "compile_error", "", None, ""
    if "runtime_error" in row:
        pending = any(text in row["runtime_error"] for text in PENDING)
        return "pending" if pending else "runtime_error", row["type"], None, ""
    kind = row["kind"].split(" ")[0]
    simple = {"optional_type": "optional", "null_type": "null"}.get(kind, kind)
    opaque = simple[0].isupper() or "." in simple
    return "value", row["type"], row["value"], "opaque" if opaque else simple


@pytest.mark.parametrize("library", sorted({row["library"] for row in ROWS}))
def test_vectors_of_a_library(library: str) -> None:
    wrong = []
    for row in ROWS:
        if row["library"] != library or row.get("runtime_error") == WITHOUT_RUNTIME:
            continue
        found, wanted = outcome(row["expr"]), expected(row)
        if found[:3] != wanted[:3] or (wanted[3] != "opaque" and found[3] != wanted[3]):
            wrong.append(f"{row['expr']}: {found}, expected {wanted}")
    assert not wrong, "\n".join(wrong)


def test_conditions_need_no_variable_here() -> None:
    rows = [row for row in ROWS if row.get("runtime_error") == WITHOUT_RUNTIME]
    assert [outcome(row["expr"])[2] for row in rows] == ["X", "R", "M"]


def test_all_vectors_are_here() -> None:
    kinds = Counter("compile" if "compile_error" in r else "runtime" if "runtime_error" in r else "value" for r in ROWS)
    assert kinds == {"value": 389, "runtime": 57, "compile": 42}


def test_messages_of_rejections_agree() -> None:
    for row in ROWS:
        if "compile_error" in row:
            with pytest.raises(CelError) as caught:
                ENV.program(row["expr"])
            assert row["compile_error"] in str(caught.value)
