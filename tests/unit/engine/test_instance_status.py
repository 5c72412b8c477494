"""The status table: state, phase, synced, conditions, the author's fields."""

from typing import Any

import pytest

from kroasync.engine.actions import Refusal
from kroasync.engine.instance_status import (
    MAX_MESSAGE,
    capped,
    compose,
    compose_release_failed,
    compose_teardown,
    compose_unresolved,
)
from kroasync.engine.teardown import Teardown, blocked

NOW = "2026-01-02T03:04:05Z"
LATER = "2026-01-02T09:09:09Z"
CREATED = "2026-01-01T00:00:00Z"


def composed(passed, now=NOW):
    return compose(passed.plan, passed.outcome, now=now)


def conditions(status):
    return {c["type"]: c for c in status["conditions"]}


def short(status):
    return {c["type"]: (c["status"], c["reason"]) for c in status["conditions"]}


def written(cluster, status, **meta):
    """Store a status as the API server would."""
    instance = cluster.world.instance
    cluster.world.instance = {
        **instance,
        "metadata": {**instance["metadata"], **meta},
        "status": status,
    }


@pytest.fixture
def settled(graph_of, cluster_of, instance_of, walked, config):
    def make(api_kind, **rest):
        graph = graph_of(config("a", {"v": "1"}), api_kind=api_kind, **rest)
        cluster = cluster_of(instance_of({}))
        return walked(graph, cluster), cluster, graph

    return make


@pytest.mark.parametrize(
    ("api_kind", "reason", "message", "abnormal"),
    [
        (
            "ResourceGroup",
            "ResourcesAvailable",
            "All resources are available and configured correctly",
            dict.fromkeys(("Progressing", "Degraded", "Error"), ("False", "AsExpected")),
        ),
        ("ResourceGraphDefinition", "Ready", "", {}),
    ],
)
def test_a_settled_instance(settled, api_kind, reason, message, abnormal):
    passed, _, _ = settled(api_kind)
    status = composed(passed)
    assert {k: v for k, v in status.items() if k != "conditions"} == {
        "state": "ACTIVE",
        "phase": "Running",
        "synced": True,
        "observedGeneration": 1,
    }
    found = conditions(status)
    assert short(status) == {
        "InstanceManaged": ("True", "Managed"),
        "GraphResolved": ("True", "Resolved"),
        "ResourcesReady": ("True", "AllResourcesReady"),
        **abnormal,
        "Ready": ("True", reason),
    }
    assert found["Ready"]["message"] == message
    assert found["InstanceManaged"]["message"] == "instance is properly managed with finalizers and labels"
    assert found["GraphResolved"]["message"] == "runtime graph created and all resources resolved"
    assert found["ResourcesReady"]["message"] == "all resources are created and ready"
    assert {c["observedGeneration"] for c in status["conditions"]} == {1}
    assert status["conditions"][-1]["type"] == "Ready"


@pytest.mark.parametrize("api_kind", ["ResourceGroup", "ResourceGraphDefinition"])
def test_an_unchanged_status_is_the_very_one_the_instance_has(settled, walked, api_kind):
    passed, cluster, graph = settled(api_kind)
    status = composed(passed)
    written(cluster, status)
    again = walked(graph, cluster)
    assert composed(again, now=LATER) is status


def test_a_new_generation_moves_observed_generations_but_no_transition_time(settled, walked):
    passed, cluster, graph = settled("ResourceGroup")
    before = composed(passed)
    written(cluster, before, generation=2)
    status = composed(walked(graph, cluster), now=LATER)
    assert status["observedGeneration"] == 2
    assert {c["observedGeneration"] for c in status["conditions"]} == {2}
    times = {c["type"]: c["lastTransitionTime"] for c in before["conditions"]}
    assert {c["type"]: c["lastTransitionTime"] for c in status["conditions"]} == times


