"""Reconcile instances: observe from the caches, let the engine compare, act on what it asks for, report.

`reconcile(key)` is level-triggered and safe to run twice. All decisions are the engine's; this module waits.
"""

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from enum import Enum

from kroasync.controller.events import Recorder
from kroasync.controller.fights import Fights
from kroasync.controller.inventories import InventoryKinds
from kroasync.controller.outcomes import AWAY_S, Done, RetryAfter, Summary, Verdict, no_later
from kroasync.controller.pacing import Pacing, in_turns
from kroasync.controller.perform import Performer
from kroasync.controller.served import Served
from kroasync.controller.serving import Serving
from kroasync.controller.statuses import report, wait_s
from kroasync.controller.store import ChildStore
from kroasync.controller.told import Told
from kroasync.controller.watchdog import PassOverranError, Watchdog
from kroasync.controller.watches import Watches, synced
from kroasync.engine.actions import Need, Observed, Refusal, Watch
from kroasync.engine.membership import stranger_text
from kroasync.engine.offline import defaulted
from kroasync.engine.outcome import ChangeKind, NodeState, Outcome, Retry
from kroasync.engine.plan import MAX_DEPTH, Plan
from kroasync.engine.status import (
    TOO_LARGE,
    StatusRefusal,
    compose_release_failed,
    compose_teardown,
    compose_unresolved,
    composing,
    invalid,
)
from kroasync.engine.teardown import Teardown, after, blocked, membership_of, own_finalizers, parent_of, plan_teardown
from kroasync.engine.walk import Walk
from kroasync.kube.client import Client
from kroasync.kube.errors import ApiError, ConflictError, InvalidError, NotFoundError, TooBigError
from kroasync.metrics import ConditionAge, Metrics
from kroasync.model import applyset
from kroasync.model.conditions import conditions_of
from kroasync.model.names import MANAGER_LABELLER
from kroasync.model.objects import (
    Key,
    Obj,
    annotations_of,
    is_deleting,
    metadata,
    uid_of,
    version_of,
)
from kroasync.model.paths import nests_deeper

log = logging.getLogger("kroasync.instances")

# A pass that waits for an event looks again after this time, should the event have been missed.
SAFETY_NET_S = 600.0
_STATUS_ATTEMPTS = 5
_LARGE_AT_ONCE = 4
# How often the children of an instance that is gone are looked at until they are gone, too.
_DROPPED_S = 1.0
_CONDITION_EVENTS = "InstanceConditionEvents"
_CONDITION_METRICS = "InstanceConditionMetrics"


class _Written(Enum):
    """What became of a status."""

    SAME = "same"
    YES = "yes"
    NO = "no"
    REFUSED = "refused"


class _StatusRefusedError(Exception):
    """The API server does not take the status as it is."""

    def __init__(self, refusal: StatusRefusal) -> None:
        super().__init__(refusal[1])
        self.refusal = refusal


@dataclass(slots=True)
class InstanceWorld:
    """The caches as one instance sees them (engine's World)."""

    children: ChildStore
    watches: Watches
    instance: Key
    uid: str
    out_of_sight: frozenset[str]

    def find(self, key: Key) -> Observed | None:
        return self.children.find(key)

    def members(self) -> Sequence[Observed]:
        return self.children.members(self.uid)

    def compare(self, key: Key, desired: Obj) -> Need | None:
        return self.children.compare(key, desired)

    def external(self, watch: Watch) -> Sequence[Obj] | None:
        return self.watches.external(watch, holder=self.instance)

    def unseen(self) -> frozenset[str]:
        return self.out_of_sight


