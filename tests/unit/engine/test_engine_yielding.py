"""The policy `conflicts` and external fields: what is left to other managers, and what a message says of it."""

import time
from collections.abc import Callable
from typing import Any

import pytest

from kroasync.engine.actions import Apply, Done, ForeignField, Refusal, Yielding
from kroasync.engine.plan import Options, Plan
from kroasync.engine.yielding import agree, foreign_fields, foreign_text, yielding
from kroasync.model.names import LABEL_INSTANCE_ID, MANAGER_CHILDREN
from kroasync.model.objects import Obj
from kroasync.model.policies import Conflicts, Policies

FORCE, YIELD, FAIL = (Policies(conflicts=word) for word in Conflicts)
REPLICAS = {"f:spec": {"f:replicas": {}}}
DECLARED = {"metadata": {"name": "x"}, "spec": {"replicas": 3, "paused": True}}
LEFT = {"metadata": {"name": "x"}, "spec": {"paused": True}}


def entry(manager: str, fields: Any, **more: Any) -> Obj:
    return {"manager": manager, "operation": "Update", "fieldsV1": fields, **more}


def live(*entries: Obj, replicas: int = 5) -> Obj:
    meta = {"name": "x", "uid": "u", "managedFields": list(entries)}
    return {"metadata": meta, "spec": {"replicas": replicas, "paused": True}}


SCALED, SHARED = live(entry("hpa", REPLICAS)), live(entry("hpa", REPLICAS), entry(MANAGER_CHILDREN, REPLICAS))
SAME = live(entry("hpa", REPLICAS), replicas=3)


@pytest.mark.parametrize(
    ("obj", "policies", "named", "sent", "refused", "forced"),
    [
        # Whatever its value is, the field of another manager is left out, also the declared one.
        (SCALED, YIELD, None, LEFT, 0, False),
        (SAME, YIELD, None, LEFT, 0, False),
        # What we own, too, goes on to be declared, until the API server reports a conflict.
        (SHARED, YIELD, None, DECLARED, 0, False),
        (SHARED, YIELD, [".spec.replicas"], LEFT, 0, False),
        (SCALED, YIELD, [".spec.other"], DECLARED, 0, False),
        (SCALED, FORCE, None, DECLARED, 0, True),
        # Another value stops the apply, the declared one does not.
        (SCALED, FAIL, None, DECLARED, 1, False),
        (SAME, FAIL, None, DECLARED, 0, False),
        (SHARED, FAIL, None, DECLARED, 0, False),
        (SHARED, FAIL, [".spec.replicas"], DECLARED, 1, False),
        # A field that nobody else has is declared.
        (live(), YIELD, None, DECLARED, 0, False),
        (live(entry("kcm", REPLICAS, subresource="status")), YIELD, None, DECLARED, 0, False),
        # The API server records nobody for a zero of the subresource `scale`.
        (live(replicas=0), YIELD, None, LEFT, 0, False),
        (live(replicas=0), FAIL, None, DECLARED, 1, False),
        (live(replicas=0), FORCE, None, DECLARED, 0, True),
        (live(entry(MANAGER_CHILDREN, REPLICAS), replicas=0), YIELD, None, DECLARED, 0, False),
    ],
)
def test_terms(obj: Obj, policies: Policies, named: list[str] | None, sent: Obj, refused: int, forced: bool) -> None:
    terms = agree(obj, DECLARED, policies, (), named)
    assert (terms.obj, len(terms.refused), terms.force) == (sent, refused, forced)


def test_a_zero_of_a_scaler_is_left_out_where_the_field_is_external() -> None:
    terms = agree(live(replicas=0), DECLARED, FORCE, (("spec", "replicas"),))
    assert (terms.obj, [contest.field for contest in terms.yielded]) == (LEFT, [".spec.replicas"])
    assert agree(live(replicas=0), LEFT, YIELD, ()).yielded == ()


