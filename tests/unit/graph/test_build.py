"""Definitions and their graphs or problems: the catalogue of kro's graph builder, and more."""

# ruff: noqa: E501  (a case is one line of its table)

from dataclasses import replace

import pytest

from kroasync.graph.build import Limits, build, building, needed_kinds
from kroasync.graph.nodes import NodeType
from kroasync.graph.problem_report import condition_message
from kroasync.model.objects import GVK
from kroasync.model.problems import Severity

VPC = """
- id: vpc
  template:
    apiVersion: ec2.example.com/v1alpha1
    kind: VPC
    metadata: {name: vpc}
"""


def vpc(extra="", id="vpc", spec="{}", metadata="{name: vpc}", kind="VPC"):
    return f"""
- id: {id}
  template:
    apiVersion: ec2.example.com/v1alpha1
    kind: {kind}
    metadata: {metadata}
    spec: {spec}
{_indented(extra)}"""


def _indented(text):
    return "".join(f"  {line}\n" for line in text.strip().splitlines())


def config_map(data, id="config", metadata="{name: config}", extra=""):
    return f"""
- id: {id}
  template:
    apiVersion: v1
    kind: ConfigMap
    metadata: {metadata}
    data: {data}
{_indented(extra)}"""


def pod(id="pod", metadata="{name: pod}", spec="{containers: [{name: main, image: nginx}]}", extra=""):
    return f"""
- id: {id}
  template:
    apiVersion: v1
    kind: Pod
    metadata: {metadata}
    spec: {spec}
{_indented(extra)}"""


def crd(metadata, spec_group="example.com"):
    return f"""
- id: crd
  template:
    apiVersion: apiextensions.k8s.io/v1
    kind: CustomResourceDefinition
    metadata: {metadata}
    spec: {{group: "{spec_group}", names: {{kind: A, plural: as}}, scope: Namespaced, versions: []}}
"""


def external(metadata, kind="ConfigMap", id="ext", extra=""):
    return f"""
- id: {id}
  externalRef:
    apiVersion: v1
    kind: {kind}
    metadata: {metadata}
{_indented(extra)}"""


