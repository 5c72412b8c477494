"""One pass over one instance, as a stepper without I/O: batches of actions out, results in, an Outcome at the
end.

    walk = Walk(plan, instance, world)
    while actions := walk.next_actions():
        walk.feed(perform(actions))
    walk.outcome

Phases: the instance's own metadata; the nodes, each as soon as everything it needs is ready, independent ones
in one batch; prune, in waves of reverse order; the inventory shrinks. What fails or waits blocks its
dependents only. Nothing is applied that the recorded inventory would not find again, nothing is pruned while
anything is unresolved.
"""

from collections import deque
from collections.abc import Callable, Generator, Iterable, Sequence
from heapq import heapify, heappop, heappush
from typing import Any, TypeAlias, TypeVar

import orjson

from kroasync.cel import CelError
from kroasync.engine.actions import (
    Action,
    Apply,
    Delete,
    Done,
    Need,
    Observed,
    PatchParent,
    Pause,
    Refusal,
    Refused,
    Result,
    Watch,
    World,
)
from kroasync.engine.allowance import Allowance, never
from kroasync.engine.expand import dimensions, expand
from kroasync.engine.membership import Membership
from kroasync.engine.outcome import (
    Change,
    ChangeKind,
    Failure,
    NodeReport,
    NodeState,
    Outcome,
    Retry,
)
from kroasync.engine.parent import ManagementError, covers, patch, place, read_metadata
from kroasync.engine.plan import NodePlan, Options, Plan
from kroasync.engine.readiness import NotReady, is_certainly_excluded, is_included, readiness
from kroasync.engine.resolve import Desired, Ownership, desired, filling, identity, key_of, namespace_in
from kroasync.engine.scope import Compiled, NodeFailure, PendingData, Scope
from kroasync.engine.selectors import SelectorError, selector_text
from kroasync.graph.nodes import Graph, NodeType
from kroasync.model import names
from kroasync.model.applyset import Inventory, InventoryError, is_namespace
from kroasync.model.objects import Key, Obj, annotations_of, is_deleting, metadata

T = TypeVar("T")
# What a step of the pass is: it asks for batches and is sent their results.
_Steps: TypeAlias = Generator[list[Action], Sequence[Result], T]

_CHANGES = {
    Need.CREATE: ChangeKind.CREATED,
    Need.UPDATE: ChangeKind.UPDATED,
    Need.HEAL: ChangeKind.HEALED,
}


def is_suspended(instance: Obj) -> bool:
    """The instance's annotation asks to leave its children alone."""
    return str(annotations_of(instance).get(names.ANNOTATION_RECONCILE, "")).lower() in names.RECONCILE_SUSPENDED


def deleting_text(node: str, key: Key) -> str:
    """What is said of a child that is on its way out."""
    place = f"{key.namespace}/{key.name}" if key.namespace else key.name
    return (
        f'resource "{place}" for node "{node}" is currently being deleted; waiting for deletion to complete '
        "before continuing reconciliation"
    )


class _Run:
    """The progress of one node in this pass."""

    __slots__ = (
        "answers",
        "blocked_by",
        "deleting",
        "desired",
        "errors",
        "expression",
        "message",
        "outstanding",
        "plan",
        "state",
        "waiting",
        "watch",
        "why",
    )

    def __init__(self, plan: NodePlan) -> None:
        self.plan = plan
        # Dependencies whose state in this pass is not known yet.
        self.waiting = len(plan.node.dependencies)
        self.state: NodeState | None = None
        self.desired: list[Desired] = []
        self.answers: list[Obj | None] = []
        self.outstanding = 0
        self.errors: list[tuple[int | None, Refused]] = []
        self.deleting: Key | None = None
        self.watch: Watch | None = None
        self.message = ""
        # The bare reason, as dependents quote it.
        self.why = ""
        self.blocked_by: tuple[str, ...] = ()
        self.expression: str | None = None


