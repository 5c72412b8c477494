"""The requests of the client, the results of its answers, and its retries."""

import asyncio
import logging
from typing import Any

import pytest
from aiohttp import web

from kroasync.kube.api_errors import (
    AlreadyExistsError,
    AnswerTooLongError,
    ApiError,
    ConflictError,
    FencedError,
    ForbiddenError,
    GoneError,
    InvalidError,
    NotFoundError,
    ServerError,
    ThrottledError,
    UnauthorizedError,
    UnreachableError,
)
from kroasync.kube.client import Client
from kroasync.kube.config import Connection
from kroasync.metrics import Metrics
from kroasync.model.objects import Key, Obj
from tests.samples import CONFIG_MAPS, DEPLOYMENTS, NODES

CM = Key(CONFIG_MAPS, "default", "a")
PATH = "/api/v1/namespaces/default/configmaps/a"
BUSY = {"kind": "Status", "reason": "TooManyRequests", "message": "busy"}


async def test_get_asks_for_json_under_the_objects_path(api: Any) -> None:
    api.on("GET", PATH, api.json({"kind": "ConfigMap"}))
    assert await api.client().get(CM) == {"kind": "ConfigMap"}
    assert api.seen[0].headers["Accept"] == "application/json"
    assert api.seen[0].headers["User-Agent"] == "kroasync"


@pytest.mark.parametrize(
    ("call", "method", "path", "query", "content_type", "body"),
    [
        (
            lambda c: c.create(CM, {"data": {"é": "1"}}, manager="m"),
            "POST",
            "/api/v1/namespaces/default/configmaps",
            {"fieldManager": "m"},
            "application/json",
            {"data": {"é": "1"}},
        ),
        (
            lambda c: c.apply(Key(DEPLOYMENTS, "ns", "d"), {"a": 1}, manager="kro.run/applyset", force=True),
            "PATCH",
            "/apis/apps/v1/namespaces/ns/deployments/d",
            {"fieldManager": "kro.run/applyset", "force": "true"},
            "application/apply-patch+yaml",
            {"a": 1},
        ),
        (
            lambda c: c.apply(CM, {"a": 1}, manager="m", force=False, subresource="status"),
            "PATCH",
            PATH + "/status",
            {"fieldManager": "m", "force": "false"},
            "application/apply-patch+yaml",
            {"a": 1},
        ),
        (
            lambda c: c.merge_patch(CM, {"a": None}, manager="m", subresource="status"),
            "PATCH",
            PATH + "/status",
            {"fieldManager": "m"},
            "application/merge-patch+json",
            {"a": None},
        ),
        (
            lambda c: c.put(Key(NODES, "", "n"), {"s": 1}, manager="m"),
            "PUT",
            "/api/v1/nodes/n",
            {"fieldManager": "m"},
            "application/json",
            {"s": 1},
        ),
        (
            lambda c: c.delete(CM, uid="u", version="5", propagation="Background"),
            "DELETE",
            PATH,
            {},
            "application/json",
            {
                "apiVersion": "v1",
                "kind": "DeleteOptions",
                "preconditions": {"uid": "u", "resourceVersion": "5"},
                "propagationPolicy": "Background",
            },
        ),
        (
            lambda c: c.delete(CM),
            "DELETE",
            PATH,
            {},
            "application/json",
            {"apiVersion": "v1", "kind": "DeleteOptions"},
        ),
    ],
)
async def test_form_of_every_write(
    api: Any, call: Any, method: str, path: str, query: dict[str, str], content_type: str, body: Any
) -> None:
    api.on(method, path, api.json({"kind": "ConfigMap", "done": True}))
    assert (await call(api.client()))["done"] is True
    seen = api.seen[0]
    assert (seen.query, seen.headers["Content-Type"], seen.json()) == (query, content_type, body)


