"""Passes over definitions: the requests to the API server, and the status."""

import asyncio
from typing import Any, cast

import pytest

from kroasync.controller.compilation import Compilation
from kroasync.controller.crd_stage import CrdStage
from kroasync.controller.crds import CrdStore
from kroasync.controller.definitions import (
    ACCEPTED,
    Definitions,
    is_in_force,
    recorded,
    refused,
    resolved,
    status_of,
)
from kroasync.controller.events import Recorder
from kroasync.controller.fights import Fights
from kroasync.controller.options import RuntimeOptions
from kroasync.controller.registry import Registry
from kroasync.controller.revisions import Issued, Revisions, RevisionStore
from kroasync.controller.served_kinds import Unresolved
from kroasync.controller.stages import Proceed, StageCondition, Stop
from kroasync.controller.watchdog import Watchdog
from kroasync.controller.withdrawal import Withdrawal
from kroasync.engine.labels import label_value
from kroasync.engine.verdict import AtRest, RetryAfter, Verdict
from kroasync.graph.nodes import Graph
from kroasync.kube.api_errors import (
    ApiError,
    ConflictError,
    ForbiddenError,
    NotFoundError,
    ServerError,
    ThrottledError,
)
from kroasync.kube.client import Client
from kroasync.metrics import Metrics
from kroasync.model import names
from kroasync.model.kinds import CRDS, GRAPH_DEFINITIONS
from kroasync.model.objects import Key, Obj, Resource, labels_of
from kroasync.schema.catalog import Catalog, bundled
from tests.unit.controller.samples import NOW, StubClient

KEY = Key(GRAPH_DEFINITIONS, "", "web")
CONFIG = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}, "data": {"size": "${schema.spec.size}"}}


def definition(*, resource: Obj = CONFIG, status: Obj | None = None, **meta: Any) -> Obj:
    found = {"name": "web", "uid": "d1", "generation": 1, "resourceVersion": "1", "finalizers": [names.FINALIZER]}
    schema = {"apiVersion": "v1alpha1", "kind": "App", "spec": {"size": "string"}}
    return {
        "apiVersion": names.KRO_API_VERSION,
        "kind": names.RESOURCE_GRAPH_DEFINITION,
        "metadata": found | meta,
        "spec": {"schema": schema, "resources": [{"id": "config", "template": resource}]},
        **({"status": status} if status else {}),
    }


INVALID = CONFIG | {"data": {"size": "${schema.spec.sise}"}}
UNKNOWN_KIND = {"apiVersion": "example.com/v1", "kind": "Widget", "metadata": {"name": "a"}}


class Kinds:
    """Replaces the kinds of the cluster with those of Kubernetes."""

    async def load(self, gvks: Any) -> Catalog:
        return bundled()


class Served:
    """Replaces the serving of kinds, and records the calls."""

    def __init__(self, error: Exception | None = None) -> None:
        self.error = error
        self.graphs: list[Graph] = []
        self.retired: list[Key] = []
        self.unresolved: list[Unresolved] = []
        self.kinds = self

    async def serve(self, key: Key, graph: Graph) -> None:
        if self.error is not None:
            raise self.error
        self.graphs.append(graph)

    async def retire(self, key: Key) -> None:
        self.retired.append(key)

    def leave_unresolved(self, resource: Resource, why: Unresolved) -> None:
        assert resource.plural == "apps"
        self.unresolved.append(why)

    def of_definition(self, key: Key) -> list[Any]:
        return []

    def get(self, resource: Any) -> None:
        return None


