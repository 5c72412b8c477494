"""The vectors of the Kubernetes and kro libraries: the type, value or class of error of the Go runtime."""

import base64
import json
from pathlib import Path
from typing import Any

import pytest

from kroasync.cel.env import Env
from kroasync.cel.errors import CheckError, EvalError, ParseError
from kroasync.cel.lib import ALL_LIBRARIES
from kroasync.cel.values import Optional

DATA = Path(__file__).parents[2] / "data" / "cel-vectors.jsonl"
LIBRARIES = {
    "quantity",
    "ip",
    "cidr",
    "format",
    "semver",
    "cost",
    "network",
    "hash",
    "json",
    "maps",
    "omit",
    "random",
    "runtime",
    "bindings",
    "inspector",
}
VECTORS = list(map(json.loads, DATA.read_text(encoding="utf-8").splitlines()))
ROWS = [row for row in VECTORS if row["library"] in LIBRARIES]
ENV = Env(libraries=ALL_LIBRARIES)


def as_json(value: Any) -> Any:
    """The value in the form of the vectors: opaque values as text, and maps without a JSON form as Go prints them."""
    match value:
        case None | bool() | int() | float() | str():
            return value
        case Optional():
            return as_json(value.value) if value.present else None
        case bytes():
            return base64.b64encode(value).decode()
        case list():
            return [as_json(item) for item in value]
        case dict() if all(isinstance(key, str) for key in value):
            return {key: as_json(item) for key, item in value.items()}
        case dict():
            return f"map[{' '.join(f'{key}:{item}' for key, item in value.items())}]"
    return str(value)


def name(row: dict[str, Any]) -> str:
    return f"{row['library']}: {row['expr'].strip()}"


# In the environment of the vectors, `runtime` is an unbound variable. Here it is a namespace; the macro needs no
# variable.
EVALUATED = [row for row in ROWS if "compile_error" not in row and row["library"] != "runtime"]
REJECTED = [row for row in VECTORS if "compile_error" in row and row["library"] != "comprehensions"]


@pytest.mark.parametrize("row", EVALUATED, ids=name)
def test_type_and_value(row: dict[str, Any]) -> None:
    program = ENV.program(row["expr"])
    assert str(program.result_type) == row["type"]
    if "runtime_error" in row:
        with pytest.raises(EvalError):
            program.evaluate({})
    else:
        assert as_json(program.evaluate({})) == row["value"]


@pytest.mark.parametrize("row", REJECTED, ids=name)
def test_rejection(row: dict[str, Any]) -> None:
    with pytest.raises((CheckError, ParseError)) as caught:
        ENV.program(row["expr"])
    assert row["compile_error"] in str(caught.value)


def test_every_library_has_vectors() -> None:
    assert {row["library"] for row in ROWS} == LIBRARIES
