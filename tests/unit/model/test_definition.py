"""Definitions of both kinds: structural checks, older shapes, hashes and revision names."""

import copy
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kroasync.model import legacy, paths
from kroasync.model.definition import Definition, is_definition, parse_definition, revision_name, spec_hash
from kroasync.model.problems import Severity

EXTERNAL = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "x"}}


def manifest(**changes: Any) -> dict[str, Any]:
    obj: dict[str, Any] = {
        "apiVersion": "kro.run/v1alpha1",
        "kind": "ResourceGraphDefinition",
        "metadata": {"name": "app", "uid": "u1", "generation": 3, "annotations": {"a": "b"}},
        "spec": {
            "schema": {
                "apiVersion": "v1alpha1",
                "kind": "App",
                "plural": "appses",
                "spec": {"name": "string"},
                "status": {"ip": "${svc.status.ip}"},
                "types": {"T": "string"},
                "shortNames": ["ap"],
                "categories": ["all"],
                "additionalPrinterColumns": [{"name": "N", "type": "string", "jsonPath": ".spec.name"}],
                "metadata": {"labels": {"l": "1"}, "annotations": {"n": "2"}, "nameValidation": "maxLength=9"},
            },
            "resources": [
                {
                    "id": "svc",
                    "template": {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "x"}},
                    "readyWhen": ["${svc.x}"],
                    "includeWhen": ["${schema.spec.on}"],
                    "forEach": [{"a": "${[1]}"}, {"b": "${[2]}"}],
                },
                {"id": "cfg", "externalRef": EXTERNAL},
            ],
        },
    }
    for path, value in changes.items():
        obj = paths.set_at(obj, paths.parse(path), value)
    return obj


def changed(path: str, value: Any) -> dict[str, Any]:
    return manifest(**{path: value})


def parsed(obj: dict[str, Any]) -> Definition:
    definition, problems = parse_definition(obj)
    assert [str(p) for p in problems if p.severity is Severity.ERROR] == []
    assert definition is not None
    return definition


def test_every_field_of_a_definition_is_read() -> None:
    obj = manifest()
    found = parsed(obj)
    assert (found.api_kind, found.name, found.uid, found.generation) == (
        "ResourceGraphDefinition",
        "app",
        "u1",
        3,
    )
    assert (found.kind, found.api_version, found.group, found.scope) == (
        "App",
        "v1alpha1",
        "kro.run",
        "Namespaced",
    )
    assert found.namespaced
    assert found.spec == {"name": "string"}
    assert found.types == {"T": "string"}
    assert found.status == {"ip": "${svc.status.ip}"}
    assert found.short_names == ("ap",)
    assert found.categories == ("all",)
    assert found.printer_columns == ({"name": "N", "type": "string", "jsonPath": ".spec.name"},)
    assert (found.metadata_labels, found.metadata_annotations) == ({"l": "1"}, {"n": "2"})
    assert (found.plural, found.name_validation) == ("appses", "maxLength=9")
    service, config = found.resources
    assert (service.id, service.index, service.external_ref) == ("svc", 0, None)
    assert service.template == {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "x"}}
    assert service.ready_when == ("${svc.x}",)
    assert service.include_when == ("${schema.spec.on}",)
    assert service.for_each == (("a", "${[1]}"), ("b", "${[2]}"))
    assert (config.template, config.external_ref) == (None, EXTERNAL)
    assert config.path == ("spec", "resources", 1)
    assert not found.allow_breaking_changes
    assert obj == manifest()


def test_only_the_text_true_allows_breaking_changes() -> None:
    for value, expected in (("true", True), ("True", False), ("yes", False)):
        obj = changed("metadata.annotations", {"kro.run/allow-breaking-changes": value})
        assert parsed(obj).allow_breaking_changes is expected


