"""The checks of the fault runs find the violations that they are for."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest

from tests.faults import checks
from tests.faults.checks import Call

RED, BLUE = "system:serviceaccount:s:red", "system:serviceaccount:s:blue"
CHAIN = ["one-a", "one-b", "one-c"]


def call(at: float, name: str, verb: str = "patch", code: int = 201, **other: Any) -> Call:
    """A request that takes 0.1 s."""
    given: dict[str, Any] = {"user": RED, "resource": "configmaps", "namespace": "n", **other}
    return Call(began=at, ended=at + 0.1, verb=verb, name=name, code=code, **given)


def test_a_line_of_an_audit_log_becomes_a_call() -> None:
    event = {
        "verb": "patch",
        "user": {"username": RED},
        "objectRef": {"resource": "families", "namespace": "n", "name": "one", "subresource": "status"},
        "responseStatus": {"code": 200},
        "requestReceivedTimestamp": "2026-01-01T00:00:01.500000Z",
        "stageTimestamp": "2026-01-01T00:00:01.750000Z",
    }
    other = {**event, "objectRef": None}
    earlier = {**event, "verb": "get", "requestReceivedTimestamp": "2026-01-01T00:00:00.000000Z"}
    lines = [json.dumps(e).encode() for e in (event, other, earlier)] + [json.dumps(event).encode()[:40]]
    first, second = checks.calls_of(lines)
    assert first.verb == "get"
    assert not first.is_write
    assert (second.resource, second.name, second.code, second.user) == ("families/status", "one", 200, RED)
    assert second.ended - second.began == pytest.approx(0.25)
    assert second.is_write


def test_a_second_creation_is_seen() -> None:
    (wrong,) = checks.created_twice([call(1, "one-a"), call(2, "one-b"), call(3, "one-a")])
    assert "one-a" in wrong


@pytest.mark.parametrize(
    "between",
    [
        pytest.param(call(2, "one-a", "delete", 200), id="after a deletion"),
        pytest.param(call(2, "one-a", code=200), id="an update is no creation"),
    ],
)
def test_what_is_no_second_creation(between: Call) -> None:
    last = call(3, "one-a", code=201 if between.verb == "delete" else 200)
    assert checks.created_twice([call(1, "one-a"), between, last]) == []


def test_a_deletion_that_was_refused_does_not_excuse_a_second_creation() -> None:
    refused = call(2, "one-a", "delete", 409)
    assert len(checks.created_twice([call(1, "one-a"), refused, call(3, "one-a")])) == 1


@pytest.mark.parametrize(
    ("times", "wrong"),
    [
        ((1, 2, 3), 0),
        # b is requested before the answer for a is complete.
        ((1, 1.05, 3), 1),
        ((3, 2, 1), 2),
    ],
)
def test_creation_order(times: tuple[float, ...], wrong: int) -> None:
    calls = sorted((call(at, name) for at, name in zip(times, CHAIN, strict=True)), key=lambda c: c.began)
    assert len(checks.created_out_of_order(calls, [CHAIN])) == wrong


@pytest.mark.parametrize(("times", "wrong"), [((3, 2, 1), 0), ((3, 2, 1.95), 1), ((1, 2, 3), 2)])
def test_deletion_order(times: tuple[float, ...], wrong: int) -> None:
    calls = [call(at, name, "delete", 200) for at, name in zip(times, CHAIN, strict=True)]
    assert len(checks.deleted_out_of_order(calls, [CHAIN])) == wrong


def test_an_object_that_never_came_or_never_went_is_seen() -> None:
    assert checks.created_out_of_order([call(1, "one-a"), call(2, "one-b")], [CHAIN]) == ["never created: one-c"]
    refused = [call(at, name, "delete", 404) for at, name in enumerate(CHAIN)]
    assert checks.deleted_out_of_order(refused, [CHAIN]) == ["never deleted: one-c, one-b, one-a"]


@pytest.mark.parametrize("code", [0, 499, 500, 504])
def test_a_write_whose_sender_was_killed_may_have_been_the_one(code: int) -> None:
    """The API server did the write, and the next process found it."""
    created = [call(1, "one-a", code=code), call(2, "one-b"), call(3, "one-c")]
    assert checks.created_out_of_order(created, [CHAIN]) == []
    assert checks.created_out_of_order([call(2.95, "one-b", code=code), created[0], created[2]], [CHAIN]) != []
    deleted = [
        call(1, "one-c", "delete", code),
        call(2, "one-c", "delete", 404),
        call(3, "one-b", "delete", 200),
        call(4, "one-a", "delete", 200),
    ]
    assert checks.deleted_out_of_order(deleted, [CHAIN]) == []
    assert checks.deleted_out_of_order(deleted[1:], [CHAIN]) == ["never deleted: one-c"]


LEASE: dict[str, Any] = {"resource": "leases", "verb": "update"}


@pytest.mark.parametrize(
    ("late", "seen"),
    [
        pytest.param([], 0, id="nothing"),
        pytest.param([call(6, "one-b")], 1, id="a write"),
        pytest.param([call(6, "one-b", code=409)], 1, id="a write that was refused"),
        pytest.param([call(6, "one-b", "get", 200)], 0, id="a read"),
        pytest.param([call(6, "lease", code=409, **LEASE)], 0, id="a renewal that was refused"),
        pytest.param([call(6, "lease", code=200, **LEASE)], 1, id="a renewal"),
    ],
)
def test_writes_of_a_deposed_leader_are_seen(late: list[Call], seen: int) -> None:
    before = [call(1, "one-a"), call(2, "lease", code=409, user=BLUE, **LEASE)]
    begun = [call(4, "lease", code=200, user=BLUE, **LEASE), call(5, "one-c", user=BLUE)]
    assert len(checks.overtaken([*before, *begun, *late], earlier=RED, later=BLUE)) == seen


def test_without_a_write_of_the_later_one_nothing_is_late() -> None:
    assert checks.overtaken([call(1, "one-a"), call(2, "one-b")], earlier=RED, later=BLUE) == []


def test_renewing_a_lease_and_reading_is_no_work() -> None:
    calls = [call(1, "l", **LEASE), call(2, "one-a", "list", 200), call(3, "one-a"), call(4, "one-a", user=BLUE)]
    assert checks.work_of(calls, RED) == [calls[2]]


def instance(value: str = "x", state: str = "ACTIVE", observed: int = 2, ready: str = "True") -> dict[str, Any]:
    status = {"state": state, "observedGeneration": observed, "conditions": [{"type": "Ready", "status": ready}]}
    return {"metadata": {"name": "one", "generation": 2}, "spec": {"value": value}, "status": status}


def config_maps(value: str = "x", **of: str) -> list[dict[str, Any]]:
    linked = {"a": "", "b": "uid-a", "c": "uid-b", **of}
    return [
        {"metadata": {"name": f"one-{id_}", "uid": f"uid-{id_}"}, "data": {"value": value, "of": before}}
        for id_, before in linked.items()
    ]


SECRETS = [{"metadata": {"name": "one-s"}}]


def test_what_is_as_declared_is_finished() -> None:
    assert checks.unfinished({"one": "x"}, [instance()], config_maps(), SECRETS) == []
    assert checks.unfinished({}, [], [], []) == []


@pytest.mark.parametrize(
    ("instances", "configs", "secrets", "wrong"),
    [
        ([], config_maps(), SECRETS, "instance one: None"),
        ([instance(value="y")], config_maps(), SECRETS, "instance one"),
        ([instance(state="IN_PROGRESS")], config_maps(), SECRETS, "instance one: IN_PROGRESS"),
        ([instance(observed=1)], config_maps(), SECRETS, "instance one"),
        ([instance(ready="False")], config_maps(), SECRETS, "instance one"),
        ([instance()], config_maps()[:2], SECRETS, "ConfigMap one-c: None"),
        ([instance()], config_maps(c="uid-of-an-earlier-b"), SECRETS, "ConfigMap one-c"),
        ([instance()], config_maps(), [], "Secret one-s: None"),
        ([instance()], config_maps(d=""), SECRETS, "ConfigMap one-d: left behind"),
        ([instance()], config_maps(), [*SECRETS, {"metadata": {"name": "two-s"}}], "Secret two-s: left behind"),
    ],
)
def test_what_differs_from_what_is_declared_is_named(
    instances: list[Any], configs: list[Any], secrets: list[Any], wrong: str
) -> None:
    (found,) = checks.unfinished({"one": "x"}, instances, configs, secrets)
    assert found.startswith(wrong)


def test_a_replaced_object_is_seen() -> None:
    assert checks.replaced({"a": "1", "b": "2"}, {"a": "1", "b": "2", "c": "3"}) == []
    assert len(checks.replaced({"a": "1", "b": "2"}, {"a": "9"})) == 2


def samples(rise_per_hour: float, noise: float) -> list[tuple[float, float]]:
    rng = random.Random(7)
    return [(10.0 * n, 100 + rise_per_hour * n / 360 + rng.gauss(0, noise)) for n in range(120)]


def test_a_rise_is_told_from_noise() -> None:
    leak, level = checks.slope(samples(12.0, 0.3)), checks.slope(samples(0.0, 0.3))
    assert abs(leak.per_hour - 12.0) < 3 * leak.error
    assert not leak.is_noise
    assert abs(level.per_hour) < 3 * level.error
    assert 0 < leak.error < 1.0


def test_what_moves_in_steps_is_known_less_exactly() -> None:
    """The same noise, but with ten equal samples for each value."""
    every = samples(0.0, 0.3)
    steps = [(t, every[n - n % 10][1]) for n, (t, _) in enumerate(every)]
    assert checks.slope(steps).error > 2 * checks.slope(every).error


def test_a_perfect_line_has_no_error() -> None:
    found = checks.slope([(float(t), 2.0 * t) for t in range(10)])
    assert found.per_hour == pytest.approx(7200.0)
    assert found.error == pytest.approx(0.0, abs=1e-6)


def test_three_samples_are_no_line() -> None:
    with pytest.raises(ValueError, match="four"):
        checks.slope([(0.0, 1.0), (1.0, 1.0), (2.0, 1.0)])
