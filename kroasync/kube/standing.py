"""Whether the API server accepts this process's credential, told by what it answers anyway.

Open watches do not tell: the API server lets them go on until they end. What access control refuses is passed on: see
`rights`.
"""

import asyncio
from collections.abc import Callable
from typing import Final

from kroasync.kube.api_errors import ApiError, ForbiddenError, UnauthorizedError

# One refusal may be of a moment in which a token is replaced.
_REFUSALS: Final = 3
_FOR_S: Final = 10.0


class Standing:
    """`clock` is monotonic seconds. `refused` is set when access control refuses a request."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        # Refusals of the credential in a row.
        self._since = 0.0
        self._count = 0
        self._text = ""
        self.refused = asyncio.Event()

    def answered(self, error: ApiError | None) -> None:
        """The API server answered a request, with an error or without one."""
        if error is not None and (error.status == 429 or error.status >= 500):
            return  # it did not come to that
        if isinstance(error, UnauthorizedError):
            self._since = self._since if self._count else self._clock()
            self._count += 1
            self._text = str(error)
            return
        self._count = 0
        if isinstance(error, ForbiddenError) and not error.quotes_body:
            self.refused.set()

    def problem(self) -> str | None:
        """What keeps this process from its work; None while nothing is known to."""
        lasts_s = self._clock() - self._since
        if self._count < _REFUSALS or lasts_s < _FOR_S:
            return None
        return f"refused for {lasts_s:.0f} s: {self._text}"
