"""The CRD of a definition: when it is written, waited for or left unchanged, and the condition about it."""

import asyncio
from typing import Any, cast

import pytest

from kroasync.controller.crd_stage import CrdStage, Wanted, breakage, going, in_the_way, is_over, labelled, ready
from kroasync.controller.crds import CrdStore
from kroasync.controller.options import RuntimeOptions
from kroasync.controller.registry import Registry
from kroasync.controller.stages import Proceed, Stage, StageCondition, Stop
from kroasync.controller.watchdog import Watchdog
from kroasync.engine.verdict import AtRest, RetryAfter
from kroasync.graph.build import build
from kroasync.kube.api_errors import ForbiddenError, NotFoundError
from kroasync.kube.client import Client
from kroasync.model import names
from kroasync.model.definition import parse_definition
from kroasync.model.kinds import GRAPH_DEFINITIONS
from kroasync.model.objects import Key, Obj
from kroasync.schema.catalog import bundled
from tests.fakes import virtual
from tests.unit.controller.samples import StubClient

KEY = Key(GRAPH_DEFINITIONS, "", "web")
CRD = "apps.kro.run"
SPEC = {"schema": {"apiVersion": "v1alpha1", "kind": "App", "spec": {"size": "integer"}}, "resources": []}
GONE = NotFoundError("not found")


def definition_object(*, uid: str = "d1", generation: int = 1, **meta: Any) -> Obj:
    found = {"name": "web", "uid": uid, "generation": generation, "resourceVersion": "1", **meta}
    return {
        "apiVersion": names.KRO_API_VERSION,
        "kind": names.RESOURCE_GRAPH_DEFINITION,
        "metadata": found,
        "spec": SPEC,
    }


def wanted() -> Wanted:
    obj = definition_object()
    definition, problems = parse_definition(obj)
    assert definition is not None, problems
    built = build(definition, bundled())
    assert built.graph is not None, built.problems
    return Wanted(definition=definition, graph=built.graph, schema=built.spec_schema, key=KEY, obj=obj)


def crd(*, uid: str = "d1", established: bool = True, refused: str = "", **meta: Any) -> Obj:
    """The CRD as the API server stores it after a write of `wanted`."""
    one = wanted()
    obj = labelled(one.graph.crd, one.definition, "v1")
    labels = {**obj["metadata"]["labels"], names.LABEL_DEFINITION_ID: uid}
    conditions = [{"type": "Established", "status": "True" if established else "False"}]
    if refused:
        conditions.append({"type": "NamesAccepted", "status": "False", "message": refused})
    status = {"conditions": conditions, "acceptedNames": {"kind": "App"}}
    return {**obj, "metadata": {**obj["metadata"], "labels": labels, "resourceVersion": "7", **meta}, "status": status}


class Bench:
    """The stage with cached definitions; `answers` has the answers of the API server, by method."""

    def __init__(self, *definitions: Obj, features: frozenset[str] = frozenset(), **answers: list[Any]) -> None:
        self.stub = StubClient(answers=answers)
        registry = Registry(lambda key: None, lambda name: None)
        for obj in definitions:
            registry.store(KEY).put(obj)
        self.crds = CrdStore(lambda before, after: None)
        # No kind is served yet.
        serving = cast(Any, type("Nothing", (), {"kinds": {}}))
        loop_time = asyncio.get_running_loop().time
        watchdog = Watchdog(clock=loop_time, cpu=loop_time)
        client = cast(Client, self.stub)
        options = RuntimeOptions(version="v1", progress_s=3.0, features=features)
        self.stage = CrdStage(client, self.crds, registry, serving, watchdog, options)

    async def ensure(self) -> Stage:
        return await self.stage.ensure(wanted())

    @property
    def methods(self) -> list[str]:
        return [what[0] for what in self.stub.asked]


def not_ready(text: str) -> tuple[StageCondition, ...]:
    return (StageCondition("KindReady", "False", "Failed", text),)


READY = (StageCondition("KindReady", "True", "Ready", "kind App has been accepted and ready"),)


async def test_a_crd_that_is_as_declared_is_only_read() -> None:
    bench = Bench(definition_object(), get=[crd()])
    assert await bench.ensure() == Proceed(findings=READY)
    assert bench.methods == ["get"]


async def test_a_crd_that_is_not_there_is_created_with_labels_and_waited_for() -> None:
    bench = Bench(definition_object(), get=[GONE, crd()], create=[crd(established=False)])
    assert await bench.ensure() == Proceed(findings=READY, changes=("CRD created",))
    assert bench.methods == ["get", "create", "get"]
    labels = bench.stub.asked[1][2]["metadata"]["labels"]
    assert labels[names.LABEL_DEFINITION_ID] == "d1"


async def test_a_crd_that_lost_its_labels_is_updated() -> None:
    bench = Bench(definition_object(), get=[crd(labels={names.LABEL_OWNED: "true"})], merge_patch=[crd()])
    assert await bench.ensure() == Proceed(findings=READY, changes=("CRD updated",))


