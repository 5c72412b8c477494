"""Random schedules, and a crash at every turn of the event loop in three short stories."""

import asyncio
import logging
import os
import subprocess
import sys
from pathlib import Path

import pytest

from kroasync.model.kinds import CRDS, REVISIONS
from kroasync.model.names import LABEL_INSTANCE_ID, LABEL_NODE_ID
from kroasync.model.objects import Key, Obj, labels_of
from tests.fakes.client import FakeClient
from tests.samples import CONFIG_MAPS
from tests.simulation.family import Node, Place, Shape, Spec, instance_key
from tests.simulation.story import Step, Story, shrunk, story_of
from tests.simulation.world import World, play

ROOT = Path(__file__).resolve().parents[2]
SCHEDULES = 2000

CHAIN = Shape(
    nodes=(
        Node(id="a", kind="Deployment"),
        Node(id="b", needs=("a",), each=True),
        Node(id="c", needs=("a", "b"), renamed=True, elsewhere=True),
    )
)
SHAPE = Shape(nodes=(Node(id="a"), Node(id="b", needs=("a",)), Node(id="c", kind="Deployment", scaled=True)))
BEGIN = (
    Step(at_s=0.1, kind="define", shape=CHAIN),
    Step(at_s=0.2, kind="create", spec=Spec(items=("x", "y"))),
)
OTHER_SPEC = Spec(value="b", replicas=2, items=("y", "z"))
NAMESAKES = (Place(kind=0, name=0, namespace="default"), Place(kind=0, name=0, namespace="other"))
STORIES = {
    "bring-up": Story(seed=1, steps=BEGIN),
    "update": Story(seed=1, steps=(*BEGIN, Step(at_s=8.0, kind="update", spec=OTHER_SPEC))),
    "deletion": Story(seed=1, steps=(*BEGIN, Step(at_s=8.0, kind="delete"))),
    "end of a definition": Story(
        seed=1, steps=(*BEGIN, Step(at_s=8.0, kind="undefine")), places=NAMESAKES, deletes_crds=True
    ),
    "takeover by another definition": Story(
        seed=1,
        steps=(*BEGIN, Step(at_s=5.0, kind="define", definition=1, shape=SHAPE), Step(at_s=8.0, kind="undefine")),
        places=NAMESAKES,
    ),
}


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_two_thousand_schedules_hold_every_invariant() -> None:
    """Run in other processes: a run must not depend on the hash seed of this process.

    They give way to the tests on the control plane, which run at the same time and look at clocks.
    """
    command = ["nice", sys.executable, "-m", "tests.simulation", f"--schedules={SCHEDULES}", "--jobs=2"]
    ran = subprocess.run(command, cwd=ROOT, env=os.environ, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stdout + ran.stderr


@pytest.mark.slow
@pytest.mark.parametrize("name", STORIES)
def test_a_crash_at_any_turn_loses_and_repeats_nothing(name: str) -> None:
    story = STORIES[name]
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
    """A missing external object is not an error, and the instance names it."""
    outside = Shape(nodes=(Node(id="a"),), external=True)
    steps = (Step(at_s=0.1, kind="define", shape=outside), Step(at_s=0.2, kind="create", spec=Spec()))
    assert play(Story(seed=3, steps=steps, external_missing=True)).violations == []


class Rogue(World):
    """A world where somebody with the controller's name makes forbidden writes, or omits writes."""

    deed = ""

    async def _quiet(self) -> None:
        rogue = FakeClient(self.server, actor="controller")
        await getattr(self, self.deed)(rogue)
        await super()._quiet()

    def child(self, node: str) -> tuple[Key, Obj]:
        return next((key, obj) for key, obj in self.children() if labels_of(obj)[LABEL_NODE_ID] == node)

    async def another(self, rogue: FakeClient, name: str, **labels: str) -> Key:
        """A ConfigMap like that of node a."""
        key, obj = self.child("a")
        copy = Key(CONFIG_MAPS, key.namespace, name)
        meta = {"name": name, "labels": {**labels_of(obj), **labels}, "annotations": obj["metadata"]["annotations"]}
        body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta, "data": obj["data"]}
        await rogue.apply(copy, body, manager="kro.run/applyset", force=True)
        return copy

    async def creates_too_early(self, rogue: FakeClient) -> None:
        await self.crash()
        key = instance_key(0, 1)
        made = await self.user.create(key, {"metadata": {"name": key.name}, "spec": Spec().manifest()})
        await self.another(rogue, "early", **{LABEL_INSTANCE_ID: made["metadata"]["uid"], LABEL_NODE_ID: "b"})

    async def creates_for_nobody(self, rogue: FakeClient) -> None:
        await self.another(rogue, "late", **{LABEL_INSTANCE_ID: "somebody who is gone"})

    async def deletes_a_dependency(self, rogue: FakeClient) -> None:
        child, _ = self.child("a")
        await self.user.delete(instance_key(0, 0))
        await rogue.delete(child)

    async def deletes_what_is_not_ours(self, rogue: FakeClient) -> None:
        foreign = Key(CONFIG_MAPS, "default", "foreign")
        labels = dict(labels_of(self.child("a")[1]))
        await self.user.create(foreign, {"metadata": {"name": "foreign", "labels": labels}})
        await rogue.delete(foreign)

    async def makes_a_child_twice(self, rogue: FakeClient) -> None:
        await self.crash()
        await self.another(rogue, "twice")

    async def forgets_a_child(self, rogue: FakeClient) -> None:
        await self.crash()
        await self.user.delete(self.child("b")[0])

    async def leaves_an_edit(self, rogue: FakeClient) -> None:
        await self.crash()
        await self.user.merge_patch(self.child("b")[0], {"data": {"value": "edited"}}, manager="kubectl-edit")

    async def leaves_an_instance(self, rogue: FakeClient) -> None:
        await self.crash()

    async def writes_after_convergence(self, rogue: FakeClient) -> None:
        child, _ = self.child("a")
        self.loop.call_later(90, lambda: self.loop.create_task(rogue.merge_patch(child, {"x": 1}, manager="m")))

    async def sets_what_is_not_declared(self, rogue: FakeClient) -> None:
        child, obj = self.child("c")
        body = {"apiVersion": obj["apiVersion"], "kind": obj["kind"], "metadata": {"name": child.name}}
        spec = {**obj["spec"], "replicas": 7}
        await rogue.apply(child, {**body, "spec": spec}, manager="kro.run/applyset", force=True)

    async def says_nothing(self, rogue: FakeClient) -> None:
        await self.crash()
        patch = {"status": {"state": "IN_PROGRESS", "conditions": []}}
        await self.user.merge_patch(instance_key(0, 0), patch, manager="m", subresource="status")

    async def forgets_a_revision(self, rogue: FakeClient) -> None:
        await self.crash()
        for revision in self.server.objects(REVISIONS):
            key = Key(REVISIONS, "", revision["metadata"]["name"])
            await self.user.merge_patch(key, {"metadata": {"finalizers": None}}, manager="kubectl-edit")
            await self.user.delete(key)

    async def leaves_a_revision(self, rogue: FakeClient) -> None:
        spec = {"revision": 1, "snapshot": {"name": "stray", "spec": {}}}
        await self.user.create(Key(REVISIONS, "", "stray"), {"metadata": {"name": "stray"}, "spec": spec})

    async def leaves_a_crd(self, rogue: FakeClient) -> None:
        names = {"kind": "Stray", "plural": "strays"}
        version = {"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": {"type": "object"}}}
        spec = {"group": "example.com", "names": names, "scope": "Namespaced", "versions": [version]}
        await self.user.create(
            Key(CRDS, "", "strays.example.com"), {"metadata": {"name": "strays.example.com"}, "spec": spec}
        )

    async def leaves_a_task(self, rogue: FakeClient) -> None:
        self.kept = self.loop.create_task(asyncio.Event().wait(), name="stray")

    async def leaves_a_watch(self, rogue: FakeClient) -> None:
        self.server.open_watch("/api/v1/configmaps?watch=true")

    async def remembers_an_instance(self, rogue: FakeClient) -> None:
        assert self.runtime is not None
        self.runtime.parts.queues.instances.add_after(instance_key(0, 7), 1e6)

    async def logs_an_error(self, rogue: FakeClient) -> None:
        logging.getLogger("kroasync.stray").error("a bug")


