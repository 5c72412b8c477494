"""Policies in a definition: what an expression may read and yield, and what fits a resource."""

from typing import Any

import pytest

from kroasync.graph.build import Built, build
from kroasync.model.manifests import load
from kroasync.model.objects import Obj
from kroasync.model.policies import MaxPrune
from kroasync.model.problems import Severity
from kroasync.schema.catalog import bundled
from tests.unit.graph.samples import config, parsed, thing

SPEC: Obj = {"keep": "boolean", "word": "string", "words": "[]string", "any": "object", "number": "integer"}
GATE = frozenset({"DeletionPolicy"})
ANNOTATION = "kro.run/deletion-policy"


def of_kind(kind: str, api_version: str = "v1", **annotations: str) -> Obj:
    template: Obj = {"apiVersion": api_version, "kind": kind, "metadata": {"name": "a", "annotations": annotations}}
    return {"id": "main", "template": template}


def reference() -> Obj:
    return {"id": "main", "externalRef": {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}}}


def built(
    resource: Obj, *others: Obj, defaults: Any = None, features: frozenset[str] = frozenset(), **more: Any
) -> Built:
    obj = thing([{**resource, **more}, *others], spec=SPEC)
    if defaults is not None:
        obj["spec"]["policy"] = defaults
    return build(parsed(obj), bundled(), features=features)


def found(result: Built) -> list[tuple[str, str]]:
    return [(problem.code, problem.where) for problem in result.problems]


OWN = "spec.resources[0].policy"


def node(result: Built, name: str = "config") -> Any:
    assert result.graph is not None, [str(problem) for problem in result.problems]
    return result.graph.nodes[name]


def test_a_resource_has_the_policies_of_the_definition_where_it_sets_none() -> None:
    defaults = {"conflicts": "Fail", "deletion": "${schema.spec.word}", "maxPrune": "10%"}
    collection = config({}, "many", forEach=[{"zone": "${schema.spec.words}"}])
    collection["template"]["metadata"]["name"] = "${zone}"
    other = {**collection, "id": "limited", "policy": {"maxPrune": 0}}
    other["template"] = {**other["template"], "metadata": {"name": "${'x' + zone}"}}
    result = built(config({}), collection, other, reference(), defaults=defaults, policy={"conflicts": "Yield"})
    assert node(result).policy["conflicts"] == "Yield"
    assert node(result).policy["deletion"].text == "schema.spec.word"
    assert node(result).max_prune is None
    assert node(result, "many").policy["conflicts"] == "Fail"
    assert node(result, "many").max_prune == MaxPrune(10, is_percentage=True)
    assert node(result, "limited").max_prune == MaxPrune(0)
    assert (node(result, "main").policy, node(result, "main").max_prune) == ({}, None)


@pytest.mark.parametrize("name", ["adoption", "deletion", "update", "conflicts"])
@pytest.mark.parametrize(
    ("expression", "code", "text"),
    [
        ("${other.data.x}", "policy-reference", "can read schema only, not other"),
        ("${config.metadata.name}", "policy-reference", "can read schema only, not config"),
        ("${schema.spec.keep ? zone : schema.spec.word}", "policy-reference", "can read schema only, not zone"),
        ("${each.metadata.name}", "policy-reference", "can read schema only, not each"),
        ('${runtime.condition(schema, "Ready").status}', "policy-reference", "can read schema only, not runtime"),
        ("${othr.data.x}", "unknown-identifier", "references unknown identifiers: [othr]"),
        ("${schema.spec.number}", "policy-type", 'must return string, but returns "int"'),
        ("${schema.spec.words}", "policy-type", "must return string, but returns"),
        ("${schema.spec.?word}", "policy-type", "orValue() gives it a value"),
        ("${null}", "policy-type", "must return string"),
        ("${schema.spec.wrd}", "expression-type", "undefined field 'wrd'"),
        ("${schema.spec.word +}", "expression-syntax", ""),
        ("${schema.spec.word", "unterminated-expression", ""),
        ("Orphan${schema.spec.word}", "not-standalone", "only standalone expressions are allowed"),
        ("${omit()}", "omit-disabled", ""),
    ],
)
def test_an_expression_reads_the_instance_and_yields_a_text(name: str, expression: str, code: str, text: str) -> None:
    collection = config({}, "many", forEach=[{"zone": "${schema.spec.words}"}])
    collection["template"]["metadata"]["name"] = "${zone}"
    others = (config({}, "other"), collection)
    result = built(config({}), *others, policy={name: expression})
    assert found(result) == [(code, f"{OWN}.{name}")]
    assert text in result.problems[0].message
    assert f'resource "config" policy.{name}' in result.problems[0].message
    # In the policy of the definition, the fault is reported once.
    result = built(config({}), *others, defaults={name: expression})
    assert found(result) == [(code, f"spec.policy.{name}")]


