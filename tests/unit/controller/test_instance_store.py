"""The cache of instances: which changes need a pass, and what an answer may change."""

from typing import Any

import pytest

from kroasync.controller.instance_store import InstanceStore, Meddled, head_of
from kroasync.controller.room import Room
from kroasync.model.names import ANNOTATION_APPLYSET_GROUP_KINDS
from kroasync.model.objects import Key, Obj, is_newer, is_older, key_of
from tests.samples import NODES
from tests.unit.controller.samples import APPS, app, app_key


class Bench:
    def __init__(self) -> None:
        self.woken: list[Key] = []
        self.gone: list[tuple[Key, str]] = []
        self.by_uid: dict[str, Key] = {}
        self.store = InstanceStore(APPS, self.woken.append, self.was, by_uid=self.by_uid)

    def was(self, key: Key, obj: Obj) -> None:
        self.gone.append((key, obj["metadata"]["uid"]))


@pytest.fixture
def bench() -> Bench:
    return Bench()


def test_a_new_instance_wakes_and_is_found(bench: Bench) -> None:
    bench.store.put(app(version=1, managedFields=[{"manager": "kubectl"}]))
    assert bench.woken == [app_key()]
    assert bench.store.get(app_key()) == app(version=1)
    assert bench.store.key_by_uid("i1") == app_key()
    assert (list(bench.store), len(bench.store)) == ([app_key()], 1)


@pytest.mark.parametrize(
    ("change", "wakes"),
    [
        ({"generation": 2}, True),
        ({"deletionTimestamp": "2026-01-01T00:00:00Z"}, True),
        ({"finalizers": ["x"]}, True),
        ({"labels": {"a": "b"}}, True),
        ({"annotations": {"kro.run/reconcile": "suspended"}}, True),
        ({"annotations": {"applyset.kubernetes.io/inventory": "x"}}, True),
        ({"annotations": {"note": "x"}}, True),  # an expression may read it
        ({"annotations": {"kubectl.kubernetes.io/last-applied-configuration": "x"}}, False),
        ({"status": {"state": "ACTIVE"}}, False),
        ({"managedFields": [{"manager": "x"}]}, False),
    ],
)
def test_which_changes_are_worth_a_pass(bench: Bench, change: dict[str, Any], wakes: bool) -> None:
    bench.store.put(app(version=1))
    bench.woken.clear()
    bench.store.put(app(version=2, **change))
    assert bench.woken == ([app_key()] if wakes else [])
    assert bench.store.get(app_key())["metadata"]["resourceVersion"] == "2"  # type: ignore[index]


def test_an_older_version_changes_nothing(bench: Bench) -> None:
    bench.store.put(app(version=5))
    bench.store.put(app(version=4, generation=9))
    assert bench.store.get(app_key()) == app(version=5)
    assert bench.woken == [app_key()]


def test_an_answer_is_known_at_once_and_wakes_nobody(bench: Bench) -> None:
    bench.store.put(app(version=1))
    bench.woken.clear()
    bench.store.wrote(app(version=2, finalizers=["ours"]))
    bench.store.put(app(version=2, finalizers=["ours"]))
    assert bench.woken == []
    assert bench.store.get(app_key()) == app(version=2, finalizers=["ours"])


def test_an_answer_older_than_the_cache_is_ignored(bench: Bench) -> None:
    bench.store.put(app(version=3))
    bench.store.wrote(app(version=2, finalizers=["ours"]))
    assert bench.store.get(app_key()) == app(version=3)


def test_neither_answers_nor_reads_bring_back_an_instance_that_is_gone(bench: Bench) -> None:
    bench.store.put(app(version=1))
    bench.store.remove(app(version=2))
    bench.store.wrote(app(version=2))
    bench.store.fetched(app(version=2))
    assert bench.store.get(app_key()) is None
    assert bench.by_uid == {}
    assert bench.gone == [(app_key(), "i1")]


def test_an_answer_about_the_old_object_does_not_touch_the_new_one(bench: Bench) -> None:
    bench.store.put(app(version=9, uid="i2"))
    bench.store.wrote(app(version=10, uid="i1"))
    bench.store.fetched(app(version=10, uid="i1"))
    assert bench.store.get(app_key()) == app(version=9, uid="i2")


def test_a_read_wakes_for_what_the_watch_has_not_told_yet(bench: Bench) -> None:
    bench.store.put(app(version=1))
    bench.woken.clear()
    bench.store.fetched(app(version=2, generation=2))
    assert bench.woken == [app_key()]


def test_a_new_object_of_the_same_name_ends_the_old_one(bench: Bench) -> None:
    bench.store.put(app(version=1))
    bench.store.put(app(version=5, uid="i2"))
    assert bench.gone == [(app_key(), "i1")]
    assert bench.by_uid == {"i2": app_key()}
    assert bench.woken == [app_key(), app_key()]