@pytest.mark.parametrize(
    ("deed", "told"),
    [
        ("creates_too_early", "was created too early: a never ready"),
        ("creates_for_nobody", "was created for an instance that is gone"),
        ("deletes_a_dependency", "which need it"),
        ("deletes_what_is_not_ours", "which is not ours"),
        ("makes_a_child_twice", "ConfigMap default twice is left over"),
        ("makes_a_child_twice", "twice was created beside i0-widget-a for node a"),
        ("forgets_a_child", "i0-widget-b is missing"),
        ("leaves_an_edit", "'value': 'edited'"),
        ("leaves_an_instance", "something is left of deleted instances"),
        ("forgets_a_revision", "no revision of the spec of ResourceGraphDefinition widget"),
        ("leaves_a_revision", "something is left of deleted definitions"),
        ("leaves_a_crd", "something is left of deleted definitions"),
        ("writes_after_convergence", "written after everything had converged"),
        ("sets_what_is_not_declared", "which nobody declares"),
        ("says_nothing", "Widget default/i0 is IN_PROGRESS"),
        ("leaves_a_task", "tasks are left: stray"),
        ("leaves_a_watch", "1 watches are left open"),
        ("remembers_an_instance", "something is remembered of what is gone"),
        ("logs_an_error", "logged as an error"),
    ],
)
def test_the_checks_see(deed: str, told: str) -> None:
    """Every invariant is violated once on purpose, and the check notices it."""
    steps = (Step(at_s=0.1, kind="define", shape=SHAPE), Step(at_s=0.2, kind="create", spec=Spec()))
    story = Story(seed=1, steps=steps, deletes_crds=True)
    Rogue.deed = deed
    assert any(told in text for text in play(story, world=Rogue).violations)


