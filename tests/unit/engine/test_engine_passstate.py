"""The stages of nodes: when each node is due, and that every transition is in the table."""

from collections.abc import Callable
from typing import Any

import pytest

from kroasync.engine.allowance import Allowance
from kroasync.engine.passstate import NEXT, Ending, NodeRun, PassState, Stage
from kroasync.engine.plan import Plan
from kroasync.graph.nodes import Graph
from kroasync.model.objects import Obj
from tests.unit.engine.conftest import Cluster


def config(node: str, reads: tuple[str, ...] = ()) -> Obj:
    data = {other: f"${{{other}.metadata.name}}" for other in reads}
    template = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": node}, "data": data}
    return {"id": node, "template": template}


@pytest.fixture
def state(
    graph_of: Callable[..., Graph], cluster_of: Callable[..., Cluster], instance_of: Callable[..., Obj]
) -> PassState:
    """Two nodes, and a node that reads both."""
    cluster = cluster_of(instance_of())
    plan = Plan.of(graph_of(config("one"), config("two"), config("both", reads=("one", "two"))), None)
    return PassState(plan, cluster.world.instance, cluster.world, Allowance())


def stages(state: PassState) -> dict[str, Stage]:
    return {node: run.stage for node, run in state.runs.items()}


def turns(state: PassState) -> list[NodeRun]:
    found = []
    while (run := state.next_run()) is not None:
        found.append(run)
    return found


def test_a_node_is_due_when_the_last_of_its_dependencies_has_ended(state: PassState) -> None:
    one, two, both = state.by_position
    assert turns(state) == [one, two]
    state.end(one, Ending.READY)
    assert stages(state) == {"one": Stage.ENDED, "two": Stage.DUE, "both": Stage.WAITING}
    state.fail(two, "broken")
    assert turns(state) == [both]


def test_what_is_shown_comes_before_what_is_due(state: PassState) -> None:
    one, two, _ = state.by_position
    assert state.next_run() is one
    state.show(one, {"metadata": {"name": "one"}})
    assert turns(state) == [one, two]


def test_what_is_held_has_another_turn_once_it_is_covered(state: PassState) -> None:
    one, two = turns(state)
    state.hold(two)
    state.hold(one)
    assert turns(state) == []
    state.cover()
    assert (turns(state), one.stage, two.stage) == ([one, two], Stage.COVERED, Stage.COVERED)


@pytest.mark.parametrize("before", Stage)
@pytest.mark.parametrize("after", Stage)
def test_a_node_takes_only_the_ways_of_the_table(state: PassState, before: Stage, after: Stage) -> None:
    run = state.by_position[0]
    run.stage = before
    if after in NEXT[before]:
        run.go(after)
        assert run.stage is after
    else:
        with pytest.raises(RuntimeError, match=f"node one cannot go from {before.name} to {after.name}"):
            run.go(after)


def test_every_stage_leads_to_the_end() -> None:
    leading = {Stage.ENDED}
    for _ in Stage:
        leading |= {stage for stage, after in NEXT.items() if leading.intersection(after)}
    assert leading == set(Stage)


WAITS = "waiting for something"


@pytest.mark.parametrize(
    ("finding", "given", "message", "why"),
    [
        (Ending.READY, {}, "", ""),
        (Ending.EXCLUDED_WITH, {"cause": "two"}, 'depends on excluded node "two"', 'depends on excluded node "two"'),
        (
            Ending.BLOCKED,
            {"cause": "two", "why": WAITS},
            f'node "one": dependent node "two" not ready: {WAITS} (data pending)',
            WAITS,
        ),
        (
            Ending.NOT_FOUND,
            {},
            'waiting for external reference "one": not found',
            'waiting for external reference "one": not found',
        ),
        (Ending.NOT_READY, {"why": "{cause} {0}"}, 'node "one" not ready: {cause} {0}', "{cause} {0}"),
    ],
)
def test_what_is_said_of_a_node_and_what_its_dependents_quote(
    state: PassState, finding: Ending, given: dict[str, Any], message: str, why: str
) -> None:
    run = state.by_position[0]
    state.end(run, finding, **given)
    assert (run.state, run.message, run.why) == (finding.state, message, why)
