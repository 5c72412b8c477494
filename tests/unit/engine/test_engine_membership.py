"""Real children, and objects that only look like them: in teardown, in prune, and in the seal of applied objects."""

from dataclasses import replace

import pytest

from kroasync.engine.actions import Delete, Need, Observed
from kroasync.engine.drift import Applied, need
from kroasync.engine.membership import stranger_text
from kroasync.engine.plan import Options
from kroasync.engine.teardown import parent_of, plan_teardown
from kroasync.model import applyset, names
from kroasync.model.applyset import Inventory
from kroasync.model.kinds import SECRETS
from kroasync.model.objects import Key
from kroasync.model.seal import is_sealed, seal
from tests.samples import CONFIG_MAPS

UID = "11111111-2222-3333-4444-555555555555"
KEY = b"k" * 32
SEALED = Options(seal_key=KEY)


@pytest.fixture
def instance(instance_of):
    obj = instance_of(deletionTimestamp="2026-01-01T00:00:00Z", finalizers=[names.FINALIZER])
    parent = parent_of(obj)
    obj["metadata"]["labels"] = applyset.labels(parent)
    inventory = Inventory(group_kinds=frozenset(("ConfigMap",)), namespaces=frozenset(("second",)))
    obj["metadata"]["annotations"] = applyset.annotations(parent, inventory, version="devel")
    return obj


@pytest.fixture
def member(instance):
    def make(name="a", namespace="team", resource=CONFIG_MAPS, *, sealed=True, **given):
        key = Key(resource, namespace, name)
        found = Observed(
            key=key, uid="u", obj={"metadata": {"name": name}}, part_of=parent_of(instance).applyset_id, apply_order=1
        )
        return replace(found, **{"seal": seal(KEY, UID, key) if sealed else "", **given})

    return make


@pytest.mark.parametrize("namespace", ["team", "second", ""])
def test_a_sealed_member_is_deleted_wherever_the_inventory_says(instance, member, namespace):
    found = [member(namespace=namespace)]
    assert len(plan_teardown(instance, found, seal_key=KEY).deletes) == 1


def test_without_a_key_labels_manager_and_inventory_have_to_do(instance, member):
    assert len(plan_teardown(instance, [member(sealed=False)]).deletes) == 1
    assert plan_teardown(instance, [member(sealed=False, namespace="victim")]).deletes == ()


FORGERIES = [
    {"sealed": False},
    {"sealed": False, "deleting": True},
    {"seal": seal(KEY, UID, Key(CONFIG_MAPS, "team", "another"))},
    {"seal": seal(KEY, "another", Key(CONFIG_MAPS, "team", "a"))},
    {"seal": seal(b"x" * 32, UID, Key(CONFIG_MAPS, "team", "a"))},
]


@pytest.mark.parametrize("forged", FORGERIES)
def test_a_forged_member_is_neither_deleted_nor_waited_for_but_named(instance, member, forged):
    teardown = plan_teardown(instance, [member(**forged)], seal_key=KEY)
    assert (teardown.deletes, teardown.waiting_for) == ((), ())
    assert teardown.finalizer_removal
    assert "ConfigMap team/a" in stranger_text(teardown.strangers)


@pytest.mark.parametrize("place", [{"namespace": "victim"}, {"resource": SECRETS}])
def test_a_member_outside_of_the_inventory_is_none_even_with_a_seal(instance, member, place):
    teardown = plan_teardown(instance, [member(**place)], seal_key=KEY)
    assert teardown.deletes == ()
    assert teardown.finalizer_removal


def test_what_is_applied_is_sealed(graph_of, cluster_of, instance_of, walked, config, key_of):
    graph = graph_of(config("a", metadata={"annotations": {"kroasync.io/seal": "mine"}}))
    found = walked(graph, cluster_of(instance_of()), SEALED).desired("a")["metadata"]["annotations"]
    assert is_sealed(KEY, UID, key_of("ConfigMap", "shop-a"), found[names.ANNOTATION_SEAL])
    bare = walked(graph, cluster_of(instance_of())).desired("a")["metadata"]["annotations"]
    assert names.ANNOTATION_SEAL not in bare


