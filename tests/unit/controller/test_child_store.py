"""The cache of children: its content after answers and events in any order, the owners that it wakes, and drift."""

from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kroasync.controller.child_store import ChildStore
from kroasync.controller.room import Room
from kroasync.engine.actions import Need
from kroasync.model.kinds import SECRETS
from kroasync.model.names import LABEL_INSTANCE_ID, LABEL_NODE_ID, MANAGER_CHILDREN
from kroasync.model.objects import Key, Obj
from tests.samples import CONFIG_MAPS
from tests.unit.controller.samples import OWNER, config, config_key, desired

ONE, TWO = {"v": "1"}, {"v": "2"}


class Bench:
    def __init__(self) -> None:
        self.woken: list[str] = []
        self.store = ChildStore(self.woken.append, claims=lambda key, obj: True)

    def put(self, obj: Obj) -> bool:
        return self.store.put(CONFIG_MAPS, obj)

    def listed(self, objs: list[Obj], version: str = "") -> None:
        self.store.replace(CONFIG_MAPS, [self.store.see(CONFIG_MAPS, obj) for obj in objs], version)

    def applied(self, obj: Obj, data: dict[str, str] | None = None) -> None:
        self.store.applied(config_key(), desired(obj["data"] if data is None else data), obj)

    def need(self, data: dict[str, str]) -> Need | None:
        return self.store.compare(config_key(), desired(data))


@pytest.fixture
def bench() -> Bench:
    return Bench()


@pytest.mark.parametrize("levels", [100, 300, 990, 5000])
def test_however_deeply_a_child_is_nested_it_is_kept_and_compared(bench: Bench, levels: int) -> None:
    """Including the fields that the graph reads; Python compares only about a thousand levels."""
    bench.store.widen(CONFIG_MAPS, [("deep",)])

    def deep() -> Any:
        found: Any = 1
        for _ in range(levels):
            found = [found]
        return found

    for version in (5, 6, 7):
        bench.put({**config(version=version, data=ONE), "deep": deep()})
    assert bench.store.version(config_key()) == "7"


def test_an_apply_order_nobody_can_read_is_none(bench: Bench) -> None:
    endless = {"internal.kro.run/apply-order": "1" * 5000}
    bench.put(config(version=5, annotations=endless))
    found = bench.store.find(config_key())
    assert found is not None
    assert found.apply_order == 0


@pytest.mark.parametrize(("written", "size"), [("12", 12), ("1" * 5000, 0), ("-1", 0), ("many", 0), ("", 0)])
def test_the_size_of_the_collection_is_kept_as_far_as_it_can_be_read(bench: Bench, written: str, size: int) -> None:
    obj = config(version=5)
    obj["metadata"]["labels"]["kro.run/collection-size"] = written
    bench.put(obj)
    found = bench.store.find(config_key())
    assert found is not None
    assert found.collection_size == size


def test_what_is_not_known_has_to_be_created(bench: Bench) -> None:
    assert bench.need(ONE) is Need.CREATE
    assert bench.store.find(config_key()) is None


def test_what_was_never_sent_from_here_has_to_be_sent_once(bench: Bench) -> None:
    """After a restart, the store does not know what was declared before."""
    bench.put(config(version=5, data=ONE))
    assert bench.need(ONE) is Need.UPDATE


def test_an_answer_settles_what_was_declared(bench: Bench) -> None:
    bench.applied(config(version=5, data=ONE))
    assert bench.need(ONE) is None
    assert bench.need(TWO) is Need.UPDATE
    assert bench.store.version(config_key()) == "5"


def test_the_event_of_an_own_write_wakes_nobody_whichever_comes_first(bench: Bench) -> None:
    bench.applied(config(version=5, data=ONE))
    assert not bench.put(config(version=5, data=ONE))
    assert bench.woken == []
    assert bench.need(ONE) is None


def test_an_answer_after_its_event_settles_too(bench: Bench) -> None:
    bench.put(config(version=5, data=ONE))
    bench.applied(config(version=5, data=ONE))
    assert bench.need(ONE) is None


