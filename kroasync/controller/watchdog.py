"""Who holds the event loop, told from a thread outside of it; and an end to what computes without end.

What evaluations may compute is bounded elsewhere. This is the second line, for what nobody priced: while a pass holds
the loop the thread logs which one, and where it is. A pass that computes for `LIMIT_S` without a pause is ended by a
signal. Its handler runs in the main thread, between two instructions of Python, and raises only inside `compute`: that
is around code that decides and waits for nothing, so no lock, connection or cache of the loop's is left half changed.
A call into C cannot be interrupted; the signal waits until it returns.
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
# Seconds of computing without a pause, after which a pass is ended: ten times what one evaluation may take, and well
# below the renew deadline of the Lease.
LIMIT_S: Final = 3.0
# Seconds after which the log says who holds the loop.
_TELL_S: Final = 1.0
_LOOK_S: Final = 0.25
_SIGNAL: Final = signal.SIGUSR2
_FRAMES_TOLD: Final = 4


class PassOverranError(Exception):
    """A pass computed too long without a pause, and was ended."""


class _Interrupt(BaseException):
    """Raised inside of what computes; not an Exception, or it might be taken for an error of an expression."""


class Watchdog:
    """`clock` is seconds that pass, `cpu` those the main thread computes; `start` begins to watch.

    Without `start`, passes are measured all the same.
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
        # The pass whose turn it is and when that began, on both clocks.
        self._turn: tuple[Key, float, float] | None = None
        # Seconds of computing at which what computes now began.
        self._computing_from: float | None = None
        self._stopped = threading.Event()
        self._main = threading.main_thread()

    # In the main thread

    async def watch(self, key: Key, work: Coroutine[Any, Any, T], overran: Callable[[float], object]) -> T:
        """Do the work of a pass; `overran` is told the seconds of a turn that computed for more than the limit."""

        def begin() -> None:
            self._turn = (key, self._clock(), self._cpu())

        def end() -> None:
            turn, self._turn = self._turn, None
            if turn is not None and (computed_s := self._cpu() - turn[2]) >= self._limit_s:
                overran(computed_s)

        return await Metered(work, begin, end)

    def compute(self, work: Callable[[], T]) -> T:
        """What comes of work that decides and waits for nothing; raises PassOverranError if it was ended."""
        try:
            # Wherever this is set, an interrupt is caught below.
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
            # Again at the next signal, should a finaliser have swallowed it.
            raise _Interrupt

    # The thread

    def start(self) -> None:
        """To be called in the main thread, which is the one that is watched."""
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
                # A process that is starved of CPU holds the loop without computing: the handler asks.
                signal.pthread_kill(self._main.ident or 0, _SIGNAL)

    def _where(self) -> str:
        """The innermost functions of the main thread: no values, which may be secret."""
        frame = sys._current_frames().get(self._main.ident or 0)
        found: list[str] = []
        while frame is not None and len(found) < _FRAMES_TOLD:
            found.append(f"{frame.f_globals.get('__name__')}.{frame.f_code.co_name}:{frame.f_lineno}")
            frame = frame.f_back
        return " < ".join(found)