REFUSED = [
    # (name, code, text in the message, resources, parts of the schema)
    ("status-literal", "status-literal", "failed to build instance status schema: status fields without expressions are not supported", "[]", {"status": "{status: string}"}),
    ("unknown-group", "kind-not-found", "schema not found", "[{id: a, template: {apiVersion: unknown.k8s.aws/v1alpha1, kind: A, metadata: {name: a}}}]", {}),
    ("id-with-dash", "invalid-id", "naming convention violation: id vpc-1 is not a valid KRO resource id: must be lower camelCase", vpc(id="vpc-1"), {}),
    ("id-upper-case", "invalid-id", "naming convention violation", vpc(id="MyResource"), {}),
    ("id-reserved", "reserved-id", "id metadata is a reserved keyword in KRO", vpc(id="metadata"), {}),
    ("id-reserved-by-cel", "reserved-id", "id in is a reserved keyword in KRO", vpc(id="in"), {}),
    ("id-reserved-since-0.10", "reserved-id", "id graphengine is a reserved keyword in KRO", vpc(id="graphengine"), {}),
    ("id-twice", "duplicate-id", "found duplicate resource IDs vpc", vpc() + vpc(), {}),
    ("no-object", "not-an-object", "is not a valid Kubernetes object: apiVersion field not found", "[{id: a, template: {vvvvv: x}}]", {}),
    ("api-version-not-text", "not-an-object", "apiVersion field is not a string", "[{id: a, template: {apiVersion: 1, kind: A, metadata: {}}}]", {}),
    ("no-kind", "not-an-object", "kind field not found", "[{id: a, template: {apiVersion: v1, metadata: {}}}]", {}),
    ("kind-not-text", "not-an-object", "kind field is not a string", "[{id: a, template: {apiVersion: v1, kind: 1, metadata: {}}}]", {}),
    ("no-metadata", "not-an-object", "metadata field not found", "[{id: a, template: {apiVersion: v1, kind: Pod}}]", {}),
    ("metadata-not-a-map", "not-an-object", "metadata field is not a map", "[{id: a, template: {apiVersion: v1, kind: Pod, metadata: x}}]", {}),
    ("api-version-form", "invalid-kind", 'invalid apiVersion format "invalid/version/format"', "[{id: a, template: {apiVersion: invalid/version/format, kind: A, metadata: {}}}]", {}),
    ("kind-form", "invalid-kind", 'invalid kind "Invalid_Kind"', "[{id: a, template: {apiVersion: v1, kind: Invalid_Kind, metadata: {}}}]", {}),
    ("kind-starts-with-digit", "invalid-kind", 'invalid kind "123Kind"', "[{id: a, template: {apiVersion: v1, kind: 123Kind, metadata: {}}}]", {}),
    ("kind-too-long", "invalid-kind", "invalid kind", f"[{{id: a, template: {{apiVersion: v1, kind: {'K' * 64}, metadata: {{}}}}}}]", {}),
    ("kind-expression", "invalid-kind", "expressions are not allowed", "[{id: a, template: {apiVersion: v1, kind: '${schema.kind}', metadata: {}}}]", {}),
    ("api-version-expression", "invalid-kind", "expressions are not allowed", "[{id: a, template: {apiVersion: '${schema.kind}', kind: A, metadata: {}}}]", {}),
    ("crd-namespace", "namespace-scope", "is cluster-scoped and must not set metadata.namespace", crd("{name: as.example.com, namespace: x}"), {}),
    ("cluster-kind-namespace", "namespace-scope", 'resource "region" is cluster-scoped and must not set metadata.namespace', vpc(id="region", kind="Region", metadata="{name: r, namespace: '${schema.metadata.name}'}"), {}),
    ("namespace-missing", "namespace-scope", "is namespaced and must set metadata.namespace when the instance CRD is cluster-scoped", vpc(), {"scope": "Cluster"}),
    ("namespace-blank", "namespace-scope", "is namespaced and must set metadata.namespace", vpc(metadata="{name: a, namespace: ' '}"), {"scope": "Cluster"}),
    ("label-reserved", "reserved-prefix", 'invalid label for resource "vpc". labels with prefix "kro.run/" are reserved for internal use', vpc(metadata="{name: a, labels: {kro.run/x: 'y'}}"), {}),
    ("label-reserved-internal", "reserved-prefix", "reserved for internal use", vpc(metadata="{name: a, labels: {internal.kro.run/x: 'y'}}"), {}),
    ("annotation-reserved", "reserved-prefix", 'invalid annotation for resource "vpc". annotations with prefix "kro.run/"', vpc(metadata="{name: a, annotations: {kro.run/x: 'y'}}"), {}),
    ("ready-when-plain", "not-standalone", "failed to parse readyWhen expressions: only standalone expressions are allowed", vpc("readyWhen: ['invalid ! syntax']"), {}),
    ("include-when-plain", "not-standalone", "failed to parse includeWhen expressions", vpc("includeWhen: ['invalid ! syntax']"), {}),
    ("include-when-unknown", "unknown-identifier", "references unknown identifiers: [missing]", vpc("includeWhen: [\"${missing.status.state == 'available'}\"]"), {}),
    ("template-unknown", "unknown-identifier", "references unknown identifiers: [vpc]", vpc(id="subnet", kind="Subnet", spec="{vpcID: '${vpc.status.vpcID}'}"), {}),
    ("spec-type", "schema-unknown-type", "failed to build OpenAPI schema for instance", "[]", {"spec": "{port: wrongtype}"}),
    ("status-unknown", "unknown-identifier", "references unknown identifiers: [nonexistent]", "[]", {"status": "{a: '${nonexistent.status}'}"}),
    ("status-constant", "status-without-reference", "failed to create instance node: instance status field must refer to a resource or schema: status.a", "[]", {"status": "{a: '${true}'}"}),
    ("array-field", "literal-type", "expected array type for path spec.cidrBlocks, got string", vpc(spec="{cidrBlocks: 10.0.0.0/16}"), {}),
    ("crd-expression", "crd-expression", 'CEL expressions in CRDs are only supported for metadata fields, found in path "spec.group", resource crd', crd("{name: as.example.com}", "${schema.spec.a}"), {"spec": "{a: string}"}),
    ("external-for-each", "field-combination", 'failed to build resource "ext": invalid combination of resource fields: resource "ext": cannot use externalRef with forEach', external("{name: a}", extra="forEach: [{x: '${[1]}'}]"), {}),
    ("selector-with-text", "not-standalone", 'selector of resource "ext": only standalone expressions are allowed for metadata.selector', external("{selector: '${schema.metadata.name}-x'}"), {}),
    ("selector-of-two", "not-standalone", "only standalone expressions are allowed", external("{selector: '${schema.metadata.name}${schema.metadata.name}'}"), {}),
    ("selector-part-with-text", "not-standalone", "only standalone expressions are allowed for metadata.selector.matchExpressions[0].values", external("{selector: {matchExpressions: [{key: a, operator: In, values: '${schema.metadata.name},b'}]}}"), {}),
    ("name-validation", "name-validation", 'failed to build the schema of metadata.name: marker "required" is not supported', "[]", {"metadata": {"nameValidation": "required=true"}}),
    ("cycle-of-two", "cycle", "graph contains a cycle: a -> b -> a", vpc(id="a", metadata="{name: '${b.metadata.name}'}") + vpc(id="b", metadata="{name: '${a.metadata.name}'}"), {}),
    ("ring-of-four", "cycle", "graph contains a cycle: a -> b -> c -> d -> a", "".join(vpc(id=x, metadata=f"{{name: '${{{y}.metadata.name}}'}}") for x, y in ("ab", "bc", "cd", "da")), {}),
    ("cycle-by-include-when", "cycle", "graph contains a cycle", vpc("includeWhen: ['${b.status.ready}']", id="a") + vpc("includeWhen: ['${a.status.ready}']", id="b"), {}),
    ("cycle-mixed", "cycle", "graph contains a cycle", vpc("includeWhen: ['${b.status.ready}']", id="a") + vpc(id="b", metadata="{name: '${a.metadata.name}'}"), {}),
    ("undefined-field", "expression-type", "undefined field 'nonExistentField'", pod() + config_map("{a: '${pod.metadata.nonExistentField}'}"), {}),
    ("ready-when-string", "condition-type", 'readyWhen expression "vpc.status.vpcID" in resource "vpc" must return bool or optional_type(bool), but returns "string"', vpc("readyWhen: ['${vpc.status.vpcID}']"), {}),
    ("include-when-int", "condition-type", 'includeWhen expression "schema.spec.count" in resource "vpc" must return bool or optional_type(bool), but returns "int"', vpc("includeWhen: ['${schema.spec.count}']"), {"spec": "{count: integer}"}),
    ("include-when-dyn", "condition-type", 'but returns "dyn"', vpc("includeWhen: ['${schema.spec.any.x}']"), {"spec": "{any: object}"}),
    ("field-of-string", "expression-type", "does not support field selection", vpc() + config_map("{a: '${vpc.metadata.name.field}'}"), {}),
    ("list-into-string", "type-mismatch", 'type mismatch in resource "config" at path "data.a": expression "schema.spec.items" returns type "list(string)" but expected "string"', config_map("{a: '${schema.spec.items}'}"), {"spec": "{items: '[]string'}"}),
    ("maps-into-string", "type-mismatch", "type mismatch", config_map("{a: '${schema.spec.items.map(q, {\"x\": q})}'}"), {"spec": "{items: '[]string'}"}),
    ("int-into-string", "type-mismatch", "kind mismatch", config_map("{a: '${schema.spec.count}'}"), {"spec": "{count: integer}"}),
    ("int-into-number", "type-mismatch", "kind mismatch", vpc(spec="{weight: '${schema.spec.count}'}"), {"spec": "{count: integer}"}),
    ("include-when-undeclared", "expression-type", "convex", vpc("includeWhen: ['${schema.spec.convex.enabled}']"), {}),
    ("container-extra-field", "type-mismatch", "exists in output but not in expected type", pod(spec="{containers: '${schema.spec.containers}'}"), {"types": "{C: {name: string, image: string, bogus: string}}", "spec": "{containers: '[]C'}"}),
    ("container-name-int", "type-mismatch", "kind mismatch", pod(spec="{containers: '${schema.spec.containers}'}"), {"types": "{C: {name: integer}}", "spec": "{containers: '[]C'}"}),
    ("for-each-template", "not-standalone", 'failed to parse forEach dimensions: invalid forEach expression for dimension "n": only standalone expressions are allowed', vpc("forEach: [{'n': 'prefix-${schema.spec.names}'}]", metadata="{name: '${n}'}"), {"spec": "{names: '[]string'}"}),
    ("for-each-two", "not-standalone", "only standalone expressions are allowed", vpc("forEach: [{'n': '${schema.spec.names}${schema.spec.names}'}]", metadata="{name: '${n}'}"), {"spec": "{names: '[]string'}"}),
    ("collection-ready-when-own-id", "unknown-identifier", 'resource "pods" readyWhen: references unknown identifiers: [pods]', pod("pods", "{name: '${n}'}", extra="forEach: [{'n': '${schema.spec.names}'}]\nreadyWhen: ['${pods.all(p, true)}']"), {"spec": "{names: '[]string'}"}),
    ("collection-ready-when-other", "unknown-identifier", 'resource "workers" readyWhen: references unknown identifiers: [pod]', pod() + pod("workers", "{name: '${n}'}", extra="forEach: [{'n': '${schema.spec.names}'}]\nreadyWhen: [\"${pod.status.phase == 'x'}\"]"), {"spec": "{names: '[]string'}"}),
    ("ready-when-schema", "unknown-identifier", 'resource "vpc" readyWhen: references unknown identifiers: [schema]', vpc("readyWhen: ['${schema.spec.enabled}']"), {"spec": "{enabled: boolean}"}),
    ("for-each-string", "for-each-type", 'node "vpc": forEach iterator "n" must return a list, got "string": type "string" is not a list type', vpc("forEach: [{'n': '${schema.spec.name}'}]", metadata="{name: '${n}'}"), {"spec": "{name: string}"}),
    ("for-each-dyn", "for-each-type", 'must return a list, got "dyn"', vpc("forEach: [{'n': '${schema.spec.any.x}'}]", metadata="{name: '${n}'}"), {"spec": "{any: object}"}),
    ("for-each-other-iterator", "iterator-reference", 'node "vpc": forEach iterator "b" cannot reference other iterators [a] - forEach iterators are independent (cartesian product)', vpc("forEach: [{a: '${schema.spec.names}'}, {b: '${[a]}'}]", metadata="{name: '${a + b}'}"), {"spec": "{names: '[]string'}"}),
    ("dimension-unused", "collection-identity", 'node "vpc": all forEach dimensions must be used to produce a unique resource identity, missing: [tier]', vpc("forEach: [{'n': '${schema.spec.names}'}, {tier: '${schema.spec.names}'}]", metadata="{name: '${n}'}"), {"spec": "{names: '[]string'}"}),
    ("dimension-in-spec-only", "collection-identity", "missing: [n]", vpc("forEach: [{'n': '${schema.spec.names}'}]", spec="{cidrBlocks: ['${n}']}"), {"spec": "{names: '[]string'}"}),
    ("iterator-form", "iterator-name", 'resource "vpc": forEach iterator name "My" is not valid: must be lowerCamelCase', vpc("forEach: [{My: '${schema.spec.names}'}]"), {"spec": "{names: '[]string'}"}),
    ("iterator-reserved", "iterator-name", 'resource "vpc": forEach iterator name "item" is a reserved keyword', vpc("forEach: [{item: '${schema.spec.names}'}]"), {"spec": "{names: '[]string'}"}),
    ("iterator-is-id", "iterator-name", 'forEach iterator name "pod" conflicts with resource ID', pod() + vpc("forEach: [{pod: '${schema.spec.names}'}]"), {"spec": "{names: '[]string'}"}),
    ("iterator-twice", "duplicate-iterator", 'resource "vpc": duplicate forEach iterator name "n"', vpc("forEach: [{'n': '${schema.spec.names}'}, {'n': '${schema.spec.names}'}]"), {"spec": "{names: '[]string'}"}),
    ("dimensions", "too-many-dimensions", 'resource "vpc": forEach cannot have more than 10 dimensions, got 11', vpc("forEach: [" + ", ".join(f"{{n{i}: '${{schema.spec.names}}'}}" for i in range(11)) + "]"), {"spec": "{names: '[]string'}"}),
    ("self-reference", "self-reference", "self references are not allowed", vpc(metadata="{name: '${vpc.metadata.namespace}'}"), {}),
    ("each-in-template", "each-outside-ready-when", "node each does not exist", vpc(metadata="{name: '${each.metadata.name}'}"), {}),
    ("runtime-in-template", "runtime-outside-conditions", "runtime is only available in status.conditions expressions", config_map("{a: '${runtime.condition(schema, \"Ready\").status}'}"), {}),
    ("runtime-in-for-each", "runtime-outside-conditions", "runtime is only available in status.conditions expressions", vpc("forEach: [{'n': \"${[runtime.newCondition({type: 'A', status: 'True'}).status]}\"}]", metadata="{name: '${n}'}"), {}),
    ("runtime-in-status", "unknown-identifier", "references unknown identifiers: [runtime]", "[]", {"status": "{a: '${runtime.condition(schema, \"Ready\").status}'}"}),
    ("include-when-self", "self-reference", "self references are not allowed", vpc("includeWhen: ['${vpc.status.ready}']"), {}),
    ("include-when-each", "unknown-identifier", "references unknown identifiers: [each]", vpc("includeWhen: ['${each.status.ready}']"), {}),
    ("include-when-iterator", "unknown-identifier", "references unknown identifiers: [n]", vpc("forEach: [{'n': '${schema.spec.names}'}]\nincludeWhen: [\"${n == 'a'}\"]", metadata="{name: '${n}'}"), {"spec": "{names: '[]string'}"}),
    ("unknown-function", "unknown-function", "uses unknown functions: [{frobnicate}]", config_map("{a: '${frobnicate(schema.spec.a)}'}"), {"spec": "{a: string}"}),
    ("omit-off", "omit-disabled", "omit() requires the CELOmitFunction feature gate to be enabled", config_map("{a: '${omit()}'}"), {}),
    ("status-nested", "expression-syntax", "failed to extract CEL expressions from status: nested expressions are not allowed", "[]", {"status": "{a: '${outer(${inner})}'}"}),
    ("unterminated-in-a-template", "unterminated-expression", 'failed to build resource "config": unterminated ${: expected a closing }, found only "${b"', config_map("{a: 'a ${b'}"), {}),
    ("unterminated-without-a-schema", "unterminated-expression", "unterminated ${", vpc(spec="{anything: {a: ['${b']}}"), {}),
    ("unterminated-in-a-name", "unterminated-expression", "unterminated ${", config_map("{}", metadata="{name: '${schema.metadata.name'}"), {}),
    ("unterminated-in-a-reference", "unterminated-expression", "unterminated ${", external("{name: '${schema.metadata.name'}"), {}),
    ("unterminated-selector", "unterminated-expression", "unterminated ${", external("{selector: '${schema.metadata.name'}"), {}),
    ("unterminated-in-a-selector", "unterminated-expression", "unterminated ${", external("{selector: {matchLabels: {a: 'b-${c'}}}"), {}),
    ("unterminated-in-the-status", "unterminated-expression", "failed to extract CEL expressions from status: unterminated ${", "[]", {"status": "{a: {b: '${schema.spec.a'}}"}),
    ("unterminated-condition", "unterminated-expression", "invalid conditions block: unterminated ${", "[]", {"status": "{conditions: ['${a']}"}),
    ("unterminated-ready-when", "unterminated-expression", "failed to parse readyWhen expressions: unterminated ${", vpc("readyWhen: ['${a']"), {}),
    ("unterminated-include-when", "unterminated-expression", "failed to parse includeWhen expressions: unterminated ${", vpc("includeWhen: ['${a']"), {}),
    ("unterminated-for-each", "unterminated-expression", "invalid forEach expression for dimension \"n\": unterminated ${", vpc("forEach: [{'n': '${[1]'}]", metadata="{name: '${string(n)}'}"), {}),
    ("syntax", "expression-syntax", "failed to inspect expression: parse error: ERROR: <input>:1:", config_map("{a: '${Bad expression}'}"), {}),
    ("empty-expression", "expression-syntax", "parse error", config_map("{a: '${}'}"), {}),
    ("template-of-string-in-int", "literal-type", "expected integer type for path spec.amazonSideASN, got string", vpc(spec="{amazonSideASN: 'a${schema.spec.a}'}"), {"spec": "{a: string}"}),
    ("template-of-int", "expression-type", "found no matching overload for '_+_' applied to '(string, int)'", config_map("{a: 'a-${schema.spec.count}'}"), {"spec": "{count: integer}"}),
    ("cluster-instance-namespace", "expression-type", "undefined field 'namespace'", config_map("{a: '${schema.metadata.namespace}'}", metadata="{name: a, namespace: b}"), {"scope": "Cluster"}),
    ("schema-status", "expression-type", "undefined field 'status'", config_map("{a: '${schema.status.x}'}"), {}),
    ("unknown-template-field", "unknown-field", "error getting field schema for path spec.cidrBlock: schema not found for field cidrBlock", vpc(spec="{cidrBlock: a}"), {}),
    ("status-not-a-list", "conditions-block", "status.conditions must be a list", "[]", {"status": "{conditions: x}"}),
    ("condition-not-text", "conditions-block", "status.conditions[0] must be a CEL expression string", "[]", {"status": "{conditions: [1]}"}),
    ("condition-plain", "not-standalone", "invalid conditions block: only standalone expressions are allowed", "[]", {"status": "{conditions: [abc]}"}),
]  # fmt: skip


