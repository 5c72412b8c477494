"""The verdict of a pass, from its findings, the result of its status write, and the work that it left for later."""

from dataclasses import replace

import pytest

from kroasync.engine.actions import Delete, Refusal
from kroasync.engine.instance_status import TOO_LARGE, invalid
from kroasync.engine.outcome import ChangeKind, Failure, Outcome, Retry
from kroasync.engine.scope import Scope
from kroasync.engine.teardown import Teardown, blocked
from kroasync.engine.verdict import (
    AWAY_S,
    SAFETY_NET_S,
    AtRest,
    Reported,
    RetryAfter,
    Summary,
    Verdict,
    Written,
    is_next_wave_due,
    is_of_an_older_spec,
    is_of_another_object,
    may_have_been_written,
    no_later,
    of_clearing,
    of_outcome,
    of_pass,
    of_teardown,
    summed_up,
    unwritten,
)
from kroasync.model.objects import Key
from tests.samples import CONFIG_MAPS

WRITTEN = Reported(written=Written.YES)
SAME = Reported(written=Written.SAME)
CONFIG = Key(CONFIG_MAPS, "default", "a")


def outcome(retry: Retry, *refusals: Refusal | None, management_error: str | None = None) -> Outcome:
    failures = tuple(Failure(message=f"f{i}", retryable=True, refusal=r) for i, r in enumerate(refusals))
    return Outcome(instance={}, scope=Scope({}), retry=retry, failures=failures, management_error=management_error)


def verdict(found: Outcome, reported: Reported = SAME, *, deferred: tuple[float, ...] = ()) -> Verdict:
    return of_pass(found, reported, summary=Summary(), deferred=deferred, requeue_s=3.0)


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (outcome(Retry.NONE), AtRest()),
        (outcome(Retry.EVENT), RetryAfter(delay_s=SAFETY_NET_S, reason="waits for an event")),
        (outcome(Retry.FRESH, Refusal.CONFLICT), RetryAfter(reason="f0", at_most_s=AWAY_S)),
        # Only an edit can help.
        (outcome(Retry.BACKOFF, Refusal.INVALID), RetryAfter(reason="f0", at_most_s=None)),
        # Somebody may grant a right, or change a quota or a webhook: no event tells.
        (outcome(Retry.BACKOFF, Refusal.FORBIDDEN), RetryAfter(reason="f0", at_most_s=300.0)),
        # The server fails at one object: nobody knows for how long.
        (outcome(Retry.BACKOFF, Refusal.FAULT), RetryAfter(reason="f0", at_most_s=300.0)),
        (outcome(Retry.BACKOFF, management_error="no rights"), RetryAfter(reason="no rights", at_most_s=300.0)),
        # The server is down; a kind or namespace does not exist yet; there is also another error.
        (outcome(Retry.BACKOFF, Refusal.UNAVAILABLE), RetryAfter(reason="f0", at_most_s=AWAY_S)),
        (outcome(Retry.BACKOFF, Refusal.MISSING), RetryAfter(reason="f0", at_most_s=3.0)),
        (outcome(Retry.BACKOFF, Refusal.MISSING, Refusal.INVALID), RetryAfter(reason="f0; f1", at_most_s=300.0)),
    ],
)
def test_what_a_pass_found_says_when_to_come_back(found: Outcome, expected: Verdict) -> None:
    assert of_outcome(found, summary=Summary(), requeue_s=3.0) == expected
    assert verdict(found) == expected


def test_what_is_not_there_yet_is_tried_like_other_things_that_are_waited_for_without_an_interval() -> None:
    found = outcome(Retry.BACKOFF, Refusal.MISSING)
    assert of_outcome(found, summary=Summary(), requeue_s=0.0) == RetryAfter(reason="f0", at_most_s=300.0)


def test_an_instance_whose_metadata_cannot_be_written_for_now_is_tried_soon() -> None:
    found = replace(outcome(Retry.BACKOFF, management_error="away"), management_refusal=Refusal.UNAVAILABLE)
    assert verdict(found) == RetryAfter(reason="away", at_most_s=AWAY_S)


