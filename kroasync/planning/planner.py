"""Forecast what happens if files are applied to a live cluster; nothing is written.

The definitions of the files are checked as `validate` does, with the kinds of the cluster. Each live instance gets two
passes (`rehearsal`): by the definition as it is, and by the one of the files. Instances whose kinds are resources of
other definitions come after the instances that declare them, so an edit shows through.

The defaults of the controller's policies are unknown here: the passes follow those of the program.
"""

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

from kroasync.controller.crd_stage import labelled
from kroasync.engine.actions import Delete, Done
from kroasync.engine.difference import difference, plain, without
from kroasync.engine.offline import defaulted, observed
from kroasync.engine.orphans import removal
from kroasync.engine.plan import MAX_DEPTH, Options, Plan
from kroasync.engine.teardown import membership_of
from kroasync.graph.analysis import Analysis, CheckedDefinition, analyse
from kroasync.graph.build import build, needed_kinds
from kroasync.graph.nodes import Graph
from kroasync.kube.api_errors import ApiError, ForbiddenError
from kroasync.kube.client import Client
from kroasync.model.definition import Definition, is_definition, parse_definition
from kroasync.model.manifests import Document, Positions, Text, load_objects
from kroasync.model.objects import GVK, Key, Obj, Resource, is_deleting, metadata, name_of, namespace_of, uid_of
from kroasync.model.paths import nests_deeper
from kroasync.model.problems import Problem, Severity, has_errors
from kroasync.planning.cluster import ClusterReading, inventory_of
from kroasync.planning.dry_run import DryRunClient
from kroasync.planning.forecast import (
    DefinitionForecast,
    Forecast,
    InstanceForecast,
    PlannedStep,
    SchemaStep,
    UnfitInstance,
    Verb,
)
from kroasync.planning.outlook import Side, outlook
from kroasync.planning.prediction import after_file
from kroasync.planning.rehearsal import DryRun, Pass
from kroasync.planning.together import together
from kroasync.schema import compat
from kroasync.schema.catalog import bundled
from kroasync.schema.crd import (
    Breaking,
    Create,
    Incomparable,
    NotOwned,
    OwnedByOther,
    crd_name,
    ensure_crd_patch,
    instance_resource,
)
from kroasync.schema.instance_checks import check_instance
from kroasync.schema.instance_rules import InstanceRules

Progress = Callable[[int, int, str], None]
"""Told how many of how many instances are done, and what is being done."""

# How many instances are planned at a time.
_AT_ONCE: Final = 16
# Stands for the UID of what does not exist yet.
_UID: Final = "7c0ffee0-0000-4000-8000-000000000000"
# Owns nothing, since every request is a dry run.
_MANAGER: Final = "kroasync-plan"
_LATER: Final = "(known after apply)"