@pytest.mark.parametrize(
    ("path", "value", "where", "message"),
    [
        ("spec.schema.kind", "testResource", "spec.schema.kind", "naming convention violation"),
        ("spec.schema.kind", "Test-Resource", "spec.schema.kind", "naming convention violation"),
        ("spec.schema.kind", "T" * 64, "spec.schema.kind", "naming convention violation"),
        ("spec.schema.kind", None, "spec.schema.kind", "required field is missing"),
        ("spec.schema.plural", "Apps", "spec.schema.plural", 'plural "Apps" is not lower-case letters'),
        ("spec.schema.plural", "1apps", "spec.schema.plural", "a letter first"),
        ("spec.schema.plural", "apps-", "spec.schema.plural", "is not lower-case letters"),
        ("spec.schema.plural", "a.b", "spec.schema.plural", "is not lower-case letters"),
        ("spec.schema.plural", "", "spec.schema.plural", "is not lower-case letters"),
        ("spec.schema.plural", "a" * 64, "spec.schema.plural", "at most 63"),
        ("spec.schema.plural", 3, "spec.schema.plural", "expected a string, found a number"),
        ("spec.schema.metadata.nameValidation", [], "spec.schema.metadata.nameValidation", "expected a string"),
        ("spec.schema.kind", 3, "spec.schema.kind", "expected a string, found a number"),
        ("spec.schema.apiVersion", "1alpha1", "spec.schema.apiVersion", "is not a version"),
        ("spec.schema.apiVersion", "kro.run/v1", "spec.schema.apiVersion", "is not a version"),
        ("spec.schema.group", "Not A Group", "spec.schema.group", "RFC 1123"),
        ("spec.schema.group", "", "spec.schema.group", "RFC 1123"),
        ("spec.schema.scope", "namespaced", "spec.schema.scope", "expected Namespaced or Cluster"),
        ("spec.schema.spec", "string", "spec.schema.spec", "expected an object, found a string"),
        ("spec.schema.types", [], "spec.schema.types", "expected an object, found a list"),
        ("spec.schema.shortNames", ["WA"], "spec.schema.shortNames[0]", "lower-case"),
        ("spec.schema.shortNames", ["wa", "wa"], "spec.schema.shortNames[1]", "duplicate entry"),
        ("spec.schema.shortNames", ["a" * 64], "spec.schema.shortNames[0]", "at most 63"),
        ("spec.schema.categories", [f"c{i}" for i in range(33)], "spec.schema.categories", "at most 32"),
        (
            "spec.schema.additionalPrinterColumns",
            [{}],
            "spec.schema.additionalPrinterColumns[0].name",
            "required",
        ),
        (
            "spec.schema.additionalPrinterColumns[0].priority",
            "1",
            "spec.schema.additionalPrinterColumns[0].priority",
            "32-bit",
        ),
        ("spec.schema.metadata.labels", {"a": 1}, "spec.schema.metadata.labels.a", "expected a string"),
        ("spec.schema", None, "spec.schema", "required field is missing"),
        ("spec", None, "spec", "required field is missing"),
        ("metadata.name", None, "metadata.name", "required field is missing"),
        ("metadata.name", "Not_A_Name", "metadata.name", "RFC 1123"),
        ("spec.resources", {}, "spec.resources", "expected a list, found an object"),
        ("spec.resources[0]", "x", "spec.resources[0]", "expected an object, found a string"),
        ("spec.resources[0].id", None, "spec.resources[0].id", "required field is missing"),
        ("spec.resources[0].template", None, "spec.resources[0]", "exactly one of template or externalRef"),
        ("spec.resources[0].template", "x", "spec.resources[0].template", "expected an object"),
        (
            "spec.resources[0].externalRef",
            EXTERNAL,
            "spec.resources[0]",
            "exactly one of template or externalRef",
        ),
        ("spec.resources[0].readyWhen[0]", True, "spec.resources[0].readyWhen[0]", "found a boolean"),
        ("spec.resources[0].includeWhen", "x", "spec.resources[0].includeWhen", "expected a list"),
        ("spec.resources[0].forEach[0]", {}, "spec.resources[0].forEach[0]", "exactly one iterator, found 0"),
        (
            "spec.resources[0].forEach[1].z",
            "${[]}",
            "spec.resources[0].forEach[1]",
            "exactly one iterator, found 2",
        ),
        ("spec.resources[0].forEach[0].a", 1, "spec.resources[0].forEach[0].a", "expected a string"),
        ("spec.resources[1].externalRef.kind", None, "spec.resources[1].externalRef.kind", "required"),
        (
            "spec.resources[1].externalRef.metadata.selector",
            {},
            "spec.resources[1].externalRef.metadata",
            "exactly one of name or selector must be provided",
        ),
        (
            "spec.resources[1].externalRef.metadata",
            {},
            "spec.resources[1].externalRef.metadata",
            "exactly one of name or selector must be provided",
        ),
        (
            "spec.resources[1].externalRef.metadata.name",
            "",
            "spec.resources[1].externalRef.metadata.name",
            "empty",
        ),
        (
            "spec.resources[1].externalRef.metadata",
            {"selector": {"matchLabels": {"a": 1}}},
            "spec.resources[1].externalRef.metadata.selector.matchLabels.a",
            "expected a string",
        ),
        (
            "spec.resources[1].externalRef.metadata",
            {"selector": {"matchExpressions": [{"key": "a"}]}},
            "spec.resources[1].externalRef.metadata.selector.matchExpressions[0].operator",
            "required",
        ),
        (
            "spec.resources[1].externalRef.metadata",
            {"selector": {"matchLabel": {"a": "b"}}},
            "spec.resources[1].externalRef.metadata.selector.matchLabel",
            'unknown field "matchLabel" in a label selector: expected matchLabels or matchExpressions',
        ),
        (
            "spec.resources[1].externalRef.metadata",
            {"selector": {"app": "${schema.spec.name}"}},
            "spec.resources[1].externalRef.metadata.selector.app",
            'unknown field "app" in a label selector',
        ),
        *(
            ("spec.resources[1].externalRef.metadata", {"selector": selector}, where, "expected")
            for selector, where in (
                ("app=web", "spec.resources[1].externalRef.metadata.selector"),
                (" ${schema.spec.selector}", "spec.resources[1].externalRef.metadata.selector"),
                ("", "spec.resources[1].externalRef.metadata.selector"),
                (["${a}"], "spec.resources[1].externalRef.metadata.selector"),
                ({"matchLabels": "app"}, "spec.resources[1].externalRef.metadata.selector.matchLabels"),
                ({"matchExpressions": {}}, "spec.resources[1].externalRef.metadata.selector.matchExpressions"),
                ({"matchExpressions": ["a"]}, "spec.resources[1].externalRef.metadata.selector.matchExpressions[0]"),
                (
                    {"matchExpressions": [{"key": "a", "operator": "In", "values": "b"}]},
                    "spec.resources[1].externalRef.metadata.selector.matchExpressions[0].values",
                ),
            )
        ),
        ("kind", "ResourceGraphDefintion", "kind", "expected kind ResourceGroup or ResourceGraphDefinition"),
        ("apiVersion", "kro.run/v1", "apiVersion", "expected apiVersion kro.run/v1alpha1"),
    ],
)
def test_a_structural_fault_is_reported_at_its_place(path: str, value: Any, where: str, message: str) -> None:
    definition, problems = parse_definition(changed(path, value))
    assert definition is None
    errors = [p for p in problems if p.severity is Severity.ERROR]
    assert where in [p.where for p in errors]
    assert message in next(p.message for p in errors if p.where == where)