def test_somebody_elses_change_is_healed(bench: Bench) -> None:
    bench.applied(config(version=5, data=ONE))
    bench.put(config(version=6, data=TWO))
    assert bench.woken == [OWNER]
    assert bench.need(ONE) is Need.HEAL


def test_a_change_between_answer_and_event_is_not_taken_for_ours(bench: Bench) -> None:
    bench.put(config(version=6, data=TWO))
    bench.applied(config(version=5, data=ONE))
    assert bench.store.version(config_key()) == "6"
    assert bench.need(ONE) is Need.HEAL


def test_fields_nobody_declared_are_not_healed(bench: Bench) -> None:
    bench.applied(config(version=5, data=ONE))
    bench.put(config(version=6, data={**ONE, "other": "x"}))
    assert bench.need(ONE) is None


def test_defaults_of_the_server_are_not_drift(bench: Bench) -> None:
    bench.applied(config(version=5, data={"v": "1", "defaulted": "x"}), ONE)
    bench.put(config(version=6, data={"v": "1", "defaulted": "x"}, annotations={"moved": "yes"}))
    assert bench.need(ONE) is None


def test_what_is_left_alone_is_not_kept_whole_and_is_sent_when_it_is_compared_again(bench: Bench) -> None:
    bench.applied(config(version=5, data=ONE))
    bench.put(config(version=6, data=TWO))
    assert bench.store.unread(config_key()) is not None
    assert bench.store.leave(config_key())
    assert bench.store.unread(config_key()) is None
    bench.put(config(version=7, data={"v": "3"}))
    bench.put(config(version=8, data=ONE, labels={LABEL_INSTANCE_ID: OWNER, "more": "x"}))
    assert bench.store.unread(config_key()) is None
    assert bench.store.version(config_key()) == "8"
    assert bench.need(ONE) is Need.UPDATE
    bench.applied(config(version=8, data=ONE))
    bench.put(config(version=9, data=TWO))
    assert bench.need(ONE) is Need.HEAL


def test_a_change_of_what_is_left_alone_wakes_its_instance(bench: Bench) -> None:
    bench.store.widen(CONFIG_MAPS, [("data",)])
    bench.applied(config(version=5, data=ONE))
    bench.store.leave(config_key())
    bench.woken.clear()
    assert bench.put(config(version=6, data=TWO))
    assert bench.woken == [OWNER]
    found = bench.store.find(config_key())
    assert found is not None
    assert found.obj["data"] == TWO


def test_what_is_kept_of_a_stranger_is_not_enough_to_leave_it(bench: Bench) -> None:
    assert not bench.store.leave(config_key())
    full = ChildStore(bench.woken.append, claims=lambda key, obj: True, room=Room(loose=0, packed=0))
    full.put(CONFIG_MAPS, config(version=5, data=ONE))
    assert not full.leave(config_key())


def test_bookkeeping_wakes_nobody(bench: Bench) -> None:
    bench.applied(config(version=5, data=ONE))
    assert not bench.put({**config(version=6, data=ONE), "status": {"seen": True}})
    assert bench.store.version(config_key()) == "6"


def test_a_status_wakes_if_the_graph_reads_it(bench: Bench) -> None:
    bench.store.widen(CONFIG_MAPS, [("status", "seen")])
    bench.put({**config(version=5, data=ONE), "status": {"seen": False}})
    bench.woken.clear()
    assert bench.put({**config(version=6, data=ONE), "status": {"seen": True}})
    assert not bench.put({**config(version=7, data=ONE), "status": {"seen": True, "unread": 1}})
    assert bench.woken == [OWNER]


def test_a_child_that_begins_to_be_deleted_wakes(bench: Bench) -> None:
    bench.applied(config(version=5, data=ONE))
    bench.put(config(version=6, data=ONE, deletionTimestamp="2026-01-01T00:00:00Z"))
    found = bench.store.find(config_key())
    assert bench.woken == [OWNER]
    assert found is not None
    assert found.deleting