@pytest.fixture
def slow(graph_of, cluster_of, instance_of, config):
    graph = graph_of(
        config("a", {"v": "1"}, readyWhen=["${a.data.v == '2'}"]),
        config("b", {"x": "${a.metadata.name}"}),
        config("c", {"x": "${b.metadata.name}"}),
    )
    return graph, cluster_of(instance_of())


def test_waiting_names_node_expression_value_and_who_is_blocked(slow, walked):
    graph, cluster = slow
    status = composed(walked(graph, cluster))
    assert (status["state"], status["phase"], status["synced"]) == ("IN_PROGRESS", "Progressing", False)
    message = (
        'awaiting resource readiness: node "a" not ready: ${a.data.v == \'2\'}: "1" == "2" is false; '
        'nodes blocked by this: "b", "c"'
    )
    found = conditions(status)
    assert short(status) == {
        "InstanceManaged": ("True", "Managed"),
        "GraphResolved": ("True", "Resolved"),
        "ResourcesReady": ("False", "NotReady"),
        "Progressing": ("True", "NotReady"),
        "Reconciling": ("True", "NotReady"),
        "Ready": ("False", "NotReady"),
    }
    for type_ in ("ResourcesReady", "Ready", "Progressing", "Reconciling"):
        assert found[type_]["message"] == message


@pytest.mark.parametrize(
    ("api_kind", "left"),
    [
        ("ResourceGroup", {"Progressing": "False", "Degraded": "False", "Error": "False"}),
        ("ResourceGraphDefinition", {}),
    ],
)
def test_what_was_abnormal_is_false_on_an_instance_of_a_group_and_gone_elsewhere(
    graph_of, cluster_of, instance_of, walked, config, api_kind, left
):
    graph = graph_of(config("a"), config("b"), api_kind=api_kind)
    cluster = cluster_of(instance_of(), refusals={"shop-a": (Refusal.FORBIDDEN, "no")})
    status = composed(walked(graph, cluster))
    abnormal = ("Progressing", "Degraded", "Error")
    assert [conditions(status)[type_]["status"] for type_ in abnormal] == ["True"] * 3
    written(cluster, status)
    cluster.refusals.clear()
    found = conditions(composed(walked(graph, cluster), now=LATER))
    assert {type_: found[type_]["status"] for type_ in abnormal if type_ in found} == left


@pytest.mark.parametrize("api_kind", ["ResourceGroup", "ResourceGraphDefinition"])
def test_a_deletion_keeps_the_form_of_the_conditions(settled, api_kind):
    passed, cluster, _ = settled(api_kind)
    written(cluster, composed(passed))
    teardown = Teardown(message="deleting resources")
    found = conditions(compose_teardown(cluster.world.instance, teardown, now=LATER))
    assert found["Progressing"]["status"] == "True"
    assert ("Error" in found) == (api_kind == "ResourceGroup")


def test_kstatus_conditions_go_when_the_work_is_done(slow, walked, key_of):
    graph, cluster = slow
    written(cluster, composed(walked(graph, cluster)))
    key = key_of("ConfigMap", "shop-a")
    plain = cluster.world.compare
    cluster.world.compare = lambda k, d: None if k == key else plain(k, d)
    cluster.world.put(key, {**cluster.world.get(key), "data": {"v": "2"}})
    status = composed(walked(graph, cluster), now=LATER)
    assert status["state"] == "ACTIVE"
    assert not {"Reconciling", "Stalled"} & conditions(status).keys()
    assert conditions(status)["ResourcesReady"]["lastTransitionTime"] == LATER
    assert conditions(status)["InstanceManaged"]["lastTransitionTime"] == NOW


