"""Expressions that must not be quoted: values of Secrets are followed through templates, collections and iterators."""

import pytest

from kroasync.engine.plan import Plan

SOURCE = {"id": "source", "externalRef": {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "source"}}}


def plan_of(graph_of, *resources, **schema):
    return Plan.of(graph_of(SOURCE, *resources, **schema))


def secrecy(plan, node):
    """The node's expressions by text (without that of its name), and whether each of them must not be quoted."""
    found = next(n for n in plan.nodes if n.id == node).expressions
    return {e.text: e.secret for e in found if not e.text.startswith("${schema.metadata.name}-")}


def places(plan, node):
    return next(n for n in plan.nodes if n.id == node).secrets


@pytest.mark.parametrize(
    ("expression", "secret"),
    [
        ("string(source.data.key)", True),
        ("string(source.data['key'])", True),
        ("source.data.map(k, k)[0]", True),
        ("string(source.?data.key.orValue(b'x'))", True),
        ("[source].map(s, string(s.data.key))[0]", True),
        ("cel.bind(s, source, string(s.data.key))", True),
        ("source.stringData.key", True),
        ("source.metadata.annotations['a']", True),
        ("json.marshal(source.metadata)", True),
        ("source.metadata.name", False),
        ("source.metadata.uid", False),
        ("source.metadata.?labels['a'].orValue('')", False),
        ("source.type", False),
        ("schema.metadata.name", False),
    ],
)
def test_what_reads_the_content_of_a_secret(graph_of, config, expression, secret):
    plan = plan_of(graph_of, config("a", {"x": "${" + expression + "}"}))
    assert secrecy(plan, "a") == {expression: secret}
    assert places(plan, "a") == ((("data", "x"),) if secret else ())


def test_a_value_is_followed_from_template_to_template(graph_of, config):
    first = config("first", {"v": "${string(source.data.key)}", "n": "${schema.metadata.name}"})
    second = config("second", {"v": "${first.data.v}", "n": "${first.data.n}", "u": "${first.metadata.uid}"})
    third = config("third", {"v": "${json.marshal(second.data)}"}, metadata={"labels": {"l": "${second.data.v}"}})
    plan = plan_of(graph_of, first, second, third)
    assert secrecy(plan, "second") == {"first.data.v": True, "first.data.n": False, "first.metadata.uid": False}
    assert all(secrecy(plan, "third").values())
    assert set(places(plan, "third")) == {("data", "v"), ("metadata", "labels", "l")}


def test_a_value_is_followed_through_collections_and_their_readiness(graph_of, config):
    copies = {
        **config("copies", {"v": "${string(source.data.key)}", "n": "${n}"}, name="c-${n}"),
        "forEach": [{"n": "${schema.spec.names}"}],
        "readyWhen": ["${each.data.v == 'x'}", "${each.data.n == 'x'}"],
    }
    reader = config(
        "reader",
        {"v": "${copies[0].data.v}", "n": "${copies[0].data.n}", "all": "${copies.map(c, c.data.v).join(',')}"},
    )
    plan = plan_of(graph_of, copies, reader, spec={"names": "[]string"})
    assert [e.secret for e in next(n for n in plan.nodes if n.id == "copies").ready_when] == [True, False]
    assert list(secrecy(plan, "reader").values()) == [True, False, True]


def test_an_iterator_over_the_content_of_a_secret_is_followed(graph_of, config):
    copies = {
        **config("copies", {"v": "${v}", "n": "${n}"}, name="c-${n}-${string(size(v))}"),
        "forEach": [{"v": "${source.data.map(k, string(source.data[k]))}"}, {"n": "${schema.spec.names}"}],
    }
    plan = plan_of(graph_of, copies, spec={"names": "[]string"})
    assert secrecy(plan, "copies") == {"v": True, "n": False, "c-${n}-${string(size(v))}": True}


def test_what_fills_a_secret_is_not_quoted_wherever_it_stands(graph_of):
    filled = {
        "id": "filled",
        "template": {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": "s", "labels": {"a": "${schema.spec.password}", "b": "${schema.metadata.name}"}},
            "stringData": {"p": "${schema.spec.password}"},
        },
    }
    plan = plan_of(graph_of, filled, spec={"password": "string"})
    assert secrecy(plan, "filled") == {"schema.spec.password": True, "schema.metadata.name": False}
    assert places(plan, "filled") == (("data",), ("stringData",))


def test_a_secret_of_another_group_is_a_kind_like_any_other(graph_of, config):
    widget = {"id": "w", "template": {"apiVersion": "example.com/v1", "kind": "Widget", "metadata": {"name": "w"}}}
    plan = plan_of(graph_of, widget, config("a", {"x": "${w.metadata.annotations['k']}"}))
    assert secrecy(plan, "a") == {"w.metadata.annotations['k']": False}


@pytest.mark.parametrize(
    ("expression", "told"),
    [
        ("string(int(string(source.data.pin)))", " at int(string(source.data.pin)) (details withheld"),
        (
            "string(json.unmarshal(string(source.data.pin)).x)",
            " at json.unmarshal(string(source.data.pin)) (details withheld",
        ),
        ("{'a': 'b'}[string(source.data.pin)]", "evaluation failed (details withheld"),
        ("string(source.data.nope)", "no such key: nope"),
        ("string(source.data['no.pe'])", "no such key: no.pe"),
        # The missing key is a value that ends with a text of the author.
        ("{'data': 'b'}[string(source.data.colon)]", "evaluation failed (details withheld"),
    ],
)
def test_what_is_said_of_a_failure(graph_of, instance_of, cluster_of, walked, config, expression, told):
    live = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "source", "namespace": "team"},
        # hunter2; hunter2: data
        "data": {"pin": "aHVudGVyMg==", "colon": "aHVudGVyMjogZGF0YQ=="},
    }
    passed = walked(graph_of(SOURCE, config("a", {"x": "${" + expression + "}"})), cluster_of(instance_of(), [live]))
    assert told in passed.message("a")
    assert "hunter2" not in passed.message("a")
    assert "aHVu" not in passed.message("a")


def test_a_value_of_the_wrong_type_is_not_quoted(graph_of, instance_of, cluster_of, walked):
    live = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "source", "namespace": "team"},
        "data": {"text": "Imh1bnRlcjIi"},  # "hunter2" as JSON
    }
    value = "${json.unmarshal(string(source.data.text))}"
    widget = {
        "id": "w",
        "template": {"apiVersion": "example.com/v1", "kind": "Widget", "metadata": {"name": "w", "labels": value}},
    }
    passed = walked(graph_of(SOURCE, widget), cluster_of(instance_of(), [live]))
    assert passed.message("w") == 'node "w": metadata.labels must be a map, got a string'
