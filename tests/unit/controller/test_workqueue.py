"""The guarantees of the queue: each key once, never twice at the same time, fair between groups, never dropped."""

import asyncio
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kroasync.controller.shares import HEAVY_AT_ONCE, HEAVY_S, REST_S, SHARE
from kroasync.controller.workqueue import WorkQueue
from tests.fakes import virtual

SLOW_S, QUICK_S = 0.05, 0.002
LASTING = 3


@dataclass
class Bench:
    """A queue of `group/name` keys and its clock."""

    now: float = 0.0
    waited: list[float] = field(default_factory=list)
    worked: list[float] = field(default_factory=list)
    queue: WorkQueue[str] = field(init=False)

    def __post_init__(self) -> None:
        self.queue = WorkQueue(
            clock=lambda: self.now,
            group_of=lambda key: key.partition("/")[0],
            min_delay_s=0.2,
            max_delay_s=60.0,
            rng=random.Random(1),
            lasting_at_once=LASTING,
            waited=self.waited.append,
            worked=self.worked.append,
        )

    def drain(self) -> list[str]:
        """Take and finish keys until none is ready."""
        found = []
        while (key := self.queue.get_nowait()) is not None:
            found.append(key)
            self.queue.done(key)
        return found


@pytest.fixture
def bench() -> Bench:
    return Bench()


# The table of `workqueue`: the way to each state, and the state after each event. `due` counts when a key is taken.
ROUTES: dict[str, tuple[str, ...]] = {
    "idle": (),
    "delayed": ("add_after",),
    "ready": ("add",),
    "in work": ("add", "get"),
    "in work, delayed": ("add", "get", "add_after"),
    "in work +": ("add", "get", "add"),
}
EVENTS = ("add", "add_after", "get", "due", "done", "discard")
TABLE = {
    "idle": ("ready", "delayed", "idle", "idle", "idle", "idle"),
    "delayed": ("ready", "delayed", "delayed", "in work", "delayed", "idle"),
    "ready": ("ready", "ready", "in work", "in work", "ready", "ready"),
    "in work": ("in work +", "in work, delayed", "in work", "in work", "idle", "in work"),
    "in work, delayed": ("in work +", "in work, delayed", "in work, delayed", "in work +", "delayed", "in work"),
    "in work +": ("in work +", "in work +", "in work +", "in work +", "ready", "in work +"),
}


def happen(bench: Bench, event: str) -> None:
    match event:
        case "add":
            bench.queue.add("g/a")
        case "add_after":
            bench.queue.add_after("g/a", 5.0)
        case "get":
            bench.queue.get_nowait()
        case "due":
            bench.now += 5.0
            bench.queue.get_nowait()
        case "done":
            bench.queue.done("g/a")
        case "discard":
            bench.queue.discard("g/a")


def state(bench: Bench) -> str:
    """The state of the only key; ends its work to see the rest."""
    prefix = "in work" if bench.queue.in_work else ""
    bench.queue.done("g/a")
    if len(bench.queue):
        return f"{prefix} +" if prefix else "ready"
    if bench.queue.delayed:
        return f"{prefix}, delayed" if prefix else "delayed"
    return prefix or "idle"


@pytest.mark.parametrize("before", ROUTES)
@pytest.mark.parametrize("event", EVENTS)
def test_what_an_event_makes_of_a_key_is_as_the_table_says(bench: Bench, before: str, event: str) -> None:
    for step in (*ROUTES[before], event):
        happen(bench, step)
    assert state(bench) == TABLE[before][EVENTS.index(event)]


def test_keys_of_a_group_come_in_the_order_they_were_added(bench: Bench) -> None:
    for name in ("g/c", "g/a", "g/b"):
        bench.queue.add(name)
    assert bench.drain() == ["g/c", "g/a", "g/b"]


def test_a_key_added_many_times_runs_once(bench: Bench) -> None:
    for _ in range(5):
        bench.queue.add("g/a")
    assert len(bench.queue) == 1
    assert bench.drain() == ["g/a"]


