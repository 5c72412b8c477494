"""The state that the phases of one pass share: the instance, the progress of every node, and the findings.

A node goes from stage to stage, as `NEXT` allows, until it ends. The table `Ending` lists how a node can end: its
state, and the message in the status. A node that fails or waits also ends; its dependents then name it as their cause.
"""

from collections import deque
from collections.abc import Generator, Iterable, Sequence
from dataclasses import dataclass, field
from enum import Enum, StrEnum
from heapq import heapify, heappop, heappush
from typing import Any, Final, TypeAlias, TypeVar

from kroasync.engine.actions import Action, Observed, Pause, Refusal, Refused, Result, WatchExternal, World, Yielding
from kroasync.engine.allowance import Allowance
from kroasync.engine.membership import Membership
from kroasync.engine.outcome import Change, Failure, NodeReport, NodeState
from kroasync.engine.plan import NodePlan, Plan
from kroasync.engine.prune_guard import HeldPrune
from kroasync.engine.resolve import Desired, Ownership, filling
from kroasync.engine.scope import Scope
from kroasync.model.applyset import Inventory
from kroasync.model.objects import Key, Obj

T = TypeVar("T")
# A part of a pass: a generator that yields batches of actions and receives their results.
Batches: TypeAlias = Generator[list[Action], Sequence[Result], T]


class Stage(StrEnum):
    """The progress of a node in a pass: each value names what the node waits for."""

    WAITING = "its dependencies to end"
    DUE = "its turn"
    HELD = "the inventory to cover its objects"
    COVERED = "its turn, now that the inventory covers its objects"
    SENT = "answers to its applies, or to its watch"
    SHOWN = "a look at whether it is ready, now that expressions see its objects"
    ENDED = "nothing"


NEXT: Final = {
    Stage.WAITING: (Stage.DUE,),
    Stage.DUE: (Stage.HELD, Stage.SENT, Stage.SHOWN, Stage.ENDED),
    Stage.HELD: (Stage.COVERED, Stage.ENDED),
    Stage.COVERED: (Stage.SENT, Stage.SHOWN, Stage.ENDED),
    Stage.SENT: (Stage.SHOWN, Stage.ENDED),
    Stage.SHOWN: (Stage.ENDED,),
    Stage.ENDED: (),
}


class Ending(Enum):
    """How a node can end in a pass: its state, and the message about it.

    `why` is the reason alone, `cause` the node that the reason is about.
    """

    READY = (NodeState.SYNCED, "")
    EXCLUDED = (NodeState.SKIPPED, "excluded by includeWhen")
    EXCLUDED_WITH = (NodeState.SKIPPED, 'depends on excluded node "{cause}"')
    BLOCKED = (NodeState.IN_PROGRESS, 'node "{node}": dependent node "{cause}" not ready: {why} (data pending)')
    PENDING = (NodeState.IN_PROGRESS, 'waiting for unresolved resource: gvr "{resource}": {why}')
    BEING_DELETED = (NodeState.DELETING, "{why}")
    NOT_FOUND = (NodeState.WAITING_FOR_READINESS, 'waiting for external reference "{node}": not found')
    NOT_READY = (NodeState.WAITING_FOR_READINESS, 'node "{node}" not ready: {why}')
    FAILED = (NodeState.ERROR, "{why}")

    def __init__(self, state: NodeState, text: str) -> None:
        self.state = state
        self.text = text


class NodeRun:
    """The progress of one node in this pass."""

    __slots__ = (
        "answers",
        "blocked_by",
        "deleting",
        "desired",
        "errors",
        "expression",
        "is_shown_ready",
        "message",
        "outstanding",
        "plan",
        "policies",
        "policy_faults",
        "refused",
        "stage",
        "state",
        "waiting",
        "watch",
        "why",
    )

    def __init__(self, plan: NodePlan) -> None:
        self.plan = plan
        # How many dependencies have not ended yet.
        self.waiting = len(plan.node.dependencies)
        self.stage = Stage.WAITING if self.waiting else Stage.DUE
        # Set when the node ends.
        self.state: NodeState | None = None
        self.policies = plan.policies
        # A text about each policy whose expression yields no known value.
        self.policy_faults: tuple[str, ...] = ()
        self.desired: list[Desired] = []
        self.answers: list[Obj | None] = []
        self.outstanding = 0
        self.errors: list[tuple[int | None, Refused]] = []
        self.deleting: Key | None = None
        self.watch: WatchExternal | None = None
        # Why objects of it are not as declared, and whether those that are there instead are ready.
        self.refused = ""
        self.is_shown_ready = False
        self.message = ""
        # The reason alone, as dependents quote it.
        self.why = ""
        self.blocked_by: tuple[str, ...] = ()
        self.expression: str | None = None

    @property
    def is_readable(self) -> bool:
        """Whether nodes that depend on this one can go on: it is ready, or what is there in place of it is."""
        return self.state is NodeState.SYNCED or self.is_shown_ready

    def go(self, stage: Stage) -> None:
        """Move the node to this stage."""
        if stage not in NEXT[self.stage]:
            raise RuntimeError(f"node {self.plan.id} cannot go from {self.stage.name} to {stage.name}")
        self.stage = stage

    def report(self) -> NodeReport:
        """The report about a node that has ended."""
        assert self.state is not None
        return NodeReport(
            id=self.plan.id,
            state=self.state,
            message=self.message,
            blocked_by=self.blocked_by,
            expression=self.expression if not self.state.is_settled else None,
            objects=tuple(item.key for item in self.desired),
        )


