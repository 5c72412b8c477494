"""Progress without a terminal is an occasional line."""

from __future__ import annotations

import io

from kroasync.playground.progress import LINE_EVERY_S, LineProgress, Step, reporting


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_line_at_each_phase_and_at_least_every_so_often() -> None:
    stream, clock = io.StringIO(), Clock()
    report = LineProgress(stream, clock=clock)
    for second in range(40):
        clock.now = float(second)
        report(Step(what="etcd v1", phase="compiling", done=second, total=50, elapsed_s=second))
    report(Step(what="etcd v1", phase="done", done=40, total=50, elapsed_s=40.2))
    assert LINE_EVERY_S <= 20
    assert stream.getvalue().splitlines() == [
        "etcd v1: compiling, 0 of at most 50 packages, 0 s",
        "etcd v1: compiling, 15 of at most 50 packages, 15 s",
        "etcd v1: compiling, 30 of at most 50 packages, 30 s",
        "etcd v1: built in 40 s",
    ]


def test_every_phase_has_its_text() -> None:
    shown = {
        phase: str(Step(what="x", phase=phase, done=3, total=9, elapsed_s=1.0))
        for phase in ("waiting", "downloading", "compiling", "linking", "done")
    }
    assert shown == {
        "waiting": "x: waiting for another process that builds it, 1 s",
        "downloading": "x: downloading 3 modules, 1 s",
        "compiling": "x: compiling, 3 of at most 9 packages, 1 s",
        "linking": "x: linking, 1 s",
        "done": "x: built in 1 s",
    }


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_terminal_gets_a_bar_and_a_file_gets_lines() -> None:
    terminal, file = Terminal(), io.StringIO()
    for stream in (terminal, file):
        with reporting(stream) as report:
            report(Step(what="etcd v1", phase="compiling", done=1, total=2))
            report(Step(what="etcd v1", phase="done", done=2, total=2))
    assert "\x1b[" in terminal.getvalue()
    assert "etcd v1: built in 0 s" in terminal.getvalue()
    assert "\x1b[" not in file.getvalue()
