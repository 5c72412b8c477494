"""A pass: metadata first, then each node as soon as its inputs exist; failures and waits do not affect other nodes."""

from dataclasses import replace

import pytest

from kroasync.engine.actions import Apply, Done, PatchParent, Refusal, WatchExternal
from kroasync.engine.outcome import ChangeKind, Retry
from kroasync.engine.walk import Walk
from kroasync.model import names


def web(config):
    """config <- deployment <- service, the deployment with a readyWhen."""
    deployment = {
        "id": "deployment",
        "readyWhen": [
            "${deployment.status.?availableReplicas.orValue(0) == deployment.spec.replicas}",
        ],
        "template": {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {"name": "${schema.spec.name}"},
            "spec": {
                "replicas": "${schema.spec.replicas}",
                "selector": {"matchLabels": {"app": "web"}},
                "template": {
                    "metadata": {"labels": {"app": "web"}},
                    "spec": {
                        "containers": [
                            {
                                "name": "web",
                                "image": "nginx",
                                "env": [{"name": "CONFIG", "value": "${config.metadata.name}"}],
                            }
                        ]
                    },
                },
            },
        },
    }
    service = {
        "id": "service",
        "template": {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": "${deployment.metadata.name}"},
            "spec": {"ports": [{"port": 80}]},
        },
    }
    return config("config", {"v": "1"}), deployment, service


SPEC = {"name": "string", "replicas": "integer"}


def available(obj):
    return {"availableReplicas": obj["spec"]["replicas"]}


@pytest.fixture
def graph(graph_of, config):
    return graph_of(*web(config), spec=SPEC)


@pytest.fixture
def cluster(cluster_of, instance_of):
    return cluster_of(instance_of({"name": "shop", "replicas": 3}))


def test_metadata_comes_first_in_one_patch(graph, cluster, walked):
    passed = walked(graph, cluster)
    (patch,) = passed.batches[0]
    assert isinstance(patch, PatchParent)
    assert patch.add_finalizer
    assert patch.labels["kro.run/owned"] == "true"
    assert patch.labels["kro.run/resource-graph-definition-id"] == "definition-uid"
    assert patch.labels["kro.run/resource-graph-definition-name"] == "webapps"
    assert patch.labels["applyset.kubernetes.io/id"].startswith("applyset-")
    assert patch.annotations["applyset.kubernetes.io/contains-group-kinds"] == "ConfigMap,Deployment.apps,Service"
    assert patch.annotations["applyset.kubernetes.io/additional-namespaces"] == ""
    assert patch.annotations["applyset.kubernetes.io/tooling"] == "kro/devel"
    assert patch.annotations["internal.kro.run/applyset-inventory-hash"].startswith("sha256:")


def test_dependents_follow_in_the_same_pass_as_soon_as_their_inputs_are_ready(graph, cluster, walked):
    passed = walked(graph, cluster)
    # The deployment waits, so only the service waits too.
    assert passed.applied == [["config"], ["deployment"]]
    cluster.status["Deployment"] = available
    cluster.settle()
    passed = walked(graph, cluster)
    assert passed.applied == [["service"]]
    assert passed.outcome.settled


def test_the_blocking_node_the_expression_and_the_values_are_named(graph, cluster, walked, key_of):
    walked(graph, cluster)
    cluster.set_status(key_of("Deployment", "shop", api_version="apps/v1"), {"availableReplicas": 1})
    passed = walked(graph, cluster)
    expression = "deployment.status.?availableReplicas.orValue(0) == deployment.spec.replicas"
    assert passed.state("deployment") == "WAITING_FOR_READINESS"
    assert passed.message("deployment") == f'node "deployment" not ready: ${{{expression}}}: 1 == 3 is false'
    assert passed.outcome.nodes["deployment"].expression == expression
    service = passed.outcome.nodes["service"]
    assert service.state.value == "IN_PROGRESS"
    assert service.blocked_by == ("deployment",)
    assert service.message == (
        f'node "service": dependent node "deployment" not ready: ${{{expression}}}: 1 == 3 is false (data pending)'
    )
    assert [r.id for r in passed.outcome.causes] == ["deployment"]
    assert passed.outcome.retry is Retry.EVENT
    assert not passed.outcome.settled


