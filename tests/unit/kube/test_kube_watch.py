"""A watch stays alive and reports the truth, whatever the server does."""

import asyncio
import logging
import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kroasync.kube.watch import BadEventError, LineSplitter, Watch
from kroasync.metrics import Metrics
from kroasync.model.objects import Obj, Resource
from tests.waiting import until

APPS = Resource("kro.run", "v1", "WebApp", "webapps")
PATH = "/apis/kro.run/v1/webapps"


class Recorder:
    """A sink that records everything, and wakes tasks that wait for a record."""

    def __init__(self) -> None:
        self.log: list[tuple[str, Any]] = []
        self.changed = asyncio.Event()

    def keep(self, obj: Obj) -> Obj:
        return obj

    def replace(self, items: list[Obj], version: str) -> None:
        # In any order: see `test_the_first_list_comes_in_another_order_at_each_start`.
        self._add("replace", sorted(i["metadata"]["name"] for i in items))

    def event(self, type: str, obj: Obj) -> None:
        self._add(type, obj["metadata"]["name"])

    def _add(self, what: str, value: Any) -> None:
        self.log.append((what, value))
        self.changed.set()

    async def until(self, done: Callable[[list[tuple[str, Any]]], bool]) -> None:
        async with asyncio.timeout(4):
            while not done(self.log):
                self.changed.clear()
                await self.changed.wait()

    async def last(self, what: str, value: Any) -> None:
        await self.until(lambda log: log[-1:] == [(what, value)])

    async def count(self, number: int) -> list[tuple[str, Any]]:
        await self.until(lambda log: len(log) >= number)
        return self.log


def obj(name: str, version: int | str) -> Obj:
    return {"metadata": {"name": name, "resourceVersion": str(version)}}


def listed(*names: str, version: str = "10") -> Obj:
    return {"items": [obj(n, 1) for n in names], "metadata": {"resourceVersion": version}}


def line(type: str, name: str = "", version: int = 0, **more: Any) -> bytes:
    return orjson.dumps({"type": type, "object": {**obj(name, version), **more}}) + b"\n"


def expired(code: int = 410) -> bytes:
    status = {"kind": "Status", "code": code, "reason": "Expired" if code == 410 else "InternalError"}
    return orjson.dumps({"type": "ERROR", "object": status}) + b"\n"


def serve(api: Any, lists: list[Any], watches: list[Any]) -> None:
    """Answers of one path: lists and watches in their own order."""
    queues = {False: list(lists), True: list(watches)}

    async def answer(request: Any) -> Any:
        queue = queues["watch" in request.query]
        return await (queue.pop(0) if len(queue) > 1 else queue[0])(request)

    api.on("GET", PATH, answer)


@asynccontextmanager
async def running(api: Any, sink: Any, **options: Any) -> AsyncIterator[Watch]:
    client = api.client(metrics=options.pop("metrics", None))
    watch = Watch(client, APPS, sink=sink, sleep=api.sleep, rng=random.Random(1), **options)
    task = asyncio.get_running_loop().create_task(watch.run())
    try:
        yield watch
    finally:
        task.cancel()
        await asyncio.wait([task])


def queries(api: Any) -> list[dict[str, str]]:
    return [s.query for s in api.seen if "watch" in s.query]


async def test_lists_then_watches_from_the_lists_version(api: Any) -> None:
    serve(api, [api.json(listed("a"))], [api.stream(line("ADDED", "b", 11), line("DELETED", "a", 12), then="hang")])
    sink = Recorder()
    async with running(api, sink, label_selector="x=y") as watch:
        assert await sink.count(3) == [("replace", ["a"]), ("ADDED", "b"), ("DELETED", "a")]
        assert watch.synced.is_set()
        assert (watch.connected, watch.error, watch.relists, watch.errors) == (True, None, 0, 0)
    assert not watch.connected
    query = queries(api)[0]
    assert 240 <= int(query.pop("timeoutSeconds")) <= 300
    assert query == {
        "watch": "true",
        "allowWatchBookmarks": "true",
        "resourceVersion": "10",
        "labelSelector": "x=y",
    }


