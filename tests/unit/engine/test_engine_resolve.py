"""Resolves one template to one object: values, namespaces, labels, annotations."""

from types import SimpleNamespace
from typing import Any

import pytest

from kroasync.engine.labels import inherited, label_value
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
    assert meta["annotations"] == {"internal.kro.run/apply-order": "2"}
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


def test_long_names_become_labels_with_a_digest(graph_of, instance_of, cluster_of, walked, config):
    long = "n" * 80
    graph = graph_of(config("a", name="short"))
    passed = walked(graph, cluster_of(instance_of(name=long)))
    value = passed.desired("a")["metadata"]["labels"]["kro.run/instance-name"]
    assert len(value) == 63
    assert value.startswith("nnnn")
    assert value != label_value("n" * 81)


@pytest.mark.parametrize("text", ["", "a", "x" * 63])
def test_short_label_values_stay(text):
    assert label_value(text) == text


def test_a_shortened_label_value_does_not_end_its_head_with_punctuation():
    value = label_value("a" * 51 + "." + "b" * 30)
    assert value.startswith("a" * 51 + "-")
    assert value[-1].isalnum()


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
    node = SimpleNamespace(id="ns", node=SimpleNamespace(resource=resource), labels={}, apply_order="1")
    owner = Ownership(
        parent=Parent(name="i", namespace="team", kind="K", group="g"), applyset_id="x", labels={}, inherited={}
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