def test_a_second_pass_has_nothing_to_do(graph, cluster, walked):
    cluster.status["Deployment"] = available
    walked(graph, cluster)
    cluster.settle()
    walked(graph, cluster)
    passed = walked(graph, cluster)
    assert passed.actions == []
    assert passed.outcome.settled
    assert passed.outcome.synced
    assert passed.outcome.retry is Retry.NONE


def test_changes_are_told_by_kind(graph, cluster, walked, key_of):
    cluster.status["Deployment"] = available
    first = walked(graph, cluster).outcome.changes
    assert {(c.kind, c.node) for c in first} == {
        (ChangeKind.CREATED, "config"),
        (ChangeKind.CREATED, "deployment"),
    }
    cluster.settle()
    walked(graph, cluster)
    key = key_of("ConfigMap", "shop-config")
    cluster.world.put(key, {**cluster.world.get(key), "data": {"v": "hacked"}})
    (change,) = walked(graph, cluster).outcome.changes
    assert (change.kind, change.node, change.key) == (ChangeKind.UPDATED, "config", key)


def test_an_apply_that_changed_nothing_is_no_change(graph, cluster, walked):
    cluster.world.resend = True
    cluster.status["Deployment"] = available
    walked(graph, cluster)
    cluster.settle()
    plain = cluster.perform

    def unchanged(action):
        result = plain(action)
        return Done(action=action, obj=result.obj, changed=False)

    cluster.perform = unchanged
    passed = walked(graph, cluster)
    assert len(passed.actions) == 3
    assert passed.outcome.changes == ()


def test_what_is_unknown_is_applied_without_force_and_what_is_ours_with_it(graph, cluster, walked):
    passed = walked(graph, cluster)
    assert not any(a.force for a in passed.actions if isinstance(a, Apply))
    cluster.world.resend = True
    assert all(a.force for a in walked(graph, cluster).actions if isinstance(a, Apply))


@pytest.mark.parametrize("refusal", list(Refusal))
def test_nothing_is_applied_if_the_metadata_cannot_be_patched(graph, cluster, walked, refusal):
    cluster.refusals["PatchParent"] = (refusal, "no way")
    passed = walked(graph, cluster)
    assert passed.applied == []
    assert passed.outcome.management_error == "no way"
    assert passed.outcome.retry is (Retry.FRESH if refusal is Refusal.CONFLICT else Retry.BACKOFF)
    assert not passed.outcome.synced


def test_a_refused_node_blocks_its_dependents_only(graph_of, cluster_of, instance_of, walked, config):
    graph = graph_of(config("bad"), config("after", {"x": "${bad.metadata.name}"}), config("alone"), config("last"))
    cluster = cluster_of(instance_of(), refusals={"shop-bad": (Refusal.FORBIDDEN, "not for you")})
    passed = walked(graph, cluster)
    assert {n: r.state.value for n, r in passed.outcome.nodes.items()} == {
        "bad": "ERROR",
        "after": "IN_PROGRESS",
        "alone": "SYNCED",
        "last": "SYNCED",
    }
    assert passed.message("bad") == 'node "bad": apply ConfigMap team/shop-bad: not for you'
    assert passed.outcome.nodes["after"].blocked_by == ("bad",)
    assert passed.outcome.failures[0].refusal is Refusal.FORBIDDEN
    assert passed.outcome.retry is Retry.BACKOFF
    assert not passed.outcome.synced


def test_independent_branches_share_batches(graph_of, cluster_of, instance_of, walked, config):
    graph = graph_of(
        config("a"),
        config("b", {"x": "${a.metadata.name}"}),
        config("c"),
        config("d", {"x": "${c.metadata.name}"}),
        config("e", {"x": "${b.metadata.name}", "y": "${d.metadata.name}"}),
    )
    assert walked(graph, cluster_of(instance_of())).applied == [["a", "c"], ["b", "d"], ["e"]]


