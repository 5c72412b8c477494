"""Watch the event loop from a thread: log the pass that blocks the loop, and end a pass that computes for too long.

Budgets bound the evaluations of expressions. The watchdog is the second line of defence, for code without a budget.
While a pass blocks the loop, the thread logs its key and the innermost functions. If a pass computes for `LIMIT_S`
without a pause, a signal ends it. The signal handler runs in the main thread, between two Python instructions, and
raises only inside `compute`. The code inside `compute` only decides and never waits, so no lock, connection or cache of
the loop stays half changed. A signal cannot interrupt a call into C; it waits until the call returns.
"""

import logging
import signal
import sys
import threading
import time
from collections.abc import Callable, Coroutine
from types import FrameType
from typing import Any, Final, TypeVar

from kroasync.controller.pacing import Metered
from kroasync.model.objects import Key

log = logging.getLogger("watchdog")

T = TypeVar("T")
# A pass that computes for this many seconds without a pause is ended. The limit is ten times the budget of one
# evaluation, and well below the renew deadline of the Lease.
LIMIT_S: Final = 3.0
# After this many seconds the log names the pass that blocks the loop.
_TELL_S: Final = 1.0
_LOOK_S: Final = 0.25
_SIGNAL: Final = signal.SIGUSR2
_FRAMES_TOLD: Final = 4


class PassOverranError(Exception):
    """The watchdog ended a pass that computed for too long without a pause."""


class _Interrupt(BaseException):
    """Raised inside `compute`. It is no Exception, so that nobody takes it for an error of an expression."""


class Watchdog:
    """`clock` is monotonic seconds, `cpu` the CPU seconds of the main thread. `start` starts the thread.

    Without `start`, the watchdog still measures passes but ends none.
    """

    def __init__(
        self,
        *,
        clock: Callable[[], float] = time.monotonic,
        cpu: Callable[[], float] = time.thread_time,
        limit_s: float = LIMIT_S,
    ) -> None:
        self._clock = clock
        self._cpu = cpu
        self._limit_s = limit_s
        # The key of the pass that has the turn, and when the turn began, on both clocks.
        self._turn: tuple[Key, float, float] | None = None
        # The CPU seconds at which the current `compute` began.
        self._computing_from: float | None = None
        self._stopped = threading.Event()
        self._main = threading.main_thread()

    # In the main thread

    async def watch(self, key: Key, work: Coroutine[Any, Any, T], overran: Callable[[float], object]) -> T:
        """Do the work of a pass; calls `overran` with the seconds of a turn that computed for longer than the limit."""

        def begin() -> None:
            self._turn = (key, self._clock(), self._cpu())

        def end() -> None:
            turn, self._turn = self._turn, None
            if turn is not None and (computed_s := self._cpu() - turn[2]) >= self._limit_s:
                overran(computed_s)

        return await Metered(work, begin, end)

    def compute(self, work: Callable[[], T]) -> T:
        """The result of work that only decides and never waits; raises PassOverranError if the watchdog ends it."""
        try:
            # While this is set, the handler below catches an interrupt.
            self._computing_from = self._cpu()
            try:
                return work()
            finally:
                self._computing_from = None
        except _Interrupt:
            self._computing_from = None
            text = f"computed for more than {self._limit_s:g} s without a pause, and was ended"
            raise PassOverranError(text) from None

    def _interrupt(self, _number: int, _frame: FrameType | None) -> None:
        began = self._computing_from
        if began is not None and self._cpu() - began >= self._limit_s:
            # The next signal raises again, in case a finalizer swallowed this one.
            raise _Interrupt

    # The thread

    def start(self) -> None:
        """Start the thread; call this in the main thread, which it watches."""
        signal.signal(_SIGNAL, self._interrupt)
        threading.Thread(target=self._run, name="watchdog", daemon=True).start()

    def stop(self) -> None:
        self._stopped.set()

    def _run(self) -> None:
        told: object = None
        while not self._stopped.wait(_LOOK_S):
            turn = self._turn
            held_s = self._clock() - turn[1] if turn is not None else 0.0
            if turn is None or held_s < min(_TELL_S, self._limit_s):
                continue
            if turn is not told:
                told = turn
                extra = {"key": str(turn[0]), "held_s": round(held_s, 1), "where": self._where()}
                log.warning("a pass blocks the event loop", extra=extra)
            if held_s >= self._limit_s:
                # A process without CPU time holds the loop but does not compute: the handler checks the CPU clock.
                signal.pthread_kill(self._main.ident or 0, _SIGNAL)

    def _where(self) -> str:
        """The innermost functions of the main thread, without values, which may be secret."""
        frame = sys._current_frames().get(self._main.ident or 0)
        found: list[str] = []
        while frame is not None and len(found) < _FRAMES_TOLD:
            found.append(f"{frame.f_globals.get('__name__')}.{frame.f_code.co_name}:{frame.f_lineno}")
            frame = frame.f_back
        return " < ".join(found)
