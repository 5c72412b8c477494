"""`policy.maxPrune`: what a pass holds, how it says so, and how the prune goes on."""

import pytest

from kroasync.engine.actions import Delete, Observed, PatchParent, Refusal, Release
from kroasync.engine.instance_status import compose
from kroasync.engine.labels import label_value
from kroasync.engine.outcome import Retry
from kroasync.engine.prune_guard import LimitedCollection, held_prunes
from kroasync.engine.views import nodes_of
from kroasync.model import names
from kroasync.model.objects import Key
from kroasync.model.policies import MaxPrune
from tests.samples import CONFIG_MAPS

NOW = "2026-01-02T03:04:05Z"
ALLOW = names.ANNOTATION_ALLOW_PRUNE


def limit_of(written):
    limit = MaxPrune.of(written)
    assert limit is not None
    return limit


def removal_of(name, node="many", action=Delete, size=0):
    key = Key(CONFIG_MAPS, "team", name)
    member = Observed(key=key, uid="u", obj={}, node=node, part_of="set", collection_size=size)
    if action is None:
        return member, None
    rest = {"part_of": "set"} if action is Release else {}
    return member, action(node=node, key=key, uid="u", **rest)


@pytest.mark.parametrize(
    ("limit", "declared", "deleted", "is_held"),
    [
        ("20%", 8, 2, False),
        ("20%", 7, 3, True),
        ("100%", 0, 10, False),
        ("99%", 0, 1, True),
        ("0%", 9, 1, True),
        ("33%", 2, 1, True),  # a third is more than 33 %
        ("34%", 2, 1, False),
        (0, 9, 1, True),
        (2, 0, 2, False),
        (2, 97, 3, True),
        (0, 0, 0, False),
        ("0%", 0, 0, False),
    ],
)
def test_the_limit_counts_against_all_objects_of_the_collection(limit, declared, deleted, is_held):
    many = LimitedCollection(node="many", limit=limit_of(limit), declared=declared)
    removals = [removal_of(f"x{i}") for i in range(deleted)]
    held = held_prunes([many], removals)
    assert bool(held) is is_held
    if held:
        assert (held[0].existing, len(held[0].objects)) == (declared + deleted, deleted)


def test_what_stays_or_goes_already_does_not_count_nor_does_what_belongs_elsewhere():
    many = LimitedCollection(node="many", limit=MaxPrune(0), declared=0)
    spared = [removal_of("a", action=Release), removal_of("b", action=None), removal_of("c", node="dropped")]
    assert held_prunes([many], spared) == ()


def test_an_object_counts_to_its_collection_by_each_name_of_that():
    many = LimitedCollection(node="m" * 64, limit=MaxPrune(1), declared=0)
    removals = [removal_of("a", node="m" * 64), removal_of("b", node=label_value("m" * 64))]
    (held,) = held_prunes([many], removals)
    assert [key.name for key in held.objects] == ["a", "b"]


@pytest.mark.parametrize(
    ("sizes", "declared", "existing"),
    [
        ([10] * 10, 10, 10),  # all are replaced
        ([10] * 2, 8, 10),
        ([10] * 10, 90, 10),  # replaced by more
        ([10, 7], 8, 10),  # one was applied when there were fewer
        ([999999] * 2, 8, 10),  # somebody edited the label
        ([1] * 4, 6, 4),  # the same: never fewer than are deleted
        ([0] * 4, 6, 10),  # no label
    ],
)
def test_new_objects_do_not_make_the_collection_bigger(sizes, declared, existing):
    many = LimitedCollection(node="many", limit=MaxPrune(0), declared=declared)
    (held,) = held_prunes([many], [removal_of(f"x{i}", size=size) for i, size in enumerate(sizes)])
    assert held.existing == existing


# Whole passes