def test_a_fatal_expression_fails_its_node_for_good(graph_of, cluster_of, instance_of, walked, config):
    graph = graph_of(config("bad", {"x": "${string(1 / schema.spec.zero)}"}), config("good"), spec={"zero": "integer"})
    passed = walked(graph, cluster_of(instance_of({"zero": 0})))
    assert passed.state("bad") == "ERROR"
    assert passed.message("bad").startswith(
        'node "bad": failed to evaluate expression: ${string(1 / schema.spec.zero)}: '
    )
    assert passed.state("good") == "SYNCED"
    assert passed.outcome.failures[0].retryable is False
    assert passed.outcome.retry is Retry.EVENT


def test_missing_data_is_waited_for(graph_of, cluster_of, instance_of, walked, config, key_of):
    graph = graph_of(
        {
            "id": "service",
            "template": {
                "apiVersion": "v1",
                "kind": "Service",
                "metadata": {"name": "web"},
                "spec": {"type": "LoadBalancer", "ports": [{"port": 80}]},
            },
        },
        config("after", {"ip": "${service.status.loadBalancer.ingress[0].ip}"}),
    )
    cluster = cluster_of(instance_of())
    passed = walked(graph, cluster)
    assert passed.state("after") == "IN_PROGRESS"
    assert passed.message("after").startswith(
        'waiting for unresolved resource: gvr "/v1, Resource=configmaps": node "after": '
        "failed to evaluate expression: ${service.status.loadBalancer.ingress[0].ip}: "
    )
    assert passed.message("after").endswith("(data pending)")  # of the Service, which may get it
    assert passed.outcome.nodes["after"].is_root_cause
    assert passed.outcome.failures == ()
    cluster.set_status(key_of("Service", "web"), {"loadBalancer": {"ingress": [{"ip": "10.0.0.1"}]}})
    assert walked(graph, cluster).desired("after")["data"] == {"ip": "10.0.0.1"}


def test_a_child_being_deleted_is_waited_for(graph, cluster, walked, key_of):
    cluster.status["Deployment"] = available
    walked(graph, cluster)
    cluster.settle()
    walked(graph, cluster)
    key = key_of("Deployment", "shop", api_version="apps/v1")
    obj = cluster.world.get(key)
    cluster.world.put(key, {**obj, "metadata": {**obj["metadata"], "deletionTimestamp": "2026-01-01T00:00:00Z"}})
    passed = walked(graph, cluster)
    assert passed.actions == []
    assert passed.state("deployment") == "DELETING"
    assert passed.message("deployment") == (
        'resource "team/shop" for node "deployment" is currently being deleted; waiting for deletion to complete '
        "before continuing reconciliation"
    )
    assert passed.state("service") == "IN_PROGRESS"


def test_objects_of_another_applyset_are_left_alone(graph_of, cluster_of, instance_of, walked, config, key_of):
    theirs = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {
            "name": "shop-a",
            "namespace": "team",
            "uid": "x",
            "labels": {"applyset.kubernetes.io/part-of": "applyset-theirs-v1"},
        },
    }
    cluster = cluster_of(instance_of(), [theirs])
    passed = walked(graph_of(config("a"), config("b")), cluster)
    assert passed.applied == [["b"]]
    assert passed.state("a") == "ERROR"
    assert passed.message("a").startswith(
        'node "a": resource belongs to a different ApplySet: team/shop-a (/v1, Kind=ConfigMap) belongs to ApplySet '
        '"applyset-theirs-v1", cannot reassign to "applyset-'
    )
    assert passed.outcome.failures[0].refusal is Refusal.FOREIGN
    assert cluster.world.get(key_of("ConfigMap", "shop-a")) == theirs