@pytest.mark.parametrize(
    "selector",
    [
        "${schema.spec.selector}",
        {"matchLabels": "${schema.spec.labels}"},
        {"matchExpressions": "${schema.spec.requirements}"},
        {"matchExpressions": ["${schema.spec.requirement}", {"key": "a", "operator": "In", "values": "${[]}"}]},
        {"matchLabels": {"app": "${schema.spec.name}-x"}, "matchExpressions": [{"key": "${a}", "operator": "Exists"}]},
        {},
    ],
)
def test_an_expression_may_stand_for_each_part_of_a_selector(selector: Any) -> None:
    obj = changed("spec.resources[1].externalRef.metadata", {"selector": selector})
    _, problems = parse_definition(obj)
    assert problems == []


def test_a_misspelt_selector_has_a_suggestion() -> None:
    obj = changed("spec.resources[1].externalRef.metadata", {"selector": {"matchLabel": {}}})
    _, problems = parse_definition(obj)
    assert [(p.code, p.suggestion) for p in problems] == [("selector-field", "matchLabels")]


def test_all_faults_are_reported_at_once() -> None:
    obj = manifest(**{"spec.schema.kind": "x", "spec.schema.scope": "y", "spec.resources[0].id": 1})
    _, problems = parse_definition(obj)
    assert [p.where for p in problems] == ["spec.schema.kind", "spec.schema.scope", "spec.resources[0].id"]