class ApiServer(StubClient):
    """A client that accepts every write, or raises one of the `refusals`, by method and plural."""

    def __init__(self, **refusals: ApiError) -> None:
        super().__init__()
        self.refusals = refusals
        self.refused_once: dict[str, ApiError] = {}
        self.objects: dict[Key, Obj] = {}
        self.version = 10

    def _answer(self, method: str, *what: Any) -> Any:
        key = what[0]
        self.asked.append((method, *what))
        call = f"{method}_{key.resource.plural}"
        error = self.refusals.get(call) or self.refused_once.pop(call, None)
        if error is not None:
            raise error
        if method == "create":
            self.put(key, what[1])
        if key not in self.objects:
            raise NotFoundError("not found")
        if method == "merge_patch":
            patch = what[1]
            meta = self.objects[key]["metadata"] | patch["metadata"]
            self.put(key, self.objects[key] | patch | {"metadata": meta})
        return self.objects.pop(key) if method == "delete" else self.objects[key]

    async def delete(
        self, key: Key, *, uid: str | None = None, version: str | None = None, propagation: str | None = None
    ) -> Obj:
        return self._answer("delete", key, uid)

    def put(self, key: Key, obj: Obj) -> None:
        self.version += 1
        if key.resource.plural == "customresourcedefinitions":
            obj = obj | {"status": {"conditions": [{"type": "Established", "status": "True"}]}}
        self.objects[key] = obj | {"metadata": obj["metadata"] | {"resourceVersion": str(self.version)}}

    @property
    def writes(self) -> list[str]:
        return [f"{method} {what[0].resource.plural}" for method, *what in self.asked if method != "get"]


class Office:
    """The controller of definitions, with one definition and an API server."""

    def __init__(self, obj: Obj | None, *, serving: Served | None = None, **refusals: ApiError) -> None:
        self.server = ApiServer(**refusals)
        client = cast(Client, self.server)
        self.registry = Registry(lambda key: None, lambda name: None)
        if obj is not None:
            self.registry.store(KEY).put(obj)
            self.server.objects[KEY] = obj
        self.serving = serving or Served()
        served, metrics, clock = cast(Any, self.serving), Metrics(), asyncio.get_running_loop().time
        watchdog, crds = Watchdog(clock=clock, cpu=clock), CrdStore(lambda before, after: None)
        kinds: Any = Kinds()
        options = RuntimeOptions(version="v1", allow_crd_deletion=True)
        self.revisions = Revisions(client, RevisionStore(lambda identity: None), metrics, options)
        self.definitions = Definitions(
            client=client,
            registry=self.registry,
            compilation=Compilation(kinds, options, watchdog, metrics, lambda: NOW),
            revisions=self.revisions,
            crds=crds,
            crd_stage=CrdStage(client, crds, self.registry, served, watchdog, options),
            serving=served,
            withdrawal=Withdrawal(client, self.registry, self.revisions, crds, served, metrics, lambda: NOW, options),
            recorder=Recorder(client, reporter="test", instance="test", now=lambda: NOW),
            metrics=metrics,
            fights=Fights(clock),
            now=lambda: NOW,
        )

    async def reconcile(self) -> Verdict:
        return await self.definitions.reconcile(KEY)

    @property
    def status(self) -> Obj:
        return self.server.objects[KEY]["status"]

    def message(self, type_: str) -> str:
        return next(str(c.get("message", "")) for c in self.status["conditions"] if c["type"] == type_)

    def conditions(self) -> dict[str, tuple[str, str]]:
        return {c["type"]: (c["status"], c.get("reason", "")) for c in self.status["conditions"]}


async def test_a_valid_definition_is_recorded_generated_served_and_active() -> None:
    office = Office(definition())
    assert await office.reconcile() == AtRest()
    assert office.server.writes == [
        "create graphrevisions",
        "merge_patch graphrevisions",
        "create customresourcedefinitions",
        "merge_patch resourcegraphdefinitions",
    ]
    assert {status for status, _ in office.conditions().values()} == {"True"}
    assert (office.status["state"], office.status["lastIssuedRevision"]) == ("Active", 1)
    assert office.status["observedGeneration"] == 1
    assert office.status["topologicalOrder"] == ["config"]
    assert len(office.serving.graphs) == 1


async def test_a_second_pass_writes_nothing() -> None:
    office = Office(definition())
    await office.reconcile()
    written = list(office.server.writes)
    office.registry.store(KEY).put(office.server.objects[KEY])
    assert await office.reconcile() == AtRest()
    assert office.server.writes == written


async def test_the_finalizer_comes_before_everything_else() -> None:
    office = Office(definition(finalizers=["other"]))
    await office.reconcile()
    assert office.server.writes[:2] == ["merge_patch resourcegraphdefinitions", "create graphrevisions"]
    assert office.server.objects[KEY]["metadata"]["finalizers"] == ["other", names.FINALIZER]


