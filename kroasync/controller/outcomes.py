"""What a reconcile says to the queue."""

from dataclasses import dataclass, field, replace
from typing import Final, TypeAlias

# Longest pause before looking again whether an API server that was away is back.
AWAY_S: Final = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """What a pass came to, for its line in the log: no values of objects, only names, states and numbers."""

    # status.state afterwards; empty if there was nothing to reconcile.
    outcome: str = ""
    # Writes by what they did, and how often: `created`, `updated`, ...
    changes: dict[str, int] = field(default_factory=dict)
    # Requests for children, metadata and status; None where they are not counted.
    sent: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """Nothing to do until something changes."""

    summary: Summary = field(default_factory=Summary, compare=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryAfter:
    """Come back after a delay, or after the key's backoff when no delay is given. `reason` is for the log."""

    delay_s: float | None = None
    # Upper bound of the backoff: nothing is wrong with the key, the API server could not be reached.
    at_most_s: float | None = None
    reason: str = ""
    summary: Summary = field(default_factory=Summary, compare=False)


Verdict: TypeAlias = Done | RetryAfter


def no_later(verdict: Verdict, delay_s: float, reason: str) -> Verdict:
    """The verdict, and after this delay at the latest."""
    if isinstance(verdict, Done):
        return RetryAfter(delay_s=delay_s, reason=reason, summary=verdict.summary)
    if verdict.delay_s is None:
        return replace(verdict, at_most_s=min(delay_s, verdict.at_most_s or delay_s))
    return replace(verdict, delay_s=min(delay_s, verdict.delay_s))
