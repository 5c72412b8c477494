"""Plays the stories about policies: foreign writers, scalers and objects that were there before.

The invariants of every write are in `policy_rules`; this module has the users of the story, and what must be true at
the end: the declared values, the fields and objects of others, and a status that says so.
"""

import asyncio
from typing import Any

import orjson

from kroasync.kube.api_errors import ApiError
from kroasync.kube.client import path_of
from kroasync.model.kinds import CRDS, GRAPH_DEFINITIONS, GROUPS, REVISIONS
from kroasync.model.names import (
    ANNOTATION_ALLOW_BREAKING,
    ANNOTATION_DELETION_POLICY,
    LABEL_APPLYSET_PART_OF,
    LABEL_COLLECTION_SIZE,
    LABEL_INSTANCE_ID,
    LABEL_NODE_ID,
    LABEL_OWNED,
    POLICY_ORPHANED,
)
from kroasync.model.objects import Key, Obj, annotations_of, labels_of
from kroasync.model.policies import MaxPrune
from tests.fakes import virtual
from tests.fakes.kube import Stored, Write
from tests.samples import CONFIG_MAPS
from tests.simulation.family import HOME, Shape, definition_key, instance_key, resource_of
from tests.simulation.policy_family import (
    CHILDREN,
    JOBS,
    PODS,
    WORDS,
    Plan,
    Policed,
    PolicyStep,
    Wish,
    child_key,
    contested_paths,
    declared_value,
    excluded,
    external_path,
    live_values,
    manifest,
    names_of,
    words,
)
from tests.simulation.policy_rules import ALLOW_PRUNE, PLAN, Event, is_ours, others, refuses, violations
from tests.simulation.story import Step, Story
from tests.simulation.world import QUIET_S, World

_CONTROLLER = "controller"
# How often a scaler changes its mind while everything else rests.
_SCALED_EVERY_S = 47.0