@pytest.mark.parametrize(
    ("code", "text", "resources", "schema"), [row[1:] for row in REFUSED], ids=[row[0] for row in REFUSED]
)
def test_refused(compile, code, text, resources, schema):
    built = compile(resources, **schema)
    assert built.graph is None
    assert [p.code for p in built.problems if text in p.message] == [code], [str(p) for p in built.problems]


@pytest.mark.parametrize(
    ("code", "resources", "schema"), [(row[1], *row[3:]) for row in REFUSED], ids=[row[0] for row in REFUSED]
)
def test_a_fault_does_not_cause_others(compile, code, resources, schema):
    codes = [p.code for p in compile(resources, **schema).problems]
    # Invalid iterators are also unused.
    assert set(codes) - {"collection-identity"} <= {code}, codes


NAMES = {"spec": "{names: '[]string', zones: '[]string', enabled: boolean, count: integer, ratio: float}"}
ACCEPTED = [
    ("empty", "[]", {}),
    ("id-longer-than-a-label-value", vpc(id="a" * 200), {"status": f"{{id: '${{{'a' * 200}.status.vpcID}}'}}"}),
    ("status-of-schema", "[]", {"spec": "{a: string}", "status": "{a: '${schema.spec.a}'}"}),
    ("status-of-both", vpc(), {"spec": "{a: string}", "status": "{a: '${schema.spec.a + vpc.metadata.name}', b: '${vpc.status.?state}'}"}),
    ("crd-name-expression", crd("{name: '${schema.metadata.name}'}"), {}),
    ("crd-name-template", crd("{name: 'as.${schema.metadata.name}'}") + config_map("{a: '${crd.metadata.name}'}"), {}),
    ("external-crd", "[{id: ext, externalRef: {apiVersion: apiextensions.k8s.io/v1, kind: CustomResourceDefinition, metadata: {name: '${schema.metadata.name}'}}}]", {}),
    ("map-index", vpc() + config_map("{a: \"${vpc.metadata.labels['env']}-subnet\"}"), {}),
    ("two-collections", vpc("forEach: [{'n': '${schema.spec.names}'}]\nreadyWhen: ['${each.status.ready}']", id="vpcs", metadata="{name: '${n}'}") + vpc("forEach: [{'n': '${schema.spec.names}'}]\nreadyWhen: [\"${each.status.subnetID != ''}\"]", id="subnets", kind="Subnet", metadata="{name: '${n}'}"), NAMES),
    ("containers-subset", pod(spec="{containers: '${schema.spec.containers}'}"), {"types": "{C: {name: string, image: string}}", "spec": "{containers: '[]C'}"}),
    ("containers-copied", pod() + pod("copy", "{name: copy, labels: '${pod.metadata.labels}', annotations: '${pod.metadata.annotations}'}", spec="{containers: '${pod.spec.containers}'}"), {}),
    ("conversions", config_map("{a: '${string(schema.spec.ratio * 2.0)}', b: '${string(size(schema.spec.names))}'}"), NAMES),
    ("for-each-other-resource", vpc() + vpc("forEach: [{'n': '${vpc.status.ids}'}]", id="subnets", kind="Subnet", metadata="{name: '${n}'}"), {}),
    ("for-each-collection", vpc("forEach: [{'n': '${schema.spec.names}'}]", id="vpcs", metadata="{name: '${n}'}") + vpc("forEach: [{v: '${vpcs}'}]", id="subnets", kind="Subnet", metadata="{name: '${v.metadata.name}'}", spec="{vpcID: '${v.status.vpcID}'}"), NAMES),
    ("for-each-filtered", vpc("forEach: [{'n': '${schema.spec.names}'}]", id="vpcs", metadata="{name: '${n}'}") + vpc("forEach: [{v: '${vpcs.filter(v, v.status.ready)}'}]", id="subnets", kind="Subnet", metadata="{name: '${v.metadata.name}'}"), NAMES),
    ("dimensions-over-name-and-namespace", vpc("forEach: [{'n': '${schema.spec.names}'}, {z: '${schema.spec.zones}'}]", metadata="{name: '${n}', namespace: '${z}'}"), NAMES),
    ("same-iterator-twice", vpc("forEach: [{'n': '${schema.spec.names}'}]", id="a", metadata="{name: '${n}'}") + vpc("forEach: [{'n': '${schema.spec.names}'}]", id="b", metadata="{name: '${n}'}"), NAMES),
    ("id-is-a-function-namespace", vpc(id="random") + config_map("{a: \"${random.metadata.name + random.seededString(5, 'x')}\"}"), {}),
    ("optional-condition", vpc("includeWhen: ['${schema.?spec.enabled}']"), NAMES),
    ("external-with-conditions", external("{name: a, namespace: b}", extra="includeWhen: ['${schema.spec.enabled}']\nreadyWhen: [\"${ext.data['a'] == 'b'}\"]"), NAMES),
    ("external-by-selector", external("{selector: {matchLabels: {app: '${schema.metadata.name}'}}}", extra="readyWhen: ['${each.data.size() > 0}']") + config_map("{'n': '${string(ext.size())}'}"), {}),
    ("external-by-expression", external("{selector: '${schema.spec.selector}'}") + config_map("{'n': '${string(ext.size())}'}"), {"spec": "{selector: object}"}),
    ("external-by-expressions-inside", external("{selector: {matchLabels: '${schema.metadata.labels}', matchExpressions: ['${schema.spec.one}', {key: a, operator: In, values: '${schema.spec.names}'}]}}"), {"spec": "{one: object, names: '[]string'}"}),
    ("external-by-selector-own-id", external("{selector: {}}", extra="readyWhen: ['${ext.size() > 2}']"), {}),
    ("external-by-selector-in-cluster-scope", external("{selector: {}}"), {"scope": "Cluster"}),
    ("cluster-scope", vpc(metadata="{name: a, namespace: '${schema.spec.ns}'}"), {"scope": "Cluster", "spec": "{ns: string}"}),
    ("label-like-ours", vpc(metadata="{name: a, labels: {kro.run.example/x: 'y'}}"), {}),
    ("int-or-string", vpc(spec="{port: '${schema.spec.count}', anything: {a: [{b: '${schema.spec.names}'}]}}"), NAMES),
    ("bytes-field", vpc(spec="{secret: '${hash.sha256(schema.metadata.name)}'}"), {}),
    ("text-into-bytes-field", vpc(spec="{secret: '${base64.encode(b\"x\")}'}"), {}),
    ("timestamp", vpc(spec="{until: '${schema.metadata.creationTimestamp}'}"), {}),
    ("map-field", vpc(spec="{limits: {a: 1, b: '${schema.spec.count}'}}"), NAMES),
    ("struct-list", vpc(spec="{tags: '${schema.spec.names.map(n, {\"key\": n, \"value\": n})}'}"), NAMES),
    ("ternary-list", vpc(spec="{cidrBlocks: '${schema.spec.enabled ? schema.spec.names : []}'}"), NAMES),
    ("literal-dollar", config_map("{a: '$5', b: '${\"${X}\"}'}"), {}),
    ("pending-as-null", vpc(spec="{cidrBlocks: null}"), {}),
]  # fmt: skip


