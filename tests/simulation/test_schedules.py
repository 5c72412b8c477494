"""Seeded schedules, and a crash at every turn of the event loop of three short stories."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from kroasync.model.objects import Key, labels_of
from tests.fakes import virtual
from tests.fakes.client import FakeClient
from tests.simulation.family import CONFIGMAPS, Node, Shape, Spec, instance_key
from tests.simulation.story import Step, Story, shrunk, story_of
from tests.simulation.world import Report, World, play

ROOT = Path(__file__).resolve().parents[2]
SCHEDULES = 2000

CHAIN = Shape(
    nodes=(
        Node(id="a", kind="Deployment"),
        Node(id="b", needs=("a",), each=True),
        Node(id="c", needs=("a", "b"), renamed=True, elsewhere=True),
    )
)
BEGIN = (
    Step(at_s=0.1, kind="define", shape=CHAIN),
    Step(at_s=0.2, kind="create", spec=Spec(items=("x", "y"))),
)
STORIES = {
    "bring-up": BEGIN,
    "update": (*BEGIN, Step(at_s=8.0, kind="update", spec=Spec(value="b", replicas=2, items=("y", "z")))),
    "deletion": (*BEGIN, Step(at_s=8.0, kind="delete")),
}


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_two_thousand_schedules_hold_every_invariant() -> None:
    """In processes of their own: a run must not depend on the hash seed of this one."""
    command = [sys.executable, "-m", "tests.simulation", f"--schedules={SCHEDULES}", "--jobs=2"]
    ran = subprocess.run(command, cwd=ROOT, env=os.environ, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stdout + ran.stderr


@pytest.mark.slow
@pytest.mark.parametrize("name", STORIES)
def test_a_crash_at_any_turn_loses_and_repeats_nothing(name: str) -> None:
    story = Story(seed=1, steps=STORIES[name])
    straight = play(story, quiet_s=100.0)
    assert straight.violations == []
    last_step, converged = straight.turns[-3], straight.turns[-2]
    first = 0 if name == "bring-up" else last_step
    assert converged - first > 50
    failed = {}
    for turn in range(first, converged):
        report = play(story, crash_at=turn, quiet_s=100.0)
        if not report.ok:
            failed[turn] = report.violations
    assert failed == {}


def test_a_seed_always_tells_the_same_story() -> None:
    assert story_of(7) == story_of(7)
    assert story_of(7) != story_of(8)
    first, second = play(story_of(7)), play(story_of(7))
    assert (first.requests, first.virtual_s, first.turns) == (second.requests, second.virtual_s, second.turns)


def test_a_failing_story_shrinks_to_the_steps_that_matter() -> None:
    story = story_of(21)
    culprits = story.steps[1], story.steps[-1]
    short = shrunk(story, lambda tried: all(step in tried.steps for step in culprits))
    assert short.steps == culprits


def test_an_instance_says_what_it_waits_for() -> None:
    """An external object that never comes is not an error, and is named."""
    outside = Shape(nodes=(Node(id="a"),), external=True)
    steps = (Step(at_s=0.1, kind="define", shape=outside), Step(at_s=0.2, kind="create", spec=Spec()))
    assert play(Story(seed=3, steps=steps, external_missing=True)).violations == []


class Rogue(World):
    """A world in which somebody with the controller's name does what the controller must not."""

    deed = ""

    async def _quiet(self) -> None:
        rogue = FakeClient(self.server, actor="controller")
        child, obj = next((key, obj) for key, obj in self.children() if obj["metadata"]["name"].endswith("-a"))
        if self.deed == "deletes a dependency":
            await self.user.delete(instance_key(0, 0))
            await rogue.delete(child)
        elif self.deed == "writes after convergence":
            self.loop.call_later(60, lambda: self.loop.create_task(rogue.merge_patch(child, {"x": 1}, manager="m")))
        elif self.deed == "deletes what is not ours":
            foreign = Key(CONFIGMAPS, "default", "foreign")
            await self.user.create(foreign, {"metadata": {"name": "foreign", "labels": dict(labels_of(obj))}})
            await rogue.delete(foreign)
        await super()._quiet()


@pytest.mark.parametrize(
    ("deed", "told"),
    [
        ("deletes a dependency", "which need it"),
        ("writes after convergence", "written after everything had converged"),
        ("deletes what is not ours", "which is not ours"),
    ],
)
def test_the_checks_see(deed: str, told: str) -> None:
    shape = Shape(nodes=(Node(id="a"), Node(id="b", needs=("a",))))
    steps = (Step(at_s=0.1, kind="define", shape=shape), Step(at_s=0.2, kind="create", spec=Spec()))

    async def main() -> Report:
        world = Rogue(Story(seed=1, steps=steps))
        world.deed = deed
        return await world.play()

    assert any(told in text for text in virtual.run(main()).violations)
