"""The stage of a pass that brings the generated CRD up to date and waits until the API server serves it.

It stops where the CRD is another definition's, is being deleted, would break its users, or is not taken; the functions
at the end say with which condition. An event of the CRD or of the definition wakes most of what stops here.
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
from kroasync.engine.labels import label_value
from kroasync.engine.verdict import AtRest, RetryAfter, Verdict, is_of_an_older_spec, is_of_another_object
from kroasync.graph.nodes import Graph
from kroasync.kube.api_errors import ApiError, NotFoundError
from kroasync.kube.client import Client
from kroasync.model import names
from kroasync.model.conditions import FALSE, TRUE
from kroasync.model.definition import Definition
from kroasync.model.kinds import CRDS
from kroasync.model.objects import Key, Obj, is_deleting, labels_of, name_of
from kroasync.schema.crd import Breaking, Create, Patch, Unchanged, crd_name, ensuring_crd_patch
from kroasync.schema.instance_checks import check_instance

log = logging.getLogger("kroasync.definitions")

_ESTABLISHED_S: Final = 120.0
# How often a CRD in deletion is looked at, should the event of its end have been missed.
_GONE_S: Final = 10.0
# Instances named in a message; more are counted.
_NAMED: Final = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """A CRD that is to be there, and the definition, as this pass sees it, that generates it."""

    definition: Definition
    graph: Graph
    # Schema of the instances' spec, if it is known.
    schema: Obj | None
    key: Key
    obj: Obj

    @property
    def name(self) -> str:
        return crd_name(self.definition)


@dataclass(frozen=True, slots=True)
class CrdStage:
    """Makes the stage for all definitions."""

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
        """The CRD as it is after what had to be written."""
        definition, key = wanted.definition, Key(CRDS, "", wanted.name)
        desired = labelled(wanted.graph.crd, definition, self.options.version)
        comparison = ensuring_crd_patch(existing, desired, allow_breaking=definition.allow_breaking_changes)
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
                # A CRD event or an edit of the definition wakes it; nothing else can help.
                return not_ready(refusal.message)

    async def _broken(self, wanted: Wanted) -> str:
        """Which live instances do not fit the new schema, and why; for whoever decides whether to allow it."""
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
        """The CRD once it is established; Stop if that cannot be, or the definition is another one by now."""
        async with asyncio.timeout(_ESTABLISHED_S):
            while True:
                changed = self.crds.changed
                crd = await self.client.get(Key(CRDS, "", wanted.name))
                if is_established(crd):
                    return crd
                current = self.registry.get(wanted.key)
                if is_over(wanted.obj, current) or (current is not None and is_of_an_older_spec(wanted.obj, current)):
                    # Its key is in the queue again.
                    return Stop()
                refused = names_refused(crd)
                if refused:
                    # An event of the CRD, or of the definition, wakes it.
                    return not_ready(f"CRD {wanted.name}: {refused}")
                # The watch of the CRDs announces it; the time limit is for when that watch is down.
                with suppress(TimeoutError):
                    # Not wait_for: that of Python 3.11 can lose a cancellation.
                    async with asyncio.timeout(self.options.progress_s):
                        await changed.wait()


def is_over(seen: Obj, current: Obj | None) -> bool:
    """Whether the definition was deleted since a pass saw it: a CRD created now would keep the name."""
    return current is None or is_of_another_object(seen, current) or is_deleting(current)


def not_ready(text: str, verdict: Verdict | None = None) -> Stop:
    """The kind cannot be served as the definition has it."""
    return Stop(findings=(StageCondition("KindReady", FALSE, "Failed", text),), verdict=verdict or AtRest())


def ready(crd: Obj, kind: str) -> Proceed:
    """The kind is served; `kind` is its name as the definition has it."""
    accepted = crd.get("status", {}).get("acceptedNames", {}).get("kind", kind)
    return Proceed(
        findings=(StageCondition("KindReady", TRUE, "Ready", f"kind {accepted} has been accepted and ready"),)
    )


def in_the_way(crd: Obj, rival: Key | None) -> Stop | None:
    """Why a CRD that is there is not to be written to: it is a rival's, or it is being deleted."""
    if rival is not None:
        # Of the same name, but another kind of definition or in another namespace.
        return not_ready(f"failed to update CRD {name_of(crd)}: CRD is owned by another {rival}")
    # Not written to either: who cleans it up would have to begin again.
    return going(crd)


def going(crd: Obj) -> Stop | None:
    """Stop if the CRD is being deleted."""
    if not is_deleting(crd):
        return None
    text = f"CRD {name_of(crd)} is being deleted; it is recreated when it is gone"
    return not_ready(text, RetryAfter(delay_s=_GONE_S, reason=text))


def breakage(broken: Sequence[str], total: int) -> str:
    """How many of all instances a change of the schema would break, and which."""
    if not broken:
        return f"; none of the {total} instances would break"
    more = f" and {len(broken) - _NAMED} more" if len(broken) > _NAMED else ""
    return f"; {len(broken)} of {total} instances would break: {', '.join(broken[:_NAMED])}{more}"


def labelled(crd: Obj, definition: Definition, version: str) -> Obj:
    """The CRD with the labels that say whose it is."""
    labels = {
        **labels_of(crd),
        names.LABEL_OWNED: "true",
        names.LABEL_KRO_VERSION: version,
        names.LABEL_DEFINITION_ID: definition.uid,
        names.LABEL_DEFINITION_NAME: label_value(definition.name),
    }
    return {**crd, "metadata": {**crd["metadata"], "labels": labels}}
