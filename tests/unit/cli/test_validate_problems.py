"""docs/problems.md has every code of the source, and its examples are true."""

import ast
import re
from pathlib import Path

import pytest

from kroasync.graph.analysis import analyse
from kroasync.model.manifests import Text, dump, load
from kroasync.model.problems import has_errors

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs" / "problems.md").read_text()
ENTRY = re.compile(r"^### ([a-z-]+)\n(.*?)(?=^##|\Z)", re.MULTILINE | re.DOTALL)
EXAMPLE = re.compile(r"^```yaml (wrong|right)(?: gate=(\w+))?\n(.*?)^```$", re.MULTILINE | re.DOTALL)
ENTRIES = {code: EXAMPLE.findall(body) for code, body in ENTRY.findall(PAGE)}
# Only other commands or the library report these codes: they have no example for `validate`.
WITHOUT_EXAMPLE = {"definition-kind", "definition-depth"}
SOURCES = [path for name in ("model", "schema", "graph") for path in (ROOT / "kroasync" / name).rglob("*.py")]
CODE = re.compile(r"[a-z]+(-[a-z]+)+")
# Words of schemas, and labels that children do not inherit.
NO_CODES = re.compile(r"x-kubernetes-.*|date-time|int-or-string|pod-template-.*|controller-.*|job-name")


def codes_in_source():
    """The constants in the form of a code; nothing else in these modules has that form."""
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and CODE.fullmatch(node.value):
                yield node.value
    yield "cycle"


def test_every_code_has_one_entry_and_every_entry_a_code():
    codes = {code for code in codes_in_source() if not NO_CODES.fullmatch(code)}
    assert set(ENTRIES) == codes
    assert len(ENTRIES) == len(ENTRY.findall(PAGE))


def test_every_entry_has_a_wrong_and_a_right_example():
    for code, examples in ENTRIES.items():
        expected = [] if code in WITHOUT_EXAMPLE else ["wrong", "right"]
        assert [verdict for verdict, _, _ in examples] == expected, code


def found(text, gate):
    parts = load(text)
    if len(parts) == 1 and not parts[0].problems and "kind" not in parts[0].obj:
        schema = {"apiVersion": "v1alpha1", "kind": "Thing", **parts[0].obj.get("schema", {})}
        text = dump(
            {
                "apiVersion": "kro.run/v1alpha1",
                "kind": "ResourceGraphDefinition",
                "metadata": {"name": "thing"},
                "spec": {**parts[0].obj, "schema": schema},
            }
        )
    return analyse([Text("example.yaml", text)], features=frozenset([gate])).problems


@pytest.mark.parametrize("code", [code for code in ENTRIES if code not in WITHOUT_EXAMPLE])
def test_the_wrong_example_has_the_problem_and_the_right_one_none(code):
    for verdict, gate, text in ENTRIES[code]:
        problems = found(text, gate)
        if verdict == "wrong":
            assert code in {problem.code for problem in problems}, [str(p) for p in problems]
        else:
            assert not has_errors(problems), [str(p) for p in problems]
            assert code not in {problem.code for problem in problems}
