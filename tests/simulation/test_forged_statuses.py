"""Somebody else writes the statuses of definitions and instances: the controller restores them, but never in a loop."""

import asyncio
from typing import Any

import pytest

from kroasync.model.kinds import EVENTS, REVISIONS
from kroasync.model.objects import Key, Obj, is_older, version_of
from tests.fakes import virtual
from tests.fakes.kube import StatusError, Write
from tests.simulation.cluster import ONE, Cluster
from tests.simulation.family import Node, Shape, definition_key, instance_key, manifest

INSTANCE = instance_key(0, 0)
DEFINITION = definition_key(0)
TWO = Shape(nodes=(*ONE.nodes, Node(id="c")))
HOUR_S = 3600.0


def stored(cluster: Cluster, key: Key) -> Obj:
    found = cluster.server.stored(key.resource, key.namespace, key.name)
    return found.obj if found is not None else {}


def status(cluster: Cluster, key: Key) -> Any:
    return stored(cluster, key).get("status")


def condition(cluster: Cluster, key: Key, type_: str) -> tuple[str, str, str]:
    conditions = (status(cluster, key) or {}).get("conditions") or ()
    found = next((c for c in conditions if c["type"] == type_), {})
    return found.get("status", ""), found.get("reason", ""), found.get("message", "")


async def forge(cluster: Cluster, key: Key, forged: Any, *, manager: str = "kubectl-edit") -> None:
    await cluster.user.merge_patch(key, {"status": forged}, manager=manager, subresource="status")


async def change(cluster: Cluster, key: Key, patch: Obj) -> None:
    await cluster.user.merge_patch(key, patch, manager="kubectl")


async def at_rest(cluster: Cluster) -> None:
    await cluster.define(0)
    await cluster.make(0, 0)
    await cluster.until(lambda: cluster.active(0) == 1, 10)
    await cluster.until(lambda: condition(cluster, DEFINITION, "Ready")[0] == "True", 10)
    await asyncio.sleep(5)


FORGED: list[Any] = [
    {"state": "FAILED"},
    {"state": None},
    {"conditions": []},
    {"conditions": None, "state": None},
    None,
    {
        "conditions": [
            {"type": "Ready", "status": "True", "message": "all is well", "lastTransitionTime": "2099-01-01T00:00:00Z"}
        ]
    },
]


@pytest.mark.parametrize("manager", ["kubectl-edit", "kro.run/status"])
@pytest.mark.parametrize("key", [INSTANCE, DEFINITION], ids=["instance", "definition"])
@pytest.mark.parametrize("forged", FORGED)
def test_a_forged_status_is_put_back_by_its_event_as_it_was(key: Key, forged: Any, manager: str) -> None:
    """Even the times of transitions are restored, in one write; in the next hour, there are no other requests."""

    async def main() -> None:
        cluster = Cluster()
        await at_rest(cluster)
        before, requests = status(cluster, key), cluster.network.requests
        await forge(cluster, key, forged, manager=manager)
        assert status(cluster, key) != before
        took_s = await cluster.until(lambda: status(cluster, key) == before, 2)
        assert took_s < 1
        await asyncio.sleep(60)
        # The pass over a definition also reads its CRD.
        assert cluster.network.requests - requests <= (1 if key == INSTANCE else 2)
        assert status(cluster, key) == before
        await cluster.stop()

    virtual.run(main())


@pytest.mark.parametrize("key", [INSTANCE, DEFINITION], ids=["instance", "definition"])
def test_who_keeps_writing_a_status_is_named_and_slowed_down_until_it_stops(key: Key) -> None:
    async def main() -> None:
        passes: list[float] = []
        cluster = Cluster(begin=lambda name: passes.append(cluster.loop.time()) if name == str(key) else None)
        await at_rest(cluster)
        before = status(cluster, key)
        ours: list[float] = []
        rival = Rival(cluster, key, ours)
        cluster.server.observe(rival.notice)
        passes.clear()
        await rival.write()
        await asyncio.sleep(HOUR_S)
        # 9 writes after 1, 2, 4, ... 256 s, then one every 300 s for the rest of the hour.
        assert 5 + 9 < len(ours) < 5 + 9 + 12
        assert ours[-1] - ours[-2] >= 300
        assert len(passes) < 3 * len(ours)
        notes = [e["note"] for e in cluster.server.objects(EVENTS) if e["reason"] == "Contested"]
        assert len(notes) == 1
        assert 'manager "rival"' in notes[0]
        rival.stopped = True
        await cluster.until(lambda: status(cluster, key) == before, 400)
        await asyncio.sleep(HOUR_S)
        await forge(cluster, key, {"state": "FAILED"})
        await cluster.until(lambda: status(cluster, key) == before, 1)
        await cluster.stop()

    virtual.run(main())