async def test_an_invalid_definition_is_refused_and_generates_nothing() -> None:
    office = Office(definition(resource=INVALID))
    assert await office.reconcile() == AtRest()
    assert office.server.writes == ["merge_patch resourcegraphdefinitions"]
    assert office.conditions()["GraphAccepted"] == ("False", "InvalidResourceGraph")
    assert (office.status["state"], office.serving.graphs) == ("Inactive", [])
    assert office.status["observedGeneration"] == 1


async def test_a_definition_waits_for_a_kind() -> None:
    office = Office(definition(resource=UNKNOWN_KIND))
    verdict = await office.reconcile()
    assert isinstance(verdict, RetryAfter)
    assert verdict.delay_s == 60.0
    assert office.conditions()["GraphAccepted"] == ("False", "WaitingForKind")
    assert office.registry.concerned_with(("example.com", "Widget")) == [KEY]


async def test_instances_are_told_why_there_is_no_graph_to_follow() -> None:
    office = Office(definition(resource=INVALID))
    await office.reconcile()
    [why] = office.serving.unresolved
    assert why.reason == "build_failed"
    assert why.text.startswith("graph-engine build failed: ")
    assert "sise" in why.text


async def test_instances_are_told_that_the_last_revision_cannot_be_followed_any_more() -> None:
    office = Office(definition())
    await office.reconcile()
    [revision] = office.revisions.of(KEY)
    snapshot = revision["spec"]["snapshot"]
    broken = {**snapshot, "spec": definition(resource=INVALID)["spec"]}
    office.revisions.store.event("MODIFIED", {**revision, "spec": {**revision["spec"], "snapshot": broken}})
    edited = definition(resource=INVALID, generation=2, resourceVersion="99", status=office.status)
    office.registry.store(KEY).put(edited)
    office.server.objects[KEY]["metadata"]["resourceVersion"] = "99"
    await office.reconcile()
    text = "graph not resolved: latest issued revision 1 failed"
    assert office.serving.unresolved == [Unresolved(text, "revision_failed")]


async def test_an_invalid_edit_keeps_the_revision_that_is_served() -> None:
    office = Office(definition())
    await office.reconcile()
    office.registry.store(KEY).put(
        definition(resource=INVALID, generation=2, resourceVersion="99", status=office.status)
    )
    office.server.objects[KEY]["metadata"]["resourceVersion"] = "99"
    await office.reconcile()
    found = office.conditions()
    assert found["GraphAccepted"] == ("False", "InvalidResourceGraph")
    assert found["GraphRevisionsResolved"] == ("True", "Resolved")


async def test_another_plural_is_refused_and_the_kind_served_as_it_was() -> None:
    office = Office(definition())
    await office.reconcile()
    made = next(obj for key, obj in office.server.objects.items() if key.resource.plural == "customresourcedefinitions")
    office.definitions.crds.event("ADDED", made)
    edited = definition(generation=2, resourceVersion="99", status=office.status)
    edited["spec"]["schema"]["plural"] = "appz"
    office.registry.store(KEY).put(edited)
    office.server.objects[KEY]["metadata"]["resourceVersion"] = "99"
    written = list(office.server.writes)
    assert await office.reconcile() == AtRest()
    assert office.server.writes == [*written, "merge_patch resourcegraphdefinitions"]
    found = office.conditions()
    assert found["GraphAccepted"] == ("False", "InvalidResourceGraph")
    assert found["GraphRevisionsResolved"] == ("True", "Resolved")
    text = next(c["message"] for c in office.status["conditions"] if c["type"] == "GraphAccepted")
    assert "kind App is served by the CRD apps.kro.run, expected plural apps" in text
    # Its end is an event that wakes the definition, and then nothing is in the way.
    office.definitions.crds.event("DELETED", made)
    office.registry.store(KEY).put(edited | {"status": office.status})
    await office.reconcile()
    assert Key(CRDS, "", "appz.kro.run") in office.server.objects


async def test_the_plural_that_a_kind_has_anyhow_may_be_written_out() -> None:
    obj = definition()
    obj["spec"]["schema"]["plural"] = "apps"
    office = Office(obj)
    await office.reconcile()
    assert Key(CRDS, "", "apps.kro.run") in office.server.objects
    assert office.status["state"] == "Active"


