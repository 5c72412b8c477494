"""The process: every setting has its effect, every option its reader; readiness shows the watches."""

import ast
import asyncio
import time
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import pytest

import kroasync.app
import kroasync.controller.runtime
from kroasync.app import Process, runtime_options
from kroasync.controller.runtime import RuntimeOptions
from kroasync.settings import Settings

SETTINGS = [entry.name for entry in fields(Settings)]


def other(name: str) -> Any:
    """A valid value that is not the default."""
    value = getattr(Settings(), name)
    match value:
        case bool():
            return not value
        case float() | int():
            return value + 7
        case frozenset():
            return frozenset({"InstanceConditionEvents"})
        case tuple():
            return ("example.com/",)
        case _:
            return "other"


def read_in(module: Any, *holders: str) -> set[str]:
    """Names of attributes read of these variables (`settings` or `self._settings`) in a module's source."""
    tree = ast.parse(Path(module.__file__).read_text(encoding="utf-8"))
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Load):
            holder = node.value
            name = holder.attr if isinstance(holder, ast.Attribute) else getattr(holder, "id", "")
            if name in holders:
                found.add(node.attr)
    return found


@pytest.mark.parametrize("name", SETTINGS)
def test_every_setting_is_read(name: str) -> None:
    assert name in read_in(kroasync.app, "settings", "_settings")


@pytest.mark.parametrize("name", [entry.name for entry in fields(RuntimeOptions)])
def test_every_option_of_the_controller_is_read_by_it(name: str) -> None:
    assert name in read_in(kroasync.controller.runtime, "options", "_options")


CONTROLLER = [
    "workers",
    "resource_graph_definition_concurrent_reconciles",
    "dynamic_controller_rate_limiter_min_delay_s",
    "dynamic_controller_rate_limiter_max_delay_s",
    "dynamic_controller_default_resync_period_s",
    "instance_requeue_interval_s",
    "rgd_progress_requeue_delay_s",
    "idle_watch_deadline_s",
    "graceful_shutdown_timeout_s",
    "allow_crd_deletion",
    "rgd_max_collection_size",
    "rgd_max_collection_dimension_size",
    "rgd_max_graph_revisions",
    "label_propagation_exclude",
    "version_label",
    "events",
    "feature_gates",
]


@pytest.mark.parametrize("name", CONTROLLER)
def test_what_the_controller_is_told_follows_the_setting(name: str) -> None:
    usual = runtime_options(Settings(), identity="i")
    assert runtime_options(replace(Settings(), **{name: other(name)}), identity="i") != usual


def test_other_settings_do_not_reach_the_controller() -> None:
    usual = runtime_options(Settings(), identity="i")
    for name in set(SETTINGS) - set(CONTROLLER):
        assert runtime_options(replace(Settings(), **{name: other(name)}), identity="i") == usual


def test_kros_single_worker_for_definitions_does_not_make_them_wait_for_each_other() -> None:
    few = replace(Settings(), resource_graph_definition_concurrent_reconciles=1)
    assert runtime_options(few, identity="i").definition_workers == 4


@dataclass
class FakeWatch:
    age_s: float
    synced: asyncio.Event = field(default_factory=asyncio.Event)
    error: str | None = None

    def last_event_age_s(self, now: float) -> float:
        assert now == pytest.approx(time.monotonic(), abs=60)
        return self.age_s


@dataclass
class FakeRuntime:
    watches: dict[str, FakeWatch]

    def watch_states(self) -> list[tuple[str, FakeWatch]]:
        return list(self.watches.items())


def process(**watches: FakeWatch) -> Process:
    found = Process(Settings())
    found._runtime = FakeRuntime(watches)  # type: ignore[assignment]
    return found


def synced(age_s: float) -> FakeWatch:
    watch = FakeWatch(age_s)
    watch.synced.set()
    return watch


def test_readiness_lists_every_watch_with_its_age() -> None:
    found = process(b=synced(3.2), a=FakeWatch(70.0))
    assert found._watch_lines() == ["a: not synced, 70 s", "b: synced, 3 s"]
    assert Process(Settings())._watch_lines() == []


@pytest.mark.parametrize(
    ("watch", "problem"),
    [
        (synced(299.0), None),
        (synced(301.0), "w silent for 301 s"),
        (FakeWatch(0.0), "w not synced"),
        (FakeWatch(0.0, error="forbidden"), "w not synced (forbidden)"),
    ],
)
def test_when_the_kinds_are_ready(watch: FakeWatch, problem: str | None) -> None:
    """A watch is late after twice the idle deadline."""
    assert process(w=watch)._kinds_check() == problem
