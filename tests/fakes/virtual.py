"""An event loop whose clock jumps to the next timer: hours pass in milliseconds, in the same order every time."""

import asyncio
import selectors
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

T = TypeVar("T")

START_S = 1000.0


class NothingToWaitForError(Exception):
    """No callback is ready and no timer is set: whatever is awaited never happens."""


class _Selector(selectors.SelectSelector):
    """No file is ever ready; waiting moves the clock."""

    def __init__(self) -> None:
        super().__init__()
        self.now_s = START_S

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None:
            raise NothingToWaitForError
        self.now_s += max(0.0, timeout)
        return []


class VirtualLoop(asyncio.SelectorEventLoop):
    """`turns` counts iterations; `at_turn` is called once in the iteration of that number."""

    def __init__(self) -> None:
        self._virtual = _Selector()
        super().__init__(self._virtual)
        self.turns = 0
        self.at_turn: tuple[int, Callable[[], None]] | None = None

    def time(self) -> float:
        return self._virtual.now_s

    def _run_once(self) -> None:
        self.turns += 1
        if self.at_turn is not None and self.turns >= self.at_turn[0]:
            call, self.at_turn = self.at_turn[1], None
            call()
        super()._run_once()  # type: ignore[misc]


def run(main: Coroutine[Any, Any, T]) -> T:
    """The result of a coroutine in virtual time; what is left running is cancelled."""
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(main)