def test_an_unclaimed_object_is_taken_over(graph_of, cluster_of, instance_of, walked, config):
    free = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "shop-a", "namespace": "team", "uid": "x"}}
    passed = walked(graph_of(config("a")), cluster_of(instance_of(), [free]))
    assert passed.state("a") == "SYNCED"
    assert passed.applied == [["a"]]


def test_labels_of_ours_on_an_object_we_never_applied_give_no_right_to_force(
    graph_of, cluster_of, instance_of, walked, config
):
    cluster = cluster_of(instance_of())
    walked(graph_of(config("a", {"v": "1"})), cluster)
    find = cluster.world.find
    cluster.world.find = lambda key: replace(find(key), ours=False)
    (apply,) = walked(graph_of(config("a", {"v": "2"})), cluster).actions
    assert apply.force is False


def test_an_answer_that_is_on_its_way_out_is_waited_for(graph_of, cluster_of, instance_of, walked, config):
    cluster = cluster_of(instance_of())
    perform = cluster.perform

    def dying(action):
        result = perform(action)
        if isinstance(action, Apply):
            meta = {**result.obj["metadata"], "deletionTimestamp": "2026-01-01T00:00:00Z"}
            return Done(action=action, obj={**result.obj, "metadata": meta})
        return result

    cluster.perform = dying
    assert walked(graph_of(config("a")), cluster).state("a") == "DELETING"


# Inclusion


def test_an_excluded_node_takes_its_dependents_along(graph_of, cluster_of, instance_of, walked, config):
    graph = graph_of(
        config("a", includeWhen=["${schema.spec.on}"]),
        config("b", {"x": "${a.metadata.name}"}),
        config("c", {"x": "${b.metadata.name}"}),
        config("d"),
        spec={"on": "boolean"},
    )
    passed = walked(graph, cluster_of(instance_of({"on": False})))
    assert passed.applied == [["d"]]
    assert [passed.state(n) for n in "abcd"] == ["SKIPPED", "SKIPPED", "SKIPPED", "SYNCED"]
    assert passed.message("a") == "excluded by includeWhen"
    assert passed.message("c") == 'depends on excluded node "b"'
    assert passed.outcome.settled


def test_all_of_include_when_must_hold(graph_of, cluster_of, instance_of, walked, config):
    graph = graph_of(
        config("a", includeWhen=["${schema.spec.x}", "${schema.spec.y}"]), spec={"x": "boolean", "y": "boolean"}
    )
    for x, y in [(True, True), (True, False), (False, True)]:
        passed = walked(graph, cluster_of(instance_of({"x": x, "y": y})))
        assert passed.state("a") == ("SYNCED" if x and y else "SKIPPED")


def test_inclusion_may_depend_on_another_node_once_that_is_ready(graph_of, cluster_of, instance_of, walked, config):
    first = config("first", {"on": "${schema.spec.on}"}, readyWhen=["${first.data.?ready.hasValue()}"])
    graph = graph_of(first, config("second", includeWhen=["${first.data.on == 'yes'}"]), spec={"on": "string"})
    cluster = cluster_of(instance_of({"on": "no"}))
    passed = walked(graph, cluster)
    assert passed.state("second") == "IN_PROGRESS"
    assert passed.outcome.nodes["second"].blocked_by == ("first",)
    key, obj = next(iter(cluster.world.objects.values()))
    cluster.world.put(key, {**obj, "data": {**obj["data"], "ready": "1"}})
    assert walked(graph, cluster).state("second") == "SKIPPED"


def test_a_broken_include_when_is_an_error(graph_of, cluster_of, instance_of, walked, config):
    graph = graph_of(config("a", includeWhen=["${1 / schema.spec.zero == 1}"]), spec={"zero": "integer"})
    passed = walked(graph, cluster_of(instance_of({"zero": 0})))
    assert passed.state("a") == "ERROR"
    assert 'includeWhen "1 / schema.spec.zero == 1": ' in passed.message("a")