@pytest.mark.parametrize(
    ("refusal", "stalled"),
    [(Refusal.FORBIDDEN, False), (Refusal.MISSING, False), (Refusal.INVALID, True)],
)
def test_errors_are_stalled_only_if_no_retry_can_help(
    graph_of, cluster_of, instance_of, walked, config, refusal, stalled
):
    cluster = cluster_of(instance_of(), refusals={"shop-a": (refusal, "no")})
    status = composed(walked(graph_of(config("a"), config("b")), cluster))
    found = conditions(status)
    assert (status["state"], status["phase"]) == ("ERROR", "Failed")
    assert found["ResourcesReady"]["message"] == 'resource error: node "a": apply ConfigMap team/shop-a: no'
    assert found["Error"]["status"] == "True"
    # b succeeds, a does not.
    assert found["Degraded"]["status"] == "True"
    assert ("Stalled" in found, "Reconciling" in found) == (stalled, not stalled)


def test_degraded_is_what_was_ready_and_is_no_more(settled, walked):
    passed, cluster, graph = settled("ResourceGroup")
    written(cluster, composed(passed))
    cluster.refusals["shop-a"] = (Refusal.UNAVAILABLE, "timeout")
    cluster.world.resend = True
    status = composed(walked(graph, cluster))
    assert conditions(status)["Degraded"]["status"] == "True"
    written(cluster, status)
    assert conditions(composed(walked(graph, cluster)))["Degraded"]["status"] == "True"
    cluster.refusals.clear()
    assert conditions(composed(walked(graph, cluster)))["Degraded"]["status"] == "False"


def test_a_child_being_deleted(settled, walked, key_of):
    _, cluster, graph = settled("ResourceGroup")
    key = key_of("ConfigMap", "shop-a")
    obj = cluster.world.get(key)
    cluster.world.put(key, {**obj, "metadata": {**obj["metadata"], "deletionTimestamp": CREATED}})
    status = composed(walked(graph, cluster))
    assert status["state"] == "IN_PROGRESS"
    assert short(status)["ResourcesReady"] == ("False", "ResourceDeleting")
    assert 'resource "team/shop-a" for node "a" is currently being deleted' in (conditions(status)["Ready"]["message"])


def test_a_failed_metadata_patch(settled, walked):
    _, cluster, graph = settled("ResourceGroup", status={"v": "${a.data.v}"})
    written(cluster, composed(walked(graph, cluster)), labels={})
    cluster.refusals["PatchParent"] = (Refusal.FORBIDDEN, "no")
    status = composed(walked(graph, cluster))
    assert (status["state"], status["v"]) == ("ERROR", "1")
    found = conditions(status)
    assert found["InstanceManaged"]["reason"] == "ManagementFailed"
    assert found["InstanceManaged"]["message"] == "finalizer/labeling failed: no"
    assert found["ResourcesReady"]["status"] == "True"
    assert found["Ready"]["message"] == "finalizer/labeling failed: no"


def test_suspension_keeps_state_and_fields_but_is_not_ready(settled, walked):
    _, cluster, graph = settled("ResourceGroup", status={"v": "${a.data.v}"})
    before = composed(walked(graph, cluster))
    annotations = {**cluster.world.instance["metadata"]["annotations"], "kro.run/reconcile": "Suspended"}
    written(cluster, before, annotations=annotations)
    status = composed(walked(graph, cluster))
    assert (status["state"], status["v"]) == ("ACTIVE", "1")
    for type_ in ("ResourcesReady", "Ready"):
        found = conditions(status)[type_]
        assert (found["status"], found["reason"], found["message"]) == (
            "False",
            "ReconciliationSuspended",
            "reconciliation suspended via kro.run/reconcile annotation",
        )
    assert "Reconciling" not in conditions(status)


