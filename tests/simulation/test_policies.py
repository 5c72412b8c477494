"""Stories about policies, a crash at every turn of some of them, and the checks themselves."""

import asyncio
import os
import subprocess
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from kroasync.model.kinds import CRDS
from kroasync.model.names import (
    ANNOTATION_DELETION_POLICY,
    LABEL_APPLYSET_PART_OF,
    LABEL_INSTANCE_ID,
    LABEL_NODE_ID,
    LABEL_OWNED,
    MANAGER_CHILDREN,
    POLICY_ORPHANED,
)
from kroasync.model.objects import Key, Obj
from tests.fakes import virtual
from tests.fakes.client import FakeClient, Fault
from tests.fakes.kube import FakeServer, Write
from tests.samples import CONFIG_MAPS, crd
from tests.simulation.cluster import Cluster
from tests.simulation.family import HOME, definition_key, instance_key, resource_of
from tests.simulation.memory import remembered
from tests.simulation.policy_family import JOBS, PODS, Plan, Policed, PolicyStep, Wish, manifest, policy_story_of
from tests.simulation.policy_rules import ALLOW_PRUNE, PLAN, Event, violations
from tests.simulation.policy_world import PolicyWorld
from tests.simulation.story import Step, Story
from tests.simulation.world import play

ROOT = Path(__file__).resolve().parents[2]
SCHEDULES = 100


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_schedules_about_policies_hold_every_invariant() -> None:
    """Run in other processes: a run must not depend on the hash seed of this process."""
    command = ["nice", sys.executable, "-m", "tests.simulation", "--family=policies", f"--schedules={SCHEDULES}"]
    ran = subprocess.run([*command, "--jobs=2"], cwd=ROOT, env=os.environ, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stdout + ran.stderr


def step(at_s: float, kind: str, **more: object) -> Step:
    return PolicyStep(at_s=at_s, kind=kind, **more)  # type: ignore[arg-type]


def node(**policies: str) -> Policed:
    return Policed(id="a", words=tuple(policies.items()))


def collection(max_prune: str, **policies: str) -> Policed:
    return Policed(id="a", each="items", max_prune=max_prune, words=tuple(policies.items()))


SEALED = Plan(nodes=(Policed(id="a", kind="Sealed", words=(("update", "Recreate"),)), Policed(id="b", needs="a")))
MANY = Wish(items=("u", "v", "w", "x"))
FEW = Wish(items=("u",))
STORIES = {
    "a recreation": (
        step(0.1, "plan", plan=SEALED),
        step(0.2, "change", wish=Wish(value="a")),
        step(8.0, "change", wish=Wish(value="b")),
    ),
    "a recreation of a Job": (
        step(0.1, "plan", plan=Plan(nodes=(Policed(id="a", kind="Job", words=(("update", "Recreate"),)),))),
        step(0.2, "change", wish=Wish(value="a")),
        step(8.0, "change", wish=Wish(value="b")),
    ),
    "a prune that is held and released": (
        step(0.1, "plan", plan=Plan(nodes=(collection("1"),))),
        step(0.2, "change", wish=MANY),
        step(5.0, "change", wish=FEW),
        step(8.0, "allow", pick=1),
    ),
    "an orphan that is adopted again": (
        step(0.1, "plan", plan=Plan(nodes=(node(deletion="Orphan", adoption="IfUnowned"),))),
        step(0.2, "change", wish=Wish(value="a")),
        step(8.0, "again", wish=Wish(value="b")),
    ),
    "a field that is yielded": (
        step(0.1, "plan", plan=Plan(nodes=(Policed(id="a", kind="Deployment", words=(("conflicts", "Yield"),)),))),
        step(0.2, "change", wish=Wish(value="a")),
        step(4.0, "scale", pick=1),
        step(8.0, "change", wish=Wish(value="b", replicas=3)),
    ),
}


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("name", STORIES)
def test_a_crash_at_any_turn_keeps_the_policies(name: str) -> None:
    """Of every third turn after the last step; the random crashes of the schedules are at any."""
    story = Story(seed=1, steps=STORIES[name])
    straight = play(story, quiet_s=100.0, world=PolicyWorld)
    assert straight.violations == []
    last_step, converged = straight.turns[-3], straight.turns[-2]
    assert converged - last_step > 20
    failed = {}
    for turn in range(last_step, converged, 3):
        report = play(story, crash_at=turn, quiet_s=100.0, world=PolicyWorld)
        if not report.ok:
            failed[turn] = report.violations
    assert failed == {}


@pytest.mark.parametrize(
    "resource",
    [
        Policed(id="a", kind="Deployment", words=(("conflicts", "Yield"),)),
        Policed(id="a", kind="Deployment", words=(("conflicts", "Fail"),)),
        Policed(id="a", kind="Deployment", left=True),
    ],
    ids=str,
)
def test_what_no_watch_has_reported_yet_is_not_overwritten(resource: Policed) -> None:
    steps = (
        step(0.1, "plan", plan=Plan(nodes=(resource,))),
        step(0.2, "change", wish=Wish(value="a")),
        step(5.0, "hush", seconds=4.0),
        step(6.0, "scale", pick=1),
        step(6.5, "change", wish=Wish(value="b", replicas=3)),
    )
    assert play(Story(seed=1, steps=steps), quiet_s=100.0, world=PolicyWorld).violations == []


def test_what_changes_again_in_one_generation_is_recreated_once() -> None:
    resource = Policed(id="a", kind="Sealed", counts=True, words=(("update", "Recreate"),))
    steps = (
        step(0.1, "plan", plan=Plan(nodes=(resource,))),
        step(0.2, "change", wish=Wish(value="a")),
        step(5.0, "list", letters=("u",)),
        step(9.0, "list", letters=("u", "v")),
        step(12.0, "crash", seconds=1.0),
        step(20.0, "list", letters=("u", "v", "w")),
    )
    told: list[str] = []

    class Counting(PolicyWorld):
        async def _quiet(self) -> None:
            told.extend(f"{e.at_s:.0f}" for e in self.history if e.by_controller and e.write.verb == "delete")
            await super()._quiet()

    assert play(Story(seed=1, steps=steps), quiet_s=100.0, world=Counting).violations == []
    assert told == ["5"]


def test_a_seed_always_tells_the_same_story_about_policies() -> None:
    assert policy_story_of(7) == policy_story_of(7)
    first, second = (play(policy_story_of(7), world=PolicyWorld) for _ in range(2))
    assert (first.requests, first.virtual_s, first.turns) == (second.requests, second.virtual_s, second.turns)


def test_an_object_of_others_is_forgotten_although_its_refusal_got_no_answer() -> None:
    async def main() -> list[str]:
        cluster = Cluster()
        await cluster.define(0)
        meta = {"name": "i0-widget-a", "labels": {"app.kubernetes.io/managed-by": "Helm"}}
        await cluster.user.create(Key(CONFIG_MAPS, HOME, "i0-widget-a"), {"metadata": meta})
        now = cluster.loop.time()
        path = "/configmaps/i0-widget-a"
        fault = Fault(
            kind="lost-answer", begin_s=now, end_s=now + 60, rate=1.0, methods=frozenset({"PATCH"}), path=path
        )
        cluster.network.faults.append(fault)
        await cluster.make(0, 0)
        await asyncio.sleep(20)
        await cluster.user.delete(instance_key(0, 0))
        await cluster.until(lambda: not cluster.server.objects(resource_of(0)), 20)
        await cluster.user.delete(definition_key(0))
        await cluster.until(lambda: not remembered(cluster.runtime, {}), 20)
        await cluster.stop()
        return [obj["metadata"]["name"] for obj in cluster.server.objects(CONFIG_MAPS)]

    assert virtual.run(main()) == ["i0-widget-a"]


# The checks themselves: histories without a controller, written on a server by its name


class Stage:
    """A server with one definition and one instance; `controller` writes as the controller would not."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.server = FakeServer()
        self.loop = virtual.running()
        self.history: list[Event] = []
        self.server.observe(self._observe)
        self.user = FakeClient(self.server, actor="user")
        self.controller = FakeClient(self.server, actor="controller")
        self.uid = ""

    def _observe(self, write: Write) -> None:
        self.history.append(Event(self.loop.time() - virtual.START_S, write.actor == "controller", write))

    async def set(self, wish: Wish) -> None:
        definition = manifest(self.plan)
        definition["metadata"]["annotations"] = {PLAN: "0"}
        await self.user.create(definition_key(0), definition)
        body = crd("Widget", group="kro.run", schema={"type": "object", "x-kubernetes-preserve-unknown-fields": True})
        body["spec"]["versions"][0]["name"] = "v1alpha1"
        await self.user.create(Key(CRDS, "", body["metadata"]["name"]), body)
        await asyncio.sleep(1)
        made = await self.user.create(instance_key(0, 0), {"metadata": {"name": "i0"}, "spec": wish.manifest()})
        self.uid = made["metadata"]["uid"]

    async def change(self, wish: Wish) -> None:
        await asyncio.sleep(200)
        await self.user.merge_patch(instance_key(0, 0), {"spec": wish.manifest()}, manager="user")

    async def apply(self, value: str, *, name: str = "a", annotations: Obj | None = None, **labels: str) -> Key:
        """Make or change a child of node a."""
        key = Key(CONFIG_MAPS, HOME, f"i0-widget-{name}")
        member = {LABEL_OWNED: "true", LABEL_INSTANCE_ID: self.uid, LABEL_NODE_ID: "a", LABEL_APPLYSET_PART_OF: "ours"}
        meta = {"name": key.name, "labels": member | labels, "annotations": annotations or {}}
        body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta, "data": {"value": value}}
        await self.controller.apply(key, body, manager=MANAGER_CHILDREN, force=True)
        return key

    async def strange(self, **meta: object) -> Key:
        """Somebody else makes the object."""
        key = Key(CONFIG_MAPS, HOME, "i0-widget-a")
        await self.user.create(key, {"metadata": {"name": key.name, **meta}, "data": {"value": "theirs"}}, manager="x")
        return key

    async def orphan(self) -> Key:
        return await self.apply("a", annotations={ANNOTATION_DELETION_POLICY: POLICY_ORPHANED})

    async def disown(self, key: Key, **more: object) -> None:
        """Take the labels of the instance from a child."""
        labels = dict.fromkeys((LABEL_OWNED, LABEL_INSTANCE_ID, LABEL_NODE_ID, LABEL_APPLYSET_PART_OF))
        await self.controller.merge_patch(key, {"metadata": {"labels": labels}, **more}, manager=MANAGER_CHILDREN)

    async def allow(self, generation: int) -> None:
        """A person allows a prune, and the controller uses it up."""
        for client, value in ((self.user, str(generation)), (self.controller, None)):
            patch = {"metadata": {"annotations": {ALLOW_PRUNE: value}}}
            await client.merge_patch(instance_key(0, 0), patch, manager="m")

    async def prune(self, *letters: str) -> None:
        for letter in letters:
            await self.controller.delete(Key(CONFIG_MAPS, HOME, f"i0-widget-a-{letter}"))


Deed = Callable[[Stage], Awaitable[object]]


async def adopts(stage: Stage) -> None:
    await stage.strange()
    await stage.apply("a")


async def adopts_what_helm_has(stage: Stage) -> None:
    await stage.strange(labels={"app.kubernetes.io/managed-by": "Helm"})
    await stage.apply("a")


async def adopts_what_another_applyset_has(stage: Stage) -> None:
    await stage.strange(labels={LABEL_APPLYSET_PART_OF: "another"})
    await stage.apply("a")


async def adopts_as_declared(stage: Stage) -> None:
    await stage.strange()
    await stage.apply("theirs")


async def changes_a_stranger(stage: Stage) -> None:
    key = await stage.strange()
    await stage.controller.merge_patch(key, {"data": {"value": "b"}}, manager="m")


async def deletes_a_stranger(stage: Stage) -> None:
    await stage.controller.delete(await stage.strange())


async def deletes_an_orphan(stage: Stage) -> None:
    await stage.change(Wish(on=False))
    await stage.controller.delete(await stage.orphan())


async def deletes_what_was_to_be_an_orphan(stage: Stage) -> None:
    await stage.controller.delete(await stage.apply("a"))


async def deletes_what_is_wanted(stage: Stage) -> None:
    await stage.controller.delete(await stage.apply("a"))


async def deletes_what_is_left_out(stage: Stage) -> None:
    key = await stage.apply("a")
    await stage.change(Wish(on=False))
    await asyncio.sleep(200)
    await stage.controller.delete(key)


async def recreates_twice(stage: Stage) -> None:
    for value in ("a", "b", "c"):
        key = await stage.apply(value)
        if value != "c":
            await stage.controller.delete(key)


async def recreates_once(stage: Stage) -> None:
    await stage.controller.delete(await stage.apply("a"))
    await stage.apply("b")


async def recreates_beside_a_pod(stage: Stage) -> None:
    """In the background, the Job is gone before its Pod."""
    key = Key(JOBS, HOME, "i0-widget-a")
    member = {LABEL_OWNED: "true", LABEL_INSTANCE_ID: stage.uid, LABEL_NODE_ID: "a", LABEL_APPLYSET_PART_OF: "ours"}
    body = {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": key.name, "labels": member}, "spec": {}}
    made = await stage.controller.apply(key, body, manager=MANAGER_CHILDREN, force=True)
    owner = {"apiVersion": "batch/v1", "kind": "Job", "name": key.name, "uid": made["metadata"]["uid"]}
    pod = {"name": "i0-widget-a-pod", "ownerReferences": [{**owner, "blockOwnerDeletion": True}]}
    await stage.user.create(Key(PODS, HOME, "i0-widget-a-pod"), {"metadata": pod})
    await stage.controller.delete(key, propagation="Background")
    await stage.controller.apply(key, body, manager=MANAGER_CHILDREN, force=True)


async def changes_a_child(stage: Stage) -> None:
    await stage.apply("a")
    await stage.apply("b")


async def takes_a_field_back(stage: Stage) -> None:
    key = await stage.apply("a")
    await stage.user.merge_patch(key, {"data": {"value": "theirs"}}, manager="x")
    await stage.apply("b")


async def changes_another_field(stage: Stage) -> None:
    key = await stage.apply("a")
    await stage.user.merge_patch(key, {"data": {"value": "theirs"}}, manager="x")
    await stage.controller.merge_patch(key, {"data": {"more": "b"}}, manager=MANAGER_CHILDREN)


async def releases_what_is_no_orphan(stage: Stage) -> None:
    await stage.disown(await stage.apply("a"))


async def releases_an_orphan(stage: Stage) -> None:
    await stage.disown(await stage.orphan())


async def empties_what_it_releases(stage: Stage) -> None:
    await stage.disown(await stage.orphan(), data=None)


async def with_few(stage: Stage) -> None:
    """The instance had four objects, and wants one for a while."""
    for letter in MANY.items:
        await stage.apply("a", name=f"a-{letter}")
    await stage.change(FEW)
    await asyncio.sleep(200)


async def prunes_too_many(stage: Stage) -> None:
    await with_few(stage)
    await stage.prune("v")


async def prunes_what_was_allowed(stage: Stage) -> None:
    await with_few(stage)
    await stage.allow(2)
    await stage.prune("v", "w", "x")


async def prunes_what_was_allowed_before(stage: Stage) -> None:
    await with_few(stage)
    await stage.allow(1)
    await stage.prune("v")


async def prunes_twice_what_was_allowed_once(stage: Stage) -> None:
    await with_few(stage)
    await stage.allow(2)
    await stage.prune("v")
    await asyncio.sleep(100)
    await stage.prune("w", "x")


@pytest.mark.parametrize(
    ("resource", "deed", "told"),
    [
        (node(adoption="Never"), adopts, "was adopted under Never"),
        (node(adoption="IfUnowned"), adopts, "was adopted under IfUnowned"),
        (node(adoption="IfUnowned"), adopts_as_declared, ""),
        (node(), adopts, ""),
        (node(), adopts_what_helm_has, "was adopted under IfUnclaimed"),
        (node(adoption="Always"), adopts_what_helm_has, ""),
        (node(adoption="Always"), adopts_what_another_applyset_has, "was adopted under Always"),
        (node(update="Once"), adopts, "was changed by its adoption under Once"),
        (node(), changes_a_stranger, "was changed by update, which is not ours"),
        (node(), deletes_a_stranger, "was deleted, which is not ours"),
        (node(), deletes_an_orphan, "was deleted, which is an orphan"),
        (node(deletion="Orphan"), deletes_what_was_to_be_an_orphan, "which always was to be an orphan"),
        (node(), deletes_what_is_wanted, "was deleted, which its instance wants"),
        (Policed(id="a", toggled=True), deletes_what_is_left_out, ""),
        (node(update="Recreate"), recreates_twice, "was recreated 2 times in 1 generations"),
        (node(update="Recreate"), recreates_once, ""),
        (node(update="Recreate"), recreates_beside_a_pod, "was recreated beside i0-widget-a-pod of the old one"),
        (node(update="Once"), changes_a_child, "was changed under Once: data.value"),
        (node(), changes_a_child, ""),
        (node(conflicts="Yield"), takes_a_field_back, "data.value of ConfigMap i0-widget-a was changed"),
        (node(conflicts="Fail"), takes_a_field_back, "data.value of ConfigMap i0-widget-a was changed"),
        (Policed(id="a", left=True), takes_a_field_back, "data.value of ConfigMap i0-widget-a was changed"),
        (node(), takes_a_field_back, ""),
        (node(conflicts="Fail"), changes_another_field, "was changed under Fail"),
        (node(conflicts="Yield"), changes_another_field, ""),
        (node(), releases_what_is_no_orphan, "was released, which is no orphan"),
        (node(), releases_an_orphan, ""),
        (node(), empties_what_it_releases, "lost data by its release"),
        (collection("2"), prunes_too_many, "was pruned, one of 3 of 4 objects, with maxPrune 2"),
        (collection("50%"), prunes_too_many, "was pruned, one of 3 of 4 objects, with maxPrune 50%"),
        (collection("75%"), prunes_too_many, ""),
        (collection("0"), prunes_what_was_allowed, ""),
        (collection("0"), prunes_what_was_allowed_before, "with maxPrune 0"),
        (collection("1"), prunes_twice_what_was_allowed_once, "with maxPrune 1"),
    ],
)
def test_the_checks_see_a_broken_promise(resource: Policed, deed: Deed, told: str) -> None:
    plan = Plan(nodes=(resource,))

    async def main() -> list[str]:
        stage = Stage(plan)
        await stage.set(MANY if resource.each else Wish())
        await deed(stage)
        return violations(stage.history, [plan])

    found = virtual.run(main())
    assert any(told in text for text in found) if told else found == [], found


class Silent(PolicyWorld):
    """A world whose controller is gone when the deed is done, so that nobody mends it."""

    deed = ""

    async def _quiet(self) -> None:
        await self.crash()
        child, obj = self.children()[0]
        if self.deed == "forgets":
            await self.user.delete(child)
        elif self.deed == "leaves an edit":
            await self.user.merge_patch(child, {"data": {"value": "edited"}}, manager="kubectl-edit")
        elif self.deed == "leaves an object":
            copy = {**obj, "metadata": {"name": "i0-widget-a-z", "labels": obj["metadata"]["labels"]}}
            await self.user.create(Key(CONFIG_MAPS, HOME, "i0-widget-a-z"), copy)
        else:
            patch = {"status": {"state": "ACTIVE" if self.deed == "tells nothing of it" else "ERROR", "conditions": []}}
            await self.user.merge_patch(instance_key(0, 0), patch, manager="m", subresource="status")
        await super()._quiet()


@pytest.mark.parametrize(
    ("deed", "max_prune", "told"),
    [
        ("forgets", "", "i0-widget-a-u is missing"),
        ("leaves an edit", "", "i0-widget-a-u has value edited, not a"),
        ("leaves an object", "", "i0-widget-a-z is left over"),
        ("tells of an error", "", "is ERROR, not ACTIVE"),
        ("tells nothing of it", "0", "the status does not say 'PruneHeld'"),
    ],
)
def test_the_end_is_examined(deed: str, max_prune: str, told: str) -> None:
    Silent.deed = deed
    steps = (
        step(0.1, "plan", plan=Plan(nodes=(collection(max_prune),))),
        step(0.2, "change", wish=MANY),
        step(5.0, "change", wish=FEW),
    )
    found = play(Story(seed=1, steps=steps), world=Silent, quiet_s=100.0).violations
    assert any(told in text for text in found), found
