"""Raw JSON requests to the API server, on plain dicts.

A call costs one aiohttp request and two orjson calls: no models, no discovery. Every refusal is an ApiError. The
client retries only requests that the server did not process (429 and 503 with Retry-After), reads whose connection
failed, and one request after a 401 if there is a newer credential. The caller decides about everything else.

Every request that is not a GET is a write. Before each attempt of a write, the client checks that this process may
still write. If not, it raises FencedError and sends nothing.
"""

import asyncio
import builtins
import logging
import re
import time
from collections import OrderedDict
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import quote, urlencode

import aiohttp
import orjson
from aiohttp.abc import AbstractStreamWriter
from yarl import URL

from kroasync.kube.api_errors import (
    AnswerTooLongError,
    ApiError,
    FencedError,
    GoneError,
    InvalidError,
    ServerError,
    ThrottledError,
    UnauthorizedError,
    UnreachableError,
    error_of,
    error_of_status,
    is_failure,
)
from kroasync.kube.config import ConfigError, Connection
from kroasync.kube.decoding import decoded, tidy
from kroasync.kube.lanes import Lanes
from kroasync.kube.outage import Outage, Stumbles
from kroasync.kube.standing import Standing
from kroasync.metrics import Metrics
from kroasync.model.objects import Key, Obj, Resource, metadata, name_of, namespace_of, version_of

log = logging.getLogger("kube.client")

JSON: Final = "application/json"
# A list with only the metadata of each object, if the server supports it; whole objects work, too.
METADATA_ONLY: Final = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1,application/json"
MERGE_PATCH: Final = "application/merge-patch+json"
JSON_PATCH: Final = "application/json-patch+json"
# JSON is YAML, so an apply needs no YAML writer.
APPLY_PATCH: Final = "application/apply-patch+yaml"

_ATTEMPTS: Final = 4
_RETRY_AFTER_LIMIT_S: Final = 30.0
_GET_RETRY_S: Final = 0.1
_WARNINGS_KEPT: Final = 256
_QUERIES_KEPT: Final = 64
# The names of further unreadable objects are not logged.
_ODD_KEPT: Final = 256
_PAGE_ITEMS: Final = 500
# The number of items on the first page of a list, and the factor by which the next page may grow or must shrink.
_FIRST_PAGE: Final = 32
_PAGE_GROWTH: Final = 8
# The desired size of a page, the limit of a page, and the limit of a page with a single object: JSON writes a byte
# with at most six bytes, and the store accepts 1.5 MiB.
_PAGE_BYTES: Final = 2 << 20
_PAGE_BYTES_MOST: Final = 4 << 20
OBJECT_BYTES_MOST: Final = 16 << 20
# The number of pages of all lists that are in memory at the same time.
_PAGES_AT_ONCE: Final = 4
# How often a list is started whose snapshot expires between two pages.
_SNAPSHOTS: Final = 3
_DEFAULT_TIMEOUT_S: Final = 30.0
_PLAIN: Final = re.compile(r"[A-Za-z0-9/._-]+")
_SAFE: Final = "/:@!$&'()*+,;=-._~"
# Whether the current request contains an object that must not be quoted.
_confidential: Final[ContextVar[bool]] = ContextVar("confidential", default=False)