@dataclass(slots=True)
class Found:
    """The parts of the `Outcome` that are known so far; the fields are explained there."""

    changes: list[Change] = field(default_factory=list)
    failures: list[Failure] = field(default_factory=list)
    # Which nodes declare the same object.
    duplicates: list[str] = field(default_factory=list)
    leftovers: list[Key] = field(default_factory=list)
    retiring: list[Observed] = field(default_factory=list)
    held: tuple[HeldPrune, ...] = ()
    strangers: list[Observed] = field(default_factory=list)
    not_adopted: dict[Key, str] = field(default_factory=dict)
    awaiting_fields: set[Key] = field(default_factory=set)
    recreated: dict[Key, str] = field(default_factory=dict)
    yielded: dict[Key, Yielding] = field(default_factory=dict)
    management_error: str | None = None
    management_refusal: Refusal | None = None
    repair: str = ""


class PassState:
    """The state of one pass. Phases are functions over it."""

    __slots__ = (
        "_shown",
        "_turns",
        "allowance",
        "by_position",
        "external",
        "found",
        "held",
        "instance",
        "inventory",
        "owners",
        "ownership",
        "plan",
        "renewing",
        "runs",
        "scope",
        "wanted",
        "world",
    )

    def __init__(self, plan: Plan, instance: Obj, world: World, allowance: Allowance) -> None:
        self.plan = plan
        self.world = world
        self.allowance = allowance
        self.observe(instance)
        self.runs = {node.id: NodeRun(node) for node in plan.nodes}
        self.by_position = tuple(self.runs.values())
        # The positions of nodes that are due, and the nodes whose objects are shown. Shown nodes have priority.
        self._turns = [run.plan.position for run in self.by_position if run.stage is Stage.DUE]
        heapify(self._turns)
        self._shown: deque[NodeRun] = deque()
        # The nodes whose objects the recorded inventory does not cover yet.
        self.held: list[NodeRun] = []
        # The nodes whose answers are there, and whose children are to be recreated.
        self.renewing: list[NodeRun] = []
        # The recorded inventory, and the inventory after the patch that is being sent.
        self.inventory = Inventory()
        self.wanted = Inventory()
        # The node that declares each object, and the objects that are only read.
        self.owners: dict[tuple[str, str, str, str], str] = {}
        self.external: set[tuple[str, str, str, str]] = set()
        self.found = Found()

    def observe(self, instance: Obj) -> None:
        """Replace the instance; only before the evaluation of the first expression over nodes."""
        self.instance = instance
        self.ownership = Ownership.of(self.plan, instance)
        schema = {key: value for key, value in instance.items() if key != "status"}
        self.scope = Scope({"schema": schema}, self.allowance)

    def membership(self) -> Membership:
        """The rule for which objects are children of the instance, by the inventory as recorded now."""
        owner = self.ownership
        return Membership(
            instance_uid=owner.uid,
            applyset_id=owner.applyset_id,
            namespace=owner.parent.namespace,
            inventory=self.inventory,
            seal_key=owner.seal_key,
        )

    # Transitions of nodes

    def next_run(self) -> NodeRun | None:
        """The node to continue with; None if all nodes wait for answers or have ended."""
        if self._shown:
            return self._shown.popleft()
        return self.by_position[heappop(self._turns)] if self._turns else None

    def hold(self, run: NodeRun) -> None:
        """Hold a node until the inventory covers its objects."""
        run.go(Stage.HELD)
        self.held.append(run)

    def cover(self) -> None:
        """Let the held nodes continue: the inventory covers their objects."""
        for run in self.released():
            run.go(Stage.COVERED)
            heappush(self._turns, run.plan.position)

    def released(self) -> list[NodeRun]:
        """Empty the list of held nodes, and return them."""
        held, self.held = self.held, []
        return held

    def show(self, run: NodeRun, value: Any) -> None:
        """Show the node's objects to expressions. Next, the pass decides whether the node is ready."""
        run.go(Stage.SHOWN)
        self.scope.variables[run.plan.id] = value
        self._shown.append(run)

    def end(
        self,
        run: NodeRun,
        finding: Ending,
        *,
        why: str = "",
        cause: str = "",
        blocked_by: tuple[str, ...] | None = None,
    ) -> None:
        """End the node. A dependent becomes due if this was the last dependency that it waited for."""
        plan, text = run.plan, finding.text
        run.go(Stage.ENDED)
        run.state = finding.state
        if text:
            run.message = text.format(node=plan.id, resource=plan.node.resource, cause=cause, why=why)
            run.why = why or run.message
        if not finding.state.is_settled:
            run.blocked_by = (plan.id,) if blocked_by is None else blocked_by
        for position in plan.dependents:
            dependent = self.by_position[position]
            dependent.waiting -= 1
            if not dependent.waiting:
                dependent.go(Stage.DUE)
                heappush(self._turns, position)

    def fail(self, run: NodeRun, why: str, *, retryable: bool = True, refused: Refused | None = None) -> None:
        """End the node with a failure, and record the failure for the pass."""
        refusal = refused.refusal if refused is not None else None
        self.found.failures.append(Failure(message=why, retryable=retryable, node=run.plan.id, refusal=refusal))
        self.end(run, Ending.FAILED, why=why)

    # Work in steps

    def paced(self, work: Iterable[T | None]) -> Batches[list[T]]:
        """All items of some work. The pass may pause between two items and at each None."""
        items: list[T] = []
        for item in work:
            if item is not None:
                items.append(item)
            if self.allowance.tired():
                yield [Pause()]
        return items

    def fill(self, plan: NodePlan) -> Batches[Obj]:
        """The template of a node with the values of its expressions."""
        work = filling(plan, self.scope)
        while True:
            try:
                next(work)
            except StopIteration as end:
                obj: Obj = end.value
                return obj
            yield [Pause()]
