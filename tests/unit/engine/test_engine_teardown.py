"""Deletion, only from the data that the children store."""

from dataclasses import replace

import pytest

from kroasync.engine.actions import Done, Observed, Refusal, Refused
from kroasync.engine.outcome import Retry
from kroasync.engine.teardown import after, blocked, parent_of, plan_teardown
from kroasync.model import applyset, names
from kroasync.model.applyset import Inventory
from kroasync.model.objects import Key
from tests.samples import CONFIG_MAPS

UID = "11111111-2222-3333-4444-555555555555"


@pytest.fixture
def instance(instance_of):
    obj = instance_of(deletionTimestamp="2026-01-01T00:00:00Z", finalizers=["other/one", names.FINALIZER])
    parent = parent_of(obj)
    meta = obj["metadata"]
    meta["labels"] = applyset.labels(parent)
    inventory = Inventory(group_kinds=frozenset(("ConfigMap",)))
    meta["annotations"] = applyset.annotations(parent, inventory, version="devel")
    return obj


@pytest.fixture
def member(instance):
    def make(name, order, **rest):
        obj = {"metadata": {"name": name, **rest.pop("metadata", {})}}
        given = {"part_of": parent_of(instance).applyset_id, **rest}
        return Observed(
            key=Key(CONFIG_MAPS, "team", name), uid=f"uid-{name}", obj=obj, apply_order=order, node=name, **given
        )

    return make


def deleted(teardown):
    return [(d.key.name, d.uid) for d in teardown.deletes]


def test_the_highest_wave_goes_first_and_the_next_when_it_is_gone(instance, member):
    members = [member("a", 1), member("b", 2), member("c", 3), member("d", 3)]
    first = plan_teardown(instance, members)
    assert deleted(first) == [("c", "uid-c"), ("d", "uid-d")]
    assert first.message == "deleting apply-order wave 3"
    assert first.retry is Retry.EVENT
    assert not first.finalizer_removal
    members[2] = replace(members[2], deleting=True)
    second = plan_teardown(instance, members[:3])
    assert second.deletes == ()
    assert [m.key.name for m in second.waiting_for] == ["c"]
    assert deleted(plan_teardown(instance, members[:2])) == [("b", "uid-b")]


@pytest.mark.parametrize("order", [0, -3])
def test_members_without_a_usable_order_go_last(instance, member, order):
    assert deleted(plan_teardown(instance, [member("a", order), member("b", 1)])) == [("b", "uid-b")]
    assert deleted(plan_teardown(instance, [member("a", order), member("z", 0)])) == [
        ("a", "uid-a"),
        ("z", "uid-z"),
    ]


def test_whoever_blocks_is_named_with_its_finalizers(instance, member):
    held = member("a", 1, deleting=True, metadata={"finalizers": ["x/y", "z"]})
    teardown = plan_teardown(instance, [held])
    assert teardown.message == ("deleting apply-order wave 1: waiting for ConfigMap team/a (finalizers: x/y, z)")
    many = [member(f"m{i}", 1, deleting=True, metadata={"finalizers": ["f"]}) for i in range(8)]
    assert plan_teardown(instance, many).message.endswith(" and 3 more")


@pytest.mark.parametrize("change", [{"ours": False}, {"part_of": "applyset-other-v1"}, {"part_of": ""}])
def test_what_is_not_ours_neither_goes_nor_holds_the_instance(instance, member, change):
    teardown = plan_teardown(instance, [member("a", 1, **change)])
    assert teardown.deletes == ()
    assert teardown.remove_finalizers == (names.FINALIZER,)


def test_our_finalizers_go_when_nothing_is_left(instance):
    legacy = f"{UID}.kro.run/finalizer"
    instance["metadata"]["finalizers"] = ["other/one", legacy, names.FINALIZER, "x.kro.run/finalizer"]
    teardown = plan_teardown(instance, [])
    assert teardown.remove_finalizers == (legacy, names.FINALIZER)
    assert teardown.finalizer_removal
    assert teardown.retry is Retry.NONE


def test_an_instance_of_early_kro_has_no_inventory_and_is_let_go(instance_of):
    legacy = f"{UID}.kro.run/finalizer"
    assert plan_teardown(instance_of(finalizers=[legacy]), []).remove_finalizers == (legacy,)