async def test_deletion_that_is_done_answers_none(api: Any) -> None:
    api.on("DELETE", PATH, api.json({"kind": "Status", "status": "Success"}))
    assert await api.client().delete(CM) is None


async def test_deletion_of_nothing_raises(api: Any) -> None:
    with pytest.raises(NotFoundError):
        await api.client().delete(CM)


@pytest.mark.parametrize("name", ["..", ".", "a/b", "a/../../secrets/x", "a%2fb"])
async def test_a_name_cannot_lead_to_another_path(api: Any, name: str) -> None:
    with pytest.raises(InvalidError):
        await api.client().get(Key(CONFIG_MAPS, "default", name))
    with pytest.raises(InvalidError):
        await api.client().get(Key(CONFIG_MAPS, name, "x"))
    assert api.seen == []


@pytest.mark.parametrize("name", ["system:node", "a?b", "a#b", "a b", "ü"])
async def test_unusual_names_arrive_as_they_are(api: Any, name: str) -> None:
    api.on("GET", f"/api/v1/nodes/{name}", api.json({"kind": "Node"}))
    assert await api.client().get(Key(NODES, "", name)) == {"kind": "Node"}


@pytest.mark.parametrize("body", [{"a": 2**65}, {"a": "\ud800"}, {"a": object()}])
async def test_what_is_no_json_is_refused_before_it_is_sent(api: Any, body: Any) -> None:
    with pytest.raises(InvalidError, match="not JSON"):
        await api.client().create(CM, body)
    assert api.seen == []


