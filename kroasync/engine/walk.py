"""One pass over one instance, as a stepper without I/O: batches of actions out, results in, an Outcome at the
end.

    walk = Walk(plan, instance, world)
    while actions := walk.next_actions():
        walk.feed(perform(actions))
    walk.outcome

A pass has three phases, which share one `PassState`:

1. `management` brings the instance's own metadata up to date.
2. `convergence` and `externals` process the nodes. A node starts when all its dependencies are ready; independent nodes
   share a batch. A node that fails or waits blocks only its dependents.
3. `prune` deletes undeclared children, in waves of reverse order, and then shrinks the inventory.

Two rules make a crash safe: a pass applies an object only if the recorded inventory would find the object again, and it
prunes nothing while any node is unresolved. It writes nothing once two nodes are known to declare the same object
(`identities`).
"""

from collections.abc import Callable, Iterable, Sequence

from kroasync.engine.actions import Action, Refusal, Result, World
from kroasync.engine.allowance import Allowance, Evaluate, never, untimed
from kroasync.engine.convergence import converge
from kroasync.engine.management import manage
from kroasync.engine.outcome import NodeState, Outcome, Retry
from kroasync.engine.passstate import Batches, NodeRun, PassState
from kroasync.engine.plan import Options, Plan
from kroasync.engine.prune import is_resolved, prune, shrink
from kroasync.graph.nodes import Graph
from kroasync.model import names
from kroasync.model.objects import Obj, annotations_of

_APPLIED = (NodeState.SYNCED, NodeState.SKIPPED, NodeState.WAITING_FOR_READINESS)


class Walk:
    """A pass. A caller with many passes gives a Plan, which it keeps; a Graph is planned anew each time."""

    def __init__(
        self,
        graph: Graph | Plan,
        instance: Obj,
        world: World,
        *,
        options: Options | None = None,
        tired: Callable[[], bool] = never,
        evaluate: Evaluate = untimed,
    ) -> None:
        """`tired` returns True if the pass has computed for so long that it should pause. `evaluate` may observe the
        evaluations of the pass.
        """
        self.plan = graph if isinstance(graph, Plan) else Plan.of(graph, options)
        given = self.plan.options
        allowance = Allowance(evaluation=given.evaluation_steps, whole=given.pass_steps, tired=tired, evaluate=evaluate)
        self._state = PassState(self.plan, instance, world, allowance)
        self._batch: list[Action] = []
        self._results: Sequence[Result] | None = None
        self._outcome: Outcome | None = None
        self._steps = _phases(self._state)

    def next_actions(self) -> list[Action]:
        """The next batch, for the caller to perform concurrently; empty when the pass is over."""
        if self._outcome is not None:
            return []
        if self._batch and self._results is None:
            raise RuntimeError("the results of the last batch were not fed")
        try:
            self._batch = next(self._steps) if self._results is None else self._steps.send(self._results)
        except StopIteration:
            self._batch = []
            self._outcome = _conclude(self._state)
        self._results = None
        return self._batch

    def feed(self, results: Iterable[Result]) -> None:
        """Take one result for each action of the last batch, in any order."""
        answers = {id(result.action): result for result in results}
        if not self._batch or self._results is not None or set(answers) != {id(a) for a in self._batch}:
            raise ValueError("feed takes exactly one result for each action of the last batch")
        self._results = [answers[id(action)] for action in self._batch]

    @property
    def outcome(self) -> Outcome:
        """The result of the pass; only after `next_actions` returned an empty batch."""
        if self._outcome is None:
            raise RuntimeError("the pass is not over")
        return self._outcome

    @property
    def runs(self) -> Iterable[NodeRun]:
        """The nodes with their policies and the objects that they declare, in topological order, for display."""
        return self._state.by_position


def _phases(state: PassState) -> Batches[None]:
    managed = yield from manage(state)
    if not managed or _is_suspended(state.instance):
        return
    yield from converge(state)
    if is_resolved(state):
        yield from prune(state)
        yield from shrink(state)


def _is_suspended(instance: Obj) -> bool:
    """Whether the instance's annotation suspends reconciliation."""
    return str(annotations_of(instance).get(names.ANNOTATION_RECONCILE, "")).lower() in names.RECONCILE_SUSPENDED


def _conclude(state: PassState) -> Outcome:
    runs, found = state.by_position, state.found
    clean = all(run.state is not None for run in runs) and not found.failures and found.management_error is None
    settled = clean and not found.leftovers and all(run.state and run.state.is_settled for run in runs)
    return Outcome(
        instance=state.instance,
        scope=state.scope,
        nodes={run.plan.id: run.report() for run in runs if run.state is not None},
        changes=tuple(found.changes),
        failures=tuple(found.failures),
        duplicates=tuple(found.duplicates),
        management_error=found.management_error,
        management_refusal=found.management_refusal,
        suspended=_is_suspended(state.instance) and found.management_error is None,
        leftovers=tuple(found.leftovers),
        retiring=tuple(found.retiring),
        held=found.held,
        strangers=tuple(found.strangers),
        repair=found.repair,
        not_adopted=found.not_adopted,
        awaiting_fields=frozenset(found.awaiting_fields),
        recreated=found.recreated,
        yielded=found.yielded,
        synced=clean and all(run.state in _APPLIED for run in runs),
        settled=settled,
        retry=_retry(state, settled),
        watches=tuple(run.watch for run in runs if run.watch is not None),
    )


def _retry(state: PassState, settled: bool) -> Retry:
    found = state.found
    if found.management_error is not None:
        # By a conflict, somebody else changed the metadata of the instance meanwhile.
        return Retry.FRESH if found.management_refusal is Refusal.CONFLICT else Retry.BACKOFF
    if any(failure.retryable for failure in found.failures):
        return Retry.BACKOFF
    return Retry.NONE if settled or _is_suspended(state.instance) else Retry.EVENT
