"""Forecast what happens if files are applied to a live cluster; nothing is written.

Each live instance gets two passes (`rehearsal`): by the definition as it is, and by the one of the files. Instances
whose kinds are resources of other definitions come after the instances that declare them, so an edit shows through.
"""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from kroasync.engine.actions import Delete, Done
from kroasync.engine.offline import observed
from kroasync.engine.orphans import removal
from kroasync.engine.plan import MAX_DEPTH, Options, Plan
from kroasync.engine.teardown import membership_of
from kroasync.graph.analysis import Analysis
from kroasync.graph.nodes import Graph
from kroasync.kube.api_errors import ApiError, ForbiddenError
from kroasync.kube.client import Client
from kroasync.model.objects import GVK, Key, Obj, Resource, is_deleting, key_of, metadata, name_of, namespace_of, uid_of
from kroasync.model.paths import nests_deeper
from kroasync.planning.cluster import ClusterReading, inventory_of
from kroasync.planning.dry_run import DryRunClient
from kroasync.planning.forecast import (
    Forecast,
    InstanceForecast,
    PlannedStep,
    Verb,
)
from kroasync.planning.instance_edits import (
    NO_UID,
    PlannedInstance,
    applied,
    edit_of,
    filled,
    patch_to,
    without_uid,
)
from kroasync.planning.outlook import Side, outlook
from kroasync.planning.planned_kinds import PlannedKind, PlannedKinds, misfits
from kroasync.planning.rehearsal import DryRun, Pass
from kroasync.planning.request import PlanningError, Progress, Request
from kroasync.planning.together import together

# How many instances are planned at a time.
_AT_ONCE: Final = 16
# Owns nothing, since every request is a dry run.
_MANAGER: Final = "kroasync-plan"


async def forecast(client: Client, request: Request, progress: Progress) -> Forecast:
    """The forecast; raises PlanningError, or ApiError if the cluster cannot be read at all."""
    reading = ClusterReading(client)
    await reading.begin()
    dry_run = DryRun(request.dry_run)
    shared = Pass(
        client=DryRunClient(client.connection),
        external=reading.external,
        find=reading.found,
        may=reading.may,
        dry_run=dry_run,
    )
    return await _Planning(request, reading, progress, shared, PlannedKinds(request, reading)).whole()


