"""Delete the children of an instance, wave after wave, then remove our finalizers; also for an instance that is gone.

`engine.teardown` plans each wave from the labels and annotations of the children. It needs neither graph nor
definition. A pass continues with the next wave as long as it has nothing to wait for.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from kroasync.controller.child_store import ChildStore
from kroasync.controller.finalizers import set_finalizers
from kroasync.controller.observing import InstanceWorld, Observing
from kroasync.controller.options import RuntimeOptions
from kroasync.controller.perform import Performers
from kroasync.controller.recording import LISTED, Recording
from kroasync.controller.reporting import Reporting
from kroasync.controller.served_kinds import Served
from kroasync.controller.watches import Watches
from kroasync.engine.actions import Delete, Release
from kroasync.engine.instance_status import compose_release_failed, compose_teardown
from kroasync.engine.outcome import ChangeKind
from kroasync.engine.teardown import Teardown, after, blocked, membership_of, own_finalizers, plan_teardown
from kroasync.engine.verdict import (
    AWAY_S,
    AtRest,
    RetryAfter,
    Summary,
    Verdict,
    is_next_wave_due,
    of_clearing,
    of_teardown,
    summed_up,
)
from kroasync.kube.api_errors import ApiError, ConflictError, NotFoundError
from kroasync.kube.client import Client
from kroasync.model.objects import Key, Obj, finalizers_of, uid_of

_NOT_LISTED: Final = "list deletion inventory"


@dataclass(frozen=True, slots=True)
class Deleting:
    """Makes the passes over instances that are being deleted or are gone."""

    client: Client
    children: ChildStore
    watches: Watches
    observing: Observing
    performers: Performers
    reporting: Reporting
    recording: Recording
    options: RuntimeOptions

    async def wait_for_sight(self, key: Key, served: Served, instance: Obj, unseen: Mapping[str, str]) -> Verdict:
        """Report that kinds of the inventory cannot be listed. The deletion waits: it must not orphan their objects."""
        text = "; ".join([*unseen.values()][:LISTED])
        stuck = blocked(f"{_NOT_LISTED}: {text}")
        status = compose_teardown(instance, stuck, now=self.reporting.stamp())
        await self.reporting.report(key, served, instance, status)
        return RetryAfter(reason=text, at_most_s=AWAY_S)

    async def tear_down(
        self,
        key: Key,
        served: Served,
        instance: Obj,
        world: InstanceWorld,
        *,
        removed: tuple[Delete | Release, ...] = (),
    ) -> Verdict:
        """Delete one wave, and the next ones if there is nothing to wait for.

        `removed` lists what this pass deleted or released.
        """
        if not own_finalizers(instance):
            return AtRest()
        await self.observing.ask_for_unanswered(world.uid)
        try:
            plan = plan_teardown(instance, world.members(), seal_key=self.options.engine.seal_key)
        except ApiError as error:
            plan = blocked(f"{_NOT_LISTED}: {error.message}")
        self.recording.repair(key, instance, plan.repair)
        if plan.finalizer_removal:
            return await self._finish(key, served, instance, plan, removed)
        if plan.deletes:
            performer = self.performers.of(key, served.instances)
            plan = after(plan, await performer.perform_all(plan.deletes))
            self.recording.releases(key, instance, performer)
            removed += plan.deletes
        if plan.deletes and is_next_wave_due(plan, is_any_going=self._is_any_going(instance)):
            return await self.tear_down(key, served, instance, world, removed=removed)
        self.recording.deletes(instance, plan, _deleted(removed))
        status = compose_teardown(instance, plan, now=self.reporting.stamp())
        reported = await self.reporting.report(key, served, instance, status)
        summary = summed_up(status, _changes(removed), _sent(removed), reported.written)
        return of_teardown(plan, summary=summary)

    async def clear_away(self, key: Key, served: Served) -> Verdict | None:
        """Delete the children of an instance that is gone in spite of our finalizer; None when none are left."""
        gone = served.dropped[key]
        performer = self.performers.of(key, served.instances)
        await self.observing.ask_for_unanswered(uid_of(gone))
        while True:
            plan = plan_teardown(gone, self.children.members(uid_of(gone)), seal_key=self.options.engine.seal_key)
            if plan.blocked or plan.finalizer_removal:
                self.recording.releases(key, gone, performer)
                del served.dropped[key]
                return None
            plan = after(plan, await performer.perform_all(plan.deletes)) if plan.deletes else plan
            verdict = of_clearing(plan, is_any_going=self._is_any_going(gone))
            if verdict is not None:
                self.recording.releases(key, gone, performer)
                return verdict

    def _is_any_going(self, instance: Obj) -> bool:
        """Whether a member is being deleted that the deletion waits for."""
        labelled = self.children.members(uid_of(instance))
        membership = membership_of(instance, labelled, seal_key=self.options.engine.seal_key)
        return any(m.deleting and not m.orphaned for m in membership.members(labelled))

    async def _finish(
        self, key: Key, served: Served, instance: Obj, plan: Teardown, removed: tuple[Delete | Release, ...]
    ) -> Verdict:
        """Remove our finalizers: no children are left."""
        others = [f for f in finalizers_of(instance) if f not in plan.remove_finalizers]
        try:
            answer: Obj | None = await set_finalizers(self.client, key, instance, others)
        except NotFoundError:
            answer = None
        except ConflictError:
            return RetryAfter(reason="the instance changed meanwhile")
        except ApiError as error:
            status = compose_release_failed(instance, error.message, now=self.reporting.stamp())
            await self.reporting.report(key, served, instance, status)
            return RetryAfter(reason=error.message)
        self.recording.strangers(key, instance, plan.strangers)
        self.recording.deleted(instance, _deleted(removed), kept=len(removed) - len(_deleted(removed)))
        self.watches.release(key)
        if answer is not None and others:
            served.instances.wrote(answer)
        changes = dict(Counter(kind.value for kind in _changes(removed)))
        return AtRest(summary=Summary(outcome="deleted", changes=changes, sent=_sent(removed) + 1))


def _deleted(removed: Sequence[Delete | Release]) -> list[str]:
    return [str(action.key) for action in removed if isinstance(action, Delete)]


def _changes(removed: Sequence[Delete | Release]) -> list[ChangeKind]:
    return [ChangeKind.RELEASED if isinstance(action, Release) else ChangeKind.DELETED for action in removed]


def _sent(removed: Sequence[Delete | Release]) -> int:
    """How many requests these were: a release reads the object first."""
    return sum(2 if isinstance(action, Release) else 1 for action in removed)