def test_unknown_fields_are_warnings_with_a_suggestion() -> None:
    obj = manifest(**{"spec.resources[0].readyWhn": [], "spec.schema.shortname": [], "extra": 1})
    obj["spec"]["resources"][0].pop("readyWhen")
    obj["spec"]["schema"].pop("shortNames")
    definition, problems = parse_definition(obj)
    assert definition is not None
    assert [(p.code, p.where, p.suggestion) for p in problems] == [
        ("unknown-field", "extra", None),
        ("unknown-field", "spec.schema.shortname", "shortNames"),
        ("unknown-field", "spec.resources[0].readyWhn", "readyWhen"),
    ]


def test_a_resource_group_keeps_its_namespace_and_its_old_fields_are_ignored() -> None:
    obj = manifest(
        **{
            "kind": "ResourceGroup",
            "metadata.namespace": "prod",
            "spec.defaultServiceAccounts": {"*": "x"},
            "spec.schema.validation": ["a"],
        }
    )
    definition, problems = parse_definition(obj)
    assert definition is not None
    assert (definition.api_kind, definition.namespace) == ("ResourceGroup", "prod")
    assert [p.code for p in problems] == ["ignored-field", "ignored-field"]
    assert definition.hash == parsed(manifest()).hash


def test_the_namespace_of_a_cluster_scoped_definition_is_ignored_with_a_warning() -> None:
    definition, problems = parse_definition(changed("metadata.namespace", "prod"))
    assert definition is not None
    assert definition.namespace == ""
    assert [p.code for p in problems] == ["definition-namespace"]


def test_endless_nesting_is_a_problem() -> None:
    deep: Any = {}
    for _ in range(20_000):
        deep = {"a": deep}
    definition, problems = parse_definition(changed("spec.schema.spec", deep))
    assert definition is None
    assert [p.code for p in problems] == ["definition-depth"]


def test_the_symphony_form_becomes_todays() -> None:
    old = {
        "apiVersion": "x.symphony.k8s.aws/v1alpha1",
        "kind": "ResourceGroup",
        "metadata": {"name": "app"},
        "spec": {
            "kind": "App",
            "apiVersion": "v1alpha1",
            "definition": {"spec": {"name": "string"}, "status": {"n": "${spec.name + dep.spec.x}"}},
            "resources": [
                {
                    "name": "dep",
                    "definition": {
                        "kind": "X",
                        "a": "pre-${spec.name}-${ 'spec' + dep2.spec.y + {'a': spec.z}.a }",
                    },
                    "readyOn": ["${status.ok == spec.replicas}"],
                    "conditions": ["${spec.on}"],
                }
            ],
        },
    }
    before = copy.deepcopy(old)
    found = parsed(old)
    assert is_definition(old)
    assert (found.kind, found.api_version) == ("App", "v1alpha1")
    assert found.status == {"n": "${schema.spec.name + dep.spec.x}"}
    (resource,) = found.resources
    assert resource.id == "dep"
    assert resource.template == {
        "kind": "X",
        "a": "pre-${schema.spec.name}-${ 'spec' + dep2.spec.y + {'a': schema.spec.z}.a }",
    }
    assert resource.ready_when == ("${dep.status.ok == dep.spec.replicas}",)
    assert resource.include_when == ("${schema.spec.on}",)
    assert old == before