def test_the_late_end_of_the_old_object_is_ignored(bench: Bench) -> None:
    bench.store.put(app(version=5, uid="i2"))
    bench.store.remove(app(version=4, uid="i1"))
    assert bench.store.get(app_key()) is not None
    assert bench.gone == []


def test_a_list_is_the_full_state(bench: Bench) -> None:
    bench.store.put(app("one", version=1, uid="i1"))
    bench.store.put(app("two", version=2, uid="i2"))
    bench.store.replace(
        [bench.store.see(obj) for obj in (app("two", version=2, uid="i2"), app("three", version=3, uid="i3"))]
    )
    assert bench.gone == [(app_key("one"), "i1")]
    assert sorted(key.name for key in bench.store) == ["three", "two"]


def test_a_list_says_nothing_of_an_instance_that_is_newer(bench: Bench) -> None:
    bench.store.put(app(version=9))
    bench.store.replace([], "8")
    assert bench.gone == []
    bench.store.replace([], "9")
    assert bench.gone == [(app_key(), "i1")]


def test_keys_of_cluster_scoped_kinds_have_no_namespace() -> None:
    assert key_of(NODES, {"metadata": {"name": "n", "namespace": "odd"}}) == Key(NODES, "", "n")


@pytest.mark.parametrize(
    ("version", "than", "newer", "older"),
    [("10", "9", True, False), ("9", "10", False, True), ("9", "9", False, False), ("x", "9", True, False),
     ("x", "x", False, False), ("", "1", True, False)],
)  # fmt: skip
def test_order_of_versions(version: str, than: str, newer: bool, older: bool) -> None:
    """Numbers are ordered; an opaque version that differs counts as newer."""
    assert (is_newer(version, than), is_older(version, than)) == (newer, older)


# Statuses that somebody else writes

MINE = {"state": "ACTIVE", "conditions": [{"type": "Ready", "status": "True"}]}
FORGED = [
    {"state": "FAILED"},
    {**MINE, "state": None},
    {"conditions": [], "state": "ACTIVE"},
    {},
    None,
    "ACTIVE",
    [],
    {**MINE, "more": 1},
]


def written(version: int, status: Any, manager: str = "kro.run/status") -> Obj:
    """The instance with a status of some manager; the entries of earlier managers stay."""
    before = {"manager": "kro.run/status", "subresource": "status", "time": "2026-01-01T00:00:00Z"}
    last = {"manager": manager, "subresource": "status", "time": "2026-01-01T00:00:01Z"}
    spec = {"manager": "kubectl", "time": "2026-01-01T00:00:02Z"}
    return app(version=version, status=status, managedFields=[spec, before, last])


@pytest.fixture
def reported(bench: Bench) -> Bench:
    """An instance whose status was written and delivered by the watch."""
    bench.store.put(app(version=1))
    bench.store.reporting(app_key(), MINE)
    bench.store.reported(app_key(), written(2, MINE))
    bench.store.put(written(2, MINE))
    bench.woken.clear()
    return bench


@pytest.mark.parametrize("status", FORGED)
@pytest.mark.parametrize("manager", ["kubectl-edit", "kro.run/status"])
def test_a_status_of_somebody_else_wakes_once_until_it_is_put_back(reported: Bench, status: Any, manager: str) -> None:
    """Whatever field manager they use: everybody may use ours."""
    store, named = reported.store, "" if manager == "kro.run/status" else manager
    store.put(written(3, status, manager))
    assert reported.woken == [app_key()]
    assert store.meddled(app_key()) == Meddled(MINE, named)
    store.put(written(4, {"state": "again"}, manager))
    assert reported.woken == [app_key()]
    seen = store.get(app_key())
    assert seen is not None
    assert seen["status"] == {"state": "again"}
    assert store.as_left(app_key(), seen)["status"] == MINE
    store.reporting(app_key(), MINE)
    store.reported(app_key(), written(5, MINE))
    assert store.meddled(app_key()) is None
    store.put(written(6, status, manager))
    assert reported.woken == [app_key(), app_key()]


def test_our_own_status_wakes_nobody_whether_event_or_answer_is_first(bench: Bench) -> None:
    bench.store.put(app(version=1))
    bench.woken.clear()
    for version, status in ((2, MINE), (4, {**MINE, "state": "ERROR"})):
        bench.store.reporting(app_key(), status)
        bench.store.put(written(version, status))
        bench.store.reported(app_key(), written(version, status))
    bench.store.reporting(app_key(), MINE)
    bench.store.reported(app_key(), written(6, MINE))
    bench.store.put(written(6, MINE))
    assert bench.woken == []
    assert bench.store.meddled(app_key()) is None