async def test_a_crd_of_a_live_rival_is_left_alone() -> None:
    rival = definition_object(uid="d2") | {"metadata": {"name": "other", "uid": "d2", "resourceVersion": "1"}}
    bench = Bench(definition_object(), rival, get=[crd(uid="d2")])
    text = f"failed to update CRD {CRD}: CRD is owned by another {Key(GRAPH_DEFINITIONS, '', 'other')}"
    assert await bench.ensure() == Stop(findings=not_ready(text))
    assert bench.methods == ["get"]


async def test_a_crd_in_deletion_is_not_written_to() -> None:
    bench = Bench(definition_object(), get=[crd(deletionTimestamp="2026-01-01T00:00:00Z", labels={})])
    text = f"CRD {CRD} is being deleted; it is recreated when it is gone"
    assert await bench.ensure() == Stop(findings=not_ready(text), verdict=RetryAfter(delay_s=10.0, reason=text))
    assert bench.methods == ["get"]


async def test_no_crd_is_created_for_a_definition_that_went_meanwhile() -> None:
    assert await Bench(get=[GONE]).ensure() == Stop()


async def test_a_breaking_change_says_that_it_is_one() -> None:
    old = crd()
    schema = old["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]
    schema["properties"]["gone"] = {"type": "string"}
    stage = await Bench(definition_object(), get=[old]).ensure()
    assert isinstance(stage, Stop)
    assert [(found.type, found.status) for found in stage.findings] == [("KindReady", "False")]
    assert "gone" in stage.findings[0].message
    assert stage.verdict == AtRest()


@pytest.mark.parametrize("features", [frozenset[str](), frozenset({"ConservativeCRDComparison"})])
async def test_the_gate_decides_which_changes_break(features: frozenset[str]) -> None:
    old = crd()
    schema = old["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]
    schema["properties"]["size"]["x-kubernetes-validations"] = [{"rule": "self > 1"}]
    schema["properties"]["size"]["multipleOf"] = 2
    stage = await Bench(definition_object(), features=features, get=[old], merge_patch=[crd()]).ensure()
    assert isinstance(stage, Stop if features else Proceed)
    if features:
        assert "breaking changes detected: multipleOf was changed from 2 to none" in stage.findings[0].message


async def test_a_refused_write_is_told_and_tried_again() -> None:
    bench = Bench(definition_object(), get=[GONE], create=[ForbiddenError("not you")])
    findings = not_ready(f"failed to update CRD {CRD}: not you")
    assert await bench.ensure() == Stop(findings=findings, verdict=RetryAfter(reason="not you"))


async def test_names_that_are_taken_are_told_and_what_was_written_counts() -> None:
    waits = crd(established=False, refused="taken")
    bench = Bench(definition_object(), get=[GONE, waits], create=[crd(established=False)])
    text = f"CRD {CRD}: its names are not accepted: taken"
    assert await bench.ensure() == Stop(findings=not_ready(text), changes=("CRD created",))


async def test_nobody_waits_for_the_crd_of_an_older_spec() -> None:
    bench = Bench(definition_object(generation=2), get=[crd(established=False)] * 2)
    assert await bench.ensure() == Stop()


def test_a_crd_that_is_never_established_is_given_up_for_a_while() -> None:
    async def scenario() -> Stage:
        return await Bench(definition_object(), get=[crd(established=False)] * 60).ensure()

    text = f"CRD {CRD} was not established within 120 s"
    expected = Stop(findings=not_ready(text), verdict=RetryAfter(reason="CRD not established"))
    assert virtual.run(scenario()) == expected


def test_an_event_of_a_crd_ends_the_wait() -> None:
    async def scenario() -> tuple[Stage, float]:
        loop = asyncio.get_running_loop()
        bench = Bench(definition_object(), get=[crd(established=False), crd(established=False), crd()])
        loop.call_later(1.0, bench.crds.event, "ADDED", crd())
        began = loop.time()
        return await bench.ensure(), loop.time() - began

    stage, took_s = virtual.run(scenario())
    assert stage == Proceed(findings=READY)
    assert took_s == pytest.approx(1.0)


def test_what_is_in_the_way_of_a_crd() -> None:
    assert in_the_way(crd(), None) is None
    assert going(crd()) is None
    assert isinstance(in_the_way(crd(), KEY), Stop)
    assert isinstance(in_the_way(crd(deletionTimestamp="now"), None), Stop)


def test_a_kind_is_called_as_the_api_server_accepted_it() -> None:
    assert ready({}, "App").findings == READY
    renamed = {"status": {"acceptedNames": {"kind": "Other"}}}
    assert ready(renamed, "App").findings[0].message == "kind Other has been accepted and ready"


def test_a_definition_is_over_when_it_is_gone_replaced_or_going() -> None:
    seen = definition_object()
    current = [None, definition_object(uid="d2"), definition_object(deletionTimestamp="now"), definition_object()]
    assert [is_over(seen, one) for one in current] == [True, True, True, False]


def test_instances_that_would_break_are_counted_and_some_are_named() -> None:
    assert breakage([], 3) == "; none of the 3 instances would break"
    assert breakage(["a", "b"], 3) == "; 2 of 3 instances would break: a, b"
    assert breakage(list("abcdefg"), 9) == "; 7 of 9 instances would break: a, b, c, d, e and 2 more"