def test_a_suspended_instance_with_conditions_of_the_author_does_not_look_active(settled, walked):
    ready = "runtime.newCondition({type: 'Ready', status: 'True', reason: a.data.v, message: ''})"
    other = "runtime.newCondition({type: 'Stored', status: 'True', reason: a.data.v, message: ''})"
    _, cluster, graph = settled("ResourceGraphDefinition", status={"conditions": [f"${{{e}}}" for e in (ready, other)]})
    before = composed(walked(graph, cluster))
    assert (before["state"], conditions(before)["Ready"]["status"]) == ("ACTIVE", "True")
    plain = dict(cluster.world.instance["metadata"]["annotations"])
    written(cluster, before, annotations={**plain, "kro.run/reconcile": "suspended"})
    status = composed(walked(graph, cluster))
    found = conditions(status)
    assert (status["state"], status["phase"]) == ("IN_PROGRESS", "Progressing")
    assert found["Stored"] == conditions(before)["Stored"]
    for type_ in ("Ready", "ResourcesReady"):
        assert (found[type_]["status"], found[type_]["reason"]) == ("False", "ReconciliationSuspended")
    written(cluster, status, annotations={**plain, "kro.run/reconcile": "suspended"})
    assert composed(walked(graph, cluster)) is cluster.world.instance["status"]
    written(cluster, status, annotations=plain)
    again = composed(walked(graph, cluster))
    assert (again["state"], {t: c["status"] for t, c in conditions(again).items()}) == (
        "ACTIVE",
        {"Ready": "True", "Stored": "True"},
    )


def test_messages_are_bounded(graph_of, cluster_of, instance_of, walked, config):
    cluster = cluster_of(instance_of(), refusals={"shop-a": (Refusal.INVALID, "ü" * 5000)})
    status = composed(walked(graph_of(config("a")), cluster))
    assert all(len(c["message"].encode()) <= MAX_MESSAGE for c in status["conditions"])
    assert conditions(status)["Ready"]["message"].endswith("ü…")
    assert capped("x" * MAX_MESSAGE) == "x" * MAX_MESSAGE


# The author's fields


def fields(status):
    ours = {"state", "phase", "synced", "observedGeneration", "conditions"}
    return {k: v for k, v in status.items() if k not in ours}


def test_fields_appear_when_all_their_expressions_resolve(graph_of, cluster_of, instance_of, walked, config):
    graph = graph_of(
        config("a", {"v": "1"}),
        config("off", includeWhen=["${schema.spec.on}"]),
        spec={"on": "boolean"},
        status={
            "value": "${a.data.v}",
            "text": "v=${a.data.v}",
            "both": "${a.data.v}${off.metadata.name}",
            "missing": "${a.data['nope']}",
            "none": "${a.data.?nope}",
            "nested": {"here": "${a.metadata.name}", "there": "${off.metadata.name}"},
            "list": ["${off.metadata.name}", "${a.metadata.name}", "${off.metadata.name}"],
            "begun": ["${a.metadata.name}", "${off.metadata.name}"],
            "whole": ["${a.metadata.name}", "${a.data.v}"],
            "objects": [{"n": "${a.metadata.name}"}],
        },
    )
    status = composed(walked(graph, cluster_of(instance_of({"on": False}))))
    assert fields(status) == {
        "value": "1",
        "text": "v=1",
        "nested": {"here": "shop-a"},
        "whole": ["shop-a", "1"],
        "objects": [{"n": "shop-a"}],
    }


def test_the_authors_phase_synced_and_observed_generation_win_and_state_does_not(
    graph_of, cluster_of, instance_of, walked, config
):
    graph = graph_of(
        config("a", {"v": "1"}),
        status={
            "phase": "${a.data.v}",
            "synced": "${a.data['later']}",
            "observedGeneration": "${size(a.data)}",
            "state": "${a.data.v}",
        },
    )
    status = composed(walked(graph, cluster_of(instance_of())))
    assert (status["phase"], status["observedGeneration"], status["state"]) == ("1", 1, "ACTIVE")
    # The author declared the field, so we do not set it while it has no value.
    assert "synced" not in status


def test_a_broken_status_expression_shows_and_keeps_everything_else(graph_of, cluster_of, instance_of, walked, config):
    graph = graph_of(
        config("a", {"v": "0"}),
        status={"bad": "${1 / int(a.data.v)}", "good": "${a.data.v}"},
    )
    status = composed(walked(graph, cluster_of(instance_of())))
    assert fields(status) == {"good": "0"}
    found = conditions(status)
    assert (found["Error"]["status"], found["Error"]["reason"]) == ("True", "StatusExpressionFailed")
    assert found["Error"]["message"].startswith("failed to evaluate status expression: ${1 / int(a.data.v)}: ")
    assert found["Ready"]["status"] == "True"