def test_omit_has_no_meaning_in_a_policy() -> None:
    result = built(config({}), policy={"deletion": "${omit()}"}, features=frozenset({"CELOmitFunction"}))
    assert found(result)[0] == ("omit-place", f"{OWN}.deletion")


@pytest.mark.parametrize(
    ("expression", "word", "suggestion"),
    [
        ('"Orphaned"', "Orphaned", "Orphan"),
        ('schema.spec.keep ? "Orphaned" : "Delete"', "Orphaned", "Orphan"),
        ('schema.spec.keep ? "Delete" : "orphan"', "orphan", "Orphan"),
        ('(schema.spec.keep ? (schema.spec.number > 1 ? "Orphan" : "Keep") : "Delete")', "Keep", None),
        ('schema.spec.?word.orValue("delete")', "delete", "Delete"),
        ('optional.of("Orphane").orValue("Delete")', "Orphane", "Orphan"),
        ('schema.spec.?word.or(optional.of("Dellete")).orValue("Delete")', "Dellete", "Delete"),
        ('{"prod": "Orphans", "dev": "Delete"}[schema.spec.word]', "Orphans", "Orphan"),
        ('["Orphan", "Retain"][schema.spec.number]', "Retain", None),
        ('cel.bind(k, schema.spec.keep, k ? "Orphn" : "Delete")', "Orphn", "Orphan"),
        ('""', "", None),
    ],
)
def test_a_literal_that_an_expression_can_yield_is_one_of_the_values(
    expression: str, word: str, suggestion: str | None
) -> None:
    result = built(config({}), policy={"deletion": f"${{{expression}}}"})
    (problem,) = result.problems
    assert (problem.code, problem.where, problem.suggestion) == ("policy-value", f"{OWN}.deletion", suggestion)
    assert "expected Delete or Orphan" in problem.message
    assert f'can yield "{word}"' in problem.message
    assert result.offsets[problem] == 2 + expression.index(f'"{word}"')


@pytest.mark.parametrize(
    "expression",
    [
        'schema.spec.keep ? "Orphan" : "Delete"',
        'schema.spec.word == "Orphaned" ? "Orphan" : "Delete"',
        '{"prod": "Orphan"}[?schema.spec.word].orValue("Delete")',
        'schema.spec.word == "" ? "Delete" : schema.spec.word',
        '"orphan".upperAscii()',
        "schema.spec.any.word",
        'schema.metadata.?labels["x"].orValue("Delete")',
    ],
)
def test_other_texts_in_an_expression_are_no_values(expression: str) -> None:
    result = built(config({}), policy={"deletion": f"${{{expression}}}"})
    assert node(result).policy["deletion"].text == expression


def test_all_faults_of_expressions_are_reported_at_once() -> None:
    policy = {"deletion": '${schema.spec.keep ? "Keep" : "Drop"}', "update": "${main.x}", "conflicts": "${1}"}
    result = built(config({}), of_kind("Secret"), policy=policy)
    assert found(result) == [
        ("policy-value", f"{OWN}.deletion"),
        ("policy-value", f"{OWN}.deletion"),
        ("policy-reference", f"{OWN}.update"),
        ("policy-type", f"{OWN}.conflicts"),
    ]


KINDS_THAT_HOLD = [
    ("PersistentVolumeClaim", "v1"),
    ("PersistentVolume", "v1"),
    ("Namespace", "v1"),
    ("CustomResourceDefinition", "apiextensions.k8s.io/v1"),
]


