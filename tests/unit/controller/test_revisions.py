"""Graph revisions: numbers, owners, and the cache of them."""

import asyncio
from typing import Any, cast

import pytest

from kroasync.controller.options import RuntimeOptions
from kroasync.controller.revisions import (
    Issued,
    Revisions,
    RevisionStore,
    adopted,
    definition_of,
    hash_of,
    identity_of,
    last_issued,
    new_revision,
    number_of,
    records,
    verified_status,
)
from kroasync.kube.api_errors import AlreadyExistsError, ForbiddenError, InvalidError, NotFoundError, ServerError
from kroasync.kube.client import Client
from kroasync.metrics import Metrics
from kroasync.model import names
from kroasync.model.definition import Definition, parse_definition
from kroasync.model.kinds import GRAPH_DEFINITIONS
from kroasync.model.objects import Key, Obj
from tests.fakes import virtual
from tests.unit.controller.samples import StubClient

SPEC = {"schema": {"apiVersion": "v1", "kind": "App", "spec": {"name": "string"}}, "resources": []}


def definition(*, namespace: str = "", uid: str = "d1") -> Definition:
    kind = names.RESOURCE_GROUP if namespace else names.RESOURCE_GRAPH_DEFINITION
    meta = {"name": "web", "uid": uid, "generation": 3} | ({"namespace": namespace} if namespace else {})
    found, problems = parse_definition(
        {"apiVersion": names.KRO_API_VERSION, "kind": kind, "metadata": meta, "spec": SPEC}
    )
    assert found is not None, problems
    return found


def revision(number: Any, *, of: str = "web", **meta: Any) -> Obj:
    return {"metadata": {"name": f"{of}-r{number}", **meta}, "spec": {"revision": number, "snapshot": {"name": of}}}


def test_a_revision_of_a_cluster_scoped_definition_is_owned_by_it() -> None:
    found = new_revision(definition(), 4, version="v1")
    [owner] = found["metadata"]["ownerReferences"]
    assert (owner["uid"], owner["controller"]) == ("d1", True)
    assert (number_of(found), hash_of(found)) == (4, definition().hash)
    assert found["spec"]["snapshot"] == {"name": "web", "generation": 3, "spec": SPEC}
    assert found["metadata"]["finalizers"] == [names.FINALIZER]


def test_a_revision_of_a_namespaced_definition_has_no_owner() -> None:
    """A namespaced object cannot own a cluster-scoped one."""
    group = definition(namespace="team")
    found = new_revision(group, 1, version="v1")
    assert "ownerReferences" not in found["metadata"]
    assert identity_of(group) == found["spec"]["snapshot"]["name"] == "team/web"
    assert "/" not in found["metadata"]["name"]
    assert adopted(found, group) is None


def test_a_definition_created_anew_adopts_its_old_revisions() -> None:
    old = new_revision(definition(uid="d0"), 1, version="v1")
    old["metadata"] |= {"resourceVersion": "9"}
    other = {"apiVersion": "v1", "kind": "ConfigMap", "name": "c", "uid": "c"}
    old["metadata"]["ownerReferences"].append(other)
    patch = adopted(old, definition(uid="d1"))
    assert patch is not None
    assert patch["metadata"]["resourceVersion"] == "9"
    assert [o["uid"] for o in patch["metadata"]["ownerReferences"]] == ["c", "d1"]


def test_the_owner_does_not_adopt_again() -> None:
    assert adopted(new_revision(definition(), 1, version="v1"), definition()) is None


def test_the_status_of_a_compiled_revision() -> None:
    found = verified_status(revision(1), order=["a", "b"], resources=[{"id": "b"}], now="2026-01-01T00:00:00Z")
    assert {c["type"]: c["status"] for c in found["conditions"]} == {"Ready": "True", "GraphVerified": "True"}
    assert (found["topologicalOrder"], found["resources"]) == (["a", "b"], [{"id": "b"}])


def test_a_revision_as_a_definition_has_its_spec_and_todays_metadata() -> None:
    current = {"kind": "X", "metadata": {"generation": 9}, "spec": {"broken": True}}
    old = new_revision(definition(), 1, version="v1")
    assert definition_of(old, current) == {"kind": "X", "metadata": {"generation": 9}, "spec": SPEC}


@pytest.mark.parametrize(
    "malformed",
    [{}, {"spec": {}}, {"spec": None}, {"spec": []}, *({"spec": {"revision": n}} for n in ("7", None, True, -1, 7.0))],
)
def test_a_malformed_revision_has_number_0(malformed: Obj) -> None:
    assert number_of(malformed) == 0


