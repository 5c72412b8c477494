"""Instances that want an object of somebody else: the event that it changes owner, or goes, wakes them at once."""

import asyncio

import pytest

from kroasync.model.kinds import GRAPH_DEFINITIONS
from kroasync.model.objects import Key, Obj, Resource
from tests.fakes import virtual
from tests.samples import CONFIG_MAPS, config_map, definition
from tests.simulation.cluster import Cluster

KIND = Resource("kro.run", "v1alpha1", "SameObj", "sameobjs")
TARGET = Key(CONFIG_MAPS, "default", "shared")
DEFINITION = definition(
    "SameObj",
    [
        {
            "id": "one",
            "template": config_map("${schema.spec.target}", data={"who": "${schema.metadata.name}"}),
        }
    ],
    spec={"target": "string"},
)
HOUR_S = 3600.0


def instance(name: str) -> Key:
    return Key(KIND, "default", name)


async def make(cluster: Cluster, *names: str, target: str = "shared") -> None:
    for name in names:
        obj = {"metadata": {"name": name, "namespace": "default"}, "spec": {"target": target}}
        await cluster.user.create(instance(name), obj)
        await asyncio.sleep(2)


async def start() -> Cluster:
    cluster = Cluster()
    await cluster.user.create(Key(GRAPH_DEFINITIONS, "", "sameobj"), DEFINITION)
    await asyncio.sleep(5)
    return cluster


def state(cluster: Cluster, name: str) -> str:
    stored = cluster.server.stored(KIND, "default", name)
    return str((stored.obj.get("status") or {}).get("state", "")) if stored is not None else ""


def test_the_loser_of_a_name_gets_the_object_as_soon_as_the_winner_has_gone() -> None:
    async def main() -> None:
        cluster = await start()
        await make(cluster, "first", "second", "third")
        assert [state(cluster, name) for name in ("first", "second", "third")] == ["ACTIVE", "ERROR", "ERROR"]
        await asyncio.sleep(HOUR_S)
        before = cluster.network.requests
        await asyncio.sleep(900)
        # It is known to belong to the other one: nobody asks.
        assert cluster.network.requests - before <= 40
        await cluster.user.delete(instance("first"))
        took_s = await cluster.until(lambda: "ACTIVE" in (state(cluster, "second"), state(cluster, "third")), 5)
        assert took_s < 1
        await cluster.until(lambda: sorted(state(cluster, n) for n in ("second", "third")) == ["ACTIVE", "ERROR"], 5)
        await cluster.stop()

    virtual.run(main())


HELM = {"labels": {"app.kubernetes.io/managed-by": "Helm"}}
OWNER = {"apiVersion": "v1", "kind": "ConfigMap", "name": "o", "uid": "u", "controller": True}


@pytest.mark.parametrize(
    ("meta", "freed"),
    [
        pytest.param(HELM, {"labels": {"app.kubernetes.io/managed-by": None}}, id="of Helm, unlabelled"),
        pytest.param(HELM, None, id="of Helm, deleted"),
        pytest.param({"ownerReferences": [OWNER]}, {"ownerReferences": None}, id="of a controller, released"),
        pytest.param(
            {"labels": {"applyset.kubernetes.io/part-of": "applyset-x-v1"}},
            {"labels": {"applyset.kubernetes.io/part-of": None}},
            id="of the ApplySet of another tool",
        ),
    ],
)
def test_an_object_of_somebody_else_is_adopted_as_soon_as_it_is_free(meta: Obj, freed: Obj | None) -> None:
    async def main() -> None:
        cluster = await start()
        await cluster.user.create(TARGET, config_map("shared", "default", {"who": "them"}, **meta))
        await make(cluster, "one")
        assert state(cluster, "one") == "ERROR"
        await asyncio.sleep(HOUR_S)
        watches, before = len(list(cluster.runtime.watch_states())), cluster.network.requests
        for turn in range(20):
            patch: Obj = {"data": {"who": str(turn)}, "metadata": {"annotations": {"turn": str(turn)}}}
            await cluster.user.merge_patch(TARGET, patch, manager="them")
            await asyncio.sleep(1)
        # What happens to it otherwise wakes nobody.
        assert cluster.network.requests - before <= 3
        if freed is None:
            await cluster.user.delete(TARGET)
        else:
            await cluster.user.merge_patch(TARGET, {"metadata": freed}, manager="them")
        assert await cluster.until(lambda: state(cluster, "one") == "ACTIVE", 5) < 1
        await asyncio.sleep(1)
        assert len(list(cluster.runtime.watch_states())) == watches - 1
        await cluster.stop()

    virtual.run(main())


def test_an_instance_that_goes_waits_for_nothing_any_more() -> None:
    async def main() -> None:
        cluster = await start()
        watches = len(list(cluster.runtime.watch_states()))
        await cluster.user.create(TARGET, config_map("shared", "default", {"who": "them"}, **HELM))
        await make(cluster, "one")
        assert len(list(cluster.runtime.watch_states())) == watches + 1
        await cluster.user.delete(instance("one"))
        await cluster.until(lambda: state(cluster, "one") == "", 5)
        await asyncio.sleep(1)
        assert len(list(cluster.runtime.watch_states())) == watches
        await cluster.stop()

    virtual.run(main())
