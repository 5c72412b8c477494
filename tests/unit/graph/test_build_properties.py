"""Every definition becomes a graph or problems with a position, and random graphs have the right order."""

# ruff: noqa: E501  (vocabularies)

from itertools import pairwise

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kroasync.graph.build import build
from kroasync.graph.problem_report import condition_message
from kroasync.model.definition import Definition, ResourceSpec, parse_definition
from kroasync.model.policies import FORMS
from kroasync.model.problems import has_errors

IDS = st.sampled_from(["a", "b", "configs", "random", "schema", "each", "Bad", "my-id", "in", "x" * 70, ""])
EXPRESSIONS = st.sampled_from(
    [
        "schema.spec.name", "schema.spec.count", "schema.spec.names", "schema.status", "schema", "a", "b", "a.metadata.name",
        "b.status.phase == 'x'", "configs", "configs.size() > 0", "configs[0].data", "each.metadata.name", "n", "n + 'x'",
        "omit()", "random.seededString(3, 'x')", "random.metadata.name", "runtime.newCondition({type: 'A', status: 'True'})",
        "runtime.condition(schema, 'Ready').status", "1", "true", "[1, 'a']", "{}", "{'a': n}", "a.map(x, x)", "(", "",
        "'}'", "'{'", "f(a)", "a.?metadata.?labels.orValue({})", "dyn(a)", "timestamp('2020-01-01T00:00:00Z')", "b'x'",
        "[schema.spec.names, schema.spec.names]", "cel.bind(x, a, x.metadata)", "a[a]", "a.b.c.d", "size(a)", "null",
    ]
)  # fmt: skip
STRINGS = st.one_of(
    EXPRESSIONS.map("${{{}}}".format),
    st.tuples(EXPRESSIONS, EXPRESSIONS).map(lambda pair: f"x-${{{pair[0]}}}-${{{pair[1]}}}"),
    st.text(alphabet="ab${}\"'", max_size=12),
)
VALUES = st.recursive(
    st.one_of(STRINGS, st.none(), st.booleans(), st.integers(-3, 3), st.floats(allow_nan=False, allow_infinity=False)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(
            st.sampled_from(["name", "data", "spec", "labels", "a.b", "", "containers"]), inner, max_size=3
        ),
    ),
    max_leaves=8,
)
OBJECTS = st.fixed_dictionaries(
    {},
    optional={
        "apiVersion": st.one_of(st.sampled_from(["v1", "apps/v1", "a/b/c", "", "/", "nope/v1"]), STRINGS, st.integers()),
        "kind": st.one_of(st.sampled_from(["ConfigMap", "Pod", "Deployment", "Namespace", "CustomResourceDefinition", "Ä"]), STRINGS),
        "metadata": st.one_of(
            VALUES,
            st.fixed_dictionaries({"name": VALUES}, optional={"namespace": VALUES, "labels": VALUES, "selector": VALUES}),
        ),
        "data": VALUES,
        "spec": VALUES,
    },
)  # fmt: skip
WORDS = st.one_of(
    EXPRESSIONS.map("${{{}}}".format),
    st.sampled_from(["${true ? 'Orphan' : 'Recreate'}", "${'Keep'}", "${['Once', 'Apply'][0]}", "${schema.spec.?name.orValue('Yield')}"]),
)  # fmt: skip
POLICIES = st.fixed_dictionaries(
    {},
    optional={
        **{name: st.one_of(st.sampled_from(list(words)), WORDS) for name, words in FORMS.items()},
        "maxPrune": st.sampled_from([0, 3, "20%"]),
    },
)
FIELDS = st.one_of(
    st.sampled_from(["spec", "data.name", "metadata", "metadata.name", "spec.containers[0]", 'data["a.b"]', "data.a.b", "${a}"]),
    st.text(alphabet='ab.[]"0${}', max_size=8),
)  # fmt: skip
RESOURCES = st.lists(
    st.builds(
        ResourceSpec,
        id=IDS,
        index=st.just(0),
        template=st.one_of(st.none(), OBJECTS),
        external_ref=st.one_of(st.none(), st.none(), OBJECTS),
        ready_when=st.lists(STRINGS, max_size=2).map(tuple),
        include_when=st.lists(STRINGS, max_size=2).map(tuple),
        for_each=st.lists(st.tuples(st.sampled_from(["n", "m", "a", "item", "X"]), STRINGS), max_size=2).map(tuple),
        policy=POLICIES,
        external_fields=st.lists(FIELDS, max_size=2).map(tuple),
    ),
    max_size=4,
)
STATUS = st.dictionaries(st.sampled_from(["state", "a", "b", "conditions", "a.b"]), VALUES, max_size=3)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    resources=RESOURCES,
    status=STATUS,
    policy=POLICIES,
    scope=st.sampled_from(["Namespaced", "Cluster"]),
    features=st.sampled_from([frozenset(), frozenset(["CELOmitFunction", "DeletionPolicy"])]),
    spec=st.sampled_from(
        [{"name": "string", "count": "integer", "names": "[]string"}, {"name": "nope"}, {"any": "object"}]
    ),
)
def test_any_definition_gives_a_graph_or_problems(kinds, resources, status, policy, scope, features, spec):
    resources = tuple(
        ResourceSpec(**{field: getattr(one, field) for field in one.__slots__} | {"index": place})
        for place, one in enumerate(resources)
    )
    definition = Definition(
        api_kind="ResourceGraphDefinition",
        name="thing",
        kind="Thing",
        api_version="v1",
        scope=scope,
        spec=spec,
        status=status,
        resources=resources,
        policy=policy,
    )
    built = build(definition, kinds, features=features)
    assert (built.graph is None) == has_errors(built.problems)
    assert all(problem.path[0] == "spec" and problem.message for problem in built.problems)
    assert bool(condition_message(built.problems)) == has_errors(built.problems)
    assert len(condition_message(built.problems, cap=500)) <= 500


@st.composite
def graphs(draw):
    size = draw(st.integers(1, 7))
    return [draw(st.lists(st.integers(0, size - 1), max_size=3)) for _ in range(size)]


@settings(max_examples=100, deadline=None)
@given(graphs())
def test_a_random_graph_has_an_order_or_a_cycle_of_its_edges(kinds, edges):
    resources = []
    for place, others in enumerate(edges):
        data = {f"k{i}": f"${{r{other}.metadata.name}}" for i, other in enumerate(others) if other != place}
        template = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": f"r{place}"}, "data": data}
        resources.append({"id": f"r{place}", "template": template})
    definition, problems = parse_definition(
        {
            "apiVersion": "kro.run/v1alpha1",
            "kind": "ResourceGraphDefinition",
            "metadata": {"name": "x"},
            "spec": {"schema": {"apiVersion": "v1", "kind": "X"}, "resources": resources},
        }
    )
    assert definition is not None, problems
    wanted = {f"r{i}": {f"r{other}" for other in others if other != i} for i, others in enumerate(edges)}
    built = build(definition, kinds)
    assert {name: set(others) for name, others in built.needs.items()} == wanted
    if built.graph is None:
        assert {problem.code for problem in built.problems} == {"cycle"}
        for problem in built.problems:
            path = problem.message.partition("cycle: ")[2].split(" -> ")
            assert path[0] == path[-1]
            assert all(after in wanted[before] for before, after in pairwise(path))
        return
    index = built.graph.order.index
    assert all(index(other) < index(name) for name in wanted for other in wanted[name])
    assert all(
        built.graph.nodes[other].apply_order < built.graph.nodes[name].apply_order
        for name in wanted
        for other in wanted[name]
    )
