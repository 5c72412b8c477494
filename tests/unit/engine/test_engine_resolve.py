"""Resolves one template to one object: values, namespaces, labels, annotations."""

import hashlib
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from kroasync.engine.actions import Need, PatchParent
from kroasync.engine.labels import inherited, is_value_of, label_value, node_of
from kroasync.engine.plan import Options
from kroasync.model import names

UID = "11111111-2222-3333-4444-555555555555"


def test_values_replace_whole_fields_and_the_rest_is_the_authors(graph_of, instance_of, cluster_of, walked):
    graph = graph_of(
        {
            "id": "deployment",
            "template": {
                "apiVersion": "apps/v1",
                "kind": "Deployment",
                "metadata": {"name": "${schema.spec.name}-web"},
                "spec": {
                    "replicas": "${schema.spec.replicas}",
                    "selector": {"matchLabels": {"app": "${schema.spec.name}"}},
                    "template": {
                        "metadata": {"labels": {"app": "${schema.spec.name}"}},
                        "spec": {"containers": [{"name": "web", "image": "nginx", "args": "${schema.spec.args}"}]},
                    },
                },
            },
        },
        spec={"name": "string", "replicas": "integer", "args": "[]string"},
    )
    instance = instance_of({"name": "shop", "replicas": 3, "args": ["-a", "${x}"]})
    obj = walked(graph, cluster_of(instance)).desired("deployment")
    assert obj["metadata"]["name"] == "shop-web"
    assert obj["metadata"]["namespace"] == "team"
    assert obj["spec"]["replicas"] == 3
    assert obj["spec"]["selector"] == {"matchLabels": {"app": "shop"}}
    # Expressions in the data of an instance are never evaluated.
    assert obj["spec"]["template"]["spec"]["containers"] == [{"name": "web", "image": "nginx", "args": ["-a", "${x}"]}]
    # The template itself is unchanged.
    assert graph.nodes["deployment"].template["spec"]["replicas"] == "${schema.spec.replicas}"


def test_ownership_labels_and_annotation(graph_of, instance_of, cluster_of, walked, config):
    graph = graph_of(config("a"), config("b", {"x": "${a.metadata.name}"}))
    passed = walked(graph, cluster_of(instance_of()), Options(version="1.2.3+dirty"))
    meta = passed.desired("b")["metadata"]
    assert meta["labels"] == {
        "kro.run/owned": "true",
        "kro.run/kro-version": "1.2.3-dirty",
        "app.kubernetes.io/managed-by": "kro",
        "kro.run/instance-id": UID,
        "kro.run/instance-name": "shop",
        "kro.run/instance-namespace": "team",
        "kro.run/instance-group": "kro.run",
        "kro.run/instance-version": "v1alpha1",
        "kro.run/instance-kind": "WebApp",
        "kro.run/node-id": "b",
        "applyset.kubernetes.io/part-of": "applyset-" + _applyset_digest("shop.team.WebApp.kro.run") + "-v1",
    }
    assert meta["annotations"] == {"internal.kro.run/apply-order": "2", "internal.kro.run/node-path": "b"}
    assert "ownerReferences" not in meta


def _applyset_digest(text):
    import base64
    import hashlib

    return base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).decode().rstrip("=")


def test_labels_of_the_template_survive_and_those_of_ownership_win(graph_of, instance_of, cluster_of, walked, config):
    graph = graph_of(
        config(
            "a",
            metadata={
                "labels": {"app": "${schema.spec.app}", "app.kubernetes.io/managed-by": "me"},
                "annotations": {"note": "x"},
            },
        ),
        spec={"app": "string"},
    )
    meta = walked(graph, cluster_of(instance_of({"app": "shop"}))).desired("a")["metadata"]
    assert meta["labels"]["app"] == "shop"
    assert meta["labels"]["app.kubernetes.io/managed-by"] == "kro"
    assert meta["annotations"]["note"] == "x"


