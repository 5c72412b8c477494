"""Decide when the queue runs a key again after a pass, and what the log says about the pass.

These are functions over data: the findings of the pass (`Outcome`, `Teardown`), the result of its status write
(`Reported`), and the children that it left for later. The controller passes the verdict to the queue and decides
nothing.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import Final, TypeAlias

from kroasync.engine.actions import Refusal
from kroasync.engine.instance_status import TOO_LARGE, StatusRefusal, invalid
from kroasync.engine.outcome import ChangeKind, Outcome, Retry
from kroasync.engine.teardown import Teardown
from kroasync.model.objects import Obj, metadata, uid_of

# The longest delay before a retry while the API server is unavailable.
AWAY_S: Final = 5.0
# The longest pause between two attempts where the obstacle may disappear without an event.
WAITING_S: Final = 300.0
# A pass that waits for an event is repeated after this time, in case the event was missed.
SAFETY_NET_S: Final = 600.0
# How often a pass checks the children of an instance that is gone, until the children are gone too.
_DROPPED_S: Final = 1.0
_REASON_CHARS: Final = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """The result of a pass for its log line: only names, states and numbers, no values of objects."""

    # The status.state after the pass; empty if there was nothing to reconcile.
    outcome: str = ""
    # How many writes of each kind: `created`, `updated`, ...
    changes: dict[str, int] = field(default_factory=dict)
    # How many requests the pass sent for children, metadata and status; None if nobody counted them.
    sent: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AtRest:
    """Nothing to do until something changes."""

    summary: Summary = field(default_factory=Summary, compare=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryAfter:
    """Run the key again after a delay, or after its backoff if no delay is given. `reason` is for the log."""

    delay_s: float | None = None
    # The upper bound of the backoff; None: that of the queue, where only an edit or a new version can help.
    at_most_s: float | None = WAITING_S
    reason: str = ""
    summary: Summary = field(default_factory=Summary, compare=False)


Verdict: TypeAlias = AtRest | RetryAfter


class Written(Enum):
    """The result of a status write."""

    SAME = "same"  # no write was needed, or the object of the status is gone
    YES = "yes"
    NO = "no"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True, kw_only=True)
class Reported:
    """The result of a status write. `refusal` says why the API server refused the author's fields, if it did."""

    written: Written
    refusal: StatusRefusal | None = None

    @property
    def is_lost(self) -> bool:
        """Whether the cluster lacks the status, so that another pass must report."""
        return self.written in (Written.NO, Written.REFUSED)


def unwritten(refusal: Refusal, text: str) -> Reported:
    """The result of a status write that the API server answered with this refusal."""
    if refusal is Refusal.TOO_BIG:
        return Reported(written=Written.REFUSED, refusal=TOO_LARGE)
    if refusal is Refusal.INVALID:
        return Reported(written=Written.REFUSED, refusal=invalid(text))
    return Reported(written=Written.NO)


def may_have_been_written(refusal: Refusal) -> bool:
    """Whether a status write with this refusal may have succeeded, so that the cache may be stale."""
    return refusal is not Refusal.TOO_BIG


def is_of_another_object(seen: Obj, current: Obj) -> bool:
    """Whether another object of the same name replaced the object that a pass saw."""
    return uid_of(current) != uid_of(seen)


def is_of_an_older_spec(seen: Obj, fresh: Obj) -> bool:
    """Whether the spec changed after a pass saw it. The new spec has a pass of its own."""
    return metadata(fresh).get("generation") != metadata(seen).get("generation")


def of_pass(
    outcome: Outcome, reported: Reported, *, summary: Summary, deferred: Iterable[float], requeue_s: float
) -> Verdict:
    """The verdict on a pass that reported. `deferred` has the seconds until contested children may be written again."""
    if reported.written is Written.REFUSED and reported.refusal is TOO_LARGE:
        # Only a smaller instance can help, and an event announces that.
        return RetryAfter(delay_s=SAFETY_NET_S, reason="the status is refused", summary=summary)
    if reported.is_lost:
        return RetryAfter(reason="status not written", summary=summary)
    verdict = of_outcome(outcome, summary=summary, requeue_s=requeue_s)
    if reported.refusal not in (None, TOO_LARGE) and outcome.retry in (Retry.NONE, Retry.EVENT):
        # The API server may accept the author's fields later, so a retry sends them again.
        verdict = RetryAfter(reason=reported.refusal[1], at_most_s=SAFETY_NET_S, summary=summary)
    soonest_s = min(deferred, default=None)
    if soonest_s is not None and isinstance(verdict, RetryAfter) and verdict.delay_s is None:
        verdict = replace(verdict, at_most_s=min(soonest_s, verdict.at_most_s or soonest_s))
    return verdict


