"""Waiting for objects of somebody else: what wakes an instance, and what does not."""

from typing import Any

import pytest

from kroasync.controller.releases import ClaimSink, Releases
from kroasync.model.objects import Key
from tests.samples import CONFIG_MAPS
from tests.unit.controller.samples import app_key, config, config_key

WAITER, OTHER = app_key("waiter"), app_key("other")


class Bench:
    def __init__(self) -> None:
        self.woken: list[Key] = []
        self.heard: list[bool] = []
        self.releases = Releases(self.woken.append)
        self.sink = ClaimSink(CONFIG_MAPS, self.releases, self.heard.append)

    def seen(self, version: int, **more: Any) -> list[Key]:
        """The instances that a state of the object wakes."""
        self.woken.clear()
        self.sink.event("MODIFIED", config(version=version, **more))
        return sorted(self.woken)


@pytest.fixture
def bench() -> Bench:
    found = Bench()
    found.sink.replace([found.sink.keep(config(version=1, data={"v": "1"}))])
    found.releases.keep(WAITER, [config_key()], held=[config_key()])
    found.releases.keep(OTHER, [config_key()])
    return found


def test_a_change_of_the_fields_wakes_only_who_waits_for_them(bench: Bench) -> None:
    assert bench.seen(2, data={"v": "2"}) == [WAITER]
    assert bench.seen(3, data={"v": "2"}) == []
    managed = [{"manager": "kubectl", "fieldsV1": {}}]
    assert bench.seen(4, data={"v": "2"}, managedFields=managed) == [WAITER]
    assert bench.heard == [False] * 3


def test_a_change_of_the_owner_wakes_all(bench: Bench) -> None:
    helm = {"meta.helm.sh/release-name": "shop"}
    assert bench.seen(2, data={"v": "1"}, annotations=helm) == [OTHER, WAITER]
    bench.woken.clear()
    bench.sink.event("DELETED", config(version=3))
    assert sorted(bench.woken) == [OTHER, WAITER]


def test_a_new_list_wakes_for_what_changed_meanwhile(bench: Bench) -> None:
    bench.woken.clear()
    bench.sink.replace([bench.sink.keep(config(version=5, data={"v": "9"}))])
    assert bench.woken == [WAITER]


def test_who_does_not_wait_for_fields_any_more_is_not_woken_by_them(bench: Bench) -> None:
    bench.releases.keep(WAITER, [config_key()])
    assert bench.seen(2, data={"v": "2"}) == []
    bench.releases.keep(WAITER, [])
    assert bench.seen(3, data={"v": "3"}, annotations={"meta.helm.sh/release-name": "a"}) == [OTHER]
