"""Collections (runtime.md 3): forEach, identity by name, limits, readiness with `each`, chains, a thousand items."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

from tests.integration.cluster import Lab, Obj, audited, condition, config, eventually, is_true

pytestmark = pytest.mark.integration

CONTROLLER = "system:serviceaccount:kroasync-system:kroasync"
NAMES = {"names": "[]string"}


def items(id_: str = "unit", **extra: Any) -> Obj:
    """One ConfigMap for each of the instance's names."""
    data = extra.pop("data", {"name": "${name}"})
    return config(
        id_, f"${{schema.metadata.name}}-{id_}-${{name}}", data, forEach=[{"name": "${schema.spec.names}"}], **extra
    )


def places(found: dict[str, Obj]) -> dict[str, tuple[str, str]]:
    """Index and size labels of every item by name."""
    return {
        name: tuple(obj["metadata"]["labels"][f"kro.run/collection-{key}"] for key in ("index", "size"))
        for name, obj in found.items()
    }


def test_growth_shrinkage_and_reordering_keep_every_item_that_stays(lab: Lab) -> None:
    lab.define("Growing", [items()], spec=NAMES, status={"count": "${size(unit)}", "first": "${unit[?0].?data.name}"})
    lab.instance("Growing", spec={"names": ["a", "b"]})
    obj = lab.await_state("Growing")
    assert (obj["status"]["count"], obj["status"]["first"]) == (2, "a")
    found = lab.configs()
    assert places(found) == {"one-unit-a": ("0", "2"), "one-unit-b": ("1", "2")}
    uids = {name: obj["metadata"]["uid"] for name, obj in found.items()}

    lab.edit("Growing", spec={"names": ["c", "b", "a"]})
    expected = {"one-unit-c": ("0", "3"), "one-unit-b": ("1", "3"), "one-unit-a": ("2", "3")}
    found = eventually(lab.configs, lambda found: places(found) == expected)
    assert {n: found[n]["metadata"]["uid"] for n in uids} == uids
    obj = lab.await_state("Growing")
    assert (obj["status"]["count"], obj["status"]["first"]) == (3, "c")

    lab.edit("Growing", spec={"names": ["a"]})
    found = eventually(lab.configs, lambda found: places(found) == {"one-unit-a": ("0", "1")})
    assert found["one-unit-a"]["metadata"]["uid"] == uids["one-unit-a"]

    lab.edit("Growing", spec={"names": []})
    lab.await_configs(set())
    obj = lab.await_state("Growing")
    assert obj["status"]["count"] == 0
    assert "first" not in obj["status"]


def test_dimensions_multiply_with_the_first_outermost(lab: Lab) -> None:
    grid = config(
        "cell",
        "${schema.metadata.name}-${x}-${string(y)}",
        forEach=[{"x": "${schema.spec.names}"}, {"y": "${schema.spec.numbers}"}],
    )
    lab.define("Grid", [grid], spec={**NAMES, "numbers": "[]integer"})
    lab.instance("Grid", spec={"names": ["a", "b"], "numbers": [1, 2, 3]})
    lab.await_state("Grid")
    found = {name: place[0] for name, place in places(lab.configs()).items()}
    assert found == {"one-a-1": "0", "one-a-2": "1", "one-a-3": "2", "one-b-1": "3", "one-b-2": "4", "one-b-3": "5"}
    lab.edit("Grid", spec={"numbers": []})
    lab.await_configs(set())
    lab.await_state("Grid")


def test_an_item_that_is_changed_or_deleted_is_healed_alone(lab: Lab) -> None:
    lab.define("Mended", [items()], spec=NAMES)
    lab.instance("Mended", spec={"names": ["a", "b"]})
    lab.await_state("Mended")
    kept = lab.child("ConfigMap", "one-unit-b")["metadata"]["resourceVersion"]
    path = lab.child_path("ConfigMap", "one-unit-a")
    lab.cluster.merge(path, {"data": {"name": "changed"}})
    lab.await_child("ConfigMap", "one-unit-a", lambda obj: obj["data"] == {"name": "a"})
    lab.cluster.delete(path)
    lab.await_child("ConfigMap", "one-unit-a")
    assert lab.child("ConfigMap", "one-unit-b")["metadata"]["resourceVersion"] == kept


def test_items_live_in_several_namespaces(lab: Lab) -> None:
    spread = config(
        "spread",
        f"{lab.namespace}-spread",
        metadata={"namespace": "${place}"},
        forEach=[{"place": "${schema.spec.names}"}],
    )
    lab.define("Spread", [spread], spec=NAMES)
    name = f"{lab.namespace}-spread"
    lab.instance("Spread", spec={"names": [lab.namespace, "default", "kube-public"]})
    obj = lab.await_state("Spread")
    key = "applyset.kubernetes.io/additional-namespaces"
    assert obj["metadata"]["annotations"][key] == "default,kube-public"
    lab.cluster.delete(lab.child_path("ConfigMap", name, "default"))
    eventually(lambda: lab.child("ConfigMap", name, "default"))
    lab.edit("Spread", spec={"names": ["kube-public"]})
    eventually(lambda: lab.child("ConfigMap", name, "default"), lambda obj: obj == {})
    eventually(lambda: lab.read("Spread"), lambda obj: obj["metadata"]["annotations"][key] == "kube-public")
    lab.cluster.delete(lab.path("Spread"))
    lab.await_gone(lab.path("Spread"))
    assert lab.child("ConfigMap", name, "kube-public") == {}