@pytest.mark.parametrize(("resources", "schema"), [row[1:] for row in ACCEPTED], ids=[row[0] for row in ACCEPTED])
def test_accepted(compile, resources, schema):
    built = compile(resources, **schema)
    assert [str(p) for p in built.problems] == []
    assert built.graph is not None


OMITTING = [
    ("template", config_map("{a: '${omit()}'}"), {}, None),
    ("namespace-of-namespaced-instance", config_map("{}", metadata="{name: a, namespace: '${omit()}'}"), {}, None),
    ("include-when", vpc("includeWhen: ['${omit()}']"), {}, "must return bool"),
    ("ready-when", vpc("readyWhen: ['${omit()}']"), {}, "omit() can only be used in resource template expressions"),
    ("for-each", vpc("forEach: [{'n': '${[omit()]}'}]", metadata="{name: '${n}'}"), {}, 'node "vpc": forEach iterator "n": omit() can only be used in resource template expressions'),
    ("status", "[]", {"status": "{a: '${schema.metadata.name == \"\" ? omit() : 1}'}"}, "omit() can only be used in resource template expressions"),
    ("condition", "[]", {"status": "{conditions: ['${omit()}']}"}, "omit() can only be used in resource template expressions"),
    ("selector", external("{selector: '${omit()}'}"), {}, 'omit() cannot be used at path "metadata.selector"'),
    ("name", config_map("{}", metadata="{name: '${omit()}'}"), {}, 'omit() cannot be used at path "metadata.name"'),
    ("name-in-ternary", config_map("{}", metadata="{name: '${schema.metadata.name == \"\" ? omit() : \"x\"}'}"), {}, 'resource "config": omit() cannot be used at path "metadata.name" — the field is required and must resolve to a concrete value'),
    ("namespace-of-cluster-instance", config_map("{}", metadata="{name: a, namespace: '${omit()}'}"), {"scope": "Cluster"}, 'omit() cannot be used at path "metadata.namespace"'),
]  # fmt: skip


