"""What kro accepts is never refused: 971 pairs of a place and an expression, measured on kro 0.9.3's builder.

tests/data/type-vectors.jsonl has the place, the expression, and the answer of kro ("ok" or "error") on a control plane
of Kubernetes 1.36.
"""

import json
from pathlib import Path

import pytest

from kroasync.graph.build import build
from kroasync.model.definition import parse_definition
from kroasync.model.problems import Severity
from kroasync.schema.catalog import bundled
from tests.samples import config_map, definition

VECTORS = Path(__file__).parents[2] / "data" / "type-vectors.jsonl"
TYPES = {
    "Item": {"name": "string | required=true", "port": "integer", "tags": "[]string", "on1": "boolean"},
    "Pair": {"key": "string", "value": "string"},
}
SPEC = {
    "s": "string",
    "s2": 'string | default="abc"',
    "i": "integer",
    "f": "float",
    "b": "boolean",
    "o": "object",
    "ls": "[]string",
    "li": "[]integer",
    "lo": "[]object",
    "lit": "[]Item",
    "lp": "[]Pair",
    "ms": "map[string]string",
    "mi": "map[string]integer",
    "mo": "map[string]object",
    "mit": "map[string]Item",
    "it": "Item",
    "nest": {"a": {"b": "string", "c": "[]integer"}, "e": 'string | enum="x,y"'},
}


def pod(**spec):
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "c"}, "spec": spec}


def container(**fields):
    return pod(containers=[{"name": "c", **fields}])


def service(ports):
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "c"}, "spec": {"ports": ports}}


def other(api_version, kind, **fields):
    return {"apiVersion": api_version, "kind": kind, "metadata": {"name": "c"}, **fields}


TEMPLATES = {
    "string": lambda value: config_map("c", data={"k": value}),
    "strdict": lambda value: other("v1", "ConfigMap", data=value),
    "int": lambda value: other("apps/v1", "Deployment", spec={"replicas": value, "selector": {}, "template": {}}),
    "bool": lambda value: other("v1", "ServiceAccount", automountServiceAccountToken=value),
    "intorstr": lambda value: service([{"port": 80, "targetPort": value}]),
    "strlist": lambda value: container(args=value),
    "env": lambda value: container(env=value),
    "vols": lambda value: pod(containers=[{"name": "c"}], volumes=value),
    "secctx": lambda value: container(securityContext=value),
    "res": lambda value: container(resources=value),
    "podspec": lambda value: other("v1", "Pod", spec=value),
    "quant": lambda value: container(resources={"limits": {"cpu": value}}),
    "svcports": service,
    "bytes": lambda value: other("v1", "Secret", data={"k": value}),
    "time": lambda value: config_map("c", creationTimestamp=value),
}

# What kro refuses and we accept on purpose.
TEXT = "text may fill what JSON keeps as text: Secret data, date-times"
LITERAL = "the keys of a literal are known, and each suits its field"
TYPE_NAME = "an expression may name a type"
ACCEPTED = {
    ("res", "{}"): LITERAL,
    ("secctx", "{}"): LITERAL,
    ("secctx", '{"runAsUser": schema.spec.i}'): LITERAL,
    ("res", "type(schema.spec.s) == string"): TYPE_NAME,
} | {
    (place, expression): TEXT
    for place, expressions in {
        "bytes": r"""
            "a\nb"
            json.marshal(schema.spec.it)
            schema.spec.ls.last()
            schema.spec.s
            schema.spec.s.format([])
            schema.spec.s.replace("a", "b")
            string(base64.decode("YQ=="))
        """,
        "time": """
            'x'
            base64.encode(hash.sha256(schema.spec.s))
            json.marshal(schema.spec.o)
            schema.apiVersion
            schema.metadata.labels["a"]
            schema.spec.?it.optMap(x, x.name)
            schema.spec.?s
            schema.spec.b ? schema.spec.s : "x"
            schema.spec.lit[?0].?name
            schema.spec.lit[?0].?name.orValue("none")
            schema.spec.ms.a
            schema.spec.s + "-" + schema.spec.s2
            schema.spec.s + string(schema.spec.i)
            schema.spec.s.charAt(0)
            schema.spec.s.find("[a-z]")
            schema.spec.s.lowerAscii()
            string(ip("1.2.3.4"))
        """,
    }.items()
    for expression in map(str.strip, expressions.strip().splitlines())
}