def test_a_field_too_deep_to_be_written_is_an_error_of_that_field(graph_of, cluster_of, instance_of, walked, config):
    value: Any = "x"
    for _ in range(199):
        value = [value]
    graph = graph_of(
        config("a", {"v": "1"}),
        spec={"any": "object"},
        status={"deep": {"er": "${schema.spec.any.x}"}, "good": "${a.data.v}"},
    )
    status = composed(walked(graph, cluster_of(instance_of({"any": {"x": value}}))))
    assert fields(status) == {"good": "1"}
    assert conditions(status)["Error"]["message"] == (
        "the value of status expression ${schema.spec.any.x} is nested too deeply"
    )


# The author's conditions


def author(graph_of, config, *texts, **data):
    status = {"conditions": [f"${{{text}}}" for text in texts]}
    return graph_of(config("a", data or {"v": "1"}), status=status)


def test_author_conditions_replace_ours(graph_of, cluster_of, instance_of, walked, config):
    graph = author(
        graph_of,
        config,
        "runtime.newCondition({type: 'Serving', status: a.data.v == '1' ? 'True' : 'False', reason: 'R'})",
        "runtime.newCondition({type: 'Ready', status: runtime.condition(schema, 'Ready').status, message: 'm'})",
    )
    status = composed(walked(graph, cluster_of(instance_of())))
    assert status["state"] == "ACTIVE"
    assert status["conditions"] == [
        {
            "type": "Serving",
            "status": "True",
            "reason": "R",
            "lastTransitionTime": NOW,
            "observedGeneration": 1,
        },
        {
            "type": "Ready",
            "status": "True",
            "message": "m",
            "lastTransitionTime": NOW,
            "observedGeneration": 1,
        },
    ]


def test_author_conditions_keep_their_transition_time(graph_of, cluster_of, instance_of, walked, config):
    graph = author(graph_of, config, "runtime.newCondition({type: 'X', status: 'True', message: a.data.v})")
    cluster = cluster_of(instance_of())
    first = composed(walked(graph, cluster))
    written(cluster, first)
    assert composed(walked(graph, cluster), now=LATER) is first
    written(cluster, {**first, "conditions": [{**first["conditions"][0], "status": "False"}]})
    assert composed(walked(graph, cluster), now=LATER)["conditions"][0]["lastTransitionTime"] == LATER


def test_a_list_of_conditions_is_spliced(graph_of, cluster_of, instance_of, walked, config):
    graph = author(
        graph_of,
        config,
        "['A', 'B'].map(t, runtime.newCondition({type: t, status: a.data.v == '1' ? 'True' : 'False'}))",
    )
    status = composed(walked(graph, cluster_of(instance_of())))
    assert [c["type"] for c in status["conditions"]] == ["A", "B"]


@pytest.mark.parametrize(
    ("text", "degraded"),
    [
        ("runtime.newCondition({type: 'X', status: a.data['later']})", False),
        ("runtime.newCondition({type: 'X', status: a.data.v == '1' ? 'Maybe' + a.data.v : 'True'})", True),
        ("runtime.newCondition({type: 'X', status: string(1 / int(a.data.zero))})", True),
        (
            "[1, 2].map(i, runtime.newCondition({type: 'X', status: a.data.v == '1' ? 'True' : 'False'}))",
            True,
        ),
    ],
)
def test_conditions_that_cannot_be_computed_leave_the_earlier_ones(
    graph_of, cluster_of, instance_of, walked, config, text, degraded
):
    good = "runtime.newCondition({type: 'Good', status: a.data.v == '1' ? 'True' : 'False'})"
    graph = author(graph_of, config, good, text, v="1", zero="0")
    cluster = cluster_of(instance_of())
    old = {"type": "X", "status": "False", "lastTransitionTime": CREATED}
    written(cluster, {"conditions": [old]})
    status = composed(walked(graph, cluster))
    assert [c["type"] for c in status["conditions"]] == ["Good", "X"]
    assert status["conditions"][1] == old
    assert status["state"] == ("ERROR" if degraded else "ACTIVE")


