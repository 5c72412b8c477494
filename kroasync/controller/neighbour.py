"""Stand aside while kro acts on the same cluster.

Both controllers write the same objects, so they would undo each other's work forever. kro shows that it acts by
renewing its Lease. As in a leader election, this process never compares clocks with other machines: if it sees a Lease
unchanged for the Lease's duration, the Lease has expired. Anybody who may edit a namespace can create a Lease of that
name, so only the Leases in kro's namespaces count. The log names any others, and they have no effect.
"""

import asyncio
import logging
from collections.abc import Callable, Collection
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from kroasync.model.names import KRO_LEASE_NAME
from kroasync.model.objects import Obj, is_same, name_of, namespace_of

log = logging.getLogger("kroasync.neighbour")

# The namespaces in which kro's chart puts the Lease.
KRO_NAMESPACES: Final = ("kro-system", "kro")
_DURATION_S: Final = 15.0
_LONGEST_DURATION_S: Final = 120.0
ADVICE: Final = "two controllers would undo each other's work: scale kro to 0"


@dataclass(frozen=True, slots=True)
class _Seen:
    lease: Obj
    at: float


def holder_of(lease: Obj) -> str:
    """The holder of a Lease; empty if nobody holds it."""
    spec = lease.get("spec")
    holder = spec.get("holderIdentity") if isinstance(spec, dict) else None
    return holder if isinstance(holder, str) else ""


def left_s(lease: Obj, unchanged_s: float) -> float:
    """How long a Lease is still valid after it was seen unchanged for some seconds; 0 if nobody holds it."""
    if not holder_of(lease):
        return 0.0
    duration = lease["spec"].get("leaseDurationSeconds")
    known = isinstance(duration, int) and duration > 0
    return max(0.0, min(float(duration) if known else _DURATION_S, _LONGEST_DURATION_S) - unchanged_s)


class Neighbour:
    """The sink of a watch of kro's Leases. `away` is set while kro does not act; `told` gets the Lease when kro begins
    to act. `clock` is monotonic seconds, `namespaces` are the namespaces that may hold kro's Lease.
    """

    def __init__(
        self, *, clock: Callable[[], float], namespaces: Collection[str], told: Callable[[Obj, str], None]
    ) -> None:
        self.away = asyncio.Event()
        self.away.set()
        self._clock = clock
        self._namespaces = namespaces
        self._told = told
        self._seen: dict[str, _Seen] = {}
        # Namespaces with a Lease of that name that are not kro's.
        self._foreign: set[str] = set()
        self._changed = asyncio.Event()

    def keep(self, lease: Obj) -> Obj:
        return lease

    def replace(self, items: list[Obj], version: str = "") -> None:
        found = {namespace_of(obj) for obj in items}
        self._seen = {namespace: seen for namespace, seen in self._seen.items() if namespace in found}
        for obj in items:
            self._see(obj)
        self._look()

    def event(self, kind: str, obj: Obj) -> None:
        if kind == "DELETED":
            self._seen.pop(namespace_of(obj), None)
        else:
            self._see(obj)
        self._look()

    def problem(self) -> str | None:
        """A text that says that kro acts; None if it does not."""
        lease = self._held()
        if lease is None:
            return None
        where = f"{namespace_of(lease)}/{KRO_LEASE_NAME}"
        return f"kro acts on this cluster ({holder_of(lease)} holds the Lease {where}); {ADVICE}"

    async def run(self) -> None:
        """Notice when kro no longer renews a Lease; never returns."""
        while True:
            self._changed.clear()
            now = self._clock()
            waits = [left_s(seen.lease, now - seen.at) for seen in self._seen.values()]
            with suppress(TimeoutError):
                async with asyncio.timeout(min((wait for wait in waits if wait > 0), default=None)):
                    await self._changed.wait()
            self._look()

    def _see(self, lease: Obj) -> None:
        namespace = namespace_of(lease)
        known = self._seen.get(namespace)
        if name_of(lease) != KRO_LEASE_NAME or (known and is_same(known.lease.get("spec"), lease.get("spec"))):
            return
        if namespace in self._namespaces:
            self._seen[namespace] = _Seen(lease, self._clock())
        elif namespace not in self._foreign:
            self._foreign.add(namespace)
            log.warning(
                "ignoring a Lease with the name of kro's Lease: it is not in a namespace of kro",
                extra={"lease": f"{namespace}/{KRO_LEASE_NAME}", "holder": holder_of(lease)},
            )

    def _held(self) -> Obj | None:
        now = self._clock()
        held = (s.lease for _, s in sorted(self._seen.items()) if left_s(s.lease, now - s.at) > 0)
        return next(held, None)

    def _look(self) -> None:
        self._changed.set()
        lease = self._held()
        if lease is None and not self.away.is_set():
            log.warning("kro no longer acts on this cluster: continuing")
            self.away.set()
        elif lease is not None and self.away.is_set():
            self.away.clear()
            text = self.problem() or ""
            log.error("%s", text)
            self._told(lease, text)