@pytest.mark.parametrize(
    ("resources", "schema", "text"), [row[1:] for row in OMITTING], ids=[row[0] for row in OMITTING]
)
def test_omit_behind_its_gate(compile, resources, schema, text):
    built = compile(resources, features=["CELOmitFunction"], **schema)
    if text is None:
        assert not built.problems
    else:
        assert [p for p in built.problems if text in p.message], [str(p) for p in built.problems]


GATE = ["DeletionPolicy"]
POLICY = "{name: a, annotations: {kro.run/deletion-policy: %s}}"


@pytest.mark.parametrize("policy", ["Delete", "Orphaned", '\'${schema.metadata.name == "a" ? "Orphaned" : "Delete"}\''])
def test_the_deletion_policy_is_exempt_behind_its_gate(compile, policy):
    resources = config_map("{}", metadata=POLICY % policy)
    assert not compile(resources, features=GATE).problems
    (problem,) = compile(resources).problems
    assert problem.code == "reserved-prefix"
    assert 'annotations with prefix "kro.run/" are reserved for internal use' in problem.message
    assert problem.message.endswith("use policy.deletion, or the feature gate DeletionPolicy")


@pytest.mark.parametrize(
    "metadata",
    [
        "{name: a, labels: {kro.run/deletion-policy: Orphaned}}",
        "{name: a, annotations: {internal.kro.run/deletion-policy: Orphaned}}",
        "{name: a, annotations: {kro.run/deletion-policy.x: Orphaned}}",
        "{name: a, annotations: {kro.run/reconcile: suspended, kro.run/deletion-policy: Delete}}",
    ],
)
def test_only_that_annotation_is_exempt(compile, metadata):
    assert [p.code for p in compile(config_map("{}", metadata=metadata), features=GATE).problems] == ["reserved-prefix"]


