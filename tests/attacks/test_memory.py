"""An attacker fills a namespace with objects that the controller watches: its memory stays far below the chart's limit.

The limit is 1 GiB. An object of 1 MB with many small keys takes about 13.5 MB as Python's dicts. The tests measure the
peak memory of the process, while the namespace fills up and at a start with a full namespace.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.attacks.gauges import FULL, LoopProbe, peak_mb, repair_s, samples
from tests.attacks.people import People, User, rule
from tests.integration.cluster import Lab, Obj, config, config_map, eventually
from tests.integration.process import ControllerProcess

pytestmark = pytest.mark.integration

# The controller itself takes about 110 MB; the rest is a page of a list, and the objects that are decoded at a time.
BOUND_MB = 300.0
STRANGERS = 100 if FULL else 14
INSTANCES = 100 if FULL else 14
OURS = {"kro.run/owned": "true", "kro.run/node-id": "x"}
LAG_S = 2.5


@pytest.fixture
def fresh(controller: ControllerProcess) -> ControllerProcess:
    """The session's controller, restarted, so that its peak belongs to this test."""
    controller.kill()
    controller.start()
    controller.wait_ready()
    return controller


def text_keys(count: int, value: str = "") -> dict[str, str]:
    return {f"{number:05x}": value for number in range(count)}


def by_data(name: str, namespace: str) -> Obj:
    """As many small keys as fit into etcd's 1.5 MB, including managedFields."""
    return config_map(name, namespace, text_keys(45_000), labels=OURS)


def by_one_text(name: str, namespace: str) -> Obj:
    return config_map(name, namespace, {"v": "x" * 1_000_000}, labels=OURS)


def by_annotations(name: str, namespace: str) -> Obj:
    return config_map(name, namespace, labels=OURS, annotations=text_keys(40_000))


def by_claim(name: str, namespace: str) -> Obj:
    """The object claims to be a child of an instance that never existed."""
    labels = {**OURS, "kro.run/instance-id": f"00000000-0000-4000-8000-{int(name[1:]):012d}"}
    return config_map(name, namespace, text_keys(45_000), labels=labels)


def fill(user: User, objs: list[Obj]) -> None:
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(user.create, objs))


@pytest.mark.parametrize("make", [by_data, by_one_text, by_annotations, by_claim] if FULL else [by_data])
def test_strangers_with_our_labels_fill_no_memory(
    lab: Lab, neighbour: Callable[[str], Lab], fresh: ControllerProcess, people: People, make: Callable[[str, str], Obj]
) -> None:
    """The right to create ConfigMaps in one namespace is enough."""
    lab.define("Plain", [config("c", data={"v": "1"})])
    lab.instance("Plain")
    lab.await_state("Plain")
    full = neighbour("full")
    mallory = people.holding(full.namespace, {full.namespace: [rule("create", "configmaps")]})
    with LoopProbe(fresh) as probe:
        fill(mallory, [make(f"s{number:04}", full.namespace) for number in range(STRANGERS)])
        assert repair_s(lab, "ConfigMap", "one-c") < 10.0
    assert peak_mb(fresh) < BOUND_MB
    assert probe.longest_s < LAG_S
    counted = eventually(
        lambda: sum(samples(fresh, "kroasync_strangers")),
        lambda found: found >= STRANGERS,
        what="they are counted",
    )
    assert counted < STRANGERS + 100
    fresh.kill()
    fresh.start()
    fresh.wait_ready()
    assert repair_s(lab, "ConfigMap", "one-c") < 10.0
    assert peak_mb(fresh) < BOUND_MB
    assert any("stranger" in str(line.get("msg", "")) for line in fresh.lines()), "a log line says how many"
    lab.cluster.delete(full.cluster.path("ConfigMap", full.namespace))
    eventually(
        lambda: sum(samples(fresh, "kroasync_strangers")),
        lambda found: found <= counted - STRANGERS,
        what="they are forgotten",
    )


@pytest.mark.skipif(not FULL, reason="full form only; `tests.benchmarks.memory --of instances` measures the same")
@pytest.mark.parametrize("where", ["spec", "annotations"])
def test_large_instances_fill_no_memory(lab: Lab, fresh: ControllerProcess, people: People, where: str) -> None:
    alice = people.holding(lab.namespace, {lab.namespace: [rule("get create patch delete", "*", lab.group)]})
    lab.define("Large", [config("c", data={"v": "1"})], spec={"values": "map[string]string"})
    lab.define("Plain", [config("c", data={"v": "1"})])
    lab.instance("Plain", "small")
    lab.await_state("Plain", "small")
    large = text_keys(45_000 if where == "spec" else 30_000)

    def instance(number: int) -> Obj:
        meta = {"name": f"i{number:03}", "namespace": lab.namespace}
        return {
            "apiVersion": f"{lab.group}/v1alpha1",
            "kind": "Large",
            "metadata": {**meta, "annotations": large} if where == "annotations" else meta,
            "spec": {"values": large} if where == "spec" else {},
        }

    names = [f"i{number:03}" for number in range(INSTANCES)]
    fill(alice, [instance(number) for number in range(INSTANCES)])
    for name in names:
        lab.await_state("Large", name, timeout_s=60)
    assert repair_s(lab, "ConfigMap", "small-c") < 10.0
    assert peak_mb(fresh) < BOUND_MB
    fresh.kill()
    fresh.start()
    fresh.wait_ready()
    assert repair_s(lab, "ConfigMap", f"{names[-1]}-c") < 10.0
    assert peak_mb(fresh) < BOUND_MB