def test_an_older_event_changes_nothing(bench: Bench) -> None:
    bench.put(config(version=10, data=ONE))
    assert not bench.put(config(version=9, data=TWO))
    assert bench.store.version(config_key()) == "10"


def test_a_new_object_of_the_same_name_owes_nothing_to_the_old_one(bench: Bench) -> None:
    bench.applied(config(version=5, data=ONE))
    bench.put(config(version=9, data=ONE, uid="u2"))
    assert bench.woken == [OWNER]
    assert bench.need(ONE) is Need.UPDATE


def test_the_deletion_of_the_old_object_does_not_remove_the_new_one(bench: Bench) -> None:
    bench.put(config(version=9, data=ONE, uid="u2"))
    assert not bench.store.remove(CONFIG_MAPS, config(version=8, data=ONE, uid="u1"))
    assert bench.store.find(config_key()) is not None


def test_what_is_gone_has_to_be_created_again(bench: Bench) -> None:
    bench.applied(config(version=5, data=ONE))
    assert bench.store.remove(CONFIG_MAPS, config(version=6, data=ONE))
    assert bench.woken == [OWNER]
    assert bench.need(ONE) is Need.CREATE
    assert bench.store.members(OWNER) == []


def test_an_answer_that_was_on_its_way_does_not_bring_back_what_is_gone(bench: Bench) -> None:
    bench.put(config(version=5, data=ONE))
    bench.store.remove(CONFIG_MAPS, config(version=6, data=ONE))
    bench.applied(config(version=5, data=ONE))
    assert bench.need(ONE) is Need.CREATE


def test_a_late_event_does_not_bring_back_what_a_delete_answered_to_be_gone(bench: Bench) -> None:
    bench.put(config(version=5, data=ONE))
    bench.store.gone(config_key(), "u1")
    bench.put(config(version=5, data=ONE))
    assert bench.store.find(config_key()) is None


def test_an_object_that_left_the_selector_may_come_back(bench: Bench) -> None:
    bench.put(config(version=5, data=ONE))
    bench.store.remove(CONFIG_MAPS, config(version=6, data=ONE))
    bench.put(config(version=7, data=ONE))
    assert bench.store.version(config_key()) == "7"


def test_an_answer_newer_than_the_leaving_keeps_the_object(bench: Bench) -> None:
    bench.put(config(version=5, data=ONE))
    bench.applied(config(version=7, data=ONE))
    assert not bench.store.remove(CONFIG_MAPS, config(version=6, data=ONE))
    assert bench.store.version(config_key()) == "7"


def test_a_child_that_changes_hands_wakes_both(bench: Bench) -> None:
    bench.put(config(version=5, data=ONE))
    bench.woken.clear()
    bench.put(config(version=6, data=ONE, instance="instance-2"))
    assert bench.woken == [OWNER, "instance-2"]
    assert bench.store.members(OWNER) == []
    assert [m.key for m in bench.store.members("instance-2")] == [config_key()]


def test_an_object_without_instance_wakes_nobody(bench: Bench) -> None:
    assert not bench.put(config(version=5, data=ONE, instance=""))
    assert bench.woken == []


def test_a_list_replaces_one_kind_and_wakes_for_what_is_missing(bench: Bench) -> None:
    bench.put(config("a", version=5, uid="ua"))
    bench.put(config("b", version=6, uid="ub"))
    bench.store.put(SECRETS, config("s", version=7, uid="us"))
    bench.woken.clear()
    bench.listed([config("b", version=6, uid="ub"), config("c", version=8, uid="uc")])
    assert bench.woken == [OWNER, OWNER]
    assert [m.key.name for m in bench.store.members(OWNER)] == ["b", "s", "c"]
    assert (bench.store.count(CONFIG_MAPS), bench.store.count(SECRETS), len(bench.store)) == (2, 1, 3)