class PlanningError(Exception):
    """Nothing can be forecast. `problems` are those of the files, with their places."""

    def __init__(self, message: str, problems: Sequence[Problem] = ()) -> None:
        super().__init__(message)
        self.problems = tuple(problems)


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What to forecast. Without `texts`, the drift of the chosen instances."""

    texts: Sequence[Text] = ()
    # CRDs and definitions that only make kinds known.
    kinds: Sequence[Document] = ()
    # Empty for all namespaces.
    namespace: str = ""
    # KIND/NAMESPACE/NAME or KIND/NAME; empty for all instances of the definitions.
    instances: tuple[str, ...] = ()
    selector: str = ""
    dry_run: str = "all"
    eventual: bool = False
    ignore: tuple[str, ...] = ()
    # Names of definitions that are deleted.
    delete: tuple[str, ...] = ()
    features: frozenset[str] = frozenset()


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
    return await _Planning(client, request, reading, progress, shared).whole()


@dataclass(slots=True, kw_only=True, eq=False)
class _PlannedKind:
    """A kind of instances: the graph that they follow now, and the one that they would follow."""

    resource: Resource
    before: Graph | None
    after: Graph | None
    # Whether the files change the CRD: the API server cannot check new instances yet.
    has_new_schema: bool = False
    # Whether all instances were listed.
    is_listed: bool = False
    # The plans of the graphs, made once.
    before_plan: Plan | None = None
    after_plan: Plan | None = None

    @property
    def graphs(self) -> tuple[Graph, ...]:
        return tuple(graph for graph in (self.before, self.after) if graph is not None)


@dataclass(slots=True, kw_only=True, eq=False)
class _Subject:
    """An instance to plan: as it is (None: it does not exist), and as it would be (None: it would be deleted)."""

    key: Key
    live: Obj | None
    wanted: Obj | None
    # Whether the files themselves have it, or another instance's step.
    by_file: bool = False


@dataclass(slots=True)
class _Planning:
    """One forecast in the making."""

    client: Client
    request: Request
    reading: ClusterReading
    progress: Progress
    shared: Pass
    kinds: dict[tuple[str, str], _PlannedKind] = field(default_factory=dict)
    subjects: dict[Key, _Subject] = field(default_factory=dict)
    done: int = 0

    async def whole(self) -> Forecast:
        analysis = await self._analysis()
        definitions = [await self._definition(one) for one in analysis.definitions]
        definitions += [await self._deleted(name) for name in self.request.delete]
        await self._choose(analysis)
        instances = await self._instances()
        misfits = _misfits(analysis, self.subjects.values())
        counts = {(key.resource.group, key.resource.kind): 0 for key in self.subjects}
        for key, subject in self.subjects.items():
            counts[key.resource.group, key.resource.kind] += subject.live is not None
        return Forecast(
            definitions=tuple(
                replace(
                    one,
                    misfits=tuple(misfits.get(one.crd, ())),
                    instances=counts.get((one.crd.partition(".")[2], one.kind), 0),
                )
                for one in definitions
            ),
            instances=tuple(instances),
            unread=tuple(self.reading.unread.values()),
            dry_run=self.request.dry_run,
        )

    # Definitions

    async def _analysis(self) -> Analysis:
        """The files, checked with the kinds of the cluster; raises PlanningError if they have errors."""
        request = self.request
        documents = load_objects(request.texts)
        live = self._definitions_of(documents)
        others = [*request.kinds, *live, *(await self._crds_for([*documents, *live]))]
        analysis = analyse(request.texts, others, features=request.features)
        self._note_unknown(documents)
        if has_errors(analysis.problems):
            raise PlanningError("; ".join(["the files have errors", *self.reading.unread.values()]), analysis.problems)
        return analysis

    def _note_unknown(self, documents: Iterable[Document]) -> None:
        """Note the objects of kinds that nobody knows: they may be instances of a definition that is missing."""
        catalog = bundled()
        parsed = [parse_definition(one.obj)[0] for one in documents if is_definition(one.obj)]
        generated = {(definition.group, definition.kind) for definition in parsed if definition is not None}
        for one in documents:
            obj = one.obj
            api_version, kind = obj.get("apiVersion"), obj.get("kind")
            if not isinstance(api_version, str) or not isinstance(kind, str) or is_definition(obj):
                continue
            gvk = GVK.parse(api_version, kind)
            if (gvk.group, kind) in generated or catalog.resource(gvk) or self.reading.generating(gvk.group, kind):
                continue
            if self.reading.crds.of_kind(gvk.group, kind) is None:
                what = f"{kind} ({api_version})"
                self.reading.unread[what] = (
                    f"{one.source}: no definition generates the kind {what}, so its objects are not planned"
                )

    def _definitions_of(self, documents: Iterable[Document]) -> list[Document]:
        """The live definitions that generate the kinds of the files' objects. Those of the files go before them."""
        found: dict[tuple[str, str, str], Document] = {}
        for document in documents:
            api_version, kind = document.obj.get("apiVersion"), document.obj.get("kind")
            if not isinstance(api_version, str) or not isinstance(kind, str):
                continue
            definition = self.reading.generating(GVK.parse(api_version, kind).group, kind)
            if definition is None:
                continue
            place = (definition.api_kind, definition.namespace, definition.name)
            live = self.reading.live(*place)
            if live is not None:
                found[place] = Document(obj=live[0], positions=Positions(), source="<cluster>")
        return list(found.values())

    async def _crds_for(self, documents: Iterable[Document]) -> list[Document]:
        """The CRDs of the cluster that the definitions of the files need."""
        catalog = bundled()
        needed: dict[str, None] = {}
        for document in documents:
            definition = parse_definition(document.obj)[0] if is_definition(document.obj) else None
            for gvk in needed_kinds(definition) if definition is not None else ():
                seen = self.reading.crds.of_kind(gvk.group, gvk.kind)
                if seen is not None and catalog.resource(gvk) is None:
                    needed[seen.name] = None
        crds = await together(self.reading.crd(name) for name in needed)
        return [Document(obj=crd, positions=Positions(), source="<cluster>") for crd in crds if crd is not None]

    async def _definition(self, checked: CheckedDefinition) -> DefinitionForecast:
        """One definition of the files; its kind is known from now on."""
        definition, built = checked.definition, checked.built
        assert definition is not None
        assert built is not None
        assert built.graph is not None
        live = self.reading.live(definition.api_kind, definition.namespace, definition.name)
        before = await self._graph(*live) if live is not None else None
        uid = live[1].uid if live is not None else _UID
        graph = replace(built.graph, definition=replace(definition, uid=uid))
        resource = graph.resource
        place = checked.document.positions.value(())
        result = DefinitionForecast(
            name=definition.name,
            kind=definition.kind,
            crd=crd_name(definition),
            source=checked.document.source,
            line=place[0] if place is not None else None,
        )
        if self.reading.is_unestablished(result.crd):
            result = replace(result, why=f"CRD {result.crd} is not established, so its instances cannot be listed")
        existing = await self.reading.crd(result.crd)
        desired = labelled(graph.crd, graph.definition, "")
        outcome = ensure_crd_patch(existing, desired, allow_breaking=definition.allow_breaking_changes)
        schema = _schema_steps(existing, desired)
        if isinstance(outcome, Breaking | NotOwned | OwnedByOther | Incomparable):
            # The controller refuses the CRD, and goes on with the graph that it has.
            self._know(resource, before, before)
            return replace(result, verb=Verb.REFUSED, why=outcome.message, schema=schema)
        has_new_schema = isinstance(outcome, Create) or bool(schema)
        if live is not None and live[1].kind != definition.kind:
            old = instance_resource(live[1])
            self._know(old, before, None)
            self._know(resource, None, graph, has_new_schema=has_new_schema)
            return replace(
                result,
                verb=Verb.UPDATE,
                why=f"its kind was {old.kind}: instances of that kind stay as they are, and are reconciled no more",
                schema=schema,
            )
        if live is None:
            self._know(resource, None, graph, has_new_schema=has_new_schema)
            return replace(result, verb=Verb.CREATE, schema=schema)
        is_same = live[1].hash == definition.hash and before is not None and before.hash == graph.hash
        self._know(resource, before, before if is_same else graph, has_new_schema=has_new_schema)
        changed = live[1].hash != definition.hash or has_new_schema
        return replace(result, verb=Verb.UPDATE if changed else None, schema=schema)

    async def _deleted(self, name: str) -> DefinitionForecast:
        found = self.reading.named(name)
        if len(found) != 1:
            raise PlanningError(
                f'there is no definition "{name}"' if not found else f'"{name}" names several definitions'
            )
        definition = found[0]
        live = self.reading.live(definition.api_kind, definition.namespace, definition.name)
        assert live is not None
        self._know(instance_resource(definition), await self._graph(*live), None)
        why = (
            "instances and their resources stay, and are not reconciled any more; with --allow-crd-deletion the "
            "controller deletes the CRD, and with it all instances and their resources"
        )
        return DefinitionForecast(name=name, kind=definition.kind, crd=crd_name(definition), verb=Verb.DELETE, why=why)

    def _know(
        self, resource: Resource, before: Graph | None, after: Graph | None, *, has_new_schema: bool = False
    ) -> None:
        self.kinds[resource.group, resource.kind] = _PlannedKind(
            resource=resource, before=before, after=after, has_new_schema=has_new_schema
        )

    async def _graph(self, obj: Obj, definition: Definition) -> Graph | None:
        """The graph that a live definition has: of its newest revision if its spec is refused; None if it has none."""
        graph = await self._built(definition)
        if graph is not None:
            return graph
        recorded = await self.reading.recorded(obj, definition)
        return await self._built(recorded) if recorded is not None and recorded.kind == definition.kind else None

    async def _built(self, definition: Definition) -> Graph | None:
        known = await self.reading.kinds.load(needed_kinds(definition))
        return build(definition, known, features=self.request.features).graph

    async def _known_kind(self, group: str, kind: str) -> _PlannedKind | None:
        """A kind of the files, or of a live definition that the files do not change."""
        if (group, kind) not in self.kinds:
            definition = self.reading.generating(group, kind)
            live = definition and self.reading.live(definition.api_kind, definition.namespace, definition.name)
            if not definition or not live:
                return None
            graph = await self._graph(*live)
            self._know(instance_resource(definition), graph, graph)
        return self.kinds[group, kind]

    # Instances

    async def _choose(self, analysis: Analysis) -> None:
        """The instances to plan: the live ones of the definitions, those that are named, and those of the files."""
        request = self.request
        wanted = [_named(text) for text in request.instances]
        for word, _, _ in wanted:
            if not any(word.lower() == known.resource.kind.lower() for known in self.kinds.values()):
                definitions = [d for _, d in self.reading.definitions.values() if d.kind.lower() == word.lower()]
                if not definitions:
                    raise PlanningError(f'there is no generated kind "{word}"')
                await self._known_kind(definitions[0].group, definitions[0].kind)
        for kind in list(self.kinds.values()):
            try:
                found = await self._listed(kind, wanted)
            except ApiError as error:
                self.reading.unread[kind.resource.group_kind] = f"cannot list {kind.resource}: {error.message}"
                continue
            for obj in found:
                key = _key(kind.resource, obj)
                self.subjects[key] = _Subject(key=key, live=obj, wanted=obj)
        for document in analysis.instances:
            await self._of_file(document.obj)

    async def _listed(self, kind: _PlannedKind, wanted: Sequence[tuple[str, str, str]]) -> Sequence[Obj]:
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
        kind = await self._known_kind(gvk.group, gvk.kind)
        if kind is None:
            return
        namespace = (namespace_of(obj) or self.request.namespace or "default") if kind.resource.namespaced else ""
        key = Key(kind.resource, namespace, name_of(obj))
        known = self.subjects.get(key)
        live = known.live if known is not None else None if kind.is_listed else await self.reading.instance(key)
        self.subjects[key] = _Subject(key=key, live=live, wanted=_applied(live, obj, namespace), by_file=True)

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

    def _first(self, waiting: Sequence[_Subject]) -> list[_Subject]:
        """The subjects whose kinds no waiting subject declares; all of them if kinds declare each other."""
        declared = {
            (node.resource.group, node.resource.kind)
            for subject in waiting
            for graph in self._kind(subject).graphs
            for node in graph.nodes.values()
        }
        first = [s for s in waiting if (s.key.resource.group, s.key.resource.kind) not in declared]
        return first or list(waiting)

    def _kind(self, subject: _Subject) -> _PlannedKind:
        return self.kinds[subject.key.resource.group, subject.key.resource.kind]

    async def _children(self, batch: Sequence[_Subject]) -> Mapping[str, list[tuple[Resource, Obj]]]:
        kinds = {
            node.resource
            for subject in batch
            for graph in self._kind(subject).graphs
            for node in graph.nodes.values()
            if not node.is_external
        }
        return await self.reading.children(kinds, [one.live for one in batch if one.live is not None])

    async def _planned(
        self, subject: _Subject, members: Sequence[tuple[Resource, Obj]], limit: asyncio.Semaphore
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

    async def _forecast(self, subject: _Subject, members: Sequence[tuple[Resource, Obj]]) -> InstanceForecast:
        kind, key, ignored = self._kind(subject), subject.key, self.request.ignore
        edit = _edit_of(subject, kind.after or kind.before, ignored)
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
        edit = refused or _edit_of(subject, kind.after or kind.before, ignored)
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
        steps = found.steps if subject.live is not None else tuple(map(_without_uid, found.steps))
        return InstanceForecast(key=key, edit=edit, steps=steps, drift=found.drift, notes=found.notes)

    async def _passes(
        self, subject: _Subject, kind: _PlannedKind, members: Sequence[tuple[Resource, Obj]]
    ) -> tuple[Side | None, Side | None]:
        """The pass without the files, and the one with them; None for what does not exist, or does not differ."""
        before = after = None
        if subject.live is not None and kind.before is not None:
            kind.before_plan = kind.before_plan or self._plan(kind.before)
            live = _filled(subject.live, kind.before)
            passed = await self.shared.over(kind.before_plan, kind.resource, live, members)
            before = Side(passed=passed, graph=kind.before)
        is_edited = kind.after is not kind.before or subject.wanted is not subject.live
        if is_edited and kind.after is not None and subject.wanted is not None:
            kind.after_plan = kind.after_plan or self._plan(kind.after)
            wanted = _filled(subject.wanted, kind.after)
            passed = await self.shared.over(kind.after_plan, kind.resource, wanted, members)
            after = Side(passed=passed, graph=kind.after)
        return before, after

    async def _submitted(self, subject: _Subject, kind: _PlannedKind) -> PlannedStep | None:
        """Let the API server check the instance of a file, and complete it; returns the step if it refuses it."""
        wanted, live, key = subject.wanted, subject.live, subject.key
        if not subject.by_file or wanted is None or wanted is live or kind.has_new_schema:
            return None
        if not self.shared.dry_run.asks(exists=live is not None) or not await self.reading.is_served(key.resource):
            return None
        try:
            if live is not None:
                answer = await self.shared.client.merge_patch(key, _patch(live, wanted), manager=_MANAGER)
            else:
                meta = {name: value for name, value in metadata(wanted).items() if name not in ("uid", "generation")}
                answer = await self.shared.client.create(key, {**wanted, "metadata": meta})
        except ApiError as error:
            verb = "create" if live is None else "patch"
            if isinstance(error, ForbiddenError) and not await self.reading.may(verb, key):
                return None
            return PlannedStep(verb=Verb.REFUSED, node="", key=key, why=error.message)
        uid = uid_of(live) if live is not None else _UID
        subject.wanted = {**answer, "metadata": {**metadata(answer), "uid": uid}}
        return None

    def _plan(self, graph: Graph) -> Plan:
        plan = Plan.of(graph, Options())
        if not self.request.eventual:
            return plan
        return replace(plan, nodes=tuple(replace(node, ready_when=()) for node in plan.nodes))

    def _unread_of(self, kind: _PlannedKind, subject: _Subject) -> list[str]:
        kinds = {n.resource.group_kind for g in kind.graphs for n in g.nodes.values() if not n.is_external}
        kinds |= inventory_of(subject.live or {})
        return [text for group_kind, text in self.reading.unread.items() if group_kind in kinds]

    async def _pass_on(
        self, steps: Sequence[PlannedStep], after: Side | None, members: Sequence[tuple[Resource, Obj]]
    ) -> None:
        """Plan the children that are instances themselves, as this instance's steps make them."""
        changed = {step.key for step in steps}
        read = {_key(resource, obj): obj for resource, obj in members}
        for touch in after.passed.touches if after is not None else ():
            key, resource = touch.action.key, touch.action.key.resource
            if key not in changed or not isinstance(touch.result, Done):
                continue
            if await self._known_kind(resource.group, resource.kind) is None:
                continue
            known = self.subjects.get(key)
            live = known.live if known is not None else read.get(key)
            wanted = None if isinstance(touch.action, Delete) else touch.after
            if wanted is not None and live is None:
                wanted = {**wanted, "metadata": {"uid": _UID, "generation": 1, **metadata(wanted)}}
            self.subjects[key] = _Subject(key=key, live=live, wanted=wanted)


def _named(text: str) -> tuple[str, str, str]:
    parts = text.split("/")
    if len(parts) not in (2, 3) or not all(parts):
        raise PlanningError(f'"{text}" names no instance: expected KIND/NAMESPACE/NAME or KIND/NAME')
    return parts[0], parts[1] if len(parts) == 3 else "", parts[-1]


def _is_named(key: Key, wanted: tuple[str, str, str]) -> bool:
    kind, namespace, name = wanted
    return (key.resource.kind.lower(), key.name) == (kind.lower(), name) and namespace in ("", key.namespace)


def _key(resource: Resource, obj: Obj) -> Key:
    return Key(resource, namespace_of(obj) if resource.namespaced else "", name_of(obj))


def _applied(live: Obj | None, obj: Obj, namespace: str) -> Obj:
    """The instance after the file is applied."""
    meta = {k: v for k, v in metadata(obj).items() if k != "namespace"}
    if live is None:
        place = {"namespace": namespace} if namespace else {}
        return {**obj, "metadata": {"uid": _UID, "generation": 1, **meta, **place}}
    marks = {name: meta[name] for name in ("labels", "annotations") if meta.get(name)}
    applied = after_file(live, {"metadata": marks, "spec": obj.get("spec") or {}})
    generation = int(metadata(live).get("generation") or 0) + (applied.get("spec") != live.get("spec"))
    return {**applied, "metadata": {**metadata(applied), "generation": generation}}


def _patch(live: Obj, wanted: Obj) -> Obj:
    """The merge patch that makes `wanted` of the live instance."""
    meta = {
        name: _merge(metadata(live).get(name) or {}, metadata(wanted).get(name) or {})
        for name in ("labels", "annotations")
    }
    return {"metadata": meta, "spec": _merge(live.get("spec") or {}, wanted.get("spec") or {})}


def _merge(before: Obj, after: Obj) -> Obj:
    found: Obj = dict.fromkeys(before.keys() - after.keys())
    for name, value in after.items():
        if name not in before or before[name] != value:
            old = before.get(name)
            found[name] = _merge(old, value) if isinstance(old, dict) and isinstance(value, dict) else value
    return found


def _without_uid(step: PlannedStep) -> PlannedStep:
    """The step about an object of an instance that does not exist yet: nobody knows its UID."""
    return replace(step, after=_later(step.after)) if step.after is not None else step


def _later(value: Any) -> Any:
    if isinstance(value, str):
        return value.replace(_UID, _LATER)
    if isinstance(value, dict):
        return {name: _later(item) for name, item in value.items()}
    return [_later(item) for item in value] if isinstance(value, list) else value


def _filled(instance: Obj, graph: Graph) -> Obj:
    """The instance with the defaults of the graph's schema, as the API server reads it."""
    schema = graph.crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"].get("spec", {})
    return {**instance, "spec": defaulted(instance.get("spec") or {}, schema)}


def _edit_of(subject: _Subject, graph: Graph | None, ignored: Sequence[str]) -> PlannedStep | None:
    """What the files change of the instance itself. A default that the file does not say is no change."""
    live, wanted = subject.live, subject.wanted
    if not subject.by_file or wanted is None:
        return None
    if graph is not None:
        live, wanted = live and _filled(live, graph), _filled(wanted, graph)
    shown = without(plain(wanted), ignored)
    if live is None:
        return PlannedStep(verb=Verb.CREATE, node="", key=subject.key, after=shown)
    fields = difference(live, wanted, ignored=ignored)
    if not fields:
        return None
    before = without(plain(live), ignored)
    return PlannedStep(verb=Verb.UPDATE, node="", key=subject.key, fields=fields, before=before, after=shown)


def _torn_down(instance: Obj, members: Sequence[tuple[Resource, Obj]]) -> Iterable[PlannedStep]:
    """The steps of an instance that is deleted by another one's step."""
    labelled_members = [observed(_key(resource, obj), obj) for resource, obj in members]
    for member in membership_of(instance, labelled_members, seal_key=b"").members(labelled_members):
        action = removal(member)
        if action is not None:
            verb = Verb.DELETE if isinstance(action, Delete) else Verb.RELEASE
            yield PlannedStep(verb=verb, node=member.node, key=member.key, why="its instance is deleted")


def _schema_steps(existing: Obj | None, desired: Obj) -> tuple[SchemaStep, ...]:
    if existing is None:
        return ()
    try:
        found = compat.compare_crds(existing, desired)
    except compat.CompatibilityError:
        return ()
    return tuple(SchemaStep(path=c.path, text=c.description, breaking=c.breaking) for c in found.changes)


def _misfits(analysis: Analysis, subjects: Iterable[_Subject]) -> dict[str, list[UnfitInstance]]:
    """The stored instances that the new schemas refuse, by the name of the CRD."""
    by_kind = {}
    for checked in analysis.definitions:
        definition, built = checked.definition, checked.built
        if definition is not None and built is not None and built.graph is not None and built.known_spec is not None:
            schema = built.graph.crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
            by_kind[definition.group, definition.kind] = (definition, built.known_spec, InstanceRules(schema))
    found: dict[str, list[UnfitInstance]] = {}
    for subject in subjects:
        known = by_kind.get((subject.key.resource.group, subject.key.resource.kind))
        if known is None or subject.live is None:
            continue
        definition, spec, rules = known
        problems = check_instance(subject.live, definition, spec)
        invalid = [p.path for p in problems if p.severity is Severity.ERROR]
        problems = [*problems, *rules.broken(subject.live, invalid)]
        told = tuple(str(p) for p in problems if p.severity is Severity.ERROR)
        if told:
            found.setdefault(crd_name(definition), []).append(UnfitInstance(key=subject.key, problems=told))
    return found
