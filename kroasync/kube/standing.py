"""Learns from the answers to ordinary requests whether the API server accepts this process's credential.

Open watches show nothing: the API server does not end them when the credential becomes invalid. `rights` handles the
refusals of access control.
"""

import asyncio
from collections.abc import Callable
from typing import Final

from kroasync.kube.api_errors import ApiError, ForbiddenError, UnauthorizedError

# A single refusal may happen while a token is replaced.
_REFUSALS: Final = 3
_FOR_S: Final = 10.0


class Standing:
    """`clock` is monotonic seconds. `refused` is set when access control refuses a request."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        # Consecutive refusals of the credential: the time of the first, their number and the last message.
        self._since = 0.0
        self._count = 0
        self._text = ""
        self.refused = asyncio.Event()

    def answered(self, error: ApiError | None) -> None:
        """The API server answered a request, with an error or without one."""
        if error is not None and (error.status == 429 or error.status >= 500):
            return  # The server may not have checked the credential.
        if isinstance(error, UnauthorizedError):
            self._since = self._since if self._count else self._clock()
            self._count += 1
            self._text = str(error)
            return
        self._count = 0
        if isinstance(error, ForbiddenError) and not error.quotes_body:
            self.refused.set()

    def problem(self) -> str | None:
        """Why the API server refuses this process; None if it is not known to refuse it."""
        lasts_s = self._clock() - self._since
        if self._count < _REFUSALS or lasts_s < _FOR_S:
            return None
        return f"refused for {lasts_s:.0f} s: {self._text}"
