"""Tells an API server that is away from one that fails at a single watch or at a single object.

`Outage` reports failing watches together: if the API server is down, all of them fail every few seconds.

One line of the log reports that watches fail, and one that they work again. A single watch that fails forever, for
example of an aggregated API whose server is gone, does not suppress these lines for all others.

`Stumbles` counts the failed writes of each object. A server that answers 500 to one object again and again, while it
takes other writes, is not away: something is wrong with that object.
"""

import logging
from collections import OrderedDict
from collections.abc import Hashable
from typing import Final

from kroasync.kube.api_errors import ApiError, ServerError

log = logging.getLogger("watch-manager")

# Watches that start to fail within this time belong to the same outage.
_SAME_S: Final = 60.0
# The share of the failed watches that may still fail when the outage is over.
_LEFT: Final = 0.1
# This many failures in a row show that a server fails at one object; retries take about three seconds for them.
_STUMBLES: Final = 5
_STUMBLES_KEPT: Final = 1024
# A webhook that the API server cannot reach, which is away for all objects of a kind.
_BY_WEBHOOK: Final = "failed calling webhook"


class Outage:
    """Times are monotonic seconds."""

    def __init__(self) -> None:
        self._down: set[Hashable] = set()
        # Whether the end must still be reported, how many watches failed at the start or soon after, and when the
        # outage started.
        self._is_told = False
        self._known = 0
        self._since = 0.0

    def failed(self, watch: Hashable, what: str, now: float) -> None:
        """A watch failed. A single failure is normal: a server that restarts cuts its connections."""
        again = watch in self._down
        self._down.add(watch)
        count, is_new = len(self._down), not self._is_told or now - self._since >= _SAME_S
        if not is_new:
            self._known = max(self._known, count)
        elif again and count >= 2 * self._known:
            log.warning("watches fail; retrying without further messages", extra={"watches": count, "first": what})
            self._is_told, self._known, self._since = True, count, now

    def back(self, watch: Hashable, now: float) -> None:
        """A watch works again, or is no longer needed."""
        self._down.discard(watch)
        count = len(self._down)
        if self._is_told and count <= self._known * _LEFT:
            log.warning("watches work again", extra={"watches": self._known, "lasted_s": round(now - self._since, 1)})
            self._is_told = False
        if not self._is_told:
            self._known = min(self._known, count)


class Stumbles:
    """The failed writes of each object, and how many writes succeeded since the first of them."""

    def __init__(self) -> None:
        self._written = 0
        # By object: the number of failures in a row, and `_written` at the first.
        self._failed: OrderedDict[Hashable, tuple[int, int]] = OrderedDict()

    def wrote(self) -> None:
        """The API server accepted a write of any object."""
        self._written += 1

    def passed(self, subject: Hashable) -> None:
        """The API server accepted or refused the object: it does not fail at it."""
        self._failed.pop(subject, None)

    def failed(self, subject: Hashable, error: ApiError) -> bool:
        """Note a failed write of an object; True if the server fails at this object alone."""
        if not isinstance(error, ServerError) or error.is_outage or _BY_WEBHOOK in error.message:
            return False
        count, since = self._failed.pop(subject, (0, self._written))
        self._failed[subject] = (count + 1, since)
        if len(self._failed) > _STUMBLES_KEPT:
            self._failed.popitem(last=False)
        return count + 1 >= _STUMBLES and self._written > since
