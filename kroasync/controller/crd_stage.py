"""The stage of a pass that brings the generated CRD up to date and waits until the API server serves it.

The stage stops if the CRD belongs to another definition, is being deleted, would break its users, or is refused. The
functions at the end build the condition for each case. In most cases an event of the CRD or of the definition wakes the
definition again.
"""

import asyncio
import logging
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Final

from kroasync.controller.crds import CrdStore, is_established, names_refused
from kroasync.controller.options import RuntimeOptions
from kroasync.controller.pacing import in_turns
from kroasync.controller.registry import Registry
from kroasync.controller.serving import Serving
from kroasync.controller.stages import Proceed, Stage, StageCondition, Stop
from kroasync.controller.watchdog import Watchdog
from kroasync.engine.verdict import AtRest, RetryAfter, Verdict, is_of_an_older_spec, is_of_another_object
from kroasync.graph.nodes import Graph
from kroasync.kube.api_errors import ApiError, NotFoundError
from kroasync.kube.client import Client
from kroasync.model import names
from kroasync.model.conditions import FALSE, TRUE
from kroasync.model.definition import Definition
from kroasync.model.kinds import CRDS
from kroasync.model.objects import Key, Obj, is_deleting, labels_of, name_of
from kroasync.schema.compat import CONSERVATIVE_GATE
from kroasync.schema.crd import Breaking, Create, Patch, Unchanged, crd_name, ensuring_crd_patch
from kroasync.schema.instance_checks import check_instance

log = logging.getLogger("kroasync.definitions")

_ESTABLISHED_S: Final = 120.0
# How often the stage checks a CRD that is being deleted, in case the DELETED event was missed.
_GONE_S: Final = 10.0
# A message names this many instances and counts the rest.
_NAMED: Final = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """The CRD that should exist, and the definition that generates it, as this pass sees it."""

    definition: Definition
    graph: Graph
    # The schema of the instances' spec, if known.
    schema: Obj | None
    key: Key
    obj: Obj

    @property
    def name(self) -> str:
        return crd_name(self.definition)


@dataclass(frozen=True, slots=True)
class CrdStage:
    """Runs the stage for all definitions."""

    client: Client
    crds: CrdStore
    registry: Registry
    serving: Serving
    watchdog: Watchdog
    options: RuntimeOptions

    async def ensure(self, wanted: Wanted) -> Stage:
        """Bring the CRD up to date and wait until it is established."""
        changes: list[str] = []
        stage: Stage
        try:
            stage = await self._ensured(wanted, changes)
        except TimeoutError:
            text = f"CRD {wanted.name} was not established within {_ESTABLISHED_S:.0f} s"
            stage = not_ready(text, RetryAfter(reason="CRD not established"))
        except ApiError as error:
            log.warning("definition not reconciled", extra={"definition": str(wanted.key), "error": error.message})
            text = f"failed to update CRD {wanted.name}: {error.message}"
            stage = not_ready(text, RetryAfter(reason=error.message))
        return replace(stage, changes=tuple(changes))

    async def _ensured(self, wanted: Wanted, changes: list[str]) -> Stage:
        existing = await self._existing(wanted.name)
        if existing is not None:
            stop = in_the_way(existing, self.registry.rival_of(wanted.key, existing))
            if stop is not None:
                return stop
        crd = await self._written(wanted, existing, changes)
        if isinstance(crd, Stop):
            return crd
        stop = going(crd)
        if stop is not None:
            return stop
        if not is_established(crd):
            crd = await self._established(wanted)
        return crd if isinstance(crd, Stop) else ready(crd, wanted.graph.resource.kind)

    async def _existing(self, name: str) -> Obj | None:
        try:
            return await self.client.get(Key(CRDS, "", name))
        except NotFoundError:
            return None

    async def _written(self, wanted: Wanted, existing: Obj | None, changes: list[str]) -> Obj | Stop:
        """Write the CRD if it differs; returns it as the API server has it."""
        definition, key = wanted.definition, Key(CRDS, "", wanted.name)
        desired = labelled(wanted.graph.crd, definition, self.options.version)
        comparison = ensuring_crd_patch(
            existing,
            desired,
            allow_breaking=definition.allow_breaking_changes,
            conservative=CONSERVATIVE_GATE in self.options.features,
        )
        found = await in_turns(comparison, lambda: asyncio.sleep(0), self.watchdog.compute)
        match found:
            case Create():
                if is_over(wanted.obj, self.registry.get(wanted.key)):
                    return Stop()
                answer = await self.client.create(key, desired, manager=names.MANAGER_LABELLER)
                changes.append("CRD created")
                return answer
            case Patch(patch=patch):
                answer = await self.client.merge_patch(key, patch, manager=names.MANAGER_LABELLER)
                changes.append("CRD updated")
                return answer
            case Unchanged():
                assert existing is not None
                return existing
            case Breaking(message=message):
                return not_ready(message + await self._broken(wanted))
            case refusal:
                # Only a change of the CRD or of the definition can help, and both wake the definition.
                return not_ready(refusal.message)

    async def _broken(self, wanted: Wanted) -> str:
        """Which live instances the new schema would reject, and why: text for the person who may allow the change."""
        served = self.serving.kinds.get(wanted.graph.resource)
        if served is None or wanted.schema is None:
            return ""
        found = []
        for key in list(served.instances):
            await asyncio.sleep(0)
            if not served.instances.is_whole(key):
                continue
            problems = check_instance(served.instances.get(key) or {}, wanted.definition, wanted.schema)
            if problems:
                found.append(f"{key.namespace}/{key.name} ({problems[0].where}: {problems[0].message})".lstrip("/"))
        return breakage(found, len(served.instances))

    async def _established(self, wanted: Wanted) -> Obj | Stop:
        """Wait until the CRD is established; Stop if it cannot be, or if the definition changed meanwhile."""
        async with asyncio.timeout(_ESTABLISHED_S):
            while True:
                changed = self.crds.changed
                crd = await self.client.get(Key(CRDS, "", wanted.name))
                if is_established(crd):
                    return crd
                current = self.registry.get(wanted.key)
                if is_over(wanted.obj, current) or (current is not None and is_of_an_older_spec(wanted.obj, current)):
                    # The change added the key to the queue again.
                    return Stop()
                refused = names_refused(crd)
                if refused:
                    # An event of the CRD or of the definition wakes the definition.
                    return not_ready(f"CRD {wanted.name}: {refused}")
                # The CRD watch announces the change. The time limit is for an outage of that watch.
                with suppress(TimeoutError):
                    # Not wait_for: in Python 3.11 it can lose a cancellation.
                    async with asyncio.timeout(self.options.progress_s):
                        await changed.wait()