@pytest.mark.parametrize(("kind", "version"), KINDS_THAT_HOLD)
@pytest.mark.parametrize(
    ("update", "verb"),
    [
        ("Recreate", "is Recreate"),
        ('${schema.spec.keep ? "Once" : "Recreate"}', "can be Recreate"),
        ('${"Recreate"}', "is Recreate"),
        ('${schema.spec.?word.orValue("Recreate")}', "can be Recreate"),
    ],
)
def test_what_holds_data_is_never_recreated(kind: str, version: str, update: str, verb: str) -> None:
    result = built(of_kind(kind, version), policy={"update": update})
    assert found(result) == [("policy-recreate", f"{OWN}.update")]
    message = result.problems[0].message
    assert f"policy.update {verb}" in message
    assert f"what a {kind} holds is lost: set policy.update of this resource to Apply or Once" in message
    result = built(of_kind(kind, version), defaults={"update": update})
    assert found(result) == [("policy-recreate", "spec.resources[0].template.kind")]
    assert f"spec.policy.update of the definition {verb}" in result.problems[0].message


@pytest.mark.parametrize("update", ["Apply", "Once", '${schema.spec.keep ? "Apply" : "Once"}'])
def test_a_resource_that_sets_its_own_update_may_hold_data(update: str) -> None:
    result = built(of_kind("PersistentVolumeClaim"), defaults={"update": "Recreate"}, policy={"update": update})
    assert found(result) == []


def test_only_the_kind_of_that_group_holds_data() -> None:
    result = built(of_kind("Namespace", "example.com/v1"), policy={"update": "Recreate"})
    assert [code for code, _ in found(result)] == ["kind-not-found"]
    assert found(built(of_kind("Job", "batch/v1"), policy={"update": "Recreate"})) == []


@pytest.mark.parametrize(
    ("policy", "defaults", "where"),
    [
        ({"update": "Recreate", "deletion": "Orphan"}, {}, f"{OWN}.update"),
        ({"update": "Recreate"}, {"deletion": "Orphan"}, f"{OWN}.update"),
        ({"deletion": "Orphan"}, {"update": "Recreate"}, f"{OWN}.deletion"),
        ({}, {"update": "Recreate", "deletion": "Orphan"}, "spec.policy.update"),
        ({"conflicts": "Fail"}, {"update": "Recreate", "deletion": '${"Orphan"}'}, "spec.policy.update"),
    ],
)
def test_what_is_never_deleted_is_never_recreated(policy: Obj, defaults: Obj, where: str) -> None:
    result = built(config({}), config({}, "other"), policy=policy, defaults=defaults)
    assert found(result) == [("policy-contradiction", where)]
    assert "Recreate deletes the object, but" in result.problems[0].message


def test_a_policy_that_an_instance_decides_contradicts_nothing() -> None:
    policy = {"update": "Recreate", "deletion": '${schema.spec.keep ? "Orphan" : "Delete"}'}
    assert found(built(config({}), policy=policy)) == []


@pytest.mark.parametrize(
    ("annotation", "policy", "defaults", "where"),
    [
        ("Orphaned", {"deletion": "Delete"}, {}, "annotation"),
        ("Delete", {"deletion": "Orphan"}, {}, "annotation"),
        ("Delete", {}, {"deletion": "Orphan"}, "annotation"),
        ("Orphaned", {"update": "Recreate"}, {}, f"{OWN}.update"),
        ("Orphaned", {}, {"update": "Recreate"}, "annotation"),
        ("Orphaned", {"deletion": "Orphan"}, {}, None),
        ("Delete", {"deletion": "Delete"}, {}, None),
        ("Delete", {"deletion": '${schema.spec.keep ? "Orphan" : "Delete"}'}, {}, None),
        ('${schema.spec.keep ? "Orphaned" : "Delete"}', {"deletion": "Orphan"}, {}, None),
    ],
)
def test_the_annotation_of_kro_says_the_same(annotation: str, policy: Obj, defaults: Obj, where: str | None) -> None:
    resource = of_kind("ConfigMap", **{ANNOTATION: annotation})
    result = built(resource, policy=policy, defaults=defaults, features=GATE)
    annotated = f'spec.resources[0].template.metadata.annotations["{ANNOTATION}"]'
    place = annotated if where == "annotation" else where
    assert found(result) == ([] if place is None else [("policy-contradiction", place)])


@pytest.mark.parametrize(("word", "suggestion"), [("orphaned", "Orphaned"), ("Orphan", "Orphaned"), ("Keep", None)])
def test_an_unknown_value_of_the_annotation_has_a_suggestion(word: str, suggestion: str | None) -> None:
    (problem,) = built(of_kind("ConfigMap", **{ANNOTATION: word}), features=GATE).problems
    assert (problem.code, problem.severity, problem.suggestion) == ("deletion-policy", Severity.WARNING, suggestion)
    assert problem.path[-1] == ANNOTATION


