"""The inventory is an annotation of the instance, so everybody who may edit the instance may write the inventory."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.attacks.gauges import FULL, repair_s, requests, watches
from tests.attacks.people import People, User, write_kubeconfig
from tests.integration.cluster import (
    Cluster,
    Lab,
    Obj,
    RefusedError,
    applyset_id,
    config,
    eventually,
    for_a_while,
    inventory_hash,
)
from tests.integration.process import ControllerProcess

pytestmark = pytest.mark.integration

KINDS = "applyset.kubernetes.io/contains-group-kinds"
NAMESPACES = "applyset.kubernetes.io/additional-namespaces"
HASH = "internal.kro.run/applyset-inventory-hash"

# Values that people may write in the place of a namespace.
MISTYPED = ["Bob", "bob.", "-bob", "bob-", "b_b", "bob/x", "b b", "b,c", "x" * 64, "ünï", "bob\n", "*"]


def inventory_of(obj: Obj) -> Obj:
    return {key: value for key, value in obj["metadata"]["annotations"].items() if key in (KINDS, NAMESPACES, HASH)}


def placed(lab: Lab) -> None:
    meta = {"namespace": "${schema.spec.ns}"}
    lab.define("Placed", [config("cm", data={"v": "1"}, metadata=meta)], spec={"ns": "string"})


def test_a_mistyped_namespace_is_an_error_that_can_be_mended(
    lab: Lab, neighbour: Callable[[str], Lab], people: People
) -> None:
    alice, bob = people.editor(lab.namespace), neighbour("bob")
    placed(lab)
    for number, text in enumerate(MISTYPED):
        name = f"i{number}"
        meta = {"name": name, "namespace": lab.namespace}
        alice.apply({"apiVersion": f"{lab.group}/v1alpha1", "kind": "Placed", "metadata": meta, "spec": {"ns": text}})
    for number, text in enumerate(MISTYPED):
        found = lab.await_state("Placed", f"i{number}", "ERROR")
        recorded = found["metadata"].get("annotations", {}).get(NAMESPACES, "")
        assert text not in recorded, recorded
        told = " ".join(c.get("message", "") for c in found["status"]["conditions"])
        assert "cm" in told, told
    for number in range(0, len(MISTYPED), 2):
        alice.merge(lab.path("Placed", f"i{number}"), {"spec": {"ns": bob.namespace}})
    for number in range(len(MISTYPED)):
        if number % 2 == 0:
            found = lab.await_state("Placed", f"i{number}")
            assert found["metadata"]["annotations"][NAMESPACES] == bob.namespace
            assert bob.child("ConfigMap", f"i{number}-cm")
        alice.delete(lab.path("Placed", f"i{number}"))
    for number in range(len(MISTYPED)):
        lab.await_gone(lab.path("Placed", f"i{number}"))
    assert bob.configs() == {}


@pytest.mark.parametrize("fits", [True, False], ids=["with a hash that fits", "with a hash of before"])
@pytest.mark.parametrize("text", ["Bob", "a/b", "-", ",,", "x" * 5000])
def test_an_inventory_that_cannot_be_read_is_repaired(lab: Lab, people: People, text: str, fits: bool) -> None:
    alice = people.editor(lab.namespace)
    lab.define("Whole", [config("cm", data={"v": "${schema.spec.v}"})], spec={"v": "string"})
    lab.instance("Whole", spec={"v": "1"})
    before = lab.await_state("Whole")
    changed = {NAMESPACES: text}
    if fits:
        changed[HASH] = inventory_hash(applyset_id(before), before["metadata"]["annotations"][KINDS], text)
    alice.merge(lab.path("Whole"), {"metadata": {"annotations": changed}, "spec": {"v": "2"}})
    lab.await_child("ConfigMap", "one-cm", lambda obj: obj["data"] == {"v": "2"})
    found = lab.await_state("Whole")
    assert inventory_of(found) == inventory_of(before)
    alice.delete(lab.path("Whole"))
    lab.await_gone(lab.path("Whole"))
    assert lab.configs() == {}


def flood(alice: User, lab: Lab, name: str, group_kinds: Sequence[str]) -> None:
    """Write kinds into an instance's inventory, with a matching hash."""
    found = lab.read("Flooded", name)
    text = ",".join(sorted({*group_kinds, "ConfigMap"}))
    hash_ = inventory_hash(applyset_id(found), text, "")
    alice.merge(lab.path("Flooded", name), {"metadata": {"annotations": {KINDS: text, HASH: hash_}}})


