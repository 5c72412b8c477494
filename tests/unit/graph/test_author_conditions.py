"""The conditions that an author declares."""

# ruff: noqa: E501  (a case is one line of its table)

import pytest

NO = "'False'"


def expr(text):
    return "${" + text + "}"


def condition(text):
    return '"' + text.replace('"', '\\"') + '"'


def block(*entries):
    return "{conditions: [" + ", ".join(condition(entry) for entry in entries) + "]}"


def new(type="'Up'", status="'True'", more=""):
    return f"runtime.newCondition({{type: {type}, status: {status}{more}}})"


POD = """
- id: pod
  template: {apiVersion: v1, kind: Pod, metadata: {name: a}, spec: {containers: [{name: a, image: b}]}}
"""


@pytest.mark.parametrize(
    "entries",
    [
        [expr(new())],
        [expr(new(status="'False'"))],
        [expr(new(status="'Unknown'", more=", reason: 'R', message: 'm'"))],
        [expr(new(type="'Ready'")), expr(new(status="runtime.condition(schema, 'Ready').status"))],
        [expr(new(status="pod.status.phase == 'Running' ? 'True' : 'False'"))],
        [expr(new(type="'A'")), expr(new(status="runtime.condition(schema, 'Rea' + 'dy').status"))],
        [expr(new(type="'PodUp'")), expr(new(status="runtime.condition(pod, 'PodUp').status"))],
        [expr(f"pod.status.phase == 'x' ? {new()} : {new(status=NO)}")],
        [expr("[" + new(type="'A'") + ", " + new(type="'B'") + "]")],
        [expr(f"pod.spec.containers.map(c, {new(type='c.name')})")],
        [expr(f"dyn({new()})")],
    ],
)
def test_accepted(compile, entries):
    built = compile(POD, status=block(*entries))
    assert [str(p) for p in built.problems] == []
    assert [e.text for e in built.graph.conditions] == [entry[2:-1] for entry in entries]


@pytest.mark.parametrize(
    ("entries", "code", "text"),
    [
        ([expr(new()), expr(new(status="'False'"))], "duplicate-condition", 'condition type "Up" is declared by more than one conditions entry'),
        ([expr(new()), expr(new(type="'B'", status="runtime.condition(schema, 'Up').status"))], "condition-look-up", 'runtime.condition(schema, "Up"): custom conditions cannot reference each other in expression'),
        ([expr(new(status="runtime.condition(schema, 'Up').status"))], "condition-look-up", "custom conditions cannot reference each other"),
        ([expr(new(status="runtime.condition(schema, 'ResourceReady').status"))], "condition-look-up", 'runtime.condition(schema, "ResourceReady"): unknown condition type; only kro\'s built-in types (InstanceManaged, GraphResolved, ResourcesReady, Ready) can be read from schema'),
        ([expr(new(status="'YES'"))], "condition-literal", 'runtime.newCondition: status must be one of True, False, Unknown (got "YES") in expression'),
        ([expr("pod.spec.containers.map(c, " + new(type="c.name", status="'YES'") + ")")], "condition-literal", "status must be one of"),
        ([expr(new(type="''"))], "condition-literal", "runtime.newCondition: type must not be empty"),
        (["${runtime.newCondition({type: 'A', status: 'True', colour: 'x'})}"], "expression-syntax", 'unknown key "colour"'),
        (["${runtime.newCondition({'type': 'A', status: 'True'})}"], "expression-syntax", "keys must be bare identifiers"),
        (["${runtime.newCondition({type: 'A', type: 'B', status: 'True'})}"], "expression-syntax", 'duplicate key "type"'),
        (["${runtime.newCondition({status: 'True'})}"], "expression-syntax", "'type' is required"),
        (["${runtime.newCondition({type: 'A'})}"], "expression-syntax", "'status' is required"),
        (["${'text'}"], "condition-result", 'condition expressions must return runtime.newCondition(...) or a list of them, got "string"'),
        (["${newCondition({'a': 'b'})}"], "unknown-function", "uses unknown functions: [{newCondition}]"),
        (["${condition(schema, 'Ready')}"], "unknown-function", "uses unknown functions: [{condition}]"),
        ([expr(new(status="nope.status.x"))], "unknown-identifier", "references unknown identifiers: [nope]"),
        ([expr(new(status="pod.status.nope"))], "expression-type", "undefined field 'nope'"),
        ([expr(new(status="1"))], "expression-type", "failed to type-check condition"),
        (["no expression"], "not-standalone", "failed to build instance conditions: invalid conditions block: only standalone expressions are allowed"),
    ],
)  # fmt: skip
def test_refused(compile, entries, code, text):
    built = compile(POD, status=block(*entries))
    assert [p.code for p in built.problems] == [code], [str(p) for p in built.problems]
    assert text in built.problems[0].message
    assert built.problems[0].message.startswith("failed to build instance conditions: ")
    assert built.problems[0].path[:4] == ("spec", "schema", "status", "conditions")


def test_methods_of_other_receivers_are_no_conditions(compile):
    built = compile(POD, status=block("${schema.condition('YES')}"))
    assert "condition-look-up" not in [p.code for p in built.problems]
    assert "condition-literal" not in [p.code for p in built.problems]


def test_an_unreadable_entry_does_not_hide_the_others(compile):
    built = compile(POD, status=block("${(}", expr(new(status="'NO'"))))
    assert sorted(p.code for p in built.problems) == ["condition-literal", "expression-syntax"]