@pytest.mark.parametrize(
    ("annotations", "where", "words"),
    [
        ({ANNOTATION: '${schema.spec.keep ? "Orphan" : "Delete"}'}, f'["{ANNOTATION}"]', ["Orphan"]),
        ({ANNOTATION: '${schema.spec.keep ? "keep" : "drop"}'}, f'["{ANNOTATION}"]', ["keep", "drop"]),
        ({ANNOTATION: '${schema.spec.keep ? "Orphaned" : "Delete"}'}, "", []),
        ({ANNOTATION: "${schema.spec.word}"}, "", []),
        (f'${{{{"{ANNOTATION}": schema.spec.keep ? "Orphan" : "Delete", "other": "x"}}}}', "", ["Orphan"]),
        (f'${{schema.spec.keep ? {{"{ANNOTATION}": "Orphaned"}} : {{}}}}', "", []),
        ({"other": '${"Orphan"}'}, "", []),
    ],
)
def test_an_expression_yields_known_values_of_the_annotation(annotations: Any, where: str, words: list[str]) -> None:
    resource = of_kind("ConfigMap")
    resource["template"]["metadata"]["annotations"] = annotations
    result = built(resource, features=GATE)
    place = f"spec.resources[0].template.metadata.annotations{where}"
    assert found(result) == [("deletion-policy", place)] * len(words)
    for problem, word in zip(result.problems, words, strict=True):
        assert problem.severity is Severity.WARNING
        assert f'got "{word}", which means Delete' in problem.message
        text = annotations if isinstance(annotations, str) else annotations[ANNOTATION]
        assert result.offsets[problem] == text.index(f'"{word}"')


@pytest.mark.parametrize("more", [{}, {"includeWhen": ["${schema.spec.keep}"]}])
def test_a_limit_of_pruning_is_for_collections(more: Obj) -> None:
    result = built(config({}), policy={"maxPrune": 1}, **more)
    assert found(result) == [("max-prune-place", f"{OWN}.maxPrune")]
    assert "has no forEach" in result.problems[0].message
    assert found(built(config({}), defaults={"maxPrune": 1})) == []


@pytest.mark.parametrize("metadata", [{"name": "a"}, {"selector": {}}])
def test_an_external_reference_has_no_policies(metadata: Obj) -> None:
    resource = {"id": "main", "externalRef": {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata}}
    policy = {"deletion": "Orphan", "maxPrune": 1, "update": "${main.x}"}
    result = built(resource, policy=policy, externalFields=["data.x"])
    assert found(result) == [("field-combination", OWN), ("field-combination", "spec.resources[0].externalFields")]
    assert "cannot use externalRef with policy" in result.problems[0].message
    assert "cannot use externalRef with externalFields" in result.problems[1].message
    assert found(built(resource, policy={}, externalFields=[], defaults={"deletion": "Orphan"})) == []


def test_policies_without_effect_are_warnings() -> None:
    collection = config({"x": "1"}, forEach=[{"zone": "${schema.spec.words}"}])
    collection["template"]["metadata"]["name"] = "${zone}"
    result = built(collection, policy={"maxPrune": 1}, defaults={"deletion": "Orphan"})
    assert found(result) == [("policy-unused", f"{OWN}.maxPrune")]
    result = built(config({"x": "1"}), policy={"update": "Once", "conflicts": "Fail"}, externalFields=["data.x"])
    assert found(result) == [
        ("policy-unused", "spec.resources[0].externalFields"),
        ("policy-unused", f"{OWN}.conflicts"),
    ]
    assert {problem.severity for problem in result.problems} == {Severity.WARNING}
    assert result.graph is not None
    defaults = {"update": "Once", "conflicts": "Fail", "maxPrune": 1, "deletion": "Orphan"}
    assert found(built(collection, defaults=defaults)) == []


TEMPLATE = """
apiVersion: apps/v1
kind: Deployment
metadata:
  name: a
  namespace: default
  annotations: {example.com/size: "1", plain: "2"}
  labels: ${schema.spec.any}
spec:
  replicas: ${schema.spec.number}
  selector: {matchLabels: {app: a}}
  template:
    metadata: {labels: {app: a}}
    spec:
      nodeSelector: ${schema.spec.any}
      containers:
      - {name: a, image: nginx, resources: {limits: {cpu: "1"}}}
"""
SIZE = 'metadata.annotations["example.com/size"]'
CONTAINERS = "spec.template.spec.containers"