@dataclass(slots=True)
class _Planning:
    """One forecast in the making."""

    request: Request
    reading: ClusterReading
    progress: Progress
    shared: Pass
    kinds: PlannedKinds
    subjects: dict[Key, PlannedInstance] = field(default_factory=dict)
    done: int = 0

    async def whole(self) -> Forecast:
        analysis = await self.kinds.analysis()
        definitions = [await self.kinds.definition(one) for one in analysis.definitions]
        definitions += [await self.kinds.deleted(name) for name in self.request.delete]
        await self._choose(analysis)
        instances = await self._instances()
        unfit = misfits(analysis, ((one.key, one.live) for one in self.subjects.values() if one.live is not None))
        counts = {(key.resource.group, key.resource.kind): 0 for key in self.subjects}
        for key, subject in self.subjects.items():
            counts[key.resource.group, key.resource.kind] += subject.live is not None
        return Forecast(
            definitions=tuple(
                replace(
                    one,
                    misfits=tuple(unfit.get(one.crd, ())),
                    instances=counts.get((one.crd.partition(".")[2], one.kind), 0),
                )
                for one in definitions
            ),
            instances=tuple(instances),
            unread=tuple(self.reading.unread.values()),
            warnings=tuple(analysis.problems),
            dry_run=self.request.dry_run,
        )

    async def _choose(self, analysis: Analysis) -> None:
        """The instances to plan: the live ones of the definitions, those that are named, and those of the files."""
        request = self.request
        wanted = [_named(text) for text in request.instances]
        for word, _, _ in wanted:
            if not any(word.lower() == known.resource.kind.lower() for known in self.kinds):
                definitions = [d for _, d in self.reading.definitions.values() if d.kind.lower() == word.lower()]
                if not definitions:
                    raise PlanningError(f'there is no generated kind "{word}"')
                await self.kinds.known(definitions[0].group, definitions[0].kind)
        for kind in self.kinds:
            try:
                found = await self._listed(kind, wanted)
            except ApiError as error:
                self.reading.unread[kind.resource.group_kind] = f"cannot list {kind.resource}: {error.message}"
                continue
            for obj in found:
                key = key_of(kind.resource, obj)
                self.subjects[key] = PlannedInstance(key=key, live=obj, wanted=obj)
        for document in analysis.instances:
            await self._of_file(document.obj)

    async def _listed(self, kind: PlannedKind, wanted: Sequence[tuple[str, str, str]]) -> Sequence[Obj]:
        """The instances of a kind to plan. Of named ones, only these are read."""
        request = self.request
        if not wanted:
            kind.is_listed = not request.namespace and not request.selector
            return await self.reading.instances(kind.resource, request.namespace, request.selector)
        found: list[Obj] = []
        for word, namespace, name in wanted:
            if word.lower() == kind.resource.kind.lower():
                place = namespace or request.namespace
                found += await self.reading.instances(kind.resource, place, request.selector, name)
        return found

    async def _of_file(self, obj: Obj) -> None:
        gvk = GVK.of(obj)
        kind = await self.kinds.known(gvk.group, gvk.kind)
        if kind is None:
            return
        namespace = (namespace_of(obj) or self.request.namespace or "default") if kind.resource.namespaced else ""
        key = Key(kind.resource, namespace, name_of(obj))
        known = self.subjects.get(key)
        live = known.live if known is not None else None if kind.is_listed else await self.reading.instance(key)
        self.subjects[key] = PlannedInstance(key=key, live=live, wanted=applied(live, obj, namespace), by_file=True)

    async def _instances(self) -> list[InstanceForecast]:
        """All instances, those first whose steps may concern the others."""
        found: list[InstanceForecast] = []
        planned: set[Key] = set()
        while True:
            waiting = [subject for key, subject in self.subjects.items() if key not in planned]
            if not waiting:
                return sorted(found, key=lambda one: one.key)
            batch = self._first(waiting)
            planned.update(subject.key for subject in batch)
            children = await self._children(batch)
            limit = asyncio.Semaphore(_AT_ONCE)
            found += await together(
                self._planned(one, children.get(uid_of(one.live or {}), []), limit) for one in batch
            )

    def _first(self, waiting: Sequence[PlannedInstance]) -> list[PlannedInstance]:
        """The subjects whose kinds no waiting subject declares; all of them if kinds declare each other."""
        declared = {
            (node.resource.group, node.resource.kind)
            for subject in waiting
            for graph in self._kind(subject).graphs
            for node in graph.nodes.values()
        }
        first = [s for s in waiting if (s.key.resource.group, s.key.resource.kind) not in declared]
        return first or list(waiting)

    def _kind(self, subject: PlannedInstance) -> PlannedKind:
        return self.kinds.of(subject.key.resource)

    async def _children(self, batch: Sequence[PlannedInstance]) -> Mapping[str, list[tuple[Resource, Obj]]]:
        kinds = {
            node.resource
            for subject in batch
            for graph in self._kind(subject).graphs
            for node in graph.nodes.values()
            if not node.is_external
        }
        return await self.reading.children(kinds, [one.live for one in batch if one.live is not None])

    async def _planned(
        self, subject: PlannedInstance, members: Sequence[tuple[Resource, Obj]], limit: asyncio.Semaphore
    ) -> InstanceForecast:
        async with limit:
            self.progress(self.done, len(self.subjects), str(subject.key))
            try:
                return await self._forecast(subject, members)
            except ApiError as error:
                return InstanceForecast(key=subject.key, error=error.message)
            except RecursionError:
                if not any(nests_deeper((obj or {}).get("spec"), MAX_DEPTH) for obj in (subject.live, subject.wanted)):
                    raise
                return InstanceForecast(key=subject.key, error=f"spec is nested more than {MAX_DEPTH} levels")
            finally:
                self.done += 1

    async def _forecast(self, subject: PlannedInstance, members: Sequence[tuple[Resource, Obj]]) -> InstanceForecast:
        kind, key, ignored = self._kind(subject), subject.key, self.request.ignore
        edit = edit_of(subject, kind.after or kind.before, ignored)
        if unread := self._unread_of(kind, subject):
            return InstanceForecast(key=key, edit=edit, error="; ".join(unread))
        if subject.live is not None and is_deleting(subject.live):
            return InstanceForecast(key=key, edit=edit, notes=("it is being deleted",))
        if subject.wanted is None:
            return InstanceForecast(key=key, steps=tuple(_torn_down(subject.live or {}, members)))
        if not kind.graphs:
            why = "its definition is refused or gone, so nothing is reconciled"
            return InstanceForecast(key=key, edit=edit, error=why)
        refused = await self._submitted(subject, kind)
        edit = refused or edit_of(subject, kind.after or kind.before, ignored)
        if refused is not None:
            subject.wanted = subject.live
            if subject.live is None:
                return InstanceForecast(key=key, edit=edit)
        before, after = await self._passes(subject, kind, members)
        if any(side is not None and side.passed.stale for side in (before, after)):
            subject.live = await self.reading.instance(key)
            if subject.live is None:
                return InstanceForecast(key=key, edit=edit, error="it was deleted while it was planned")
            again = await self._children([subject])
            members = again.get(uid_of(subject.live or {}), [])
            before, after = await self._passes(subject, kind, members)
        edits = after is not None and subject.wanted is not subject.live
        found = outlook(before, after, edits=edits, ignored=ignored)
        await self._pass_on(found.steps, after, members)
        steps = found.steps if subject.live is not None else tuple(map(without_uid, found.steps))
        return InstanceForecast(key=key, edit=edit, steps=steps, drift=found.drift, notes=found.notes)

    async def _passes(
        self, subject: PlannedInstance, kind: PlannedKind, members: Sequence[tuple[Resource, Obj]]
    ) -> tuple[Side | None, Side | None]:
        """The pass without the files, and the one with them; None for what does not exist, or does not differ."""
        before = after = None
        if subject.live is not None and kind.before is not None:
            kind.before_plan = kind.before_plan or self._plan(kind.before)
            live = filled(subject.live, kind.before)
            passed = await self.shared.over(kind.before_plan, kind.resource, live, members)
            before = Side(passed=passed, graph=kind.before)
        is_edited = kind.after is not kind.before or subject.wanted is not subject.live
        if is_edited and kind.after is not None and subject.wanted is not None:
            kind.after_plan = kind.after_plan or self._plan(kind.after)
            wanted = filled(subject.wanted, kind.after)
            passed = await self.shared.over(kind.after_plan, kind.resource, wanted, members)
            after = Side(passed=passed, graph=kind.after)
        return before, after

    async def _submitted(self, subject: PlannedInstance, kind: PlannedKind) -> PlannedStep | None:
        """Let the API server check the instance of a file, and complete it; returns the step if it refuses it."""
        wanted, live, key = subject.wanted, subject.live, subject.key
        if not subject.by_file or wanted is None or wanted is live or kind.has_new_schema:
            return None
        if not self.shared.dry_run.asks(exists=live is not None) or not await self.reading.is_served(key.resource):
            return None
        try:
            if live is not None:
                answer = await self.shared.client.merge_patch(key, patch_to(live, wanted), manager=_MANAGER)
            else:
                meta = {name: value for name, value in metadata(wanted).items() if name not in ("uid", "generation")}
                answer = await self.shared.client.create(key, {**wanted, "metadata": meta})
        except ApiError as error:
            verb = "create" if live is None else "patch"
            if isinstance(error, ForbiddenError) and not await self.reading.may(verb, key):
                return None
            return PlannedStep(verb=Verb.REFUSED, node="", key=key, why=error.message)
        uid = uid_of(live) if live is not None else NO_UID
        subject.wanted = {**answer, "metadata": {**metadata(answer), "uid": uid}}
        return None

    def _plan(self, graph: Graph) -> Plan:
        plan = Plan.of(graph, Options(policies=self.request.policies))
        if not self.request.eventual:
            return plan
        return replace(plan, nodes=tuple(replace(node, ready_when=()) for node in plan.nodes))

    def _unread_of(self, kind: PlannedKind, subject: PlannedInstance) -> list[str]:
        kinds = {n.resource.group_kind for g in kind.graphs for n in g.nodes.values() if not n.is_external}
        kinds |= inventory_of(subject.live or {})
        return [text for group_kind, text in self.reading.unread.items() if group_kind in kinds]

    async def _pass_on(
        self, steps: Sequence[PlannedStep], after: Side | None, members: Sequence[tuple[Resource, Obj]]
    ) -> None:
        """Plan the children that are instances themselves, as this instance's steps make them."""
        changed = {step.key for step in steps}
        read = {key_of(resource, obj): obj for resource, obj in members}
        for touch in after.passed.touches if after is not None else ():
            key, resource = touch.action.key, touch.action.key.resource
            if key not in changed or not isinstance(touch.result, Done):
                continue
            if await self.kinds.known(resource.group, resource.kind) is None:
                continue
            known = self.subjects.get(key)
            live = known.live if known is not None else read.get(key)
            wanted = None if isinstance(touch.action, Delete) else touch.after
            if wanted is not None and live is None:
                wanted = {**wanted, "metadata": {"uid": NO_UID, "generation": 1, **metadata(wanted)}}
            self.subjects[key] = PlannedInstance(key=key, live=live, wanted=wanted)


def _named(text: str) -> tuple[str, str, str]:
    parts = text.split("/")
    if len(parts) not in (2, 3) or not all(parts):
        raise PlanningError(f'"{text}" names no instance: expected KIND/NAMESPACE/NAME or KIND/NAME')
    return parts[0], parts[1] if len(parts) == 3 else "", parts[-1]


def _is_named(key: Key, wanted: tuple[str, str, str]) -> bool:
    kind, namespace, name = wanted
    return (key.resource.kind.lower(), key.name) == (kind.lower(), name) and namespace in ("", key.namespace)


def _torn_down(instance: Obj, members: Sequence[tuple[Resource, Obj]]) -> Iterable[PlannedStep]:
    """The steps of an instance that is deleted by another one's step."""
    labelled_members = [observed(key_of(resource, obj), obj) for resource, obj in members]
    for member in membership_of(instance, labelled_members, seal_key=b"").members(labelled_members):
        action = removal(member)
        if action is not None:
            verb = Verb.DELETE if isinstance(action, Delete) else Verb.RELEASE
            yield PlannedStep(verb=verb, node=member.node, key=member.key, why="its instance is deleted")