@pytest.mark.parametrize("policies", [FORCE, YIELD, FAIL])
@pytest.mark.parametrize("obj", [SCALED, SAME, SHARED])
def test_an_external_field_is_left_out_as_soon_as_another_manager_owns_it(obj: Obj, policies: Policies) -> None:
    terms = agree(obj, DECLARED, policies, (("spec", "replicas"), ("spec", "absent")))
    assert (terms.obj, terms.refused) == (LEFT, ())
    assert agree(live(), DECLARED, policies, (("spec", "replicas"),)).obj == DECLARED


def test_only_exactly_the_external_field_counts() -> None:
    obj = live(entry("other", {"f:spec": {"f:replicas": {"f:below": {}}, "f:paused": {}}}))
    assert agree(obj, DECLARED, FORCE, (("spec", "replicas"),)).obj == DECLARED


FORGED = {
    "f:apiVersion": {},
    "f:kind": {},
    "f:metadata": {"f:name": {}, "f:labels": {f"f:{LABEL_INSTANCE_ID}": {}, "f:app": {}}},
}


@pytest.mark.parametrize("fields", [FORGED, {"f:metadata": {}}, {"f:metadata": {"f:labels": {}}}])
@pytest.mark.parametrize("policies", [YIELD, FAIL])
def test_identity_and_our_own_labels_are_left_to_nobody(fields: Obj, policies: Policies) -> None:
    meta = {"name": "x", "labels": {LABEL_INSTANCE_ID: "i", "app": "a"}}
    declared = {"apiVersion": "v1", "kind": "Pod", "metadata": meta}
    obj = {"metadata": {**meta, "managedFields": [entry("thief", fields)]}}
    own = {**declared, "metadata": {"name": "x", "labels": {LABEL_INSTANCE_ID: "i"}}}
    terms = agree(obj, declared, policies, (("metadata", "labels"), ("metadata", "name")))
    assert terms.refused == ()
    assert terms.obj == (own if fields is FORGED and policies is YIELD else declared)


def test_our_own_labels_are_taken_back_by_force() -> None:
    field = f".metadata.labels.{LABEL_INSTANCE_ID}"
    declared = {"metadata": {"name": "x", "labels": {LABEL_INSTANCE_ID: "i"}}}
    thief = {"f:metadata": {"f:labels": {f"f:{LABEL_INSTANCE_ID}": {}}}}
    obj = {"metadata": {"labels": {LABEL_INSTANCE_ID: "j"}, "managedFields": [entry("thief", thief)]}}
    terms = agree(obj, declared, YIELD, (), [field])
    assert (terms.obj, terms.force, terms.yielded) == (declared, True, ())


def test_texts_of_a_secret_are_its_data() -> None:
    declared = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "x"}, "stringData": {"a": "1", "b": "2"}}
    obj = {"metadata": {"managedFields": [entry("rotator", {"f:data": {"f:a": {}}})]}, "data": {"a": "eA=="}}
    assert agree(obj, declared, YIELD, ()).obj["data"] == {"b": "Mg=="}


def test_a_message_has_object_field_both_values_and_manager_and_is_bounded() -> None:
    declared = {"spec": {f"f{n}": "d" * 10_000 for n in range(20)}}
    obj = {
        "metadata": {"managedFields": [entry("hpa", {"f:spec": {f"f:f{n}": {} for n in range(20)}})]},
        "spec": {f"f{n}": n for n in range(20)},
    }
    text = foreign_text(foreign_fields(agree(obj, declared, FAIL, ()).refused, ()))
    assert text.startswith('.spec.f0 is 0 by manager "hpa", declared is "ddd')
    assert text.endswith("; and 15 more")
    assert len(text) < 1000


def test_a_long_value_of_many_managers_and_a_deep_one_are_shown_in_little_time() -> None:
    deep: Any = 1
    for _ in range(100_000):
        deep = [deep]
    entries = [entry(f"m{n}", {"f:long": {}, "f:deep": {}}) for n in range(1000)]
    obj = {"metadata": {"managedFields": entries}, "long": ["x" * 1_000_000], "deep": deep}
    began = time.process_time()
    refused = agree(obj, {"long": ["x" * 1_000_000 + "y"], "deep": [1]}, FAIL, ()).refused
    text = foreign_text(foreign_fields(refused, ()))
    assert time.process_time() - began < 1
    assert len(text) < 1000
    assert foreign_fields([refused[-1]], ())[0].live == "a deeply nested value"