def test_an_answer_from_before_a_list_without_the_object_is_looked_at_again(bench: Bench) -> None:
    sent_at = bench.store.lists(CONFIG_MAPS)
    bench.listed([])
    bench.store.applied(config_key(), desired(ONE), config(version=5, data=ONE), lists=sent_at)
    assert bench.need(ONE) is Need.CREATE
    assert bench.woken == [OWNER]


def test_a_list_says_nothing_of_an_object_that_is_newer(bench: Bench) -> None:
    """An answer overtook the list: the object is neither lost nor sent again."""
    bench.applied(config(version=9, data=ONE))
    sent_at = bench.store.lists(CONFIG_MAPS)
    bench.listed([], "8")
    assert bench.need(ONE) is None
    other = config("later", version=10, uid="later")
    bench.store.applied(config_key("later"), desired(ONE, "later"), other, lists=sent_at)
    assert bench.store.version(config_key("later")) == "10"
    bench.listed([], "10")
    assert len(bench.store) == 0


def test_an_object_a_stale_list_lacked_comes_back_with_its_event(bench: Bench) -> None:
    bench.applied(config(version=9, data=ONE))
    bench.listed([])
    assert bench.need(ONE) is Need.CREATE
    bench.put(config(version=9, data=ONE))
    assert bench.need(ONE) is Need.UPDATE


def test_wider_reads_ask_for_a_list_and_are_filled_by_it(bench: Bench) -> None:
    bench.store.widen(CONFIG_MAPS, [("data", "v")])
    bench.put(config(version=5, data={"v": "1", "w": "2"}))
    bench.woken.clear()
    assert not bench.store.widen(CONFIG_MAPS, [("data", "v")])
    assert bench.store.widen(CONFIG_MAPS, [("data", "w")])
    bench.listed([config(version=5, data={"v": "1", "w": "2"})])
    found = bench.store.find(config_key())
    assert found is not None
    assert found.obj["data"] == {"v": "1", "w": "2"}


def test_wider_reads_are_filled_by_an_event_if_the_list_was_older(bench: Bench) -> None:
    bench.store.widen(CONFIG_MAPS, [("data", "v")])
    bench.put(config(version=5, data={"v": "1", "w": "2"}))
    assert bench.store.widen(CONFIG_MAPS, [("data", "w")])
    bench.listed([config(version=3, data={"v": "1"})], "4")
    bench.woken.clear()
    for _ in range(2):
        bench.put(config(version=5, data={"v": "1", "w": "2"}))
    found = bench.store.find(config_key())
    assert found is not None
    assert found.obj["data"] == {"v": "1", "w": "2"}
    assert bench.woken == [OWNER]


def test_a_kind_that_is_no_longer_watched_is_forgotten_in_silence(bench: Bench) -> None:
    bench.put(config(version=5))
    bench.woken.clear()
    bench.store.forget_resource(CONFIG_MAPS)
    assert (len(bench.store), bench.woken, bench.store.members(OWNER)) == (0, [], [])


def test_what_is_observed_of_a_child(bench: Bench) -> None:
    bench.put(config(version=5, data=ONE, annotations={"internal.kro.run/apply-order": "nonsense"}))
    found = bench.store.find(config_key())
    assert found is not None
    assert (found.uid, found.node, found.part_of, found.ours, found.deleting) == ("u1", "config", "set-1", True, False)
    assert found.apply_order == 0
    assert "data" not in found.obj


def test_an_object_only_labelled_like_ours_is_not_ours(bench: Bench) -> None:
    bench.put(config(version=5, managedFields=[{"manager": "kubectl"}]))
    found = bench.store.find(config_key())
    assert found is not None
    assert not found.ours


# The server for the store: every write causes an event; our own writes also cause an answer, at any time.
VALUES = st.sampled_from(["1", "2"])
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("ours"), VALUES),
        st.tuples(st.just("theirs"), VALUES),
        st.tuples(st.sampled_from(["status", "delete", "event", "answer", "compare", "relist"]), st.just("")),
    ),
    max_size=25,
)