def test_renamed_keys_of_early_resource_groups_are_read() -> None:
    obj = changed("kind", "ResourceGroup")
    obj["spec"]["resources"] = [{"name": "a", "definition": {"x": "${spec.y}"}, "readyOn": ["${a.b}"]}]
    (resource,) = parsed(obj).resources
    assert (resource.id, resource.template, resource.ready_when) == ("a", {"x": "${spec.y}"}, ("${a.b}",))


def test_a_flat_external_reference_gets_its_metadata() -> None:
    obj = changed("spec.resources[1].externalRef", {"apiVersion": "v1", "kind": "X", "name": "n", "namespace": "s"})
    assert parsed(obj).resources[1].external_ref == {
        "apiVersion": "v1",
        "kind": "X",
        "metadata": {"name": "n", "namespace": "s"},
    }


def test_todays_manifests_are_not_converted() -> None:
    assert legacy.convert(manifest()) == manifest()
    assert legacy.convert({"kind": "X", "spec": 1}) == {"kind": "X", "spec": 1}


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("spec.schema.group", "kro.run"),
        ("spec.schema.scope", "Namespaced"),
        ("spec.schema.categories", ["all"]),
        ("spec.resources[1].readyWhen", []),
    ],
)
def test_hash_does_not_see_defaults_and_empty_lists(path: str, value: Any) -> None:
    assert spec_hash(changed(path, value)["spec"]) == spec_hash(manifest()["spec"])


def test_hash_does_not_see_the_order_of_resources_conditions_and_keys() -> None:
    obj = manifest()["spec"]
    two = {**obj["resources"][0], "readyWhen": ["${a}", "${b}"]}
    reordered = {
        "resources": [obj["resources"][1], dict(reversed({**two, "readyWhen": ["${b}", "${a}"]}.items()))],
        "schema": dict(reversed(obj["schema"].items())),
    }
    assert spec_hash({**obj, "resources": [two, obj["resources"][1]]}) == spec_hash(reordered)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("spec.schema.spec.name", "integer"),
        ("spec.schema.group", "x.io"),
        ("spec.resources[0].template.metadata", {"name": "y"}),
        ("spec.resources[0].template.extra", None),
        ("spec.resources[0].forEach", [{"b": "${[2]}"}, {"a": "${[1]}"}]),
        ("spec.schema.metadata.labels.l", "2"),
    ],
)
def test_hash_sees_every_change_of_meaning(path: str, value: Any) -> None:
    assert spec_hash(changed(path, value)["spec"]) != spec_hash(manifest()["spec"])


def test_hash_is_sixteen_hex_digits_and_stable() -> None:
    # FNV-1a-64 of {"schema":{"group":"kro.run","scope":"Namespaced"}}
    assert spec_hash({"schema": {}}) == "d8f14015b82961cb"


def test_revision_names_fit_into_253_characters() -> None:
    assert revision_name("app", 7) == "app-r00007"
    assert revision_name("app", 123456) == "app-r123456"
    long = "a" * 200 + "." + "b" * 52
    name = revision_name(long, 1)
    assert len(name) <= 253
    assert name.startswith("a" * 200 + ".b")
    assert name != revision_name(long[:-1] + "c", 1)
    assert revision_name("." * 253, 1).startswith("gr-r00001-")


JUNK = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
PLACES = st.sampled_from([path for path, _ in paths.leaves(manifest())]).flatmap(
    lambda path: st.integers(0, len(path) - 1).map(lambda length: path[: length + 1])
)


@given(st.lists(st.tuples(PLACES, JUNK), max_size=4), st.sampled_from(["ResourceGroup", "ResourceGraphDefinition"]))
@settings(max_examples=300, deadline=None)
def test_any_object_gives_a_definition_or_located_errors(changes: list[tuple[Any, Any]], kind: str) -> None:
    obj = changed("kind", kind)
    for path, value in changes:
        if paths.has(obj, path):
            obj = paths.set_at(obj, path, value)
    definition, problems = parse_definition(obj)
    errors = [p for p in problems if p.severity is Severity.ERROR]
    assert (definition is None) == bool(errors)
    if definition is not None:
        assert len(definition.hash) == 16


