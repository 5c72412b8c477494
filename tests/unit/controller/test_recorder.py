"""Kubernetes Events: one per fact, without delaying a pass."""

import asyncio

import pytest

from kroasync.controller.events import Recorder
from kroasync.kube.api_errors import ForbiddenError, NotFoundError
from kroasync.model.kinds import EVENTS
from kroasync.model.objects import Obj
from tests.fakes import virtual
from tests.unit.controller.samples import NOW, StubClient, app


def recorder(client: StubClient, *, enabled: bool = True) -> Recorder:
    return Recorder(
        client,  # type: ignore[arg-type]
        reporter="kro.run/kroasync",
        instance="pod-1",
        now=lambda: NOW,
        enabled=enabled,
    )


def written(client: StubClient) -> list[Obj]:
    return [call[2] for call in client.asked]


def stub(count: int) -> StubClient:
    return StubClient({"create": [{} for _ in range(count)]})


async def test_an_event_in_the_form_of_the_events_api() -> None:
    client = stub(1)
    events = recorder(client)
    events.record(app(version=7), reason="Created", note="created ConfigMap a", action="Reconcile")
    await events.flush()
    [(_, key, event)] = client.asked
    assert (key.resource, key.namespace) == (EVENTS, "default")
    assert event == {
        "apiVersion": "events.k8s.io/v1",
        "kind": "Event",
        "metadata": {"name": key.name, "namespace": "default"},
        "eventTime": "2026-01-02T03:04:05.000000Z",
        "reportingController": "kro.run/kroasync",
        "reportingInstance": "pod-1",
        "action": "Reconcile",
        "reason": "Created",
        "note": "created ConfigMap a",
        "type": "Normal",
        "regarding": {
            "apiVersion": "example.com/v1",
            "kind": "App",
            "name": "one",
            "namespace": "default",
            "uid": "i1",
            "resourceVersion": "7",
        },
    }


async def test_equal_events_that_wait_are_one() -> None:
    client = stub(3)
    events = recorder(client)
    for note in ("a", "a", "b", "a"):
        events.record(app(version=1), reason="R", note=note, action="A")
    events.record(app(version=1), reason="R", note="a", action="A", warning=True)
    await events.flush()
    assert [(e["note"], e["type"]) for e in written(client)] == [("a", "Normal"), ("b", "Normal"), ("a", "Warning")]


async def test_names_differ_even_at_the_same_instant() -> None:
    client = stub(20)
    events = recorder(client)
    for number in range(20):
        events.record(app("x" * 253, version=1), reason="R", note=str(number), action="A")
    await events.flush()
    found = {e["metadata"]["name"] for e in written(client)}
    assert len(found) == 20
    assert max(map(len, found)) <= 253


async def test_a_note_is_cut_to_what_the_api_takes() -> None:
    client = stub(1)
    events = recorder(client)
    events.record(app(version=1), reason="R", note="n" * 5000, action="A")
    await events.flush()
    [event] = written(client)
    assert len(event["note"]) == 1024
    assert event["note"].endswith("...")


async def test_notes_and_reasons_are_cut_to_the_bytes_the_api_takes() -> None:
    client = stub(1)
    events = recorder(client)
    events.record(app(version=1), reason="Ä" * 100, note="ö" * 600, action="Reconcile")
    await events.flush()
    [event] = written(client)
    assert 1020 < len(event["note"].encode()) <= 1024
    assert event["note"].endswith("ö...")
    assert 124 < len(event["reason"].encode()) <= 128


async def test_the_oldest_are_dropped_when_too_many_wait() -> None:
    client = stub(2000)
    events = recorder(client)
    for number in range(2003):
        events.record(app(version=1), reason="R", note=str(number), action="A")
    assert events.dropped == 3
    await events.flush()
    assert next(e["note"] for e in written(client)) == "3"


async def test_an_event_that_cannot_be_written_does_not_hold_up_the_others() -> None:
    answers = [NotFoundError("no namespace", status=404), ForbiddenError("no", status=403), {}]
    client = StubClient({"create": answers})
    events = recorder(client)
    for note in "abc":
        events.record(app(version=1), reason="R", note=note, action="A")
    await events.flush()
    assert len(client.asked) == 3


async def test_turned_off_means_none() -> None:
    client = stub(0)
    events = recorder(client, enabled=False)
    events.record(app(version=1), reason="R", note="n", action="A")
    await events.flush()
    assert client.asked == []


async def test_events_of_cluster_scoped_objects_go_to_the_default_namespace() -> None:
    client = stub(1)
    events = recorder(client)
    events.record({"kind": "Thing", "metadata": {"name": "t", "uid": "u"}}, reason="R", note="n", action="A")
    await events.flush()
    [event] = written(client)
    assert event["metadata"]["namespace"] == "default"
    assert event["regarding"]["namespace"] == ""


def test_run_writes_what_comes_until_it_is_cancelled() -> None:
    async def story() -> list[str]:
        client = stub(2)
        events = recorder(client)
        task = asyncio.create_task(events.run())
        for note in "ab":
            await asyncio.sleep(1)
            events.record(app(version=1), reason="R", note=note, action="A")
        await asyncio.sleep(1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        return [e["note"] for e in written(client)]

    assert virtual.run(story()) == ["a", "b"]
