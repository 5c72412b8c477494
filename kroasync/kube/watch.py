"""List one kind, then watch it forever, and deliver the changes to a sink.

A watch must not end, nor fall silent unnoticed. The server ends each watch after a few minutes. Bookmarks keep the
resourceVersion recent. A connection that receives nothing before the idle deadline is closed, an expired version leads
to a new list, and every failure is followed by a limited, random pause. If the sink raises for an object, the object is
left out. `run()` ends only if the sink raises for a whole list, which is a bug of the sink.

An event that never arrives would stay unnoticed forever. So about every ten minutes, between two watches, the watch
lists names and versions and compares them with `known`. The event of a difference may only be late. So a difference
counts only when the watch has reached the version of that list; then the watch lists everything again.
"""

import asyncio
import logging
import random
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final, Protocol

import aiohttp
import orjson

from kroasync.kube.api_errors import (
    ApiError,
    ForbiddenError,
    GoneError,
    NotFoundError,
    ServerError,
    StaleListError,
    ThrottledError,
    UnauthorizedError,
    UnreachableError,
    error_of_status,
)
from kroasync.kube.client import OBJECT_BYTES_MOST, Client, path_of
from kroasync.kube.decoding import decoded, tidy
from kroasync.kube.lanes import LANE
from kroasync.model.objects import Key, Obj, Resource, is_newer, is_older

log = logging.getLogger("watch-manager")

LINE_LIMIT: Final = OBJECT_BYTES_MOST + 4096
SERVER_TIMEOUT_S: Final = (240.0, 300.0)
IDLE_DEADLINE_S: Final = 150.0
BACKOFF_S: Final = (0.2, 30.0)
COMPARE_S: Final = (480.0, 720.0)
# A watch that the server ends sooner counts as a failure. Otherwise client and server would open and end watches in
# a busy loop.
_SHORTEST_S: Final = 1.0
# After so many stale lists in a row, the store was probably restored from a backup.
_STALE_LISTS: Final = 8
# After so many failures in a row, the version may be the cause.
_FAILURES_TO_LIST: Final = 3
_LONGEST_RETRY_AFTER_S: Final = 30.0
_LINES_PER_TURN: Final = 256
_EVENTS: Final = frozenset({"ADDED", "MODIFIED", "DELETED"})


class Sink(Protocol):
    """The receiver of a watch; all methods are synchronous.

    If `keep` or `event` raises for an object, the object is left out. If `replace` raises, the watch ends.
    """

    def keep(self, obj: Obj) -> Any:
        """The part of a listed object that `replace` will receive. No more of a list is in memory at once."""

    def replace(self, items: list[Any], version: str) -> None:
        """The full state after a list, with the results of `keep`.

        A missing object is gone, unless it is newer than the `version` of the list (from the answer to a write that
        overtook the list). The state is empty if the server says that the kind does not exist.
        """

    def event(self, type: str, obj: Obj) -> None:
        """One change: `ADDED`, `MODIFIED` or `DELETED`, with the object as it is or was last."""


def is_lost(known: str | None, there: str | None, at: str) -> bool:
    """Whether the known version of an object (None: it is unknown) is behind a list with version `at`."""
    if there is None:
        return known is not None and not is_newer(known, at)
    return known is None or is_older(known, there)


def differing(
    known: Mapping[tuple[str, str], str], there: Mapping[tuple[str, str], str], at: str
) -> dict[tuple[str, str], str | None]:
    """The listed versions of the objects that differ from a list with version `at`; None for objects that it lacks."""
    places = dict.fromkeys((*there, *known))
    return {place: there.get(place) for place in places if is_lost(known.get(place), there.get(place), at)}


class BadEventError(Exception):
    """The stream contains something that is not a watch event."""


class LineSplitter:
    """Splits a stream of chunks into lines of any length, in linear time."""

    def __init__(self, limit: int = LINE_LIMIT) -> None:
        self._limit = limit
        self._parts: list[bytes] = []
        self._held = 0

    def feed(self, chunk: bytes) -> list[bytes]:
        """The lines that this chunk completes, without empty ones; raises BadEventError for a line above the limit."""
        if b"\n" not in chunk:
            self._hold(chunk)
            return []
        lines = b"".join((*self._parts, chunk)).split(b"\n")
        self._parts.clear()
        self._held = 0
        self._hold(lines.pop())
        return [line for line in lines if line]

    def _hold(self, part: bytes) -> None:
        if part:
            self._parts.append(part)
            self._held += len(part)
        if self._held > self._limit:
            raise BadEventError(f"an event is longer than {self._limit} bytes")


