"""Make the children of one instance match its graph: compare, act, report.

The engine's `Walk` compares and requests actions; the performer carries them out, batch by batch. Their results become
a status, Events, and a verdict for the queue.
"""

from dataclasses import dataclass, replace

from kroasync.controller.observing import InstanceWorld, Observing
from kroasync.controller.options import RuntimeOptions
from kroasync.controller.pacing import Pacing, in_turns
from kroasync.controller.perform import Performer, Performers
from kroasync.controller.recording import Recording
from kroasync.controller.reporting import Reporting
from kroasync.controller.served_kinds import Served
from kroasync.controller.serving import Serving
from kroasync.controller.watchdog import Watchdog
from kroasync.controller.watches import Watches
from kroasync.engine.instance_status import StatusRefusal, composing
from kroasync.engine.offline import defaulted
from kroasync.engine.outcome import Outcome, Retry
from kroasync.engine.plan import Plan
from kroasync.engine.verdict import Reported, Summary, Verdict, Written, of_outcome, of_pass, summed_up
from kroasync.engine.walk import Walk
from kroasync.model.objects import Key, Obj


@dataclass(frozen=True, slots=True)
class Converging:
    """Makes the passes over instances that are not being deleted."""

    serving: Serving
    watches: Watches
    observing: Observing
    performers: Performers
    reporting: Reporting
    recording: Recording
    pacing: Pacing
    watchdog: Watchdog
    options: RuntimeOptions

    async def converge(self, key: Key, served: Served, instance: Obj, world: InstanceWorld, plan: Plan) -> Verdict:
        """One whole pass, from the first action to the verdict."""
        performer = self.performers.of(key, served.instances)
        outcome = await self._walked(key, served, instance, world, plan, performer)
        if outcome.retry is Retry.FRESH:
            # The instance was stale, and its event may be late. The pass over the fresh instance reports.
            self.observing.doubt(key)
            return of_outcome(outcome, summary=Summary(sent=performer.sent), requeue_s=self.options.requeue_s)
        self.watches.keep_externals(key, outcome.watches)
        self.watches.await_releases(key, outcome.not_adopted, held=outcome.awaiting_fields)
        status, reported = await self._reported(key, served, instance, plan, outcome)
        self.recording.hashes(key, instance)
        self.recording.adoptions(key, instance, outcome, performer)
        self.recording.releases(key, instance, performer)
        self.recording.recreations(instance, outcome)
        self.recording.yields(key, instance, outcome.yielded)
        self.recording.changes(outcome, before=instance.get("status") or {}, status=status)
        self.recording.nodes(served.graph, outcome)
        if not reported.is_lost:
            self.recording.contested(instance, performer.contested)
            self.recording.strangers(key, instance, outcome.strangers)
            self.recording.held(key, outcome)
            self.recording.repair(key, instance, outcome.repair)
        changes = [change.kind for change in outcome.changes]
        summary = summed_up(status, changes, performer.sent, reported.written)
        deferred = performer.deferred.values()
        return of_pass(outcome, reported, summary=summary, deferred=deferred, requeue_s=self.options.requeue_s)

    async def _walked(
        self, key: Key, served: Served, instance: Obj, world: InstanceWorld, plan: Plan, performer: Performer
    ) -> Outcome:
        # The API server adds defaults when it reads. A cached instance may lack a default that the schema gained later.
        whole = {**instance, "spec": defaulted(instance.get("spec") or {}, served.spec_schema)}
        evaluate = self.recording.evaluate
        walk = Walk(plan, whole, world, tired=lambda: self.pacing.tired(key), evaluate=evaluate)
        while actions := self.watchdog.compute(walk.next_actions):
            walk.feed(await performer.perform_all(actions))
        return walk.outcome

    async def _reported(
        self, key: Key, served: Served, instance: Obj, plan: Plan, outcome: Outcome
    ) -> tuple[Obj, Reported]:
        """The status of the pass and the result of its write; without the author's fields if these are refused."""
        status = await self._composed(key, plan, outcome)
        reported = await self.reporting.report(key, served, instance, status)
        if reported.written is not Written.REFUSED:
            return status, reported
        status = await self._composed(key, plan, outcome, refused=reported.refusal)
        again = await self.reporting.report(key, served, instance, status)
        return status, replace(again, refusal=reported.refusal)

    async def _composed(self, key: Key, plan: Plan, outcome: Outcome, *, refused: StatusRefusal | None = None) -> Obj:
        """The status of a pass, in turns: its expressions may compute for long."""
        served = self.serving.kinds.get(key.resource)
        if served is not None:
            # The answer to our metadata patch may carry a status that somebody else changed.
            outcome = replace(outcome, instance=served.instances.as_left(key, outcome.instance))
        steps = composing(plan, outcome, now=self.reporting.stamp(), refused=refused)
        return await in_turns(steps, lambda: self.pacing.pause(key), self.watchdog.compute)
