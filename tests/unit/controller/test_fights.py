"""When a child counts as contested, how long it then waits, and which manager the message names."""

import pytest

from kroasync.controller.fights import Fights, contenders
from kroasync.model.objects import Obj

OURS = "kro.run/applyset"


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_pauses_begin_after_five_times_double_and_are_capped() -> None:
    clock = Clock()
    fights = Fights(clock)
    waits = []
    for _ in range(16):
        fights.healed("u")
        waits.append(fights.wait_s("u"))
        clock.now += waits[-1]
    assert waits == [0, 0, 0, 0, 1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300, 300]


def test_the_begin_of_a_fight_is_told_once_and_of_the_other_object_not_at_all() -> None:
    clock = Clock()
    fights = Fights(clock)
    assert [fights.healed("u") for _ in range(7)] == [False] * 4 + [True] + [False] * 2
    assert fights.wait_s("other") == 0


def test_an_object_left_alone_for_a_while_starts_afresh() -> None:
    clock = Clock()
    fights = Fights(clock)
    for _ in range(6):
        fights.healed("u")
    clock.now += 2 + 60 + 0.1
    fights.healed("u")
    assert fights.wait_s("u") == 0


def test_what_is_settled_starts_afresh() -> None:
    fights = Fights(Clock())
    for _ in range(6):
        fights.healed("u")
    fights.settled("u")
    fights.settled("never heard of")
    assert fights.wait_s("u") == 0
    assert not fights.healed("u")


def test_what_is_remembered_of_calm_objects_is_bounded() -> None:
    clock = Clock()
    fights = Fights(clock)
    for number in range(5000):
        fights.healed(f"u{number}")
        clock.now += 1
    assert len(fights) <= 1024


def live(fields: Obj, *, manager: str = "other", subresource: str = "") -> Obj:
    entry = {"manager": manager, "operation": "Update", "fieldsV1": fields, "subresource": subresource}
    return {
        "metadata": {"name": "x", "managedFields": [{"manager": OURS, "fieldsV1": {}}, entry]},
        "spec": {"replicas": 5, "paused": True, "ports": [{"port": 80, "name": "b"}]},
    }


@pytest.mark.parametrize(
    ("obj", "found"),
    [
        (live({"f:spec": {"f:replicas": {}}}), {"other": (".spec.replicas",)}),
        (live({"f:spec": {"f:paused": {}}}), {}),
        (live({"f:spec": {"f:undeclared": {}}}), {}),
        (live({"f:spec": {"f:ports": {'k:{"port":80}': {"f:name": {}}}}}), {"other": (".spec.ports[port=80].name",)}),
        (live({"f:spec": {"f:replicas": {}}}, manager=OURS), {}),
        (live({"f:spec": {"f:replicas": {}}}, subresource="status"), {}),
        (live({"f:spec": {"f:replicas": {}}}, subresource="scale"), {"other": (".spec.replicas",)}),
    ],
)
def test_contenders_are_those_whose_fields_differ(obj: Obj, found: dict[str, tuple[str, ...]]) -> None:
    desired = {"spec": {"replicas": 1, "paused": True, "ports": [{"port": 80, "name": "a"}]}}
    assert contenders(obj, desired, OURS) == found