@pytest.fixture
def shrinking(graph_of, cluster_of, instance_of, walked, config):
    """A collection over a list of the instance, 20 % of which may go; `set_up` gives the graph and the cluster."""

    def set_up(limit="20%", items=10, *others, **entry):
        entry = {"policy": {"maxPrune": limit}, "forEach": [{"n": "${schema.spec.items}"}], **entry}
        graph = graph_of(
            config("many", name="${schema.metadata.name}-${n}", **entry),
            *others,
            spec={"items": "[]string", "on": "boolean | default=true"},
        )
        cluster = cluster_of(instance_of({"items": [f"i{n}" for n in range(items)], "on": True}, generation=3))
        assert walked(graph, cluster).outcome.settled
        return graph, cluster

    return set_up


def edit(cluster, annotations=None, **spec):
    instance = cluster.world.instance
    meta = instance["metadata"]
    meta = {**meta, "annotations": {**meta["annotations"], **(annotations or {})}}
    cluster.world.instance = {**instance, "metadata": meta, "spec": {**instance["spec"], **spec}}


def status_of(passed):
    status = compose(passed.plan, passed.outcome, now=NOW)
    ready = next(c for c in status["conditions"] if c["type"] == "ResourcesReady")
    return status["state"], ready["status"], ready["reason"], ready["message"]


def items(count):
    return [f"i{n}" for n in range(count)]


def test_a_pass_within_the_limit_deletes(shrinking, walked):
    graph, cluster = shrinking()
    edit(cluster, items=items(8))
    assert walked(graph, cluster).deleted == [["shop-i8", "shop-i9"]]


@pytest.mark.parametrize("api_kind", ["ResourceGraphDefinition", "ResourceGroup"])
def test_a_pass_beyond_the_limit_deletes_nothing_says_so_and_goes_on_by_itself(
    graph_of, cluster_of, instance_of, walked, config, api_kind
):
    each = {"policy": {"maxPrune": "20%"}, "forEach": [{"n": "${schema.spec.items}"}]}
    many = config("many", name="${schema.metadata.name}-${n}", **each)
    graph = graph_of(many, spec={"items": "[]string"}, api_kind=api_kind)
    cluster = cluster_of(instance_of({"items": items(10)}, generation=3))
    walked(graph, cluster)
    before = cluster.world.instance["metadata"]["annotations"]
    edit(cluster, items=[])
    passed = walked(graph, cluster)
    assert passed.actions == []
    state, ready, reason, message = status_of(passed)
    assert (state, ready, reason) == ("ERROR", "False", "PruneHeld")
    assert 'node "many" no longer declares 10 of its 10 objects, and policy.maxPrune is 20%' in message
    assert "ConfigMap team/shop-i0, " in message
    assert "and 5 more" in message
    assert 'set the annotation kroasync.io/allow-prune: "3" on the instance' in message
    assert passed.outcome.retry is Retry.EVENT
    assert not passed.outcome.settled
    # The inventory still finds them.
    assert cluster.world.instance["metadata"]["annotations"] == before
    edit(cluster, items=items(10))
    passed = walked(graph, cluster)
    assert (passed.deleted, passed.outcome.held, status_of(passed)[0]) == ([], (), "ACTIVE")


def test_a_collection_that_gets_other_names_is_held_in_each_pass(graph_of, cluster_of, instance_of, walked, config):
    def graph_with(prefix):
        each = {"policy": {"maxPrune": "50%"}, "forEach": [{"n": "${['x', 'y', 'z']}"}]}
        return graph_of(config("many", name=f"{prefix}-${{n}}", **each))

    cluster = cluster_of(instance_of())
    walked(graph_with("old"), cluster)
    for _ in range(2):
        passed = walked(graph_with("new"), cluster)
        assert passed.deleted == []
        assert [(len(held.objects), held.existing) for held in passed.outcome.held] == [(3, 3)]
    assert len(cluster.world.objects) == 6


def test_the_annotation_releases_once_and_is_gone_before_anything_is_deleted(shrinking, walked):
    graph, cluster = shrinking()
    edit(cluster, {ALLOW: "3"}, items=[])
    passed = walked(graph, cluster)
    assert isinstance(passed.actions[0], PatchParent)
    assert passed.actions[0].annotations == {ALLOW: None}
    assert len(passed.deleted[0]) == 10
    assert passed.outcome.held == ()
    assert ALLOW not in cluster.world.instance["metadata"]["annotations"]
    # The next time it must be allowed anew.
    edit(cluster, items=items(10))
    walked(graph, cluster)
    edit(cluster, items=[])
    assert walked(graph, cluster).deleted == []


