"""What a reconcile says to the queue."""

from dataclasses import dataclass
from typing import Final, TypeAlias

# Longest pause before looking again whether an API server that was away is back.
AWAY_S: Final = 5.0


@dataclass(frozen=True, slots=True)
class Done:
    """Nothing to do until something changes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryAfter:
    """Come back after a delay, or after the key's backoff when no delay is given. `reason` is for the log."""

    delay_s: float | None = None
    # Upper bound of the backoff: nothing is wrong with the key, the API server could not be reached.
    at_most_s: float | None = None
    reason: str = ""


Verdict: TypeAlias = Done | RetryAfter