def read():
    """Place -> expression -> whether kro accepts it."""
    found = {}
    for line in VECTORS.read_text(encoding="utf-8").splitlines():
        place, expression, answer = json.loads(line)
        found.setdefault(place, {})[expression] = answer == "ok"
    return found


ANSWERS = read()


def resource(place, number, expression):
    value = f"${{{expression}}}"
    if place == "include":
        return {"id": f"r{number}", "includeWhen": [value], "template": config_map("c")}
    if place == "foreach":
        return {"id": f"r{number}", "forEach": [{"xx": value}], "template": config_map("c-${string(xx)}")}
    return {"id": f"r{number}", "template": TEMPLATES[place](value)}


def errors(place, expressions, *, spec=SPEC, types=TYPES):
    """The errors of a definition that has all the expressions."""
    status, resources = {}, []
    if place == "status":
        status = {f"f{number}": f"${{{expression}}}" for number, expression in enumerate(expressions)}
    else:
        resources = [resource(place, number, expression) for number, expression in enumerate(expressions)]
    parsed, _ = parse_definition(definition("Thing", resources, spec=spec, types=types, status=status))
    assert parsed is not None
    return [problem for problem in build(parsed, bundled()).problems if problem.severity is Severity.ERROR]


def refused(place, expressions):
    # The paths are spec.resources[0]... or spec.schema.status.f0...
    paths = {problem.path for problem in errors(place, expressions)}
    numbers = {path[2] if place != "status" else int(path[3].removeprefix("f")) for path in paths}
    return {expression for number, expression in enumerate(expressions) if number in numbers}


def test_there_are_971_vectors():
    assert sum(map(len, ANSWERS.values())) == 971


@pytest.mark.parametrize("place", ANSWERS)
def test_the_builder_answers_as_kro(place):
    answers = ANSWERS[place]
    accepted = {expression for of, expression in ACCEPTED if of == place}
    expected = {expression for expression, is_accepted in answers.items() if not is_accepted}
    assert accepted <= expected
    assert refused(place, answers) == expected - accepted


# One fault brings no others


@pytest.mark.parametrize("broken", ["string | default=two words", "[]strng", 5])
@pytest.mark.parametrize("place", ANSWERS)
def test_a_schema_that_cannot_be_read_brings_no_error_elsewhere(place, broken):
    """Where every field is unknown, whatever kro accepts of them otherwise is accepted."""
    accepted = [expression for expression, is_accepted in ANSWERS[place].items() if is_accepted]
    found = errors(place, accepted, spec=dict.fromkeys(SPEC, broken))
    assert [problem.path for problem in found] == [("spec", "schema", "spec", name) for name in SPEC]


@pytest.mark.parametrize("name", ["s", "b", "ls", "ms", "o"])
@pytest.mark.parametrize("place", ["env", "foreach", "include", "res", "status", "string"])
def test_the_other_fields_keep_their_types(place, name):
    found = errors(place, ANSWERS[place], spec=SPEC | {name: "strng"})
    assert found[0].path == ("spec", "schema", "spec", name)
    others = [
        expression
        for expression in ANSWERS[place]
        if f"schema.spec.{name}" not in expression.replace("?", "").replace("s2", "")
    ]
    expected = refused(place, others)
    assert expected
    assert refused(place, expected) == {
        expression for expression in expected if errors(place, [expression], spec=SPEC | {name: "strng"})[1:]
    }