def test_a_policy_that_means_nothing_is_a_warning(compile):
    built = compile(config_map("{}", metadata=POLICY % "orphaned"), features=GATE)
    (problem,) = built.problems
    assert (problem.code, problem.severity) == ("deletion-policy", Severity.WARNING)
    assert 'expected Delete or Orphaned, got "orphaned", which means Delete' in problem.message
    assert problem.path[-3:] == ("metadata", "annotations", "kro.run/deletion-policy")
    assert built.graph is not None


def test_the_text_of_a_type_error_is_that_of_cel_go(compile):
    built = compile(vpc(id="resource1"), status="{field: 'prefix-${resource1.status.count}'}")
    (problem,) = built.problems
    assert problem.message == (
        "failed to build instance status schema: failed to type-check status expression "
        '"prefix-${resource1.status.count}" at path "field": '
        "ERROR: <input>:1:11: found no matching overload for '_+_' applied to '(string, int)'\n"
        ' | "prefix-" + (resource1.status.count)\n'
        " | ..........^"
    )
    assert problem.path == ("spec", "schema", "status", "field")


def test_every_problem_is_reported_in_order_of_the_steps(compile):
    built = compile(
        vpc(id="Bad") + config_map("{a: '${nope.x}', b: 5}") + pod(extra="readyWhen: ['${pod.status.phase}']"),
        spec="{a: wrong}",
        status="{x: literal}",
    )
    assert [p.code for p in built.problems] == [
        "invalid-id",
        "schema-unknown-type",
        "literal-type",
        "unknown-identifier",
        "condition-type",
        "status-literal",
    ]
    assert condition_message(built.problems).startswith("failed to validate resourcegraphdefinition: naming")
    assert condition_message(built.problems).count("\n") == 5


