"""The limits of the work to compile a definition. `tests/slow` limits the time of each step."""

import pytest

from kroasync.graph import budget
from kroasync.graph.build import build
from kroasync.model.objects import Obj
from kroasync.model.problems import MAX_PROBLEMS
from kroasync.schema.catalog import Catalog, bundled
from kroasync.schema.crd import ensuring_crd_patch
from tests.samples import config_map, crd
from tests.unit.graph.samples import (
    NAME,
    deployment,
    fields,
    holding,
    parsed,
    referring_to_all_before,
    thing,
    times,
)


@pytest.fixture(scope="module")
def kinds() -> Catalog:
    return bundled()


def test_a_crd_is_compared_in_steps() -> None:
    def things(value: str) -> Obj:
        properties = {name: {"type": "string", "default": value} for name in fields(20_000, "")}
        found = crd("Thing", group="kro.run", schema={"type": "object", "properties": properties})
        found["metadata"]["labels"] = {"kro.run/owned": "true"}
        return found

    for new in (things("a"), things("b")):
        steps = 0
        for _ in ensuring_crd_patch(things("a"), new):
            steps += 1
        assert steps > 20


@pytest.mark.parametrize(
    ("what", "limit", "obj"),
    [
        ("expressions", budget.MAX_EXPRESSIONS, lambda: holding(*[NAME] * (budget.MAX_EXPRESSIONS + 1))),
        (
            "nodes in expressions",
            budget.MAX_NODES,
            lambda: holding(*times(60, lambda i: "+".join([NAME] * 700) + f"+'{i}'")),
        ),
        ("references between resources", budget.MAX_REFERENCES, lambda: referring_to_all_before(400)),
    ],
)
def test_what_is_above_the_budget_is_one_problem_with_limit_and_finding(what, limit, obj, kinds) -> None:
    built = build(parsed(obj()), kinds)
    (problem,) = built.problems
    assert (problem.code, built.graph) == ("definition-size", None)
    assert problem.message.startswith(f"the definition is too large: expected at most {limit} {what}, found ")
    assert problem.path[:2] == ("spec", "resources")


def test_equal_texts_count_and_are_compiled_once(kinds) -> None:
    text = "+".join([NAME] * 700)
    built = build(parsed(holding(*[text] * 40)), kinds)
    assert built.graph is not None, built.problems[0]
    programs = {id(field.expression.program) for field in built.graph.nodes["config"].fields}
    assert len(programs) == 1


def test_equal_texts_of_collections_are_compiled_once_for_iterators_of_one_type(kinds) -> None:
    def collection(id_: str, items: str) -> Obj:
        return {"id": id_, "forEach": [{"x": items}], "template": config_map("${'x' + string(x)}")}

    resources = [collection("a", "${[1]}"), collection("b", "${[2]}"), collection("c", "${['s']}")]
    graph = build(parsed(thing(resources)), kinds).graph
    assert graph is not None
    a, b, c = (graph.nodes[id_].fields[0].expression.program for id_ in "abc")
    assert a is b
    assert a is not c


def test_one_expression_has_limits_of_its_own(kinds) -> None:
    built = build(parsed(holding("+".join([NAME] * 3_000), NAME)), kinds)
    (problem,) = built.problems
    assert problem.code == "expression-syntax"
    assert f"expression has more than {budget.MAX_EXPRESSION_NODES} nodes" in problem.message
    assert problem.path[-1] == "k0"
    names = "".join(f"cel.bind(x{n + 1}, [x{n}], " for n in range(1, 60))
    deep = f"cel.bind(x1, [[]], {names}string([{','.join(['x60'] * 1_500)}].size()){')' * 60}"
    (problem,) = build(parsed(holding(deep)), kinds).problems
    assert problem.code == "expression-type"
    assert f"type-checking takes more than {budget.MAX_EXPRESSION_TYPES} steps" in problem.message


def test_problems_are_bounded_in_number_and_length(kinds) -> None:
    problems = build(parsed(thing([deployment("d", **fields(5_000, "a"))])), kinds).problems
    assert len(problems) == MAX_PROBLEMS + 1
    assert problems[-1].message == f"more than {MAX_PROBLEMS} problems: the others are not shown"
    problems = build(parsed(holding("1 + 'a' + '" + "b" * 50_000 + "'")), kinds).problems
    assert max(len(problem.message) for problem in problems) < 13_000
    assert any("no matching overload" in problem.message for problem in problems)