class Server:
    """One object on a server, its undelivered events, and the answer in flight."""

    def __init__(self, bench: Bench) -> None:
        self.bench = bench
        self.version = 0
        self.uids = 0
        self.live: Obj | None = None
        self.lists = 0
        self.events: list[tuple[str, Obj]] = []
        self.answer: tuple[dict[str, str], Obj] | None = None
        # Our last apply to the current object, and its answer.
        self.sent: tuple[dict[str, str], dict[str, str]] | None = None

    def write(self, data: dict[str, str], **status: Any) -> Obj:
        """A write; without a change there is no new version and no event."""
        if self.live is not None and self.live["data"] == data and not status:
            return self.live
        kind = "MODIFIED"
        self.version += 1
        if self.live is None:
            kind = "ADDED"
            self.uids += 1
        self.live = config(version=self.version, uid=f"u{self.uids}", data=data)
        if status:
            self.live["status"] = {"at": self.version}
        self.events.append((kind, self.live))
        return self.live

    def step(self, what: str, value: str) -> None:
        match what:
            case "ours":
                self.deliver_answer()
                sent, self.lists = {"v": value}, self.bench.store.lists(CONFIG_MAPS)
                kept = self.live["data"] if self.live is not None else {}
                answered = self.write({**kept, **sent})
                self.answer, self.sent = (sent, answered), (sent, answered["data"])
            case "theirs" if self.live is not None:
                self.write({**self.live["data"], "v": value})
            case "status" if self.live is not None:
                self.write(self.live["data"], status=True)
            case "delete" if self.live is not None:
                self.version += 1
                last = {**self.live, "metadata": {**self.live["metadata"], "resourceVersion": str(self.version)}}
                self.events.append(("DELETED", last))
                self.live, self.sent = None, None
            case "event" if self.events:
                kind, obj = self.events.pop(0)
                if kind == "DELETED":
                    self.bench.store.remove(CONFIG_MAPS, obj)
                else:
                    self.bench.put(obj)
            case "answer":
                self.deliver_answer()
            case "compare":
                self.bench.need({"v": "1"})
            case "relist":
                # A list has the current state: the events before it are not delivered any more.
                self.events.clear()
                self.bench.listed([self.live] if self.live is not None else [])

    def deliver_answer(self) -> None:
        if self.answer is not None:
            sent, obj = self.answer
            self.bench.store.applied(config_key(), desired(sent), obj, lists=self.lists)
            self.answer = None

    def need(self, data: dict[str, str]) -> Need | None:
        """Whether the object must be sent, by the rules."""
        if self.live is None:
            return Need.CREATE
        if self.sent is None or self.sent[0] != data:
            return Need.UPDATE
        return None if self.live["data"].get("v") == self.sent[1].get("v") else Need.HEAL


@settings(max_examples=200)
@given(STEPS)
def test_any_order_of_events_and_answers_ends_with_the_right_need(steps: list[tuple[str, str]]) -> None:
    bench = Bench()
    server = Server(bench)
    for what, value in steps:
        server.step(what, value)
    server.deliver_answer()
    while server.events:
        server.step("event", "")
    for value in ("1", "2"):
        found, right = bench.need({"v": value}), server.need({"v": value})
        # A list may overtake an answer: then the result of the apply is unknown, and it is sent again.
        in_doubt = found is Need.UPDATE and right is not Need.CREATE and ("relist", "") in steps
        assert found is right or in_doubt
    assert (bench.store.find(config_key()) is None) is (server.live is None)


class Strangers:
    """A store that knows the instances with the UIDs in `known`, and has a limit."""

    def __init__(self, room: Room | None = None) -> None:
        self.known = {OWNER}
        self.room = room or Room()
        self.woken: list[str] = []
        self.store = ChildStore(self.woken.append, claims=self.claims, room=self.room)

    def claims(self, key: Key, obj: Obj) -> bool:
        return obj["metadata"]["labels"].get(LABEL_INSTANCE_ID) in self.known

    def held(self) -> int:
        """The bytes of JSON in the store."""
        full = Room()
        return full.loose - self.room.loose + full.packed - self.room.packed