async def test_the_first_list_comes_in_another_order_at_each_start(api: Any) -> None:
    """An instance whose pass ends the process is not the first one after every start."""
    found: list[list[str]] = []

    class Sink(Recorder):
        def replace(self, items: list[Obj], version: str) -> None:
            found.append([i["metadata"]["name"] for i in items])
            super().replace(items, version)

    serve(api, [api.json(listed(*"abcdefgh"))], [api.stream(then="hang")])
    for start in range(2):
        sink = Sink()
        watch = Watch(api.client(), APPS, sink=sink, rng=random.Random(start))
        task = asyncio.create_task(watch.run())
        await sink.count(1)
        task.cancel()
        await asyncio.wait([task])
    assert sorted(found[0]) == sorted(found[1]) == [*"abcdefgh"]
    assert found[0] != found[1]


async def test_events_carry_their_type(api: Any) -> None:
    got: list[Obj] = []

    class Sink(Recorder):
        def event(self, type: str, obj: Obj) -> None:
            got.append(obj)
            super().event(type, obj)

    serve(api, [api.json(listed())], [api.stream(line("ADDED", "b", 11), then="hang")])
    sink = Sink()
    async with running(api, sink):
        await sink.count(2)
    assert (got[0]["apiVersion"], got[0]["kind"]) == ("kro.run/v1", "WebApp")


async def test_goes_on_where_the_last_watch_ended(api: Any) -> None:
    """The server ends every watch after a while; this is neither a failure nor a reason to list."""
    serve(
        api,
        [api.json(listed())],
        [
            api.stream(line("ADDED", "a", 11)),
            api.stream(line("BOOKMARK", "", 25)),
            api.stream(line("MODIFIED", "a", 26), then="hang"),
        ],
    )
    sink = Recorder()
    async with running(api, sink) as watch:
        assert await sink.count(3) == [("replace", []), ("ADDED", "a"), ("MODIFIED", "a")]
        assert (watch.relists, watch.errors) == (0, 0)
    assert [q["resourceVersion"] for q in queries(api)] == ["10", "11", "25"]
    assert api.slept == []


async def test_a_cut_connection_is_resumed(api: Any) -> None:
    half = line("MODIFIED", "a", 12)[:20]
    serve(
        api,
        [api.json(listed())],
        [
            api.stream(line("ADDED", "a", 11), half, then="cut"),
            api.stream(line("MODIFIED", "a", 12), then="hang"),
        ],
    )
    sink = Recorder()
    async with running(api, sink) as watch:
        assert await sink.count(3) == [("replace", []), ("ADDED", "a"), ("MODIFIED", "a")]
        assert watch.relists == 0
    assert [q["resourceVersion"] for q in queries(api)] == ["10", "11"]


@pytest.mark.parametrize("first", ["event", "answer"], ids=["as an event of the watch", "as the answer to the watch"])
async def test_an_expired_version_lists_again(api: Any, first: str) -> None:
    gone = (
        api.stream(line("ADDED", "b", 11), expired())
        if first == "event"
        else api.json({"kind": "Status", "reason": "Expired"}, 410)
    )
    serve(
        api,
        [api.json(listed("a")), api.json(listed("a", "b", version="30"))],
        [gone, api.stream(line("ADDED", "c", 31), then="hang")],
    )
    sink = Recorder()
    async with running(api, sink) as watch:
        await sink.last(*("ADDED", "c"))
        assert ("replace", ["a", "b"]) in sink.log
        assert watch.relists == 1
    assert queries(api)[-1]["resourceVersion"] == "30"
    # After the first expiry, the list follows at once.
    assert api.slept == []


async def test_a_server_that_always_says_expired_is_not_hammered(api: Any) -> None:
    serve(api, [api.json(listed())], [api.stream(expired())])
    sink = Recorder()
    async with running(api, sink):
        await sink.count(6)
    assert len(api.slept) >= 4
    assert api.slept[3] > api.slept[0]