class Watch:
    """Keeps the state of one kind current in a sink. The attributes are read-only statistics.

    `synced` is set when the first list has been delivered, and stays set. `missing` is True while the server does not
    serve the kind. `error` is the last failure while there is no connection, and `is_refused` says that rights or
    credentials are missing. Times are those of `clock`.
    """

    def __init__(
        self,
        client: Client,
        resource: Resource,
        *,
        namespace: str = "",
        label_selector: str = "",
        field_selector: str = "",
        sink: Sink,
        clock: Callable[[], float] = time.monotonic,
        rng: random.Random | None = None,
        server_timeout_s: tuple[float, float] = SERVER_TIMEOUT_S,
        idle_deadline_s: float = IDLE_DEADLINE_S,
        backoff_s: tuple[float, float] = BACKOFF_S,
        known: Callable[[], Mapping[tuple[str, str], str]] | None = None,
        compare_s: tuple[float, float] = COMPARE_S,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self.resource = resource
        self.synced = asyncio.Event()
        self.relists = 0
        self.errors = 0
        self.connected = False
        self.missing = False
        self.error: str | None = None
        self._client = client
        self._namespace = namespace
        self._selectors = {"labelSelector": label_selector, "fieldSelector": field_selector}
        self._sink = sink
        self._clock = clock
        self._rng = rng if rng is not None else random.Random()
        self._server_timeout_s = server_timeout_s
        self._idle_deadline_s = idle_deadline_s
        self._backoff_s = backoff_s
        self._known = known
        self._compare_s = compare_s
        self._compare_at = clock() + self._rng.uniform(*compare_s)
        # The listed versions of objects that differed from a list (None: the list lacked them), and its version.
        self._suspects: dict[tuple[str, str], str | None] = {}
        self._suspected_at = ""
        self._sleep = sleep
        self._failures = 0
        self._absences = 0
        self._refused: str | None = None
        self._heard_at = clock()
        self._version: str | None = None
        # The newest version ever received: an older list is refused.
        self._newest = ""
        self._stale_lists = 0
        self._gvr = str(resource)

    def last_event_age_s(self, now: float) -> float:
        """Seconds since the server last sent anything about this kind, including bookmarks and lists."""
        return max(0.0, now - self._heard_at)

    async def run(self) -> None:
        """Never returns; raises only what the sink raises."""
        # If the server of a kind hangs, the lists of this kind must not block those of other kinds.
        LANE.set(self)
        try:
            while True:
                delay_s = await self._round()
                self.connected = False
                if delay_s > 0:
                    await self._sleep(delay_s)
        except _SinkError as failure:
            raise failure.cause from None
        finally:
            self.connected = False
            self._client.outage.back(self, self._clock())

    async def _round(self) -> float:
        """One list (if needed) and one watch; returns the seconds to wait before the next round."""
        try:
            if self._version is None:
                await self._list()
            elif self._known is not None and self._clock() >= self._compare_at:
                await self._compare(self._known)
            await self._follow()
        except NotFoundError as error:
            return self._on_missing(error)
        except GoneError as error:
            self._version = None
            # Normal after a long silence: the first time, the list follows immediately.
            self._failures += 1
            self.error = str(error)
            log.debug("%s: the version is too old; listing again", self._gvr)
            return 0.0 if self._failures == 1 else self._pause_s()
        except (UnauthorizedError, ForbiddenError) as error:
            return self._on_refused(error)
        except (ThrottledError, ServerError) as error:
            # The server is overloaded: lists of all kinds at the same time would make it worse.
            if self._failures >= _FAILURES_TO_LIST:
                self._version = None
            return max(self._on_failure(error), min(error.retry_after_s or 0.0, _LONGEST_RETRY_AFTER_S))
        except (ApiError, BadEventError) as error:
            if not isinstance(error, UnreachableError):
                self._version = None
            return self._on_failure(error)
        except _SinkError:
            raise
        except Exception as error:
            log.exception("%s: unexpected failure of the watch; listing again", self._gvr)
            self._version = None
            return self._on_failure(error)
        return 0.0

    async def _list(self) -> None:
        started = time.perf_counter()
        items, version = await self._client.list(
            self.resource,
            self._namespace,
            label_selector=self._selectors["labelSelector"],
            field_selector=self._selectors["fieldSelector"],
            keep=self._sink.keep,
        )
        self._refuse_stale(version)
        first = not self.synced.is_set()
        if first:
            # An object that ends the process must not be the first again at each start, so that the others are served.
            self._rng.shuffle(items)
        self._deliver(items, version)
        self._version = self._newest = version
        self._heard_at = self._clock()
        self.missing = False
        metrics = self._client.metrics
        if first:
            self.synced.set()
            if metrics:
                took_s = time.perf_counter() - started
                metrics.dynamic_controller_informer_sync_duration_seconds.observe(took_s, self._gvr)
        else:
            self.relists += 1
            if metrics:
                metrics.kroasync_watch_relists_total.inc(self._gvr)

    async def _compare(self, known: Callable[[], Mapping[tuple[str, str], str]]) -> None:
        """Find objects that differ from the cache. A failure is harmless: the next comparison follows soon."""
        comparing = self._client.comparing
        if comparing.locked():
            return
        self._compare_at = self._clock() + self._rng.uniform(*self._compare_s)
        async with comparing:
            try:
                there, version = await self._client.versions(
                    self.resource,
                    self._namespace,
                    label_selector=self._selectors["labelSelector"],
                    field_selector=self._selectors["fieldSelector"],
                )
            except ApiError as error:
                log.debug("%s: not compared: %s", self._gvr, error)
                return
        self._suspects, self._suspected_at = differing(known(), there, version), version

    def _confirm(self) -> None:
        """Raises GoneError if objects still differ, although the watch has reached the version of the list."""
        if not self._suspects or self._known is None or is_older(self._version or "", self._suspected_at):
            return
        suspects, self._suspects = self._suspects, {}
        known = self._known()
        lost = [place for place, version in suspects.items() if is_lost(known.get(place), version, self._suspected_at)]
        if not lost:
            return
        if self._client.metrics:
            self._client.metrics.kroasync_watch_lost_total.inc(self._gvr, by=len(lost))
        log.warning(
            "%s: %d events never arrived (one of them for %s); listing again",
            self._gvr,
            len(lost),
            "/".join(filter(None, lost[0])),
        )
        raise GoneError("events were lost", reason="Lost")

    def _refuse_stale(self, version: str) -> None:
        """Raises StaleListError, but not forever: a replica that lags behind would bring back deleted objects."""
        if is_older(version, self._newest) and self._stale_lists < _STALE_LISTS:
            self._stale_lists += 1
            raise StaleListError(f"the list has version {version}, {self._newest} was seen before")
        self._stale_lists = 0

    async def _follow(self) -> None:
        """One watch from the known version, until the server ends it; raises for every other end."""
        timeout_s = self._rng.uniform(*self._server_timeout_s)
        query = {name: value for name, value in self._selectors.items() if value}
        query |= {
            "watch": "true",
            "allowWatchBookmarks": "true",
            "resourceVersion": self._version or "",
            "timeoutSeconds": str(max(1, round(timeout_s))),
        }
        path = path_of(Key(self.resource, self._namespace, ""))
        loop = asyncio.get_running_loop()
        opened_at = self._clock()
        lines = LineSplitter()
        heard = False
        try:
            async with (
                asyncio.timeout(self._idle_deadline_s) as deadline,
                self._client.stream(path, query) as response,
            ):
                self._on_connected()
                async for chunk in response.content.iter_any():
                    deadline.reschedule(loop.time() + self._idle_deadline_s)
                    ready = lines.feed(chunk)
                    if ready:
                        await self._take(ready)
                        heard = True
        except TimeoutError as error:
            raise UnreachableError(
                f"{self._gvr}: the server sent nothing for {self._idle_deadline_s:g} s", reason="Silent"
            ) from error
        except (aiohttp.ClientError, OSError) as error:
            raise UnreachableError(f"{self._gvr}: the watch was cut off: {error!r}") from error
        if not heard and self._clock() - opened_at < _SHORTEST_S:
            raise UnreachableError(f"{self._gvr}: the server ended the watch immediately")

    async def _take(self, lines: list[bytes]) -> None:
        for number, line in enumerate(lines, 1):
            self._line(line)
            if number % _LINES_PER_TURN == 0:
                await asyncio.sleep(0)
        self._heard_at = self._clock()
        self._confirm()

    def _line(self, line: bytes) -> None:
        try:
            change = decoded(line)
            kind, obj = change["type"], change["object"]
            if not isinstance(obj, dict) or not isinstance(kind, str):
                raise TypeError
            if kind == "ERROR":
                # Unlike an error on opening the watch, this error may be caused by the version.
                self._version = None
                raise error_of_status(obj)
            tidy(obj)
            version = obj["metadata"]["resourceVersion"]
        except (orjson.JSONDecodeError, KeyError, TypeError) as error:
            # Not quoted, because it may be a Secret.
            raise BadEventError(f"not a watch event: {len(line)} bytes") from error
        if kind in _EVENTS:
            obj.setdefault("apiVersion", self.resource.api_version)
            obj.setdefault("kind", self.resource.kind)
            try:
                self._sink.event(kind, obj)
            except Exception as error:
                # One object must not affect the others.
                self._client.odd(self.resource, obj, error)
        elif kind != "BOOKMARK":
            raise BadEventError(f"unknown type of event {str(kind)[:40]!r}")
        self._version = version
        if not is_older(version, self._newest):
            self._newest = version
        self._failures = 0

    def _deliver(self, items: list[Any], version: str) -> None:
        try:
            self._sink.replace(items, version)
        except Exception as error:
            raise _SinkError(error) from error

    @property
    def is_refused(self) -> bool:
        return self._refused is not None

    def _on_connected(self) -> None:
        self.connected = True
        self._client.outage.back(self, self._clock())
        self.error = None
        self.missing = False
        self._refused = None
        self._absences = 0

    def _on_missing(self, error: ApiError) -> float:
        """The kind does not exist. This counts only the second time: the first answer may come from a stale replica."""
        self._version = None
        self._absences += 1
        if not self.missing and (self._absences > 1 or not self.synced.is_set()):
            log.info("%s: the API server does not serve this kind; waiting for it", self._gvr)
            self._deliver([], "")
            self.missing = True
            # It is known that there are no objects. Nobody must wait for a kind that may never appear.
            self.synced.set()
        self._heard_at = self._clock()
        return self._count(error)

    def _on_refused(self, error: ApiError) -> float:
        if self._refused != error.reason:
            self._refused = error.reason
            where = f" in namespace {self._namespace}" if self._namespace else ""
            advice = (
                f"grant the controller's account the verbs list and watch on {self.resource.plural}"
                f' of group "{self.resource.group}"{where}'
                if isinstance(error, ForbiddenError)
                else "check the controller's token or kubeconfig"
            )
            log.error("%s: %s; %s (retrying without further messages)", self._gvr, error, advice)
        return self._count(error)

    def _on_failure(self, error: Exception) -> float:
        delay_s = self._count(error)
        log.debug("%s: %s; retrying in %.1f s", self._gvr, error, delay_s)
        self._client.outage.failed(self, f"{self._gvr}: {error}", self._clock())
        return delay_s

    def _count(self, error: Exception) -> float:
        self._failures += 1
        self.errors += 1
        self.error = str(error)
        if self._client.metrics:
            self._client.metrics.kroasync_watch_errors_total.inc(self._gvr)
        return self._pause_s()

    def _pause_s(self) -> float:
        """A random pause of half to all of a limited delay, which doubles with each failure since the last event."""
        shortest, longest = self._backoff_s
        full = min(longest, shortest * 2.0 ** min(self._failures - 1, 32))
        return full * self._rng.uniform(0.5, 1.0)


class _SinkError(Exception):
    """Carries an exception of the sink past the exception handlers of the watch."""

    def __init__(self, cause: Exception) -> None:
        super().__init__(str(cause))
        self.cause = cause