def test_groups_take_turns_however_long_one_of_them_is(bench: Bench) -> None:
    for number in range(4):
        bench.queue.add(f"big/{number}")
    bench.queue.add("small/x")
    assert bench.drain() == ["big/0", "small/x", "big/1", "big/2", "big/3"]


def test_a_key_added_while_in_work_is_not_handed_out_twice_but_runs_again(bench: Bench) -> None:
    queue = bench.queue
    queue.add("g/a")
    assert queue.get_nowait() == "g/a"
    queue.add("g/a")
    queue.add("g/a")
    assert queue.get_nowait() is None
    queue.done("g/a")
    assert bench.drain() == ["g/a"]
    assert (len(queue), queue.in_work) == (0, 0)


def test_a_delayed_key_is_ready_when_due_and_not_before(bench: Bench) -> None:
    bench.queue.add_after("g/a", 5.0)
    bench.now = 4.999
    assert bench.drain() == []
    assert bench.queue.delayed == 1
    bench.now = 5.0
    assert bench.drain() == ["g/a"]
    assert bench.queue.delayed == 0


def test_the_earliest_of_several_delays_counts(bench: Bench) -> None:
    for delay in (5.0, 2.0, 9.0):
        bench.queue.add_after("g/a", delay)
    bench.now = 2.0
    assert bench.drain() == ["g/a"]
    bench.now = 100.0
    assert bench.drain() == []


def test_an_immediate_add_replaces_a_delay(bench: Bench) -> None:
    bench.queue.add_after("g/a", 5.0)
    bench.queue.add("g/a")
    assert bench.drain() == ["g/a"]
    bench.now = 10.0
    assert bench.drain() == []


def test_a_delay_without_length_is_no_delay(bench: Bench) -> None:
    bench.queue.add_after("g/a", 0.0)
    assert bench.drain() == ["g/a"]


def test_a_key_due_while_it_is_in_work_runs_again(bench: Bench) -> None:
    queue = bench.queue
    queue.add("g/a")
    assert queue.get_nowait() == "g/a"
    queue.add_after("g/a", 1.0)
    bench.now = 2.0
    assert queue.get_nowait() is None
    queue.done("g/a")
    assert bench.drain() == ["g/a"]


def test_backoff_doubles_up_to_its_cap_and_starts_again_after_a_success(bench: Bench) -> None:
    delays = [bench.queue.retry("g/a") for _ in range(100)]
    for number, delay in enumerate(delays):
        nominal = min(0.2 * 2**number, 60.0)
        assert 0.9 * nominal <= delay <= 1.1 * nominal
    assert bench.queue.retries == 100
    bench.queue.forget("g/a")
    assert bench.queue.retry("g/a") <= 0.22


def test_the_backoff_of_a_pass_that_is_not_to_blame_has_a_lower_cap(bench: Bench) -> None:
    assert max(bench.queue.retry("g/a", at_most_s=5.0) for _ in range(20)) <= 5.5


def test_failures_at_the_lower_cap_do_not_add_to_the_backoff_of_the_next_one(bench: Bench) -> None:
    """After minutes of outage, an API server refuses requests until it has read its roles."""
    for _ in range(100):
        bench.queue.retry("g/a", at_most_s=5.0)
    assert bench.queue.retry("g/a") <= 6.4 * 1.1
    assert bench.queue.retry("g/a") >= 12.8 * 0.9


def test_a_key_that_keeps_failing_is_never_dropped(bench: Bench) -> None:
    """The queue never drops a key, not even after 20 attempts, as kro does."""
    bench.queue.add("g/a")
    for _ in range(50):
        assert bench.queue.get_nowait() == "g/a"
        bench.queue.done("g/a")
        bench.now += bench.queue.retry("g/a") + 0.001