@pytest.mark.parametrize(
    ("written", "propagation"),
    [(None, "ExceptPods"), ("All", "All"), ("ExceptPods", "ExceptPods"), ("None", "None")],
)
def test_which_children_get_the_labels_of_the_instance(written: str | None, propagation: str) -> None:
    obj = manifest() if written is None else changed("spec.labelPropagation", written)
    definition = parsed(obj)
    assert definition.label_propagation == propagation
    assert definition.source_spec.get("labelPropagation") == written
    # Existing definitions keep their revisions.
    assert (spec_hash(obj["spec"]) == spec_hash(manifest()["spec"])) is (propagation == "ExceptPods")


@pytest.mark.parametrize("value", ["all", "Pods", "", 1])
def test_another_label_propagation_is_refused(value: Any) -> None:
    definition, problems = parse_definition(changed("spec.labelPropagation", value))
    assert definition is None
    assert problems[0].path == ("spec", "labelPropagation")


OWNERS = ["spec", "spec.resources[0]"]


@pytest.mark.parametrize("owner", OWNERS)
@pytest.mark.parametrize(
    ("policy", "code", "key", "message", "suggestion"),
    [
        ({"deletoin": "Orphan"}, "policy-field", "deletoin", 'unknown field "deletoin" in policy', "deletion"),
        ({"Conflicts": "Yield"}, "policy-field", "Conflicts", "expected adoption, deletion, update,", "conflicts"),
        ({"maxprune": 1}, "policy-field", "maxprune", "or maxPrune", "maxPrune"),
        ({"x": None}, "policy-field", "x", 'unknown field "x"', None),
        ({"deletion": "Orphaned"}, "policy-value", "deletion", 'expected Delete or Orphan, found "Orphaned"', "Orphan"),
        ({"deletion": "orphan"}, "policy-value", "deletion", 'found "orphan"', "Orphan"),
        ({"conflicts": "yield"}, "policy-value", "conflicts", "expected Force, Yield or Fail", "Yield"),
        ({"adoption": "IfNotOwned"}, "policy-value", "adoption", "IfUnclaimed, Always, IfUnowned or", "IfUnowned"),
        ({"update": "Recreate "}, "policy-value", "update", "expected Apply, Once or Recreate", "Recreate"),
        ({"update": ""}, "policy-value", "update", 'found ""', None),
        ({"update": True}, "definition-type", "update", "expected a string, found a boolean", None),
        ({"deletion": ["Orphan"]}, "definition-type", "deletion", "expected a string, found a list", None),
        *(
            ({"maxPrune": value}, "max-prune-value", "maxPrune", f"expected a number from 0 on, {rest}", None)
            for value, rest in (
                (-1, "or a percentage from 0% to 100%, found -1"),
                ("20", 'or a percentage from 0% to 100%, found "20"'),
                ("120%", "or"),
                ("5 %", "or"),
                ("-5%", "or"),
                ("5.5%", "or"),
                ("", "or"),
                (1.0, "or"),
                (0.2, "or"),
                (True, "or"),
                ([1], "or a percentage from 0% to 100%, found a list"),
                ("${schema.spec.n}", "or"),
            )
        ),
    ],
)
def test_a_wrong_policy_is_an_error_at_its_place(
    owner: str, policy: dict[str, Any], code: str, key: str, message: str, suggestion: str | None
) -> None:
    definition, problems = parse_definition(changed(f"{owner}.policy", policy))
    assert definition is None
    (problem,) = problems
    assert (problem.code, problem.where, problem.suggestion) == (code, f"{owner}.policy.{key}", suggestion)
    assert message in problem.message


