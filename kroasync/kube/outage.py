"""Failing watches, told together: an API server that is away fails all of them, every few seconds.

One line tells that watches fail, one that they go on. A single watch that fails for good, of an API whose server is
gone, keeps neither from being told of all the others.
"""

import logging
from collections.abc import Hashable
from typing import Final

log = logging.getLogger("watch-manager")

# Watches that begin to fail within this time are of the same outage.
_SAME_S: Final = 60.0
# So many of those that failed may still do so when it is over.
_LEFT: Final = 0.1


class Outage:
    """Times are monotonic seconds."""

    def __init__(self) -> None:
        self._down: set[Hashable] = set()
        # Whether the end is still to be told, how many failed when the beginning was, or soon after, and when that was.
        self._is_told = False
        self._known = 0
        self._since = 0.0

    def failed(self, watch: Hashable, what: str, now: float) -> None:
        """A watch failed. Once is usual: the connection of a server that restarts is cut."""
        again = watch in self._down
        self._down.add(watch)
        count, is_new = len(self._down), not self._is_told or now - self._since >= _SAME_S
        if not is_new:
            self._known = max(self._known, count)
        elif again and count >= 2 * self._known:
            log.warning("watches fail; retrying without further messages", extra={"watches": count, "first": what})
            self._is_told, self._known, self._since = True, count, now

    def back(self, watch: Hashable, now: float) -> None:
        """A watch works again, or nobody needs it any more."""
        self._down.discard(watch)
        count = len(self._down)
        if self._is_told and count <= self._known * _LEFT:
            log.warning("watches work again", extra={"watches": self._known, "lasted_s": round(now - self._since, 1)})
            self._is_told = False
        if not self._is_told:
            self._known = min(self._known, count)