def test_a_discarded_key_has_no_delay_and_no_failures(bench: Bench) -> None:
    bench.queue.retry("g/a")
    bench.queue.discard("g/a")
    bench.now = 100.0
    assert bench.drain() == []
    assert bench.queue.retry("g/a") <= 0.22


def overrun(bench: Bench, key: str, held_s: float) -> float:
    assert bench.queue.get_nowait() == key
    rest_s = bench.queue.quarantine(key, held_s)
    bench.queue.done(key)
    return rest_s


def test_a_key_that_held_up_all_others_rests_whatever_happens_to_it(bench: Bench) -> None:
    bench.queue.add("g/a")
    assert overrun(bench, "g/a", 0.1) == REST_S
    bench.queue.add("g/a")
    bench.queue.add_after("g/a", 1.0)
    bench.queue.retry("g/a")
    bench.queue.add("g/b")
    bench.now = REST_S - 0.1
    assert bench.drain() == ["g/b"]
    bench.now = REST_S
    assert bench.drain() == ["g/a"]


def test_a_key_that_was_delayed_before_it_held_up_all_others_runs_after_its_rest(bench: Bench) -> None:
    bench.queue.add("g/a")
    assert bench.queue.get_nowait() == "g/a"
    bench.queue.add_after("g/a", 1.0)
    bench.queue.quarantine("g/a", 0.1)
    bench.queue.done("g/a")
    bench.now = REST_S - 0.1
    assert bench.drain() == []
    bench.now = REST_S
    assert bench.drain() == ["g/a"]


def test_rests_grow_up_to_a_cap_and_end_with_a_pass_that_holds_up_nobody(bench: Bench) -> None:
    rests = []
    bench.queue.add("g/a")
    for _ in range(6):
        rests.append(overrun(bench, "g/a", 0.1))
        bench.queue.add("g/a")
        bench.now += rests[-1]
    assert rests == [30, 60, 120, 240, 300, 300]
    assert bench.drain() == ["g/a"]
    bench.queue.add("g/a")
    assert bench.drain() == ["g/a"]


def test_many_keys_that_hold_up_all_others_run_one_by_one_and_have_a_small_share(bench: Bench) -> None:
    keys = [f"g/{number}" for number in range(20)]
    for key in keys:
        bench.queue.add(key)
    for key in keys:
        overrun(bench, key, 3.0)
        bench.queue.add(key)
    starts: list[float] = []
    while len(starts) < len(keys):
        bench.now += 1.0
        starts += [bench.now for _ in bench.drain()]
    gaps = [after - before for before, after in pairwise(starts)]
    assert min(gaps) >= 3.0 / SHARE - 1.0


def test_times_and_counts_for_the_metrics(bench: Bench) -> None:
    queue = bench.queue
    queue.add("g/a")
    bench.now = 3.0
    assert queue.get_nowait() == "g/a"
    assert queue.work_ages() == [0.0]
    bench.now = 10.0
    assert queue.work_ages() == [7.0]
    queue.done("g/a")
    queue.retry("g/a")
    assert queue.work_ages() == []
    assert (bench.waited, bench.worked) == ([3.0], [7.0])
    assert (queue.adds, queue.retries) == (1, 1)


def test_a_group_whose_work_lasts_gets_no_turn_while_it_has_many_of_those(bench: Bench) -> None:
    queue = bench.queue
    for number in range(LASTING + 2):
        queue.add(f"stuck/{number}")
    queue.add("fine/a")
    taken = [queue.get_nowait() for _ in range(LASTING + 1)]
    assert "fine/a" in taken
    for key in taken:
        assert key is not None
        queue.lasts(key)
    assert queue.get_nowait() is None
    queue.add("fine/b")
    assert queue.get_nowait() == "fine/b"
    queue.done("stuck/0")
    assert queue.get_nowait() == f"stuck/{LASTING}"
    # Neither finished keys nor keys that are not in work are lasting.
    queue.lasts("stuck/0")
    assert queue.get_nowait() == f"stuck/{LASTING + 1}"


