"""Objects, and a client that acts as the API server as far as a test needs it."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from kroasync.kube.outage import Stumbles
from kroasync.metrics import Metrics
from kroasync.model.names import (
    LABEL_APPLYSET_PART_OF,
    LABEL_INSTANCE_ID,
    LABEL_NODE_ID,
    MANAGER_CHILDREN,
)
from kroasync.model.objects import Key, Obj, Resource
from tests.samples import CONFIG_MAPS

APPS = Resource("example.com", "v1", "App", "apps")
OWNER = "instance-1"
NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def config_key(name: str = "a") -> Key:
    return Key(CONFIG_MAPS, "default", name)


def config(
    name: str = "a",
    *,
    version: int,
    uid: str = "u1",
    data: dict[str, str] | None = None,
    instance: str = OWNER,
    **more: Any,
) -> Obj:
    """A managed ConfigMap as the API server stores it; `more` is added to its metadata."""
    labels = {LABEL_NODE_ID: "config", LABEL_APPLYSET_PART_OF: "set-1"} | (
        {LABEL_INSTANCE_ID: instance} if instance else {}
    )
    meta = {
        "name": name,
        "namespace": "default",
        "uid": uid,
        "resourceVersion": str(version),
        "labels": labels,
        "managedFields": [{"manager": MANAGER_CHILDREN, "time": str(version)}],
        **more,
    }
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta, "data": data or {}}


def desired(data: dict[str, str], name: str = "a") -> Obj:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "namespace": "default"}, "data": data}


def app(name: str = "one", *, version: int, uid: str = "i1", generation: int = 1, **more: Any) -> Obj:
    """An instance; `more` is added to its metadata, except `spec` and `status`."""
    content: Obj = {key: more.pop(key) for key in ("spec", "status") if key in more}
    meta = {
        "name": name,
        "namespace": "default",
        "uid": uid,
        "resourceVersion": str(version),
        "generation": generation,
        **more,
    }
    return {"apiVersion": "example.com/v1", "kind": "App", "metadata": meta, **content}


def app_key(name: str = "one") -> Key:
    return Key(APPS, "default", name)


@dataclass
class StubClient:
    """A client that answers from a list per method, in order, and raises its exceptions; it records the requests."""

    answers: dict[str, list[Any]] = field(default_factory=dict)
    asked: list[tuple[Any, ...]] = field(default_factory=list)
    # For each apply, whether it was confidential.
    confidential: list[bool] = field(default_factory=list)
    # For each apply and delete, the resourceVersion that it was bound to.
    bound: list[str | None] = field(default_factory=list)
    # The applied objects.
    applied: list[Obj] = field(default_factory=list)
    # For each delete, its propagation.
    propagations: list[str | None] = field(default_factory=list)
    metrics: Metrics | None = None
    stumbles: Stumbles = field(default_factory=Stumbles)
    # Called for each request, before the answer.
    meanwhile: Callable[[], None] = lambda: None

    def _answer(self, method: str, *what: Any) -> Any:
        self.asked.append((method, *what))
        self.meanwhile()
        answer = self.answers[method].pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def apply(self, key: Key, obj: Obj, *, manager: str, force: bool, confidential: bool = False) -> Obj:
        self.confidential.append(confidential)
        self.bound.append(obj["metadata"].get("resourceVersion"))
        self.applied.append(obj)
        return self._answer("apply", key, force)

    async def get(self, key: Key) -> Obj:
        return self._answer("get", key)

    async def delete(
        self, key: Key, *, uid: str | None = None, version: str | None = None, propagation: str | None = None
    ) -> Obj:
        self.propagations.append(propagation)
        self.bound.append(version)
        return self._answer("delete", key, uid)

    async def create(self, key: Key, obj: Obj, *, manager: str = "") -> Obj:
        return self._answer("create", key, obj)

    async def json_patch(self, key: Key, operations: Any, *, manager: str, confidential: bool = False) -> Obj:
        self.confidential.append(confidential)
        return self._answer("json_patch", key, operations, manager)

    async def merge_patch(self, key: Key, body: Obj, *, manager: str, subresource: str = "") -> Obj:
        return self._answer("merge_patch", key, body, manager, subresource)
