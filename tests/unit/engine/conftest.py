"""Builds graphs from definitions, and a world that acts as the API server and its controllers."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest

from kroasync.engine.actions import Action, Apply, Delete, Done, PatchParent, Refusal, Refused, Release, Result
from kroasync.engine.offline import OfflineWorld
from kroasync.engine.outcome import Outcome
from kroasync.engine.plan import Options, Plan
from kroasync.engine.walk import Walk
from kroasync.graph.build import build
from kroasync.graph.nodes import Graph
from kroasync.model.definition import parse_definition
from kroasync.model.objects import GVK, Key, Obj, Resource
from kroasync.schema.catalog import Catalog, bundled
from tests.samples import config_map, crd, definition

UID = "11111111-2222-3333-4444-555555555555"
NOW = "2026-01-02T03:04:05Z"
CREATED = "2026-01-01T00:00:00Z"


@dataclass
class Passed:
    """A finished pass."""

    batches: list[list[Action]]
    outcome: Outcome
    plan: Plan

    @property
    def actions(self) -> list[Action]:
        return [action for batch in self.batches for action in batch]

    @property
    def applied(self) -> list[list[str]]:
        """The node ids of the applies, batch by batch, without empty batches."""
        found = [[a.node for a in batch if isinstance(a, Apply)] for batch in self.batches]
        return [ids for ids in found if ids]

    @property
    def deleted(self) -> list[list[str]]:
        found = [[a.key.name for a in batch if isinstance(a, Delete)] for batch in self.batches]
        return [names for names in found if names]

    def desired(self, node: str, index: int | None = None) -> Obj:
        return next(a.obj for a in self.actions if isinstance(a, Apply) and (a.node, a.index) == (node, index))

    def state(self, node: str) -> str:
        return self.outcome.nodes[node].state.value

    def message(self, node: str) -> str:
        return self.outcome.nodes[node].message


@dataclass
class Cluster:
    """A world with controllers (`status` by kind) and refusals (by object name)."""

    world: OfflineWorld
    status: dict[str, Callable[[Obj], Obj | None]] = field(default_factory=dict)
    refusals: dict[str, tuple[Refusal, str]] = field(default_factory=dict)
    unwatched: bool = False
    # What somebody else does to the world just before each action.
    meanwhile: Callable[[Action], None] = lambda action: None

    def perform(self, action: Action) -> Result:
        self.meanwhile(action)
        name = action.key.name if isinstance(action, Apply | Delete | Release) else type(action).__name__
        if name in self.refusals:
            refusal, message = self.refusals[name]
            return Refused(action=action, refusal=refusal, message=message)
        return self.world.perform(action)

    def settle(self) -> None:
        """Let the controllers work: each object gets the status that the controller of its kind computes."""
        for key, obj in list(self.world.objects.values()):
            make = self.status.get(key.resource.kind)
            status = make(obj) if make else None
            if status is not None:
                self.world.put(key, {**obj, "status": status})

    def set_status(self, key: Key, status: Obj) -> None:
        obj = self.world.get(key)
        assert obj is not None
        self.world.put(key, {**obj, "status": status})


@pytest.fixture(scope="session")
def catalog() -> Catalog:
    """The kinds of Kubernetes, and a Widget whose spec may be anything."""
    anything = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    schema = {"type": "object", "properties": {"spec": anything, "status": anything}}
    return bundled().with_crds([crd("Widget", group="example.com", schema=schema)])


@pytest.fixture(scope="session")
def graph_of(catalog: Catalog) -> Callable[..., Graph]:
    """A graph from the parts of a definition."""

    def make(
        *resources: Obj,
        spec: Obj | None = None,
        status: Obj | None = None,
        api_kind: str = "ResourceGraphDefinition",
        scope: str = "Namespaced",
        name: str = "webapps",
        features: Iterable[str] = (),
        definition_fields: Obj | None = None,
    ) -> Graph:
        scoped = {"scope": scope} if api_kind == "ResourceGraphDefinition" else {}
        obj = definition("WebApp", resources, name=name, spec=spec, api_kind=api_kind, status=status, **scoped)
        obj["metadata"]["uid"] = "definition-uid"
        obj["spec"] |= definition_fields or {}
        parsed, problems = parse_definition(obj)
        assert parsed is not None, problems
        built = build(parsed, catalog, features=frozenset(("CELOmitFunction", *features)))
        assert built.graph is not None, [str(p) for p in built.problems]
        return built.graph

    return make


@pytest.fixture
def instance_of() -> Callable[..., Obj]:
    """An instance as the API server stores it after its creation."""

    def make(spec: Obj | None = None, *, namespace: str | None = "team", **meta: Any) -> Obj:
        metadata: Obj = {
            "name": "shop",
            "uid": UID,
            "generation": 1,
            "creationTimestamp": CREATED,
            **meta,
        }
        if namespace is not None:
            metadata["namespace"] = namespace
        return {
            "apiVersion": "kro.run/v1alpha1",
            "kind": "WebApp",
            "metadata": metadata,
            "spec": spec or {},
        }

    return make


@pytest.fixture
def cluster_of(catalog: Catalog) -> Callable[..., Cluster]:
    def make(instance: Obj, objects: Iterable[Obj] = (), **given: Any) -> Cluster:
        return Cluster(OfflineWorld(instance, objects, catalog.resource), **given)

    return make


@pytest.fixture
def walked() -> Callable[..., Passed]:
    """One pass over the cluster's instance."""

    def run(graph: Graph | Plan, cluster: Cluster, options: Options | None = None) -> Passed:
        plan = graph if isinstance(graph, Plan) else Plan.of(graph, options)
        walk = Walk(plan, cluster.world.instance, cluster.world)
        batches: list[list[Action]] = []
        while actions := walk.next_actions():
            batches.append(actions)
            assert len(batches) < 1000
            walk.feed([cluster.perform(action) for action in actions])
        return Passed(batches=batches, outcome=walk.outcome, plan=plan)

    return run


@pytest.fixture
def key_of(catalog: Catalog) -> Callable[..., Key]:
    def make(kind: str, name: str, namespace: str = "team", api_version: str = "v1") -> Key:
        resource = catalog.resource(GVK.parse(api_version, kind))
        assert isinstance(resource, Resource)
        return Key(resource, namespace if resource.namespaced else "", name)

    return make


@pytest.fixture
def config() -> Callable[..., Obj]:
    """A definition's entry for one ConfigMap."""

    def make(id_: str, data: Obj | None = None, name: str | None = None, **rest: Any) -> Obj:
        meta: Obj = {"name": name or f"${{schema.metadata.name}}-{id_}"}
        if "metadata" in rest:
            meta.update(rest.pop("metadata"))
        return {"id": id_, "template": config_map(data=data, **meta), **rest}

    return make


def kinds(actions: Sequence[Action]) -> list[type]:
    return [type(action) for action in actions]


__all__ = ["Cluster", "Done", "Passed", "PatchParent"]