def test_missing_data_in_include_when_is_fatal_for_the_instance_and_pending_for_nodes(
    graph_of, cluster_of, instance_of, walked, config
):
    graph = graph_of(
        config("a", includeWhen=["${schema.spec.on}"]),
        config("b"),
        config("c", includeWhen=["${b.data['flag'] == 'x'}"]),
        spec={"on": "boolean"},
    )
    passed = walked(graph, cluster_of(instance_of({})))
    assert passed.state("a") == "ERROR"
    assert passed.state("c") == "IN_PROGRESS"


# Readiness


def test_every_item_of_a_collection_must_be_ready(graph_of, cluster_of, instance_of, walked, config):
    entry = {
        **config("parts", {"v": "${n}"}, name="x-${n}"),
        "forEach": [{"n": "${schema.spec.names}"}],
        "readyWhen": ["${each.data.v != 'slow'}"],
    }
    graph = graph_of(entry, config("after", {"n": "${parts[0].metadata.name}"}), spec={"names": "[]string"})
    passed = walked(graph, cluster_of(instance_of({"names": ["a", "slow"]})))
    assert passed.state("parts") == "WAITING_FOR_READINESS"
    assert passed.message("parts") == (
        'node "parts" not ready: item 1: ${each.data.v != \'slow\'}: "slow" != "slow" is false'
    )
    assert passed.state("after") == "IN_PROGRESS"
    assert walked(graph, cluster_of(instance_of({"names": ["a", "b"]}))).state("after") == "SYNCED"


def test_the_first_failing_operand_of_a_conjunction_is_explained(graph_of, cluster_of, instance_of, walked, config):
    graph = graph_of(config("a", {"x": "1", "y": "2"}, readyWhen=["${a.data.x == '1' && a.data.y == '3'}"]))
    assert walked(graph, cluster_of(instance_of())).message("a").endswith(': "2" == "3" is false')


def test_missing_data_in_ready_when_is_waiting_and_other_errors_are_errors(
    graph_of, cluster_of, instance_of, walked, config
):
    graph = graph_of(
        config("a", readyWhen=["${a.data['x'] == 'y'}"]),
        config("b", {"n": "0"}, readyWhen=["${1 / int(b.data.n) == 1}"]),
    )
    passed = walked(graph, cluster_of(instance_of()))
    assert passed.state("a") == "WAITING_FOR_READINESS"
    assert passed.state("b") == "ERROR"
    assert 'node "b": failed to evaluate readyWhen expression: ' in passed.message("b")


def test_values_of_secrets_are_never_shown(graph_of, cluster_of, instance_of, walked, config):
    secret = {
        "id": "secret",
        "readyWhen": ["${secret.stringData.password == 'hunter2-other'}"],
        "template": {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": "s"},
            "stringData": {"password": "hunter2"},
        },
    }
    external = {
        "id": "source",
        "externalRef": {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "source"}},
    }
    reader = config("reader", {"n": "${string(int(string(source.data.pin)))}"})
    live = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "source", "namespace": "team"},
        "data": {"pin": "aHVudGVyMg=="},
    }
    passed = walked(graph_of(secret, external, reader), cluster_of(instance_of(), [live]))
    assert passed.state("secret") == "WAITING_FOR_READINESS"
    assert "<string, 7 characters> ==" in passed.message("secret")
    assert passed.state("reader") == "ERROR"
    said = " ".join(r.message for r in passed.outcome.nodes.values())
    assert 'hunter2"' not in said
    assert "aHVudGVyMg==" not in said
    assert "parsing" not in said


def test_values_that_iterators_carry_out_of_secrets_are_never_shown(graph_of, cluster_of, instance_of, walked, config):
    source = {
        "id": "source",
        "externalRef": {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "source"}},
    }
    entry = {
        **config("copies", {"n": "${string(int(pin))}"}, name="c-${string(size(pin))}"),
        "forEach": [{"pin": "${source.data.map(k, string(source.data[k]))}"}],
    }
    live = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "source", "namespace": "team"},
        "data": {"pin": "aHVudGVyMg=="},
    }
    passed = walked(graph_of(source, entry), cluster_of(instance_of(), [live]))
    assert passed.state("copies") == "ERROR"
    assert "details withheld" in passed.message("copies")
    assert "hunter2" not in passed.message("copies")