@dataclass(slots=True)
class Instances:
    """The controller of all generated kinds."""

    client: Client
    serving: Serving
    children: ChildStore
    watches: Watches
    inventory_kinds: InventoryKinds
    recorder: Recorder
    metrics: Metrics
    now: Callable[[], datetime]
    # Longest time between two attempts of what only waits for something that no watch announces; 0 for no limit.
    requeue_s: float
    features: frozenset[str]
    fights: Fights
    pacing: Pacing
    seal_key: bytes
    watchdog: Watchdog
    _told: Told = field(default_factory=Told)
    # Passes over large instances at the same time.
    _large: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(_LARGE_AT_ONCE))
    # Instances whose last status may have been written although no answer came: the cache may be behind it.
    _unsure: set[Key] = field(default_factory=set)

    async def reconcile(self, key: Key) -> Verdict:
        """Bring one instance up to date, or its deletion one step further."""
        verdict = await self._reconcile(key)
        served = self.serving.kinds.get(key.resource)
        left_for_s = wait_s(served.instances, self.fights, key) if served is not None else 0.0
        return no_later(verdict, left_for_s, "the status is contested") if left_for_s > 0 else verdict

    async def _reconcile(self, key: Key) -> Verdict:
        served = self.serving.kinds.get(key.resource)
        if served is not None and key in served.dropped:
            verdict = await self._clear_away(key, served)
            if verdict is not None:
                return verdict
        if served is None or served.instances.head(key) is None:
            self.watches.release(key)
            self._unsure.discard(key)
            self._told.forget(key)
            return Done()
        if not served.instances.is_large(key):
            return await self._pass(key, served)
        # They are whole in memory during their passes.
        async with self._large:
            return await self._pass(key, served)

    async def _pass(self, key: Key, served: Served) -> Verdict:
        instance = served.instances.get(key)
        if instance is not None and (key in self._unsure or not served.instances.is_whole(key)):
            instance = await self._reread(key, served, instance)
        if instance is None:
            return Done()  # it is gone, and its event is to come
        instance = served.instances.as_left(key, instance)
        unseen = await self._hold_inventory(key, instance)
        world = InstanceWorld(self.children, self.watches, key, uid_of(instance), frozenset(unseen))
        if is_deleting(instance):
            if unseen and own_finalizers(instance):
                text = "; ".join([*unseen.values()][:_LISTED])
                stuck = blocked(f"list deletion inventory: {text}")
                await self._report(key, served, instance, compose_teardown(instance, stuck, now=self._stamp()))
                return RetryAfter(reason=text, at_most_s=AWAY_S)
            return await self._tear_down(key, served, instance, world)
        # The whole pass follows one graph, whatever happens to the definition meanwhile.
        plan = served.plan
        if plan is None:
            self.metrics.instance_graph_resolution_failures_total.inc(str(key.resource), "not_available")
            return await self._unresolved(key, served, instance)
        self.metrics.instance_graph_resolution_success_total.inc(str(key.resource))
        try:
            verdict = await self._converge(key, served, instance, world, plan)
            # What the unseen kinds have may be there to prune: nothing tells when they can be listed.
            return no_later(verdict, SAFETY_NET_S, "kinds of the inventory cannot be listed") if unseen else verdict
        except RecursionError:
            if not nests_deeper(instance.get("spec"), MAX_DEPTH):
                raise
            status = compose_unresolved(instance, f"spec is nested more than {MAX_DEPTH} levels", now=self._stamp())
            await self._report(key, served, instance, status)
            return Done()
        except PassOverranError as error:
            await self._report(key, served, instance, compose_unresolved(instance, str(error), now=self._stamp()))
            raise

    async def _converge(self, key: Key, served: Served, instance: Obj, world: InstanceWorld, plan: Plan) -> Verdict:
        """Make what is there what the plan declares for the instance, and report."""
        performer = self._performer(key, served)
        # A cached instance may be older than a default the definition gained since; the API server adds it on reading.
        whole = {**instance, "spec": defaulted(instance.get("spec") or {}, served.spec_schema)}
        walk = Walk(plan, whole, world, tired=lambda: self.pacing.tired(key))
        while actions := self.watchdog.compute(walk.next_actions):
            walk.feed(await performer.perform_all(actions))
        outcome = walk.outcome
        if outcome.retry is Retry.FRESH:
            # It was about a stale object, whose event may be long in coming; the pass over the fresh one reports.
            self._unsure.add(key)
            return self._verdict(outcome, Summary(sent=performer.sent))
        self.watches.keep_externals(key, outcome.watches)
        # The freshest instance: a status write is bound to the version its difference was taken from.
        status = await self._composed(key, plan, outcome)
        refused: StatusRefusal | None = None
        try:
            wrote = await self._write_report(key, served, instance, status)
        except _StatusRefusedError as error:
            refused = error.refusal
            status = await self._composed(key, plan, outcome, refused=refused)
            wrote = await self._report(key, served, instance, status)
        self._record_adoptions(key, instance, outcome, performer)
        self._record(served, outcome, before=instance.get("status") or {}, status=status)
        self._count_nodes(served, outcome)
        summary = _summary(status, [change.kind for change in outcome.changes], performer.sent, wrote)
        if wrote is _Written.REFUSED and refused is TOO_LARGE:
            # Only a smaller instance can help, and that is an event.
            return RetryAfter(delay_s=SAFETY_NET_S, reason="the status is refused", summary=summary)
        if wrote in (_Written.NO, _Written.REFUSED):
            return RetryAfter(reason="status not written", summary=summary)
        self._record_contested(instance, performer.contested)
        self._tell_strangers(key, instance, outcome.strangers)
        self._tell_repair(key, instance, outcome.repair)
        verdict = self._verdict(outcome, summary)
        if refused is not None and refused is not TOO_LARGE and outcome.retry in (Retry.NONE, Retry.EVENT):
            # Who refused it may think better of it: the fields are to come back.
            verdict = RetryAfter(reason=refused[1], at_most_s=SAFETY_NET_S, summary=summary)
        if performer.deferred and isinstance(verdict, RetryAfter) and verdict.delay_s is None:
            at_most_s = min(performer.deferred.values())
            verdict = replace(verdict, at_most_s=min(at_most_s, verdict.at_most_s or at_most_s))
        return verdict

    async def _composed(self, key: Key, plan: Plan, outcome: Outcome, *, refused: StatusRefusal | None = None) -> Obj:
        """The status of a pass; its expressions may take long."""
        served = self.serving.kinds.get(key.resource)
        if served is not None:
            # The answer to a patch of its metadata has what others made of its status.
            outcome = replace(outcome, instance=served.instances.as_left(key, outcome.instance))
        steps = composing(plan, outcome, now=self._stamp(), refused=refused)
        return await in_turns(steps, lambda: self.pacing.pause(key), self.watchdog.compute)

    def _record_contested(self, instance: Obj, contested: dict[Key, str]) -> None:
        for child, text in contested.items():
            note = f"{child}: {text}"
            self.recorder.record(instance, reason="Contested", note=note, action="Reconcile", warning=True)

    def _tell_strangers(self, key: Key, instance: Obj, strangers: Sequence[Observed]) -> None:
        note = stranger_text(strangers) if strangers else ""
        if note and self._told.is_new(key, note):
            self.recorder.record(instance, reason="NotAMember", note=note, action="Reconcile", warning=True)

    def _tell_repair(self, key: Key, instance: Obj, note: str) -> None:
        if note and self._told.is_new(key, note):
            self.recorder.record(instance, reason="InventoryRepaired", note=note, action="Reconcile", warning=True)

    def _count_nodes(self, served: Served, outcome: Outcome) -> None:
        metrics, states = self.metrics, [report.state for report in outcome.nodes.values()]
        metrics.runtime_node_eval_total.inc(by=len(states))
        for state, counter in (
            (NodeState.ERROR, metrics.runtime_node_eval_errors_total),
            (NodeState.SKIPPED, metrics.runtime_node_ignored_total),
            (NodeState.WAITING_FOR_READINESS, metrics.runtime_node_not_ready_total),
        ):
            if state in states:
                counter.inc(by=states.count(state))
        for node in served.graph.nodes.values() if served.graph else ():
            report = outcome.nodes.get(node.id)
            if node.is_collection and not node.is_external and report is not None:
                metrics.runtime_collection_size.observe(len(report.objects))

    async def _unresolved(self, key: Key, served: Served, instance: Obj) -> Verdict:
        """Nobody defines the kind: what is there stays, and can be deleted; said once its definition is known gone."""
        if served.unresolved:
            status = compose_unresolved(instance, served.unresolved, now=self._stamp())
            await self._report(key, served, instance, status)
        return Done()

    async def _hold_inventory(self, key: Key, instance: Obj) -> dict[str, str]:
        """Watch every kind the instance's inventory names and children are of; the kinds that stay out of sight, and
        why.
        """
        served = self.serving.kinds.get(key.resource)
        graph = served.graph if served else None
        known = {n.resource.group_kind for n in graph.nodes.values() if not n.is_external} if graph else set()
        recorded = applyset.recorded(annotations_of(instance), parent_of(instance)).inventory
        beyond, unseen = await self.inventory_kinds.watched(recorded.group_kinds - known)
        for watch in self.serving.hold_inventory(key, beyond):
            try:
                await synced(watch)
            except ApiError as error:
                unseen[watch.resource.group_kind] = error.message
        return unseen

    # Deletion

    async def _tear_down(
        self, key: Key, served: Served, instance: Obj, world: InstanceWorld, *, deleted: tuple[str, ...] = ()
    ) -> Verdict:
        """One wave, and the next ones as long as nothing has to be waited for; `deleted` are those of this pass."""
        if not own_finalizers(instance):
            return Done()
        await self._ask_for_unanswered(world.uid)
        try:
            plan = plan_teardown(instance, world.members(), seal_key=self.seal_key)
        except ApiError as error:
            plan = blocked(f"list deletion inventory: {error.message}")
        self._tell_repair(key, instance, plan.repair)
        if plan.finalizer_removal:
            return await self._release(key, served, instance, plan, deleted)
        if plan.deletes:
            performer = self._performer(key, served)
            results = await performer.perform_all(plan.deletes)
            plan = after(plan, results)
            deleted += tuple(str(delete.key) for delete in plan.deletes)
        if plan.deletes and plan.retry is Retry.EVENT and not self._is_any_going(instance):
            # The whole wave is gone already: go on with the next one.
            return await self._tear_down(key, served, instance, world, deleted=deleted)
        self._record_deletes(instance, plan, deleted)
        status = compose_teardown(instance, plan, now=self._stamp())
        wrote = await self._report(key, served, instance, status)
        summary = _summary(status, [ChangeKind.DELETED] * len(deleted), len(deleted), wrote)
        if plan.retry is Retry.BACKOFF:
            return RetryAfter(reason=plan.message, summary=summary)
        return RetryAfter(delay_s=SAFETY_NET_S, reason=plan.message, summary=summary)

    def _is_any_going(self, instance: Obj) -> bool:
        """Whether a member is on its way out."""
        labelled = self.children.members(uid_of(instance))
        membership = membership_of(instance, labelled, seal_key=self.seal_key)
        return any(m.deleting for m in membership.members(labelled))

    async def _ask_for_unanswered(self, uid: str) -> None:
        """Ask for what may have been created without an answer: what nobody knows of would be left behind."""
        for child in self.children.unanswered(uid):
            found = await self._fresh(child)
            if found is not None:
                self.children.put(child.resource, found)
        self.children.settle(uid)

    async def _clear_away(self, key: Key, served: Served) -> Verdict | None:
        """Delete what an instance left that went in spite of our finalizer; None when nothing is left."""
        gone = served.dropped[key]
        performer = self._performer(key, served)
        await self._ask_for_unanswered(uid_of(gone))
        while True:
            plan = plan_teardown(gone, self.children.members(uid_of(gone)), seal_key=self.seal_key)
            if plan.blocked or plan.finalizer_removal:
                del served.dropped[key]
                return None
            plan = after(plan, await performer.perform_all(plan.deletes)) if plan.deletes else plan
            if plan.retry is Retry.BACKOFF:
                return RetryAfter(reason=plan.message)
            if not plan.deletes or self._is_any_going(gone):
                # Nobody has its UID any more: no event of a child wakes this key.
                return RetryAfter(delay_s=_DROPPED_S, reason=plan.message)

    async def _release(
        self, key: Key, served: Served, instance: Obj, plan: Teardown, deleted: tuple[str, ...]
    ) -> Verdict:
        """Nothing is left: take our finalizers off."""
        others = [f for f in metadata(instance).get("finalizers", ()) if f not in plan.remove_finalizers]
        body = {"metadata": {"resourceVersion": metadata(instance)["resourceVersion"], "finalizers": others}}
        try:
            answer = await self.client.merge_patch(key, body, manager=MANAGER_LABELLER)
        except NotFoundError:
            answer = None
        except ConflictError:
            return RetryAfter(reason="the instance changed meanwhile")
        except ApiError as error:
            status = compose_release_failed(instance, error.message, now=self._stamp())
            await self._report(key, served, instance, status)
            return RetryAfter(reason=error.message)
        self._tell_strangers(key, instance, plan.strangers)
        note = f"deleted {_listed(deleted)}; all resources are gone" if deleted else "all resources are gone"
        self.recorder.record(instance, reason="Deleted", note=note, action="Delete")
        self.watches.release(key)
        if answer is not None and others:
            served.instances.wrote(answer)
        return Done(summary=Summary(outcome="deleted", changes={"deleted": len(deleted)}, sent=len(deleted) + 1))

    # Report

    async def _report(self, key: Key, served: Served, seen: Obj, status: Obj) -> _Written:
        """Write the status if it differs; if it could not be written the pass has to be repeated."""
        try:
            return await self._write_report(key, served, seen, status)
        except _StatusRefusedError:
            return _Written.REFUSED

    async def _write_report(self, key: Key, served: Served, seen: Obj, status: Obj) -> _Written:
        """`_report`, but raises _StatusRefusedError if the API server does not take it."""
        if _CONDITION_METRICS in self.features:
            ages = [_age(c) for c in status.get("conditions") or ()]
            self.metrics.instance_conditions.set(str(key.resource), key.namespace, key.name, ages)
        for _ in range(_STATUS_ATTEMPTS):
            current = served.instances.get(key)
            if current is None or uid_of(current) != uid_of(seen) or wait_s(served.instances, self.fights, key) > 0:
                return _Written.SAME
            if not served.instances.is_whole(key) and version_of(seen) == version_of(current):
                current = seen
            elif not served.instances.is_whole(key):
                current = await self._reread(key, served, current)
            if current is None:
                return _Written.SAME
            try:
                answer, contested = await report(self.client, served.instances, self.fights, key, current, status)
            except NotFoundError:
                return _Written.SAME
            except ConflictError:
                fresh = await self._fresh(key)
                if fresh is None:
                    return _Written.SAME
                served.instances.fetched(fresh)
                if metadata(fresh).get("generation") != metadata(seen).get("generation"):
                    return _Written.SAME  # what was found out is about an older spec; the new one has its own pass
                continue
            except ApiError as error:
                confidential = served.plan is not None and served.plan.status_is_secret
                text = error.known_reason if confidential and error.quotes_body else error.message
                log.warning("status not written", extra={"error": text})
                if isinstance(error, TooBigError):
                    raise _StatusRefusedError(TOO_LARGE) from error
                self._unsure.add(key)
                if isinstance(error, InvalidError):
                    raise _StatusRefusedError(invalid(text)) from error
                return _Written.NO
            if contested:
                self.recorder.record(current, reason="Contested", note=contested, action="Reconcile", warning=True)
            if answer is not None:
                before, after_ = (current.get("status") or {}).get("state"), status.get("state")
                if before and before != after_:
                    gvk = str(key.resource.gvk)
                    self.metrics.instance_state_transitions_total.inc(gvk, before, str(after_))
                if _CONDITION_EVENTS in self.features:
                    self._record_conditions(current, status)
            return _Written.SAME if answer is None else _Written.YES
        return _Written.NO

    def _performer(self, key: Key, served: Served) -> Performer:
        watch = self.watches.hold_external
        return Performer(self.client, self.children, served.instances, key, watch, self.pacing.pause, self.fights)

    async def _reread(self, key: Key, served: Served, known: Obj) -> Obj | None:
        """The instance as the server has it now; if it is gone as it was known, None if that is not whole."""
        fresh = await self._fresh(key)
        if fresh is not None:
            served.instances.fetched(fresh)
        self._unsure.discard(key)
        if served.instances.is_whole(key):
            return served.instances.get(key)
        return fresh if fresh is not None and uid_of(fresh) == uid_of(known) else None

    async def _fresh(self, key: Key) -> Obj | None:
        try:
            return await self.client.get(key)
        except NotFoundError:
            return None

    def _verdict(self, outcome: Outcome, summary: Summary) -> Verdict:
        text = "; ".join(f.message for f in outcome.failures)[:500] or (outcome.management_error or "")
        match outcome.retry:
            case Retry.NONE:
                return Done(summary=summary)
            case Retry.EVENT:
                return RetryAfter(delay_s=SAFETY_NET_S, reason="waits for an event", summary=summary)
            case Retry.FRESH:
                return RetryAfter(reason=text, at_most_s=AWAY_S, summary=summary)
            case Retry.BACKOFF:
                return RetryAfter(reason=text, at_most_s=self._backoff_limit(outcome), summary=summary)

    def _backoff_limit(self, outcome: Outcome) -> float | None:
        """Shorter than usual where the instance is fine: the server is away, or a namespace or kind not there yet."""
        refusals = {failure.refusal for failure in outcome.failures if failure.retryable}
        if refusals == {Refusal.UNAVAILABLE}:
            return AWAY_S
        return self.requeue_s if refusals == {Refusal.MISSING} and self.requeue_s > 0 else None

    def _stamp(self) -> str:
        return self.now().astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")

    def _record(
        self,
        served: Served,
        outcome: Outcome,
        *,
        before: Obj,
        status: Obj,
    ) -> None:
        """Events for what the pass changed and for a changed state; a pass that does both in one tells it in one."""
        instance = outcome.instance
        was, state = before.get("state"), status.get("state")
        told: list[tuple[str, str]] = []
        for kind, reason in _CHANGE_REASONS:
            keys = [str(change.key) for change in outcome.changes if change.kind is kind]
            if kind is ChangeKind.CREATED and was == "ACTIVE" and _is_current(before, instance):
                # Everything declared was there for this generation: somebody deleted these.
                kind, reason = ChangeKind.HEALED, "Healed"
            if keys:
                told.append((reason, f"{kind.value} {_listed(keys)}"))
        if state == "ACTIVE" != was:
            done = "; ".join([note for _, note in told] + ["all resources are available and configured correctly"])
            told = [("Ready", done)]
        for reason, note in told:
            self.recorder.record(instance, reason=reason, note=note, action="Reconcile")
        if state in ("ERROR", "FAILED") and state != was:
            note = _failure_note(status, outcome)
            self.recorder.record(instance, reason="Failed", note=note, action="Reconcile", warning=True)

    def _record_adoptions(self, key: Key, instance: Obj, outcome: Outcome, performer: Performer) -> None:
        """Events at the instance and at the objects that were taken over, or left to who has them."""
        recorder = self.recorder
        for child, managers in performer.taken_over.items():
            had = f"its fields were managed by {', '.join(managers)}"
            note = f"took over {child}, which existed before; {had}"
            recorder.record(instance, reason="Adopted", note=note, action="Adopt")
            note = f"taken over by {key}, and deleted with it; {had}"
            recorder.record(performer.existed[child], reason="Adopted", note=note, action="Adopt")
        for child, text in outcome.not_adopted.items():
            if not self._told.is_new(key, text):
                continue
            recorder.record(instance, reason="AdoptionRefused", note=text, action="Adopt", warning=True)
            found = performer.existed.get(child)
            if found is not None:
                note = f"declared by {key}, and left as it is: {text}"
                recorder.record(found, reason="AdoptionRefused", note=note, action="Adopt", warning=True)

    def _record_conditions(self, instance: Obj, status: Obj) -> None:
        """An Event for every condition that changed; the wording is kro's (runtime.md 2.11)."""
        before = {c.get("type"): c.get("status") for c in conditions_of(instance)}
        for condition in status.get("conditions") or ():
            type_, now = condition["type"], condition["status"]
            was = before.get(type_)
            if was != now:
                note = f"{was or 'none'} -> {now}: {condition.get('reason', '')}"
                self.recorder.record(instance, reason=type_, note=note, action="Reconcile", warning=now != "True")

    def _record_deletes(self, instance: Obj, plan: Teardown, deleted: Sequence[str]) -> None:
        if plan.blocked:
            self.recorder.record(instance, reason="DeletionBlocked", note=plan.message, action="Delete", warning=True)
        elif deleted:
            self.recorder.record(instance, reason="Deleting", note=f"deleting {_listed(deleted)}", action="Delete")


