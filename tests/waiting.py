"""Waits until another process, thread or task has done something; after the deadline, reports the last state."""

import asyncio
import json
import threading
import time
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from kroasync.kube.api_errors import NotFoundError

T = TypeVar("T")

POLL_S = 0.02


def eventually(
    look: Callable[[], T],
    check: Callable[[T], Any] = bool,
    *,
    timeout_s: float = 20.0,
    what: str = "",
    why: Callable[[], str] = lambda: "",
) -> T:
    """The result of `look` for which `check` is true. Raises AssertionError with the last result."""
    deadline = time.monotonic() + timeout_s
    while True:
        seen = look()
        if check(seen):
            return seen
        if time.monotonic() > deadline:
            shown = json.dumps(_shown(seen), indent=1, default=str)
            raise AssertionError(f"not within {timeout_s:g} s: {what}\nlast seen: {shown}\n{why()}".rstrip())
        threading.Event().wait(POLL_S)


def _shown(seen: Any) -> Any:
    """An object without `managedFields`, for people."""
    if isinstance(seen, dict):
        return {key: _shown(value) for key, value in seen.items() if key != "managedFields"}
    return [_shown(value) for value in seen] if isinstance(seen, list) else seen


async def until(look: Callable[[], T], *, timeout_s: float = 30.0) -> T:
    """The first true result of `look`; raises TimeoutError."""
    async with asyncio.timeout(timeout_s):
        while not (found := look()):  # noqa: ASYNC110 - what it waits for announces no change
            await asyncio.sleep(POLL_S)
        return found


async def until_answered(ask: Callable[[], Awaitable[T]], *, timeout_s: float = 30.0) -> T:
    """The first true answer of `ask`; a NotFoundError counts as not yet."""
    async with asyncio.timeout(timeout_s):
        while True:
            try:
                found = await ask()
            except NotFoundError:
                found = None
            if found:
                return found
            await asyncio.sleep(POLL_S)


async def until_missing(ask: Callable[[], Awaitable[object]], *, timeout_s: float = 30.0) -> None:
    """Ask until the answer is a NotFoundError."""
    async with asyncio.timeout(timeout_s):
        while True:
            try:
                await ask()
            except NotFoundError:
                return
            await asyncio.sleep(POLL_S)