def test_reserved_labels_that_an_expression_brings_along_are_dropped(graph_of, instance_of, cluster_of, walked, config):
    graph = graph_of(config("a", metadata={"labels": "${schema.metadata.labels}"}))
    instance = instance_of(labels={"team": "x", "kro.run/forged": "1"})
    labels = walked(graph, cluster_of(instance)).desired("a")["metadata"]["labels"]
    assert labels["team"] == "x"
    assert "kro.run/forged" not in labels
    # The metadata patch has added the label to the instance; on a child, the label would make the child a parent.
    assert "applyset.kubernetes.io/id" not in labels


def test_what_an_instance_remembers_of_its_children_does_not_go_to_them(
    graph_of, instance_of, cluster_of, walked, config
):
    """A child may be an instance itself, which remembers its own, and which people release themselves."""
    noted = {"kroasync.io/recreated": "1-abc a=b", "kroasync.io/allow-prune": "1", "note": "x"}
    graph = graph_of(config("a", metadata={"annotations": "${schema.metadata.annotations}"}))
    passed = walked(graph, cluster_of(instance_of(annotations=noted)))
    annotations = passed.desired("a")["metadata"]["annotations"]
    assert annotations["note"] == "x"
    assert annotations.keys().isdisjoint({"kroasync.io/recreated", "kroasync.io/allow-prune"})


@pytest.mark.parametrize(
    ("policy", "config_map", "pod"),
    [
        (None, {"app", "example.com/team"}, {"example.com/team"}),
        ("ExceptPods", {"app", "example.com/team"}, {"example.com/team"}),
        ("All", {"app", "example.com/team"}, {"app", "example.com/team"}),
        ("None", set(), set()),
    ],
)
def test_the_definition_decides_which_children_get_the_labels_of_the_instance(
    graph_of, instance_of, cluster_of, walked, config, policy, config_map, pod
):
    """A Pod with the label `app` would be behind every Service that selects it."""
    tool = {
        "id": "tool",
        "template": {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": "tool", "labels": {"own": "1"}},
            "spec": {"containers": [{"name": "c", "image": "busybox"}]},
        },
    }
    more = {"labelPropagation": policy} if policy else {}
    graph = graph_of(config("a"), tool, definition_fields=more)
    passed = walked(graph, cluster_of(instance_of(labels={"app": "shop", "example.com/team": "red"})))
    given = {"app", "example.com/team"}
    assert passed.desired("a")["metadata"]["labels"].keys() & given == config_map
    labels = passed.desired("tool")["metadata"]["labels"]
    assert labels.keys() & given == pod
    assert labels["own"] == "1"


def test_labels_of_the_instance_go_to_children_except_those_other_tools_claim_by(
    graph_of, instance_of, cluster_of, walked, config
):
    graph = graph_of(config("a", metadata={"labels": {"tier": "template"}}))
    instance = instance_of(
        labels={
            "tier": "instance",
            "cost": "42",
            "argocd.argoproj.io/instance": "app",
            "app.kubernetes.io/instance": "app",
            "own.example/keep": "1",
        }
    )
    options = Options(unpropagated_labels=(*names.UNPROPAGATED_LABELS, "own.example/"))
    labels = walked(graph, cluster_of(instance), options).desired("a")["metadata"]["labels"]
    assert labels["tier"] == "template"
    assert labels["cost"] == "42"
    assert not {"argocd.argoproj.io/instance", "app.kubernetes.io/instance", "own.example/keep"} & labels.keys()


# sha256sum of 64 times "n", and of 64 times "a".
HASH_N = "h-ce068a195ab380a813c713035ed74921acee4d3b"
HASH_A = "h-ffe054fe7ae0cb6dc65c3af9b61d5209f439851d"


