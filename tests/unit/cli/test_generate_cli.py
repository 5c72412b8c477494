"""`kroasync generate`: CRD, sample instance and JSON Schema of a definition."""

import json
import re

import pytest
from typer.testing import CliRunner

from kroasync.cli.generate import app
from kroasync.cli.jsonschema import convert
from kroasync.cli.samples import sample
from kroasync.graph.build import build
from kroasync.model.definition import parse_definition
from kroasync.model.manifests import load
from kroasync.model.policies import FORMS
from kroasync.schema.catalog import bundled
from kroasync.schema.instance_checks import check_instance

DEFINITION = """\
apiVersion: kro.run/v1alpha1
kind: ResourceGraphDefinition
metadata: {name: web}
spec:
  schema:
    apiVersion: v1alpha1
    kind: Web
    spec:
      name: string | required=true minLength=10
      replicas: integer | default=2 minimum=1
      mode: string | enum="a,b"
      ratio: float | minimum=0.5
      ports: "[]integer | minItems=2"
      tags: map[string]string
      free: object
      nested: {flag: boolean}
    status: {ready: "${config.metadata.name}"}
  resources:
    - id: config
      template: {apiVersion: v1, kind: ConfigMap, metadata: {name: "${schema.spec.name}"}}
"""


def run(*args, input=DEFINITION):
    return CliRunner().invoke(app, list(args), input=input)


def test_crd():
    result = run("crd", "-")
    assert (result.exit_code, result.stderr) == (0, "")
    crd = load(result.stdout)[0].obj
    assert (crd["apiVersion"], crd["kind"], crd["metadata"]["name"]) == (
        "apiextensions.k8s.io/v1",
        "CustomResourceDefinition",
        "webs.kro.run",
    )
    assert json.loads(run("crd", "-", "-o", "json").stdout) == crd


def test_a_sample_instance_is_valid():
    result = run("instance", "-")
    instance = load(result.stdout)[0].obj
    assert instance == {
        "apiVersion": "kro.run/v1alpha1",
        "kind": "Web",
        "metadata": {"name": "web-sample", "namespace": "default"},
        "spec": {
            "name": "exampleexa",
            "replicas": 2,
            "mode": "a",
            "ratio": 0.5,
            "ports": [0, 0],
            "tags": {"key": "example"},
            "free": {},
            "nested": {"flag": False},
        },
    }
    definition, _ = parse_definition(load(DEFINITION)[0].obj)
    assert definition is not None
    schema = build(definition, bundled()).spec_schema
    assert schema is not None
    assert check_instance(instance, definition, schema) == []


def test_a_sample_of_a_cluster_scoped_kind_has_no_namespace():
    text = DEFINITION.replace("kind: Web", "kind: Web\n    scope: Cluster").replace(
        'metadata: {name: "${', 'metadata: {namespace: x, name: "${'
    )
    assert load(run("instance", "-", input=text).stdout)[0].obj["metadata"] == {"name": "web-sample"}


def test_a_sample_needs_only_the_spec():
    text = DEFINITION.replace("kind: ConfigMap", "kind: Unknown")
    result = run("instance", "-", input=text)
    assert result.exit_code == 0
    assert "schema not found" in result.stderr
    assert run("crd", "-", input=text).exit_code == 1


@pytest.mark.parametrize("command", ["crd", "instance", "schema"])
def test_a_broken_spec_has_status_1(command):
    result = run(command, "-", input=DEFINITION.replace("name: string", "name: strng"))
    assert result.exit_code == 1
    assert "unknown type: strng" in result.stderr
    assert result.stdout == ""


def test_json_schema_of_instances():
    schema = json.loads(run("schema", "-").stdout)
    assert schema["properties"]["kind"] == {"enum": ["Web"]}
    spec = schema["properties"]["spec"]
    assert spec["required"] == ["name"]
    assert spec["additionalProperties"] is False
    assert spec["properties"]["replicas"] == {"type": "integer", "minimum": 1, "default": 2}
    assert "additionalProperties" not in spec["properties"]["free"]
    assert spec["properties"]["tags"]["additionalProperties"] == {"type": "string"}


NAMED = DEFINITION.replace(
    "    kind: Web\n",
    "    kind: Web\n    plural: web\n    metadata: {nameValidation: 'minLength=9 pattern=\"^[a-z]+$\"'}\n",
)