async def test_list_reads_every_page_and_types_the_items(api: Any) -> None:
    path = "/apis/apps/v1/namespaces/ns/deployments"
    api.on(
        "GET",
        path,
        api.json({"items": [{"metadata": {"name": "a"}}], "metadata": {"resourceVersion": "7", "continue": "t&="}}),
        api.json({"items": [{"metadata": {"name": "b"}}], "metadata": {"resourceVersion": "7"}}),
    )
    items, version = await api.client().list(
        DEPLOYMENTS, "ns", label_selector="a in (b,c)", field_selector="metadata.name=x", limit=1
    )
    assert version == "7"
    assert items == [{"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name}} for name in "ab"]
    selectors = {"labelSelector": "a in (b,c)", "fieldSelector": "metadata.name=x", "limit": "1"}
    assert [s.query for s in api.seen] == [selectors, {**selectors, "continue": "t&="}]


async def test_list_keeps_of_each_object_what_it_is_told_to(api: Any) -> None:
    item = {"metadata": {"name": "a"}, "spec": {"big": "x"}}
    api.on("GET", "/api/v1/nodes", api.json({"items": [item], "metadata": {"resourceVersion": "7"}}))
    items, _ = await api.client().list(NODES, keep=lambda obj: {"name": obj["metadata"]["name"], "kind": obj["kind"]})
    assert items == [{"name": "a", "kind": "Node"}]


async def test_list_begins_again_when_its_snapshot_expires(api: Any) -> None:
    item = {"metadata": {"name": "a"}}
    api.on(
        "GET",
        "/api/v1/nodes",
        api.json({"items": [item], "metadata": {"resourceVersion": "7", "continue": "t"}}),
        api.json({"kind": "Status", "reason": "Expired"}, 410),
        api.json({"items": [item, item], "metadata": {"resourceVersion": "9"}}),
    )
    items, version = await api.client().list(NODES)
    assert (len(items), version) == (2, "9")
    assert ["continue" in s.query for s in api.seen] == [False, True, False]
    assert all("limit" in s.query for s in api.seen)


async def test_list_gives_up_when_snapshots_go_on_expiring(api: Any) -> None:
    first = api.json({"items": [{}], "metadata": {"resourceVersion": "7", "continue": "t"}})
    expired = api.json({"kind": "Status", "reason": "Expired"}, 410)
    api.on("GET", "/api/v1/nodes", *(first, expired) * 4)
    with pytest.raises(GoneError):
        await api.client().list(NODES)
    assert len(api.seen) == 6


class Shelf:
    """A server that answers a list page by page; every item is a node with a text of its size."""

    def __init__(self, sizes: list[int]) -> None:
        self.sizes = sizes
        self.limits: list[int] = []

    async def __call__(self, request: web.Request) -> web.StreamResponse:
        begin, limit = int(request.query.get("continue") or 0), int(request.query["limit"])
        self.limits.append(limit)
        sizes = self.sizes[begin : begin + limit]
        items = [{"metadata": {"name": f"n{begin + n}"}, "text": "x" * size} for n, size in enumerate(sizes)]
        rest = {"continue": str(begin + limit)} if begin + limit < len(self.sizes) else {}
        return web.json_response({"items": items, "metadata": {"resourceVersion": "7", **rest}})


@pytest.mark.parametrize(
    ("sizes", "limits"),
    [
        ([100] * 20, [32]),
        ([100] * 600, [32, 256, 500]),
        ([100_000] * 60, [32, 20, 20]),
        ([1_000_000] * 6, [32, 4, 2]),
        ([3_000_000] * 3, [32, 4, 1, 1, 1]),
        ([9_000_000] * 2, [32, 4, 1, 1]),
        ([100] * 40 + [2_000_000] * 4, [32, 256, 32, 4, 8, 1, 2, 4, 1, 2, 1, 1]),
    ],
)
async def test_a_page_has_no_more_than_some_megabytes(api: Any, sizes: list[int], limits: list[int]) -> None:
    """The previous page determines the number of items; a page that is too long is requested again with fewer items."""
    shelf = Shelf(sizes)
    api.on("GET", "/api/v1/nodes", shelf)
    names, version = await api.client().list(NODES, keep=lambda obj: (obj["metadata"]["name"], len(obj["text"])))
    assert names == [(f"n{number}", size) for number, size in enumerate(sizes)]
    assert version == "7"
    assert shelf.limits == limits


async def test_an_object_no_api_server_could_store_is_not_read(api: Any) -> None:
    api.on("GET", "/api/v1/nodes", Shelf([20_000_000]))
    with pytest.raises(AnswerTooLongError, match="more than 16777216 bytes"):
        await api.client().list(NODES)


async def test_list_of_null_items_is_empty(api: Any) -> None:
    api.on("GET", "/api/v1/nodes", api.json({"items": None, "metadata": {"resourceVersion": "1"}}))
    assert await api.client().list(NODES) == ([], "1")


@pytest.mark.parametrize("code", [429, 503])
async def test_waits_as_told_and_asks_again(api: Any, code: int) -> None:
    api.on("PATCH", PATH, api.json(BUSY, code, {"Retry-After": "2"}), api.json({"kind": "ConfigMap"}))
    await api.client().merge_patch(CM, {}, manager="m")
    assert api.slept == [2.0]


async def test_gives_up_after_four_attempts_and_never_waits_long(api: Any) -> None:
    api.on("GET", PATH, api.json(BUSY, 429, {"Retry-After": "9999"}))
    with pytest.raises(ThrottledError) as caught:
        await api.client().get(CM)
    assert caught.value.retry_after_s == 9999.0
    assert api.slept == [30.0] * 3


async def test_refusals_without_a_time_are_the_callers_business(api: Any) -> None:
    api.on("GET", PATH, api.json(BUSY, 429))
    with pytest.raises(ThrottledError):
        await api.client().get(CM)
    assert len(api.seen) == 1


async def test_a_read_survives_a_lost_connection(api: Any) -> None:
    api.on("GET", PATH, api.cut(), api.cut(), api.json({"kind": "ConfigMap"}))
    assert await api.client().get(CM) == {"kind": "ConfigMap"}


async def test_a_write_whose_connection_is_lost_may_be_done(api: Any) -> None:
    api.on("PATCH", PATH, api.cut())
    with pytest.raises(UnreachableError) as caught:
        await api.client().merge_patch(CM, {}, manager="m")
    assert caught.value.maybe_done
    assert len(api.seen) == 1


async def test_a_refused_connection_has_changed_nothing(unused_tcp_port: int) -> None:
    connection = Connection(f"http://127.0.0.1:{unused_tcp_port}")
    try:
        with pytest.raises(UnreachableError) as caught:
            await Client(connection).merge_patch(CM, {}, manager="m")
    finally:
        await connection.close()
    assert not caught.value.maybe_done


async def test_the_deadline_of_a_request(api: Any) -> None:
    api.on("POST", "/x", api.silent())
    with pytest.raises(UnreachableError) as caught:
        await api.client().request("POST", "/x", body={}, timeout_s=0.02)
    assert (caught.value.reason, caught.value.maybe_done) == ("Timeout", True)


async def test_a_read_is_not_repeated_after_its_deadline(api: Any) -> None:
    api.on("GET", "/x", api.silent())
    with pytest.raises(UnreachableError):
        await api.client().request("GET", "/x", timeout_s=0.02)
    assert len(api.seen) == 1


@pytest.mark.parametrize("body", ["<html>", "[1]", "", '"x"'])
async def test_success_without_an_object_is_a_server_error(api: Any, body: str) -> None:
    api.on("GET", PATH, api.text(body))
    with pytest.raises(ServerError) as caught:
        await api.client().get(CM)
    assert caught.value.reason == "NotJSON"


@pytest.mark.parametrize(
    ("status", "error"),
    [
        ({"code": 403, "reason": "Forbidden"}, ForbiddenError),
        ({"code": 409, "reason": "AlreadyExists"}, AlreadyExistsError),
        ({"code": "409"}, ServerError),
        ({}, ServerError),
    ],
)
async def test_a_failure_is_one_whatever_the_http_status(api: Any, status: Obj, error: type[ApiError]) -> None:
    api.on("GET", PATH, api.json({"kind": "Status", "apiVersion": "v1", "status": "Failure", **status}))
    with pytest.raises(error):
        await api.client().get(CM)


async def test_an_object_of_a_kind_named_status_is_none(api: Any) -> None:
    obj = {"kind": "Status", "apiVersion": "kro.run/v1", "status": "Failure"}
    api.on("GET", PATH, api.json(obj))
    assert await api.client().get(CM) == obj


async def test_an_object_that_cannot_be_kept_is_left_out_of_the_list(api: Any) -> None:
    items = [{"metadata": {"name": name}, "spec": spec} for name, spec in (("a", {"x": 1}), ("odd", None))]
    api.on("GET", "/api/v1/nodes", api.json({"items": items, "metadata": {"resourceVersion": "7"}}))
    found, _ = await api.client().list(NODES, keep=lambda obj: {"x": obj["spec"]["x"]})
    assert found == [{"x": 1}]


async def test_redirects_are_not_followed(api: Any) -> None:
    """A credential must not be sent to the target of a redirect."""
    api.on("GET", PATH, api.text("", 302, {"Location": "http://127.0.0.1:1/"}))
    with pytest.raises(Exception, match="302"):
        await api.client().get(CM)


async def test_conflicts_and_expiry_surface(api: Any) -> None:
    api.on("PUT", PATH, api.json({"kind": "Status", "reason": "Conflict"}, 409))
    with pytest.raises(ConflictError):
        await api.client().put(CM, {}, manager="m")
    api.on("GET", PATH, api.json({"kind": "Status", "reason": "Gone"}, 410))
    with pytest.raises(GoneError):
        await api.client().get(CM)
    assert len(api.seen) == 2


async def test_no_more_requests_at_once_than_allowed(api: Any) -> None:
    running = 0
    most = 0

    async def answer(_request: Any) -> Any:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(0.001)
        running -= 1
        return await api.json({})(None)

    api.on("GET", PATH, answer)
    client = api.client(concurrency=3)
    async with asyncio.TaskGroup() as tasks:
        for _ in range(12):
            tasks.create_task(client.get(CM))
    assert most == 3


class Tokens:
    """A credential source that counts its calls."""

    def __init__(self, *values: str | Exception) -> None:
        self.values = list(values)
        self.forced: list[bool] = []

    async def __call__(self, force: bool) -> str | None:
        self.forced.append(force)
        value = self.values.pop(0) if len(self.values) > 1 else self.values[0]
        if isinstance(value, Exception):
            raise value
        return f"Bearer {value}"


@pytest.fixture
async def connect(api: Any) -> Any:
    made: list[Connection] = []

    def make(tokens: Tokens, **options: Any) -> Client:
        made.append(Connection(api.url, refresh=tokens, **options))
        return Client(made[-1], sleep=api.sleep)

    yield make
    for connection in made:
        await connection.close()


async def test_the_credential_is_sent_and_not_asked_for_again(api: Any, connect: Any) -> None:
    api.on("GET", PATH, api.json({}))
    tokens = Tokens("one")
    client = connect(tokens)
    await client.get(CM)
    await client.get(CM)
    assert [s.headers["Authorization"] for s in api.seen] == ["Bearer one"] * 2
    assert tokens.forced == [False]


async def test_the_credential_is_renewed_in_time(api: Any, connect: Any) -> None:
    api.on("GET", PATH, api.json({}))
    now = 0.0
    client = connect(Tokens("one", "two"), clock=lambda: now)
    await client.get(CM)
    now = 31.0
    await client.get(CM)
    assert [s.headers["Authorization"] for s in api.seen] == ["Bearer one", "Bearer two"]


async def test_a_401_renews_the_credential_once(api: Any, connect: Any) -> None:
    api.on("PATCH", PATH, api.json({"kind": "Status"}, 401), api.json({}))
    tokens = Tokens("old", "new")
    await connect(tokens).merge_patch(CM, {}, manager="m")
    assert [s.headers["Authorization"] for s in api.seen] == ["Bearer old", "Bearer new"]
    assert tokens.forced == [False, True]


async def test_a_401_with_nothing_newer_surfaces(api: Any, connect: Any) -> None:
    api.on("GET", PATH, api.json({"kind": "Status"}, 401))
    with pytest.raises(UnauthorizedError):
        await connect(Tokens("old")).get(CM)
    assert len(api.seen) == 1


async def test_a_failing_renewal_goes_on_with_the_old_credential(api: Any, connect: Any) -> None:
    api.on("GET", PATH, api.json({}))
    now = 0.0
    tokens = Tokens("one", RuntimeError("plugin broken"))
    client = connect(tokens, clock=lambda: now)
    await client.get(CM)
    now = 31.0
    await client.get(CM)
    await client.get(CM)
    assert [s.headers["Authorization"] for s in api.seen] == ["Bearer one"] * 3
    assert len(tokens.forced) == 2


@pytest.mark.parametrize("token", [RuntimeError("no plugin"), "a\r\nX-Evil: 1", "tökén"])
async def test_no_usable_credential_is_unauthorized(api: Any, connect: Any, token: Any) -> None:
    with pytest.raises(UnauthorizedError):
        await connect(Tokens(token)).get(CM)
    assert api.seen == []


async def test_simultaneous_requests_renew_once(api: Any, connect: Any) -> None:
    api.on("GET", PATH, api.json({}))
    tokens = Tokens("one")
    client = connect(tokens)
    async with asyncio.TaskGroup() as group:
        for _ in range(10):
            group.create_task(client.get(CM))
    assert tokens.forced == [False]


async def test_warnings_are_logged_once(api: Any, caplog: pytest.LogCaptureFixture) -> None:
    api.on("GET", PATH, api.json({}, headers={"Warning": '299 - "deprecated"'}))
    client = api.client()
    with caplog.at_level(logging.INFO, "kube.client"):
        await client.get(CM)
        await client.get(CM)
    assert [r.getMessage() for r in caplog.records] == ['the API server warns: 299 - "deprecated"']


async def test_warnings_about_a_confidential_object_are_not_logged(api: Any, caplog: pytest.LogCaptureFixture) -> None:
    api.on("PATCH", PATH, api.json({}, headers={"Warning": '299 - "hunter2"'}))
    client = api.client()
    with caplog.at_level(logging.DEBUG):
        await client.apply(CM, {}, manager="m", force=True, confidential=True)
        assert "hunter2" not in caplog.text
        await client.apply(CM, {}, manager="m", force=True)
        assert "hunter2" in caplog.text


@pytest.mark.parametrize(
    ("body", "is_quoted"), [('{"kind":"Secret","data":{"a":"hunter2"', False), ("<p>hunter2", True)]
)
async def test_what_is_cut_off_of_an_object_is_not_quoted(api: Any, body: str, is_quoted: bool) -> None:
    api.on("GET", PATH, api.text(body))
    with pytest.raises(ServerError) as caught:
        await api.client().get(CM)
    assert ("hunter2" in str(caught.value)) is is_quoted


async def test_requests_are_counted(api: Any) -> None:
    api.on("GET", PATH, api.json({}), api.json(BUSY, 429, {"Retry-After": "0"}), api.json({}))
    metrics = Metrics()
    client = api.client(metrics=metrics)
    await client.get(CM)
    await client.get(CM)
    text = metrics.render().decode()
    host = client.connection.base_url.removeprefix("http://")
    assert f'rest_client_requests_total{{code="200",host="{host}",method="GET"}} 2.0' in text
    assert f'rest_client_requests_total{{code="429",host="{host}",method="GET"}} 1.0' in text
    assert 'rest_client_request_retries_total{code="429",method="GET"} 1.0' in text
    assert 'rest_client_request_duration_seconds_count{verb="GET"} 3.0' in text


async def test_the_address_of_the_server_shows_no_password_in_metrics(api: Any) -> None:
    api.on("GET", PATH, api.json({}))
    metrics, host = Metrics(), api.url.removeprefix("http://")
    connection = Connection(f"http://me:hunter2@{host}")
    try:
        await Client(connection, metrics=metrics).get(CM)
    finally:
        await connection.close()
    text = metrics.render().decode()
    assert f'rest_client_requests_total{{code="200",host="{host}",method="GET"}} 1.0' in text
    assert "hunter2" not in text


async def test_a_base_url_with_a_path_is_kept(api: Any) -> None:
    """Rancher and other proxies serve clusters below a path."""
    api.on("GET", "/k8s/clusters/c-1" + PATH, api.json({"kind": "ConfigMap"}))
    connection = Connection(api.url + "/k8s/clusters/c-1/")
    try:
        assert await Client(connection).get(CM) == {"kind": "ConfigMap"}
    finally:
        await connection.close()


# Fencing

WRITES = [
    pytest.param(lambda c: c.create(CM, {}), id="create"),
    pytest.param(lambda c: c.apply(CM, {}, manager="m", force=True), id="apply"),
    pytest.param(lambda c: c.merge_patch(CM, {}, manager="m"), id="merge patch"),
    pytest.param(lambda c: c.put(CM, {}, manager="m"), id="put"),
    pytest.param(lambda c: c.delete(CM), id="delete"),
    pytest.param(lambda c: c.request("POST", "/apis/authorization.k8s.io/v1/subjectaccessreviews"), id="no body"),
]


@pytest.mark.parametrize("write", WRITES)
async def test_who_may_not_write_sends_no_write(api: Any, write: Any) -> None:
    with pytest.raises(FencedError, match="not certain to lead"):
        await write(api.client(may_write=lambda: False))
    assert api.seen == []


@pytest.mark.parametrize("write", WRITES[:-1])
async def test_permission_is_asked_for_again_when_the_bytes_leave(api: Any, write: Any) -> None:
    """Meanwhile, the client may have opened a connection, or the process may have been stopped."""
    answers = iter([True, False])
    client = api.client(may_write=lambda: next(answers))
    with pytest.raises(FencedError):
        await write(client)
    api.on("GET", PATH, api.json({"kind": "ConfigMap"}))
    await client.get(CM)
    assert [seen.method for seen in api.seen] == ["GET"]


async def test_who_may_not_write_may_read(api: Any) -> None:
    api.on("GET", PATH, api.json({"kind": "ConfigMap"}))
    assert await api.client(may_write=lambda: False).get(CM) == {"kind": "ConfigMap"}


@pytest.mark.parametrize("retry_after", [1, 20])
async def test_permission_is_asked_for_at_every_attempt(api: Any, retry_after: int) -> None:
    api.on("DELETE", PATH, api.json(BUSY, 429, {"Retry-After": str(retry_after)}))
    client = api.client(may_write=lambda: len(api.seen) < 2)
    with pytest.raises(FencedError):
        await client.delete(CM)
    assert len(api.seen) == 2


async def test_permission_is_asked_for_after_waiting_for_a_turn(api: Any) -> None:
    allowed, hold = True, asyncio.Event()

    async def slow(_request: Any) -> Any:
        await hold.wait()
        return await api.json({"kind": "ConfigMap"})(_request)

    api.on("PUT", PATH, slow)
    client = api.client(may_write=lambda: allowed, concurrency=1)
    first = asyncio.create_task(client.put(CM, {}, manager="m"))
    while not api.seen:  # noqa: ASYNC110 - until the server has it
        await asyncio.sleep(0.001)
    second = asyncio.create_task(client.put(CM, {}, manager="m"))
    await asyncio.sleep(0)
    allowed = False
    hold.set()
    assert await first == {"kind": "ConfigMap"}
    with pytest.raises(FencedError):
        await second
    assert len(api.seen) == 1


async def test_a_client_that_ends_lets_writes_under_way_be_answered_and_sends_no_more(api: Any) -> None:
    hold = asyncio.Event()

    async def slow(_request: Any) -> Any:
        await hold.wait()
        return await api.json({"kind": "ConfigMap"})(_request)

    api.on("PUT", PATH, slow)
    client = api.client()
    await client.writes_answered()
    under_way = asyncio.create_task(client.put(CM, {}, manager="m"))
    while not api.seen:  # noqa: ASYNC110 - until the server has it
        await asyncio.sleep(0.001)
    client.refuse_writes()
    with pytest.raises(FencedError, match="ending"):
        await client.put(CM, {}, manager="m")
    answered = asyncio.create_task(client.writes_answered())
    await asyncio.sleep(0.01)
    assert not answered.done()
    hold.set()
    await answered
    assert await under_way == {"kind": "ConfigMap"}
    assert len(api.seen) == 1
    assert not client.left_unanswered


@pytest.mark.parametrize("end", ["cancelled", "cut"])
async def test_a_client_that_ends_knows_of_writes_without_an_answer(api: Any, end: str) -> None:
    hold = asyncio.Event()

    async def cut(request: Any) -> Any:
        await hold.wait()
        return await api.cut()(request)

    api.on("PUT", PATH, cut)
    client = api.client()
    under_way = asyncio.create_task(client.put(CM, {}, manager="m"))
    while not api.seen:  # noqa: ASYNC110 - until the server has it
        await asyncio.sleep(0.001)
    client.refuse_writes()
    assert not client.left_unanswered
    if end == "cut":
        hold.set()
    else:
        under_way.cancel()
    await client.writes_answered()
    assert client.left_unanswered
    hold.set()
    await asyncio.wait([under_way])
    assert under_way.cancelled() or isinstance(under_way.exception(), UnreachableError)
