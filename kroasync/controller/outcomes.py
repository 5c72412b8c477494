"""What a reconcile says to the queue."""

from dataclasses import dataclass
from typing import TypeAlias


@dataclass(frozen=True, slots=True)
class Done:
    """Nothing to do until something changes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryAfter:
    """Come back after a delay, or after the key's backoff when no delay is given. `reason` is for the log."""

    delay_s: float | None = None
    reason: str = ""


Verdict: TypeAlias = Done | RetryAfter