@pytest.mark.parametrize(
    "bad",
    [
        b"not json\n",
        b"[1]\n",
        b'{"type":"ADDED"}\n',
        b'{"type":"ADDED","object":{}}\n',
        b'{"type":"STRANGE","object":{"metadata":{"resourceVersion":"1"}}}\n',
        b'{"type":7,"object":{"metadata":{"resourceVersion":"1"}}}\n',
        b'{"type":["ADDED"],"object":{"metadata":{"resourceVersion":"1"}}}\n',
        b'{"type":"ADDED","object":"x"}\n',
        b'{"type":"ERROR","object":7}\n',
        b"null\n",
        expired(500),
    ],
)
async def test_nonsense_in_the_stream_lists_again(api: Any, bad: bytes) -> None:
    serve(
        api,
        [api.json(listed()), api.json(listed("z", version="20"))],
        [api.stream(bad), api.stream(line("ADDED", "c", 21), then="hang")],
    )
    sink = Recorder()
    async with running(api, sink) as watch:
        await sink.last(*("ADDED", "c"))
        assert ("replace", ["z"]) in sink.log
        assert watch.errors == 1


async def test_a_silent_server_is_left(api: Any) -> None:
    """A common failure: the connection is open, but nothing arrives any more."""
    serve(api, [api.json(listed())], [api.stream(then="hang"), api.stream(line("ADDED", "a", 11), then="hang")])
    sink = Recorder()
    async with running(api, sink, idle_deadline_s=0.03):
        await sink.last(*("ADDED", "a"))


async def test_a_server_that_does_not_even_answer_is_left(api: Any) -> None:
    serve(api, [api.json(listed())], [api.silent(), api.stream(line("ADDED", "a", 11), then="hang")])
    sink = Recorder()
    async with running(api, sink, idle_deadline_s=0.03) as watch:
        await sink.last(*("ADDED", "a"))
        assert watch.relists == 0


async def test_bytes_push_the_idle_deadline_away(api: Any) -> None:
    more = asyncio.Event()

    async def dripping(request: Any) -> Any:
        from aiohttp import web

        response = web.StreamResponse()
        await response.prepare(request)
        for number in range(6):
            await response.write(line("BOOKMARK", "", 20 + number))
            await asyncio.sleep(0.03)
        await response.write(line("ADDED", "late", 40))
        await more.wait()
        return response

    serve(api, [api.json(listed())], [dripping])
    sink = Recorder()
    async with running(api, sink, idle_deadline_s=0.12) as watch:
        await sink.last(*("ADDED", "late"))
        assert watch.errors == 0
    assert len(queries(api)) == 1


async def test_a_missing_kind_is_empty_and_waited_for(api: Any) -> None:
    missing = api.json({"kind": "Status", "reason": "NotFound"}, 404)
    serve(
        api,
        [api.json(listed("a")), missing, missing, missing, api.json(listed("b", version="50"))],
        [missing, api.stream(line("ADDED", "c", 51), then="hang")],
    )
    sink = Recorder()
    async with running(api, sink) as watch:
        await sink.last(*("ADDED", "c"))
        assert sink.log == [("replace", ["a"]), ("replace", []), ("replace", ["b"]), ("ADDED", "c")]
        assert not watch.missing
    assert len(api.slept) == 4


async def test_one_404_is_not_believed(api: Any) -> None:
    """A stale replica does not know a new CRD; existing objects must not count as gone because of it."""
    serve(
        api,
        [api.json(listed("a")), api.json(listed("a", version="20"))],
        [
            api.json({"kind": "Status", "reason": "NotFound"}, 404),
            api.stream(line("ADDED", "b", 21), then="hang"),
        ],
    )
    sink = Recorder()
    async with running(api, sink) as watch:
        await sink.last("ADDED", "b")
        assert sink.log == [("replace", ["a"]), ("replace", ["a"]), ("ADDED", "b")]
        assert not watch.missing


async def test_a_kind_that_never_was_is_in_sync_and_missing(api: Any) -> None:
    sink = Recorder()
    async with running(api, sink) as watch:
        async with asyncio.timeout(4):
            await watch.synced.wait()
        assert watch.missing
        assert sink.log == [("replace", [])]
        assert watch.error is not None
        assert "404" in watch.error