def test_a_seal_somebody_takes_off_is_put_back(graph_of, cluster_of, instance_of, walked, config):
    desired = walked(graph_of(config("a")), cluster_of(instance_of()), SEALED).desired("a")
    meta = {**desired["metadata"], "annotations": {names.ANNOTATION_APPLY_ORDER: "1"}}
    assert need(Applied.of(desired, desired), desired, {**desired, "metadata": meta}) is Need.HEAL


def test_prune_deletes_what_was_sealed_and_names_the_rest(graph_of, cluster_of, instance_of, walked, config, key_of):
    both, one = graph_of(config("a"), config("b")), graph_of(config("a"))
    cluster = cluster_of(instance_of())
    walked(both, cluster, SEALED)
    copied = cluster.world.get(key_of("ConfigMap", "shop-b"))
    for name, namespace in (("forged", "team"), ("far", "victim")):
        meta = {**copied["metadata"], "name": name, "namespace": namespace}
        cluster.world.put(key_of("ConfigMap", name, namespace), {**copied, "metadata": meta})
    passed = walked(one, cluster, SEALED)
    assert [d.key.name for d in passed.actions if isinstance(d, Delete)] == ["shop-b"]
    assert [s.key.name for s in passed.outcome.strangers] == ["forged"]
    assert passed.outcome.leftovers == (key_of("ConfigMap", "shop-b"),)
    assert walked(one, cluster, SEALED).outcome.settled


def recorded(obj, kinds, namespaces, *, vouched=True):
    """The instance with these annotations, as an older version wrote them."""
    id_ = parent_of(obj).applyset_id
    hashed = applyset.inventory_hash(id_, kinds, namespaces) if vouched else "sha256:of-something-else"
    obj["metadata"]["annotations"] |= {
        names.ANNOTATION_APPLYSET_GROUP_KINDS: kinds,
        names.ANNOTATION_APPLYSET_NAMESPACES: namespaces,
        names.ANNOTATION_INVENTORY_HASH: hashed,
    }
    return obj


@pytest.mark.parametrize("key", [KEY, b""])
def test_what_we_recorded_and_cannot_read_does_not_keep_an_instance(instance, member, key):
    teardown = plan_teardown(recorded(instance, "ConfigMap", "Bob,second"), [member(namespace="second")], seal_key=key)
    assert len(teardown.deletes) == 1
    assert '"Bob"' in teardown.repair
    assert plan_teardown(recorded(instance, "ConfigMap", "Bob"), [], seal_key=key).finalizer_removal


def test_with_seals_members_are_found_where_garbled_namespaces_hide_them(instance, member):
    garbled = recorded(instance, "ConfigMap", "?", vouched=False)
    found = [member(namespace="second"), member("forged", "victim", sealed=False)]
    assert [d.key.name for d in plan_teardown(garbled, found, seal_key=KEY).deletes] == ["a"]
    assert plan_teardown(garbled, found).message.endswith('additional-namespaces annotation: "?" is not valid')


def test_garbled_kinds_still_block_a_deletion(instance):
    """Otherwise, members of the kind in that entry would be left behind."""
    assert plan_teardown(recorded(instance, "!", "", vouched=False), [], seal_key=KEY).blocked


@pytest.mark.parametrize("vouched", [True, False])
def test_a_live_instance_has_its_inventory_written_anew(
    graph_of, cluster_of, instance_of, walked, config, key_of, vouched
):
    graph = graph_of(config("a", metadata={"namespace": "${schema.spec.ns}"}), spec={"ns": "string"})
    cluster = cluster_of(instance_of({"ns": "second"}))
    walked(graph, cluster, SEALED)
    recorded(cluster.world.instance, "ConfigMap", "Bob", vouched=vouched)
    passed = walked(graph, cluster, SEALED)
    annotations = cluster.world.instance["metadata"]["annotations"]
    assert annotations[names.ANNOTATION_APPLYSET_NAMESPACES] == "second"
    assert '"Bob"' in passed.outcome.repair
    assert passed.outcome.settled
    assert walked(graph, cluster, SEALED).actions == []