LARGE = {f"key-{number}": "x" for number in range(9000)}


@pytest.mark.parametrize("data", [ONE, LARGE])
def test_of_a_stranger_only_identity_and_hash_are_kept(data: dict[str, str]) -> None:
    bench = Strangers()
    bench.store.widen(CONFIG_MAPS, [("data",)])
    bench.store.put(CONFIG_MAPS, config(version=1, data=data, instance="unknown", finalizers=["x" * 1000]))
    found = bench.store.find(config_key())
    assert found is not None
    assert found.obj == {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "a", "namespace": "default", "uid": "u1"},
    }
    assert bench.store.unread(config_key()) is None
    assert bench.held() == 0
    assert bench.store.compare(config_key(), desired(data)) is Need.UPDATE


def test_a_stranger_tells_for_which_node_it_was_applied() -> None:
    """Its instance may be known later than it: the prune guard counts it to its collection then."""
    bench = Strangers()
    obj = config(version=1, instance="unknown")
    obj["metadata"]["labels"] = {**obj["metadata"]["labels"], LABEL_NODE_ID: "many"}
    bench.store.put(CONFIG_MAPS, obj)
    found = bench.store.find(config_key())
    assert found is not None
    assert found.node == "many"


def test_strangers_are_counted_and_told_in_one_line_until_they_are_twice_as_many(
    caplog: pytest.LogCaptureFixture,
) -> None:
    bench = Strangers()
    objs = [config(f"c{number}", version=number, uid=f"u{number}", instance="unknown") for number in range(1, 61)]
    bench.store.replace(CONFIG_MAPS, [bench.store.see(CONFIG_MAPS, obj) for obj in objs])
    assert bench.store.strangers() == {(str(CONFIG_MAPS),): 60.0}
    assert [getattr(record, "count", 0) for record in caplog.records] == [60]
    for number in range(61, 122):
        bench.store.put(CONFIG_MAPS, config(f"c{number}", version=number, uid=f"u{number}", instance="unknown"))
    assert [getattr(record, "count", 0) for record in caplog.records] == [60, 121]
    for obj in objs:
        bench.store.remove(CONFIG_MAPS, obj)
    assert bench.store.strangers() == {(str(CONFIG_MAPS),): 61.0}


def test_a_stranger_whose_instance_becomes_known_is_compared_after_the_next_list() -> None:
    """Nothing is sent for it."""
    bench = Strangers(Room())
    bench.store.widen(CONFIG_MAPS, [("data",)])
    live = config(version=1, data=ONE, instance="late")
    live["metadata"]["managedFields"] = [
        {
            "manager": MANAGER_CHILDREN,
            "operation": "Apply",
            "fieldsV1": {"f:data": {"f:v": {}}},
        }
    ]
    bench.store.put(CONFIG_MAPS, live)
    assert bench.store.compare(config_key(), desired(ONE)) is Need.UPDATE
    bench.known.add("late")
    bench.woken.clear()
    bench.store.replace(CONFIG_MAPS, [bench.store.see(CONFIG_MAPS, live)])
    assert bench.woken == ["late"]
    assert bench.store.compare(config_key(), desired(ONE)) is None
    assert bench.store.strangers() == {(str(CONFIG_MAPS),): 0}


def test_a_stranger_that_is_applied_is_no_stranger_any_more() -> None:
    """The event came before the instance was known; the answer has the same version."""
    bench = Strangers()
    bench.store.widen(CONFIG_MAPS, [("data",)])
    bench.store.put(CONFIG_MAPS, config(version=1, data=ONE, instance="late"))
    bench.store.applied(config_key(), desired(ONE), config(version=1, data=ONE, instance="late"))
    found = bench.store.find(config_key())
    assert found is not None
    assert found.obj["data"] == ONE
    assert bench.store.compare(config_key(), desired(ONE)) is None
    bench.store.put(CONFIG_MAPS, config(version=2, data=TWO, instance="late"))
    assert bench.store.compare(config_key(), desired(ONE)) is Need.HEAL


