"""The Events that a pass over an instance records."""

from typing import cast

from kroasync.controller.events import Recorder
from kroasync.controller.options import RuntimeOptions
from kroasync.controller.recording import LISTED, Recording, change_notes, failure_note
from kroasync.engine.actions import ForeignField, Yielding
from kroasync.engine.outcome import Change, ChangeKind, Failure, Outcome
from kroasync.engine.prune_guard import HeldPrune
from kroasync.engine.scope import Scope
from kroasync.kube.client import Client
from kroasync.metrics import Metrics
from kroasync.model.objects import Obj
from kroasync.model.policies import MaxPrune
from tests.unit.controller.samples import APPS, NOW, StubClient, app, app_key, config_key

UP = {"state": "ACTIVE", "observedGeneration": 1}
READY = "all resources are available and configured correctly"


def outcome(*changes: ChangeKind, failures: tuple[Failure, ...] = (), error: str | None = None) -> Outcome:
    found = tuple(Change(kind=kind, node="a", key=config_key(f"c{i}")) for i, kind in enumerate(changes))
    return Outcome(instance=app(version=1), scope=Scope({}), changes=found, failures=failures, management_error=error)


def notes(found: Outcome, before: Obj, state: str) -> list[tuple[str, str]]:
    return change_notes(found, before=before, state=state)


async def test_a_held_prune_is_reported_and_counted_once() -> None:
    client, metrics = StubClient({"create": [{}]}), Metrics()
    recorder = Recorder(cast(Client, client), reporter="test", instance="test", now=lambda: NOW)
    recording = Recording(recorder, metrics, RuntimeOptions())
    held = HeldPrune(node="many", limit=MaxPrune(0), existing=1, objects=(config_key("c"),))
    found = Outcome(instance=app(version=1), scope=Scope({}), held=(held,))
    for one in (found, found, outcome()):
        recording.held(app_key(), one)
    await recorder.flush()
    [(_, _, event)] = client.asked
    assert (event["reason"], event["type"]) == ("PruneHeld", "Warning")
    assert "kroasync.io/allow-prune" in event["note"]
    assert f'kroasync_prunes_held_total{{gvr="{APPS}"}} 1' in metrics.render().decode()


def test_changes_of_one_kind_are_one_event() -> None:
    found = outcome(ChangeKind.CREATED, ChangeKind.DELETED, ChangeKind.CREATED)
    assert notes(found, {}, "IN_PROGRESS") == [
        ("Created", f"created {config_key('c0')}, {config_key('c2')}"),
        ("Deleted", f"deleted {config_key('c1')}"),
    ]


def test_a_pass_that_makes_an_instance_ready_tells_all_in_one_event() -> None:
    expected = [("Ready", f"created {config_key('c0')}; {READY}")]
    assert notes(outcome(ChangeKind.CREATED), {"state": "IN_PROGRESS"}, "ACTIVE") == expected
    assert notes(outcome(), {}, "ACTIVE") == [("Ready", READY)]


def test_an_instance_that_stays_ready_tells_nothing() -> None:
    assert notes(outcome(), UP, "ACTIVE") == []


def test_what_is_created_again_for_the_same_generation_was_healed() -> None:
    created = outcome(ChangeKind.CREATED)
    assert notes(created, UP, "ACTIVE") == [("Healed", f"healed {config_key('c0')}")]
    assert notes(created, {**UP, "observedGeneration": 0}, "ACTIVE") == [("Created", f"created {config_key('c0')}")]


def test_many_names_are_counted() -> None:
    [(_, note)] = notes(outcome(*[ChangeKind.CREATED] * (LISTED + 2)), {}, "IN_PROGRESS")
    assert note.endswith(" and 2 more")


def test_a_failure_says_what_the_condition_says_or_else_what_the_pass_found() -> None:
    failed = outcome(failures=(Failure(message="one", retryable=True), Failure(message="two", retryable=True)))
    told = {"conditions": [{"type": "ResourcesReady", "status": "False", "message": "why"}]}
    assert failure_note(told, failed) == "why"
    assert failure_note({}, failed) == "one; two"
    assert failure_note({}, outcome(error="no rights")) == "no rights"


async def test_yielded_fields_are_told_once_for_each_set_of_fields_and_managers() -> None:
    client = StubClient({"create": [{}] * 6})
    recorder = Recorder(client, reporter="r", instance="i", now=lambda: NOW)  # type: ignore[arg-type]
    recording = Recording(recorder, Metrics(), RuntimeOptions())

    async def told(*fields: ForeignField) -> list[str]:
        recording.yields(app_key(), app(version=1), {config_key(): Yielding("u1", fields)})
        client.asked.clear()
        await recorder.flush()
        return [f"{event['regarding']['kind']}: {event['note']}" for _, _, event in client.asked]

    left = ForeignField(".data.v", "hpa", "1", "2")
    text = '.data.v is 2 by manager "hpa", declared is 1'
    assert await told(left) == [
        f"App: left fields of {config_key()} to other managers: {text}",
        f"ConfigMap: declared by {app_key()}, but left to other managers: {text}",
    ]
    assert await told(ForeignField(".data.v", "hpa", "1", "3")) == []
    assert len(await told(ForeignField(".data.v", "vpa", "1", "3"))) == 2
    recording.forget(app_key())
    assert len(await told(left)) == 2
