"""Reports failing watches together: if the API server is down, all of them fail every few seconds.

One line of the log reports that watches fail, and one that they work again. A single watch that fails forever, for
example of an aggregated API whose server is gone, does not suppress these lines for all others.
"""

import logging
from collections.abc import Hashable
from typing import Final

log = logging.getLogger("watch-manager")

# Watches that start to fail within this time belong to the same outage.
_SAME_S: Final = 60.0
# The share of the failed watches that may still fail when the outage is over.
_LEFT: Final = 0.1


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