class Client:
    """Calls over one Connection, at most `concurrency` at a time. Watches and long requests do not count (`lanes`).

    Without `may_write`, all writes are allowed. Otherwise every write calls it, so it must return immediately.
    """

    def __init__(
        self,
        connection: Connection,
        *,
        metrics: Metrics | None = None,
        concurrency: int = 32,
        may_write: Callable[[], bool] | None = None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self.connection = connection
        self.metrics = metrics
        # Without the user and password that the address of a kubeconfig may have.
        self._host = URL(connection.base_url).authority.rpartition("@")[2]
        self.standing = Standing(time.monotonic)
        self.outage = Outage()
        self.stumbles = Stumbles()
        # Only one watch at a time compares its cache with the server.
        self.comparing = asyncio.Lock()
        self._may_write = may_write
        self._is_closed = False
        self._left_unanswered = False
        self._writes = 0
        self._unwritten = asyncio.Event()
        self._unwritten.set()
        self._lanes = Lanes(concurrency)
        self._pages_at_once = asyncio.Semaphore(_PAGES_AT_ONCE)
        self._sleep = sleep
        self._timeouts: dict[float, aiohttp.ClientTimeout] = {}
        self._queries: dict[tuple[tuple[str, str], ...], str] = {}
        self._warned: OrderedDict[str, None] = OrderedDict()
        self._odd: set[str] = set()

    async def request(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        body: Obj | Sequence[Any] | bytes | None = None,
        content_type: str = JSON,
        timeout_s: float = _DEFAULT_TIMEOUT_S,
    ) -> Obj:
        """The JSON object that the server answers; raises ApiError. `path` may contain a query."""
        content = await self.raw(method, path, query=query, body=body, content_type=content_type, timeout_s=timeout_s)
        return _object(method, path, content)

    async def raw(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        body: Obj | Sequence[Any] | bytes | None = None,
        content_type: str = JSON,
        accept: str = "",
        timeout_s: float = _DEFAULT_TIMEOUT_S,
        most_bytes: int | None = None,
    ) -> bytes:
        """The unparsed body of a successful answer; raises AnswerTooLongError if it has more than `most_bytes`."""
        url = self._url(path, query)
        data = _encoded(body)
        renewed = False
        for attempt in range(1, _ATTEMPTS + 1):
            headers = await self._headers()
            sent = {**headers, "Accept": accept} if accept else headers
            try:
                async with self._lanes.place():
                    content = await self._send(method, url, sent, data, content_type, timeout_s, most_bytes)
                self.standing.answered(None)
                if method != "GET":
                    self.stumbles.wrote()
                return content
            except UnauthorizedError as error:
                self.standing.answered(error)
                if renewed or not await self.connection.renew(headers):
                    raise
                renewed = True
            except (ThrottledError, ServerError, UnreachableError) as error:
                delay_s = _retry_delay_s(method, error)
                if delay_s is None or attempt == _ATTEMPTS:
                    raise
                if self.metrics:
                    self.metrics.rest_client_request_retries_total.inc(str(error.status), method)
                await self._sleep(delay_s)
            except ApiError as error:
                if error.status:
                    self.standing.answered(error)
                raise
        raise AssertionError("the last attempt returns or raises")

    async def _send(
        self,
        method: str,
        url: URL,
        headers: Mapping[str, str],
        data: bytes | None,
        content_type: str,
        timeout_s: float,
        most_bytes: int | None,
    ) -> bytes:
        body: _Body | None = None
        if data is not None:
            headers = {**headers, "Content-Type": content_type}
            body = _Body(data, lambda: self._permit(method))
        with self._sending(method):
            started = time.perf_counter()
            status = 0
            content = b""
            try:
                async with self.connection.requests.request(
                    method,
                    url,
                    headers=headers,
                    data=body,
                    timeout=self._timeout(timeout_s),
                    allow_redirects=False,
                    **self.connection.options,
                ) as response:
                    status = response.status
                    content = await self._body(response, most_bytes)
                    if "Warning" in response.headers and not _confidential.get():
                        self._warn(response.headers.getall("Warning"))
            except (aiohttp.ClientError, OSError, TimeoutError) as error:
                if isinstance(error.__cause__, FencedError):
                    raise error.__cause__ from None
                raise unreachable(method, url, error) from error
            finally:
                if self.metrics:
                    seconds = time.perf_counter() - started
                    sizes = (len(data or b""), len(content))
                    self.metrics.request_done(method, status, seconds, *sizes, host=self._host)
        if 200 <= status < 300:
            return content
        raise error_of(status, content, response.headers)

    async def _body(self, response: aiohttp.ClientResponse, most_bytes: int | None) -> bytes:
        if most_bytes is None:
            return await response.read()
        # Acquired only when the answer has started: a server that does not answer must not block the lists of others.
        async with self._pages_at_once:
            parts: list[bytes] = []
            left = most_bytes
            async for part in response.content.iter_any():
                left -= len(part)
                if left < 0:
                    raise AnswerTooLongError(f"GET {response.url.path}: the answer has more than {most_bytes} bytes")
                parts.append(part)
            return b"".join(parts)

    def refuse_writes(self) -> None:
        """Send no more writes. Writes in flight continue."""
        self._is_closed = True

    async def writes_answered(self) -> None:
        """Wait until no write is in flight. A write that waits for a retry is not in flight."""
        await self._unwritten.wait()

    @property
    def left_unanswered(self) -> bool:
        """Whether a write that was in flight at `refuse_writes` ended without an answer: it may still arrive."""
        return self._left_unanswered

    def _permit(self, method: str) -> None:
        """Raises FencedError if a request with this method must not be sent now."""
        if method == "GET":
            return
        if self._is_closed:
            raise FencedError("not sent: this process is ending")
        if self._may_write is not None and not self._may_write():
            raise FencedError("not sent: this process is not certain to lead")

    @contextmanager
    def _sending(self, method: str) -> Iterator[None]:
        """Encloses one attempt of a request: checks and counts writes."""
        if method == "GET":
            yield
            return
        self._permit(method)
        self._writes += 1
        self._unwritten.clear()
        try:
            yield
        except FencedError:
            raise
        except BaseException:
            self._left_unanswered = self._left_unanswered or self._is_closed
            raise
        finally:
            self._writes -= 1
            if not self._writes:
                self._unwritten.set()

    @asynccontextmanager
    async def stream(self, path: str, query: Mapping[str, str]) -> AsyncIterator[aiohttp.ClientResponse]:
        """A GET whose answer is read as it arrives (a watch), over the session for watches; raises ApiError."""
        url = self._url(path, query)
        headers = await self._headers()
        try:
            response = await self.connection.watches.get(
                url, headers=headers, allow_redirects=False, **self.connection.options
            )
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            raise unreachable("GET", url, error) from error
        try:
            if response.status != 200:
                if response.status == 401:
                    await self.connection.renew(headers)
                raise error_of(response.status, await response.read(), response.headers)
            self.standing.answered(None)
            yield response
        finally:
            # The connection of an unfinished answer cannot be reused. Closing it ends the watch.
            response.close()

    async def get(self, key: Key) -> Obj:
        return await self.request("GET", path_of(key))

    async def list(
        self,
        resource: Resource,
        namespace: str = "",
        *,
        label_selector: str = "",
        field_selector: str = "",
        limit: int = _PAGE_ITEMS,
        keep: Callable[[Obj], Any] | None = None,
        most: int | None = None,
    ) -> tuple[list[Any], str]:
        """Every object, with `apiVersion` and `kind` filled in, and the resourceVersion of the whole list.

        A page has at most `limit` items and a few megabytes, however large the objects are. Only the result of `keep`
        for each object outlives its page. After `most` objects, no more pages are read. If the snapshot expires between
        two pages, the list starts again; raises GoneError if that happens repeatedly.
        """
        pages = _Pages(
            resource, namespace, _selectors(label_selector, field_selector), min(limit, most or limit), "", most
        )
        return await self._snapshot(pages, keep)

    async def versions(
        self,
        resource: Resource,
        namespace: str = "",
        *,
        label_selector: str = "",
        field_selector: str = "",
    ) -> tuple[dict[tuple[str, str], str], str]:
        """The resourceVersion of every object, by namespace and name, and of the whole list; read in pages."""
        pages = _Pages(resource, namespace, _selectors(label_selector, field_selector), _PAGE_ITEMS, METADATA_ONLY)
        found, version = await self._snapshot(pages, lambda obj: ((namespace_of(obj), name_of(obj)), version_of(obj)))
        return dict(found), version

    async def _snapshot(self, pages: "_Pages", keep: Callable[[Obj], Any] | None) -> tuple[builtins.list[Any], str]:
        for _ in range(_SNAPSHOTS - 1):
            try:
                return await self._read(pages, keep)
            except GoneError:
                continue
        return await self._read(pages, keep)

    async def _read(self, pages: "_Pages", keep: Callable[[Obj], Any] | None) -> tuple[builtins.list[Any], str]:
        kept: list[Any] = []
        resource, limit, path = pages.resource, pages.limit, path_of(Key(pages.resource, pages.namespace, ""))
        api_version, kind = resource.api_version, resource.kind
        size, growth, token = min(limit, _FIRST_PAGE), _PAGE_GROWTH, ""
        while True:
            page_query = {**pages.selectors, "limit": str(size)} | ({"continue": token} if token else {})
            most_bytes = _PAGE_BYTES_MOST if size > 1 else OBJECT_BYTES_MOST
            try:
                content = await self.raw("GET", path, query=page_query, accept=pages.accept, most_bytes=most_bytes)
            except AnswerTooLongError:
                if size == 1:
                    raise
                # Large objects follow small ones: from now on, pages grow slowly.
                size, growth = max(1, size // _PAGE_GROWTH), 2
                continue
            page = _object("GET", path, content)
            items = _items(page)
            size = min(limit, size * growth, max(1, _PAGE_BYTES * max(1, len(items)) // max(1, len(content))))
            # Release the items one by one: the kept results may be as large as the page.
            items.reverse()
            while items:
                item = items.pop()
                if not tidy(item):
                    continue
                # The items of a list have no type.
                item.setdefault("apiVersion", api_version)
                item.setdefault("kind", kind)
                try:
                    kept.append(item if keep is None else keep(item))
                except Exception as error:
                    self.odd(resource, item, error)
            meta = metadata(page)
            token = meta.get("continue") or ""
            if not token or (pages.most is not None and len(kept) >= pages.most):
                return kept, str(meta.get("resourceVersion") or "")

    def odd(self, resource: Resource, obj: Obj, error: Exception) -> None:
        """Count an object that cannot be read and is left out; its name is logged once."""
        if self.metrics:
            self.metrics.kroasync_odd_objects_total.inc(str(resource))
        what = f"{resource} {namespace_of(obj)}/{name_of(obj)}"
        if what not in self._odd and len(self._odd) < _ODD_KEPT:
            self._odd.add(what)
            log.error("%s cannot be read and is left out", what, exc_info=error)

    async def create(self, key: Key, obj: Obj, *, manager: str = "") -> Obj:
        return await self.request(
            "POST",
            path_of(Key(key.resource, key.namespace, "")),
            query={"fieldManager": manager} if manager else None,
            body=obj,
        )

    async def apply(
        self,
        key: Key,
        obj: Obj,
        *,
        manager: str,
        force: bool,
        subresource: str | None = None,
        confidential: bool = False,
    ) -> Obj:
        """Server-side apply; without `force` it raises ConflictError, which names the managers.

        The server's warnings about a confidential object are not logged, because they may quote it. Errors may, too.
        """
        query = {"fieldManager": manager, "force": "true" if force else "false"}
        path = path_of(key, subresource)
        token = _confidential.set(confidential)
        try:
            return await self.request("PATCH", path, query=query, body=obj, content_type=APPLY_PATCH)
        finally:
            _confidential.reset(token)

    async def merge_patch(self, key: Key, patch: Obj, *, manager: str, subresource: str | None = None) -> Obj:
        """A JSON merge patch (RFC 7386). `metadata.resourceVersion` in the patch makes it conditional."""
        return await self.request(
            "PATCH",
            path_of(key, subresource),
            query={"fieldManager": manager},
            body=patch,
            content_type=MERGE_PATCH,
        )

    async def json_patch(self, key: Key, operations: Sequence[Obj], *, manager: str, confidential: bool = False) -> Obj:
        """A JSON patch (RFC 6902); replacing `metadata.resourceVersion` makes it conditional."""
        token = _confidential.set(confidential)
        try:
            return await self.request(
                "PATCH",
                path_of(key),
                query={"fieldManager": manager},
                body=operations,
                content_type=JSON_PATCH,
            )
        finally:
            _confidential.reset(token)

    async def put(self, key: Key, obj: Obj, *, manager: str) -> Obj:
        """Replace the object; raises ConflictError if its resourceVersion is not the current one."""
        return await self.request("PUT", path_of(key), query={"fieldManager": manager}, body=obj)

    async def delete(
        self, key: Key, *, uid: str | None = None, version: str | None = None, propagation: str | None = None
    ) -> Obj | None:
        """Delete an object; None if the object is gone, otherwise the object, which waits for its finalizers.

        Raises NotFoundError if the object does not exist, and ConflictError if its UID or version is another one.
        """
        options: Obj = {"apiVersion": "v1", "kind": "DeleteOptions"}
        bound = {"uid": uid} if uid else {}
        if version:
            bound["resourceVersion"] = version
        if bound:
            options["preconditions"] = bound
        if propagation:
            options["propagationPolicy"] = propagation
        answer = await self.request("DELETE", path_of(key), body=options)
        return None if answer.get("kind") == "Status" else answer

    async def _headers(self) -> Mapping[str, str]:
        try:
            return await self.connection.headers()
        except ConfigError as error:
            raise UnauthorizedError(str(error), reason="NoCredential") from error

    def _url(self, path: str, query: Mapping[str, str] | None) -> URL:
        text = self.connection.base_url + path
        if query:
            text += ("&" if "?" in path else "?") + self._encoded_query(query)
        return URL(text, encoded=True)

    def _encoded_query(self, query: Mapping[str, str]) -> str:
        """The encoded query, cached: writes use few different queries, and encoding one costs a tenth of a request."""
        pairs = tuple(query.items())
        text = self._queries.get(pairs)
        if text is None:
            text = urlencode(pairs)
            if len(text) < 100 and len(self._queries) < _QUERIES_KEPT:
                self._queries[pairs] = text
        return text

    def _timeout(self, seconds: float) -> aiohttp.ClientTimeout:
        found = self._timeouts.get(seconds)
        if found is None:
            found = aiohttp.ClientTimeout(total=seconds, sock_connect=min(seconds, 10.0))
            if len(self._timeouts) < 16:
                self._timeouts[seconds] = found
        return found

    def _warn(self, warnings: Sequence[str]) -> None:
        """Log each text of a Warning header once, until 256 others have been logged."""
        for warning in warnings:
            if warning in self._warned:
                continue
            self._warned[warning] = None
            if len(self._warned) > _WARNINGS_KEPT:
                self._warned.popitem(last=False)
            log.info("the API server warns: %s", warning[:1024])


class _Body(aiohttp.BytesPayload):
    """The body of a request, which asks for permission immediately before its bytes are sent.

    Since the request started, the client may have opened a connection, or the process may have been paused.
    """

    def __init__(self, value: bytes, permit: Callable[[], None]) -> None:
        super().__init__(value, content_type=JSON)
        self._permit = permit
        self._has_left = False

    async def write_with_length(self, writer: AbstractStreamWriter, content_length: int | None) -> None:
        try:
            self._permit()
        except FencedError as error:
            if self._has_left:
                # aiohttp retries a PUT or DELETE whose connection broke. The first attempt may have arrived.
                raise ConnectionResetError("the connection broke, and the request was not retried") from error
            raise
        self._has_left = True
        await super().write_with_length(writer, content_length)


@dataclass(frozen=True, slots=True)
class _Pages:
    """A list that is read in pages of at most `limit` items."""

    resource: Resource
    namespace: str
    selectors: Mapping[str, str]
    limit: int
    accept: str
    most: int | None = None


def path_of(key: Key, subresource: str | None = None) -> str:
    """The REST path of an object, or of the collection when the name is empty.

    Raises InvalidError for a name that would change the path. The API server refuses `.`, `..`, `/` and `%`, too
    (path segment names of apimachinery), but only if the request reaches the right path.
    """
    for part in (key.namespace, key.name):
        if part in (".", "..") or "/" in part or "%" in part:
            raise InvalidError(
                f'{key.resource.kind}: the name "{part}" must not be "." or "..", nor contain "/" or "%"',
                status=422,
                reason="Invalid",
            )
    path = key.resource.path(key.namespace, key.name, subresource)
    return path if _PLAIN.fullmatch(path) else quote(path, safe=_SAFE)


def unreachable(method: str, url: URL, error: BaseException) -> UnreachableError:
    """The error of a failed request. Only if connecting failed, it is certain that nothing was changed."""
    connecting = isinstance(error, aiohttp.ClientConnectorError | aiohttp.ConnectionTimeoutError)
    timeout = isinstance(error, TimeoutError)
    detail = "the deadline passed" if timeout and not str(error) else f"{error}" or type(error).__name__
    return UnreachableError(
        f"{method} {url.path}: no answer from the API server: {detail}",
        reason="Timeout" if timeout else "Unreachable",
        maybe_done=method != "GET" and not connecting,
    )


def _object(method: str, path: str, content: bytes) -> Obj:
    """An answer as a JSON object; raises ServerError if it is not one, and the error of a failed `Status`."""
    try:
        answer = decoded(content)
    except orjson.JSONDecodeError as error:
        raise ServerError(f"{method} {path}: the answer is not JSON: {_shown(content)}", reason="NotJSON") from error
    if not isinstance(answer, dict):
        raise ServerError(f"{method} {path}: the answer is not a JSON object", reason="NotJSON")
    if is_failure(answer):
        raise error_of_status(answer)
    tidy(answer)
    return answer


def _items(page: Obj) -> list[Any]:
    """The objects of a list; raises ServerError if it is not a list, which must not count as an empty one."""
    items = page.get("items", "missing")
    if items is not None and not isinstance(items, list):
        raise ServerError("the answer is not a list: it has no array of items", reason="NotJSON")
    return items or []


def _shown(content: bytes) -> str:
    """The answer of a proxy for a message; never the start of an object, which may be a Secret."""
    return f"{len(content)} bytes" if content.lstrip().startswith((b"{", b"[")) else repr(content[:200])


def _retry_delay_s(method: str, error: ApiError) -> float | None:
    if isinstance(error, UnreachableError):
        # The caller chose the deadline, so it is not extended.
        return _GET_RETRY_S if method == "GET" and error.reason != "Timeout" else None
    if error.status in (429, 503) and error.retry_after_s is not None:
        return min(error.retry_after_s, _RETRY_AFTER_LIMIT_S)
    return None


def _selectors(label_selector: str, field_selector: str) -> dict[str, str]:
    pairs = (("labelSelector", label_selector), ("fieldSelector", field_selector))
    return {name: value for name, value in pairs if value}


def _encoded(body: Obj | Sequence[Any] | bytes | None) -> bytes | None:
    if body is None or isinstance(body, bytes):
        return body
    try:
        return orjson.dumps(body)
    except orjson.JSONEncodeError as error:
        # Integers beyond 64 bits and unpaired surrogates have no JSON that the server accepts.
        raise InvalidError(f"the request is not JSON: {error}", status=400, reason="BadRequest") from error