def is_over(seen: Obj, current: Obj | None) -> bool:
    """Whether the definition was deleted during the pass. A CRD that is created then would stay and keep its name."""
    return current is None or is_of_another_object(seen, current) or is_deleting(current)


def not_ready(text: str, verdict: Verdict | None = None) -> Stop:
    """The kind cannot be served as the definition declares it."""
    return Stop(findings=(StageCondition("KindReady", FALSE, "Failed", text),), verdict=verdict or AtRest())


def ready(crd: Obj, kind: str) -> Proceed:
    """The kind is served; `kind` is the name that the definition declares."""
    accepted = crd.get("status", {}).get("acceptedNames", {}).get("kind", kind)
    return Proceed(
        findings=(StageCondition("KindReady", TRUE, "Ready", f"kind {accepted} has been accepted and ready"),)
    )


def in_the_way(crd: Obj, rival: Key | None) -> Stop | None:
    """Stop if an existing CRD must not be changed: it belongs to a rival, or it is being deleted."""
    if rival is not None:
        # The rival may have the same name: it is of another kind or in another namespace.
        return not_ready(f"failed to update CRD {name_of(crd)}: CRD is owned by another {rival}")
    # A write would make the API server's cleanup of the instances start again.
    return going(crd)


def going(crd: Obj) -> Stop | None:
    """Stop if the CRD is being deleted."""
    if not is_deleting(crd):
        return None
    text = f"CRD {name_of(crd)} is being deleted; it is recreated when it is gone"
    return not_ready(text, RetryAfter(delay_s=_GONE_S, reason=text))


def breakage(broken: Sequence[str], total: int) -> str:
    """How many of the instances a schema change would break, and which ones."""
    if not broken:
        return f"; none of the {total} instances would break"
    more = f" and {len(broken) - _NAMED} more" if len(broken) > _NAMED else ""
    return f"; {len(broken)} of {total} instances would break: {', '.join(broken[:_NAMED])}{more}"


def labelled(crd: Obj, definition: Definition, version: str) -> Obj:
    """The CRD with the labels that name its owner."""
    labels = {
        **labels_of(crd),
        names.LABEL_OWNED: "true",
        names.LABEL_KRO_VERSION: version,
        names.LABEL_DEFINITION_ID: definition.uid,
        names.LABEL_DEFINITION_NAME: definition.name,
    }
    return {**crd, "metadata": {**crd["metadata"], "labels": labels}}
