"""Plan, apply, wait, compare: one round for each edit."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from random import Random
from typing import Final

from kroasync.kube.client import Client
from kroasync.kube.config import connect
from kroasync.model.manifests import Text
from kroasync.model.objects import Obj
from kroasync.planning.forecast import Forecast, Verb
from kroasync.planning.planner import forecast
from kroasync.planning.request import Request
from tests.faults.site import persistently
from tests.integration.cluster import Lab, RefusedError, audited, eventually
from tests.planning.comparing import State, broken, writes_of
from tests.planning.edits import EDITS, KIND, STIRS, Wanted, guard, share, unguard
from tests.waiting import POLL_S

# The controller is at rest if it wrote nothing for so long.
_CALM_S: Final = 0.5
_WITHIN_S: Final = 120.0
_BUSY: Final = (
    "workqueue_depth",
    "controller_runtime_active_workers",
    'kroasync_workqueue_depth{state="ready"',
    'kroasync_workqueue_depth{state="in-work"',
)


@dataclass(slots=True)
class Rounds:
    """The rounds on one lab. `user` is the controller in the audit log."""

    lab: Lab
    user: str
    wanted: Wanted
    chance: Random
    tell: Callable[[str], None]
    steps: int = 0
    broken: list[str] = field(default_factory=list)

    def play(self, names: Sequence[str]) -> None:
        """Edits and stirs by their names, one round each."""
        share(self.lab)
        guard(self.lab)
        try:
            self._apply([self.wanted.definition()])
            self.lab.await_definition(self.lab.definition_name(KIND))
            self._apply([self.wanted.instance(name) for name in self.wanted.names])
            self._await_guard()
            self._rest(0)
            for number, name in enumerate(names):
                self._round(number, name)
        finally:
            unguard(self.lab)

    def _round(self, number: int, name: str) -> None:
        if self.wanted.recover():
            self._apply(self._files())
            self.lab.await_definition(self.lab.definition_name(KIND), timeout_s=_WITHIN_S)
            self._rest(0)
        if name in STIRS:
            # The controller would repair at once what is to be planned.
            self.lab.controller.stop()
            STIRS[name](self.wanted, self.chance, self.lab.cluster)
        else:
            EDITS[name](self.wanted, self.chance)
        files = self._files()
        before, began = self._state(), time.monotonic()
        plan = asyncio.run(self._plan(files))
        took_s = time.monotonic() - began
        mark = self._mark()
        self._apply(files)
        if name in STIRS:
            self.lab.controller.start()
            self.lab.controller.wait_ready()
        name_of_it = self.lab.definition_name(KIND)
        generation = self.lab.read_definition(name_of_it)["metadata"]["generation"]
        state = "Inactive" if any(one.verb is Verb.REFUSED for one in plan.definitions) else "Active"
        self.lab.await_definition(name_of_it, state, generation=generation, timeout_s=_WITHIN_S)
        self._rest(mark)
        events = audited(self.lab.cluster.playground, user=self.user, since=mark)
        found = broken(plan, before, self._state(), writes_of(events, self.lab.namespace))
        counts = {verb.value: count for verb, count in (plan.counts() + plan.drift_counts()).items()}
        self.steps += sum(counts.values())
        self.tell(f"{number} {name}: planned {counts} in {took_s:.1f} s, {len(found)} differences")
        self.broken += [f"{number} {name}: {text}" for text in found]

    def _files(self) -> list[Obj]:
        return [self.wanted.definition(), *(self.wanted.instance(one) for one in self.wanted.names)]

    async def _plan(self, files: Sequence[Obj]) -> Forecast:
        connection = await connect(kubeconfig=str(self.lab.cluster.playground.kubeconfig))
        try:
            texts = [Text("files.json", "\n---\n".join(map(json.dumps, files)))]
            return await forecast(Client(connection), Request(texts=texts), lambda *_: None)
        finally:
            await connection.close()

    def _apply(self, objects: Sequence[Obj]) -> None:
        for obj in objects:
            if obj["kind"] == KIND:
                persistently(partial(self.lab.cluster.apply, obj))
            else:
                self.lab.submit(obj)

    def _state(self) -> State:
        return {
            (kind, obj["metadata"]["name"]): {"apiVersion": "v1", "kind": kind, **obj}
            for kind in ("ConfigMap", "Secret")
            for obj in self.lab.cluster.list(self.lab.cluster.path(kind, self.lab.namespace))
            if obj["metadata"]["name"] != "kube-root-ca.crt"
        }

    def _mark(self) -> int:
        return self.lab.cluster.playground.audit_log.stat().st_size

    def _rest(self, mark: int) -> None:
        """Wait until every instance is looked at, and the controller writes nothing more."""
        path = self.lab.cluster.path(KIND, self.lab.namespace, api_version=f"{self.lab.group}/v1alpha1")
        eventually(
            # The API server reads a kind anew when its schema changes.
            lambda: persistently(lambda: self.lab.cluster.list(path)),
            lambda found: len(found) >= len(self.wanted.names) and all(map(_is_looked_at, found)),
            timeout_s=_WITHIN_S,
            what="every instance is looked at",
        )
        eventually(self._is_idle, bool, timeout_s=_WITHIN_S, what="the controller has nothing to do")
        deadline, last = time.monotonic() + _WITHIN_S, (self._written(mark), time.monotonic())
        while time.monotonic() - last[1] < _CALM_S:
            assert time.monotonic() < deadline, "the controller goes on writing"
            threading.Event().wait(POLL_S * 5)
            now = self._written(mark)
            last = last if now == last[0] and self._is_idle() else (now, time.monotonic())

    def _is_idle(self) -> bool:
        """Whether no key is in a queue of the controller, and none is processed."""
        status, text = self.lab.controller.get("/metrics")
        lines = [line for line in text.splitlines() if line.startswith(_BUSY)]
        return status == 200 and bool(lines) and all(float(line.rpartition(" ")[2]) == 0 for line in lines)

    def _written(self, mark: int) -> int:
        """How many successful writes of the controller there were, without its Lease and its Events."""
        events = audited(self.lab.cluster.playground, user=self.user, since=mark)
        return sum(
            event["verb"] not in ("get", "list")
            and (event.get("responseStatus") or {}).get("code", 0) < 300
            and (event.get("objectRef") or {}).get("resource") not in ("leases", "events")
            for event in events
        )

    def _await_guard(self) -> None:
        """An admission policy holds some time after it was created."""
        path = self.lab.cluster.path("ConfigMap", self.lab.namespace)
        body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "guarded"}, "data": {"forbidden": "yes"}}

        def is_denied() -> bool:
            try:
                self.lab.cluster.call("POST", f"{path}?dryRun=All", body)
            except RefusedError:
                return True
            return False

        eventually(is_denied, bool, timeout_s=30, what="the admission policy denies")


def _is_looked_at(obj: Obj) -> bool:
    status = obj.get("status") or {}
    return status.get("observedGeneration") == obj["metadata"]["generation"] and bool(status.get("state"))


def chosen(chance: Random, count: int) -> list[str]:
    """The names of rounds: every one once, as far as there is room, then any of them."""
    every = [*EDITS, *STIRS]
    chance.shuffle(every)
    return [*every[:count], *chance.choices(every, k=max(0, count - len(every)))]