@pytest.fixture
def observed(
    lab: Lab, deputy: Callable[..., tuple[User, list[str]]], stand_in: Any, tmp_path: Path
) -> Iterator[ControllerProcess]:
    """A controller with its own account: its forbidden requests must not fail the session."""
    user, _ = deputy()
    process: ControllerProcess = stand_in(kubeconfig=write_kubeconfig(tmp_path / "kubeconfig", user))
    process.wait_ready()
    lab.controller = process
    yield process
    # The session's controller takes over now; this test does not attack it.
    kind = lab.cluster.path("Flooded", lab.namespace, api_version=f"{lab.group}/v1alpha1")
    for obj in lab.cluster.list(kind):
        lab.cluster.merge(
            f"{kind}/{obj['metadata']['name']}",
            {"metadata": {"annotations": {KINDS: None, HASH: None}, "finalizers": None}},
        )


def listed_kinds(cluster: Cluster) -> list[str]:
    """All kinds that the API server allows to watch, as `Kind.group`, without generated kinds."""
    groups = ["/api/v1"] + [
        f"/apis/{group['preferredVersion']['groupVersion']}" for group in cluster.call("GET", "/apis")["groups"]
    ]
    found = set()
    for path in groups:
        group = path.split("/")[2] if path.startswith("/apis/") else ""
        if group.endswith("example.com"):
            continue
        try:
            served = cluster.call("GET", path)["resources"]
        except RefusedError:
            continue
        for entry in served:
            if "/" not in entry["name"] and {"list", "watch"} <= set(entry["verbs"]):
                found.add(f"{entry['kind']}.{group}" if group else entry["kind"])
    return sorted(found)


INSTANCES = 20 if FULL else 4
A_SECOND = 40.0


def calls_a_second(controller: ControllerProcess, seconds: float = 4.0) -> float:
    before = requests(controller)
    for _ in for_a_while(lambda: None, seconds=seconds):
        pass
    return (requests(controller) - before) / seconds


@pytest.mark.parametrize("ending", [False, True], ids=["of living instances", "of instances that are deleted"])
def test_thousands_of_unknown_groups_cost_no_calls(
    lab: Lab, observed: ControllerProcess, people: People, ending: bool
) -> None:
    """11,000 kinds in an annotation; a request for each of them would be thousands of requests a second."""
    alice = people.editor(lab.namespace)
    lab.define("Flooded", [config("cm", data={"v": "1"})])
    lab.instance("Flooded", "bystander")
    for number in range(INSTANCES):
        lab.instance("Flooded", f"i{number}")
    for name in ("bystander", *(f"i{number}" for number in range(INSTANCES))):
        lab.await_state("Flooded", name)
    before = requests(observed)
    for number in range(INSTANCES):
        flood(alice, lab, f"i{number}", [f"K.g{group}.{number}.zz" for group in range(11_000)])
        if ending:
            alice.delete(lab.path("Flooded", f"i{number}"))
    assert repair_s(lab, "ConfigMap", "bystander-cm") < 5.0
    assert calls_a_second(observed) < A_SECOND
    # The total counts, however the requests were spread over time.
    assert requests(observed) - before < 60 * INSTANCES
    assert observed.is_running
    for number in range(INSTANCES):
        alice.delete(lab.path("Flooded", f"i{number}"))
    if not ending:
        for number in range(INSTANCES):
            lab.await_gone(lab.path("Flooded", f"i{number}"), timeout_s=30)


def test_an_inventory_of_all_kinds_opens_no_watches(lab: Lab, observed: ControllerProcess, people: People) -> None:
    alice = people.editor(lab.namespace)
    lab.define("Flooded", [config("cm", data={"v": "1"})])
    for name in ("living", "ending"):
        lab.instance("Flooded", name)
        lab.await_state("Flooded", name)
    kinds = listed_kinds(lab.cluster)
    assert len(kinds) > 50
    before = watches(observed)
    flood(alice, lab, "living", kinds)
    flood(alice, lab, "ending", kinds)
    alice.delete(lab.path("Flooded", "ending"))
    assert repair_s(lab, "ConfigMap", "living-cm") < 5.0
    most = max(itertools.chain([0], for_a_while(lambda: watches(observed), seconds=3.0)))
    assert most <= before + 1
    assert calls_a_second(observed, seconds=2.0) < A_SECOND
    # The inventory is ours again, and names the existing kinds and those that the controller may not read.
    eventually(
        lambda: set(lab.read("Flooded", "living")["metadata"]["annotations"][KINDS].split(",")),
        lambda named: "ConfigMap" in named and named.isdisjoint({"Secret", "Deployment.apps", "Job.batch"}),
        what="the inventory is repaired",
    )