async def test_a_revision_that_is_refused_stops_the_pass() -> None:
    office = Office(definition(), create_graphrevisions=ForbiddenError("not you"))
    text = "the API server refuses the graph revision: not you"
    assert await office.reconcile() == RetryAfter(reason=text)
    found = office.conditions()
    assert found["GraphAccepted"] == ("False", "InvalidResourceGraph")
    assert found["GraphRevisionsResolved"] == ("False", "Failed")
    assert "create customresourcedefinitions" not in office.server.writes


async def test_a_crd_that_is_refused_stops_the_pass() -> None:
    office = Office(definition(), create_customresourcedefinitions=ForbiddenError("not you"))
    assert await office.reconcile() == RetryAfter(reason="not you")
    found = office.conditions()
    assert found["GraphAccepted"] == ("True", "Valid")
    assert found["KindReady"] == ("False", "Failed")
    assert office.serving.graphs == []


def oops() -> ServerError:
    """A webhook that does not answer, for example."""
    return ServerError("oops", status=500, reason="InternalError")


@pytest.mark.parametrize("error", [ForbiddenError("no", status=403), oops()])
async def test_a_refused_finalizer_is_a_condition(error: ApiError) -> None:
    office = Office(definition(finalizers=[]))
    office.server.refused_once["merge_patch_resourcegraphdefinitions"] = error
    text = f"cannot set the finalizer: {error.message}"
    assert await office.reconcile() == RetryAfter(reason=text)
    assert office.conditions()["ControllerReady"] == ("False", "FinalizerRefused")
    assert office.message("ControllerReady") == office.message("Ready") == text


