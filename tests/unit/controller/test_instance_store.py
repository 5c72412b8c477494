"""The cache of instances: what is worth a pass, and what an answer may change."""

from typing import Any

import pytest

from kroasync.controller.room import Room
from kroasync.controller.store import InstanceStore, head_of, key_of
from kroasync.model.names import ANNOTATION_APPLYSET_GROUP_KINDS
from kroasync.model.objects import Key, Obj, Resource, is_newer, is_older
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
    nodes = Resource("", "v1", "Node", "nodes", False)
    assert key_of(nodes, {"metadata": {"name": "n", "namespace": "odd"}}) == Key(nodes, "", "n")


@pytest.mark.parametrize(
    ("version", "than", "newer", "older"),
    [("10", "9", True, False), ("9", "10", False, True), ("9", "9", False, False), ("x", "9", True, False),
     ("x", "x", False, False), ("", "1", True, False)],
)  # fmt: skip
def test_order_of_versions(version: str, than: str, newer: bool, older: bool) -> None:
    """Numbers are ordered; of opaque versions a different one is taken for newer."""
    assert (is_newer(version, than), is_older(version, than)) == (newer, older)


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
    """Its identity, finalizers and inventory, and which generation its status is about."""
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
