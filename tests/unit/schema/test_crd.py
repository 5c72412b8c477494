"""The generated CRD, and the update of a live CRD to it."""

import copy
from typing import Any

import pytest

from kroasync.model.definition import Definition
from kroasync.schema import crd

OWNER = {
    "kro.run/owned": "true",
    "kro.run/resource-graph-definition-name": "app",
    "kro.run/resource-graph-definition-id": "u1",
}
SPEC = {"type": "object", "properties": {"name": {"type": "string"}}}


def definition(**changes: Any) -> Definition:
    fields: dict[str, Any] = {
        "api_kind": "ResourceGraphDefinition",
        "name": "app",
        "kind": "NetworkPolicy",
        "api_version": "v1alpha1",
    }
    return Definition(**{**fields, **changes})


def build(spec: Any = SPEC, status: Any = None, **changes: Any) -> dict[str, Any]:
    return crd.build_crd(definition(**changes), spec, status or {}, owner_labels=OWNER)


def live(obj: dict[str, Any]) -> dict[str, Any]:
    """The CRD that the API server returns for a CRD."""
    found = copy.deepcopy(obj)
    found["metadata"] |= {"uid": "x", "resourceVersion": "5", "generation": 1}
    found["spec"]["conversion"] = {"strategy": "None"}
    for column in found["spec"]["versions"][0]["additionalPrinterColumns"]:
        if column.get("priority") == 0:
            del column["priority"]
    found["status"] = {"conditions": []}
    return found


def test_a_crd_has_one_served_version_and_the_built_in_schema() -> None:
    assert build() == {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": "networkpolicies.kro.run", "labels": OWNER},
        "spec": {
            "group": "kro.run",
            "names": {
                "kind": "NetworkPolicy",
                "listKind": "NetworkPolicyList",
                "plural": "networkpolicies",
                "singular": "networkpolicy",
            },
            "scope": "Namespaced",
            "versions": [
                {
                    "name": "v1alpha1",
                    "served": True,
                    "storage": True,
                    "subresources": {"status": {}},
                    "schema": {
                        "openAPIV3Schema": {
                            "type": "object",
                            "properties": {
                                "apiVersion": {"type": "string"},
                                "kind": {"type": "string"},
                                "metadata": {"type": "object"},
                                "spec": SPEC,
                                "status": crd.status_schema({}),
                            },
                        }
                    },
                    "additionalPrinterColumns": [
                        {
                            "name": "State",
                            "type": "string",
                            "jsonPath": ".status.state",
                            "description": "The state of a ResourceGraphDefinition instance",
                        },
                        {
                            "name": "Ready",
                            "type": "string",
                            "jsonPath": '.status.conditions[?(@.type=="Ready")].status',
                            "description": "Whether a ResourceGraphDefinition instance is ready",
                        },
                        {
                            "name": "Age",
                            "type": "date",
                            "jsonPath": ".metadata.creationTimestamp",
                            "description": "Age of the resource",
                        },
                    ],
                }
            ],
        },
    }


def test_a_resource_group_shows_status_synced_and_age() -> None:
    columns = build(api_kind="ResourceGroup")["spec"]["versions"][0]["additionalPrinterColumns"]
    assert [(c["name"], c["type"], c["jsonPath"]) for c in columns] == [
        ("Status", "string", ".status.state"),
        ("Synced", "boolean", ".status.synced"),
        ("Age", "date", ".metadata.creationTimestamp"),
    ]


def test_author_columns_replace_all_default_ones() -> None:
    column = {"name": "N", "type": "string", "jsonPath": ".spec.name", "priority": 0}
    found = build(printer_columns=(column,))
    assert found["spec"]["versions"][0]["additionalPrinterColumns"] == [column]


