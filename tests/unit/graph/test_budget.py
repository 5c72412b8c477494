"""What a definition may cost to compile: counted limits, and steps none of which is long, whatever it holds."""

import asyncio
import itertools
import sys
import time
from collections.abc import Callable
from typing import Any

import pytest

from kroasync.controller.pacing import in_turns
from kroasync.graph import budget
from kroasync.graph.build import Built, build, building
from kroasync.model.definition import parse_definition
from kroasync.model.problems import MAX_PROBLEMS
from kroasync.model.steps import Steps
from kroasync.schema.catalog import bundled
from kroasync.schema.crd import ensuring_crd_patch

Obj = dict[str, Any]
NAME = "schema.spec.name"


def definition(resources: list[Obj], *, spec: Obj | None = None, types: Obj | None = None, status: Obj | None = None):
    schema = {"apiVersion": "v1", "kind": "Thing", "spec": spec or {"name": "string"}}
    return {
        "apiVersion": "kro.run/v1alpha1",
        "kind": "ResourceGraphDefinition",
        "metadata": {"name": "thing"},
        "spec": {"schema": {**schema, "types": types or {}, "status": status or {}}, "resources": resources},
    }


def config(data: Obj, id_: str = "config", **more: Any) -> Obj:
    meta = {"name": f"x-{id_.lower()}"}
    return {"id": id_, "template": {"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta, "data": data}, **more}


def deployment(id_: str, **spec: Any) -> Obj:
    template = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": id_.lower()}, "spec": spec}
    return {"id": id_, "template": template}


def holding(*texts: str) -> Obj:
    """A definition with these expressions."""
    return definition([config({f"k{place}": f"${{{text}}}" for place, text in enumerate(texts)})])


def chain(term: str, joint: str, length: int, end: str = "") -> str:
    return joint.join([term] * (length // (len(term) + len(joint)))) + end


def nested(opening: str, inner: str, closing: str, depth: int) -> str:
    return opening * depth + inner + closing * depth


def times(count: int, text: Callable[[int], str]) -> list[str]:
    return [text(place) for place in range(count)]


def binds(depth: int) -> str:
    inner = "".join(f"cel.bind(x{place + 1}, [x{place}, x{place}], " for place in range(1, depth))
    return f"cel.bind(x1, [[]], {inner}string(x{depth}.size()){')' * depth}"


def fields(count: int, value: str) -> Obj:
    return {f"f{place:05}": value for place in range(count)}


ATTACKS: dict[str, Callable[[], Obj]] = {
    "14 expressions of 46 kB": lambda: holding(*times(14, lambda i: chain(NAME, "+", 46_000, f"+'{i}'"))),
    "equal expressions": lambda: holding(*[chain(NAME, "+", 11_000)] * 90),
    "just allowed expressions": lambda: holding(*times(3, lambda i: "+".join([NAME] * 700) + f"+'{i}'")),
    "conjunctions": lambda: holding(*times(3, lambda i: f"string({chain('1==1', '&&', 5_400)}&&{i}==1)")),
    "parentheses": lambda: holding(*times(30, lambda i: nested("(", f"'{i}'", ")", 240))),
    "choices": lambda: holding(*times(9, lambda i: nested("(true?", f"'{i}'", ":'a')", 220))),
    "lists in lists": lambda: holding(
        *times(3, lambda i: f"string([{','.join([nested('[', '', ']', 90)] * 30)},{i}].size())")
    ),
    "empty lists": lambda: holding(*times(3, lambda i: f"string([{chain('[]', ',', 8_400)},{i}].size())")),
    "maps": lambda: holding(*times(3, lambda i: f"string({{{','.join(f'{n}: [{i}]' for n in range(700))}}}.size())")),
    "loops in loops": lambda: holding(
        *times(
            3,
            lambda i: "+".join(["string(" + "".join(f"[{i}].all(v{n}," for n in range(70)) + "true" + ")" * 71] * 9),
        )
    ),
    "names of names": lambda: holding(*times(3, lambda i: f"{binds(110)}+'{i}'")),
    "paths below paths": lambda: holding(
        *times(3, lambda i: f"string([schema].map(x, [{','.join(f'x.a{n}{i}' for n in range(1_200))}]).size())")
    ),
    "formats": lambda: holding(*times(3, lambda i: f"'{'%s' * 2_400}{i}'.format([{chain('1', ',', 4_800)}])")),
    "wrong types": lambda: holding(*times(3, lambda i: chain("(1+'a')", "+", 5_600, f"+'{i}'"))),
    "unknown fields of expressions": lambda: holding(
        *times(3, lambda i: chain("schema.spec.nameee", "+", 13_000, f"+'{i}'"))
    ),
    "unknown names": lambda: holding(*times(60, lambda i: "+".join(f"nme{i}x{n}" for n in range(100)))),
    "patterns": lambda: holding(
        *times(60, lambda i: chain("string('a'.matches('[ab]{900}c'))", "+", 4_000, f"+'{i}'"))
    ),
    "small expressions": lambda: holding(*times(20_100, lambda i: f"string({i})")),
    "openings": lambda: definition([config({"k": "${" * 600_000})]),
    "quoted openings": lambda: definition([config(fields(100, '${"' * 400))]),
    "quotes": lambda: definition([config(fields(100, "${'}" * 300))]),
    "pieces": lambda: definition([config({"k": "${schema.spec.name}" * 60_000})]),
    "a long text": lambda: definition([config({"k": "${schema.spec.name}" + "\n\x01" * 200_000})]),
    "values": lambda: definition([config({"k": [[]] * 400_000})]),
    "deep values": lambda: definition([config(json_nested(180, [1] * 50_000))]),
    "unknown fields": lambda: definition([deployment("d", **fields(40_000, "a"))]),
    "conditions": lambda: definition([config({}, readyWhen=["a"] * 50_000)]),
    "dimensions": lambda: definition([config({}, forEach=[{f"x{n}": "${[1]}"} for n in range(8_000)])]),
    "resources": lambda: definition(times_of(2_000, lambda i: config({"k": "${schema.spec.name}"}, f"r{i}"))),
    "references": lambda: definition(
        times_of(400, lambda i: config({"k": f"${{string([{','.join(f'r{n}' for n in range(i))}].size())}}"}, f"r{i}"))
    ),
    "a cycle": lambda: definition(
        times_of(2_000, lambda i: config({"k": f"${{r{(i + 1) % 2_000}.metadata.name}}"}, f"r{i}"))
    ),
    "collections": lambda: definition(
        times_of(
            1_000,
            lambda i: config({"k": "${string(x)}"}, f"r{i}", forEach=[{"x": "${[1, 2]}"}]),
        )
    ),
    "whole objects in the status": lambda: definition([deployment("d")], status=fields(20_000, "${d}")),
    "a status without expressions": lambda: definition([], status=fields(50_000, "x")),
    "a list in the status": lambda: definition(
        [config({})], status={"l": [{f"f{n}": "${config.metadata.name}"} for n in range(8_000)]}
    ),
    "declared conditions": lambda: definition(
        [],
        status={"conditions": times(9_000, lambda i: f"${{runtime.newCondition({{type: 'T{i}', status: 'True'}})}}")},
    ),
    "fields": lambda: definition([], spec=fields(50_000, "string")),
    "unknown types": lambda: definition(
        [], spec={f"f{n}": f"Tipe{n}" for n in range(20_000)}, types={f"Type{n}": "string" for n in range(2_000)}
    ),
    "a chain of types": lambda: definition(
        [], types={**{f"T{n}": f"T{n + 1}" for n in range(30_000)}, "T30000": "string"}
    ),
    "a circle of types": lambda: definition(
        [], types={f"T{n}": {"a": f"T{(n * 7 + 1) % 8_000}"} for n in range(8_000)}
    ),
    "markers": lambda: definition(
        [], spec=fields(9_000, 'string | default="a" description="b" minLength=1 required=true')
    ),
    "a long marker": lambda: definition([], spec={"a": f'string | default="{"a" * 1_300_000}"'}),
    "rules": lambda: definition([], spec=fields(20, "string | " + "".join(f"validation=a{n} " for n in range(4_000)))),
    "patterns of fields": lambda: definition(
        [], spec={f"f{n}": f'string | pattern="[ab]{{999}}{n}" default="{"ab" * 30}"' for n in range(5_000)}
    ),
    "a text and its pattern": lambda: definition(
        [], spec=fields(20, f'string | pattern="[ab]*a[ab]{{900}}c" default="{"ab" * 30_000}"')
    ),
}


def json_nested(depth: int, inner: Any) -> Obj:
    for _ in range(depth):
        inner = {"p": inner}
    return inner  # type: ignore[no-any-return]


def times_of(count: int, make: Callable[[int], Obj]) -> list[Obj]:
    return [make(place) for place in range(count)]


# Calls, of Python's and of C's functions, between two pauses: on an ordinary machine some 50 ms. Unlike seconds they do
# not depend on what else a machine does.
MOST_CALLS = 400_000


def calls_of_steps(steps: Steps[Built]) -> list[int]:
    """How many calls each step makes."""
    found: list[int] = []
    count = 0

    def note(frame: object, event: str, arg: object) -> None:
        nonlocal count
        if event in ("call", "c_call"):
            count += 1

    ended = False
    while not ended:
        count = 0
        sys.setprofile(note)
        try:
            next(steps)
        except StopIteration:
            ended = True
        finally:
            sys.setprofile(None)
        found.append(count)
    return found


@pytest.fixture(scope="module")
def kinds():
    # What is loaded at the first use is no part of what a definition costs.
    found = bundled()
    assert build(parsed(holding(NAME)), found).graph is not None
    return found


def parsed(obj: Obj):
    found, problems = parse_definition(obj)
    assert found is not None, problems
    return found


def whole(obj: Obj, kinds: Any) -> Steps[Built | None]:
    """A definition parsed and compiled; the structural checks are the first step."""
    found, _ = parse_definition(obj)
    yield
    return None if found is None else (yield from building(found, kinds))


@pytest.mark.parametrize("attack", ATTACKS)
def test_no_step_is_long_whatever_a_definition_holds(attack: str, kinds) -> None:
    calls = calls_of_steps(whole(ATTACKS[attack](), kinds))
    assert max(calls) < MOST_CALLS, f"step {calls.index(max(calls))} of {len(calls)}"


def test_the_largest_expressions_do_not_hold_the_loop(kinds) -> None:
    """In seconds, compared with a loop of 50 ms on an ordinary machine; the best of five, as it has other work."""

    def calibration() -> float:
        began = time.thread_time()
        total = 0
        for place in range(800_000):
            total += place
        return time.thread_time() - began

    async def longest() -> float:
        turns = [time.thread_time()]

        async def pause() -> None:
            turns.append(time.thread_time())
            await asyncio.sleep(0)

        await in_turns(whole(ATTACKS["14 expressions of 46 kB"](), kinds), pause, lambda step: step())
        return max(after - before for before, after in itertools.pairwise(turns))

    assert min(asyncio.run(longest()) / calibration() for _ in range(5)) < 3


def test_a_crd_is_compared_in_steps() -> None:
    def crd(value: str) -> Obj:
        properties = {name: {"type": "string", "default": value} for name in fields(20_000, "")}
        schema = {"openAPIV3Schema": {"type": "object", "properties": properties}}
        meta = {"name": "things.kro.run", "labels": {"kro.run/owned": "true"}}
        names = {"kind": "Thing", "plural": "things"}
        return {
            "metadata": meta,
            "spec": {
                "group": "kro.run",
                "scope": "Namespaced",
                "names": names,
                "versions": [{"name": "v1", "schema": schema}],
            },
        }

    for new in (crd("a"), crd("b")):
        steps = 0
        for _ in ensuring_crd_patch(crd("a"), new):
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
        ("references between resources", budget.MAX_REFERENCES, ATTACKS["references"]),
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
        named = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "${'x' + string(x)}"}}
        return {"id": id_, "forEach": [{"x": items}], "template": named}

    resources = [collection("a", "${[1]}"), collection("b", "${[2]}"), collection("c", "${['s']}")]
    graph = build(parsed(definition(resources)), kinds).graph
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
    problems = build(parsed(definition([deployment("d", **fields(5_000, "a"))])), kinds).problems
    assert len(problems) == MAX_PROBLEMS + 1
    assert problems[-1].message == f"more than {MAX_PROBLEMS} problems: the others are not shown"
    problems = build(parsed(holding("1 + 'a' + '" + "b" * 50_000 + "'")), kinds).problems
    assert max(len(problem.message) for problem in problems) < 13_000
    assert any("no matching overload" in problem.message for problem in problems)
