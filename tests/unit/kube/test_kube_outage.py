"""One log line for an outage and one for its end, however many watches there are."""

from typing import Any

import pytest

from kroasync.kube.api_errors import ApiError, InvalidError, ServerError, ThrottledError, UnreachableError
from kroasync.kube.outage import Outage, Stumbles


def lines(caplog: pytest.LogCaptureFixture) -> list[tuple[str, Any]]:
    return [(record.getMessage(), record.__dict__["watches"]) for record in caplog.records]


FAIL, GO_ON = "watches fail; retrying without further messages", "watches work again"


def outage(found: Outage, watches: range, *, begin: int, end: int) -> None:
    """All watches fail every five seconds, and recover one after the other."""
    for now in range(begin, end, 5):
        for watch in watches:
            found.failed(watch, f"{watch}: no answer", now)
    for watch in watches:
        found.back(watch, end)


def test_an_outage_of_many_watches_is_two_lines(caplog: pytest.LogCaptureFixture) -> None:
    found = Outage()
    outage(found, range(70), begin=0, end=300)
    outage(found, range(70), begin=1000, end=1010)
    assert lines(caplog) == [(FAIL, 70), (GO_ON, 70)] * 2
    assert [r.__dict__["lasted_s"] for r in caplog.records if r.getMessage() == GO_ON] == [295, 5]
    assert caplog.records[0].__dict__["first"] == "0: no answer"


def test_a_connection_that_is_cut_once_is_not_worth_a_line(caplog: pytest.LogCaptureFixture) -> None:
    found = Outage()
    for watch in range(70):
        found.failed(watch, "cut", 0)
        found.back(watch, 1)
    assert lines(caplog) == []


def test_watches_that_begin_to_fail_later_are_of_the_same_outage(caplog: pytest.LogCaptureFixture) -> None:
    found = Outage()
    for now in range(0, 50, 5):
        for watch in range(now + 1):
            found.failed(watch, "away", now)
    for watch in range(50):
        found.back(watch, 60)
    assert [message for message, _ in lines(caplog)] == [FAIL, GO_ON]


def test_one_watch_that_fails_for_good_hides_no_outage(caplog: pytest.LogCaptureFixture) -> None:
    found = Outage()
    for now in range(0, 1000, 5):
        found.failed("odd", "no such server", now)
    outage(found, range(70), begin=1000, end=1060)
    found.back("odd", 2000)
    assert lines(caplog) == [(FAIL, 1), (FAIL, 71), (GO_ON, 71)]


FAULT = ServerError("Internal error occurred: index out of range", status=500, reason="InternalError")


def stumbling(error: ApiError, times: int, *, others: bool) -> list[bool]:
    """The answers for one object that fails so often; other writes succeed meanwhile, or not."""
    found, told = Stumbles(), []
    for _ in range(times):
        told.append(found.failed("object", error))
        if others:
            found.wrote()
    return told


def test_a_server_that_fails_at_one_object_is_not_away() -> None:
    assert stumbling(FAULT, 7, others=True) == [False] * 4 + [True] * 3


def test_a_server_that_takes_no_other_write_may_be_away() -> None:
    assert stumbling(FAULT, 100, others=False) == [False] * 100


@pytest.mark.parametrize(
    "error",
    [
        ServerError("bad gateway", status=502),
        ServerError("unavailable", status=503, reason="ServiceUnavailable"),
        ServerError("timeout", status=504, reason="Timeout"),
        ServerError("a proxy says no", status=500),
        ServerError('failed calling webhook "w": connection refused', status=500, reason="InternalError"),
        ThrottledError("later", status=429),
        UnreachableError("no answer"),
        InvalidError("no", status=422, reason="Invalid"),
    ],
)
def test_what_says_that_the_server_or_a_webhook_is_away_is_no_fault_of_the_object(error: ApiError) -> None:
    assert not any(stumbling(error, 100, others=True))


def test_a_success_ends_the_count() -> None:
    found = Stumbles()
    for _ in range(4):
        found.failed("object", FAULT)
    found.wrote()
    found.passed("object")
    assert not found.failed("object", FAULT)


def test_only_so_many_objects_are_remembered() -> None:
    found = Stumbles()
    for number in range(10_000):
        found.failed(number, FAULT)
    assert len(found._failed) <= 1024