def test_an_instance_that_waits_has_to_say_for_what() -> None:
    outside = Shape(nodes=(Node(id="a"),), external=True)
    steps = (Step(at_s=0.1, kind="define", shape=outside), Step(at_s=0.2, kind="create", spec=Spec()))
    Rogue.deed = "says_nothing"
    violations = play(Story(seed=3, steps=steps, external_missing=True), world=Rogue).violations
    assert any("does not say 'waiting for external reference" in text for text in violations)


RIVALS = (Place(kind=0, name=0), Place(kind=0, name=1, namespace="other"))


def test_of_two_definitions_of_one_kind_one_serves_it_and_the_other_says_so() -> None:
    steps = (
        Step(at_s=0.1, kind="define", shape=CHAIN),
        Step(at_s=3.0, kind="define", definition=1, shape=SHAPE),
        Step(at_s=4.0, kind="create", spec=Spec()),
    )
    assert play(Story(seed=4, steps=steps, places=RIVALS)).violations == []


def test_a_refused_child_is_named_with_what_the_server_says() -> None:
    assert play(Story(seed=5, steps=BEGIN, refused="b")).violations == []


def test_an_instance_names_everything_that_keeps_it_from_being_active() -> None:
    """One child is refused, and an external object that others need is missing."""
    shape = Shape(nodes=(Node(id="a"), Node(id="b", needs=("a",)), Node(id="c")), external=True)
    steps = (Step(at_s=0.1, kind="define", shape=shape), Step(at_s=0.2, kind="create", spec=Spec()))
    assert play(Story(seed=6, steps=steps, refused="c", external_missing=True)).violations == []
