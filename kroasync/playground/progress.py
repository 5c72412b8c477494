"""Shows the progress of a build: a bar on a terminal, otherwise a line from time to time."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TextIO

from rich.console import Console
from rich.progress import BarColumn, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn
from rich.progress import Progress as RichBar

LINE_EVERY_S = 15.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """The progress of `what`. `total` is an upper bound: packages in Go's own cache are not compiled again."""

    what: str
    phase: str  # waiting, downloading, compiling, linking, done
    done: int = 0
    total: int | None = None
    elapsed_s: float = 0.0

    def __str__(self) -> str:
        return f"{self.what}: {_TEXTS[self.phase].format(self=self)}"


_TEXTS = {
    "waiting": "waiting for another process that builds it, {self.elapsed_s:.0f} s",
    "downloading": "downloading {self.done} modules, {self.elapsed_s:.0f} s",
    "compiling": "compiling, {self.done} of at most {self.total} packages, {self.elapsed_s:.0f} s",
    "linking": "linking, {self.elapsed_s:.0f} s",
    "done": "built in {self.elapsed_s:.0f} s",
}

Progress = Callable[[Step], None]


def silent(step: Step) -> None:
    """Report nothing."""


class LineProgress:
    """A line when the phase changes, and at least every LINE_EVERY_S seconds."""

    def __init__(self, stream: TextIO, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._stream = stream
        self._clock = clock
        self._last = ("", "", float("-inf"))

    def __call__(self, step: Step) -> None:
        what, phase, printed_at = self._last
        now = self._clock()
        if (what, phase) != (step.what, step.phase) or now - printed_at >= LINE_EVERY_S:
            self._last = (step.what, step.phase, now)
            self._stream.write(f"{step}\n")
            self._stream.flush()


class Bars:
    """One bar for each program."""

    def __init__(self, bar: RichBar) -> None:
        self._bar = bar
        self._tasks: dict[str, TaskID] = {}

    def __call__(self, step: Step) -> None:
        if step.what not in self._tasks:
            self._tasks[step.what] = self._bar.add_task(step.what, total=None)
        task = self._tasks[step.what]
        if step.phase == "done":
            self._bar.update(task, description=str(step), completed=1, total=1)
        else:
            self._bar.update(task, description=str(step), completed=step.done, total=step.total)


@contextmanager
def reporting(stream: TextIO) -> Iterator[Progress]:
    """Bars if `stream` is a terminal, otherwise lines."""
    if not stream.isatty():
        yield LineProgress(stream)
        return
    columns = (
        SpinnerColumn(),
        BarColumn(bar_width=24),
        TextColumn("{task.description}"),
        TimeElapsedColumn(),
    )
    with RichBar(*columns, console=Console(file=stream), transient=False) as bar:
        yield Bars(bar)