def test_timers_that_were_overtaken_do_not_pile_up(bench: Bench) -> None:
    """A quiet key that is due in hours is in front of them."""
    queue = bench.queue
    queue.add_after("g/quiet", 36_000.0)
    for _ in range(20_000):
        bench.now += 0.1
        queue.add("g/busy")
        assert queue.get_nowait() == "g/busy"
        queue.done("g/busy")
        queue.add_after("g/busy", 36_000.0)
    assert queue.delayed == 2
    assert len(queue._timers) < 2000
    bench.now += 36_000.0
    assert {queue.get_nowait(), queue.get_nowait()} == {"g/quiet", "g/busy"}


def test_heavy_keys_whose_work_lasts_leave_room_for_other_heavy_ones(bench: Bench) -> None:
    """As when the requests of one such definition hang."""
    queue = bench.queue
    for group in ("stuck", "slow"):
        queue.add(f"{group}/first")
        key = queue.get_nowait()
        assert key == f"{group}/first"
        queue.charge(key, SLOW_S, SLOW_S)
        queue.done(key)
    bench.now += 100
    for number in range(HEAVY_AT_ONCE):
        queue.add(f"stuck/{number}")
    taken = []
    while (key := queue.get_nowait()) is not None:
        taken.append(key)
    assert len(taken) == HEAVY_AT_ONCE
    queue.add("slow/a")
    assert queue.get_nowait() is None
    for key in taken:
        queue.lasts(key)
    assert queue.get_nowait() == "slow/a"


def work(bench: Bench, *, until: Callable[[], bool], within_s: float = 1000.0) -> dict[str, float]:
    """One worker that computes for every key, long for those of the group `slow`; returns the seconds of each group."""
    spent: dict[str, float] = {}
    while not until():
        assert bench.now < within_s
        key = bench.queue.get_nowait()
        if key is None:
            bench.now += 0.001
            continue
        group = key.partition("/")[0]
        cost_s = SLOW_S if group == "slow" else QUICK_S
        bench.now += cost_s
        bench.queue.charge(key, cost_s, cost_s)
        bench.queue.done(key)
        spent[group] = spent.get(group, 0.0) + cost_s
        bench.queue.add(key)
    return spent


def test_a_group_that_computes_long_gets_its_share_while_others_are_busy(bench: Bench) -> None:
    """Two ordinary groups that always have work, and two slow keys."""
    for key in ("slow/a", "slow/b", "x/a", "y/a"):
        bench.queue.add(key)
    spent = work(bench, until=lambda: bench.now > 40)
    assert spent["slow"] == pytest.approx(SHARE * 40, rel=0.15)
    assert spent["x"] == pytest.approx(spent["y"], rel=0.01)


def test_several_groups_that_compute_long_have_one_share(bench: Bench) -> None:
    bench.queue = WorkQueue(clock=lambda: bench.now, group_of=str)
    slow = [f"slow/{number}" for number in range(20)]
    for key in [*slow, "x/a"]:
        bench.queue.add(key)
    spent = work(bench, until=lambda: bench.now > 40)
    assert spent["slow"] == pytest.approx(SHARE * 40, rel=0.15)


def test_a_group_that_computes_long_has_all_the_time_when_others_are_idle(bench: Bench) -> None:
    bench.queue.add("slow/a")
    spent = work(bench, until=lambda: bench.now > 10)
    assert spent["slow"] == pytest.approx(10, rel=0.01)


def test_a_light_pass_that_only_waits_holds_nobody_up(bench: Bench) -> None:
    bench.queue.add("x/a")
    assert bench.queue.get_nowait() == "x/a"
    bench.queue.add("slow/a")
    spent = work(bench, until=lambda: bench.now > 10)
    assert spent["slow"] == pytest.approx(10, rel=0.02)


