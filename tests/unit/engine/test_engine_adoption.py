"""The owner of an object that existed before: its controller, or a tool that marked it."""

import hashlib
from typing import Any

import pytest

from kroasync.engine.actions import Refusal
from kroasync.engine.adoption import claimed_by, fields_of, joining, objection, unshared
from kroasync.engine.labels import label_value
from kroasync.model.objects import Obj
from kroasync.model.policies import Adoption

ME = "uid-of-the-instance"
MINE = {
    "kro.run/instance-id": ME,
    "kro.run/instance-name": "shop",
    "kro.run/instance-namespace": "prod",
    "kro.run/instance-group": "example.com",
    "kro.run/instance-kind": "Shop",
}


def live(**meta: Any) -> Obj:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a", **meta}}


def owner(**more: Any) -> Obj:
    return {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web", "uid": "u", **more}


@pytest.mark.parametrize(
    ("meta", "who"),
    [
        ({"ownerReferences": [owner(), owner(controller=True)]}, 'Deployment "web", its controller'),
        ({"labels": {"app.kubernetes.io/managed-by": "Helm"}}, "Helm"),
        ({"annotations": {"meta.helm.sh/release-name": "shop"}}, 'Helm release "shop"'),
        ({"annotations": {"argocd.argoproj.io/tracking-id": "shop:/x"}}, 'Argo CD application "shop:/x"'),
        ({"labels": {"argocd.argoproj.io/instance": "shop"}}, 'Argo CD application "shop"'),
        ({"labels": {"kustomize.toolkit.fluxcd.io/name": "shop"}}, 'Flux Kustomization "shop"'),
        ({"labels": {"helm.toolkit.fluxcd.io/name": "shop"}}, 'Flux HelmRelease "shop"'),
        ({"labels": {"kapp.k14s.io/app": "1"}}, 'kapp application "1"'),
        ({"labels": {"objectset.rio.cattle.io/hash": "1"}}, 'Rancher object set "1"'),
        ({"annotations": {"config.k8s.io/owning-inventory": "shop"}}, 'inventory "shop"'),
        ({"labels": {"kro.run/instance-id": "u2"}}, 'instance "" (u2)'),
        ({"labels": {**MINE, "kro.run/instance-id": "u2", "kro.run/instance-name": "b"}}, 'instance "b" (u2)'),
        ({"labels": {**MINE, "kro.run/instance-id": "u2", "kro.run/instance-namespace": "b"}}, 'instance "shop" (u2)'),
    ],
)
def test_who_says_that_an_object_is_theirs_is_named(meta: Obj, who: str) -> None:
    assert claimed_by(live(**meta), live(labels=MINE)) == who


def test_an_instance_with_a_long_name_that_was_created_again_is_known_by_both_forms_of_its_label() -> None:
    name = "n" * 80
    declared = live(
        labels={**MINE, "kro.run/instance-name": label_value(name)},
        annotations={"internal.kro.run/instance-name": name},
    )
    before = {**MINE, "kro.run/instance-id": "before"}
    former = f"{'n' * 52}-{hashlib.sha256(name.encode()).hexdigest()[:10]}"
    for value in (label_value(name), former):
        assert claimed_by(live(labels={**before, "kro.run/instance-name": value}), declared) is None
    assert claimed_by(live(labels={**before, "kro.run/instance-name": label_value("m" * 80)}), declared)


@pytest.mark.parametrize(
    "meta",
    [
        {},
        {"ownerReferences": [owner(), owner(controller=False)]},
        {"ownerReferences": [owner(controller=True, uid=ME)]},
        {"labels": {"app.kubernetes.io/instance": "shop", "app.kubernetes.io/managed-by": "kro", "team": "x"}},
        {"annotations": {"kubectl.kubernetes.io/last-applied-configuration": "{}"}},
        {"labels": MINE},
        {"labels": {**MINE, "kro.run/instance-id": "before-it-was-created-again"}},
    ],
)
def test_what_nobody_says_to_be_theirs_may_be_taken_over(meta: Obj) -> None:
    assert claimed_by(live(**meta), live(labels=MINE)) is None


# The policies

PART_OF = "applyset.kubernetes.io/part-of"
DECLARED = live(
    labels={**MINE, PART_OF: "set-1", "app.kubernetes.io/managed-by": "kro", "team": "x"},
    annotations={"kroasync.io/seal": "v1-a", "kro.run/deletion-policy": "Orphaned", "note": "x"},
)
OURS = [{"manager": "kro.run/applyset", "operation": "Apply"}]


@pytest.mark.parametrize("policy", list(Adoption))
@pytest.mark.parametrize(
    ("meta", "refusal", "text"),
    [
        ({"labels": {PART_OF: "set-2"}, "managedFields": OURS}, Refusal.FOREIGN, "set-2"),
        ({"labels": {"kro.run/instance-id": "u2"}}, Refusal.CLAIMED, 'belongs to instance "" (u2)'),
    ],
)
def test_what_another_instance_has_is_adopted_by_no_policy(
    policy: Adoption, meta: Obj, refusal: Refusal, text: str
) -> None:
    found = objection(policy, live(**meta), DECLARED)
    assert found is not None
    assert (found.refusal, found.text) == (refusal, text)


@pytest.mark.parametrize(
    "meta",
    [
        {"labels": {"app.kubernetes.io/managed-by": "Helm"}},
        {"annotations": {"argocd.argoproj.io/tracking-id": "shop:/x"}},
        {"ownerReferences": [owner(controller=True)]},
    ],
)
def test_only_always_takes_what_somebody_claims(meta: Obj) -> None:
    allowed = [policy for policy in Adoption if objection(policy, live(**meta), DECLARED) is None]
    assert allowed == [Adoption.ALWAYS]


def test_never_takes_nothing_and_names_who_has_it() -> None:
    managed = [{"manager": "b"}, {"manager": "a"}, {"manager": "c", "subresource": "status"}]
    for meta, text in (
        ({"managedFields": managed}, "is managed by a, b, and its policy is adoption: Never"),
        ({}, "is not a resource of this instance, and its policy is adoption: Never"),
    ):
        found = objection(Adoption.NEVER, live(**meta), DECLARED)
        assert found is not None
        assert found.text == text


@pytest.mark.parametrize("policy", list(Adoption))
def test_a_child_needs_no_adoption_but_copied_labels_make_no_child(policy: Adoption) -> None:
    child = live(labels={PART_OF: "set-1"}, managedFields=OURS)
    assert objection(policy, child, DECLARED) is None
    copied = live(labels={PART_OF: "set-1"}, managedFields=[{"manager": "kubectl"}])
    assert (objection(policy, copied, DECLARED) is None) is (policy is not Adoption.NEVER)


def test_what_joins_an_instance_gets_the_marks_of_its_members_and_nothing_of_the_template() -> None:
    found = live(uid="u", resourceVersion="7", labels={"team": "theirs"}, managedFields=OURS)
    assert joining(found, DECLARED) == {
        "metadata": {
            "uid": "u",
            "resourceVersion": "7",
            "labels": {**MINE, PART_OF: "set-1", "app.kubernetes.io/managed-by": "kro"},
            "annotations": {"kroasync.io/seal": "v1-a", "kro.run/deletion-policy": "Orphaned"},
        }
    }


def test_a_sealed_child_does_not_join_again() -> None:
    seal = {"annotations": {"kroasync.io/seal": "v1-a"}}
    assert joining(live(labels={PART_OF: "set-1"}, managedFields=OURS, **seal), DECLARED) is None
    assert joining(live(labels={PART_OF: "set-1"}, managedFields=OURS), DECLARED) is not None
    # Released before: it still has all our fields.
    assert joining(live(managedFields=OURS, **seal), DECLARED) is not None


# IfUnowned


def owned(manager: str, fields: Obj, **more: Any) -> Obj:
    return {"manager": manager, "operation": "Update", "fieldsV1": fields, **more}


SCALED = {"f:spec": {"f:replicas": {}}}
WEB: Obj = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"}}


@pytest.mark.parametrize(
    ("entry", "replicas", "is_held"),
    [
        (owned("hpa", SCALED), 2, True),
        (owned("hpa", SCALED), 5, False),
        (owned("hpa", SCALED, subresource="scale"), 2, True),
        (owned("hpa", SCALED, subresource="status"), 2, False),
        (owned("kro.run/applyset", SCALED), 2, False),
        (owned("hpa", {"f:spec": {"f:paused": {}}}), 2, False),
    ],
)
def test_if_unowned_refuses_fields_that_others_have_with_other_values(entry: Obj, replicas: int, is_held: bool) -> None:
    found = {**WEB, "metadata": {"name": "web", "managedFields": [entry]}, "spec": {"replicas": replicas}}
    declared = {**WEB, "spec": {"replicas": 5}}
    held = objection(Adoption.IF_UNOWNED, found, declared)
    assert (held is not None) is is_held
    if held is not None:
        assert held.refusal is Refusal.MANAGED
        assert '.spec.replicas is 2 by manager "hpa", declared is 5' in held.text
    assert objection(Adoption.IF_UNCLAIMED, found, declared) is None
    assert objection(Adoption.IF_UNOWNED, found, unshared(found, declared, (("spec", "replicas"),))) is None


def test_what_lets_a_conflict_go_is_seen_and_what_does_not_is_not() -> None:
    def version(number: int, entry: Obj, replicas: int, **more: Any) -> str:
        meta = {"name": "web", "resourceVersion": str(number), "generation": number, "managedFields": [entry]}
        return fields_of({**WEB, "metadata": meta, "spec": {"replicas": replicas}, **more})

    before = version(1, owned("hpa", SCALED, time="then"), 2)
    assert version(2, owned("hpa", SCALED, time="now"), 2, status={"replicas": 2}) == before
    assert version(2, owned("hpa", SCALED), 5) != before
    assert version(2, owned("hpa", {}), 2) != before
    assert version(2, owned("kubectl", SCALED), 2) != before


def test_an_object_that_is_nested_too_deeply_changes_with_every_version() -> None:
    deep: Any = 1
    for _ in range(2000):
        deep = [deep]
    assert fields_of({**live(resourceVersion="7"), "spec": deep}) == "7"


@pytest.mark.parametrize("policy", list(Adoption))
@pytest.mark.parametrize("odd", [None, "text", {"a": 1}, ["text", 1, None], [{"manager": None, "fieldsV1": 3}]])
def test_odd_metadata_of_a_file_is_no_owner(policy: Adoption, odd: Any) -> None:
    found = live(managedFields=odd, ownerReferences=odd)
    assert (objection(policy, found, DECLARED) is None) is (policy is not Adoption.NEVER)
    assert fields_of(found)