_CHANGE_REASONS = (
    (ChangeKind.CREATED, "Created"),
    (ChangeKind.UPDATED, "Updated"),
    (ChangeKind.HEALED, "Healed"),
    (ChangeKind.DELETED, "Deleted"),
)
_LISTED = 10


def _is_current(status: Obj, instance: Obj) -> bool:
    return bool(status.get("observedGeneration") == metadata(instance).get("generation"))


def _summary(status: Obj, changes: Sequence[ChangeKind], sent: int, wrote: _Written) -> Summary:
    counted = Counter(kind.value for kind in changes)
    if wrote is _Written.YES:
        counted["status written"] = 1
    return Summary(
        outcome=str(status.get("state") or ""), changes=dict(counted), sent=sent + (wrote is not _Written.SAME)
    )


def _age(condition: Obj) -> ConditionAge:
    since = datetime.fromisoformat(str(condition["lastTransitionTime"]).replace("Z", "+00:00"))
    return ConditionAge(
        type=str(condition["type"]),
        status=str(condition["status"]),
        reason=str(condition.get("reason") or ""),
        since=since.timestamp(),
    )


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - _LISTED} more" if len(names) > _LISTED else ""
    return ", ".join(names[:_LISTED]) + more


def _failure_note(status: Obj, outcome: Outcome) -> str:
    for condition in status.get("conditions", ()):
        if condition.get("type") == "ResourcesReady" and condition.get("status") == "False":
            return str(condition.get("message", ""))
    return "; ".join(f.message for f in outcome.failures) or str(outcome.management_error or "")
