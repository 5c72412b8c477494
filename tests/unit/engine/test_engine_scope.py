"""Evaluation within a pass: cached results, omit(), truth, redaction."""

import pytest

from kroasync.cel import NONE, OMIT, Env, Optional
from kroasync.engine.scope import Compiled, Scope, truth, without_omitted
from kroasync.graph.nodes import Expression


class Counting:
    """A program that counts its evaluations."""

    def __init__(self, text):
        self.inner = Env().program(text, check=False)
        self.source = text
        self.count = 0

    def evaluate(self, variables, *, budget=None):
        self.count += 1
        return self.inner.evaluate(variables)


def compiled(program):
    return Compiled.of(Expression(text=program.source, program=program), secret=False)


def test_a_result_is_remembered_for_the_pass_by_the_text_of_the_expression():
    first, second = Counting("size(x) + 1"), Counting("size(x) + 1")
    scope = Scope({"x": [1, 2]})
    assert [scope.value(compiled(first)), scope.json(compiled(second)), scope.value(compiled(first))] == [3, 3, 3]
    assert (first.count, second.count) == (1, 0)


def test_a_failure_is_not_remembered():
    program = Counting("x.y")
    scope = Scope({"x": {}})
    with pytest.raises(Exception, match="no such key"):
        scope.value(compiled(program))
    scope.variables["x"] = {"y": 1}
    assert scope.value(compiled(program)) == 1


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (True, True),
        (False, False),
        (None, False),
        (NONE, False),
        (Optional(True), True),
        (Optional(None), False),
        ("true", None),
        (1, None),
        (Optional("x"), None),
    ],
)
def test_truth_of_conditions(value, expected):
    assert truth(value) is expected


def test_omitted_entries_and_elements_go_and_their_containers_stay():
    value = {"a": OMIT, "b": [OMIT, 1, {"c": OMIT}], "d": {"e": OMIT}}
    assert without_omitted(value) == {"b": [1, {}], "d": {}}
