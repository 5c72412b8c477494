"""No step of compiling a definition takes long, whatever the definition contains."""

import asyncio
import itertools
import sys
import time
from collections.abc import Callable
from typing import Any

import pytest

from kroasync.controller.pacing import in_turns
from kroasync.graph.build import Built, build, building
from kroasync.model.definition import parse_definition
from kroasync.model.objects import Obj
from kroasync.model.steps import Steps
from kroasync.schema.catalog import Catalog, bundled
from tests.unit.graph.samples import (
    NAME,
    binds,
    chain,
    config,
    deployment,
    fields,
    holding,
    json_nested,
    nested,
    parsed,
    referring_to_all_before,
    thing,
    times,
    times_of,
)


def literal(entries: list[str]) -> str:
    return f"${{{{{', '.join(entries)}}}}}"


def unknown_key(number: int) -> str:
    return f"'{'n' * 50}{number}': 1"


def container_literals(count: int) -> str:
    return "'spec': {'containers': [" + ", ".join(["{'env': [{'name': 1}]}"] * count) + "]}"


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
    "openings": lambda: thing([config({"k": "${" * 600_000})]),
    "quoted openings": lambda: thing([config(fields(100, '${"' * 400))]),
    "quotes": lambda: thing([config(fields(100, "${'}" * 300))]),
    "pieces": lambda: thing([config({"k": "${schema.spec.name}" * 60_000})]),
    "a long text": lambda: thing([config({"k": "${schema.spec.name}" + "\n\x01" * 200_000})]),
    "values": lambda: thing([config({"k": [[]] * 400_000})]),
    "deep values": lambda: thing([config(json_nested(180, [1] * 50_000))]),
    "unknown fields": lambda: thing([deployment("d", **fields(40_000, "a"))]),
    "unknown keys of literals": lambda: thing([deployment("d", template=literal(times(700, unknown_key)))]),
    "values of literals": lambda: thing(
        times_of(20, lambda i: deployment(f"d{i}", template=literal([container_literals(300)])))
    ),
    "maps for objects": lambda: thing(
        times_of(1_000, lambda i: deployment(f"d{i}", template="${schema.spec.m}")),
        spec={"m": "map[string]map[string]string"},
    ),
    "conditions": lambda: thing([config({}, readyWhen=["a"] * 50_000)]),
    "dimensions": lambda: thing([config({}, forEach=[{f"x{n}": "${[1]}"} for n in range(8_000)])]),
    "resources": lambda: thing(times_of(2_000, lambda i: config({"k": "${schema.spec.name}"}, f"r{i}"))),
    "references": lambda: referring_to_all_before(400),
    "a cycle": lambda: thing(
        times_of(2_000, lambda i: config({"k": f"${{r{(i + 1) % 2_000}.metadata.name}}"}, f"r{i}"))
    ),
    "collections": lambda: thing(
        times_of(
            1_000,
            lambda i: config({"k": "${string(x)}"}, f"r{i}", forEach=[{"x": "${[1, 2]}"}]),
        )
    ),
    "whole objects in the status": lambda: thing([deployment("d")], status=fields(20_000, "${d}")),
    "a status without expressions": lambda: thing([], status=fields(50_000, "x")),
    "a list in the status": lambda: thing(
        [config({})], status={"l": [{f"f{n}": "${config.metadata.name}"} for n in range(8_000)]}
    ),
    "declared conditions": lambda: thing(
        [],
        status={"conditions": times(9_000, lambda i: f"${{runtime.newCondition({{type: 'T{i}', status: 'True'}})}}")},
    ),
    "fields": lambda: thing([], spec=fields(50_000, "string")),
    "unknown types": lambda: thing(
        [], spec={f"f{n}": f"Tipe{n}" for n in range(20_000)}, types={f"Type{n}": "string" for n in range(2_000)}
    ),
    "a chain of types": lambda: thing([], types={**{f"T{n}": f"T{n + 1}" for n in range(30_000)}, "T30000": "string"}),
    "a circle of types": lambda: thing([], types={f"T{n}": {"a": f"T{(n * 7 + 1) % 8_000}"} for n in range(8_000)}),
    "markers": lambda: thing([], spec=fields(9_000, 'string | default="a" description="b" minLength=1 required=true')),
    "a long marker": lambda: thing([], spec={"a": f'string | default="{"a" * 1_300_000}"'}),
    "rules": lambda: thing([], spec=fields(20, "string | " + "".join(f"validation=a{n} " for n in range(4_000)))),
    "patterns of fields": lambda: thing(
        [], spec={f"f{n}": f'string | pattern="[ab]{{999}}{n}" default="{"ab" * 30}"' for n in range(5_000)}
    ),
    "a text and its pattern": lambda: thing(
        [], spec=fields(20, f'string | pattern="[ab]*a[ab]{{900}}c" default="{"ab" * 30_000}"')
    ),
}


# Calls of Python and C functions between two pauses: about 50 ms on an ordinary machine. Unlike seconds, calls do not
# depend on other work of the machine.
MOST_CALLS = 400_000


def calls_of_steps(steps: Steps[Built | None]) -> list[int]:
    """The number of calls of each step."""
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
def kinds() -> Catalog:
    # Load everything that the first use loads, because it is not a cost of a definition.
    found = bundled()
    assert build(parsed(holding(NAME)), found).graph is not None
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
    """In seconds, scaled by a loop of 50 ms on an ordinary machine; the best of five runs."""

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