def test_only_failures_that_are_retried_shorten_the_backoff() -> None:
    failures = (
        Failure(message="a", retryable=True, refusal=Refusal.UNAVAILABLE),
        Failure(message="b", retryable=False, refusal=Refusal.INVALID),
    )
    found = Outcome(instance={}, scope=Scope({}), retry=Retry.BACKOFF, failures=failures)
    assert verdict(found) == RetryAfter(reason="a; b", at_most_s=AWAY_S)


@pytest.mark.parametrize("retry", [Retry.NONE, Retry.EVENT, Retry.BACKOFF])
def test_a_status_that_is_not_written_is_reported_by_another_pass(retry: Retry) -> None:
    expected = RetryAfter(reason="status not written")
    assert verdict(outcome(retry), Reported(written=Written.NO)) == expected
    assert verdict(outcome(retry), Reported(written=Written.REFUSED, refusal=invalid("why"))) == expected


def test_a_status_too_large_without_the_authors_fields_waits_for_a_change_of_the_instance() -> None:
    reported = Reported(written=Written.REFUSED, refusal=TOO_LARGE)
    assert verdict(outcome(Retry.NONE), reported) == RetryAfter(delay_s=SAFETY_NET_S, reason="the status is refused")


@pytest.mark.parametrize("retry", [Retry.NONE, Retry.EVENT])
def test_refused_fields_are_tried_again(retry: Retry) -> None:
    reported = Reported(written=Written.YES, refusal=invalid("not so"))
    assert verdict(outcome(retry), reported) == RetryAfter(reason=invalid("not so")[1], at_most_s=SAFETY_NET_S)


def test_fields_that_are_too_large_are_not_tried_again() -> None:
    assert verdict(outcome(Retry.NONE), Reported(written=Written.YES, refusal=TOO_LARGE)) == AtRest()


def test_a_pass_that_failed_comes_back_for_that_whatever_became_of_the_fields() -> None:
    reported = Reported(written=Written.YES, refusal=invalid("not so"))
    assert verdict(outcome(Retry.BACKOFF, Refusal.INVALID), reported) == RetryAfter(reason="f0", at_most_s=None)


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (outcome(Retry.BACKOFF, Refusal.CONFLICT), RetryAfter(reason="f0", at_most_s=2.0)),
        (outcome(Retry.BACKOFF, Refusal.UNAVAILABLE), RetryAfter(reason="f0", at_most_s=2.0)),
        (outcome(Retry.EVENT), RetryAfter(delay_s=SAFETY_NET_S, reason="waits for an event")),
        (outcome(Retry.NONE), AtRest()),
    ],
)
def test_a_backoff_ends_when_the_first_deferred_child_may_be_written(found: Outcome, expected: Verdict) -> None:
    assert verdict(found, WRITTEN, deferred=(30.0, 2.0)) == expected


def test_a_deferred_child_does_not_lengthen_a_backoff() -> None:
    found = outcome(Retry.BACKOFF, Refusal.UNAVAILABLE)
    assert verdict(found, deferred=(30.0,)) == RetryAfter(reason="f0", at_most_s=AWAY_S)


@pytest.mark.parametrize(
    ("refusal", "expected", "doubtful"),
    [
        (Refusal.TOO_BIG, Reported(written=Written.REFUSED, refusal=TOO_LARGE), False),
        (Refusal.INVALID, Reported(written=Written.REFUSED, refusal=invalid("text")), True),
        (Refusal.FORBIDDEN, Reported(written=Written.NO), True),
        (Refusal.UNAVAILABLE, Reported(written=Written.NO), True),
    ],
)
def test_what_a_refused_status_comes_to(refusal: Refusal, expected: Reported, doubtful: bool) -> None:
    assert unwritten(refusal, "text") == expected
    assert may_have_been_written(refusal) is doubtful