@pytest.mark.parametrize(
    ("code", "advice"),
    [(403, 'grant the controller\'s account the verbs list and watch on webapps of group "kro.run"'),
     (401, "check the controller's token or kubeconfig")],
)  # fmt: skip
async def test_a_refusal_is_said_once_with_advice(
    api: Any, caplog: pytest.LogCaptureFixture, code: int, advice: str
) -> None:
    refused = api.json({"kind": "Status", "reason": "Nope", "message": "no"}, code)
    serve(
        api,
        [refused, refused, refused, api.json(listed("a"))],
        [api.stream(line("ADDED", "b", 11), then="hang")],
    )
    sink = Recorder()
    with caplog.at_level(logging.ERROR, "watch-manager"):
        async with running(api, sink) as watch:
            await sink.count(2)
            assert (watch.errors, watch.is_refused) == (3, False)
    assert [advice in r.getMessage() for r in caplog.records] == [True]


async def test_a_watch_without_rights_says_so(api: Any) -> None:
    refused = api.json({"kind": "Status", "reason": "Forbidden", "message": "no"}, 403)
    serve(api, [refused] * 500, [])
    async with running(api, Recorder()) as watch:
        await until(lambda: watch.is_refused)


async def test_backoff_grows_is_capped_and_starts_again_after_an_event(api: Any) -> None:
    broken = api.json({"kind": "Status", "message": "broken"}, 500)
    serve(
        api,
        [*[broken] * 8, api.json(listed()), broken, api.json(listed())],
        [api.stream(line("ADDED", "a", 11), expired(500)), api.stream(then="hang")],
    )
    sink = Recorder()
    async with running(api, sink, backoff_s=(1.0, 10.0)):
        await sink.count(3)
    grown, after = api.slept[:8], api.slept[8:]
    for delay, full in zip(grown, (1, 2, 4, 8, 10, 10, 10, 10), strict=True):
        assert full / 2 <= delay <= full
    assert 0.5 <= after[0] <= 1
    assert len(set(grown[4:])) > 1


async def test_a_server_that_ends_watches_at_once_is_not_hammered(api: Any) -> None:
    serve(api, [api.json(listed())], [api.stream(), api.stream(), api.stream(line("ADDED", "a", 11), then="hang")])
    sink = Recorder()
    async with running(api, sink) as watch:
        await sink.last("ADDED", "a")
        assert (watch.errors, watch.relists) == (2, 0)
    assert len(api.slept) == 2


async def test_a_refused_connection_keeps_the_version(api: Any) -> None:
    serve(
        api,
        [api.json(listed())],
        [api.cut(), api.cut(), api.stream(line("ADDED", "a", 11), then="hang")],
    )
    sink = Recorder()
    async with running(api, sink) as watch:
        await sink.count(2)
        assert watch.relists == 0


async def test_a_server_in_trouble_is_not_asked_for_a_list_and_gets_the_pause_it_asks_for(api: Any) -> None:
    busy = api.json({"kind": "Status", "message": "the watch cache is not ready"}, 429, {"Retry-After": "7"})
    away = api.json({"kind": "Status", "message": "away"}, 503)
    serve(api, [api.json(listed())], [busy, away, api.stream(line("ADDED", "a", 11), then="hang")])
    sink = Recorder()
    async with running(api, sink) as watch:
        await sink.count(2)
        assert watch.relists == 0
    assert api.slept[0] == 7


async def test_a_server_that_goes_on_refusing_is_asked_for_a_list(api: Any) -> None:
    away = api.json({"kind": "Status", "message": "away"}, 500)
    serve(
        api,
        [api.json(listed()), api.json(listed())],
        [away, away, away, away, api.stream(line("ADDED", "a", 11), then="hang")],
    )
    sink = Recorder()
    async with running(api, sink) as watch:
        await sink.last("ADDED", "a")
        assert watch.relists == 1


class Picky(Recorder):
    """A sink that raises for one object, in lists and events."""

    def keep(self, obj: Obj) -> Obj:
        self._look(obj)
        return obj

    def event(self, type: str, obj: Obj) -> None:
        self._look(obj)
        super().event(type, obj)

    def _look(self, obj: Obj) -> None:
        if obj["metadata"]["name"] == "odd":
            raise OSError("cannot be read")


