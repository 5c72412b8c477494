"""Expressions that compute for a long time, because of the text and pattern of an instance, or of a definition.

About `lag_s`: an evaluation may take 0.25 s with its full budget, a pass has several evaluations, and the machine may
be busy. The attacks that once succeeded blocked the event loop for 3 to 60 s.
"""

from __future__ import annotations

import random
import re
import threading
from collections.abc import Callable
from dataclasses import dataclass

import pytest

from tests.attacks.gauges import FULL, LoopProbe, repair_s, resident_mb
from tests.attacks.people import People, User, rule
from tests.integration.cluster import Lab, Obj, config, eventually, node

pytestmark = pytest.mark.integration

LAG_S = 2.5
REPAIR_S = 5.0
GROWTH_MB = 150.0


def scaled(short: int, full: int) -> int:
    return full if FULL else short


@dataclass(frozen=True, slots=True, kw_only=True)
class Hog:
    """A harmless expression, and the values with which an instance makes it expensive."""

    expression: str
    text: str
    pattern: str = ""


HALF = "x" * scaled(400_000, 650_000)
HOGS = {
    "findAll, quadratic": Hog(
        expression="s.text.findAll(s.pattern).size()", text="a" * scaled(80_000, 600_000), pattern="a.*b|a"
    ),
    "findAll, optional tail": Hog(
        expression="s.text.findAll(s.pattern).size()", text="a=" * scaled(40_000, 300_000), pattern="[a-z]+(=.*;)?"
    ),
    "find in a loop": Hog(
        expression="lists.range(2000).map(i, s.text.find(s.pattern + string(i))).size()",
        text="ab" * scaled(40_000, 400_000),
        pattern="[ab]*a[ab]{60}c",
    ),
    "matches, states without end": Hog(
        expression="lists.range(3).map(i, s.text.matches(s.pattern)).size()",
        text="".join(random.Random(1).choices("ab", k=scaled(300_000, 1_400_000))),
        pattern="[ab]*a[ab]{900}c",
    ),
    "replace": Hog(
        expression="lists.range(20).map(i, s.text.replace('x', s.pattern).size()).size()",
        text="x" * scaled(100_000, 700_000),
        pattern="y" * 10,
    ),
    "split": Hog(
        expression="lists.range(20).map(i, s.text.split(s.pattern).size()).size()",
        text="x," * scaled(300_000, 700_000),
        pattern=",",
    ),
    "durations": Hog(
        expression="lists.range(18).map(i, duration(s.text)).size()", text="1h" * scaled(100_000, 700_000)
    ),
    "queries of URLs": Hog(
        expression="lists.range(15).map(i, url(s.text).getQuery().size()).size()",
        text="http://a/?" + "&".join(f"a{i}" for i in range(scaled(60_000, 180_000))),
    ),
    "many patterns": Hog(
        expression="lists.range(25000).map(i, 'x'.matches(s.pattern + string(i))).size()",
        text="",
        pattern="x{100}",
    ),
    "hashes": Hog(
        expression="lists.range(14).map(i, hash.fnv64a(s.text)).size()", text="x" * scaled(900_000, 1_400_000)
    ),
    "comparisons": Hog(
        expression="lists.range(145000).filter(i, s.text == s.pattern).size()", text=HALF + "a", pattern=HALF + "b"
    ),
    "orderings": Hog(
        expression="lists.range(145000).filter(i, s.text < s.pattern).size()", text=HALF + "a", pattern=HALF + "b"
    ),
    "membership": Hog(
        expression="lists.range(145000).filter(i, s.text in [s.pattern]).size()", text=HALF + "a", pattern=HALF + "b"
    ),
    "contains": Hog(
        expression="lists.range(20000).filter(i, s.text.contains(s.pattern)).size()",
        text="x" * scaled(400_000, 650_000),
        pattern="x" * 1000 + "y",
    ),
}


@pytest.fixture
def victim(lab: Lab, neighbour: Callable[[str], Lab]) -> Lab:
    """Another namespace with an instance whose children need repair."""
    lab.define("Plain", [config("c", data={"v": "1"})])
    other = neighbour("victim")
    other.instance("Plain")
    other.await_state("Plain")
    return other


def settled(obj: Obj) -> bool:
    status = obj.get("status", {})
    return (
        status.get("state") in ("ACTIVE", "ERROR")
        and status.get("observedGeneration") == (obj["metadata"]["generation"])
    )


def writer_of(lab: Lab, people: People) -> User:
    return people.holding(lab.namespace, {lab.namespace: [rule("get create patch delete", "*", lab.group)]})


@pytest.mark.parametrize("name", HOGS)
def test_an_instance_computes_for_long(lab: Lab, victim: Lab, people: People, name: str) -> None:
    hog, alice, pid = HOGS[name], writer_of(lab, people), lab.controller.pid
    value = re.sub(r"\bs\.", "schema.spec.", hog.expression)
    lab.define("Hog", [config("c", data={"v": f"${{string({value})}}"})], spec={"text": "string", "pattern": "string"})
    with LoopProbe(lab.controller) as probe:
        alice.apply(
            {
                "apiVersion": f"{lab.group}/v1alpha1",
                "kind": "Hog",
                "metadata": {"name": "one", "namespace": lab.namespace},
                "spec": {"text": hog.text, "pattern": hog.pattern},
            }
        )
        repaired_s = repair_s(victim, "ConfigMap", "one-c")
        eventually(lambda: lab.read("Hog"), settled, timeout_s=120, what="the instance says how it ended")
        alice.delete(lab.path("Hog"))
        lab.await_gone(lab.path("Hog"), timeout_s=120)
    assert probe.longest_s < LAG_S
    assert repaired_s < REPAIR_S
    assert lab.controller.pid == pid
    assert lab.controller.is_running


