"""forEach: order, sizes, identities, labels."""

import pytest

from kroasync.engine.plan import Options


def items(graph_of, config, **rest):
    entry = config("parts", rest.pop("data", {}), name=rest.pop("name", "${schema.metadata.name}-${n}"))
    return graph_of({**entry, "forEach": rest.pop("forEach", [{"n": "${schema.spec.names}"}])}, **rest)


def names_of(passed):
    return [action.key.name for action in passed.actions if hasattr(action, "need")]


def test_one_object_per_element_in_one_batch(graph_of, instance_of, cluster_of, walked, config):
    graph = items(graph_of, config, data={"v": "${n}"}, spec={"names": "[]string"})
    passed = walked(graph, cluster_of(instance_of({"names": ["x", "y"]})))
    assert passed.applied == [["parts", "parts"]]
    assert names_of(passed) == ["shop-x", "shop-y"]
    second = passed.desired("parts", 1)
    assert second["data"] == {"v": "y"}
    assert second["metadata"]["labels"]["kro.run/collection-index"] == "1"
    assert second["metadata"]["labels"]["kro.run/collection-size"] == "2"
    assert passed.state("parts") == "SYNCED"


def test_the_last_dimension_varies_fastest(graph_of, instance_of, cluster_of, walked, config):
    graph = items(
        graph_of,
        config,
        name="${a}-${b}",
        forEach=[{"a": "${schema.spec.a}"}, {"b": "${schema.spec.b}"}],
        spec={"a": "[]string", "b": "[]string"},
    )
    passed = walked(graph, cluster_of(instance_of({"a": ["p", "q"], "b": ["x", "y"]})))
    assert names_of(passed) == ["p-x", "p-y", "q-x", "q-y"]


def test_an_empty_dimension_is_an_empty_collection_and_dependents_go_on(
    graph_of, instance_of, cluster_of, walked, config
):
    entry = {**config("parts", {}, name="x-${n}"), "forEach": [{"n": "${schema.spec.names}"}]}
    graph = graph_of(entry, config("after", {"n": "${string(size(parts))}"}), spec={"names": "[]string"})
    passed = walked(graph, cluster_of(instance_of({"names": []})))
    assert passed.state("parts") == "SYNCED"
    assert passed.desired("after")["data"] == {"n": "0"}
    assert passed.outcome.settled


@pytest.mark.parametrize(("count", "ok"), [(3, True), (4, False)])
def test_the_size_is_limited(graph_of, instance_of, cluster_of, walked, config, count, ok):
    graph = items(graph_of, config, spec={"names": "[]string"})
    instance = instance_of({"names": [f"n{i}" for i in range(count)]})
    passed = walked(graph, cluster_of(instance), Options(max_collection_size=3))
    assert passed.state("parts") == ("SYNCED" if ok else "ERROR")
    if not ok:
        assert "collection size of 4 is over the maximum collection size of 3" in passed.message("parts")
        assert passed.outcome.failures[0].retryable is False


def test_the_product_is_refused_before_it_is_built(graph_of, instance_of, cluster_of, walked, config):
    graph = items(
        graph_of,
        config,
        name="${a}-${b}",
        forEach=[{"a": "${schema.spec.a}"}, {"b": "${schema.spec.a}"}],
        spec={"a": "[]string"},
    )
    passed = walked(graph, cluster_of(instance_of({"a": [str(i) for i in range(100_000)]})))
    assert "collection size of 100000 is over the maximum collection size of 1000" in passed.message("parts")


def test_repeated_identities_are_refused(graph_of, instance_of, cluster_of, walked, config):
    graph = items(graph_of, config, spec={"names": "[]string"})
    passed = walked(graph, cluster_of(instance_of({"names": ["x", "x"]})))
    assert passed.message("parts") == ('node "parts" identity collision: duplicate identity: /v1/ConfigMap/team/shop-x')
    assert passed.applied == []


def test_null_is_no_list(graph_of, instance_of, cluster_of, walked, config):
    graph = items(graph_of, config, spec={"names": "[]string"})
    passed = walked(graph, cluster_of(instance_of({"names": None})))
    assert passed.state("parts") in ("ERROR", "IN_PROGRESS")
    assert passed.applied == []


def test_collections_chain(graph_of, instance_of, cluster_of, walked, config):
    first = {**config("first", {"v": "${n}"}, name="f-${n}"), "forEach": [{"n": "${schema.spec.names}"}]}
    second = {
        **config("second", {"from": "${f.metadata.name}"}, name="s-${f.metadata.name}"),
        "forEach": [{"f": "${first}"}],
    }
    passed = walked(graph_of(first, second, spec={"names": "[]string"}), cluster_of(instance_of({"names": ["x", "y"]})))
    assert passed.applied == [["first", "first"], ["second", "second"]]
    assert passed.desired("second", 1)["data"] == {"from": "f-y"}


def test_an_item_that_is_refused_fails_the_node_and_names_its_place(graph_of, instance_of, cluster_of, walked, config):
    from kroasync.engine.actions import Refusal

    graph = items(graph_of, config, spec={"names": "[]string"})
    cluster = cluster_of(instance_of({"names": ["x", "y", "z"]}), refusals={"shop-y": (Refusal.INVALID, "bad data")})
    passed = walked(graph, cluster)
    assert passed.state("parts") == "ERROR"
    assert "item team/shop-y: bad data" in passed.message("parts")
    assert set(names_of(passed)) == {"shop-x", "shop-y", "shop-z"}


def test_removed_items_are_pruned_and_the_rest_relabelled(graph_of, instance_of, cluster_of, walked, config):
    graph = items(graph_of, config, spec={"names": "[]string"})
    cluster = cluster_of(instance_of({"names": ["x", "y", "z"]}))
    walked(graph, cluster)
    cluster.world.instance = {**cluster.world.instance, "spec": {"names": ["z", "y"]}}
    passed = walked(graph, cluster)
    assert passed.deleted == [["shop-x"]]
    assert names_of(passed) == ["shop-z", "shop-y"]
    assert {a.need.value for a in passed.actions if hasattr(a, "need")} == {"update"}
