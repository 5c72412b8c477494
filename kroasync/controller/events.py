"""Kubernetes Events on instances and definitions: they report transitions, and are written in the background.

Writing an Event never delays or fails a pass. Equal Events that wait are counted and sent as one. The API is
events.k8s.io/v1 (KEP-383).
"""

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from kroasync.kube.api_errors import ApiError, FencedError, NotFoundError
from kroasync.kube.client import Client
from kroasync.model import timestamps
from kroasync.model.kinds import EVENTS
from kroasync.model.objects import Key, Obj, metadata, name_of, namespace_of, uid_of

log = logging.getLogger("kroasync.events")

# The API server's limits, in bytes.
_NOTE_BYTES = 1024
_REASON_BYTES = 128
_WAITING = 2000
# How many Events are written at the same time. Passes have priority, so there are fewer writers than workers.
_WRITERS = 4


@dataclass(frozen=True, slots=True)
class _Id:
    regarding: str
    reason: str
    note: str
    warning: bool


class Recorder:
    """Takes Events from passes (`record`) and writes them one after the other (`run`)."""

    def __init__(
        self,
        client: Client,
        *,
        reporter: str,
        instance: str,
        now: Callable[[], datetime],
        enabled: bool = True,
    ) -> None:
        self._client = client
        self._reporter = reporter
        self._instance = instance
        self._now = now
        self._enabled = enabled
        self._waiting: OrderedDict[_Id, Obj] = OrderedDict()
        self._some = asyncio.Event()
        self._serial = 0
        self.dropped = 0

    def record(self, obj: Obj, *, reason: str, note: str, action: str, warning: bool = False) -> None:
        """Queue an Event on `obj`: `reason` in CamelCase, `note` for people, `action` names the attempted action."""
        if not self._enabled:
            return
        note, reason = _cut(note, _NOTE_BYTES), _cut(reason, _REASON_BYTES)
        event_id = _Id(uid_of(obj), reason, note, warning)
        if event_id in self._waiting:
            return
        if len(self._waiting) >= _WAITING:
            self._waiting.popitem(last=False)
            self.dropped += 1
        self._waiting[event_id] = self._event(obj, reason=reason, note=note, action=action, warning=warning)
        self._some.set()

    async def run(self) -> None:
        """Write Events until cancelled."""
        while True:
            await self._some.wait()
            await self.flush()
            if not self._waiting:
                self._some.clear()

    async def flush(self) -> None:
        """Write all Events that wait now."""
        async with asyncio.TaskGroup() as group:
            for _ in range(min(_WRITERS, len(self._waiting))):
                group.create_task(self._write(), name="write events")

    async def _write(self) -> None:
        while self._waiting:
            _, event = self._waiting.popitem(last=False)
            try:
                await self._client.create(Key(EVENTS, namespace_of(event), name_of(event)), event)
            except NotFoundError:
                continue  # the namespace is gone, and its Events with it
            except FencedError:
                self._waiting.clear()  # this process is about to exit
            except ApiError as error:
                log.info("event not written", extra={"reason": event["reason"], "error": error.message})

    def _event(self, obj: Obj, *, reason: str, note: str, action: str, warning: bool) -> Obj:
        now = self._now()
        self._serial += 1
        namespace = namespace_of(obj) or "default"
        return {
            "apiVersion": EVENTS.api_version,
            "kind": EVENTS.kind,
            "metadata": {
                "name": f"{name_of(obj)[:220]}.{int(now.timestamp() * 1e6):x}{self._serial % 4096:03x}",
                "namespace": namespace,
            },
            "eventTime": timestamps.microseconds(now),
            "reportingController": self._reporter,
            "reportingInstance": self._instance,
            "action": action,
            "reason": reason,
            "note": note,
            "type": "Warning" if warning else "Normal",
            "regarding": {
                "apiVersion": obj.get("apiVersion", ""),
                "kind": obj.get("kind", ""),
                "name": name_of(obj),
                "namespace": namespace_of(obj),
                "uid": uid_of(obj),
                "resourceVersion": str(metadata(obj).get("resourceVersion") or ""),
            },
        }


def _cut(text: str, limit: int) -> str:
    """The text in at most `limit` bytes of UTF-8."""
    encoded = text.encode(errors="replace")
    return text if len(encoded) <= limit else encoded[: limit - 3].decode(errors="ignore") + "..."