def test_every_item_must_be_ready_and_the_message_names_the_one_that_is_not(lab: Lab) -> None:
    ready = items(readyWhen=['${each.data.?open.orValue("no") == "yes"}'])
    lab.define("Each", [ready, config("after", data={"n": "${string(size(unit))}"})], spec=NAMES)
    lab.instance("Each", spec={"names": ["a", "b"]})
    lab.await_state("Each", state="IN_PROGRESS", message='node "unit" not ready: item 0: ')
    lab.cluster.merge(lab.child_path("ConfigMap", "one-unit-a"), {"data": {"open": "yes"}})
    lab.await_state("Each", state="IN_PROGRESS", message='node "unit" not ready: item 1: ')
    assert "one-after" not in lab.configs()
    lab.cluster.merge(lab.child_path("ConfigMap", "one-unit-b"), {"data": {"open": "yes"}})
    lab.await_state("Each")
    assert lab.child("ConfigMap", "one-after")["data"] == {"n": "2"}
    lab.edit("Each", spec={"names": ["a", "b", "c"]})
    lab.await_state("Each", state="IN_PROGRESS", message='node "unit" not ready: item 2: ')


def test_a_collection_over_a_collection_follows_it(lab: Lab) -> None:
    second = config(
        "second", "${source.metadata.name}-2", {"of": "${source.data.name}"}, forEach=[{"source": "${unit}"}]
    )
    lab.define("Chain", [items(), second], spec=NAMES, status={"names": "${second.map(s, s.data.of)}"})
    lab.instance("Chain", spec={"names": ["a", "b"]})
    assert lab.await_state("Chain")["status"]["names"] == ["a", "b"]
    lab.edit("Chain", spec={"names": ["b", "c"]})
    lab.await_configs({"one-unit-b", "one-unit-c", "one-unit-b-2", "one-unit-c-2"})
    assert lab.await_state("Chain")["status"]["names"] == ["b", "c"]


def test_a_collection_is_excluded_as_a_whole(lab: Lab) -> None:
    lab.define("Whole", [items(includeWhen=["${schema.spec.on}"])], spec={**NAMES, "on": "boolean | default=true"})
    lab.instance("Whole", spec={"names": ["a", "b"]})
    lab.await_state("Whole")
    lab.edit("Whole", spec={"on": False})
    lab.await_configs(set())
    lab.edit("Whole", spec={"on": True})
    lab.await_configs({"one-unit-a", "one-unit-b"})


def test_two_items_of_one_name_are_an_error(lab: Lab) -> None:
    lab.define("Twice", [items()], spec=NAMES)
    lab.instance("Twice", spec={"names": ["a", "a"]})
    lab.await_state("Twice", state="ERROR", message="identity collision")
    lab.edit("Twice", spec={"names": ["a", "b"]})
    lab.await_state("Twice")


def test_a_collection_over_the_limit_is_an_error_and_keeps_what_is_there(lab: Lab) -> None:
    lab.define("Limited", [items()], spec=NAMES)
    lab.instance("Limited", spec={"names": ["a"]})
    lab.await_state("Limited")
    lab.edit("Limited", spec={"names": [f"n{n}" for n in range(1001)]})
    text = "collection size of 1001 is over the maximum collection size of 1000"
    lab.await_state("Limited", state="ERROR", message=text)
    assert set(lab.configs()) == {"one-unit-a"}
    lab.edit("Limited", spec={"names": ["b"]})
    lab.await_configs({"one-unit-b"})


def test_a_thousand_items_and_one_changed_item_costs_one_call(lab: Lab) -> None:
    lab.define("Thousand", [items()], spec=NAMES)
    names = [f"n{n:04}" for n in range(1000)]
    started = time.monotonic()
    lab.instance("Thousand", spec={"names": names})
    lab.await_state("Thousand", timeout_s=60)
    assert len(lab.configs()) == 1000
    assert time.monotonic() - started < 30

    log = Path(lab.cluster.playground.audit_log)
    offset = log.stat().st_size
    names[500] = "changed"
    lab.edit("Thousand", spec={"names": names})
    lab.await_child("ConfigMap", "one-unit-changed")
    lab.await_child("ConfigMap", "one-unit-n0500", lambda obj: obj == {})
    obj = lab.await_state("Thousand")
    assert is_true(obj, "Ready")
    assert condition(obj, "Ready")["observedGeneration"] == 2
    calls = audited(lab.cluster.playground, user=CONTROLLER, since=offset)
    touched = [e["verb"] for e in calls if f"/{lab.namespace}/configmaps/" in e["requestURI"]]
    assert sorted(touched) == ["delete", "patch"]


def test_an_item_whose_update_is_refused_keeps_its_value_and_the_others_go_on(lab: Lab) -> None:
    """What reads the collection sees what is there, and the error is in the conditions."""
    unit = items(data={"v": "${schema.spec.v}"})
    unit["template"]["immutable"] = "${name == 'a'}"
    summary = config("summary", data={"v": "${unit.map(u, u.data.v).join(',')}"})
    status = {"count": "${string(size(unit))}"}
    lab.define("Refusing", [unit, summary], spec={**NAMES, "v": "string"}, status=status)
    lab.instance("Refusing", spec={"names": ["a", "b"], "v": "1"})
    lab.await_state("Refusing")
    lab.edit("Refusing", spec={"v": "2"})
    text = f"item {lab.namespace}/one-unit-a: update rejected: "
    obj = lab.await_state("Refusing", state="ERROR", message=text)
    assert "immutable" in condition(obj, "ResourcesReady")["message"]
    assert obj["status"]["count"] == "2"
    found = {name: obj["data"]["v"] for name, obj in lab.configs().items()}
    assert found == {"one-unit-a": "1", "one-unit-b": "2", "one-summary": "1,2"}
    lab.edit("Refusing", spec={"v": "1"})
    lab.await_state("Refusing")
