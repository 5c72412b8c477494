"""An event loop whose clock jumps to the next timer: hours pass in milliseconds, in the same order every time.

Several processes may share one loop: everything that starts inside `Process.context()`, directly or not, belongs to
that process. A process can be paused while the others, and the clock, continue.
"""

import asyncio
import heapq
import selectors
from collections.abc import Callable, Coroutine
from contextvars import Context, ContextVar, copy_context
from typing import Any, TypeVar

T = TypeVar("T")

START_S = 1000.0


class NothingToWaitForError(Exception):
    """No callback is ready and no timer is set, so the awaited event can never happen."""


class _Selector(selectors.SelectSelector):
    """A selector without ready files: waiting moves the clock."""

    def __init__(self) -> None:
        super().__init__()
        self.now_s = START_S

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None:
            raise NothingToWaitForError
        self.now_s += max(0.0, timeout)
        return []


class Process:
    """A process on the loop, which can be paused. `held` has its callbacks and timers while it is paused."""

    def __init__(self) -> None:
        self.paused_at: float | None = None
        self.held_ready: list[asyncio.Handle] = []
        self.held_timers: list[asyncio.TimerHandle] = []

    def context(self) -> Context:
        """A context for `create_task`: the task and everything that it starts belong to this process."""
        context = copy_context()
        context.run(_PROCESS.set, self)
        return context


_PROCESS: ContextVar[Process | None] = ContextVar("process", default=None)


class VirtualLoop(asyncio.SelectorEventLoop):
    """`turns` counts iterations; `at_turn` is called once in the iteration of that number."""

    # An attribute of the loop's base class.
    _ready: Any
    _scheduled: list[Any]

    def __init__(self) -> None:
        self._virtual = _Selector()
        super().__init__(self._virtual)
        self.turns = 0
        self.at_turn: tuple[int, Callable[[], None]] | None = None
        self._paused = 0

    def time(self) -> float:
        return self._virtual.now_s

    def compute(self, seconds: float) -> None:
        """The running callback takes this long, and blocks everything else."""
        self._virtual.now_s += seconds

    def pause(self, process: Process) -> None:
        """From the next turn on, nothing of the process runs, as after SIGSTOP."""
        assert process.paused_at is None
        process.paused_at = self.time()
        self._paused += 1
        timers = [timer for timer in self._scheduled if _owner(timer) is process and not timer.cancelled()]
        for timer in timers:
            timer._scheduled = False
        process.held_timers = timers
        self._scheduled = [timer for timer in self._scheduled if timer._scheduled]
        heapq.heapify(self._scheduled)

    def resume(self, process: Process, *, suspended: bool = False) -> None:
        """Continue the process. Timers that expired meanwhile are due at once, unless its machine was `suspended`."""
        assert process.paused_at is not None
        away_s, process.paused_at = self.time() - process.paused_at, None
        self._paused -= 1
        self._ready.extend(process.held_ready)
        process.held_ready.clear()
        for timer in process.held_timers:
            if not timer.cancelled():
                timer._when += away_s if suspended else 0.0  # type: ignore[attr-defined]
                timer._scheduled = True  # type: ignore[attr-defined]
                heapq.heappush(self._scheduled, timer)
        process.held_timers.clear()

    def _hold_back(self) -> None:
        """Callbacks of paused processes stay with them."""
        for _ in range(len(self._ready)):
            handle = self._ready.popleft()
            owner = _owner(handle)
            if owner is not None and owner.paused_at is not None:
                owner.held_ready.append(handle)
            else:
                self._ready.append(handle)

    def _run_once(self) -> None:
        self.turns += 1
        if self.at_turn is not None and self.turns >= self.at_turn[0]:
            call, self.at_turn = self.at_turn[1], None
            call()
        if self._paused:
            self._hold_back()
        super()._run_once()  # type: ignore[misc]


def running() -> VirtualLoop:
    """The running loop; raises TypeError outside of virtual time."""
    loop = asyncio.get_running_loop()
    if not isinstance(loop, VirtualLoop):
        raise TypeError(f"expected a loop of virtual time, found {loop!r}")
    return loop


def _owner(handle: asyncio.Handle) -> Process | None:
    context: Context = handle._context  # type: ignore[attr-defined]
    return context.get(_PROCESS)


def run(main: Coroutine[Any, Any, T]) -> T:
    """The result of a coroutine in virtual time; tasks that still run are cancelled."""
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(main)