def test_labels_have_a_hash_of_what_is_too_long_and_annotations_have_it_whole(
    graph_of, instance_of, cluster_of, walked, config
):
    graph = graph_of(config("a" * 64, name="short"))
    meta = walked(graph, cluster_of(instance_of(name="n" * 64))).desired("a" * 64)["metadata"]
    assert meta["labels"]["kro.run/instance-name"] == HASH_N
    assert meta["annotations"]["internal.kro.run/instance-name"] == "n" * 64
    assert meta["labels"]["kro.run/node-id"] == HASH_A
    assert meta["annotations"]["internal.kro.run/node-path"] == "a" * 64
    # The group fits: it needs no annotation.
    assert meta["labels"]["kro.run/instance-group"] == "kro.run"
    assert "internal.kro.run/instance-group" not in meta["annotations"]


def test_a_long_group_is_hashed_like_a_long_name(graph_of, instance_of, cluster_of, walked, config):
    graph = graph_of(config("a"))
    group = f"{'g' * 60}.example.com"
    graph = replace(graph, resource=replace(graph.resource, group=group))
    meta = walked(graph, cluster_of(instance_of())).desired("a")["metadata"]
    assert meta["labels"]["kro.run/instance-group"] == label_value(group)
    assert meta["annotations"]["internal.kro.run/instance-group"] == group


def test_short_names_are_labels_as_they_are_and_the_node_path_is_always_told(
    graph_of, instance_of, cluster_of, walked, config
):
    meta = walked(graph_of(config("a")), cluster_of(instance_of())).desired("a")["metadata"]
    assert (meta["labels"]["kro.run/node-id"], meta["labels"]["kro.run/instance-name"]) == ("a", "shop")
    assert {k for k in meta["annotations"] if k.startswith("internal.kro.run/")} == {
        "internal.kro.run/apply-order",
        "internal.kro.run/node-path",
    }
    assert meta["annotations"]["internal.kro.run/node-path"] == "a"


def test_of_an_object_the_annotation_tells_the_node_and_the_label_where_there_is_none():
    labels = {"kro.run/node-id": "h-0"}
    assert node_of({"metadata": {"labels": labels, "annotations": {"internal.kro.run/node-path": "whole"}}}) == "whole"
    assert node_of({"metadata": {"labels": {"kro.run/node-id": "config"}}}) == "config"
    assert node_of({"metadata": {}}) == ""


@pytest.mark.parametrize("text", ["", "a", "x" * 63])
def test_short_label_values_stay(text):
    assert label_value(text) == text


def test_the_limit_of_a_label_value_is_in_bytes():
    assert label_value("é" * 31) == "é" * 31
    assert label_value("é" * 32).startswith("h-")


def test_label_values_of_a_former_version_are_known():
    text = "a" * 51 + "." + "b" * 30
    former = f"{'a' * 51}-{hashlib.sha256(text.encode()).hexdigest()[:10]}"
    assert is_value_of(former, text)
    assert is_value_of(label_value(text), text)
    assert not is_value_of(former, text + "c")
    assert is_value_of("short", "short")
    assert not is_value_of(None, "short")


def test_prefixes_and_keys_of_the_list_are_different_things():
    labels = {"a/b": "1", "a": "2", "ab": "3"}
    assert inherited(labels, ("a/",)) == {"a": "2", "ab": "3"}
    assert inherited(labels, ("a",)) == {"a/b": "1", "ab": "3"}


def test_a_namespace_of_the_template_is_kept_and_recorded(graph_of, instance_of, cluster_of, walked, config):
    graph = graph_of(config("a", metadata={"namespace": "${schema.spec.ns}"}), spec={"ns": "string"})
    passed = walked(graph, cluster_of(instance_of({"ns": "other"})))
    assert passed.desired("a")["metadata"]["namespace"] == "other"
    patch = passed.actions[0]
    assert patch.annotations[names.ANNOTATION_APPLYSET_NAMESPACES] == "other"