class Rival:
    """Somebody who overwrites every status that is written, ten times."""

    def __init__(self, cluster: Cluster, key: Key, ours: list[float]) -> None:
        self.cluster, self.key, self.ours = cluster, key, ours
        self.stopped = False
        self.writes = 0

    def notice(self, write: Write) -> None:
        after = write.after
        if after is None or write.actor == "user" or write.resource != self.key.resource:
            return
        self.ours.append(self.cluster.loop.time())
        if not self.stopped:
            for delay_s in range(10):
                self.cluster.loop.call_later(delay_s / 20, lambda: self.cluster.loop.create_task(self.write()))

    async def write(self) -> None:
        if not self.stopped:
            self.writes += 1
            await forge(self.cluster, self.key, {"state": f"FAILED{self.writes}"}, manager="rival")


def test_a_state_that_changes_while_nobody_meddles_is_told_at_once_after_a_fight() -> None:
    async def main() -> None:
        cluster = Cluster()
        await at_rest(cluster)
        before = status(cluster, INSTANCE)
        for number in range(6):
            await forge(cluster, INSTANCE, {"state": f"FAILED{number}"}, manager="rival")
            await cluster.until(lambda: status(cluster, INSTANCE) == before, 10)
        await change(cluster, INSTANCE, {"metadata": {"annotations": {"kro.run/reconcile": "suspended"}}})
        await cluster.until(lambda: "uspended" in str(status(cluster, INSTANCE)), 1)
        await cluster.stop()

    virtual.run(main())


@pytest.mark.parametrize("number", [2**63 - 1, 2**63 - 2, 10**9, -5])
def test_a_forged_revision_number_stops_no_definition(number: int) -> None:
    async def main() -> None:
        cluster = Cluster()
        await at_rest(cluster)
        await forge(cluster, DEFINITION, {"lastIssuedRevision": number})
        await cluster.until(lambda: status(cluster, DEFINITION)["lastIssuedRevision"] == 1, 1)
        await forge(cluster, DEFINITION, {"lastIssuedRevision": number})
        await change(cluster, DEFINITION, {"spec": manifest(0, TWO)["spec"]})
        await cluster.until(lambda: numbers(cluster) == [1, 2], 5)
        await cluster.until(lambda: status(cluster, DEFINITION)["lastIssuedRevision"] == 2, 5)
        await cluster.stop()

    virtual.run(main())


def test_a_number_forged_while_no_controller_ran_is_not_believed() -> None:
    async def main() -> None:
        cluster = Cluster()
        await at_rest(cluster)
        await cluster.stop()
        await forge(cluster, DEFINITION, {"lastIssuedRevision": 2**63 - 1})
        await change(cluster, DEFINITION, {"spec": manifest(0, TWO)["spec"]})
        again = Cluster(server=cluster.server)
        await again.until(lambda: numbers(again) == [1, 2], 10)
        await again.until(lambda: status(again, DEFINITION).get("lastIssuedRevision") == 2, 10)
        await again.stop()

    virtual.run(main())


def numbers(cluster: Cluster) -> list[int]:
    return [revision["spec"]["revision"] for revision in cluster.server.objects(REVISIONS)]


@pytest.mark.parametrize("first", [True, False], ids=["first", "next"])
def test_a_revision_the_server_refuses_is_a_condition_with_its_words(first: bool) -> None:
    """One status write for all retries; the previous revision stays in use, and a fixed definition is accepted."""

    async def main() -> None:
        cluster = Cluster()
        refusing = first

        def check(resource: Any, obj: Obj) -> None:
            if refusing and resource == REVISIONS and not obj["metadata"].get("resourceVersion"):
                raise StatusError(422, "Invalid", "metadata.labels: must be no more than 63 bytes")

        cluster.server.admit(check)
        if first:
            await cluster.user.create(DEFINITION, manifest(0, ONE))
        else:
            await at_rest(cluster)
            refusing = True
            await change(cluster, DEFINITION, {"spec": manifest(0, TWO)["spec"]})
        await cluster.until(lambda: condition(cluster, DEFINITION, "Ready")[0] == "False", 5)
        for type_ in ("Ready", "GraphAccepted", *(["GraphRevisionsResolved"] if first else [])):
            found = condition(cluster, DEFINITION, type_)
            assert found[0] == "False"
            assert "must be no more than 63 bytes" in found[2]
        if not first:
            assert condition(cluster, DEFINITION, "GraphRevisionsResolved") == (
                *("True", "Resolved"),
                "revision 1 compiled and active",
            )
        version = version_of(stored(cluster, DEFINITION))
        await asyncio.sleep(HOUR_S)
        assert not is_older(version, version_of(stored(cluster, DEFINITION)))
        if not first:
            await cluster.make(0, 1)
            await cluster.until(lambda: cluster.active(0) == 2, 5)
        refusing = False
        await forge(cluster, DEFINITION, {"lastIssuedRevision": None, "state": None})
        await cluster.until(lambda: condition(cluster, DEFINITION, "Ready")[0] == "True", 5)
        await cluster.stop()

    virtual.run(main())