def test_the_plural_and_the_rules_for_names_are_in_the_crd():
    crd = load(run("crd", "-", input=NAMED).stdout)[0].obj
    assert (crd["metadata"]["name"], crd["spec"]["names"]["plural"]) == ("web.kro.run", "web")
    properties = crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]
    name = {"type": "string", "minLength": 9, "pattern": "^[a-z]+$"}
    assert properties["metadata"] == {"type": "object", "properties": {"name": name}}


def test_the_rules_for_names_are_in_the_json_schema_and_hold_of_the_sample():
    schema = json.loads(run("schema", "-", input=NAMED).stdout)
    name = schema["properties"]["metadata"]["properties"]["name"]
    assert name == {"type": "string", "minLength": 9, "pattern": "^[a-z]+$"}
    sample = load(run("instance", "-", input=NAMED).stdout)[0].obj["metadata"]["name"]
    assert (len(sample) >= 9, sample.isalpha()) == (True, True)


def test_json_schema_of_definitions_takes_an_expression_for_a_selector():
    schema = json.loads(run("schema").stdout)
    spec = schema["properties"]["spec"]["properties"]
    reference = spec["resources"]["items"]["properties"]["externalRef"]["properties"]["metadata"]
    assert reference["properties"]["selector"].keys() <= {"description"}
    assert spec["schema"]["properties"]["plural"]["maxLength"] == 63
    assert spec["schema"]["properties"]["metadata"]["properties"]["nameValidation"]["type"] == "string"


def test_json_schema_of_definitions():
    schema = json.loads(run("schema").stdout)
    assert schema["properties"]["kind"]["enum"] == ["ResourceGraphDefinition", "ResourceGroup"]
    resources = schema["properties"]["spec"]["properties"]["resources"]["items"]
    assert set(resources["properties"]) == {
        *("id", "template", "externalRef", "readyWhen", "includeWhen", "forEach"),
        *("policy", "externalFields"),
    }
    assert resources["required"] == ["id"]


def test_json_schema_of_definitions_refuses_wrong_policies():
    spec = json.loads(run("schema").stdout)["properties"]["spec"]["properties"]
    for policy in (spec["policy"], spec["resources"]["items"]["properties"]["policy"]):
        assert policy["additionalProperties"] is False
        words = {name: re.compile(policy["properties"][name]["pattern"]) for name in FORMS}
        for name, values in FORMS.items():
            right = [*values, '${schema.spec.keep ? "a" : "b"}']
            wrong = ["", "Orphaned", "x${schema.spec.a}", *(f"{value}d" for value in values)]
            assert [text for text in right + wrong if words[name].search(text)] == right
        limit = policy["properties"]["maxPrune"]
        assert (limit["type"], limit["minimum"]) == (["integer", "string"], 0)
        texts = ["0%", "5%", "100%", "101%", "5", "5 %", "-5%", "${5}", "15%x"]
        assert [text for text in texts if re.search(limit["pattern"], text)] == ["0%", "5%", "100%"]


@pytest.mark.parametrize(
    ("schema", "value"),
    [
        ({"type": "string", "maxLength": 3}, "exa"),
        ({"type": "integer", "maximum": -5}, -5),
        ({"type": "integer", "minimum": 0.5}, 1),
        ({"x-kubernetes-int-or-string": True}, 1),
        ({"oneOf": [{"type": "string"}, {"type": "number"}]}, "example"),
        ({"type": "object", "default": {"a": 1}}, {"a": 1}),
        ({"type": "object", "default": {}, "properties": {"a": {"type": "string", "default": "x"}}}, {"a": "x"}),
        ({}, None),
    ],
)
def test_sample_values(schema, value):
    assert sample(schema) == value


def test_conversion_keeps_what_editors_know():
    assert convert({"x-kubernetes-int-or-string": True}) == {"type": ["integer", "string"]}
    assert convert({"type": "string", "nullable": True}) == {"type": ["string", "null"]}
    assert convert({"type": "array", "items": {"type": "object"}, "x-kubernetes-list-type": "map"}) == {
        "type": "array",
        "items": {"type": "object", "additionalProperties": False},
    }