class PolicyWorld(World):
    """A story about policies in progress. `history` has every write."""

    def __init__(self, story: Story, *, crash_at: int | None = None, quiet_s: float = QUIET_S) -> None:
        super().__init__(story, crash_at=crash_at, quiet_s=quiet_s)
        self.history: list[Event] = []
        self.plans: list[Plan] = []
        self.plan: Plan | None = None
        self.wishes: dict[int, Wish] = {}
        self.letters: frozenset[str] = frozenset()
        self.shapes[0] = []
        self.declared[0] = Shape(nodes=())
        # Texts that nobody else uses, so that each write of a foreign manager changes its value.
        self._words = 0

    # The story

    async def _do(self, step: Step) -> None:
        assert isinstance(step, PolicyStep)
        match step.kind:
            case "plan" | "replan":
                assert step.plan is not None
                self._declare(step.plan)
            case "unplan":
                self.plan = None
                if self.story.deletes_crds:
                    self.wishes.clear()
                await self._undefine(0)
            case "change":
                assert step.wish is not None
                self.wishes[step.instance] = step.wish
                self._spawn(self._grant(step.instance))
            case "remove" | "again":
                self.wishes.pop(step.instance, None)
                await self._try(self.user.delete(instance_key(0, step.instance)))
                if step.wish is not None:
                    self.wishes[step.instance] = step.wish
                    self._spawn(self._grant(step.instance))
            case "list":
                await self._list(frozenset(step.letters))
            case "blink":
                self._visit(self._blink(frozenset(step.letters), step.seconds))
            case "allow":
                await self._allow(step)
            case "exist":
                await self._exist(step)
            case "hush":
                # The controller learns later what happened to children.
                for stream in self.server.streams():
                    if stream.resource in CHILDREN:
                        stream.hold(step.seconds)
            case "edit" | "take" | "share" | "free" | "scale" | "kill":
                await self._touch(step)
            case _:
                await super()._do(step)

    def _declare(self, plan: Plan) -> None:
        self.plan = plan
        self.plans.append(plan)
        self._spawn(self._define_plan())

    async def _define_plan(self) -> None:
        key = definition_key(0)
        while (plan := self.plan) is not None:
            wanted = manifest(plan)
            wanted["metadata"]["annotations"] = {
                ANNOTATION_ALLOW_BREAKING: "true",
                PLAN: str(len(self.plans) - 1),
            }
            try:
                found = await self._get(key)
                if found is None:
                    await self.user.create(key, wanted, manager="kubectl-create")
                    return
                if "deletionTimestamp" not in found["metadata"]:
                    # A merge patch removes only what it names.
                    spec = {**wanted["spec"], "policy": {name: dict(plan.words).get(name) for name in WORDS}}
                    patch = {"metadata": {"annotations": wanted["metadata"]["annotations"]}, "spec": spec}
                    await self.user.merge_patch(key, patch, manager="kubectl-edit")
                    return
            except ApiError:
                pass
            await asyncio.sleep(0.3)

    async def _grant(self, instance: int) -> None:
        key = instance_key(0, instance)
        while (wish := self.wishes.get(instance)) is not None:
            try:
                found = await self._get(key)
                if found is None:
                    meta = {"name": key.name, "namespace": key.namespace}
                    await self.user.create(key, {"metadata": meta, "spec": wish.manifest()}, manager="kubectl-create")
                    return
                if "deletionTimestamp" not in found["metadata"]:
                    await self.user.merge_patch(key, {"spec": wish.manifest()}, manager="kubectl-edit")
                    return
            except ApiError:
                pass
            await asyncio.sleep(0.5)

    async def _list(self, letters: frozenset[str]) -> None:
        """The external list has these letters."""
        for letter in sorted(self.letters ^ letters):
            key = Key(CONFIG_MAPS, HOME, f"list-{letter}")
            if letter in letters:
                meta = {"name": key.name, "labels": {"list": "yes"}}
                await self._try(self.user.create(key, {"metadata": meta, "data": {"letter": letter}}))
            else:
                await self._try(self.user.delete(key))
        self.letters = letters

    async def _blink(self, letters: frozenset[str], seconds: float) -> None:
        """The list changes for a moment, often to nothing."""
        before = self.letters
        await self._list(letters)
        await asyncio.sleep(seconds)
        if self.letters == letters:
            await self._list(before)

    async def _allow(self, step: PolicyStep) -> None:
        """A person releases a prune that is held, of the present generation or of another one."""
        found = await self._get(instance_key(0, step.instance))
        if found is None:
            return
        generation = found["metadata"]["generation"] + (1 if step.pick % 5 == 0 else 0)
        patch = {"metadata": {"annotations": {ALLOW_PRUNE: str(generation)}}}
        await self._try(self.user.merge_patch(instance_key(0, step.instance), patch, manager="kubectl-annotate"))

    async def _exist(self, step: PolicyStep) -> None:
        """Somebody makes an object of a name that an instance declares."""
        plan = self.plan or (self.plans[-1] if self.plans else None)
        if plan is None:
            return
        node = plan.nodes[step.pick % len(plan.nodes)]
        wish = self.wishes.get(step.instance, Wish())
        names = names_of(node, f"i{step.instance}", wish, self.letters)
        if not names:
            return
        key = child_key(node, names[step.pick % len(names)])
        value = wish.value if step.mark == "same" else f"foreign-{step.pick}"
        body = _body(node, key, value, wish.replicas if step.mark == "same" else 4)
        meta = body["metadata"]
        match step.mark:
            case "controller":
                owner = {"apiVersion": "example.com/v1", "kind": "Owner", "name": "other", "uid": "of another"}
                meta["ownerReferences"] = [{**owner, "controller": True}]
            case "helm":
                meta["labels"] = {"app.kubernetes.io/managed-by": "Helm"}
                meta["annotations"] = {"meta.helm.sh/release-name": "shop", "meta.helm.sh/release-namespace": HOME}
            case "applyset":
                meta["labels"] = {LABEL_APPLYSET_PART_OF: "applyset-of-another-v1"}
            case "plain":
                body.pop("data", None)
        await self._try(self.user.create(key, body, manager="somebody"))

    async def _touch(self, step: PolicyStep) -> None:
        """Somebody changes, takes, shares, frees, scales or deletes a child."""
        children = self.children()
        if not children:
            return
        key, obj = children[step.pick % len(children)]
        self._words += 1
        text, replicas = f"of-others-{self._words}", 4 + self._words
        live = live_values(obj)
        match step.kind:
            case "edit" if obj["kind"] != "Job":
                await self._try(self.user.merge_patch(key, _content(obj, replicas, text), manager="kubectl-edit"))
            case "take":
                await self._apply(key, obj, _content(obj, replicas, text))
            case "share":
                await self._apply(key, obj, _content(obj, live.get("replicas"), live["value"]))
            case "free":
                await self._apply(key, obj, {})
            case "scale" if obj["kind"] == "Deployment":
                await self._scale_to(key, replicas if step.pick % 3 else 1 + step.pick % 2)
            case "kill":
                await self._try(self.user.delete(key))

    async def _apply(self, key: Key, obj: Obj, content: Obj) -> None:
        """Another tool applies this content; nobody can change the Pods of a Job."""
        if obj["kind"] != "Job":
            body = {"apiVersion": obj["apiVersion"], "kind": obj["kind"], "metadata": {"name": key.name}, **content}
            await self._try(self.user.apply(key, body, manager="other-tool", force=True))

    async def _scale_to(self, key: Key, replicas: int) -> None:
        await self._try(
            self.user.merge_patch(key, {"spec": {"replicas": replicas}}, manager="scaler", subresource="scale")
        )

    # The record

    def children(self) -> list[tuple[Key, Obj]]:
        """Every object that belongs to an instance of the story, by its labels."""
        return [
            (Key(resource, obj["metadata"]["namespace"], obj["metadata"]["name"]), obj)
            for resource in CHILDREN
            for obj in self.server.objects(resource)
            if labels_of(obj).get(LABEL_OWNED) == "true"
        ]

    def _observe(self, write: Write) -> None:
        by_controller = write.actor == _CONTROLLER
        if by_controller and write.resource.group != "events.k8s.io":
            stored = write.after or write.before
            assert stored is not None
            self._writes.append(f"{write.verb} {stored.obj['kind']} {stored.obj['metadata']['name']}")
        self.history.append(Event(self.loop.time() - virtual.START_S, by_controller, write))
        if write.resource == JOBS and write.before is None and write.after is not None:
            self.loop.call_later(0.05, self._run_pod, write.after)
        if write.resource == PODS and write.after is not None and write.after.deleting:
            self.loop.call_later(1.0, self._end_pod, write.after.obj["metadata"]["name"])

    def _run_pod(self, job: Stored) -> None:
        """The Job controller: a Pod, which takes a second to end."""
        meta = job.obj["metadata"]
        found = self.server.stored(JOBS, HOME, meta["name"])
        if found is None or found.uid != job.uid or found.deleting:
            return
        owner = {"apiVersion": "batch/v1", "kind": "Job", "name": meta["name"], "uid": meta["uid"]}
        pod = {
            "name": f"{meta['name']}-{meta['uid'][-4:]}",
            "finalizers": ["example.com/runs"],
            "ownerReferences": [{**owner, "controller": True, "blockOwnerDeletion": True}],
        }
        path = path_of(Key(PODS, HOME, ""))
        self.server.handle("POST", path, orjson.dumps({"metadata": pod}), "application/json", actor="job-controller")

    def _end_pod(self, name: str) -> None:
        patch = orjson.dumps({"metadata": {"finalizers": None}})
        path = path_of(Key(PODS, HOME, name))
        self.server.handle("PATCH", path, patch, "application/merge-patch+json", actor="kubelet")

    # Phases after the steps

    async def _settle(self) -> None:
        self.network.faults.clear()
        if self._runtime is None:
            self.start()
        if self._guests:
            await asyncio.wait(self._guests)
        if not self.plans:
            self.wishes.clear()
        if self.plan is None and self.plans and (self.wishes or self._kind_is_served()):
            self._declare(self.plans[-1])
        for instance in sorted(self.wishes):
            self._spawn(self._grant(instance))
        if self.has_silence:
            await asyncio.sleep(200.0)
        await self._until(self._unconverged, self.within_s, "not converged")
        self._judge()
        self.server.compact()

    def _kind_is_served(self) -> bool:
        return bool(self.server.objects(resource_of(0)))

    def _judge(self) -> None:
        for text in violations(self.history, self.plans):
            if text not in self.report.violations:
                self.report.violations.append(text)

    async def _quiet(self) -> None:
        """Nothing is written, also while scalers change what was left to them."""
        scaling = self.loop.create_task(self._scale_again(), name="scaler")
        await super()._quiet()
        scaling.cancel()
        await asyncio.wait([scaling])
        self._judge()

    async def _scale_again(self) -> None:
        number = 0
        while True:
            await asyncio.sleep(_SCALED_EVERY_S)
            number += 1
            for key, _ in self.children():
                stored = self.server.stored(key.resource, key.namespace, key.name)
                if stored is not None and self._is_left(stored):
                    await self._scale_to(key, 1 + number % 5)

    def _is_left(self, stored: Stored) -> bool:
        """The replicas belong to a scaler, and the definition leaves them to it."""
        path = ("f:spec", "f:replicas")
        node = self.plan.node(labels_of(stored.obj).get(LABEL_NODE_ID, "")) if self.plan is not None else None
        wish = self._wish_of(stored.obj)
        if self.plan is None or node is None or wish is None or "scaler" not in others(stored, path):
            return False
        found, faulty = words(self.plan, node, wish)
        if faulty or is_ours(stored, path) or found["update"] == "Once":
            return False
        return external_path(node) == path or found["conflicts"] == "Yield"

    def _wish_of(self, child: Obj) -> Wish | None:
        uid = labels_of(child).get(LABEL_INSTANCE_ID)
        for instance, wish in self.wishes.items():
            stored = self.server.stored(resource_of(0), HOME, f"i{instance}")
            if stored is not None and stored.uid == uid:
                return wish
        return None

    async def _end(self) -> None:
        await super()._end()
        self._judge()
        for resource in CHILDREN:
            for obj in self.server.objects(resource):
                if LABEL_INSTANCE_ID in labels_of(obj):
                    self.violated(f"{obj['metadata']['name']} still belongs to an instance that is gone")

    # What must be true at the end

    def _unconverged(self) -> list[str]:
        wrong = [
            f"{resource.kind} {obj['metadata']['name']} is still being deleted"
            for resource in (GROUPS, GRAPH_DEFINITIONS, REVISIONS, CRDS, resource_of(0))
            for obj in self.server.objects(resource)
            if "deletionTimestamp" in obj["metadata"]
        ]
        plan = self.plan
        if plan is None:
            return wrong
        wrong += self._unserved(0)
        wanted: set[str] = set()
        for instance, wish in sorted(self.wishes.items()):
            stored = self.server.stored(resource_of(0), HOME, f"i{instance}")
            if stored is None:
                wrong.append(f"i{instance} is not there")
                if not self._users:
                    self._spawn(self._grant(instance))
                continue
            wanted.add(stored.uid)
            wrong += [f"i{instance}: {text}" for text in Account(self, plan, stored, wish).differences()]
        wrong += [
            f"{key.name} is left of an instance that is gone"
            for key, obj in self.children()
            if labels_of(obj).get(LABEL_INSTANCE_ID) not in wanted
        ]
        return wrong

    def _left(self) -> list[str]:
        left = [str(key) for key, _ in self.children()]
        return left + [f"instance {obj['metadata']['name']}" for obj in self.server.objects(resource_of(0))]


