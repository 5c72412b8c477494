"""What a reconcile says to the queue."""

from dataclasses import dataclass, field
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