def test_a_cluster_scoped_kind_has_no_namespace(graph_of, instance_of, cluster_of, walked):
    template = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "${schema.metadata.name}-ns"}}
    passed = walked(graph_of({"id": "ns", "template": template}), cluster_of(instance_of()))
    assert "namespace" not in passed.desired("ns")["metadata"]


def test_a_namespace_brought_into_a_cluster_scoped_kind_is_dropped(catalog):
    from kroasync.engine.resolve import Ownership, desired
    from kroasync.model.applyset import Parent
    from kroasync.model.objects import GVK

    resource = catalog.resource(GVK("", "v1", "Namespace"))
    node = SimpleNamespace(
        id="ns", node=SimpleNamespace(resource=resource), labels={}, annotations={}, exempt_annotations=frozenset()
    )
    owner = Ownership(
        parent=Parent(name="i", namespace="team", kind="K", group="g"),
        applyset_id="x",
        labels={},
        annotations={},
        inherited={},
    )
    made = desired(node, {"metadata": {"name": "n", "namespace": "stray"}}, owner)  # type: ignore[arg-type]
    assert "namespace" not in made.obj["metadata"]
    assert made.key.namespace == ""


def test_a_cluster_scoped_instance_has_no_default_namespace(graph_of, instance_of, cluster_of, walked, config):
    graph = graph_of(config("a", metadata={"namespace": "${schema.spec.ns}"}), spec={"ns": "string"}, scope="Cluster")
    passed = walked(graph, cluster_of(instance_of({"ns": ""}, namespace=None)))
    assert passed.state("a") == "ERROR"
    assert (
        'node "a" is namespaced and must resolve metadata.namespace when the instance is cluster-scoped'
        in passed.message("a")
    )
    good = walked(graph, cluster_of(instance_of({"ns": "x"}, namespace=None)))
    assert good.desired("a")["metadata"]["namespace"] == "x"
    assert "kro.run/instance-namespace" not in good.desired("a")["metadata"]["labels"]
    assert good.actions[0].annotations[names.ANNOTATION_APPLYSET_NAMESPACES] == "x"


def test_an_empty_name_is_an_error_of_the_node(graph_of, instance_of, cluster_of, walked, config):
    graph = graph_of(config("a", name="${schema.spec.name}"), spec={"name": "string"})
    passed = walked(graph, cluster_of(instance_of({"name": ""})))
    assert passed.message("a") == 'node "a": metadata.name must be a non-empty string, got ""'


def test_omit_removes_fields_and_elements(graph_of, instance_of, cluster_of, walked, config):
    graph = graph_of(config("a", {"kept": "1", "gone": "${schema.spec.on ? 'x' : omit()}"}), spec={"on": "boolean"})
    assert walked(graph, cluster_of(instance_of({"on": False}))).desired("a")["data"] == {"kept": "1"}
    assert walked(graph, cluster_of(instance_of({"on": True}))).desired("a")["data"] == {
        "kept": "1",
        "gone": "x",
    }


def test_an_optional_none_keeps_the_key_with_null_but_is_no_label(graph_of, instance_of, cluster_of, walked, config):
    expression = "${schema.metadata.?labels.?missing}"
    graph = graph_of(config("a", {"x": expression}, metadata={"annotations": {"y": expression}}))
    obj = walked(graph, cluster_of(instance_of())).desired("a")
    assert obj["data"] == {"x": None}
    assert "y" not in obj["metadata"]["annotations"]


def test_bytes_go_base64_encoded_into_byte_fields(graph_of, instance_of, cluster_of, walked):
    graph = graph_of(
        {
            "id": "copy",
            "template": {
                "apiVersion": "v1",
                "kind": "Secret",
                "metadata": {"name": "copy"},
                "data": {"token": "${source.data.token}"},
            },
        },
        {
            "id": "source",
            "externalRef": {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "source"}},
        },
    )
    source = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "source", "namespace": "team"},
        "data": {"token": "c2VjcmV0"},
    }
    assert walked(graph, cluster_of(instance_of(), [source])).desired("copy")["data"] == {"token": "c2VjcmV0"}