def test_names_scope_and_metadata_come_from_the_definition() -> None:
    found = build(
        group="x.io",
        scope="Cluster",
        short_names=("np",),
        categories=("all",),
        metadata_labels={"a": "b", "kro.run/owned": "false"},
        metadata_annotations={"c": "d"},
    )
    assert found["metadata"] == {
        "name": "networkpolicies.x.io",
        "labels": {"a": "b", **OWNER},
        "annotations": {"c": "d"},
    }
    assert (found["spec"]["group"], found["spec"]["scope"]) == ("x.io", "Cluster")
    assert (found["spec"]["names"]["shortNames"], found["spec"]["names"]["categories"]) == (["np"], ["all"])


def test_author_status_wins_for_phase_but_never_for_state_and_conditions() -> None:
    author = {
        "type": "object",
        "properties": {n: {"type": "integer"} for n in ("phase", "state", "conditions", "ip")},
    }
    properties = crd.status_schema(author)["properties"]
    assert properties["phase"] == {"type": "integer"}
    assert properties["ip"] == {"type": "integer"}
    assert properties["state"] == {"type": "string"}
    assert properties["conditions"]["type"] == "array"
    assert properties["synced"] == {"type": "boolean"}
    assert properties["observedGeneration"] == {"type": "integer"}


def test_the_plural_of_the_author_names_the_crd() -> None:
    found = build(kind="PodInfo", plural="podinfos", group="example.com")
    assert found["metadata"]["name"] == crd.crd_name(definition(kind="PodInfo", plural="podinfos", group="example.com"))
    assert found["metadata"]["name"] == "podinfos.example.com"
    expected = {"kind": "PodInfo", "listKind": "PodInfoList", "plural": "podinfos", "singular": "podinfo"}
    assert found["spec"]["names"] == expected
    assert build(kind="PodInfo")["spec"]["names"]["plural"] == "podinfoes"