class Walk:
    """A pass. `graph` may be a Plan, which callers with many passes keep; a Graph is planned on the spot."""

    def __init__(
        self,
        graph: Graph | Plan,
        instance: Obj,
        world: World,
        *,
        options: Options | None = None,
        tired: Callable[[], bool] = never,
    ) -> None:
        """`tired` says that the pass has computed so long that a Pause is in order."""
        self.plan = graph if isinstance(graph, Plan) else Plan.of(graph, options)
        self._world = world
        given = self.plan.options
        self._allowance = Allowance(evaluation=given.evaluation_steps, whole=given.pass_steps, tired=tired)
        self._observe(instance)
        self._runs = {plan.id: _Run(plan) for plan in self.plan.nodes}
        self._by_position = tuple(self._runs.values())
        # Positions of nodes whose dependencies are all decided.
        self._heap: list[int] = []
        # Nodes whose objects are there, and those; whether they are ready is to be seen.
        self._unjudged: deque[tuple[_Run, Any]] = deque()
        # Nodes whose objects the recorded inventory does not cover yet.
        self._held: list[_Run] = []
        # What the instance records, and what it will record once the patch under way is done.
        self._inventory = Inventory()
        self._wanted = Inventory()
        self._repair = ""
        self._owners: dict[tuple[str, str, str, str], str] = {}
        self._external: set[tuple[str, str, str, str]] = set()
        self._changes: list[Change] = []
        self._failures: list[Failure] = []
        self._leftovers: list[Key] = []
        self._strangers: list[Observed] = []
        self._not_adopted: dict[Key, str] = {}
        self._management_error: str | None = None
        self._conflict = False
        self._batch: list[Action] = []
        self._results: Sequence[Result] | None = None
        self._outcome: Outcome | None = None
        self._steps = self._pass()

    def next_actions(self) -> list[Action]:
        """The next batch, to be performed concurrently; empty when the pass is over."""
        if self._outcome is not None:
            return []
        if self._batch and self._results is None:
            raise RuntimeError("the results of the last batch were not fed")
        try:
            self._batch = next(self._steps) if self._results is None else self._steps.send(self._results)
        except StopIteration:
            self._batch = []
            self._outcome = self._conclude()
        self._results = None
        return self._batch

    def feed(self, results: Iterable[Result]) -> None:
        """One result per action of the last batch, in any order."""
        answers = {id(result.action): result for result in results}
        if not self._batch or self._results is not None or set(answers) != {id(a) for a in self._batch}:
            raise ValueError("feed takes exactly one result for each action of the last batch")
        self._results = [answers[id(action)] for action in self._batch]

    @property
    def outcome(self) -> Outcome:
        """What came of the pass; only after `next_actions` returned nothing."""
        if self._outcome is None:
            raise RuntimeError("the pass is not over")
        return self._outcome

    def _observe(self, instance: Obj) -> None:
        self._instance = instance
        self._ownership = Ownership.of(self.plan, instance)
        schema = {key: value for key, value in instance.items() if key != "status"}
        self._scope = Scope({"schema": schema}, self._allowance)

    def _paced(self, work: Iterable[T | None]) -> _Steps[list[T]]:
        """All items of some work, with pauses between them, and where it says None."""
        items: list[T] = []
        for item in work:
            if item is not None:
                items.append(item)
            if self._allowance.tired():
                yield [Pause()]
        return items

    def _fill(self, plan: NodePlan) -> _Steps[Obj]:
        work = filling(plan, self._scope)
        while True:
            try:
                next(work)
            except StopIteration as end:
                obj: Obj = end.value
                return obj
            yield [Pause()]

    def _pass(self) -> _Steps[None]:
        managed = yield from self._manage()
        if not managed or is_suspended(self._instance):
            return
        yield from self._converge()
        if self._is_resolved():
            yield from self._prune()
            yield from self._shrink()

    # The instance's own metadata

    def _manage(self) -> _Steps[bool]:
        try:
            found = read_metadata(self.plan, self._instance, self._ownership)
        except ManagementError as error:
            self._management_error = str(error)
            return False
        except InventoryError as error:
            self._failures.append(Failure(message=f"project failed: {error}", retryable=True))
            return False
        self._inventory, self._repair = found.recorded, found.repair
        if found.is_current:
            return True
        self._wanted = yield from self._potential()
        action = patch(self.plan, self._ownership, self._wanted, add_finalizer=not found.has_finalizer)
        (result,) = yield [action]
        if isinstance(result, Refused):
            self._management_error = result.message
            self._conflict = result.refusal is Refusal.CONFLICT
            return False
        if result.obj is not None:
            self._observe(result.obj)
        self._inventory = self._wanted
        return True

    def _potential(self) -> _Steps[Inventory]:
        """Everything recorded, where sealed children are, and where those of nodes not known to be left out may be."""
        excluded: set[str] = set()
        places: list[tuple[str, str]] = []
        for run in self._by_position:
            if self._allowance.tired():
                yield [Pause()]
            plan = run.plan
            if (
                run.state is NodeState.SKIPPED
                or not excluded.isdisjoint(plan.node.dependencies)
                or is_certainly_excluded(plan, self._scope)
            ):
                excluded.add(plan.id)
            elif not plan.node.is_external and not self._is_certainly_empty(plan):
                places.append((plan.node.resource.group_kind, self._namespace_of(plan)))
        known = self._membership().places(self._world.members())
        return Inventory.of(places, self._ownership.parent.namespace).union(self._inventory).union(known)

    def _is_certainly_empty(self, plan: NodePlan) -> bool:
        if not plan.dimensions or any(expression.references for _, expression in plan.dimensions):
            return False
        try:
            found = dimensions(plan, self._scope, limit=self.plan.options.max_collection_size)
        except (PendingData, NodeFailure):
            return False
        return not all(values for _, values in found)

    def _namespace_of(self, plan: NodePlan) -> str:
        """The namespace of a node's objects where it can be told beforehand, otherwise empty."""
        namespace = plan.namespace
        if not plan.node.resource.namespaced or namespace is None:
            return ""
        if isinstance(namespace, Compiled):
            if namespace.references or namespace.is_iteration:
                return ""
            try:
                namespace = self._scope.json(namespace)
            except CelError:
                return ""
        return namespace if isinstance(namespace, str) and is_namespace(namespace) else ""

    # The nodes

    def _converge(self) -> _Steps[None]:
        self._heap = [run.plan.position for run in self._by_position if not run.waiting]
        heapify(self._heap)
        while True:
            batch: list[Action] = []
            while self._heap or self._unjudged:
                if self._allowance.tired():
                    yield [Pause()]
                if self._unjudged:
                    yield from self._judge(*self._unjudged.popleft())
                else:
                    batch += yield from self._visit(self._by_position[heappop(self._heap)])
            if self._held:
                batch.append((yield from self._widen()))
            if not batch:
                return
            for result in (yield batch):
                self._absorb(result)
            for run in self._released():
                heappush(self._heap, run.plan.position)

    def _widen(self) -> _Steps[PatchParent]:
        """The patch that makes the inventory cover what is held back."""
        places = [place(item) for run in self._held for item in run.desired]
        needed = Inventory.of(places, self._ownership.parent.namespace)
        potential = yield from self._potential()
        self._wanted = potential.union(needed)
        return patch(self.plan, self._ownership, self._wanted)

    def _released(self) -> list[_Run]:
        # Decided again from the start of its apply, now that the inventory covers it.
        held, self._held = self._held, []
        return held

    def _visit(self, run: _Run) -> _Steps[list[Action]]:
        """Decide a node as far as possible; what it asks for is returned."""
        try:
            if run.desired:
                return (yield from self._dispatch(run))
            if self._is_left_out(run):
                return []
            blockers = self._blockers(run)
            if blockers:
                self._block(run, blockers)
                return []
            return (yield from self._resolve(run))
        except PendingData as error:
            self._wait(run, error)
        except NodeFailure as error:
            run.expression = error.expression
            self._fail(run, str(error), retryable=False)
        return []

    def _is_left_out(self, run: _Run) -> bool:
        plan = run.plan
        for dependency in plan.node.dependencies:
            if self._runs[dependency].state is NodeState.SKIPPED:
                self._finish(run, NodeState.SKIPPED, message=f'depends on excluded node "{dependency}"')
                return True
        if not plan.include_when:
            return False
        not_ready = {d: self._runs[d].why for d in self._blockers(run)}
        if is_included(plan, self._scope, not_ready):
            return False
        self._finish(run, NodeState.SKIPPED, message="excluded by includeWhen")
        return True

    def _blockers(self, run: _Run) -> list[str]:
        return [d for d in run.plan.node.dependencies if self._runs[d].state is not NodeState.SYNCED]

    def _block(self, run: _Run, blockers: Sequence[str]) -> None:
        roots: dict[str, None] = {}
        for blocker in blockers:
            roots.update(dict.fromkeys(self._runs[blocker].blocked_by))
        ordered = sorted(roots, key=self.plan.positions.__getitem__)
        cause = self._runs[ordered[0]]
        self._finish(
            run,
            NodeState.IN_PROGRESS,
            message=f'node "{run.plan.id}": dependent node "{cause.plan.id}" not ready: {cause.why} (data pending)',
            why=cause.why,
            blocked_by=tuple(ordered),
        )

    def _wait(self, run: _Run, error: PendingData) -> None:
        run.expression = error.expression
        blockers = self._blockers(run)
        if blockers:
            self._block(run, blockers)
            return
        text = str(error)
        self._finish(
            run,
            NodeState.IN_PROGRESS,
            message=f'waiting for unresolved resource: gvr "{run.plan.node.resource}": {text}',
            why=text,
        )

    def _resolve(self, run: _Run) -> _Steps[list[Action]]:
        plan = run.plan
        kind = plan.node.type
        if kind is NodeType.RESOURCE:
            obj = yield from self._fill(plan)
            run.desired = [desired(plan, obj, self._ownership)]
        elif kind is NodeType.COLLECTION:
            limit = self.plan.options.max_collection_size
            run.desired = yield from self._paced(expand(plan, self._scope, self._ownership, limit=limit))
        else:
            obj = yield from self._fill(plan)
            run.watch = self._watch_of(plan, obj)
            return self._read_external(run)
        self._claim(run)
        return (yield from self._dispatch(run))

    def _claim(self, run: _Run) -> None:
        for item in run.desired:
            owner = self._owners.get(item.identity)
            if owner is not None:
                run.desired = []
                raise NodeFailure(
                    f"found resources with conflicts: resourceID: {run.plan.id} conflicts with resourceID: {owner}"
                )
        for item in run.desired:
            self._owners[item.identity] = run.plan.id

    def _dispatch(self, run: _Run) -> _Steps[list[Action]]:
        """Send what has to be sent; a node with nothing to send is complete at once."""
        namespace = self._ownership.parent.namespace
        if not all(covers(self._inventory, item, namespace) for item in run.desired):
            self._held.append(run)
            return []
        run.answers = [None] * len(run.desired)
        actions: list[Action] = []
        for place_, item in enumerate(run.desired):
            action = self._apply(run, place_, item)
            if action is not None:
                actions.append(action)
            if self._allowance.tired():
                yield [Pause()]
        run.outstanding = len(actions)
        if not actions:
            self._complete(run)
        return actions

    def _apply(self, run: _Run, place_: int, item: Desired) -> Apply | None:
        observed = self._world.find(item.key)
        if observed is not None and observed.deleting:
            run.deleting = run.deleting or item.key
            return None
        foreign = observed is not None and observed.part_of not in ("", self._ownership.applyset_id)
        need = Need.CREATE if observed is None else self._world.compare(item.key, item.obj)
        if observed is not None and need is None and not foreign:
            run.answers[place_] = observed.obj
            return None
        action = Apply(
            node=run.plan.id,
            index=item.index,
            key=item.key,
            obj=item.obj,
            need=need or Need.UPDATE,
            force=observed is not None and observed.ours and observed.part_of == self._ownership.applyset_id,
            secrets=run.plan.secrets,
        )
        if observed is not None and foreign:
            refused = Refused(action=action, refusal=Refusal.FOREIGN, message=observed.part_of)
            run.errors.append((item.index, refused))
            return None
        text = _too_big(item.obj, self.plan.options.max_object_bytes)
        if text:
            run.errors.append((item.index, Refused(action=action, refusal=Refusal.TOO_BIG, message=text)))
            return None
        return action

    def _absorb(self, result: Result) -> None:
        action = result.action
        if isinstance(action, PatchParent):
            self._widened(result)
        elif isinstance(action, Watch):
            self._watched(self._runs[action.node], result)
        elif isinstance(action, Apply):
            self._applied(self._runs[action.node], action, result)

    def _widened(self, result: Result) -> None:
        if isinstance(result, Done):
            self._inventory = self._wanted
            return
        for run in self._released():
            self._fail(run, f"failed to patch instance with applyset labels: {result.message}", refused=result)

    def _applied(self, run: _Run, action: Apply, result: Result) -> None:
        run.outstanding -= 1
        if isinstance(result, Refused):
            run.errors.append((action.index, result))
        else:
            answer = result.obj if result.obj is not None else action.obj
            run.answers[action.index or 0] = answer
            if is_deleting(answer):
                run.deleting = run.deleting or action.key
            # After a restart everything is sent once to learn its hashes; what changes nothing is no news.
            if result.changed:
                kind = ChangeKind.ADOPTED if result.adopted else _CHANGES[action.need]
                self._changes.append(Change(kind=kind, node=action.node, key=action.key))
        if not run.outstanding:
            self._complete(run)

    def _complete(self, run: _Run) -> None:
        """All answers of a managed node are there."""
        if run.errors:
            self._fail_apply(run)
        elif run.deleting is not None:
            text = deleting_text(run.plan.id, run.deleting)
            self._finish(run, NodeState.DELETING, message=text, why=text)
        else:
            self._publish(run, run.answers if run.plan.node.is_collection else run.answers[0])

    def _fail_apply(self, run: _Run) -> None:
        errors = sorted(run.errors, key=lambda error: -1 if error[0] is None else error[0])
        texts = [
            self._refusal_text(refused) if index is None else f"collection item {index}: {self._refusal_text(refused)}"
            for index, refused in errors
        ]
        for _, refused in errors:
            if refused.refusal in (Refusal.FOREIGN, Refusal.CLAIMED) and isinstance(refused.action, Apply):
                self._not_adopted[refused.action.key] = self._refusal_text(refused)
        # Something else than size may have changed by the next attempt.
        refused = next((e for _, e in errors if e.refusal is not Refusal.TOO_BIG), errors[0][1])
        retryable = refused.refusal is not Refusal.TOO_BIG
        self._fail(run, f'node "{run.plan.id}": ' + "; ".join(texts), retryable=retryable, refused=refused)

    def _refusal_text(self, refused: Refused) -> str:
        """What is said of a refused apply."""
        assert isinstance(refused.action, Apply)
        key = refused.action.key
        if refused.refusal is Refusal.CLAIMED:
            return f"{key} was there before and belongs to {refused.message}: it is not taken over"
        if refused.refusal is not Refusal.FOREIGN:
            return f"apply {key}: {refused.message}"
        where = f"{key.namespace}/{key.name}" if key.namespace else key.name
        return (
            f"resource belongs to a different ApplySet: {where} ({key.resource.gvk}) belongs to ApplySet "
            f'"{refused.message}", cannot reassign to "{self._ownership.applyset_id}"'
        )

    def _publish(self, run: _Run, value: Any) -> None:
        """The node's objects are there: show them to expressions; whether they are ready is seen next."""
        self._scope.variables[run.plan.id] = value
        self._unjudged.append((run, value))

    def _judge(self, run: _Run, value: Any) -> _Steps[None]:
        unmet: NotReady | None = None
        try:
            for found in readiness(run.plan, value, self._scope, self.plan.explainer):
                unmet = found
                if self._allowance.tired():
                    yield [Pause()]
        except NodeFailure as error:
            run.expression = error.expression
            self._fail(run, str(error), retryable=False)
            return
        if unmet is None:
            self._finish(run, NodeState.SYNCED)
            return
        run.expression = unmet.expression
        self._finish(
            run,
            NodeState.WAITING_FOR_READINESS,
            message=f'node "{run.plan.id}" not ready: {unmet.why}',
            why=unmet.why,
        )

    def _fail(self, run: _Run, text: str, *, retryable: bool = True, refused: Refused | None = None) -> None:
        refusal = refused.refusal if refused is not None else None
        self._failures.append(Failure(message=text, retryable=retryable, node=run.plan.id, refusal=refusal))
        self._finish(run, NodeState.ERROR, message=text, why=text)

    def _finish(
        self,
        run: _Run,
        state: NodeState,
        *,
        message: str = "",
        why: str = "",
        blocked_by: tuple[str, ...] | None = None,
    ) -> None:
        run.state, run.message, run.why = state, message, why
        if not state.is_settled:
            run.blocked_by = (run.plan.id,) if blocked_by is None else blocked_by
        for position in run.plan.dependents:
            dependent = self._by_position[position]
            dependent.waiting -= 1
            if not dependent.waiting:
                heappush(self._heap, position)

    # External references

    def _watch_of(self, plan: NodePlan, obj: Obj) -> Watch:
        node = plan.node
        if node.type is NodeType.EXTERNAL:
            key = key_of(plan, obj, self._ownership.parent.namespace)
            self._external.add(identity(key))
            return Watch(node=plan.id, resource=node.resource, namespace=key.namespace, name=key.name)
        meta = metadata(obj)
        try:
            selector = selector_text(meta.get("selector"))
        except SelectorError as error:
            secret = any(expression.secret for expression in plan.expressions)
            why = "details withheld: it is made from a Secret" if secret else str(error)
            raise NodeFailure(f"invalid label selector for {plan.id}: {why}") from None
        namespace = namespace_in(plan, meta.get("namespace") or "") if node.resource.namespaced else ""
        return Watch(node=plan.id, resource=node.resource, namespace=namespace, selector=selector)

    def _read_external(self, run: _Run) -> list[Action]:
        assert run.watch is not None
        objects = self._world.external(run.watch)
        if objects is None:
            return [run.watch]
        self._judge_external(run, objects)
        return []

    def _watched(self, run: _Run, result: Result) -> None:
        if isinstance(result, Refused):
            what = "list external collection" if run.plan.node.is_collection else "read external reference"
            self._fail(run, f"failed to {what} {run.plan.id}: {result.message}", refused=result)
            return
        assert run.watch is not None
        self._judge_external(run, self._world.external(run.watch) or ())

    def _judge_external(self, run: _Run, objects: Sequence[Obj]) -> None:
        if run.plan.node.is_collection:
            self._publish(run, list(objects))
        elif objects:
            self._publish(run, objects[0])
        else:
            text = f'waiting for external reference "{run.plan.id}": not found'
            self._finish(run, NodeState.WAITING_FOR_READINESS, message=text, why=text)

    # Prune, and the inventory afterwards

    def _is_resolved(self) -> bool:
        states = (NodeState.IN_PROGRESS, NodeState.DELETING, NodeState.ERROR)
        return not self._failures and all(run.state not in states for run in self._by_position)

    def _membership(self) -> Membership:
        owner = self._ownership
        return Membership(
            instance_uid=owner.uid,
            applyset_id=owner.applyset_id,
            namespace=owner.parent.namespace,
            inventory=self._inventory,
            seal_key=owner.seal_key,
        )

    def _undeclared(self) -> list[Observed]:
        """What is labelled as a child of the instance and declared by no node."""
        declared = (self._owners, self._external)
        return [m for m in self._world.members() if not any(identity(m.key) in known for known in declared)]

    def _prune(self) -> _Steps[None]:
        waves: dict[int, list[Action]] = {}
        unknown = len(self._by_position)
        membership, undeclared = self._membership(), self._undeclared()
        self._strangers = membership.strangers(undeclared)
        for member in membership.members(undeclared):
            self._leftovers.append(member.key)
            if not member.deleting:
                wave = self.plan.positions.get(member.node, unknown)
                waves.setdefault(wave, []).append(Delete(node=member.node, key=member.key, uid=member.uid))
        for wave in sorted(waves, reverse=True):
            failed = False
            for result in (yield waves[wave]):
                failed = not self._deleted(result) or failed
            if failed:
                return

    def _deleted(self, result: Result) -> bool:
        """Record the result of a delete; False if the waves below must wait."""
        action = result.action
        assert isinstance(action, Delete)
        if isinstance(result, Done):
            self._changes.append(Change(kind=ChangeKind.DELETED, node=action.node, key=action.key))
        elif result.refusal is Refusal.CONFLICT:
            text = f"prune encountered UID conflicts; retrying: {action.key}: {result.message}"
            self._failures.append(Failure(message=text, retryable=True, refusal=result.refusal))
        elif result.refusal is not Refusal.MISSING:
            text = f"prune {action.key}: {result.message}"
            self._failures.append(Failure(message=text, retryable=True, refusal=result.refusal))
            return False
        return True

    def _shrink(self) -> _Steps[None]:
        """Forget kinds and namespaces without members, as far as that can be seen; a refusal matters as little as a
        superset does.
        """
        if self._leftovers or self._failures:
            return
        places = [place(item) for run in self._by_position for item in run.desired]
        remaining = Inventory.of(places, self._ownership.parent.namespace)
        unseen = self._inventory.group_kinds & self._world.unseen()
        if unseen:
            remaining = remaining.union(Inventory(group_kinds=unseen, namespaces=self._inventory.namespaces))
        if remaining != self._inventory:
            yield [patch(self.plan, self._ownership, remaining)]

    # The end

    def _conclude(self) -> Outcome:
        runs = self._by_position
        worked = all(run.state is not None for run in runs)
        applied = (NodeState.SYNCED, NodeState.SKIPPED, NodeState.WAITING_FOR_READINESS)
        clean = worked and not self._failures and self._management_error is None
        settled = clean and not self._leftovers and all(run.state and run.state.is_settled for run in runs)
        return Outcome(
            instance=self._instance,
            scope=self._scope,
            nodes={run.plan.id: _report(run) for run in runs if run.state is not None},
            changes=tuple(self._changes),
            failures=tuple(self._failures),
            management_error=self._management_error,
            suspended=is_suspended(self._instance) and self._management_error is None,
            leftovers=tuple(self._leftovers),
            strangers=tuple(self._strangers),
            repair=self._repair,
            not_adopted=self._not_adopted,
            synced=clean and all(run.state in applied for run in runs),
            settled=settled,
            retry=self._retry(settled),
            watches=tuple(run.watch for run in runs if run.watch is not None),
        )

    def _retry(self, settled: bool) -> Retry:
        if self._management_error is not None:
            return Retry.FRESH if self._conflict else Retry.BACKOFF
        if any(failure.retryable for failure in self._failures):
            return Retry.BACKOFF
        return Retry.NONE if settled or is_suspended(self._instance) else Retry.EVENT


def _report(run: _Run) -> NodeReport:
    assert run.state is not None
    return NodeReport(
        id=run.plan.id,
        state=run.state,
        message=run.message,
        blocked_by=run.blocked_by,
        expression=run.expression if not run.state.is_settled else None,
        objects=tuple(item.key for item in run.desired),
    )


def _too_big(obj: Obj, limit: int) -> str:
    """Why an object cannot be sent: it is too big, or has a number JSON is not written with; empty if it can."""
    try:
        size = len(orjson.dumps(obj))
    except TypeError as error:
        return f"the object cannot be written as JSON: {error}"
    return f"the object has {size} bytes as JSON, the limit is {limit}" if size > limit else ""
