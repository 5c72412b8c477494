"""The Kubernetes libraries return what Kubernetes returns.

`kubernetes-answers.jsonl` has the results of the CEL libraries of k8s.io/apiserver 0.36: type, and value or error.
"""

import base64
import json
from pathlib import Path
from typing import Any

import pytest

from kroasync.cel.env import Env
from kroasync.cel.errors import CheckError, EvalError
from kroasync.cel.lib import ALL_LIBRARIES
from kroasync.cel.run.times import format_seconds, format_timestamp
from kroasync.cel.values import Duration, Optional, Timestamp, UInt

DATA = Path(__file__).parents[2] / "data" / "cel" / "kubernetes-answers.jsonl"
ROWS = [json.loads(line) for line in DATA.read_text(encoding="utf-8").splitlines()]
ENV = Env(libraries=ALL_LIBRARIES)


def as_json(value: Any) -> Any:
    """The value in the form of the file."""
    match value:
        case Optional():
            return as_json(value.value) if value.present else None
        case Duration():
            return format_seconds(value)
        case Timestamp():
            return format_timestamp(value)
        case bytes():
            return base64.b64encode(value).decode()
        case UInt():
            return int(value)
        case list():
            return [as_json(item) for item in value]
    return value


def group(row: dict[str, Any]) -> str:
    name = row["expr"].partition("(")[0]
    return name if name.replace(".", "").isalnum() else "methods of literals"


@pytest.mark.parametrize("name", sorted({group(row) for row in ROWS}))
def test_answers_are_those_of_kubernetes(name: str) -> None:
    for row in ROWS:
        if group(row) == name:
            check(row)


def check(row: dict[str, Any]) -> None:
    expression = row["expr"]
    if row.get("fails") == "compile":
        with pytest.raises(CheckError):
            ENV.program(expression)
        return
    program = ENV.program(expression)
    assert str(program.result_type) == row["type"], expression
    if row.get("fails") == "run":
        with pytest.raises(EvalError):
            program.evaluate({})
        return
    value = as_json(program.evaluate({}))
    assert (value, type(value)) == (row["value"], type(row["value"])), expression