def test_revisions_of_one_definition_oldest_first() -> None:
    store = RevisionStore(lambda key: None)
    store.replace([revision(10), revision(9), revision(2, of="other"), revision(1, deletionTimestamp="x")])
    assert [number_of(r) for r in store.of("web")] == [9, 10]
    assert store.identities() == {"web", "other"}
    assert store.counts() == {("active",): 3, ("deleting",): 1}


def test_terminating_are_those_that_wait_for_us() -> None:
    store = RevisionStore(lambda key: None)
    waiting = revision(1, deletionTimestamp="x", finalizers=[names.FINALIZER])
    store.replace([waiting, revision(2, deletionTimestamp="x", finalizers=["other"]), revision(3)])
    assert store.terminating("web") == [waiting]


def test_events_change_what_is_known() -> None:
    store = RevisionStore(lambda key: None)
    store.event("ADDED", revision(1))
    store.event("ADDED", revision(2))
    store.event("DELETED", revision(1))
    assert [number_of(r) for r in store.of("web")] == [2]


def test_a_definition_that_has_one_less_is_told() -> None:
    told: list[str] = []
    store = RevisionStore(told.append)
    store.replace([revision(1), revision(2), revision(3, of="team/web")])
    store.event("MODIFIED", revision(1, deletionTimestamp="x"))
    assert told == []
    store.event("DELETED", revision(1))
    store.event("DELETED", revision(1))
    assert told == ["web"]
    store.replace([revision(2)])
    assert told == ["web", "team/web"]


def test_whoever_took_the_signal_before_looking_is_woken_by_the_next_change() -> None:
    async def story() -> bool:
        store = RevisionStore(lambda key: None)
        changed = store.changed
        asyncio.get_running_loop().call_later(1.0, store.event, "ADDED", revision(1))
        await changed.wait()
        return store.changed.is_set()

    assert virtual.run(story()) is False


@pytest.mark.parametrize(
    ("told", "live", "generation", "number"),
    [
        (None, [], 1, 0),
        (None, [3, 7], 1, 7),
        (7, [3, 7], 7, 7),
        # The status is outdated, as after a lost write.
        (2, [3, 7], 7, 7),
        # The newest revisions were deleted manually: their numbers are not reused.
        (9, [3, 7], 9, 9),
        (4, [], 4, 4),
        # A forged revision.
        (2**63 - 1, [1], 2, 1),
        (2**63 - 2, [1], 2, 1),
        (2**63, [], 1, 0),
        (10**30, [1], 2, 1),
        (1000, [1], 2, 1),
        (0, [2], 2, 2),
        (-5, [2], 2, 2),
        (-(2**63), [], 1, 0),
        ("9", [2], 9, 2),
        (True, [], 1, 0),
        (3.0, [2], 9, 2),
        ([9], [2], 9, 2),
        ({}, [2], 9, 2),
    ],
)
def test_numbers_follow_the_revisions_whatever_a_status_tells(
    told: Any, live: list[int], generation: int, number: int
) -> None:
    assert last_issued(told, [revision(n) for n in live], generation) == number


def test_a_revision_records_a_spec_by_its_label_and_by_what_it_holds() -> None:
    issued = new_revision(definition(), 1, version="v1")
    assert records(issued, definition())
    reordered = {**SPEC, "schema": {**SPEC["schema"], "group": "kro.run"}}  # type: ignore[dict-item]
    assert records(_holding(issued, reordered), definition())
    for forged in ({**SPEC, "resources": [{"id": "x"}]}, {}, None, "spec"):
        assert not records(_holding(issued, forged), definition())
    other = {**issued, "metadata": {**issued["metadata"], "labels": {names.LABEL_REVISION_HASH: "0"}}}
    assert not records(other, definition())


def _holding(revision: Obj, spec: Any) -> Obj:
    snapshot = {**revision["spec"]["snapshot"], "spec": spec}
    return {**revision, "spec": {**revision["spec"], "snapshot": snapshot}}


class Deletes(StubClient):
    """No object has to be deleted with a revision."""

    async def delete(
        self, key: Key, *, uid: str | None = None, version: str | None = None, propagation: str | None = None
    ) -> Obj:
        assert propagation is None
        return self._answer("delete", key)


class Archive:
    """The revisions of one definition; `answers` has the answers of the API server, by method."""

    def __init__(self, *known: Obj, keep: int = 5, **answers: list[Any]) -> None:
        self.stub = Deletes(answers=answers)
        self.woken: list[str] = []
        self.store = RevisionStore(self.woken.append)
        self.store.replace(list(known))
        options = RuntimeOptions(version="v1", max_revisions=keep)
        self.revisions = Revisions(cast(Client, self.stub), self.store, Metrics(), options)