def test_a_condition_message_is_capped():
    from kroasync.model.problems import Problem

    problems = [Problem(code="x", message="m" * 50, path=("a",)) for _ in range(10)]
    text = condition_message(problems, cap=200)
    assert len(text) <= 200
    assert text.endswith("more problems")
    assert len(condition_message(problems[:1], cap=20)) == 20
    assert condition_message([]) == ""


def test_a_suggestion_names_the_near_miss(compile):
    built = compile(vpc(id="network") + config_map("{a: '${netwrok.metadata.name}', b: '${network.metadata.nme}'}"))
    assert [p.suggestion for p in built.problems] == ["network", "name"]


def test_an_unknown_kind_is_waited_for(compile):
    resources = """
- id: later
  template: {apiVersion: new.example.com/v1, kind: Later, metadata: {name: '${schema.spec.name}'}}
  readyWhen: ['${later.status.ready}']
- id: config
  template:
    apiVersion: v1
    kind: ConfigMap
    metadata: {name: '${later.status.name}'}
"""
    built = compile(resources, spec="{name: string}", status="{a: '${later.status.a}'}")
    assert built.graph is None
    assert built.is_waiting
    assert built.waiting_for == (GVK("new.example.com", "v1", "Later"),)
    (problem,) = built.problems
    assert problem.message == (
        'failed to build resource "later": failed to get schema for resource later: '
        'cannot resolve group version kind "new.example.com/v1, Kind=Later": schema not found'
    )
    assert built.crd is not None


def test_a_definition_with_other_errors_does_not_wait(compile):
    built = compile("[{id: a, template: {apiVersion: x.y/v1, kind: Z, metadata: {name: '${nope}'}}}]")
    assert built.waiting_for
    assert not built.is_waiting


def test_needed_kinds_are_listed_once_in_order(define):
    definition = define(vpc(id="a") + config_map("{}") + vpc(id="b") + external("{name: x}", kind="Secret"))
    assert [gvk.kind for gvk in needed_kinds(definition)] == ["VPC", "ConfigMap", "Secret"]


def test_others_may_run_while_it_builds(define, kinds):
    """After each resource is read, linked and compiled."""
    definition = define("".join(config_map("{a: x}", id=f"c{number}") for number in range(7)))
    steps, pauses = building(definition, kinds), 0
    while True:
        try:
            next(steps)
        except StopIteration as end:
            built = end.value
            break
        pauses += 1
    assert pauses >= 3 * 7
    assert built.graph is not None
    assert built.graph.order == build(definition, kinds).graph.order