@pytest.mark.parametrize("refused", ["delete_customresourcedefinitions", "merge_patch_resourcegraphdefinitions"])
async def test_a_deletion_that_is_refused_is_a_condition(refused: str) -> None:
    office = Office(definition())
    await office.reconcile()
    deleting = office.server.objects[KEY]
    deleting["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    office.registry.store(KEY).put(deleting)
    office.server.refused_once[refused] = ForbiddenError("not you", status=403)
    assert await office.reconcile() == RetryAfter(reason="deletion blocked: not you")
    assert office.conditions()["ControllerReady"] == ("False", "DeletionBlocked")
    assert office.message("ControllerReady") == "deletion blocked: not you"


@pytest.mark.parametrize("error", [oops(), ForbiddenError("no", status=403), NotFoundError("no", status=404)])
async def test_whatever_stops_a_revision_is_a_condition(error: ApiError) -> None:
    office = Office(definition(), merge_patch_graphrevisions=error)
    assert await office.reconcile() == RetryAfter(reason=error.message)
    assert office.conditions()["GraphRevisionsResolved"] == ("False", "Failed")
    assert office.message("GraphRevisionsResolved") == error.message


@pytest.mark.parametrize(
    "error",
    [
        ConflictError("changed", status=409),
        ServerError("bad gateway", status=502),
        ServerError("no Status", status=500),
        ThrottledError("later", status=429),
    ],
)
async def test_an_api_server_that_is_away_is_no_condition(error: ApiError) -> None:
    office = Office(definition(), merge_patch_graphrevisions=error)
    await office.reconcile()
    assert office.conditions()["GraphRevisionsResolved"] == ("Unknown", "AwaitingReconciliation")


async def test_a_definition_name_above_63_characters_works() -> None:
    """Labels have a digest of it."""
    name = "a-definition-with-quite-a-long-name-that-is-a-valid-subdomain-all-the-same.example.com"
    key = Key(GRAPH_DEFINITIONS, "", name)
    office = Office(None)
    obj = definition(name=name)
    office.registry.store(key).put(obj)
    office.server.objects[key] = obj
    assert await office.definitions.reconcile(key) == AtRest()
    assert office.server.objects[key]["status"]["state"] == "Active"
    made = [what[1] for method, *what in office.server.asked if method == "create"]
    labels = {labels_of(obj)[names.LABEL_DEFINITION_NAME] for obj in made}
    assert [obj["kind"] for obj in made] == ["GraphRevision", "CustomResourceDefinition"]
    assert labels == {label_value(name)}
    assert all(len(label) <= 63 for label in labels)


async def test_watches_that_do_not_start_are_told_and_tried_again() -> None:
    office = Office(definition(), serving=Served(error=TimeoutError()))
    assert await office.reconcile() == RetryAfter(reason="watches not synced")
    assert office.conditions()["ControllerReady"] == ("False", "FailedToStart")


async def test_a_status_without_an_answer_is_read_before_the_next_pass() -> None:
    office = Office(definition(), merge_patch_resourcegraphdefinitions=ServerError("oops"))
    assert await office.reconcile() == RetryAfter(reason="oops")
    office.server.refusals.clear()
    office.server.asked.clear()
    assert await office.reconcile() == AtRest()
    assert office.server.asked[0] == ("get", KEY)
    assert office.status["state"] == "Active"


async def test_a_definition_that_is_gone_is_served_no_more_and_forgotten() -> None:
    office = Office(None)
    office.registry.of(KEY)
    assert await office.reconcile() == AtRest()
    assert office.serving.retired == [KEY]
    assert office.registry.remembered == {}


async def test_a_deletion_takes_the_crd_along_and_then_the_finalizer_off() -> None:
    office = Office(definition())
    await office.reconcile()
    deleting = office.server.objects[KEY]
    deleting["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    office.registry.store(KEY).put(deleting)
    before = len(office.server.writes)
    assert await office.reconcile() == AtRest()
    assert office.server.writes[before:] == [
        "delete customresourcedefinitions",
        "merge_patch resourcegraphdefinitions",
    ]
    assert office.server.objects[KEY]["metadata"]["finalizers"] == []


async def test_a_standby_serves_what_is_in_force_and_writes_nothing() -> None:
    office = Office(definition())
    await office.reconcile()
    office.registry.store(KEY).put(office.server.objects[KEY])
    for key, obj in office.server.objects.items():
        if key.resource.plural == "customresourcedefinitions":
            office.definitions.crds.event("ADDED", obj)
    written = list(office.server.writes)
    await office.definitions.prepare(KEY)
    assert len(office.serving.graphs) == 2
    assert office.server.writes == written


def test_a_definition_is_refused_for_good_or_until_its_kind_appears() -> None:
    invalid = StageCondition("GraphAccepted", "False", "InvalidResourceGraph", "why")
    assert refused("why", is_waiting=False) == Stop(findings=(invalid,))
    waits = StageCondition("GraphAccepted", "False", "WaitingForKind", "why")
    verdict = RetryAfter(delay_s=60.0, reason="why")
    assert refused("why", is_waiting=True) == Stop(findings=(waits,), verdict=verdict)


def test_a_revision_on_its_way_out_does_not_stop_a_pass() -> None:
    [stuck] = recorded(Issued(number=3, stuck="not you")).findings
    assert stuck.message == "waiting for terminating graph revisions to settle: not you"
    stage = recorded(Issued(number=3))
    assert isinstance(stage, Proceed)
    [found] = stage.findings
    assert (found.status, found.reason) == ("Unknown", "WaitingForGraphRevisionSettlement")


def test_the_revision_that_is_served_is_named() -> None:
    [found] = recorded(Issued(number=3, revision={"spec": {"revision": 3}})).findings
    assert found == StageCondition("GraphRevisionsResolved", "True", "Resolved", "revision 3 compiled and active")


def test_old_revisions_that_cannot_be_deleted_are_told_beside_it() -> None:
    told = resolved({"spec": {"revision": 7}}, kept="deletes are forbidden")
    assert (told.status, told.reason) == ("True", "Resolved")
    assert told.message == "revision 7 compiled and active; old revisions are not deleted: deletes are forbidden"


@pytest.mark.parametrize("missing", [None, "GraphAccepted", "KindReady", "ControllerReady"])
def test_a_definition_is_active_when_all_of_its_parts_are(missing: str | None) -> None:
    parts = [ACCEPTED.type, "KindReady", "ControllerReady"]
    conditions = [{"type": part, "status": "False" if part == missing else "True"} for part in parts]
    status = status_of(conditions, order=["a"], resources=[], issued=0)
    assert status["state"] == ("Inactive" if missing else "Active")
    assert "lastIssuedRevision" not in status


@pytest.mark.parametrize(
    ("generation", "status", "expected"), [(2, "True", True), (1, "True", False), (2, "False", False)]
)
def test_a_definition_is_in_force_if_it_is_ready_as_it_is_now(generation: int, status: str, expected: bool) -> None:
    ready = {"type": "Ready", "status": status, "observedGeneration": generation}
    assert is_in_force({"metadata": {"generation": 2}, "status": {"conditions": [ready]}}) is expected
