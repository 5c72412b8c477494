"""Unquoted scalars and keys are what sigs.k8s.io/yaml 1.6.0, with go-yaml 2.4.3, makes of them on the way to JSON.

`tests/data/yaml-scalars.jsonl` has its answers: the scalar, its value as JSON, and the key that it becomes. Null stands
for an error.
"""

import json
from pathlib import Path

import pytest

from kroasync.model import manifests
from kroasync.model.problems import has_errors

VECTORS = [
    json.loads(line)
    for line in (Path(__file__).parents[2] / "data" / "yaml-scalars.jsonl").read_text(encoding="utf-8").splitlines()
]


def number(text: str) -> int | float:
    """As the API server decodes a number without a point: an integer within int64."""
    return int(text) if -(2**63) <= int(text) < 2**63 else float(text)


def loaded(text: str) -> object:
    """The object of a text, None for an error."""
    (document,) = manifests.load(text)
    return None if has_errors(document.problems) else document.obj


@pytest.mark.parametrize(("text", "value", "key"), VECTORS, ids=[text for text, _, _ in VECTORS])
def test_a_scalar_is_read_as_in_go(text: str, value: str | None, key: str | None) -> None:
    expected = None if value is None else {"v": json.loads(value, parse_int=number)}
    found = loaded(f"v: {text}")
    assert found == expected
    assert repr(found) == repr(expected)
    assert loaded(f"v: {{{text}: z}}") == (None if key is None else {"v": {key: "z"}})