class Account:
    """What is true of one instance, and whether its status says so."""

    def __init__(self, world: PolicyWorld, plan: Plan, stored: Stored, wish: Wish) -> None:
        self._world = world
        self._plan = plan
        self._stored = stored
        self._wish = wish
        self._wrong: list[str] = []
        # What the status must say, and the nodes that are in error or wait for one.
        self._told: list[str] = []
        self._blocked: set[str] = set()
        self._held = False

    def differences(self) -> list[str]:
        out = excluded(self._plan, self._wish)
        for node in self._plan.nodes:
            if node.id not in out:
                self._check_node(node)
        extras = {node.id: self._extras(node, out) for node in self._plan.nodes}
        if not self._blocked:
            self._check_extras(extras)
        self._check_status()
        return self._wrong

    def _check_node(self, node: Policed) -> None:
        if node.needs in self._blocked:
            self._blocked.add(node.id)
            return
        found, faulty = words(self._plan, node, self._wish)
        if faulty:
            self._blocked.add(node.id)
            self._told += [f"policy.{name}" for name in faulty]
            return
        instance = str(self._stored.obj["metadata"]["name"])
        for name in names_of(node, instance, self._wish, self._world.letters):
            self._check_child(node, name, found)

    def _check_child(self, node: Policed, name: str, found: dict[str, str]) -> None:
        stored = self._world.server.stored(node.resource, HOME, name)
        if stored is None:
            self._wrong.append(f"{name} is missing")
            return
        if stored.deleting:
            self._wrong.append(f"{name} is being deleted")
        labels = labels_of(stored.obj)
        if labels.get(LABEL_INSTANCE_ID) != self._stored.uid:
            self._check_refused(node, stored, found)
            return
        if labels.get(LABEL_NODE_ID) != node.id:
            self._wrong.append(f"{name} is labelled {labels.get(LABEL_NODE_ID)}")
        if found["update"] == "Once" or self._is_contested(node, stored, found):
            return
        for path, spec_field in contested_paths(node).items():
            self._check_field(node, stored, path, spec_field, found)
        if node.counts and stored.obj["data"].get("count") != str(len(self._world.letters)):
            # It changed more than once in a generation, and was recreated once.
            self._blocked.add(node.id)
            self._told.append("immutable")

    def _is_contested(self, node: Policed, stored: Stored, found: dict[str, str]) -> bool:
        """Under Fail, nothing of the object is as declared if somebody else has one field with another value."""
        if found["conflicts"] != "Fail":
            return False
        contested = [
            (is_ours(stored, path), manager)
            for path, field in contested_paths(node).items()
            if path != external_path(node) and live_values(stored.obj)[field] != declared_value(node, field, self._wish)
            for manager in others(stored, path)[:1]
        ]
        if contested:
            self._blocked.add(node.id)
            # Whether a field that both own is in the way shows only when the others are not.
            self._told += [str(stored.obj["metadata"]["name"]), min(contested)[1]]
        return bool(contested)

    def _check_refused(self, node: Policed, stored: Stored, found: dict[str, str]) -> None:
        word, name = found["adoption"], stored.obj["metadata"]["name"]
        differ = any(
            others(stored, path) and live_values(stored.obj)[field] != declared_value(node, field, self._wish)
            for path, field in contested_paths(node).items()
        )
        is_refused = refuses(word, stored) or (word == "IfUnowned" and differ)
        if is_refused or (found["conflicts"] == "Fail" and differ) or self._is_fixed(node, stored):
            self._blocked.add(node.id)
            self._told.append(name)
        else:
            self._wrong.append(f"{name} is not adopted under {word}")

    def _is_fixed(self, node: Policed, stored: Stored) -> bool:
        """The server does not let the object become what is declared."""
        if stored.obj.get("immutable"):
            counted = {"count": str(len(self._world.letters))} if node.counts else {}
            return bool(stored.obj.get("data") != {"value": self._wish.value, "fixed": "yes"} | counted)
        return node.kind == "Job" and live_values(stored.obj)["value"] != declared_value(node, "value", self._wish)

    def _check_field(
        self, node: Policed, stored: Stored, path: tuple[str, ...], spec_field: str, found: dict[str, str]
    ) -> None:
        name = stored.obj["metadata"]["name"]
        live, value = live_values(stored.obj)[spec_field], declared_value(node, spec_field, self._wish)
        others_have = others(stored, path)
        if live == value or (others_have and (external_path(node) == path or found["conflicts"] == "Yield")):
            return
        is_kept = found["deletion"] == "Orphan" or ANNOTATION_DELETION_POLICY in annotations_of(stored.obj)
        if self._is_fixed(node, stored) and (found["update"] != "Recreate" or is_kept):
            self._blocked.add(node.id)
            self._told.append("immutable")
        else:
            self._wrong.append(f"{name} has {spec_field} {live}, not {value}; others: {others_have}")

    def _children(self) -> list[Obj]:
        """The children of the instance, by their labels."""
        found = (obj for _, obj in self._world.children())
        return [obj for obj in found if labels_of(obj).get(LABEL_INSTANCE_ID) == self._stored.uid]

    def _extras(self, node: Policed, out: set[str]) -> tuple[list[Obj], int]:
        """The children of a node that the instance no longer wants, and the number of all of them."""
        instance = str(self._stored.obj["metadata"]["name"])
        names = [] if node.id in out else names_of(node, instance, self._wish, self._world.letters)
        mine = [
            obj
            for _, obj in self._world.children()
            if labels_of(obj).get(LABEL_INSTANCE_ID) == self._stored.uid
            and labels_of(obj).get(LABEL_NODE_ID) == node.id
        ]
        return [obj for obj in mine if obj["metadata"]["name"] not in names], len(mine)

    def _check_extras(self, extras: dict[str, tuple[list[Obj], int]]) -> None:
        left = []
        for node in self._plan.nodes:
            objs, existing = extras[node.id]
            going = [o for o in objs if annotations_of(o).get(ANNOTATION_DELETION_POLICY) != POLICY_ORPHANED]
            limit = MaxPrune.of(int(node.max_prune) if node.max_prune.isdecimal() else node.max_prune)
            # If all objects are replaced by others, these do not count: so many the old ones say there were.
            sizes = [int(labels_of(o).get(LABEL_COLLECTION_SIZE, 0)) for o in going]
            existing = max(min(existing, max(sizes, default=0)), len(going))
            if limit is not None and not limit.allows(len(going), existing):
                self._held = True
                self._told += ["PruneHeld"]
                if len(going) != len(objs):
                    left += [o["metadata"]["name"] for o in objs if o not in going]
            else:
                left += [o["metadata"]["name"] for o in objs]
        known = {node.id for node in self._plan.nodes}
        left += [
            key.name
            for key, obj in self._world.children()
            if labels_of(obj).get(LABEL_INSTANCE_ID) == self._stored.uid
            and labels_of(obj).get(LABEL_NODE_ID) not in known
        ]
        if left and not self._held:
            self._wrong.append(f"{', '.join(left)} is left over")

    def _check_status(self) -> None:
        status = self._stored.obj.get("status") or {}
        told = str(status.get("conditions"))
        self._wrong += [f"the status does not say {text!r}: {told}" for text in self._told if text not in told]
        state = "ERROR" if self._told else "ACTIVE"
        if status.get("state") != state:
            self._wrong.append(f"is {status.get('state')}, not {state}: {told}")
        if status.get("observedGeneration", -1) != self._stored.obj["metadata"]["generation"]:
            self._wrong.append(f"observed {status.get('observedGeneration')}")


def _content(obj: Obj, replicas: object, text: object) -> Obj:
    """The field that somebody else changes or has."""
    return {"spec": {"replicas": replicas}} if obj["kind"] == "Deployment" else {"data": {"value": text}}


def _body(node: Policed, key: Key, value: str, replicas: int) -> Obj:
    """An object of somebody else, with the fields that a definition would declare."""
    meta: dict[str, Any] = {"name": key.name, "namespace": HOME}
    kind = {"apiVersion": node.resource.api_version, "kind": node.resource.kind, "metadata": meta}
    if node.resource == CONFIG_MAPS:
        return {**kind, "data": {"value": value}} | ({"immutable": True} if node.kind == "Sealed" else {})
    pod: dict[str, Any] = {"spec": {"containers": [{"name": "main", "image": f"app:{value}"}]}}
    if node.kind == "Job":
        pod["spec"]["restartPolicy"] = "Never"
        return {**kind, "spec": {"template": pod}}
    labels = {"app": node.id}
    pod["metadata"] = {"labels": labels}
    return {**kind, "spec": {"replicas": replicas, "selector": {"matchLabels": labels}, "template": pod}}