def test_rules_for_names_are_the_only_properties_of_the_metadata() -> None:
    def metadata(**changes: Any) -> Any:
        return build(**changes)["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["metadata"]

    assert metadata() == {"type": "object"}
    name = {"type": "string", "minLength": 3, "pattern": "^[a-z]+$"}
    expected = {"type": "object", "properties": {"name": name}}
    assert metadata(name_validation='minLength=3 pattern="^[a-z]+$"') == expected
    assert metadata(name_validation="minLength=x") == {"type": "object"}


@pytest.mark.parametrize("gate", [False, True])
def test_printer_columns_are_updated_whatever_is_compared(gate: bool) -> None:
    column = {"name": "Name", "type": "string", "jsonPath": ".spec.name"}
    found = crd.ensure_crd_patch(live(build()), build(printer_columns=(column,)), conservative=gate)
    assert isinstance(found, crd.Patch)
    assert found.patch["spec"]["versions"][0]["additionalPrinterColumns"] == [column]
    assert [change.type.value for change in found.report.changes] == ["ADDITIONAL_PRINTER_COLUMNS_CHANGED"]


def test_a_format_breaks_only_conservatively_and_not_against_the_annotation() -> None:
    existing, desired = (
        live(build()),
        build({"type": "object", "properties": {"name": {"type": "string", "format": "date"}}}),
    )
    assert isinstance(crd.ensure_crd_patch(existing, desired), crd.Patch)
    assert isinstance(crd.ensure_crd_patch(existing, desired, conservative=True), crd.Breaking)
    found = crd.ensure_crd_patch(existing, desired, conservative=True, allow_breaking=True)
    assert isinstance(found, crd.Patch)


def test_instance_resource_follows_the_crd() -> None:
    found = crd.instance_resource(definition(scope="Cluster"))
    assert (str(found), found.namespaced) == ("kro.run/v1alpha1, Resource=networkpolicies", False)


def test_a_missing_crd_is_created() -> None:
    assert crd.ensure_crd_patch(None, build()) == crd.Create(crd=build())


def test_a_live_crd_that_has_everything_is_left_alone() -> None:
    desired = build(printer_columns=({"name": "N", "type": "string", "jsonPath": ".a", "priority": 0},))
    assert crd.ensure_crd_patch(live(desired), desired) == crd.Unchanged()


@pytest.mark.parametrize(
    "changes",
    [
        {"short_names": ("np",)},
        {"metadata_labels": {"a": "b"}},
        {"metadata_annotations": {"a": "b"}},
        {"printer_columns": ({"name": "N", "type": "string", "jsonPath": ".a"},)},
        {"spec": {**SPEC, "x-kubernetes-validations": [{"rule": "true"}]}},
        {"spec": {**SPEC, "default": {}}},
    ],
)
def test_any_desired_difference_is_patched(changes: dict[str, Any]) -> None:
    outcome = crd.ensure_crd_patch(live(build()), build(**changes))
    assert isinstance(outcome, crd.Patch)
    assert not outcome.adopted


def test_the_patch_replaces_versions_and_clears_names() -> None:
    outcome = crd.ensure_crd_patch(live(build(short_names=("np",))), build())
    assert isinstance(outcome, crd.Patch)
    assert outcome.patch == {
        "metadata": {"labels": OWNER},
        "spec": {
            "group": "kro.run",
            "names": {**build()["spec"]["names"], "shortNames": None, "categories": None},
            "scope": "Namespaced",
            "versions": build()["spec"]["versions"],
        },
    }


def test_labels_of_others_on_the_live_crd_are_no_difference() -> None:
    found = live(build())
    found["metadata"]["labels"]["team"] = "x"
    assert crd.ensure_crd_patch(found, build()) == crd.Unchanged()


def with_labels(labels: dict[str, str] | None) -> dict[str, Any]:
    found = live(build())
    found["metadata"]["labels"] = labels
    return found


@pytest.mark.parametrize(
    "labels",
    [None, {}, {"kro.run/owned": "TRUE"}, {"kro.run/owned": "", "app.kubernetes.io/managed-by": "kro"}],
)
def test_a_foreign_crd_is_not_touched(labels: dict[str, str] | None) -> None:
    outcome = crd.ensure_crd_patch(with_labels(labels), build())
    assert isinstance(outcome, crd.NotOwned)
    assert outcome.message == (
        "failed to update CRD networkpolicies.kro.run: CRD already exists and is not owned by KRO"
    )


def test_a_crd_of_another_definition_is_not_touched() -> None:
    labels = {**OWNER, "kro.run/resource-graph-definition-name": "other"}
    outcome = crd.ensure_crd_patch(with_labels(labels), build(), allow_breaking=True)
    assert isinstance(outcome, crd.OwnedByOther)
    assert outcome.message == (
        "failed to update CRD networkpolicies.kro.run: CRD is owned by another ResourceGraphDefinition other"
    )


@pytest.mark.parametrize(
    "labels",
    [{**OWNER, "kro.run/resource-graph-definition-id": "u0"}, {"app.kubernetes.io/managed-by": "kro"}],
)
def test_the_crd_of_an_earlier_definition_is_adopted(labels: dict[str, str]) -> None:
    outcome = crd.ensure_crd_patch(with_labels(labels), build())
    assert isinstance(outcome, crd.Patch)
    assert outcome.adopted


def test_breaking_changes_need_the_authors_consent() -> None:
    desired = build(spec={"type": "object"})
    outcome = crd.ensure_crd_patch(live(build()), desired)
    assert isinstance(outcome, crd.Breaking)
    assert outcome.message == (
        "cannot update CRD networkpolicies.kro.run: breaking changes detected: Property name was removed"
    )
    allowed = crd.ensure_crd_patch(live(build()), desired, allow_breaking=True)
    assert isinstance(allowed, crd.Patch)
    assert allowed.report.has_breaking_changes


def test_a_crd_with_two_versions_cannot_be_compared() -> None:
    found = live(build())
    found["spec"]["versions"] *= 2
    outcome = crd.ensure_crd_patch(found, build())
    assert isinstance(outcome, crd.Incomparable)
    assert "got 2 old and 1 new versions" in outcome.message
