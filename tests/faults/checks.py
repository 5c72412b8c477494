"""Checks of an audit log and of the stored objects. The functions are pure, and return every violation.

A request lasts from the moment when the API server received it until its answer was complete, by the clock of the API
server.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise
from typing import Any

_READS = ("get", "list", "watch")
_IDS = ("a", "b", "c")
# From this status on, the API server may have done the write.
_CLIENT_GONE = 499


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One answered request; times are seconds since the epoch. `resource` is as in RBAC, without its group."""

    began: float
    ended: float
    user: str
    verb: str
    resource: str
    namespace: str
    name: str
    code: int

    @property
    def is_write(self) -> bool:
        return self.verb not in _READS

    @property
    def succeeded(self) -> bool:
        return 200 <= self.code < 300

    @property
    def created(self) -> bool:
        return self.code == 201

    @property
    def deleted(self) -> bool:
        return self.verb == "delete" and self.succeeded

    @property
    def place(self) -> str:
        return f"{self.resource} {self.namespace}/{self.name}"

    def __str__(self) -> str:
        clock = datetime.fromtimestamp(self.began).strftime("%H:%M:%S.%f")
        return f"{clock} {self.user.rsplit(':', 1)[-1]} {self.verb} {self.place}: {self.code}"


def calls_of(lines: Iterable[bytes]) -> list[Call]:
    """The requests in lines of an audit log, in the order in which they were received.

    Incomplete lines and requests without a resource are left out.
    """
    found = []
    for line in lines:
        if not line.rstrip().endswith(b"}"):
            continue
        event = json.loads(line)
        ref = event.get("objectRef")
        if not ref:
            continue
        found.append(
            Call(
                began=datetime.fromisoformat(event["requestReceivedTimestamp"]).timestamp(),
                ended=datetime.fromisoformat(event["stageTimestamp"]).timestamp(),
                user=event["user"]["username"],
                verb=event["verb"],
                resource="/".join(filter(None, (ref["resource"], ref.get("subresource")))),
                namespace=ref.get("namespace", ""),
                name=ref.get("name", ""),
                code=event.get("responseStatus", {}).get("code", 0),
            )
        )
    return sorted(found, key=lambda call: call.began)


def created_twice(calls: Iterable[Call]) -> list[str]:
    """The objects that were created again although nobody had deleted them."""
    living: dict[str, Call] = {}
    wrong = []
    for call in calls:
        if call.deleted:
            living.pop(call.place, None)
        elif call.created and call.name:
            if call.place in living:
                wrong.append(f"created twice: {living[call.place]} and {call}")
            living[call.place] = call
    return wrong


def created_out_of_order(calls: Sequence[Call], chains: Iterable[Sequence[str]]) -> list[str]:
    """The chains with an object that was requested before its predecessor was created; only first creations count."""
    created: dict[str, Call] = {}
    for call in calls:
        if call.created:
            created.setdefault(call.name, call)
    return _out_of_order(_cut_off(calls) | created, chains, "created")


def deleted_out_of_order(calls: Sequence[Call], chains: Iterable[Sequence[str]]) -> list[str]:
    """The chains with an object whose deletion was requested before its successor was deleted."""
    deleted = {call.name: call for call in calls if call.deleted}
    deletions = [call for call in calls if call.verb == "delete"]
    return _out_of_order(_cut_off(deletions) | deleted, (chain[::-1] for chain in chains), "deleted")


def _cut_off(calls: Iterable[Call]) -> dict[str, Call]:
    """The first write of each object whose result is not in the log, because the sender was killed."""
    found: dict[str, Call] = {}
    for call in calls:
        if call.is_write and (call.code == 0 or call.code >= _CLIENT_GONE):
            found.setdefault(call.name, call)
    return found


def _out_of_order(done: Mapping[str, Call], chains: Iterable[Sequence[str]], what: str) -> list[str]:
    wrong = []
    for chain in chains:
        missing = [name for name in chain if name not in done]
        if missing:
            wrong.append(f"never {what}: {', '.join(missing)}")
            continue
        for first, second in pairwise(chain):
            if done[second].began < done[first].ended:
                wrong.append(f"{what} out of order: {done[second]} before the end of {done[first]}")
    return wrong


