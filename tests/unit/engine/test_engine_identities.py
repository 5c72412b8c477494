"""Two nodes that declare the same object: found before anything is written, and said with both ids."""

import pytest

from kroasync.engine.actions import Apply
from kroasync.engine.instance_status import compose
from kroasync.engine.outcome import Retry
from kroasync.engine.teardown import plan_teardown

NOW = "2026-01-02T03:04:05Z"
TEXT = 'duplicate resource in graph: node "b" conflicts with node "a" for v1/ConfigMap/team/same'


def resources_ready(passed):
    status = compose(passed.plan, passed.outcome, now=NOW)
    [found] = [c for c in status["conditions"] if c["type"] == "ResourcesReady"]
    return status, (found["status"], found["reason"], found["message"])


def test_nothing_is_applied_and_the_status_names_both_nodes(graph_of, cluster_of, instance_of, walked, config):
    graph = graph_of(
        config("first", {"v": "1"}),
        config("a", name="same"),
        config("b", name="${schema.spec.name}"),
        spec={"name": "string"},
        status={"v": "${first.data.v}"},
    )
    cluster = cluster_of(instance_of({"name": "same"}))
    passed = walked(graph, cluster)
    status, condition = resources_ready(passed)
    assert passed.applied == []
    assert condition == ("False", "NotReady", TEXT)
    assert status["state"] == "ERROR"
    assert "v" not in status
    assert passed.outcome.retry is Retry.EVENT
    assert plan_teardown(cluster.world.instance, cluster.world.members()).finalizer_removal


def test_the_duplicate_goes_when_the_name_is_another_one(graph_of, cluster_of, instance_of, walked, config):
    graph = graph_of(config("a", name="same"), config("b", name="${schema.spec.name}"), spec={"name": "string"})
    cluster = cluster_of(instance_of({"name": "same"}))
    walked(graph, cluster)
    cluster.world.instance = {**cluster.world.instance, "spec": {"name": "other"}}
    passed = walked(graph, cluster)
    assert sorted(passed.applied[0]) == ["a", "b"]
    assert passed.outcome.settled


def test_author_fields_that_were_there_stay(graph_of, cluster_of, instance_of, walked, config):
    graph = graph_of(
        config("a", {"v": "1"}, name="same"),
        config("b", name="${schema.spec.name}"),
        spec={"name": "string"},
        status={"v": "${a.data.v}"},
    )
    cluster = cluster_of(instance_of({"name": "other"}))
    before = compose((passed := walked(graph, cluster)).plan, passed.outcome, now=NOW)
    cluster.world.instance = {**cluster.world.instance, "spec": {"name": "same"}, "status": before}
    status, _ = resources_ready(walked(graph, cluster))
    assert (status["state"], status["v"]) == ("ERROR", "1")


@pytest.mark.parametrize(
    "second",
    [
        pytest.param({"data": {"x": "${a.metadata.name}"}}, id="of a node that waits for the first"),
        pytest.param({"data": {"x": "${slow.data.v}"}}, id="of a node that waits for another one"),
        pytest.param({"forEach": [{"n": "${['same', 'more']}"}], "name": "${n}"}, id="of a collection"),
        pytest.param({"includeWhen": ["${schema.spec.on}"]}, id="of a node that is included"),
        pytest.param({"metadata": {"namespace": "${schema.metadata.namespace}"}}, id="with the namespace spelt out"),
        pytest.param({"name": "${a.metadata.name}"}, id="called after the first"),
        pytest.param({"name": "${later.metadata.name.replace('2', '')}"}, id="called after one that waits"),
    ],
)
def test_nodes_whose_turn_has_not_come_are_compared(graph_of, cluster_of, instance_of, walked, config, second):
    graph = graph_of(
        config("slow", {"v": "1"}, readyWhen=["${slow.data.v == '2'}"]),
        config("a", name="same"),
        config("later", {"x": "${slow.data.v}"}, name="same2"),
        config("b", **{"name": "same", **second}),
        spec={"on": "boolean"},
    )
    passed = walked(graph, cluster_of(instance_of({"on": True})))
    assert passed.applied == []
    assert passed.outcome.duplicates == (TEXT.removeprefix("duplicate resource in graph: "),)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        pytest.param({"includeWhen": ["${schema.spec.on}"]}, {"includeWhen": ["${!schema.spec.on}"]}, id="either or"),
        pytest.param({}, {"data": {"x": "${off.metadata.name}"}}, id="of a node that depends on an excluded one"),
        pytest.param({}, {"includeWhen": ["${slow.data.v == '2'}"]}, id="of a node that may be excluded"),
        pytest.param({}, {"metadata": {"namespace": "elsewhere"}}, id="in another namespace"),
        pytest.param({}, {"kind": "Secret"}, id="of another kind"),
    ],
)
def test_what_may_never_be_declared_together_is_no_duplicate(
    graph_of, cluster_of, instance_of, walked, config, first, second
):
    kind = second.pop("kind", "ConfigMap")
    other = config("b", **{"name": "same", **second})
    other["template"]["kind"] = kind
    graph = graph_of(
        config("slow", {"v": "1"}, readyWhen=["${slow.data.v == '2'}"]),
        config("off", includeWhen=["${false}"]),
        config("a", name="same", **first),
        other,
        spec={"on": "boolean"},
    )
    passed = walked(graph, cluster_of(instance_of({"on": True})))
    assert passed.outcome.duplicates == ()
    assert "a" in {action.node for action in passed.actions if isinstance(action, Apply)}


def test_an_identity_known_later_is_compared_then_and_nothing_more_is_written(
    graph_of, cluster_of, instance_of, walked, config
):
    graph = graph_of(
        config("source", {"name": "same"}),
        config("a", name="same"),
        config("b", name="${source.data.name}"),
        config("c", {"x": "${b.metadata.name}"}),
        config("d", {"x": "${source.data.name}"}),
    )
    passed = walked(graph, cluster_of(instance_of()))
    _, condition = resources_ready(passed)
    assert condition == ("False", "NotReady", TEXT)
    assert sorted(passed.applied[0]) == ["a", "source"]
    assert len(passed.applied) == 1


def test_names_made_of_missing_optionals_are_placeholders_and_no_duplicates(
    graph_of, cluster_of, instance_of, walked, config, key_of
):
    def named(id_, default="pending"):
        return config(id_, name=f"x-${{source.?data[?'{id_}'].orValue('{default}')}}")

    graph = graph_of(config("source", {"other": "1"}), named("a"), named("b"))
    cluster = cluster_of(instance_of())
    passed = walked(graph, cluster)
    assert passed.outcome.duplicates == ()
    status, condition = resources_ready(passed)
    assert status["state"] == "IN_PROGRESS"
    assert 'is that of node "a", too, while optional data' in condition[2]
    source = key_of("ConfigMap", "shop-source")
    cluster.world.put(source, {**cluster.world.get(source), "data": {"other": "1", "a": "1", "b": "2"}})
    passed = walked(graph, cluster)
    assert sorted(o.name for r in passed.outcome.nodes.values() for o in r.objects) == ["shop-source", "x-1", "x-2"]
    assert passed.deleted == [["x-pending"]]
    assert walked(graph, cluster).outcome.settled


def test_names_made_of_optionals_that_are_there_are_duplicates(graph_of, cluster_of, instance_of, walked, config):
    name = "x-${source.?data[?'n'].orValue('pending')}"
    graph = graph_of(config("source", {"n": "1"}), config("a", name=name), config("b", name=name))
    assert walked(graph, cluster_of(instance_of())).outcome.duplicates