def test_the_annotation_is_not_used_up_while_nothing_is_held(shrinking, walked):
    graph, cluster = shrinking()
    edit(cluster, {ALLOW: "3"}, items=items(9))
    assert walked(graph, cluster).deleted == [["shop-i9"]]
    assert cluster.world.instance["metadata"]["annotations"][ALLOW] == "3"


@pytest.mark.parametrize("given", ["2", "true", "", "3 ", "x" * 500])
def test_another_generation_releases_nothing_and_the_message_names_it(shrinking, walked, given):
    graph, cluster = shrinking()
    edit(cluster, {ALLOW: given}, items=[])
    passed = walked(graph, cluster)
    assert passed.actions == []
    message = status_of(passed)[3]
    assert ("which is not the generation of the instance" in message) is bool(given)
    assert "x" * 21 not in message


def test_a_release_that_cannot_be_used_up_releases_nothing(shrinking, walked):
    graph, cluster = shrinking()
    edit(cluster, {ALLOW: "3"}, items=[])
    cluster.refusals["PatchParent"] = (Refusal.UNAVAILABLE, "timeout")
    passed = walked(graph, cluster)
    assert passed.deleted == []
    state, _, reason, message = status_of(passed)
    assert (state, reason, passed.outcome.retry) == ("ERROR", "PruneHeld", Retry.BACKOFF)
    assert "timeout" in message
    del cluster.refusals["PatchParent"]
    assert len(walked(graph, cluster).deleted[0]) == 10


@pytest.mark.parametrize("way", ["excluded", "excluded with its dependency"])
def test_a_collection_that_is_left_out_is_guarded(graph_of, cluster_of, instance_of, walked, config, way):
    when = {"includeWhen": ["${schema.spec.on}"]}
    each = {"policy": {"maxPrune": 1}, "forEach": [{"n": "${['x', 'y']}"}]}
    first = config("first", **(when if way != "excluded" else {}))
    many = config("many", {"v": "${first.metadata.name}"}, "shop-${n}", **each, **(when if way == "excluded" else {}))
    graph = graph_of(first, many, spec={"on": "boolean"})
    cluster = cluster_of(instance_of({"on": True}))
    walked(graph, cluster)
    edit(cluster, on=False)
    passed = walked(graph, cluster)
    # What the collection reads goes after it, and so it waits.
    assert passed.deleted == []
    assert [held.node for held in passed.outcome.held] == ["many"]


def test_an_external_collection_that_turns_empty_is_held(graph_of, cluster_of, instance_of, walked, config):
    teams = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"selector": {"matchLabels": {"team": "yes"}}}}
    each = {"policy": {"maxPrune": "50%"}, "forEach": [{"t": "${teams}"}]}
    graph = graph_of(
        {"id": "teams", "externalRef": teams}, config("many", name="for-${t.metadata.name}", **each), config("other")
    )
    meta = {"namespace": "team", "labels": {"team": "yes"}}
    found = [{"apiVersion": "v1", "kind": "ConfigMap", "metadata": {**meta, "name": f"t{i}"}} for i in range(3)]
    cluster = cluster_of(instance_of(), found)
    walked(graph, cluster)
    held = {key: value for key, value in cluster.world.objects.items() if key[3].startswith("t")}
    for key in held:
        del cluster.world.objects[key]
    passed = walked(graph, cluster)
    assert (passed.deleted, status_of(passed)[2]) == ([], "PruneHeld")
    cluster.world.objects.update(held)
    assert status_of(walked(graph, cluster))[0] == "ACTIVE"