def test_values_of_a_collection_of_secrets_are_never_shown(graph_of, cluster_of, instance_of, walked):
    entry = {
        "id": "secrets",
        "forEach": [{"n": "${schema.spec.names}"}],
        "readyWhen": ["${each.stringData.password == 'other'}"],
        "template": {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": "s-${n}"},
            "stringData": {"password": "hunter2"},
        },
    }
    graph = graph_of(entry, spec={"names": "[]string"})
    passed = walked(graph, cluster_of(instance_of({"names": ["a"]})))
    assert passed.message("secrets").endswith('<string, 7 characters> == "other" is false')


# External references

EXTERNAL = {
    "id": "source",
    "externalRef": {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "${schema.spec.source}"}},
}
SOURCE = {
    "apiVersion": "v1",
    "kind": "ConfigMap",
    "metadata": {"name": "src", "namespace": "team", "labels": {"app": "x"}},
    "data": {"v": "7"},
}


def test_an_external_object_is_read_and_never_touched(graph_of, cluster_of, instance_of, walked, config):
    graph = graph_of(EXTERNAL, config("a", {"v": "${source.data.v}"}), spec={"source": "string"})
    cluster = cluster_of(instance_of({"source": "src"}), [SOURCE])
    passed = walked(graph, cluster)
    assert passed.desired("a")["data"] == {"v": "7"}
    assert passed.applied == [["a"]]
    (watch,) = passed.outcome.watches
    assert (watch.node, watch.namespace, watch.name, watch.selector) == ("source", "team", "src", None)
    # The parent's inventory does not contain it.
    assert passed.actions[0].annotations[names.ANNOTATION_APPLYSET_GROUP_KINDS] == "ConfigMap"


def test_a_missing_external_object_is_waited_for(graph_of, cluster_of, instance_of, walked, config):
    graph = graph_of(EXTERNAL, config("a", {"v": "${source.data.v}"}), spec={"source": "string"})
    passed = walked(graph, cluster_of(instance_of({"source": "src"})))
    assert passed.state("source") == "WAITING_FOR_READINESS"
    assert passed.message("source") == 'waiting for external reference "source": not found'
    assert passed.state("a") == "IN_PROGRESS"
    assert passed.outcome.retry is Retry.EVENT


def test_an_unwatched_external_object_is_watched_and_read_in_the_same_pass(graph_of, cluster_of, instance_of, config):
    graph = graph_of(EXTERNAL, config("a", {"v": "${source.data.v}"}), spec={"source": "string"})
    cluster = cluster_of(instance_of({"source": "src"}), [SOURCE])
    seen, reads = [], cluster.world.external

    def external(watch):
        return reads(watch) if seen else None

    cluster.world.external = external
    walk = Walk(graph, cluster.world.instance, cluster.world)
    batches = []
    while actions := walk.next_actions():
        batches.append([type(a).__name__ for a in actions])
        seen += [a for a in actions if isinstance(a, WatchExternal)]
        walk.feed([cluster.perform(a) for a in actions])
    assert batches == [["PatchParent"], ["WatchExternal"], ["Apply"]]


def test_a_refused_watch_is_an_error_of_the_node(graph_of, cluster_of, instance_of, walked, config):
    graph = graph_of(EXTERNAL, config("a", {"v": "${source.data.v}"}), spec={"source": "string"})
    cluster = cluster_of(instance_of({"source": "src"}), refusals={"WatchExternal": (Refusal.FORBIDDEN, "no list")})
    cluster.world.external = lambda watch: None
    passed = walked(graph, cluster)
    assert passed.state("source") == "ERROR"
    assert passed.message("source") == "failed to read external reference source: no list"