async def test_an_object_the_sink_raises_for_is_left_out_and_named_once(
    api: Any, caplog: pytest.LogCaptureFixture
) -> None:
    serve(
        api,
        [api.json(listed("a", "odd", "b"))],
        [api.stream(line("MODIFIED", "odd", 11), line("MODIFIED", "a", 12), then="hang")],
    )
    sink, metrics = Picky(), Metrics()
    async with running(api, sink, metrics=metrics):
        await sink.last("MODIFIED", "a")
    assert ("replace", ["a", "b"]) in sink.log
    assert ("ADDED", "odd") not in sink.log
    assert [r.getMessage() for r in caplog.records] == [f"{APPS} /odd cannot be read and is left out"]
    assert f'kroasync_odd_objects_total{{gvr="{APPS}"}} 2.0' in metrics.render().decode()


_WRONG = (None, 0, True, "x", [], [None], {}, {"": None})


@pytest.mark.parametrize("wrong", _WRONG, ids=repr)
async def test_metadata_of_the_wrong_type_reaches_no_sink(api: Any, wrong: Any) -> None:
    """In a list or an event: the invalid object is left out, and the valid ones are kept."""
    fields = ("labels", "annotations", "finalizers", "ownerReferences", "managedFields", "uid", "deletionTimestamp")
    odd = {"metadata": {"name": "odd", "resourceVersion": "11", **dict.fromkeys(fields, wrong)}}
    got: list[Obj] = []

    class Sink(Recorder):
        def replace(self, items: list[Obj], version: str) -> None:
            got.extend(items)
            super().replace(items, version)

        def event(self, type: str, obj: Obj) -> None:
            got.append(obj)
            super().event(type, obj)

    serve(
        api,
        [api.json({"items": [odd, wrong, {"metadata": wrong}, {}], "metadata": {"resourceVersion": "10"}})],
        [api.stream(orjson.dumps({"type": "ADDED", "object": odd}) + b"\n", then="hang")],
    )
    sink = Sink()
    async with running(api, sink):
        await sink.last("ADDED", "odd")
    assert [o["metadata"]["name"] for o in got] == ["odd", "odd"]
    for obj in got:
        meta = obj["metadata"]
        assert all(isinstance(text, str) for name in ("uid", "deletionTimestamp") if (text := meta.get(name, "")) != "")
        for name in ("labels", "annotations"):
            assert meta.get(name, {}) == {}
        assert all(isinstance(f, str) for f in meta.get("finalizers", []))
        assert all(isinstance(o, dict) for n in ("ownerReferences", "managedFields") for o in meta.get(n, []))


async def test_an_answer_that_is_no_list_is_not_an_empty_one(api: Any) -> None:
    """Otherwise, all objects of the kind would count as deleted."""
    failure = {"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": 403, "reason": "Forbidden"}
    serve(
        api,
        [api.json(failure), api.json({}), api.json({"items": "x"}), api.json(listed("a"))],
        [api.stream(then="hang")],
    )
    sink = Recorder()
    async with running(api, sink) as watch:
        assert await sink.count(1) == [("replace", ["a"])]
        assert watch.errors == 3


async def test_a_failing_sink_is_a_bug_that_surfaces(api: Any) -> None:
    """Even with an error that the watch itself would survive."""

    class Sink(Recorder):
        def replace(self, items: list[Obj], version: str) -> None:
            raise OSError("bug")

    serve(api, [api.json(listed())], [api.stream(line("ADDED", "a", 11), then="hang")])
    watch = Watch(api.client(), APPS, sink=Sink(), sleep=api.sleep)
    async with asyncio.timeout(4):
        with pytest.raises(OSError, match="bug"):
            await watch.run()
    assert not watch.connected


async def test_lines_of_megabytes_and_any_cut(api: Any) -> None:
    big = line("ADDED", "big", 11, data="x" * 3_000_000)
    stream = big + line("MODIFIED", "small", 12)
    chunks = [stream[i : i + 70_001] for i in range(0, len(stream), 70_001)]
    serve(api, [api.json(listed())], [api.stream(*chunks, then="hang")])
    sink = Recorder()
    async with running(api, sink):
        assert await sink.count(3) == [("replace", []), ("ADDED", "big"), ("MODIFIED", "small")]