def with_fields(*fields: str) -> Built:
    template = load(f"value:\n{TEMPLATE.replace(chr(10), chr(10) + '  ')}")[0].obj["value"]
    return built({"id": "main", "template": template}, externalFields=list(fields))


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("spec.replicas", ("spec", "replicas")),
        ("spec", ("spec",)),
        ("spec.template.spec.containers", ("spec", "template", "spec", "containers")),
        ("spec.template.spec.nodeSelector", ("spec", "template", "spec", "nodeSelector")),
        ('metadata.annotations["example.com/size"]', ("metadata", "annotations", "example.com/size")),
        ('metadata.annotations["plain"]', ("metadata", "annotations", "plain")),
        ("metadata.annotations.plain", ("metadata", "annotations", "plain")),
    ],
)
def test_an_external_field_is_a_path_of_map_keys(text: str, path: tuple[str, ...]) -> None:
    assert node(with_fields(text), "main").external_fields == (path,)


@pytest.mark.parametrize(
    ("text", "code", "message", "suggestion"),
    [
        ("", "external-field-syntax", "is no field path", None),
        (".spec.replicas", "external-field-syntax", "empty field name at position 0", None),
        ("spec..replicas", "external-field-syntax", "empty field name", None),
        ("spec.replicas.", "external-field-syntax", "keys with dots between them", "spec.replicas"),
        ("metadata.annotations['a.b']", "external-field-syntax", 'is written ["example.com/key"]', None),
        ('metadata.annotations["a.b"', "external-field-syntax", "expected closing bracket", None),
        ("${schema.spec.word}", "external-field-syntax", "expressions are not allowed here", None),
        ("spec.replica", "external-field-absent", "is not in the template", "spec.replicas"),
        ("/spec/replicas", "external-field-absent", "is not in the template", "spec.replicas"),
        ("spec.minReadySeconds", "external-field-absent", "is not in the template", None),
        ("spec.template.spec.nodeSelector.x", "external-field-absent", "is not in", "spec.template.spec.nodeSelector"),
        ("metadata.annotations.example.com/size", "external-field-absent", "", SIZE),
        ("spec.replicas.x", "external-field-absent", "is not in the template", "spec.replicas"),
        *(
            (f"{CONTAINERS}{rest}", "external-field-list", "name the whole list", CONTAINERS)
            for rest in ("[0]", "[0].image", ".image", "[*].image", '[name="a"].image', '["0"].image')
        ),
        ("spec.template.spec.volumes[0].name", "external-field-list", "goes through a list", None),
        *(
            (text, "external-field-identity", "identifies the object", None)
            for text in ("apiVersion", "kind", "metadata", "metadata.name", "metadata.namespace", 'metadata["name"]')
        ),
        ("metadata.labels", "external-field-identity", "name single keys", None),
        ("metadata.annotations", "external-field-identity", "name single keys", None),
    ],
)  # fmt: skip
def test_another_external_field_is_refused(text: str, code: str, message: str, suggestion: str | None) -> None:
    (problem,) = with_fields("spec.selector", text).problems
    assert (problem.code, problem.where) == (code, "spec.resources[0].externalFields[1]")
    assert (message in problem.message, problem.suggestion) == (True, suggestion)
    assert 'resource "main" externalFields: ' in problem.message


def test_an_external_field_is_listed_once() -> None:
    result = with_fields(
        "metadata.annotations.plain", "spec.replicas", 'metadata.annotations["plain"]', "spec.replicas"
    )
    where = "spec.resources[0].externalFields"
    assert found(result) == [("external-field-duplicate", f"{where}[{place}]") for place in (2, 3)]


def test_all_faults_of_external_fields_are_reported_at_once() -> None:
    result = with_fields("", "kind", "spec.x", "spec.template.spec.containers[0]", "${x}")
    assert [code for code, _ in found(result)] == [
        "external-field-syntax",
        "external-field-identity",
        "external-field-absent",
        "external-field-list",
        "external-field-syntax",
    ]


def test_many_external_fields_of_a_large_template_are_checked_in_steps() -> None:
    data = {f"key{place:05}": "" for place in range(5_000)}
    result = built(config(data), externalFields=[f"data.kye{place:05}" for place in range(5_000)])
    assert result.graph is None
    assert len(result.problems) == 1_001