def overtaken(calls: Iterable[Call], *, earlier: str, later: str) -> list[Call]:
    """The writes, and attempts to write, of user `earlier` after the first write of user `later`.

    A failed renewal of a Lease does not count: it tells the earlier user that another one leads.
    """
    writes = [c for c in calls if c.is_write and (c.resource != "leases" or c.succeeded)]
    first = next((c for c in writes if c.user == later), None)
    return [c for c in writes if first and c.user == earlier and c.began > first.began]


def work_of(calls: Iterable[Call], user: str) -> list[Call]:
    """The writes, and attempts to write, of a user, without Leases."""
    return [c for c in calls if c.user == user and c.is_write and c.resource != "leases"]


def chain_of(instance: str) -> list[str]:
    """The ConfigMaps of an instance, in the order in which they must be created."""
    return [f"{instance}-{id_}" for id_ in _IDS]


def unfinished(
    wanted: Mapping[str, str], instances: Iterable[Any], configs: Iterable[Any], secrets: Iterable[Any]
) -> list[str]:
    """What differs from the declared state: instances and their values, ConfigMaps that name the UID of their
    predecessor, one Secret each, and nothing else.
    """
    wrong = []
    by_name = {obj["metadata"]["name"]: obj for obj in instances}
    maps = {obj["metadata"]["name"]: obj for obj in configs}
    kept = {obj["metadata"]["name"] for obj in secrets}
    for name, value in wanted.items():
        instance = by_name.pop(name, None)
        if instance is None or not _is_active(instance) or instance["spec"].get("value") != value:
            wrong.append(f"instance {name}: {instance and instance.get('status', {}).get('state')}")
        before = ""
        for child in chain_of(name):
            found = maps.pop(child, None)
            if found is None or found.get("data") != {"value": value, "of": before}:
                wrong.append(f"ConfigMap {child}: {found and found.get('data')}")
            before = found["metadata"]["uid"] if found else ""
        if f"{name}-s" not in kept:
            wrong.append(f"Secret {name}-s: None")
        kept.discard(f"{name}-s")
    left = [f"instance {name}" for name in by_name] + [f"ConfigMap {name}" for name in maps]
    return wrong + [f"{what}: left behind" for what in left + [f"Secret {name}" for name in kept]]


def _is_active(instance: Any) -> bool:
    status = instance.get("status", {})
    ready = any(c["type"] == "Ready" and c["status"] == "True" for c in status.get("conditions") or ())
    current = status.get("observedGeneration") == instance["metadata"]["generation"]
    return bool(status.get("state") == "ACTIVE" and ready and current)


def replaced(before: Mapping[str, str], after: Mapping[str, str]) -> list[str]:
    """The names of the objects whose UID has changed, or that are gone."""
    return [f"{name}: UID {uid} became {after.get(name)}" for name, uid in before.items() if after.get(name) != uid]


@dataclass(frozen=True, slots=True, kw_only=True)
class Slope:
    """A line fitted to samples: its slope per hour, and the standard error of the slope."""

    per_hour: float
    error: float

    @property
    def is_noise(self) -> bool:
        """Whether the slope is not significant: less than two standard errors from 0."""
        return abs(self.per_hour) < 2 * self.error


def slope(samples: Sequence[tuple[float, float]]) -> Slope:
    """Least squares over (seconds, value). Raises ValueError for fewer than four samples.

    Memory changes in steps, so each residual resembles the previous one. This correlation makes the error larger than
    that of independent samples (a first-order autoregressive process).
    """
    count = len(samples)
    if count < 4:
        raise ValueError("a line needs four samples")
    mean_t, mean_v = (sum(column) / count for column in zip(*samples, strict=True))
    spread = sum((t - mean_t) ** 2 for t, _ in samples)
    rise = sum((t - mean_t) * (v - mean_v) for t, v in samples) / spread
    residuals = [v - mean_v - rise * (t - mean_t) for t, v in samples]
    squares = sum(r * r for r in residuals)
    likeness = sum(x * y for x, y in pairwise(residuals)) / squares if squares else 0.0
    likeness = min(max(likeness, 0.0), 0.95)
    error = math.sqrt(squares / (count - 2) / spread * (1 + likeness) / (1 - likeness))
    return Slope(per_hour=rise * 3600, error=error * 3600)