@pytest.mark.parametrize(
    ("secrets", "field", "value"),
    [
        ((), '.env[name="A"].value', '"declared"'),
        ((("env", 0, "value"),), ".env[1].value", "a value that is withheld"),
        ((("env",),), ".env", "a value that is withheld"),
        ((("env", 0, "value", "deep"),), ".env[1].value", "a value that is withheld"),
        ((("other",),), ".env[1].value", '"declared"'),
    ],
)
def test_values_of_secrets_are_withheld(secrets: tuple[Any, ...], field: str, value: str) -> None:
    declared = {"env": [{"name": "B"}, {"name": "A", "value": "declared"}]}
    obj = {
        "metadata": {"managedFields": [entry("x", {"f:env": {'k:{"name":"A"}': {"f:value": {}}}})]},
        "env": [{"name": "A", "value": "declared"}],
    }
    found = foreign_fields(agree(obj, declared, YIELD, ()).yielded, secrets)
    assert found == (ForeignField(field, "x", value, value),)


def test_what_is_yielded_is_told_by_fields_and_managers_whatever_the_values_are() -> None:
    def what(obj: Obj) -> str:
        found = yielding(obj, agree(obj, DECLARED, YIELD, ()), ())
        assert found is not None
        return found.what

    assert what(SCALED) == what(live(entry("hpa", REPLICAS), replicas=9)) == '.spec.replicas to manager "hpa"'
    assert what(SCALED) != what(live(entry("vpa", REPLICAS)))
    assert yielding(live(), agree(live(), DECLARED, YIELD, ()), ()) is None


def test_what_an_apply_yields_joins_what_was_yielded_before() -> None:
    a, b = ForeignField(".a", "m", "1", "2"), ForeignField(".b", "m", "1", "2")
    assert Yielding("u", (b,)).beside(Yielding("u", (a, b))).fields == (a, b)
    assert Yielding("u", (b,)).beside(Yielding("gone", (a,))).fields == (b,)
    assert Yielding("u", (b,)).beside(None).fields == (b,)


# Passes


def plan_of(graph: Any, policies: Policies | None = None) -> Plan:
    return Plan.of(graph, Options(policies=policies or Policies()))


def test_a_definition_without_these_fields_reads_what_it_read(graph_of: Callable[..., Any], config: Any) -> None:
    graph = graph_of(config("a", {"x": "1"}), config("b", {"y": "${a.data.x}"}))
    assert {node.id: node.reads for node in plan_of(graph).nodes} == dict(graph.reads)


@pytest.mark.parametrize(
    ("fields", "defaults"),
    [
        ({"policy": {"conflicts": "Yield"}}, None),
        ({"policy": {"conflicts": "Fail"}}, None),
        ({"policy": {"conflicts": "${schema.metadata.name}"}}, None),
        ({"externalFields": ["data.x"]}, None),
        ({}, YIELD),
    ],
)
def test_the_fields_that_decide_are_kept(
    graph_of: Callable[..., Any], config: Any, fields: Obj, defaults: Policies | None
) -> None:
    [node] = plan_of(graph_of(config("a", {"x": "${schema.metadata.name}"}, **fields)), defaults).nodes
    assert {("data", "x"), ("metadata", "managedFields", "*", "fieldsV1")} <= node.reads


def test_of_external_objects_nothing_more_is_read(graph_of: Callable[..., Any]) -> None:
    ref = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a", "namespace": "b"}}
    [node] = plan_of(graph_of({"id": "a", "externalRef": ref}), YIELD).nodes
    assert node.reads == frozenset()


def test_lists_are_read_by_any_index_and_texts_of_secrets_as_data(graph_of: Callable[..., Any]) -> None:
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}, "spec": {"containers": [{"name": "c"}]}}
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"}, "stringData": {"a": "1"}}
    resources = [
        {"id": id_, "template": obj, "policy": {"conflicts": "Yield"}} for id_, obj in (("p", pod), ("s", secret))
    ]
    found = {node.id: node.reads for node in plan_of(graph_of(*resources)).nodes}
    assert ("spec", "containers", "*", "name") in found["p"]
    assert ("data", "a") in found["s"]


