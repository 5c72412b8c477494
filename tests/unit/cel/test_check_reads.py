"""The fields of the data that an expression reads."""

import pytest

from kroasync.cel.env import Env
from kroasync.cel.types import DYN, STRING, list_of, map_of
from kroasync.schema.celtypes import SchemaTypes

TYPES = SchemaTypes(
    {
        "typed": {
            "type": "object",
            "properties": {"my-field": {"type": "string"}, "namespace": {"type": "string"}},
        }
    }
)
ENV = Env(
    types=TYPES,
    variables={
        **TYPES.variables(),
        "deployment": map_of(STRING, DYN),
        "schema": map_of(STRING, DYN),
        "pods": list_of(DYN),
        "config": map_of(STRING, DYN),
        "anything": DYN,
    },
)

CASES = [
    ("1 + 2", []),
    ("type(1) == int", []),
    ("deployment", ["deployment"]),
    ("deployment.status.availableReplicas", ["deployment.status.availableReplicas"]),
    (
        "deployment.status.availableReplicas == schema.spec.replicas",
        ["deployment.status.availableReplicas", "schema.spec.replicas"],
    ),
    ("deployment.status.?ready.orValue(schema.spec.x)", ["deployment.status.ready", "schema.spec.x"]),
    ("has(deployment.status.ready)", ["deployment.status.ready"]),
    ("has(deployment.status) && deployment.status.x", ["deployment.status"]),
    ("deployment == {} || deployment.spec.x", ["deployment"]),
    ("deployment['status']['x']", ["deployment.status.x"]),
    ("deployment.list[0].name", ["deployment.list.*.name"]),
    ("config[schema.spec.key]", ["config.*", "schema.spec.key"]),
    ("config[?'a.b']", ["config.a.b"]),
    ("string(deployment.spec.x) + 'a'", ["deployment.spec.x"]),
    ("size(pods)", ["pods"]),
    # macros
    ("pods.all(p, p.status.phase == 'x')", ["pods.*.status.phase"]),
    ("pods.all(p, true)", ["pods.*"]),
    ("pods.map(p, p)", ["pods.*"]),
    ("pods.map(p, p.metadata.name).join(',')", ["pods.*.metadata.name"]),
    ("pods.filter(p, p.ok)", ["pods"]),
    ("pods.filter(p, p.ok).size() > 1", ["pods.*.ok"]),
    ("pods.filter(p, true).size() > 1", ["pods.*"]),
    ("config.filter(k, k > 'a').size() > 1", ["config"]),
    ("pods.filter(p, p.ok).map(p, p.name)", ["pods.*.ok", "pods.*.name"]),
    ("pods.map(p, p.ok, p.name)", ["pods.*.ok", "pods.*.name"]),
    ("pods.sortBy(p, p.age)[0].name", ["pods.*.age", "pods.*.name"]),
    ("pods.all(p, p.status.containers.all(c, c.ready))", ["pods.*.status.containers.*.ready"]),
    ("pods.all(k, v, v.ready)", ["pods.*.ready"]),
    ("pods.all(pods, pods.ready)", ["pods.*.ready"]),
    ("config.all(k, k.startsWith('a'))", ["config"]),
    ("config.all(k, v, v.x == k)", ["config.*.x"]),
    ("config.transformMap(k, v, k)", ["config.*"]),
    ("anything.map(x, x.y)", ["anything.*.y"]),
    ("pods.exists(p, p.name == schema.spec.name)", ["pods.*.name", "schema.spec.name"]),
    ("cel.bind(s, deployment.status, s.a + s.b)", ["deployment.status.a", "deployment.status.b"]),
    ("cel.bind(s, deployment.status.x + 1, s)", ["deployment.status.x"]),
    ("cel.bind(s, deployment.status, s).x", ["deployment.status.x"]),
    ("deployment.?status.optMap(s, s.x)", ["deployment.status.x"]),
    ("deployment.?status.optMap(s, 1)", ["deployment.status"]),
    ("(schema.spec.a ? deployment.x : schema).y", ["schema.spec.a", "deployment.x.y", "schema.y"]),
    ("dyn(deployment).status.x", ["deployment.status.x"]),
    ("pods.first().value().metadata.name", ["pods.*.metadata.name"]),
    ("optional.of(deployment).value().x", ["deployment.x"]),
    ("[deployment.a, deployment.b][0]", ["deployment.a", "deployment.b"]),
    ("{'k': deployment.a}", ["deployment.a"]),
    # keys of the data, unescaped
    ("typed.my__dash__field", ["typed.my-field"]),
    ("typed.namespace", ["typed.namespace"]),
    ("typed.?my__dash__field", ["typed.my-field"]),
]


@pytest.mark.parametrize(("expression", "paths"), CASES, ids=[case[0] for case in CASES])
def test_paths_read(expression: str, paths: list[str]) -> None:
    reads = ENV.check(ENV.parse(expression)).reads
    assert {".".join(path) for path in reads} == set(paths)


def test_a_long_sum_is_read_without_recursion() -> None:
    expression = " + ".join(f"schema.x{index}" for index in range(3000))
    assert len(ENV.check(ENV.parse(expression)).reads) == 3000


def test_many_possible_places_are_read_at_once() -> None:
    choice = "deployment.z"
    for index in range(30):
        choice = f"(schema.c{index} ? deployment.p{index} : {choice})"
    reads = ENV.check(ENV.parse(f"{choice}.x")).reads
    assert ("deployment", "z") in reads