def test_a_group_that_no_longer_computes_long_takes_turns_again(bench: Bench) -> None:
    costs = [SLOW_S] + [0.0] * 10
    bench.queue.add("g/a")
    for cost_s in costs:
        assert bench.queue.get_nowait() == "g/a"
        bench.queue.charge("g/a", cost_s, cost_s)
        bench.queue.done("g/a")
        bench.queue.add("g/a")
        bench.now += 1
    for number in range(3):
        bench.queue.add(f"x/{number}")
    assert bench.drain() == ["g/a", "x/0", "x/1", "x/2"]


def test_a_pass_that_computes_long_waits_for_its_turn_and_gets_it() -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        queue: WorkQueue[str] = WorkQueue(clock=loop.time, group_of=lambda key: key.partition("/")[0])
        for key in ("slow/a", "slow/b", "x/a"):
            queue.add(key)
        keys = [queue.get_nowait(), queue.get_nowait(), queue.get_nowait()]
        assert keys == ["slow/a", "x/a", "slow/b"]
        assert not any(queue.is_heavy(key) or queue.is_held(key) for key in ("slow/a", "slow/b", "x/a"))
        queue.charge("slow/a", HEAVY_S, HEAVY_S)
        # The duration of one pass counts for its whole group.
        assert queue.is_held("slow/b")
        queue.charge("slow/b", HEAVY_S, HEAVY_S)
        assert not queue.is_held("x/a")
        began, order = loop.time(), []

        async def turn(key: str) -> None:
            await queue.turn(key)
            assert [k for k in ("slow/a", "slow/b") if not queue.is_held(k)] == [key]
            order.append((key, loop.time() - began))
            queue.charge(key, HEAVY_S, HEAVY_S)
            assert queue.is_held(key)

        tasks = [asyncio.create_task(turn(key)) for key in ("slow/b", "slow/a")]
        while len(order) < 2:
            queue.charge("x/a", 0.0, 0.0)
            await asyncio.sleep(0.001)
        await asyncio.gather(*tasks)
        waits = [2 * HEAVY_S * (1 / SHARE - 1), 3 * HEAVY_S * (1 / SHARE - 1)]
        assert order == [("slow/b", pytest.approx(waits[0], abs=0.02)), ("slow/a", pytest.approx(waits[1], abs=0.02))]
        queue.done("x/a")
        async with asyncio.timeout(0.1):
            await queue.turn("slow/a")

    virtual.run(main())


def test_no_two_heavy_passes_compute_in_one_turn_of_the_event_loop() -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        queue: WorkQueue[str] = WorkQueue(clock=loop.time, group_of=lambda key: key.partition("/")[0])
        keys = [f"slow/{number}" for number in range(5)]
        for key in keys:
            queue.add(key)
        assert [queue.get_nowait() for _ in keys] == keys
        queue.charge(keys[0], SLOW_S, SLOW_S)
        assert isinstance(loop, virtual.VirtualLoop)
        turns: list[int] = []

        async def slow(key: str) -> None:
            await queue.turn(key)
            turns.append(loop.turns)
            queue.charge(key, SLOW_S, SLOW_S)

        await asyncio.gather(*(slow(key) for key in keys))
        assert len(set(turns)) == len(keys)

    virtual.run(main())


def test_only_so_many_heavy_keys_are_handed_out_at_once(bench: Bench) -> None:
    bench.queue.add("slow/0")
    assert bench.queue.get_nowait() == "slow/0"
    bench.queue.charge("slow/0", SLOW_S, SLOW_S)
    for number in range(1, 100):
        bench.queue.add(f"slow/{number}")
    bench.now += 100
    handed = 1
    while bench.queue.get_nowait() is not None:
        handed += 1
    assert handed == HEAVY_AT_ONCE


