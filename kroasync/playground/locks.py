"""Advisory locks between processes. The kernel releases a lock when its holder ends, however it ends."""

from __future__ import annotations

import fcntl
import threading
import time
from collections.abc import Callable

_POLL_S = 0.05


def lock(descriptor: int, *, timeout_s: float, waiting: Callable[[], None] = lambda: None) -> bool:
    """Lock the open file or folder until its descriptor closes; False if another process held it until the timeout.

    `waiting` is called after each attempt that fails.
    """
    deadline = time.monotonic() + timeout_s
    while not _try_lock(descriptor):
        if time.monotonic() >= deadline:
            return False
        waiting()
        threading.Event().wait(_POLL_S)
    return True


def _try_lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