@pytest.mark.parametrize(
    ("path", "value", "where", "message"),
    [
        ("spec.policy", "Orphan", "spec.policy", "expected an object, found a string"),
        ("spec.resources[0].policy", [{}], "spec.resources[0].policy", "expected an object, found a list"),
        ("spec.resources[0].externalFields", "spec.x", "spec.resources[0].externalFields", "expected a list"),
        ("spec.resources[0].externalFields", ["a", 1], "spec.resources[0].externalFields[1]", "expected a string"),
    ],
)
def test_policies_and_external_fields_have_types(path: str, value: Any, where: str, message: str) -> None:
    _, (problem,) = parse_definition(changed(path, value))
    assert (problem.code, problem.where) == ("definition-type", where)
    assert message in problem.message


def test_no_expression_computes_a_limit_of_pruning() -> None:
    _, (problem,) = parse_definition(changed("spec.resources[0].policy.maxPrune", "${5}"))
    assert problem.message.endswith('found "${5}"; expressions are not allowed here')


def test_all_faults_of_policies_are_reported_at_once() -> None:
    wrong = {"update": "Onc", "maxPrune": "5", "delete": "Orphan"}
    obj = manifest(**{"spec.policy": wrong, "spec.resources[0].policy": wrong, "spec.resources[1].policy": 1})
    _, problems = parse_definition(obj)
    assert sorted(p.where for p in problems) == sorted(
        [f"{owner}.policy.{key}" for owner in OWNERS for key in wrong] + ["spec.resources[1].policy"]
    )


def test_policies_are_kept_as_written_without_those_that_are_null() -> None:
    written = {"deletion": '${schema.spec.on ? "Orphan" : "Delete"}', "update": "Once", "maxPrune": "20%"}
    obj = manifest(
        **{
            "spec.policy": {"conflicts": "Fail", "maxPrune": 0, "adoption": None},
            "spec.resources[0].policy": written,
            "spec.resources[0].externalFields": ["spec.x"],
        }
    )
    found = parsed(obj)
    assert found.policy == {"conflicts": "Fail", "maxPrune": 0}
    assert (found.resources[0].policy, found.resources[0].external_fields) == (written, ("spec.x",))
    assert (found.source_spec["policy"], found.source_spec["resources"]) == (
        obj["spec"]["policy"],
        obj["spec"]["resources"],
    )


@pytest.mark.parametrize("owner", OWNERS)
def test_the_hash_sees_policies_but_not_how_they_are_written(owner: str) -> None:
    def hashed(policy: Any) -> str:
        return spec_hash(changed(f"{owner}.policy", policy)["spec"])

    without = spec_hash(manifest()["spec"])
    assert hashed({}) == hashed(None) == hashed({"update": None}) == without
    one = hashed({"update": "Once", "maxPrune": 5})
    assert one == hashed({"maxPrune": 5, "update": "Once", "deletion": None})
    assert len({one, without, hashed({"update": "Once"}), hashed({"update": "Once", "maxPrune": "5%"})}) == 4


def test_the_hash_does_not_see_the_order_of_external_fields() -> None:
    def hashed(*fields: str) -> str:
        return spec_hash(changed("spec.resources[0].externalFields", list(fields))["spec"])

    assert hashed() == spec_hash(manifest()["spec"])
    assert hashed("a", "b") == hashed("b", "a") != hashed("a")


def test_older_forms_may_have_policies() -> None:
    old = {
        "apiVersion": "x.symphony.k8s.aws/v1alpha1",
        "kind": "ResourceGroup",
        "metadata": {"name": "app"},
        "spec": {
            "kind": "App",
            "apiVersion": "v1alpha1",
            "definition": {"spec": {"keep": "boolean"}},
            "policy": {"update": '${spec.keep ? "Once" : "Apply"}'},
            "resources": [
                {
                    "name": "dep",
                    "definition": {"kind": "X"},
                    "policy": {"deletion": '${spec.keep ? "Orphan" : "Delete"}', "maxPrune": 3},
                    "externalFields": ["kind"],
                }
            ],
        },
    }
    found = parsed(old)
    assert found.policy == {"update": '${schema.spec.keep ? "Once" : "Apply"}'}
    (resource,) = found.resources
    assert resource.policy == {"deletion": '${schema.spec.keep ? "Orphan" : "Delete"}', "maxPrune": 3}
    assert resource.external_fields == ("kind",)