def test_a_cancelled_turn_lets_the_next_one_go() -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        queue: WorkQueue[str] = WorkQueue(clock=loop.time, group_of=lambda key: key.partition("/")[0])
        for key in ("slow/a", "slow/b", "x/a"):
            queue.add(key)
        assert {queue.get_nowait() for _ in range(3)} == {"slow/a", "slow/b", "x/a"}
        queue.charge("slow/a", 1.0, 1.0)
        queue.charge("slow/b", 1.0, 1.0)
        first, second = (asyncio.create_task(queue.turn(key)) for key in ("slow/a", "slow/b"))
        await asyncio.sleep(0)
        first.cancel()
        queue.done("x/a")
        async with asyncio.timeout(0.1):
            await second
        assert first.cancelled()

    virtual.run(main())


def test_get_hands_out_a_key_that_had_to_wait_for_its_share() -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        queue: WorkQueue[str] = WorkQueue(clock=loop.time, group_of=lambda key: key.partition("/")[0])
        queue.add("slow/a")
        assert await queue.get() == "slow/a"
        queue.add("x/a")
        assert await queue.get() == "x/a"
        queue.charge("slow/a", SLOW_S, SLOW_S)
        queue.done("slow/a")
        queue.add("slow/a")
        began = loop.time()
        taking = asyncio.create_task(queue.get())
        while not taking.done():
            queue.charge("x/a", 0.0, 0.0)
            await asyncio.sleep(0.01)
        assert taking.result() == "slow/a"
        assert loop.time() - began == pytest.approx(SLOW_S * (1 / SHARE - 1), abs=0.03)

    virtual.run(main())


def test_get_waits_for_a_key_and_for_a_delay() -> None:
    async def story() -> list[tuple[str, float]]:
        loop = asyncio.get_running_loop()
        queue: WorkQueue[str] = WorkQueue(clock=loop.time, group_of=lambda key: key)
        began = loop.time()
        loop.call_later(3.0, queue.add, "soon")
        queue.add_after("late", 10.0)
        found = []
        for _ in range(2):
            key = await queue.get()
            found.append((key, loop.time() - began))
            queue.done(key)
        return found

    found = virtual.run(story())
    assert [key for key, _ in found] == ["soon", "late"]
    assert [at for _, at in found] == pytest.approx([3.0, 10.0])


def test_finished_is_when_nothing_is_in_work() -> None:
    async def story() -> float:
        loop = asyncio.get_running_loop()
        queue: WorkQueue[str] = WorkQueue(clock=loop.time, group_of=lambda key: key)
        queue.add("a")
        began, key = loop.time(), await queue.get()
        loop.call_later(4.0, queue.done, key)
        await queue.finished()
        return loop.time() - began

    assert virtual.run(story()) == pytest.approx(4.0)


STEPS = st.lists(
    st.tuples(st.sampled_from(["add", "after", "take", "done", "retry", "wait"]), st.sampled_from("abc")), max_size=60
)


@given(STEPS)
def test_whatever_happens_no_key_is_lost_and_none_is_in_work_twice(steps: list[tuple[str, str]]) -> None:
    bench = Bench()
    queue, in_work, owed = bench.queue, set[str](), set[str]()
    for step, name in steps:
        match step:
            case "add":
                queue.add(name)
                owed.add(name)
            case "after":
                queue.add_after(name, 1.0)
                owed.add(name)
            case "retry":
                queue.retry(name)
                owed.add(name)
            case "take":
                key = queue.get_nowait()
                if key is not None:
                    assert key not in in_work
                    in_work.add(key)
                    owed.discard(key)
            case "done" if name in in_work:
                in_work.discard(name)
                queue.done(name)
            case "wait":
                bench.now += 0.5
    for key in in_work:
        queue.done(key)
    bench.now += 1000.0
    assert set(bench.drain()) >= owed
    assert (len(queue), queue.in_work) == (0, 0)


def test_those_put_first_keep_their_order_and_the_turns_of_the_groups(bench: Bench) -> None:
    for key in ("g/a", "g/b", "h/c", "g/d", "h/e"):
        bench.queue.add(key)
    bench.queue.put_first(lambda key: key in ("g/d", "g/b", "h/e"))
    assert bench.drain() == ["g/b", "h/e", "g/d", "h/c", "g/a"]
