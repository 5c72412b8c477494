"""Which policies hold for the objects of a node in a pass, and what a node says whose expression yields none."""

import pytest

from kroasync.engine.actions import Apply
from kroasync.engine.plan import Options, Plan
from kroasync.model.policies import SAFEST, Adoption, Conflicts, Deletion, Policies, Update

SPEC = {"word": "string", "any": "object", "keep": "boolean"}


def applied(passed, node="a"):
    return next(action for action in passed.actions if isinstance(action, Apply) and action.node == node)


def test_an_expression_decides_for_each_instance(graph_of, instance_of, cluster_of, walked, config):
    policy = {"deletion": '${schema.spec.keep ? "Orphan" : "Delete"}', "update": "Once"}
    graph = graph_of(config("a", policy=policy), spec=SPEC, definition_fields={"policy": {"conflicts": "Fail"}})
    for keep, deletion in ((True, Deletion.ORPHAN), (False, Deletion.DELETE)):
        found = applied(walked(graph, cluster_of(instance_of({"keep": keep}))))
        assert found.policies == Policies(deletion=deletion, update=Update.ONCE, conflicts=Conflicts.FAIL)


@pytest.mark.parametrize(
    ("expression", "spec", "text"),
    [
        ("schema.spec.word", {"word": "Orphaned"}, 'expected Delete or Orphan, got "Orphaned"; Orphan holds until'),
        ("schema.spec.word", {"word": "orphan"}, 'got "orphan"'),
        ("schema.spec.any.word", {"any": {"word": 5}}, "expected Delete or Orphan, got int"),
        ("schema.spec.any.word", {"any": {"word": ["Orphan"]}}, "got list"),
        ("schema.spec.any.word", {"any": {"word": None}}, "got NoneType"),
        ("schema.spec.any.word", {"any": {}}, "no such key"),
        ("schema.spec.word", {}, "no such key"),
    ],
)
def test_without_a_known_value_the_safest_policy_holds_and_the_node_says_so(
    graph_of, instance_of, cluster_of, walked, config, expression, spec, text
):
    policy = {"deletion": f"${{{expression}}}", "adoption": "Always"}
    graph = graph_of(config("a", policy=policy), config("b"), spec=SPEC)
    passed = walked(graph, cluster_of(instance_of(spec)))
    assert applied(passed).policies == Policies(adoption=Adoption.ALWAYS, deletion=Deletion.ORPHAN)
    assert applied(passed, "b").policies == Policies()
    assert passed.state("a") == "ERROR"
    assert "policy.deletion: " in passed.message("a")
    assert text in passed.message("a")
    assert passed.state("b") == "SYNCED"


def test_all_policies_may_be_unknown_at_once(graph_of, instance_of, cluster_of, walked, config):
    policy = dict.fromkeys(("adoption", "deletion", "update", "conflicts"), "${schema.spec.word}")
    passed = walked(graph_of(config("a", policy=policy), spec=SPEC), cluster_of(instance_of({"word": "x"})))
    assert applied(passed).policies == SAFEST
    for word in ("Never", "Orphan", "Once", "Fail"):
        assert f"{word} holds until it is known" in passed.message("a")


def test_defaults_of_the_process_hold_where_no_author_says_anything(graph_of, config):
    claim = {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "data"}}
    graph = graph_of(config("a", policy={"conflicts": "Force"}), {"id": "claim", "template": claim})
    defaults = Policies(adoption=Adoption.NEVER, update=Update.RECREATE, conflicts=Conflicts.YIELD)
    found = {node.id: node.policies for node in Plan.of(graph, Options(policies=defaults)).nodes}
    assert found["a"] == Policies(adoption=Adoption.NEVER, update=Update.RECREATE)
    # What holds data is never recreated by a default.
    assert found["claim"] == Policies(adoption=Adoption.NEVER, update=Update.APPLY, conflicts=Conflicts.YIELD)