def test_only_a_status_the_cluster_does_not_have_is_lost() -> None:
    assert [one for one in Written if Reported(written=one).is_lost] == [Written.NO, Written.REFUSED]


def test_what_a_pass_found_is_of_one_object_and_one_spec() -> None:
    seen = {"metadata": {"uid": "1", "generation": 1, "resourceVersion": "5"}}
    later = {"metadata": {"uid": "1", "generation": 1, "resourceVersion": "6"}}
    edited = {"metadata": {"uid": "1", "generation": 2}}
    replaced = {"metadata": {"uid": "2", "generation": 1}}
    assert [is_of_another_object(seen, one) for one in (later, edited, replaced)] == [False, False, True]
    assert [is_of_an_older_spec(seen, one) for one in (later, edited, replaced)] == [False, True, False]


DELETE = Delete(node="a", key=CONFIG, uid="1")
WAVE = Teardown(message="wave 1", deletes=(DELETE,))
WAITING = Teardown(message="wave 1")
REFUSED = Teardown(message="not so", deletes=(DELETE,), retry=Retry.BACKOFF)


def test_a_deletion_waits_for_the_events_of_its_wave() -> None:
    assert of_teardown(WAITING, summary=Summary()) == RetryAfter(delay_s=SAFETY_NET_S, reason="wave 1")


def test_a_deletion_that_is_stuck_backs_off() -> None:
    assert of_teardown(blocked("no"), summary=Summary()) == RetryAfter(reason="deletion blocked: no")


@pytest.mark.parametrize(
    ("plan", "is_any_going", "expected"),
    [(WAVE, False, True), (WAVE, True, False), (WAITING, False, False), (REFUSED, False, False)],
)
def test_the_next_wave_goes_when_the_whole_wave_is_gone(plan: Teardown, is_any_going: bool, expected: bool) -> None:
    assert is_next_wave_due(plan, is_any_going=is_any_going) is expected


@pytest.mark.parametrize(
    ("plan", "is_any_going", "expected"),
    [
        (WAVE, False, None),
        (WAVE, True, RetryAfter(delay_s=1.0, reason="wave 1")),
        (WAITING, True, RetryAfter(delay_s=1.0, reason="wave 1")),
        (REFUSED, False, RetryAfter(reason="not so")),
    ],
)
def test_what_a_gone_instance_left_is_looked_at_until_it_is_gone(
    plan: Teardown, is_any_going: bool, expected: Verdict | None
) -> None:
    assert of_clearing(plan, is_any_going=is_any_going) == expected


@pytest.mark.parametrize(
    ("before", "expected"),
    [
        (AtRest(), RetryAfter(delay_s=8, reason="why")),
        (RetryAfter(delay_s=600, reason="x"), RetryAfter(delay_s=8, reason="x")),
        (RetryAfter(delay_s=2, reason="x"), RetryAfter(delay_s=2, reason="x")),
        (RetryAfter(reason="x"), RetryAfter(at_most_s=8, reason="x")),
        (RetryAfter(at_most_s=5, reason="x"), RetryAfter(at_most_s=5, reason="x")),
        (RetryAfter(at_most_s=50, reason="x"), RetryAfter(at_most_s=8, reason="x")),
    ],
)
def test_after_a_delay_at_the_latest(before: Verdict, expected: Verdict) -> None:
    assert no_later(before, 8, "why") == expected


@pytest.mark.parametrize(
    ("written", "changes", "sent"),
    [
        (Written.SAME, {"created": 2}, 2),
        (Written.YES, {"created": 2, "status written": 1}, 3),
        (Written.NO, {"created": 2}, 3),
    ],
)
def test_a_summary_counts_writes_by_kind_and_requests(written: Written, changes: dict[str, int], sent: int) -> None:
    found = summed_up({"state": "ACTIVE"}, [ChangeKind.CREATED] * 2, 2, written)
    assert found == Summary(outcome="ACTIVE", changes=changes, sent=sent)
