"""A name means one thing: no two classes of kroasync share one, and no two modules are twins."""

import ast
from collections import defaultdict
from collections.abc import Iterable
from itertools import combinations
from pathlib import Path

import pytest

import kroasync

PACKAGE = Path(kroasync.__file__).parent
MODULES = sorted(path for path in PACKAGE.rglob("*.py") if not path.name.startswith("__"))
ENDINGS = ("s", "es", "ing", "ings", "ed", "ion", "ions")
# Subjects with two modules: the data, and the controller's work with it.
ONE_SUBJECT = {
    frozenset({"model/definition", "controller/definitions"}),
    frozenset({"model/seal", "controller/sealing"}),
    frozenset({"kube/watch", "controller/watches"}),
}


def stems(word: str) -> set[str]:
    """The words that `word` can be a form of: `serv` and `serve` for `serving`, `status` for `statuses`."""
    cut = {word[: -len(ending)] for ending in ENDINGS if word.endswith(ending)}
    return {word} | {stem + end for stem in cut if len(stem) >= 4 for end in ("", "e", "t")}


def are_twins(one: str, other: str) -> bool:
    return not stems(one).isdisjoint(stems(other))


def shared(names: Iterable[tuple[str, str]]) -> dict[str, list[str]]:
    """The names with more than one place."""
    found: dict[str, list[str]] = defaultdict(list)
    for name, place in names:
        found[name].append(place)
    return {name: places for name, places in found.items() if len(places) > 1}


def module_name(path: Path) -> str:
    return path.relative_to(PACKAGE).with_suffix("").as_posix()


def test_a_class_name_is_used_once() -> None:
    classes = (
        (node.name, module_name(path))
        for path in MODULES
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.ClassDef)
    )
    assert shared(classes) == {}


def test_modules_are_no_twins() -> None:
    twins = {
        frozenset(pair)
        for pair in combinations((module_name(path) for path in MODULES), 2)
        if are_twins(pair[0].rpartition("/")[2], pair[1].rpartition("/")[2])
    }
    assert sorted(sorted(pair) for pair in twins - ONE_SUBJECT) == []


@pytest.mark.parametrize(
    ("one", "other"), [("render", "rendering"), ("status", "statuses"), ("served", "serving"), ("kinds", "kinds")]
)
def test_twins_are_recognised(one: str, other: str) -> None:
    assert are_twins(one, other)


@pytest.mark.parametrize(("one", "other"), [("plan", "plane"), ("reads", "readiness"), ("lists", "list_edits")])
def test_words_that_only_look_alike_are_no_twins(one: str, other: str) -> None:
    assert not are_twins(one, other)