# Without a graph


def test_an_unresolved_graph_leaves_the_rest_as_it_was(settled):
    passed, cluster, _ = settled("ResourceGroup", status={"v": "${a.data.v}"})
    written(cluster, composed(passed))
    status = compose_unresolved(cluster.world.instance, "latest issued graph revision 2 failed", now=LATER)
    assert (status["state"], status["phase"], status["v"]) == ("ERROR", "Failed", "1")
    found = conditions(status)
    assert (found["GraphResolved"]["status"], found["GraphResolved"]["reason"]) == ("False", "ResolutionFailed")
    assert found["GraphResolved"]["message"] == "latest issued graph revision 2 failed"
    assert found["ResourcesReady"]["status"] == "True"
    assert found["Ready"]["status"] == "False"
    written(cluster, status)
    again = compose_unresolved(cluster.world.instance, "latest issued graph revision 2 failed", now="2027")
    assert again is status


def test_an_unresolved_graph_touches_only_the_state_beside_author_conditions(instance_of):
    mine = [{"type": "Mine", "status": "True"}]
    instance = {**instance_of(), "status": {"conditions": mine, "phase": "custom", "synced": "yes"}}
    status = compose_unresolved(instance, "no graph", now=NOW)
    assert status["conditions"] == mine
    assert (status["state"], status["phase"], status["synced"]) == ("ERROR", "custom", "yes")


def test_a_teardown_keeps_fields_and_says_what_it_waits_for(settled):
    passed, cluster, _ = settled("ResourceGroup", status={"v": "${a.data.v}"})
    written(cluster, composed(passed), generation=2, deletionTimestamp=NOW)
    teardown = Teardown(message="deleting apply-order wave 1")
    status = compose_teardown(cluster.world.instance, teardown, now=LATER)
    assert (status["state"], status["phase"], status["synced"], status["v"]) == (
        "DELETING",
        "Terminating",
        False,
        "1",
    )
    found = conditions(status)
    assert (found["ResourcesReady"]["status"], found["ResourcesReady"]["reason"]) == ("Unknown", "UnderDeletion")
    assert "deleting apply-order wave 1" in found["ResourcesReady"]["message"]
    assert found["Ready"]["reason"] == "UnderDeletion"
    assert {c["observedGeneration"] for c in status["conditions"]} == {2}
    assert found["Error"]["status"] == "False"
    assert found["Degraded"]["status"] == "False"
    stuck = compose_teardown(cluster.world.instance, blocked("x"), now=LATER)
    assert conditions(stuck)["Error"]["message"] == "deletion blocked: x"


def test_a_teardown_overlays_author_conditions(instance_of):
    mine = {"type": "Mine", "status": "True"}
    instance = {**instance_of(deletionTimestamp=NOW), "status": {"conditions": [mine]}}
    status = compose_teardown(instance, Teardown(message="deleting resources"), now=NOW)
    assert mine in status["conditions"]
    assert conditions(status)["ResourcesReady"]["reason"] == "UnderDeletion"
    assert conditions(status).keys() == {"Mine", "ResourcesReady"}
    again = compose_teardown({**instance, "status": status}, Teardown(message="deleting resources"), now=LATER)
    assert again is status


def test_a_finalizer_that_cannot_be_removed(instance_of):
    status = compose_release_failed(instance_of(deletionTimestamp=NOW), "conflict", now=NOW)
    managed = conditions(status)["InstanceManaged"]
    assert (managed["status"], managed["reason"], managed["message"]) == (
        "False",
        "ManagementFailed",
        "failed removing finalizer: conflict",
    )