def test_our_own_status_wakes_nobody_though_its_answer_never_comes(reported: Bench) -> None:
    reported.store.reporting(app_key(), {"state": "ERROR"})
    reported.store.put(written(3, {"state": "ERROR"}))
    assert reported.woken == []


def test_the_statuses_of_a_leader_wake_no_standby(bench: Bench) -> None:
    bench.store.put(app(version=1))
    bench.woken.clear()
    bench.store.put(written(2, MINE))
    bench.store.put(written(3, {"state": "ERROR"}))
    assert bench.woken == []
    assert bench.store.meddled(app_key()) is None


def test_a_status_changed_before_the_answer_to_ours_came_is_noticed(reported: Bench) -> None:
    ours = {**MINE, "state": "ERROR"}
    reported.store.reporting(app_key(), ours)
    reported.store.put(written(4, {"state": "forged"}, "kubectl"))
    reported.store.reported(app_key(), written(3, ours))
    assert reported.store.meddled(app_key()) == Meddled(ours, "kubectl")
    assert app_key() in reported.woken


def test_a_foreign_status_in_the_answer_to_a_patch_of_metadata_wakes(reported: Bench) -> None:
    """No later event would report it."""
    reported.store.wrote(written(4, {"state": "forged"}, "kubectl"))
    assert reported.woken == [app_key()]
    assert reported.store.meddled(app_key()) == Meddled(MINE, "kubectl")


def test_a_status_that_is_right_again_is_left_alone(reported: Bench) -> None:
    reported.store.put(written(3, {"state": "forged"}, "kubectl"))
    reported.store.put(written(4, MINE, "kubectl"))
    reported.store.reporting(app_key(), MINE)
    reported.store.reported(app_key(), None)
    assert reported.store.meddled(app_key()) is None


def test_nothing_is_kept_of_an_instance_that_is_gone(reported: Bench) -> None:
    reported.store.put(written(3, {"state": "forged"}, "kubectl"))
    reported.store.remove(app(version=4))
    assert reported.store.meddled(app_key()) is None
    reported.store.put(app(version=5, uid="i2"))
    reported.woken.clear()
    reported.store.put(app(version=6, uid="i2", status=MINE))
    assert reported.woken == []


def test_a_patch_answered_after_the_end_of_its_instance_reports_nothing(bench: Bench) -> None:
    bench.store.put(app(version=9, uid="i2"))
    bench.store.reported(app_key(), app(version=8, status=MINE))
    bench.woken.clear()
    bench.store.put(app(version=10, uid="i2", status=MINE))
    assert bench.woken == []


LARGE = {f"key-{number}": "x" for number in range(9000)}


def test_a_large_instance_is_compressed_and_answered_whole() -> None:
    room = Room()
    store = InstanceStore(APPS, lambda key: None, lambda key, obj: None, room=room)
    store.put(app(version=1, spec=LARGE))
    assert store.get(app_key()) == app(version=1, spec=LARGE)
    assert (store.is_whole(app_key()), store.is_large(app_key())) == (True, True)
    assert room.loose == Room().loose
    assert room.packed < Room().packed


def test_without_room_the_head_of_an_instance_is_kept() -> None:
    """The instance's identity, finalizers and inventory, and the generation of its status."""
    notes = {ANNOTATION_APPLYSET_GROUP_KINDS: "ConfigMap", "note": "x"}
    store = InstanceStore(APPS, lambda key: None, lambda key, obj: None, room=Room(loose=0, packed=0))
    status = {"observedGeneration": 1, "state": "ACTIVE"}
    store.put(app(version=1, spec=LARGE, status=status, finalizers=["a"], annotations=notes))
    head = app(
        version=1,
        status={"observedGeneration": 1},
        finalizers=["a"],
        annotations={ANNOTATION_APPLYSET_GROUP_KINDS: "ConfigMap"},
    )
    assert store.get(app_key()) == store.head(app_key()) == head
    assert (store.is_whole(app_key()), store.is_large(app_key())) == (False, True)


def test_every_event_of_an_instance_without_room_is_worth_a_pass() -> None:
    woken: list[Key] = []
    store = InstanceStore(APPS, woken.append, lambda key, obj: None, room=Room(loose=0, packed=0))
    for version in (1, 2, 2):
        store.put(app(version=version, spec=LARGE))
    assert woken == [app_key()] * 2


@pytest.mark.parametrize("field", ["annotations", "labels", "finalizers"])
def test_a_head_is_small_whatever_the_instance_has(field: str) -> None:
    content: Any = ["x" * 60] * 9000 if field == "finalizers" else {ANNOTATION_APPLYSET_GROUP_KINDS: "x" * 200_000}
    assert len(str(head_of(app(version=1, **{field: content})))) < 1000