def test_an_instance_without_our_finalizers_needs_nothing(instance_of):
    teardown = plan_teardown(instance_of(finalizers=["other/one"]), [])
    assert (teardown.deletes, teardown.remove_finalizers, teardown.blocked) == ((), (), False)


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (lambda m: m["labels"].clear(), 'invalid applyset.kubernetes.io/id label: got "", want "applyset-'),
        (
            lambda m: m["annotations"].update({"applyset.kubernetes.io/tooling": "kubectl/1"}),
            'invalid applyset.kubernetes.io/tooling annotation: "kubectl/1" is not owned by kro',
        ),
        (
            lambda m: m["annotations"].pop("applyset.kubernetes.io/tooling"),
            "missing required applyset.kubernetes.io/tooling annotation",
        ),
        (
            lambda m: m["annotations"].pop("applyset.kubernetes.io/contains-group-kinds"),
            "missing required applyset.kubernetes.io/contains-group-kinds annotation",
        ),
        (
            lambda m: m["annotations"].update({"applyset.kubernetes.io/contains-group-kinds": "Secret"}),
            "invalid internal.kro.run/applyset-inventory-hash annotation",
        ),
    ],
)
def test_an_inventory_that_cannot_be_trusted_blocks_the_deletion(instance, member, change, text):
    change(instance["metadata"])
    teardown = plan_teardown(instance, [member("a", 1)])
    assert teardown.blocked
    assert teardown.deletes == ()
    assert not teardown.finalizer_removal
    assert teardown.message.startswith(f"deletion blocked: validate deletion inventory: {text}")
    assert teardown.retry is Retry.BACKOFF


def test_refused_deletes_show_in_the_message(instance, member):
    teardown = plan_teardown(instance, [member("a", 1), member("b", 1)])
    first, second = teardown.deletes
    assert after(teardown, [Done(action=first), Done(action=second)]) is teardown
    gone = Refused(action=first, refusal=Refusal.MISSING, message="not found")
    assert after(teardown, [gone, Done(action=second)]) is teardown
    conflict = after(teardown, [Refused(action=first, refusal=Refusal.CONFLICT, message="uid")])
    assert conflict.message == "deletion blocked: deletion encountered UID conflicts; retrying"
    assert conflict.retry is Retry.BACKOFF
    denied = after(teardown, [Refused(action=second, refusal=Refusal.FORBIDDEN, message="no")])
    assert denied.message == "deletion blocked: delete ConfigMap team/b: no"
    assert denied.blocked


def test_a_listing_that_failed_blocks():
    assert blocked("list deletion inventory: timeout").message == ("deletion blocked: list deletion inventory: timeout")


def test_cluster_scoped_instances_have_a_parent_without_namespace(instance_of):
    assert parent_of(instance_of(namespace=None)).namespace == ""


def test_an_orphan_is_released_in_its_wave_and_holds_nothing_up(instance, member):
    held = member("held", 2, orphaned=True, deleting=True, metadata={"finalizers": ["x/y"]})
    members = [member("a", 1, orphaned=True), member("b", 2), held]
    first = plan_teardown(instance, members)
    assert [(type(action).__name__, action.key.name) for action in first.deletes] == [
        ("Delete", "b"),
        ("Release", "held"),
    ]
    assert first.waiting_for == ()
    second = plan_teardown(instance, members[:1])
    assert [(type(action).__name__, action.key.name) for action in second.deletes] == [("Release", "a")]
    assert not second.finalizer_removal


def test_a_refused_release_is_named_as_one(instance, member):
    teardown = plan_teardown(instance, [member("a", 1, orphaned=True)])
    (action,) = teardown.deletes
    refused = after(teardown, [Refused(action=action, refusal=Refusal.FORBIDDEN, message="no")])
    assert refused.message == "deletion blocked: release ConfigMap team/a: no"
    conflict = after(teardown, [Refused(action=action, refusal=Refusal.CONFLICT, message="changed")])
    assert (conflict.blocked, conflict.retry) == (False, Retry.BACKOFF)


def test_a_stranger_with_the_policy_stays_as_it_is(instance, member):
    stranger = member("a", 1, orphaned=True)
    teardown = plan_teardown(instance, [stranger], seal_key=b"key")
    assert (teardown.deletes, teardown.strangers) == ((), (stranger,))
