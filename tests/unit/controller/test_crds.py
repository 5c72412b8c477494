"""The CRDs in the cache of one watch."""

from datetime import UTC, datetime
from typing import Any

import pytest

from kroasync.controller.cluster_kinds import ClusterKinds
from kroasync.controller.crds import CrdStore, SeenCrd, is_established, seen
from kroasync.model.names import LABEL_MANAGED_BY, LABEL_OWNED, MANAGED_BY
from kroasync.model.objects import Obj, Resource
from tests.fakes.client import FakeClient
from tests.fakes.kube import FakeServer

ESTABLISHED = {"conditions": [{"type": "NamesAccepted", "status": "True"}, {"type": "Established", "status": "True"}]}


def crd(name: str = "apps", *, version: int = 1, status: Any = ESTABLISHED, **meta: Any) -> Obj:
    return {
        "metadata": {"name": f"{name}.example.com", "uid": f"u-{name}", "resourceVersion": str(version), **meta},
        "spec": {
            "group": "example.com",
            "scope": "Namespaced",
            "names": {"plural": name, "kind": name.title()},
            "versions": [
                {"name": "v1alpha1", "served": False, "schema": {"openAPIV3Schema": {"type": "object"}}},
                {"name": "v1beta1", "served": True},
                {"name": "v1", "served": True},
            ],
        },
        "status": status,
    }


class Bench:
    def __init__(self) -> None:
        self.told: list[tuple[int | None, int | None]] = []
        self.store = CrdStore(self.changed)

    def changed(self, before: SeenCrd | None, after: SeenCrd | None) -> None:
        self.told.append(tuple(int(c.version) if c else None for c in (before, after)))  # type: ignore[arg-type]


@pytest.fixture
def bench() -> Bench:
    return Bench()


def test_what_is_kept_of_a_crd() -> None:
    found = seen(crd())
    assert found == SeenCrd(
        name="apps.example.com",
        uid="u-apps",
        group_kind=("example.com", "Apps"),
        versions=("v1beta1", "v1"),
        plural="apps",
        namespaced=True,
        established=True,
        deleting=False,
        version="1",
        labels={},
    )
    assert found.resource() == Resource("example.com", "v1", "Apps", "apps", True)


@pytest.mark.parametrize(
    ("status", "established"),
    [
        (ESTABLISHED, True),
        ({}, False),
        ({"conditions": None}, False),
        ({"conditions": [{"type": "Established", "status": "False"}]}, False),
        ({"conditions": [{"type": "NamesAccepted", "status": "True"}]}, False),
    ],
)
def test_when_a_crd_is_established(status: Any, established: bool) -> None:
    assert is_established(crd(status=status)) is established


@pytest.mark.parametrize(
    ("labels", "owned"),
    [
        ({LABEL_OWNED: "true"}, True),
        ({LABEL_OWNED: "false", LABEL_MANAGED_BY: MANAGED_BY}, False),
        ({LABEL_MANAGED_BY: MANAGED_BY}, True),
        ({LABEL_MANAGED_BY: "Helm"}, False),
        ({}, False),
    ],
)
def test_which_crds_are_generated(labels: dict[str, str], owned: bool) -> None:
    assert seen(crd(labels=labels)).owned is owned


def test_changes_are_told_once_with_what_was_before(bench: Bench) -> None:
    bench.store.event("ADDED", crd(version=1))
    bench.store.event("MODIFIED", crd(version=2))
    bench.store.event("MODIFIED", crd(version=2))
    bench.store.event("DELETED", crd(version=3))
    bench.store.event("DELETED", crd(version=3))
    assert bench.told == [(None, 1), (1, 2), (2, None)]


def test_a_list_is_the_full_state(bench: Bench) -> None:
    bench.store.replace(
        [
            seen(found)
            for found in (
                crd("a", version=1),
                crd("b", version=2),
            )
        ]
    )
    bench.told.clear()
    bench.store.replace(
        [
            seen(found)
            for found in (
                crd("b", version=2),
                crd("c", version=3),
            )
        ]
    )
    assert bench.told == [(1, None), (None, 3)]
    assert bench.store.get("a.example.com") is None


def test_a_kind_is_found_when_its_crd_is_established(bench: Bench) -> None:
    bench.store.event("ADDED", crd(version=1, status={}))
    assert bench.store.of_kind("example.com", "Apps") is None
    bench.store.event("MODIFIED", crd(version=2))
    found = bench.store.of_kind("example.com", "Apps")
    assert found is not None
    assert found.version == "2"


def test_the_generated_ones(bench: Bench) -> None:
    bench.store.replace(
        [
            seen(found)
            for found in (
                crd("a", labels={LABEL_OWNED: "true"}),
                crd("b"),
            )
        ]
    )
    assert [c.plural for c in bench.store.owned()] == ["a"]


async def test_a_kind_just_established_is_found_before_discovery_knows_it(bench: Bench) -> None:
    cluster = ClusterKinds(FakeClient(FakeServer(now=lambda: datetime(2026, 1, 1, tzinfo=UTC))), bench.store)
    assert await cluster.resource_of_group_kind("example.com", "Apps") is None
    bench.store.event("ADDED", crd())
    found = await cluster.resource_of_group_kind("example.com", "Apps")
    assert found == Resource("example.com", "v1", "Apps", "apps", True)
