"""Status writes of instances: writes, retries, and writes that are given up."""

from typing import Any, cast

import pytest

from kroasync.controller.events import Recorder
from kroasync.controller.fights import Fights
from kroasync.controller.instance_store import InstanceStore
from kroasync.controller.observing import Observing
from kroasync.controller.options import RuntimeOptions
from kroasync.controller.recording import Recording
from kroasync.controller.reporting import Reporting
from kroasync.controller.served_kinds import Served
from kroasync.engine.instance_status import TOO_LARGE, invalid
from kroasync.engine.verdict import Reported, Written
from kroasync.kube.api_errors import ApiError, ConflictError, InvalidError, NotFoundError, ServerError, TooBigError
from kroasync.kube.client import Client
from kroasync.metrics import Metrics
from kroasync.model.objects import Obj
from tests.unit.controller.samples import APPS, NOW, StubClient, app, app_key

STATUS = {"state": "ACTIVE", "conditions": []}
KEY = app_key()


class Desk:
    """A Reporting with one cached instance; `answers` has the answers of the API server, by method."""

    def __init__(self, cached: Obj, **answers: list[Any]) -> None:
        self.stub = StubClient(answers=answers)
        client = cast(Client, self.stub)
        # A report reads nothing of these.
        nothing = cast(Any, None)
        self.observing = Observing(client, nothing, nothing, nothing, nothing)
        recorder = Recorder(client, reporter="test", instance="test", now=lambda: NOW)
        recording = Recording(recorder, Metrics(), RuntimeOptions())
        self.reporting = Reporting(client, self.observing, recording, Fights(lambda: 0.0), lambda: NOW)
        store = InstanceStore(APPS, lambda key: None, lambda key, obj: None)
        store.put(cached)
        self.served = Served(resource=APPS, instances=store, watch=nothing)

    async def report(self, seen: Obj) -> Reported:
        return await self.reporting.report(KEY, self.served, seen, STATUS)

    @property
    def bound_to(self) -> list[str]:
        """The versions that the writes were bound to."""
        return [what[2]["metadata"]["resourceVersion"] for what in self.stub.asked if what[0] == "merge_patch"]


async def test_a_status_that_differs_is_written_to_the_cached_version() -> None:
    desk = Desk(app(version=2), merge_patch=[app(version=3, status=STATUS)])
    assert await desk.report(app(version=1)) == Reported(written=Written.YES)
    assert desk.bound_to == ["2"]


async def test_an_equal_status_is_not_sent() -> None:
    desk = Desk(app(version=2, status=STATUS))
    assert await desk.report(app(version=1)) == Reported(written=Written.SAME)
    assert desk.stub.asked == []


async def test_a_status_about_an_object_that_was_replaced_is_not_sent() -> None:
    desk = Desk(app(version=2, uid="new"))
    assert await desk.report(app(version=1, uid="old")) == Reported(written=Written.SAME)
    assert desk.stub.asked == []


async def test_after_a_conflict_the_fresh_object_gets_the_status() -> None:
    desk = Desk(
        app(version=2),
        merge_patch=[ConflictError("changed"), app(version=5, status=STATUS)],
        get=[app(version=4)],
    )
    assert await desk.report(app(version=2)) == Reported(written=Written.YES)
    assert desk.bound_to == ["2", "4"]


async def test_after_a_conflict_over_the_spec_the_next_pass_reports() -> None:
    desk = Desk(app(version=2), merge_patch=[ConflictError("changed")], get=[app(version=4, generation=2)])
    assert await desk.report(app(version=2)) == Reported(written=Written.SAME)


async def test_conflicts_without_end_are_given_up() -> None:
    versions = range(3, 8)
    desk = Desk(
        app(version=2),
        merge_patch=[ConflictError("changed") for _ in versions],
        get=[app(version=version) for version in versions],
    )
    assert await desk.report(app(version=2)) == Reported(written=Written.NO)
    assert desk.stub.answers == {"merge_patch": [], "get": []}


@pytest.mark.parametrize("gone_at", ["write", "read"])
async def test_nothing_is_left_to_write_once_the_instance_is_gone(gone_at: str) -> None:
    gone = NotFoundError("gone")
    desk = Desk(app(version=2), merge_patch=[gone if gone_at == "write" else ConflictError("changed")], get=[gone])
    assert await desk.report(app(version=2)) == Reported(written=Written.SAME)


@pytest.mark.parametrize(
    ("error", "expected", "is_unsure"),
    [
        (TooBigError("big"), Reported(written=Written.REFUSED, refusal=TOO_LARGE), False),
        (InvalidError("not so"), Reported(written=Written.REFUSED, refusal=invalid("not so")), True),
        (ServerError("oops"), Reported(written=Written.NO), True),
    ],
)
async def test_a_refusal_says_why_and_whether_the_cache_may_be_behind(
    error: ApiError, expected: Reported, is_unsure: bool
) -> None:
    desk = Desk(app(version=2), merge_patch=[error])
    assert await desk.report(app(version=2)) == expected
    assert (KEY in desk.observing.unsure) is is_unsure
