"""The kinds of a forecast: the graph that the instances of each follow now, and the one of the files.

The definitions of the files are checked as `validate` does, with the kinds of the cluster. Of each one the forecast
says what becomes of its CRD, and which stored instances the new schema refuses.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace

from kroasync.controller.crd_stage import labelled
from kroasync.engine.plan import Plan
from kroasync.graph.analysis import Analysis, CheckedDefinition, analyse
from kroasync.graph.build import build, needed_kinds
from kroasync.graph.nodes import Graph
from kroasync.model.definition import Definition, is_definition, parse_definition
from kroasync.model.manifests import Document, Positions, load_objects
from kroasync.model.objects import GVK, Key, Obj, Resource
from kroasync.model.problems import Severity, has_errors
from kroasync.planning.cluster import ClusterReading
from kroasync.planning.forecast import (
    DefinitionForecast,
    SchemaStep,
    UnfitInstance,
    Verb,
)
from kroasync.planning.instance_edits import NO_UID
from kroasync.planning.request import PlanningError, Request
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
    instance_schema,
)
from kroasync.schema.instance_checks import check_instance
from kroasync.schema.instance_rules import InstanceRules


@dataclass(slots=True, kw_only=True, eq=False)
class PlannedKind:
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


@dataclass(slots=True)
class PlannedKinds:
    """The kinds of instances by group and kind: of the files, and of live definitions when somebody asks for them."""

    request: Request
    reading: ClusterReading
    kinds: dict[tuple[str, str], PlannedKind] = field(default_factory=dict)

    def __iter__(self) -> Iterator[PlannedKind]:
        return iter(tuple(self.kinds.values()))

    def of(self, resource: Resource) -> PlannedKind:
        """A kind that is known already."""
        return self.kinds[resource.group, resource.kind]

    async def analysis(self) -> Analysis:
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

    async def definition(self, checked: CheckedDefinition) -> DefinitionForecast:
        """One definition of the files; its kind is known from now on."""
        definition, built = checked.definition, checked.built
        assert definition is not None
        assert built is not None
        assert built.graph is not None
        live = self.reading.live(definition.api_kind, definition.namespace, definition.name)
        before = await self._graph(*live) if live is not None else None
        uid = live[1].uid if live is not None else NO_UID
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

    async def deleted(self, name: str) -> DefinitionForecast:
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
        self.kinds[resource.group, resource.kind] = PlannedKind(
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

    async def known(self, group: str, kind: str) -> PlannedKind | None:
        """A kind of the files, or of a live definition that the files do not change."""
        if (group, kind) not in self.kinds:
            definition = self.reading.generating(group, kind)
            live = definition and self.reading.live(definition.api_kind, definition.namespace, definition.name)
            if not definition or not live:
                return None
            graph = await self._graph(*live)
            self._know(instance_resource(definition), graph, graph)
        return self.kinds[group, kind]


def _schema_steps(existing: Obj | None, desired: Obj) -> tuple[SchemaStep, ...]:
    if existing is None:
        return ()
    try:
        found = compat.compare_crds(existing, desired)
    except compat.CompatibilityError:
        return ()
    return tuple(SchemaStep(path=field_of(c.path), text=c.description, breaking=c.breaking) for c in found.changes)


def field_of(schema_path: str) -> str:
    """The field that a place in a schema is about: `spec.ports[].name` for
    `.properties.spec.properties.ports.items.properties.name`.
    """
    before, _, places = schema_path.partition(".")
    text, is_name = before, False
    for part in places.split(".") if places else ():
        if is_name:
            text, is_name = f"{text}.{part}" if text else part, False
        elif part == "properties":
            is_name = True
        else:
            text += {"items": "[]", "additionalProperties": "[*]"}.get(part, f".{part}" if text else part)
    return text


def misfits(analysis: Analysis, stored: Iterable[tuple[Key, Obj]]) -> dict[str, list[UnfitInstance]]:
    """The stored instances that the new schemas refuse, by the name of the CRD."""
    by_kind = {}
    for checked in analysis.definitions:
        definition, built = checked.definition, checked.built
        if definition is not None and built is not None and built.graph is not None and built.known_spec is not None:
            rules = InstanceRules(instance_schema(built.graph.crd))
            by_kind[definition.group, definition.kind] = (definition, built.known_spec, rules)
    found: dict[str, list[UnfitInstance]] = {}
    for key, instance in stored:
        known = by_kind.get((key.resource.group, key.resource.kind))
        if known is None:
            continue
        definition, spec, rules = known
        problems = check_instance(instance, definition, spec)
        invalid = [p.path for p in problems if p.severity is Severity.ERROR]
        problems = [*problems, *rules.broken(instance, invalid)]
        told = tuple(f"{p.where}: {p.message}" for p in problems if p.severity is Severity.ERROR)
        if told:
            found.setdefault(crd_name(definition), []).append(UnfitInstance(key=key, problems=told))
    return found