def test_an_expression_is_evaluated_once_and_shared(graph_of, instance_of, cluster_of, walked, config):
    text = "${string(size(schema.spec.items))}"
    graph = graph_of(config("a", {"x": text}), config("b", {"x": text}), spec={"items": "[]string"})
    passed = walked(graph, cluster_of(instance_of({"items": ["p", "q"]})))
    assert passed.desired("a")["data"] == passed.desired("b")["data"] == {"x": "2"}


def nested(levels, value="x"):
    for _ in range(levels):
        value = {"a": [value]}
    return value


@pytest.mark.parametrize(("levels", "state"), [(50, "SYNCED"), (75, "ERROR")])
def test_values_too_deep_to_be_written_are_refused(graph_of, instance_of, cluster_of, walked, levels, state):
    template = {
        "apiVersion": "example.com/v1",
        "kind": "Widget",
        "metadata": {"name": "w"},
        "spec": nested(30, "${schema.spec.any}"),
    }
    graph = graph_of(
        {"id": "widget", "template": template}, spec={"any": "object"}, status={"deep": "${schema.spec.any}"}
    )
    passed = walked(graph, cluster_of(instance_of({"any": nested(levels)})))
    assert passed.state("widget") == state
    if state == "ERROR":
        assert passed.message("widget") == 'node "widget": the value of ${schema.spec.any} is nested too deeply'


def test_a_missing_key_that_came_from_a_secret_is_not_shown(graph_of, instance_of, cluster_of, walked, config):
    source = {
        "id": "source",
        "externalRef": {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "source"}},
    }
    live = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "source", "namespace": "team"},
        "data": {"pin": "aHVudGVyMg=="},
    }
    graph = graph_of(
        source,
        config("a", {"x": "${schema.spec.m[string(source.data.pin)]}"}),
        config("b", {"x": "${string(source.data.nope)}"}),
        spec={"m": "map[string]string"},
    )
    passed = walked(graph, cluster_of(instance_of({"m": {}}), [live]))
    assert passed.state("a") == passed.state("b") == "IN_PROGRESS"
    assert "hunter2" not in passed.message("a")
    assert "details withheld" in passed.message("a")
    assert "no such key: nope" in passed.message("b")


@pytest.mark.parametrize(
    "namespace", ["Bob", "a,b", "bob.smith", "-a", "a" * 64, "bübe", "a b", "a\nb", "../kube-system", "*", "%2e"]
)
def test_what_no_namespace_is_called_is_an_error_of_the_node_and_never_recorded(
    graph_of, config, cluster_of, instance_of, walked, namespace
):
    graph = graph_of(config("a", metadata={"namespace": "${schema.spec.ns}"}), config("b"), spec={"ns": "string"})
    cluster = cluster_of(instance_of({"ns": namespace}))
    passed = walked(graph, cluster)
    assert passed.state("a") == "ERROR"
    assert passed.message("a").startswith('node "a": metadata.namespace must be a DNS label')
    assert passed.state("b") == "SYNCED"
    annotations = cluster.world.instance["metadata"]["annotations"]
    assert annotations[names.ANNOTATION_APPLYSET_NAMESPACES] == ""
    cluster.world.instance = {**cluster.world.instance, "spec": {"ns": "bob"}}
    assert walked(graph, cluster).outcome.settled


@pytest.mark.parametrize("name", ["a/b", "..", ".", "a%2fb", "a" * 254, "a\nb", "a\x00", "\u202ea"])
def test_what_no_object_is_called_is_an_error_of_the_node(graph_of, config, cluster_of, instance_of, walked, name):
    graph = graph_of(config("a", name="${schema.spec.name}"), spec={"name": "string"})
    passed = walked(graph, cluster_of(instance_of({"name": name})))
    assert passed.applied == []
    assert passed.message("a").startswith('node "a": metadata.name must be at most 253 printable characters')