def selected(metadata, **rest):
    return {"id": "found", "externalRef": {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata}, **rest}


def test_external_objects_by_selector_come_from_all_namespaces_in_order(
    graph_of, cluster_of, instance_of, walked, config
):
    graph = graph_of(
        selected({"selector": {"matchLabels": {"app": "${schema.spec.app}"}}}),
        config("a", {"names": "${found.map(f, f.metadata.name).join(',')}"}),
        spec={"app": "string"},
    )
    objects = [
        {**SOURCE, "metadata": {"name": n, "namespace": ns, "labels": {"app": app}}}
        for ns, n, app in [("b", "one", "x"), ("a", "two", "x"), ("a", "three", "y")]
    ]
    passed = walked(graph, cluster_of(instance_of({"app": "x"}), objects))
    assert passed.desired("a")["data"] == {"names": "two,one"}
    assert passed.outcome.watches[0].selector == "app=x"
    assert passed.outcome.watches[0].namespace == ""


def test_an_empty_external_collection_is_ready(graph_of, cluster_of, instance_of, walked, config):
    graph = graph_of(selected({"selector": {}}), config("a", {"n": "${string(size(found))}"}))
    passed = walked(graph, cluster_of(instance_of()))
    assert passed.desired("a")["data"] == {"n": "0"}


@pytest.mark.parametrize(("flag", "state"), [("yes", "SYNCED"), ("no", "WAITING_FOR_READINESS")])
def test_external_collections_are_judged_item_by_item(graph_of, cluster_of, instance_of, walked, flag, state):
    graph = graph_of(selected({"selector": {}}, readyWhen=["${each.data.ok == 'yes'}"]))
    live = {**SOURCE, "data": {"ok": flag}}
    assert walked(graph, cluster_of(instance_of(), [live])).state("found") == state


@pytest.mark.parametrize(
    ("value", "selector"),
    [
        ({"matchLabels": {"app": "x"}}, "app=x"),
        ({"matchExpressions": [{"key": "app", "operator": "Exists"}]}, "app"),
        ({}, ""),
    ],
)
def test_one_expression_may_be_the_whole_selector(graph_of, cluster_of, instance_of, walked, value, selector):
    graph = graph_of(selected({"selector": "${schema.spec.selector}"}), spec={"selector": "object"})
    passed = walked(graph, cluster_of(instance_of({"selector": value})))
    assert [watch.selector for watch in passed.outcome.watches] == [selector]


@pytest.mark.parametrize("part", ["matchLabels", "matchExpressions"])
def test_an_expression_may_be_a_part_of_the_selector(graph_of, cluster_of, instance_of, walked, part):
    graph = graph_of(
        selected({"selector": {part: "${schema.spec.selector." + part + "}"}}), spec={"selector": "object"}
    )
    values = {"matchLabels": {"app": "x"}, "matchExpressions": [{"key": "app", "operator": "Exists"}]}
    passed = walked(graph, cluster_of(instance_of({"selector": values})))
    assert [watch.selector for watch in passed.outcome.watches] == [{"matchLabels": "app=x"}.get(part, "app")]


@pytest.mark.parametrize("value", [{"app": "x"}, {"matchLabel": {"app": "x"}}, {"matchLabels": "x"}, None, "app=x", []])
def test_what_is_no_selector_fails_and_selects_nothing(graph_of, cluster_of, instance_of, walked, value):
    graph = graph_of(selected({"selector": "${schema.spec.any.selector}"}), spec={"any": "object"})
    passed = walked(graph, cluster_of(instance_of({"any": {"selector": value}})))
    assert (passed.state("found"), list(passed.outcome.watches)) == ("ERROR", [])
    assert passed.message("found").startswith("invalid label selector for found: ")


def test_a_selector_that_turns_out_invalid_is_an_error(graph_of, cluster_of, instance_of, walked):
    graph = graph_of(selected({"selector": {"matchLabels": {"app": "${schema.spec.app}"}}}), spec={"app": "string"})
    passed = walked(graph, cluster_of(instance_of({"app": "not a label!"})))
    assert passed.state("found") == "ERROR"
    assert passed.message("found").startswith("invalid label selector for found: ")


