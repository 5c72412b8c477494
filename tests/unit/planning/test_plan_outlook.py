"""Two passes become steps: what is drift, what follows from the edit, what nobody can tell."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, cast

import pytest

from kroasync.engine.actions import (
    Apply,
    Delete,
    Done,
    ForeignField,
    Need,
    Observed,
    Refusal,
    Refused,
    Release,
    Yielding,
)
from kroasync.engine.outcome import Failure, NodeReport, NodeState, Outcome
from kroasync.engine.prune_guard import HeldPrune
from kroasync.graph.analysis import analyse
from kroasync.graph.nodes import Graph
from kroasync.model.manifests import Text
from kroasync.model.names import MANAGER_CHILDREN
from kroasync.model.objects import Key, Obj
from kroasync.model.policies import MaxPrune
from kroasync.planning.forecast import PlannedStep, Verb
from kroasync.planning.outlook import Outlook, Side, outlook
from kroasync.planning.rehearsal import Passed, Touch
from tests.samples import CONFIG_MAPS, config_map, definition

HIDDEN = "hunter2"


def graph(*nodes: str, limit: Any = None, **data: str) -> Graph:
    """The graph of ConfigMaps with these ids; `many` is a collection."""
    resources: list[Obj] = []
    for one in nodes:
        if one == "many":
            template = config_map("${schema.metadata.name}-${x}")
            policy = {"policy": {"maxPrune": limit}} if limit is not None else {}
            resources.append({"id": one, "template": template, "forEach": [{"x": '${["a", "b"]}'}], **policy})
        else:
            resources.append({"id": one, "template": config_map(f"${{schema.metadata.name}}-{one}", data=data)})
    analysis = analyse([Text("f", json.dumps(definition("Shop", resources)))])
    assert not analysis.problems
    built = analysis.definitions[0].built
    assert built is not None
    assert built.graph is not None
    return built.graph


def key(name: str) -> Key:
    return Key(CONFIG_MAPS, "n", name)


def config(name: str = "a", *, version: str = "1", **data: str) -> Obj:
    return config_map(name, "n", data, uid=f"u-{name}", resourceVersion=version)


def apply(obj: Obj, before: Obj | None, *, after: Obj | None = None, node: str = "a", **more: Any) -> Touch:
    """An apply that the API server answers with `after`; as declared, if it is not given."""
    name = obj["metadata"]["name"]
    action = Apply(node=node, index=None, key=key(name), obj=obj, need=Need.UPDATE, force=True)
    result = Done(action=action, obj=after or obj, **more)
    return Touch(action, result, before, after or obj)


def refused(refusal: Refusal, message: str = "no", *, node: str = "a", name: str = "a") -> Touch:
    action = Apply(node=node, index=None, key=key(name), obj=config(name), need=Need.UPDATE, force=True)
    return Touch(action, Refused(action=action, refusal=refusal, message=message), config(name), config(name))


def delete(name: str, *, node: str = "a") -> Touch:
    action = Delete(node=node, key=key(name), uid=f"u-{name}")
    return Touch(action, Done(action=action), config(name), None)


def report(node: str, state: NodeState = NodeState.SYNCED, message: str = "", *names: str) -> NodeReport:
    return NodeReport(id=node, state=state, message=message, objects=tuple(map(key, names)))


def side(
    of: Graph, *touches: Touch, reports: Sequence[NodeReport] = (), members: Sequence[Observed] = (), **more: Any
) -> Side:
    passed = {name: more.pop(name) for name in ("recreated", "unasked", "stale") if name in more}
    secrets: Mapping[str, Any] = {**dict.fromkeys(of.nodes, ()), **more.pop("secrets", {})}
    nodes = {one.id: one for one in reports}
    outcome = Outcome(instance={"metadata": {"name": "x"}}, scope=cast(Any, None), nodes=nodes, **more)
    return Side(
        passed=Passed(outcome=outcome, touches=touches, members=tuple(members), secrets=secrets, **passed), graph=of
    )


def verbs(steps: Sequence[PlannedStep]) -> list[tuple[Verb, str]]:
    return [(step.verb, step.key.name if step.key else step.node) for step in steps]


ONE = graph("a")


def looked(before: Side | None, after: Side | None, *, edits: bool = False, ignored: Sequence[str] = ()) -> Outlook:
    return outlook(before, after, edits=edits, ignored=ignored)


def test_what_both_passes_do_is_drift() -> None:
    touch = apply(config(v="2"), config(v="1"))
    found = looked(side(ONE, touch), side(ONE, touch))
    assert verbs(found.drift) == [(Verb.UPDATE, "a")]
    assert found.steps == ()


def test_a_step_shows_what_differs_from_the_drift() -> None:
    drifted = config(v="1", w="x")
    found = looked(side(ONE, apply(config(v="1", w="1"), drifted)), side(ONE, apply(config(v="2", w="1"), drifted)))
    assert [change.path for change in found.drift[0].fields] == ["data.w"]
    assert [(c.path, c.before, c.after) for c in found.steps[0].fields] == [("data.v", "1", "2")]


def test_what_was_drift_may_be_declared_now() -> None:
    drifted = config(v="2")
    before = side(ONE, apply(config(v="1"), drifted))
    found = looked(before, side(ONE, reports=[report("a", NodeState.SYNCED, "", "a")]))
    assert [(step.verb, step.why.partition(":")[0]) for step in found.steps] == [(Verb.UPDATE, "stays as it is")]
    # Nothing is known of a node that the pass does not reach.
    assert (
        looked(before, side(ONE, reports=[report("a", NodeState.IN_PROGRESS, "waits")])).steps[0].verb is Verb.UNKNOWN
    )


def test_a_child_that_is_missing_is_created_as_drift_or_by_the_edit() -> None:
    touch = apply(config(v="1"), None)
    assert verbs(looked(None, side(ONE, touch)).steps) == [(Verb.CREATE, "a")]
    found = looked(side(ONE, touch), side(ONE, touch))
    assert (verbs(found.drift), found.steps) == ([(Verb.CREATE, "a")], ())


@pytest.mark.parametrize(
    ("refusal", "verb", "why"),
    [
        (Refusal.INVALID, Verb.REFUSED, "no"),
        (Refusal.FORBIDDEN, Verb.REFUSED, "no"),
        (Refusal.CONTESTED, Verb.CONFLICT, "no"),
        (Refusal.MANAGED, Verb.CONFLICT, "it existed before and no: it is not adopted"),
        (Refusal.CLAIMED, Verb.REFUSED, "it existed before and no: it is not adopted"),
        (Refusal.FOREIGN, Verb.REFUSED, 'it belongs to ApplySet "no"'),
    ],
)
def test_refusals_have_their_words(refusal: Refusal, verb: Verb, why: str) -> None:
    (step,) = looked(side(ONE), side(ONE, refused(refusal))).steps
    assert (step.verb, step.why) == (verb, why)
    # The same refusal without the edit is drift.
    found = looked(side(ONE, refused(refusal)), side(ONE, refused(refusal)))
    assert (verbs(found.drift), found.steps) == ([(verb, "a")], ())


@pytest.mark.parametrize(
    ("node", "of", "reports", "why"),
    [
        ("gone", ONE, [], 'dropped: the definition has no resource "gone" any more'),
        ("a", ONE, [report("a", NodeState.SKIPPED, "it is false")], "excluded: it is false"),
        ("many", graph("many"), [report("many")], 'shrunk: the collection "many" does not have it any more'),
        ("a", ONE, [report("a")], 'replaced: the resource "a" has another name, namespace or kind'),
    ],
)
def test_a_delete_says_why(node: str, of: Graph, reports: list[NodeReport], why: str) -> None:
    (step,) = looked(side(of), side(of, delete("x", node=node), reports=reports)).steps
    assert (step.verb, step.why) == (Verb.DELETE, why)


def test_a_release_is_no_delete() -> None:
    action = Release(node="a", key=key("a"), uid="u-a", part_of="p")
    touch = Touch(action, Done(action=action, obj=config()), config(), config())
    assert verbs(looked(side(ONE), side(ONE, touch)).steps) == [(Verb.RELEASE, "a")]


def test_a_deletion_and_a_creation_are_one_recreation() -> None:
    touches = (refused(Refusal.INVALID), delete("a"), apply(config(v="2"), config(v="1")))
    (step,) = looked(side(ONE), side(ONE, *touches, recreated={key("a"): "data: immutable"})).steps
    assert step.verb is Verb.RECREATE
    assert step.why.endswith("created anew: data: immutable")
    # What comes after the deletion may be unknown.
    (step,) = looked(side(ONE), side(ONE, *touches[:2], recreated={key("a"): "data: immutable"})).steps
    assert (step.verb, step.after) == (Verb.RECREATE, None)


def test_a_held_prune_is_held() -> None:
    held = HeldPrune(node="many", limit=MaxPrune(1), existing=3, objects=(key("x"), key("y")))
    of = graph("many")
    found = looked(side(of), side(of, held=(held,)))
    assert verbs(found.steps) == [(Verb.HELD, "x"), (Verb.HELD, "y")]
    found = looked(side(of, held=(held,)), side(of, held=(held,)))
    assert (len(found.drift), found.steps) == (2, ())


def test_an_expression_that_fails_is_refused_once() -> None:
    failure = Failure(message='node "a": no such key', retryable=False, node="a")
    assert verbs(looked(side(ONE), side(ONE, failures=(failure,))).steps) == [(Verb.REFUSED, "a")]
    assert looked(side(ONE, failures=(failure,)), side(ONE, failures=(failure,))).steps == ()
    # The refusal of an apply is a failure, too.
    touch = refused(Refusal.INVALID)
    assert len(looked(side(ONE), side(ONE, touch, failures=(failure,))).steps) == 1


def test_a_waiting_node_is_unknown_if_the_edit_concerns_it() -> None:
    waits = report("a", NodeState.IN_PROGRESS, "waits")
    other = graph("a", v="2")
    assert verbs(looked(side(ONE), side(ONE, reports=[waits])).steps) == [(Verb.UNKNOWN, "a")]
    assert looked(side(ONE, reports=[waits]), side(ONE, reports=[waits])).steps == ()
    assert verbs(looked(side(ONE, reports=[waits]), side(other, reports=[waits])).steps) == [(Verb.UNKNOWN, "a")]
    found = looked(side(ONE, reports=[waits]), side(ONE, reports=[waits]), edits=True)
    assert verbs(found.steps) == [(Verb.UNKNOWN, "a")]


def member(name: str, node: str, **more: Any) -> Observed:
    return Observed(key=key(name), uid=f"u-{name}", obj=config(name), node=node, part_of="p", **more)


def test_what_is_dropped_goes_when_everything_is_resolved() -> None:
    waits, members = report("a", NodeState.IN_PROGRESS, "waits"), [member("x", "gone"), member("a", "a")]
    found = looked(side(ONE, members=members), side(ONE, reports=[waits], members=members))
    assert verbs(found.steps) == [(Verb.UNKNOWN, "a"), (Verb.DELETE, "x")]
    assert found.steps[1].why.endswith("any more; it waits for a")
    # An error may last.
    failed = replace(waits, state=NodeState.ERROR)
    found = looked(side(ONE, members=members), side(ONE, reports=[failed], members=members))
    assert verbs(found.steps) == [(Verb.UNKNOWN, "x")]
    # What keeps its object is released.
    members[0] = member("x", "gone", orphaned=True)
    found = looked(side(ONE, members=members), side(ONE, reports=[waits], members=members))
    assert verbs(found.steps)[1] == (Verb.RELEASE, "x")


def test_what_waits_is_held_by_the_limit_of_its_collection() -> None:
    of = graph("a", "many", limit=1)
    reports = [report("a", NodeState.IN_PROGRESS, "waits"), report("many", NodeState.SYNCED, "", "k")]
    members = [
        member("x", "many", apply_order=2),
        member("y", "many", apply_order=2),
        member("z", "gone", apply_order=1),
    ]
    found = looked(side(of, members=members), side(of, reports=reports, members=members))
    # The wave after a held one does not start.
    assert verbs(found.steps) == [(Verb.UNKNOWN, "a"), (Verb.HELD, "x"), (Verb.HELD, "y")]


def test_a_forced_apply_says_what_it_takes() -> None:
    entry = {"manager": "rival", "operation": "Apply", "fieldsV1": {"f:data": {"f:v": {}}}}
    live = config(v="9")
    live["metadata"]["managedFields"] = [entry]
    after = config(v="1")
    after["metadata"]["managedFields"] = [{**entry, "manager": MANAGER_CHILDREN}]
    (step,) = looked(side(ONE), side(ONE, apply(config(v="1"), live, after=after))).steps
    assert step.why == 'takes .data.v from manager "rival"'
    # An adoption says so, too.
    (step,) = looked(side(ONE), side(ONE, apply(config(v="1"), live, after=after, adopted=True))).steps
    assert step.why == 'adopts an object that exists; takes .data.v from manager "rival"'


def test_notes_say_what_a_reader_should_know() -> None:
    left = Yielding("u-a", (ForeignField(".data.v", "rival", "1", "2"),))
    after = side(
        ONE,
        reports=[report("a", NodeState.WAITING_FOR_READINESS, "not ready")],
        suspended=True,
        yielded={key("a"): left},
        unasked=frozenset({key("a")}),
        stale=frozenset({key("a")}),
    )
    assert looked(None, after).notes == (
        "reconciliation is suspended by its annotation",
        "not ready",
        f'{key("a")} leaves .data.v to manager "rival"',
        f"{key('a')} is predicted, since you may not write it: the API server was not asked",
        f"{key('a')} changed while it was planned",
    )


def test_what_an_earlier_graph_took_from_a_secret_is_withheld() -> None:
    secret = {"a": (("data", "v"),)}
    before = side(ONE, secrets=secret)
    found = looked(before, side(ONE, apply(config(w="1"), config(v=HIDDEN))))
    assert [change.path for change in found.steps[0].fields] == ["data.v", "data.w"]
    assert HIDDEN not in repr(found)
    assert HIDDEN not in repr(looked(before, side(ONE, delete("a"))))
    # Of what no graph knows, the content is not shown at all.
    gone = replace(delete("x", node="gone"), before=config("x", v=HIDDEN))
    assert HIDDEN not in repr(looked(before, side(ONE, gone)))


def test_ignored_fields_are_no_step() -> None:
    touch = apply(config(v="2"), config(v="1"))
    assert looked(side(ONE), side(ONE, touch), ignored=("data.v",)).steps == ()


def test_what_reads_the_status_of_a_changed_object_may_change_later() -> None:
    web = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "${schema.metadata.name}"}}
    labels = {"matchLabels": {"a": "b"}}
    pod = {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}}
    template = {**web, "spec": {"selector": labels, "template": pod}}
    seen = config_map(
        "${schema.metadata.name}-seen", data={"n": "${string(a.status.replicas)}", "m": "${a.metadata.name}"}
    )
    resources = [{"id": "a", "template": template}, {"id": "seen", "template": seen}]
    analysis = analyse([Text("f", json.dumps(definition("Shop", resources)))])
    built = analysis.definitions[0].built
    assert built is not None
    assert built.graph is not None
    after = side(built.graph, apply(config(v="2"), config(v="1")))
    assert looked(side(built.graph), after).notes == (
        'node "seen" reads the status of "a", which may change after the apply',
    )
    assert looked(after, after).notes == ()