def test_lists_that_share_their_elements_are_no_bomb(lab: Lab, victim: Lab) -> None:
    """Ten lists of ten lists of ..., seven levels: made of ten elements each, and copied as ten millions."""
    depth = 7
    binds = [f"cel.bind(x{n}, [{', '.join([f'x{n - 1}'] * 10)}], " for n in range(1, depth)]
    bomb = f"cel.bind(x0, [schema.spec.n, 2, 3, 4, 5, 6, 7, 8, 9, 10], {''.join(binds)}[x{depth - 1}][0]{')' * depth}"
    before = resident_mb(lab.controller)
    with LoopProbe(lab.controller) as probe:
        lab.submit(
            lab.definition("Bomb", [config("c", data={"v": f"${{string(size({bomb}))}}"})], spec={"n": "integer"})
        )
        lab.await_definition(lab.definition_name("Bomb"), timeout_s=60)
        lab.instance("Bomb", spec={"n": 1})
        eventually(lambda: lab.read("Bomb"), settled, timeout_s=120, what="the instance says how it ended")
        assert repair_s(victim, "ConfigMap", "one-c") < REPAIR_S
    assert probe.most_mb - before < GROWTH_MB
    assert probe.longest_s < LAG_S


# Definitions


def long_list(number: int, terms: int) -> str:
    """An expression of some 46 kB that no other text equals."""
    return f"string([{', '.join(f'schema.spec.a{number}_{i % 50} + {i}' for i in range(terms))}].size())"


def long_conjunction(number: int, terms: int) -> str:
    return f"string({' && '.join(f'schema.spec.a{number}_{i % 50} > {i}' for i in range(terms))})"


TERMS = scaled(1600, 2000)
COMPILE_BOMBS = {
    "different lists": lambda n: long_list(n, TERMS),
    "equal lists": lambda n: long_list(0, TERMS),
    "different conjunctions": lambda n: long_conjunction(n, TERMS),
    "one template": lambda n: long_list(n, TERMS),
}


@pytest.mark.parametrize("name", COMPILE_BOMBS)
def test_a_definition_compiles_for_long(lab: Lab, victim: Lab, people: People, name: str) -> None:
    """By a user who may write only definitions: 14 expressions of 46 kB in one resource."""
    author = people.holding(lab.namespace, {"": [rule("get create patch", "resourcegraphdefinitions", "kro.run")]})
    texts = {f"v{n}": f"${{{COMPILE_BOMBS[name](n)}}}" for n in range(14)}
    if name == "one template":
        texts = {"v": " ".join(texts.values())}
    spec = {f"a{number}_{i}": "integer" for number in range(14) for i in range(50)}
    definition = lab.definition("Long", [config("c", data=texts)], spec=spec)
    lab.definitions.append(definition["metadata"]["name"])
    with LoopProbe(lab.controller) as probe:
        author.apply(definition)
        repaired_s = repair_s(victim, "ConfigMap", "one-c")
        eventually(
            lambda: lab.read_definition(definition["metadata"]["name"]),
            lambda obj: obj.get("status", {}).get("state") in ("Active", "Inactive"),
            timeout_s=120,
            what="the definition is judged",
        )
    assert probe.longest_s < LAG_S
    assert repaired_s < REPAIR_S


def test_a_definition_is_rewritten_again_and_again(lab: Lab, victim: Lab, people: People) -> None:
    """Each version is expensive to compile: only versions of this definition that arrive meanwhile wait."""
    author = people.holding(lab.namespace, {"": [rule("get create patch", "resourcegraphdefinitions", "kro.run")]})
    stop = threading.Event()

    def rewrite() -> None:
        turn = 0
        while not stop.is_set():
            turn += 1
            data = {f"v{n}": f"${{{long_list(n, 400)}}}" for n in range(4)} | {"turn": str(turn)}
            spec = {f"a{number}_{i}": "integer" for number in range(4) for i in range(50)}
            author.apply(lab.definition("Often", [config("c", data=data)], spec=spec))
            stop.wait(0.1)

    lab.definitions.append(lab.definition_name("Often"))
    thread = threading.Thread(target=rewrite, name="author")
    thread.start()
    try:
        with LoopProbe(lab.controller) as probe:
            took_s = [repair_s(victim, "ConfigMap", "one-c") for _ in range(5)]
    finally:
        stop.set()
        thread.join()
    assert max(took_s) < REPAIR_S
    assert probe.longest_s < LAG_S


def test_a_hundred_children_are_each_dear(lab: Lab, victim: Lab, people: People) -> None:
    """Each evaluation is within its budget: a pass of a hundred evaluations pauses between them."""
    alice = writer_of(lab, people)
    template: Obj = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "${schema.metadata.name}-${string(n)}"},
        "data": {"v": "${string(lists.range(250).map(a, lists.range(200).filter(b, a + b > n).size()).size())}"},
    }
    lab.define("Many", [node("m", template, forEach=[{"n": "${lists.range(schema.spec.n)}"}])], spec={"n": "integer"})
    with LoopProbe(lab.controller) as probe:
        alice.apply(
            {
                "apiVersion": f"{lab.group}/v1alpha1",
                "kind": "Many",
                "metadata": {"name": "one", "namespace": lab.namespace},
                "spec": {"n": 100},
            }
        )
        took_s = [repair_s(victim, "ConfigMap", "one-c") for _ in range(3)]
        eventually(lambda: lab.read("Many"), settled, timeout_s=60, what="the instance says how it ended")
    assert max(took_s) < REPAIR_S
    assert probe.longest_s < LAG_S
