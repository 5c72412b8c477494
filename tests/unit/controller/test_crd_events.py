"""The effects of a CRD's events."""

from typing import Any, cast

from kroasync.controller.crd_events import CrdEvents
from kroasync.controller.crds import SeenCrd, seen
from kroasync.controller.registry import Registry
from kroasync.model import names
from kroasync.model.kinds import GRAPH_DEFINITIONS
from kroasync.model.objects import GVK, Key, Obj, Resource
from tests.unit.controller.samples import APPS

WEB, OTHER = Key(GRAPH_DEFINITIONS, "", "web"), Key(GRAPH_DEFINITIONS, "", "other")


class Serving:
    """Replaces the serving of kinds, and records the calls."""

    def __init__(self) -> None:
        self.kinds = [cast(Any, type("Served", (), {"name": "apps.example.com", "resource": APPS}))]
        self.stopped: list[Resource] = []
        self.adopted: list[Resource] = []

    def stop(self, resource: Resource) -> None:
        self.stopped.append(resource)

    def adopt(self, resource: Resource) -> None:
        self.adopted.append(resource)


class Bench:
    def __init__(self) -> None:
        self.woken: list[Key] = []
        self.registry = Registry(lambda key: None, lambda name: None)
        self.serving = Serving()
        self.events = CrdEvents(self.registry, cast(Any, self.serving), self.woken.append)


def crd(*, owned: bool = True, established: bool = True, uid: str = "d1") -> SeenCrd:
    labels = {names.LABEL_OWNED: "true" if owned else "false", names.LABEL_DEFINITION_ID: uid}
    conditions = [{"type": "Established", "status": "True" if established else "False"}]
    spec: Obj = {
        "group": "example.com",
        "scope": "Namespaced",
        "names": {"kind": "App", "plural": "apps"},
        "versions": [{"name": "v1", "served": True}],
    }
    meta = {"name": "apps.example.com", "uid": "c1", "labels": labels}
    return seen({"metadata": meta, "spec": spec, "status": {"conditions": conditions}})


def test_a_generated_crd_is_served_once_it_is_established() -> None:
    bench = Bench()
    bench.events.changed(None, crd(established=False))
    assert bench.serving.adopted == []
    bench.events.changed(crd(established=False), crd())
    assert bench.serving.adopted == [APPS]


def test_a_foreign_crd_is_not_served() -> None:
    bench = Bench()
    bench.events.changed(None, crd(owned=False))
    assert bench.serving.adopted == []


def test_a_kind_stops_with_its_crd() -> None:
    bench = Bench()
    bench.events.changed(crd(), None)
    assert (bench.serving.stopped, bench.serving.adopted) == ([APPS], [])


def test_who_waits_for_a_kind_is_woken_when_it_is_established() -> None:
    bench = Bench()
    bench.registry.of(WEB).refused_over = (GVK("example.com", "v1", "App"),)
    bench.events.changed(None, crd(owned=False, established=False))
    assert bench.woken == []
    bench.events.changed(None, crd(owned=False))
    assert bench.woken == [WEB]


def test_who_generates_a_crd_is_woken_by_every_change_and_so_is_its_owner() -> None:
    bench = Bench()
    owner = {"metadata": {"name": "web", "uid": "d1", "resourceVersion": "1"}}
    bench.registry.store(WEB).put(owner)
    bench.registry.of(OTHER).crd = "apps.example.com"
    for before, after in ((None, crd(established=False)), (crd(), None)):
        bench.woken.clear()
        bench.events.changed(before, after)
        assert bench.woken == [OTHER, WEB]
