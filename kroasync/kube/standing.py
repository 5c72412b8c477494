"""Whether the API server lets this process work, inferred from the answers to its normal requests.

A credential that is no longer accepted stops everything. Only the rights that every controller needs count: to read
and write definitions, revisions and Events. A missing right for a kind of instances or children is reported where the
kind is needed. Open watches prove nothing: the API server does not end them when a right is removed.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from kroasync.kube.errors import ApiError, ForbiddenError, UnauthorizedError

# A single refusal may happen while a role is being replaced.
_REFUSALS: Final = 3
_FOR_S: Final = 10.0
_NEEDED: Final = re.compile(r"/(?:resourcegroups|resourcegraphdefinitions|graphrevisions|events)(?:/|$)")


@dataclass(slots=True)
class _Refusals:
    """Consecutive refusals."""

    since: float = 0.0
    count: int = 0
    text: str = ""

    def add(self, now: float, text: str) -> None:
        if not self.count:
            self.since = now
        self.count += 1
        self.text = text

    def problem(self, now: float) -> str | None:
        lasts = self.count >= _REFUSALS and now - self.since >= _FOR_S
        return f"refused for {now - self.since:.0f} s: {self.text}" if lasts else None


class Standing:
    """`clock` is monotonic seconds."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._credential = _Refusals()
        # Counted separately; otherwise a right to read would hide a missing right to write.
        self._reads = _Refusals()
        self._writes = _Refusals()

    def answered(self, method: str, path: str, error: ApiError | None) -> None:
        """The API server answered a request, with an error or without one."""
        if error is not None and (error.status == 429 or error.status >= 500):
            return  # says nothing about credential and rights
        if isinstance(error, UnauthorizedError):
            self._credential.add(self._clock(), str(error))
            return
        self._credential.count = 0
        if not _NEEDED.search(path):
            return
        rights = self._reads if method == "GET" else self._writes
        if isinstance(error, ForbiddenError) and not error.quotes_body:
            rights.add(self._clock(), str(error))
        else:
            rights.count = 0

    def problem(self) -> str | None:
        """The reason why this process cannot work; None if none is known."""
        now = self._clock()
        return self._credential.problem(now) or self._writes.problem(now) or self._reads.problem(now)