@pytest.fixture
def scaled(graph_of: Any, cluster_of: Any, instance_of: Any, walked: Any, config: Any, key_of: Any) -> Any:
    """The second pass after somebody took `data.x` of a ConfigMap; returns it with the cluster."""

    def run(policy: str, value: str = "live", **more: Any) -> Any:
        graph = graph_of(config("a", {"x": "declared", "y": "1"}, policy={"conflicts": policy}, **more))
        cluster = cluster_of(instance_of())
        first = walked(graph, cluster)
        assert [action.force for action in first.actions if isinstance(action, Apply)] == [False]
        key = key_of("ConfigMap", "shop-a")
        obj = cluster.world.get(key)
        taken = [entry("other", {"f:data": {"f:x": {}}})]
        cluster.world.put(
            key, {**obj, "data": {"x": value, "y": "1"}, "metadata": {**obj["metadata"], "managedFields": taken}}
        )
        return walked(graph, cluster), cluster, key, graph

    return run


@pytest.mark.parametrize("value", ["live", "declared"])
def test_a_field_of_somebody_else_costs_no_call(scaled: Any, value: str) -> None:
    passed, _, key, _ = scaled("Yield", value)
    assert passed.actions == []
    assert passed.state("a") == "SYNCED"
    assert passed.outcome.yielded[key].fields == (ForeignField(".data.x", "other", '"declared"', f'"{value}"'),)


def test_a_field_that_is_free_again_is_declared_again(scaled: Any, walked: Any) -> None:
    _, cluster, key, graph = scaled("Yield")
    obj = cluster.world.get(key)
    cluster.world.put(key, {**obj, "metadata": {**obj["metadata"], "managedFields": []}})
    passed = walked(graph, cluster)
    assert passed.desired("a")["data"] == {"x": "declared", "y": "1"}
    assert passed.outcome.yielded == {}


def test_the_rest_of_the_object_is_applied_without_the_field(
    scaled: Any, walked: Any, graph_of: Any, config: Any
) -> None:
    _, cluster, _, _ = scaled("Yield")
    changed = graph_of(config("a", {"x": "declared", "y": "2"}, policy={"conflicts": "Yield"}))
    assert walked(changed, cluster).desired("a")["data"] == {"y": "2"}


def test_under_fail_nothing_is_sent_and_the_condition_says_who_has_what(scaled: Any) -> None:
    passed, _, key, _ = scaled("Fail")
    assert passed.actions == []
    [failure] = passed.outcome.failures
    assert (failure.refusal, failure.retryable) == (Refusal.CONTESTED, False)
    assert failure.message == (
        f'node "a": apply {key}: fields belong to other managers, and policy.conflicts is Fail: '
        '.data.x is "live" by manager "other", declared is "declared"'
    )
    assert passed.state("a") == "ERROR"


def test_an_external_field_is_left_out_under_force(scaled: Any) -> None:
    passed, _, _, _ = scaled("Force", externalFields=["data.x"])
    assert passed.actions == []
    passed, _, _, _ = scaled("Force")
    assert passed.desired("a")["data"] == {"x": "declared", "y": "1"}


def test_what_the_performer_left_to_others_is_part_of_the_outcome(
    graph_of: Any, cluster_of: Any, instance_of: Any, walked: Any, config: Any, key_of: Any
) -> None:
    cluster = cluster_of(instance_of())
    left = Yielding("u", (ForeignField(".data.x", "other", "1", "2"),))
    perform = cluster.perform

    def answer(action: Any) -> Any:
        result = perform(action)
        return Done(action=action, obj=result.obj, yielded=left) if isinstance(action, Apply) else result

    cluster.perform = answer
    passed = walked(graph_of(config("a", {"x": "1"}, policy={"conflicts": "Yield"})), cluster)
    assert passed.outcome.yielded == {key_of("ConfigMap", "shop-a"): left}