async def test_a_burst_does_not_keep_the_loop(api: Any) -> None:
    burst = b"".join(line("ADDED", f"n{i}", 100 + i) for i in range(5000))
    serve(api, [api.json(listed())], [api.stream(burst, then="hang")])
    sink = Recorder()
    turns = 0

    async def spin() -> None:
        nonlocal turns
        while True:
            await asyncio.sleep(0)
            if len(sink.log) > 1:
                turns += 1

    async with running(api, sink):
        spinner = asyncio.get_running_loop().create_task(spin())
        await sink.count(5001)
        spinner.cancel()
        await asyncio.wait([spinner])
    assert turns >= 10


async def test_age_of_the_last_sign_of_life(api: Any) -> None:
    now = 100.0
    more = asyncio.Event()
    serve(api, [api.json(listed())], [api.stream(line("ADDED", "a", 11), then="hang", hold=more)])
    sink = Recorder()
    async with running(api, sink, clock=lambda: now) as watch:
        await sink.count(2)
        await asyncio.sleep(0)
        assert watch.last_event_age_s(now) == 0
        assert watch.last_event_age_s(142.0) == 42.0


async def test_counts_lists_and_failures(api: Any) -> None:
    metrics = Metrics()
    serve(
        api,
        [api.json(listed())],
        [api.stream(expired()), api.stream(b"x\n"), api.stream(line("ADDED", "a", 11), then="hang")],
    )
    sink = Recorder()
    async with running(api, sink, metrics=metrics):
        await sink.last(*("ADDED", "a"))
    text = metrics.render().decode()
    gvr = 'gvr="kro.run/v1, Resource=webapps"'
    assert f"kroasync_watch_relists_total{{{gvr}}} 2.0" in text
    assert f"kroasync_watch_errors_total{{{gvr}}} 1.0" in text
    assert f"dynamic_controller_informer_sync_duration_seconds_count{{{gvr}}} 1.0" in text


@given(
    st.lists(st.binary(min_size=1, max_size=20).filter(lambda b: b"\n" not in b), max_size=8),
    st.lists(st.integers(1, 30), max_size=20),
)
def test_lines_come_out_whole_however_they_are_cut(lines: list[bytes], sizes: list[int]) -> None:
    stream = b"".join(one + b"\n" for one in lines)
    reader = LineSplitter()
    got: list[bytes] = []
    for size in sizes:
        got += reader.feed(stream[:size]) if stream[:size] else []
        stream = stream[size:]
    got += reader.feed(stream) if stream else []
    assert got == lines


def test_empty_lines_mean_nothing() -> None:
    assert LineSplitter().feed(b"\n\na\n\n") == [b"a"]


def test_a_line_without_end_is_not_held_for_ever() -> None:
    reader = LineSplitter(limit=10)
    reader.feed(b"12345678")
    with pytest.raises(BadEventError, match="longer than 10 bytes"):
        reader.feed(b"9abc")


class Knowing(Recorder):
    """A sink that knows the versions of its objects."""

    def __init__(self) -> None:
        super().__init__()
        self.known: dict[tuple[str, str], str] = {}

    def replace(self, items: list[Obj], version: str) -> None:
        self.known = {("", i["metadata"]["name"]): i["metadata"]["resourceVersion"] for i in items}
        super().replace(items, version)

    def event(self, type: str, obj: Obj) -> None:
        place = ("", obj["metadata"]["name"])
        if type == "DELETED":
            self.known.pop(place, None)
        else:
            self.known[place] = obj["metadata"]["resourceVersion"]
        super().event(type, obj)


def later(*objs: Obj) -> Obj:
    return {"items": list(objs), "metadata": {"resourceVersion": "20"}}


BOOKMARK = line("BOOKMARK", version=20)