def test_what_there_is_no_room_for_is_applied_again_and_drift_is_not_missed() -> None:
    bench = Strangers(Room(loose=0, packed=0))
    bench.store.put(CONFIG_MAPS, config(version=1, data=ONE))
    assert bench.store.compare(config_key(), desired(ONE)) is Need.UPDATE
    bench.store.applied(config_key(), desired(ONE), config(version=1, data=ONE))
    bench.store.put(CONFIG_MAPS, config(version=2, data=TWO))
    assert bench.store.compare(config_key(), desired(ONE)) is Need.UPDATE


def test_a_large_child_takes_room_until_it_was_compared() -> None:
    bench = Strangers()
    bench.store.put(CONFIG_MAPS, config(version=1, data=LARGE))
    assert 0 < bench.held() < len(orjson.dumps(LARGE)) / 4
    assert bench.store.unread(config_key()) == config(version=1, data=LARGE)
    bench.store.applied(config_key(), desired(LARGE), config(version=1, data=LARGE))
    assert bench.held() < 1000


def test_a_namespace_full_of_claimed_children_takes_no_more_than_the_room() -> None:
    bench = Strangers(Room(loose=400_000, packed=50_000))
    bench.store.widen(CONFIG_MAPS, [("data",)])
    for number in range(200):
        data = {f"{number}-{index}": "x" for index in range(2000)}
        bench.store.put(CONFIG_MAPS, config(f"c{number}", version=number, uid=f"u{number}", data=data))
    assert 0 < bench.room.loose < 400_000
    assert 0 < bench.room.packed < 50_000
    for number in range(200):
        bench.store.remove(CONFIG_MAPS, config(f"c{number}", version=1000 + number, uid=f"u{number}"))
    assert (bench.room.loose, bench.room.packed) == (400_000, 50_000)


def test_the_deletion_policy_is_kept_whatever_the_graphs_read(bench: Bench) -> None:
    policy = {"kro.run/deletion-policy": "Orphaned"}
    bench.put(config(version=5, annotations=policy))
    (member,) = bench.store.members(OWNER)
    assert member.orphaned
    assert "annotations" not in member.obj["metadata"]
    bench.woken.clear()
    bench.put(config(version=6, annotations={"kro.run/deletion-policy": "Delete"}))
    (member,) = bench.store.members(OWNER)
    assert not member.orphaned
    assert bench.woken == [OWNER]


def test_a_field_that_is_left_to_another_manager_needs_no_apply(bench: Bench) -> None:
    """Somebody took `v`; the rest is owned by us, and as declared."""
    entries = [
        {"manager": MANAGER_CHILDREN, "operation": "Apply", "fieldsV1": {"f:data": {"f:w": {}}}},
        {"manager": "other", "operation": "Update", "fieldsV1": {"f:data": {"f:v": {}}}},
    ]
    bench.applied(config(version=5, data={"v": "1", "w": "1"}))
    bench.put(config(version=6, data={"v": "2", "w": "1"}, managedFields=entries))
    assert bench.need({"w": "1"}) is None
    bench.put(config(version=7, data={"v": "1", "w": "1"}, managedFields=entries))
    assert bench.need({"w": "1"}) is None
    # Free again, it is declared again.
    bench.put(config(version=8, data={"w": "1"}, managedFields=entries[:1]))
    assert bench.need({"v": "1", "w": "1"}) is Need.UPDATE


def test_a_field_that_is_left_to_another_manager_while_others_are_not_in_effect_is_sent(bench: Bench) -> None:
    entries = [{"manager": MANAGER_CHILDREN, "operation": "Apply", "fieldsV1": {"f:data": {"f:w": {}}}}]
    bench.applied(config(version=5, data={"v": "1", "w": "1"}))
    bench.put(config(version=6, data={"v": "2", "w": "3"}, managedFields=entries))
    assert bench.need({"w": "1"}) is Need.UPDATE