def of_spec(number: int, *, uid: str = "d1", **meta: Any) -> Obj:
    found = new_revision(definition(uid=uid), number, version="v1")
    return {**found, "metadata": {**found["metadata"], "resourceVersion": "1", **meta}}


async def test_the_newest_revision_is_issued_no_second_time() -> None:
    archive = Archive(of_spec(3))
    assert await archive.revisions.issue(definition(), last=3) == Issued(number=3, revision=of_spec(3))
    assert archive.stub.asked == []


async def test_a_definition_created_anew_becomes_the_owner_of_its_newest_revision() -> None:
    archive = Archive(of_spec(3, uid="d0"), merge_patch=[of_spec(3)])
    assert await archive.revisions.issue(definition(), last=3) == Issued(number=3, revision=of_spec(3))
    assert archive.store.of("web") == [of_spec(3)]


async def test_a_new_spec_gets_the_next_number() -> None:
    archive = Archive(revision(2), create=[of_spec(5)])
    expected = Issued(number=5, revision=of_spec(5), is_new=True)
    assert await archive.revisions.issue(definition(), last=4) == expected
    assert number_of(archive.stub.asked[0][2]) == 5


async def test_numbers_that_others_took_are_passed_over() -> None:
    taken = AlreadyExistsError("taken")
    archive = Archive(create=[taken, of_spec(2)], get=[revision(1, of="team/web")])
    expected = Issued(number=2, revision=of_spec(2), is_new=True)
    assert await archive.revisions.issue(definition(), last=0) == expected


async def test_a_revision_on_its_way_out_is_waited_for() -> None:
    going = of_spec(1, deletionTimestamp="now")
    archive = Archive(create=[AlreadyExistsError("taken")], get=[going])
    assert await archive.revisions.issue(definition(), last=0) == Issued(number=0)


async def test_a_refused_revision_says_why() -> None:
    archive = Archive(create=[InvalidError("not so")])
    assert await archive.revisions.issue(definition(), last=0) == Issued(number=0, refused="not so")


@pytest.mark.parametrize(("keep", "deleted"), [(2, ["web-r1"]), (5, []), (0, [])])
async def test_the_newest_revisions_are_kept(keep: int, deleted: list[str]) -> None:
    archive = Archive(revision(1), revision(2), revision(3), keep=keep, delete=[{}])
    await archive.revisions.collect(Key(GRAPH_DEFINITIONS, "", "web"))
    assert [key.name for _, key in archive.stub.asked] == deleted


async def test_a_revision_that_cannot_be_deleted_holds_up_nothing() -> None:
    archive = Archive(revision(1), revision(2), revision(3), keep=1, delete=[ServerError("oops"), {}])
    assert await archive.revisions.collect(Key(GRAPH_DEFINITIONS, "", "web")) == "oops"
    assert len(archive.stub.asked) == 2


async def test_a_revision_that_is_gone_already_is_no_refusal() -> None:
    archive = Archive(revision(1), revision(2), keep=1, delete=[NotFoundError("gone")])
    assert await archive.revisions.collect(Key(GRAPH_DEFINITIONS, "", "web")) == ""


async def test_revisions_in_deletion_lose_our_finalizer_only() -> None:
    going = revision(1, deletionTimestamp="x", resourceVersion="7", finalizers=[names.FINALIZER, "other"])
    archive = Archive(going, revision(2), merge_patch=[{}])
    await archive.revisions.release()
    [(_, key, body, *_)] = archive.stub.asked
    assert (key.name, body["metadata"]) == ("web-r1", {"resourceVersion": "7", "finalizers": ["other"]})


async def test_a_revision_that_cannot_be_released_holds_up_no_other_and_is_told() -> None:
    going = [revision(n, deletionTimestamp="x", resourceVersion="7", finalizers=[names.FINALIZER]) for n in (1, 2)]
    refusal = ForbiddenError("not you", status=403)
    archive = Archive(*going, merge_patch=[refusal, {}, refusal, refusal])
    identity = going[0]["spec"]["snapshot"]["name"]
    for _ in range(2):
        with pytest.raises(ForbiddenError):
            await archive.revisions.release()
    assert [key.name for _, key, *_ in archive.stub.asked] == ["web-r1", "web-r2"] * 2
    assert archive.store.why_stuck(identity) == "not you"
    assert archive.woken == [identity]
    for one in going:
        archive.store.event("DELETED", one)
    assert archive.store.why_stuck(identity) == ""