def of_outcome(outcome: Outcome, *, summary: Summary, requeue_s: float) -> Verdict:
    """The verdict on the outcome alone. `requeue_s` limits the delay if no watch announces a change; 0 for no limit.

    A pass over a stale object (`Retry.FRESH`) ends here: the pass over the fresh object reports.
    """
    text = "; ".join(f.message for f in outcome.failures)[:_REASON_CHARS] or (outcome.management_error or "")
    match outcome.retry:
        case Retry.NONE:
            return AtRest(summary=summary)
        case Retry.EVENT:
            return RetryAfter(delay_s=SAFETY_NET_S, reason="waits for an event", summary=summary)
        case Retry.FRESH:
            return RetryAfter(reason=text, at_most_s=AWAY_S, summary=summary)
        case Retry.BACKOFF:
            return RetryAfter(reason=text, at_most_s=_backoff_limit(outcome, requeue_s), summary=summary)


def _backoff_limit(outcome: Outcome, requeue_s: float) -> float | None:
    """A short limit for failures that are not the instance's fault: no API server, or a missing namespace or kind. No
    limit if somebody must edit what the API server finds invalid.
    """
    refusals = {failure.refusal for failure in outcome.failures if failure.retryable}
    if outcome.management_error is not None:
        refusals.add(outcome.management_refusal)
    if refusals == {Refusal.UNAVAILABLE}:
        return AWAY_S
    if refusals == {Refusal.MISSING} and requeue_s > 0:
        return requeue_s
    return None if refusals == {Refusal.INVALID} else WAITING_S


def of_teardown(teardown: Teardown, *, summary: Summary) -> Verdict:
    """The verdict on one step of a deletion that is not over."""
    delay_s = None if teardown.retry is Retry.BACKOFF else SAFETY_NET_S
    return RetryAfter(delay_s=delay_s, reason=teardown.message, summary=summary)


def of_clearing(teardown: Teardown, *, is_any_going: bool) -> Verdict | None:
    """The verdict on one wave of deletes for an instance that is gone; None if the next wave can follow."""
    if teardown.retry is Retry.BACKOFF:
        return RetryAfter(reason=teardown.message)
    if teardown.deletes and not is_any_going:
        return None
    # No instance has this UID any more, so no event of a child wakes the key.
    return RetryAfter(delay_s=_DROPPED_S, reason=teardown.message)


def is_next_wave_due(teardown: Teardown, *, is_any_going: bool) -> bool:
    """Whether the whole wave is gone already, so that the same pass continues with the next wave."""
    return bool(teardown.deletes) and teardown.retry is Retry.EVENT and not is_any_going


def no_later(verdict: Verdict, delay_s: float, reason: str) -> Verdict:
    """The verdict, but with this delay at most."""
    if isinstance(verdict, AtRest):
        return RetryAfter(delay_s=delay_s, reason=reason, summary=verdict.summary)
    if verdict.delay_s is None:
        return replace(verdict, at_most_s=min(delay_s, verdict.at_most_s or delay_s))
    return replace(verdict, delay_s=min(delay_s, verdict.delay_s))


def summed_up(status: Obj, changes: Sequence[ChangeKind], sent: int, written: Written) -> Summary:
    """The summary of a pass that reported this status; `sent` counts its other requests."""
    counted = Counter(kind.value for kind in changes)
    if written is Written.YES:
        counted["status written"] = 1
    return Summary(
        outcome=str(status.get("state") or ""), changes=dict(counted), sent=sent + (written is not Written.SAME)
    )