def test_the_graph_of_a_definition(compile):
    built = compile(
        config_map("{a: '${vpcs[0].status.vpcID}', b: 'x-${vpc.status.state}-${schema.spec.a}'}", extra="includeWhen: ['${vpc.status.ready}']")
        + vpc("readyWhen: ['${vpc.status.ready}', \"${vpc.status.state == 'up'}\"]", spec="{secret: '${b\"x\"}'}")
        + vpc("forEach: [{'n': '${schema.spec.names}'}]\nreadyWhen: ['${each.status.ready}']", id="vpcs", metadata="{name: '${n}-${schema.metadata.name}'}"),
        spec="{a: string, names: '[]string'}",
        status="{id: '${vpc.status.vpcID}', up: '${vpcs.all(v, v.status.ready)}', nested: {list: ['${vpcs.map(v, v.status.vpcID)}']}, conditions: [\"${runtime.newCondition({type: 'Up', status: 'True'})}\"]}",
    )  # fmt: skip
    graph = built.graph
    assert graph is not None
    assert graph.order == ("vpc", "vpcs", "config")
    assert graph.nodes["config"].dependencies == ("vpcs", "vpc")
    assert [graph.nodes[name].apply_order for name in graph.order] == [1, 1, 2]
    assert graph.nodes["vpcs"].type is NodeType.COLLECTION
    assert graph.nodes["vpcs"].ready_each
    assert not graph.nodes["vpc"].ready_each
    assert [e.text for e in graph.nodes["vpc"].ready_when] == ["vpc.status.ready", "vpc.status.state == 'up'"]
    (field,) = graph.nodes["vpc"].fields
    assert field.expression.to_bytes_field
    assert [(f.path, f.expression.text, f.expression.references) for f in graph.nodes["config"].fields] == [
        (("data", "a"), "vpcs[0].status.vpcID", ("vpcs",)),
        (("data", "b"), "x-${vpc.status.state}-${schema.spec.a}", ("vpc",)),
    ]
    (field,) = graph.nodes["vpcs"].fields
    assert field.expression.iterators == ("n",)
    (dimension,) = graph.nodes["vpcs"].for_each
    assert dimension.name == "n"
    assert [f.path for f in graph.status] == [("id",), ("up",), ("nested", "list", 0)]
    assert len(graph.conditions) == 1
    assert graph.dependents("vpc") == ("config",)
    assert graph.reads == {
        "vpc": {("status", "ready"), ("status", "state"), ("status", "vpcID")},
        "vpcs": {("status", "ready"), ("status", "vpcID")},
        "config": set(),
    }
    status = graph.crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["status"]["properties"]
    assert status["id"] == {"type": "string"}
    assert status["up"] == {"type": "boolean"}
    assert status["nested"] == {
        "type": "object",
        "properties": {"list": {"type": "array", "items": {"type": "array", "items": {"type": "string"}}}},
    }
    assert graph.resource.plural == "things"


def test_what_is_read_as_a_whole_includes_its_fields(compile):
    built = compile(vpc() + config_map("{a: '${vpc.status.state}', b: '${json.marshal(vpc.status)}'}"))
    assert built.graph.reads["vpc"] == {("status",)}
    built = compile(vpc() + config_map("{a: '${vpc.status.state}', b: '${json.marshal(vpc)}'}"))
    assert built.graph.reads["vpc"] == {()}


def test_building_twice_gives_the_same_and_changes_no_input(define, kinds):
    definition = define(vpc() + config_map("{a: '${vpc.status.vpcID}'}"), status="{a: '${vpc.status.state}'}")
    before = repr(definition)
    first, second = build(definition, kinds), build(definition, kinds)
    assert repr(definition) == before
    assert first.graph.order == second.graph.order
    assert first.crd == second.crd


def test_limits_are_taken_from_the_caller(define, kinds):
    definition = define(
        vpc(
            "forEach: [{a: '${schema.spec.names}'}, {b: '${schema.spec.names}'}]",
            metadata="{name: '${a + b}'}",
        ),
        **NAMES,
    )
    assert build(definition, kinds).graph is not None
    built = build(definition, kinds, limits=Limits(max_dimensions=1))
    assert [p.code for p in built.problems] == ["too-many-dimensions"]


def test_a_readiness_of_an_external_collection_is_of_one_form(compile):
    built = compile(external("{selector: {}}", extra="readyWhen: ['${each.data.size() > 0}', '${ext.size() > 0}']"))
    assert [p.code for p in built.problems] == ["ready-when-mixed"]


def test_a_field_of_the_status_the_controller_writes_is_a_warning(compile):
    built = compile("[]", status="{state: '${schema.metadata.name}'}")
    assert [(p.code, p.severity.value) for p in built.problems] == [("status-overwritten", "warning")]
    assert built.graph is not None


def test_missing_resource_fields_of_a_hand_made_definition_are_reported(define, kinds):
    definition = define(vpc())
    spec = definition.resources[0]
    neither = replace(definition, resources=(replace(spec, template=None),))
    both = replace(
        definition,
        resources=(replace(spec, external_ref={"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "x"}}),),
    )
    assert "exactly one of template or externalRef must be provided" in build(neither, kinds).problems[0].message
    assert "cannot use externalRef with template" in build(both, kinds).problems[0].message


def test_one_field_that_cannot_be_read_hides_nothing_and_brings_nothing(compile):
    resources = (
        config_map("{k: '${schema.spec.text}'}", id="a", extra="includeWhen: ['${schema.spec.enabled}']")
        + config_map("{k: '${x}'}", id="b", metadata="{name: 'b-${x}'}", extra="forEach: [{x: '${schema.spec.list}'}]")
        + config_map("{k: '${schema.spec.count}'}", id="c", extra="readyWhen: ['${has(c.data.k)}']")
        + config_map("{}", id="d", extra="includeWhen: ['${schema.spec.text}']")
        + config_map("{}", id="e", metadata="{name: '${y}'}", extra="forEach: [{'y': '${schema.spec.text}'}]")
    )
    spec = "{text: string | default=two words, enabled: boolean | default=false, list: '[]string', count: integer}"
    built = compile(resources, spec=spec, status="{text: '${schema.spec.text}', sum: '${schema.spec.text + 1}'}")
    assert [(problem.where, problem.code) for problem in built.problems] == [
        ("spec.schema.spec.text", "schema-marker"),
        ("spec.resources[2].template.data.k", "type-mismatch"),
    ]
    assert (built.crd, built.spec_schema) == (None, None)