def test_others_of_the_wave_go_and_later_waves_wait(graph_of, cluster_of, instance_of, walked, config):
    on = {"includeWhen": ["${schema.spec.on}"]}
    each = {"policy": {"maxPrune": 0}, "forEach": [{"n": "${['x']}"}]}
    graph = graph_of(
        config("below", **on),
        config("many", {"v": "${below.metadata.name}"}, "shop-${n}", **each),
        config("beside", **on),
        spec={"on": "boolean"},
    )
    cluster = cluster_of(instance_of({"on": True}))
    walked(graph, cluster)
    edit(cluster, on=False)
    assert walked(graph, cluster).deleted == [["shop-beside"]]
    edit(cluster, {ALLOW: "1"})
    assert walked(graph, cluster).deleted == [["shop-x"], ["shop-below"]]


def relabelled(cluster, key, node):
    """Somebody edits what an object says of its node."""
    live = cluster.world.get(key)
    meta = live["metadata"]
    annotations = {**meta["annotations"], names.ANNOTATION_NODE_PATH: node}
    labels = {**meta["labels"], names.LABEL_NODE_ID: node}
    cluster.world.put(key, {**live, "metadata": {**meta, "annotations": annotations, "labels": labels}})


def test_a_relabelled_object_only_counts_for_itself(shrinking, walked, key_of, config):
    graph, cluster = shrinking("20%", 10, config("side", includeWhen=["${schema.spec.on}"]))
    # Objects that stay do not count by their labels, so nobody makes more of the collection than there is.
    relabelled(cluster, key_of("ConfigMap", "shop-i9"), "unheard-of")
    edit(cluster, items=items(6))
    passed = walked(graph, cluster)
    assert passed.deleted == [["shop-i9"]]
    assert [len(held.objects) for held in passed.outcome.held] == [3]
    edit(cluster, items=items(10))
    walked(graph, cluster)
    relabelled(cluster, key_of("ConfigMap", "shop-side"), "many")
    edit(cluster, items=items(8), on=False)
    passed = walked(graph, cluster)
    assert [(len(held.objects), held.existing) for held in passed.outcome.held] == [(3, 10)]


def test_a_partly_refused_prune_goes_on(shrinking, walked):
    graph, cluster = shrinking("20%")
    edit(cluster, items=items(8))
    cluster.refusals["shop-i9"] = (Refusal.FORBIDDEN, "no")
    walked(graph, cluster)
    cluster.refusals.clear()
    assert walked(graph, cluster).deleted == [["shop-i9"]]


def test_the_other_failures_are_told_with_it(shrinking, walked, config):
    graph, cluster = shrinking("20%", 10, config("side", includeWhen=["${schema.spec.on}"]))
    edit(cluster, items=[], on=False)
    cluster.refusals["shop-side"] = (Refusal.FORBIDDEN, "not for you")
    _, _, reason, message = status_of(walked(graph, cluster))
    assert reason == "PruneHeld"
    assert "prune ConfigMap team/shop-side: not for you" in message


def test_a_suspended_instance_holds_nothing(shrinking, walked):
    graph, cluster = shrinking()
    edit(cluster, {names.ANNOTATION_RECONCILE: "suspended", ALLOW: "3"}, items=[])
    passed = walked(graph, cluster)
    assert (passed.actions, passed.outcome.held, status_of(passed)[2]) == ([], (), "ReconciliationSuspended")


def test_what_is_held_is_shown_with_its_node(shrinking, walked):
    graph, cluster = shrinking("20%", 3)
    edit(cluster, items=items(1))
    passed = walked(graph, cluster)
    (many,) = nodes_of(graph, passed.outcome, cluster.world, cluster.world.instance)
    assert (many.state, [o.name for o in many.objects]) == ("ERROR", ["shop-i0", "shop-i1", "shop-i2"])
    assert "policy.maxPrune is 20%" in many.waits_for


# Orphans


def test_released_objects_do_not_count(shrinking, walked):
    graph, cluster = shrinking("20%", 10, policy={"maxPrune": "20%", "deletion": "Orphan"})
    edit(cluster, items=[])
    passed = walked(graph, cluster)
    assert [type(action) for action in passed.actions] == [Release] * 10
    assert passed.outcome.held == ()