@pytest.mark.parametrize("namespace", ["Bob", "../x", "a,b"])
def test_an_external_reference_to_no_namespace_is_an_error(graph_of, cluster_of, instance_of, walked, namespace):
    metas: dict[str, Any] = {"one": {"name": "x"}, "many": {"selector": {"matchLabels": {"a": "b"}}}}
    resources = [
        {
            "id": id_,
            "externalRef": {
                "apiVersion": "v1",
                "kind": "ConfigMap",
                "metadata": {**meta, "namespace": "${schema.spec.ns}"},
            },
        }
        for id_, meta in metas.items()
    ]
    passed = walked(graph_of(*resources, spec={"ns": "string"}), cluster_of(instance_of({"ns": namespace})))
    assert passed.actions == [] or all(type(a).__name__ == "PatchParent" for a in passed.actions)
    assert {passed.state(id_) for id_ in metas} == {"ERROR"}


def test_a_child_of_a_former_version_is_applied_once_more_and_then_is_as_declared(
    graph_of, instance_of, cluster_of, walked, config, key_of
):
    graph, name = graph_of(config("a", name="short")), "n" * 80
    cluster = cluster_of(instance_of(name=name))
    walked(graph, cluster)
    key = key_of("ConfigMap", "short")
    child = cluster.world.get(key)
    former = f"{'n' * 52}-{hashlib.sha256(name.encode()).hexdigest()[:10]}"
    labels = {**child["metadata"]["labels"], "kro.run/instance-name": former}
    kept = {names.ANNOTATION_APPLY_ORDER: child["metadata"]["annotations"][names.ANNOTATION_APPLY_ORDER]}
    cluster.world.put(key, {**child, "metadata": {**child["metadata"], "labels": labels, "annotations": kept}})
    [again] = walked(graph, cluster).actions
    assert (again.key, again.need, again.force) == (key, Need.UPDATE, True)
    assert walked(graph, cluster).actions == []


def test_the_inventory_of_patch_contributions_is_left_alone(graph_of, instance_of, cluster_of, walked, config):
    key, theirs = "internal.kro.run/patch-contributions", '{"not": "ours"'
    graph = graph_of(config("a", metadata={"annotations": "${schema.metadata.annotations}"}))
    cluster = cluster_of(instance_of(annotations={key: theirs, "note": "x"}))
    passed = walked(graph, cluster)
    patches = [action for action in passed.actions if isinstance(action, PatchParent)]
    assert patches
    assert all(key not in patch.annotations for patch in patches)
    assert cluster.world.instance["metadata"]["annotations"][key] == theirs
    assert "note" in passed.desired("a")["metadata"]["annotations"]
    assert key not in passed.desired("a")["metadata"]["annotations"]
    assert passed.outcome.failures == ()


@pytest.mark.parametrize(
    ("features", "kept"), [((), {"note"}), (("DeletionPolicy",), {"note", names.ANNOTATION_DELETION_POLICY})]
)
def test_a_computed_deletion_policy_needs_its_gate(graph_of, cluster_of, instance_of, walked, config, features, kept):
    graph = graph_of(
        config("a", metadata={"annotations": "${schema.spec.notes}", "labels": "${schema.spec.notes}"}),
        spec={"notes": "map[string]string"},
        features=features,
    )
    notes = {"note": "x", names.ANNOTATION_DELETION_POLICY: "Orphaned", "kro.run/reconcile": "suspended"}
    meta = walked(graph, cluster_of(instance_of({"notes": notes}))).desired("a")["metadata"]
    assert meta["annotations"].keys() - {names.ANNOTATION_APPLY_ORDER, names.ANNOTATION_NODE_PATH} == kept
    assert names.ANNOTATION_DELETION_POLICY not in meta["labels"]