@pytest.mark.parametrize(
    ("there", "told"),
    [
        (later(obj("b", 1)), "one event"),
        (later(obj("a", 1), obj("b", 15)), "one event"),
        (later(obj("a", 1), obj("b", 1), obj("c", 15)), "one event"),
        (later(), "two events"),
    ],
    ids=["deletion", "change", "creation", "all"],
)
async def test_an_event_that_never_comes_is_noticed(
    api: Any, there: Obj, told: str, caplog: pytest.LogCaptureFixture
) -> None:
    """The objects a and b were listed with version 1; the watch delivers nothing."""
    watches = [api.stream(line("BOOKMARK", version=11)), api.stream(BOOKMARK, then="hang")]
    serve(api, [api.json(listed("a", "b")), api.json(there)], watches)
    sink, metrics = Knowing(), Metrics()
    async with running(api, sink, known=lambda: sink.known, compare_s=(0.0, 0.0), metrics=metrics):
        await sink.count(2)
    assert sink.known == {("", i["metadata"]["name"]): i["metadata"]["resourceVersion"] for i in there["items"]}
    count = 2 if told == "two events" else 1
    assert f"{count} events never arrived" in caplog.text
    assert f'kroasync_watch_lost_total{{gvr="{APPS}"}} {count}.0' in metrics.render().decode()


async def test_an_event_that_is_only_late_is_waited_for(api: Any) -> None:
    """Only metadata is compared, and nothing is listed again."""
    watches = [
        api.stream(line("BOOKMARK", version=11)),
        api.stream(line("DELETED", "a", 15), line("MODIFIED", "b", 16), line("ADDED", "c", 25), BOOKMARK, then="hang"),
    ]
    serve(api, [api.json(listed("a", "b")), api.json(later(obj("b", 16)))], watches)
    sink = Knowing()
    async with running(api, sink, known=lambda: sink.known, compare_s=(0.0, 0.0)) as watch:
        await sink.last("ADDED", "c")
        await asyncio.sleep(0.05)
        assert watch.relists == 0
    assert [what for what, _ in sink.log] == ["replace", "DELETED", "MODIFIED", "ADDED"]
    accepted = [seen.headers["Accept"] for seen in api.seen if "PartialObjectMetadataList" in seen.headers["Accept"]]
    assert len(accepted) == 1


async def test_watches_of_one_client_tell_an_outage_once(api: Any, caplog: pytest.LogCaptureFixture) -> None:
    away = api.json({"kind": "Status"}, 500)
    answers = [away] * 12

    async def answer(request: Any) -> Any:
        if answers:
            return await answers.pop()(request)
        return await (api.stream(then="hang") if "watch" in request.query else api.json(listed("a")))(request)

    api.on("GET", PATH, answer)
    client, sinks = api.client(), [Recorder() for _ in range(3)]
    watches = [Watch(client, APPS, sink=sink, sleep=api.sleep, rng=random.Random(1)) for sink in sinks]
    tasks = [asyncio.create_task(watch.run()) for watch in watches]
    for sink in sinks:
        await sink.count(1)
    async with asyncio.timeout(4):
        while not all(watch.connected for watch in watches):  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)
    told = [record.getMessage() for record in caplog.records]
    assert told == ["watches fail; retrying without further messages", "watches work again"]


async def test_a_list_from_before_what_was_told_is_not_believed(api: Any) -> None:
    """A stale replica of the API server would bring back deleted objects."""
    lists = [listed("a", "b"), listed("a", "b", version="11"), listed("b", version="30")]
    watches = [api.stream(line("DELETED", "a", 20), expired()), api.stream(then="hang")]
    serve(api, [api.json(found) for found in lists], watches)
    sink = Recorder()
    async with running(api, sink):
        await sink.last("replace", ["b"])
    assert sink.log == [("replace", ["a", "b"]), ("DELETED", "a"), ("replace", ["b"])]


async def test_a_store_restored_from_a_backup_is_believed_in_the_end(api: Any) -> None:
    lists = [listed("a", version="1000"), *([listed("b", version="5")] * 20)]
    serve(api, [api.json(found) for found in lists], [api.stream(expired()), api.stream(then="hang")])
    sink = Recorder()
    async with running(api, sink) as watch:
        await sink.last("replace", ["b"])
        assert watch.errors == 8