# The shape of the stepper


def test_suspension_keeps_the_metadata_and_nothing_else(graph, cluster_of, instance_of, walked):
    for word in ("suspended", "Disabled"):
        instance = instance_of({"name": "shop", "replicas": 1}, annotations={"kro.run/reconcile": word})
        passed = walked(graph, cluster_of(instance))
        assert [type(a) for a in passed.actions] == [PatchParent]
        assert passed.outcome.suspended
        assert passed.outcome.nodes == {}
        assert passed.outcome.retry is Retry.NONE


def test_feeding_anything_but_the_results_of_the_batch_is_a_bug(graph, cluster):
    walk = Walk(graph, cluster.world.instance, cluster.world)
    with pytest.raises(ValueError, match="exactly one result"):
        walk.feed([])
    (action,) = walk.next_actions()
    with pytest.raises(RuntimeError, match="not fed"):
        walk.next_actions()
    with pytest.raises(ValueError, match="exactly one result"):
        walk.feed([])
    with pytest.raises(RuntimeError, match="not over"):
        _ = walk.outcome
    walk.feed([Done(action=action)])
    with pytest.raises(ValueError, match="exactly one result"):
        walk.feed([Done(action=action)])


def test_results_may_come_in_any_order(graph_of, cluster_of, instance_of, config):
    graph = graph_of(config("a"), config("b"), config("c", {"x": "${a.metadata.name}-${b.metadata.name}"}))
    cluster = cluster_of(instance_of())
    walk = Walk(graph, cluster.world.instance, cluster.world)
    while actions := walk.next_actions():
        walk.feed(reversed([cluster.perform(a) for a in actions]))
    assert walk.outcome.settled
    assert walk.next_actions() == []


def test_the_answer_of_the_metadata_patch_is_what_expressions_see(graph_of, cluster_of, instance_of, walked, config):
    graph = graph_of(config("a", {"x": "${schema.metadata.labels['kro.run/owned']}"}))
    assert walked(graph, cluster_of(instance_of())).desired("a")["data"] == {"x": "true"}


def test_expressions_do_not_see_the_status_of_the_instance(graph_of, cluster_of, instance_of, walked, config):
    graph = graph_of(config("a", {"x": "${has(schema.metadata.name) ? 'y' : 'n'}"}))
    cluster = cluster_of({**instance_of(), "status": {"secret": 1}})
    passed = walked(graph, cluster)
    assert "status" not in passed.outcome.scope.variables["schema"]


@pytest.mark.parametrize(
    ("expression", "told"),
    [
        ("${schema.spec.x}", "schema.spec.x has no value: the instance does not set it, and it has no default"),
        ("${schema.spec.o.y + '1'}", "schema.spec.o.y has no value"),
        ("${schema.spec.l[5]}", "schema.spec.l[5] has no value"),
        ("${schema.spec.l.map(i, schema.spec.x + i)[0]}", "schema.spec.x has no value"),
        ("${schema.metadata.labels['foo']}", "schema.metadata.labels['foo'] has no value"),
        ("${a.metadata.name + schema.spec.x}", "schema.spec.x has no value"),
        ("${a.data.late + schema.spec.x}", "data pending"),
    ],
)
def test_what_only_an_edit_of_the_instance_can_supply_is_named(
    graph_of, cluster_of, instance_of, walked, config, expression, told
):
    spec = {"x": "string", "o": {"y": "string"}, "l": "[]string"}
    graph = graph_of(config("a"), config("b", {"v": expression}), spec=spec)
    passed = walked(graph, cluster_of(instance_of({"l": ["q"]})))
    assert passed.state("b") == "IN_PROGRESS"
    assert f"({told}" in passed.message("b")
    assert ("data pending" in passed.message("b")) is (told == "data pending")
