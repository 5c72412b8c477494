"""Long-running processes by identity: a pid may be given to someone else later, a pid with its start is not.

Processes get a session of their own, so they outlive the terminal. A process that is gone raises nothing.
"""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

_POLL_S = 0.02
_TAIL_BYTES = 16384

ProcessState = Literal["running", "paused", "gone"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """One process for good: `started` differs when the kernel gives the pid to another one."""

    pid: int
    started: str


def spawn(command: Sequence[str], *, log: Path, environment: Mapping[str, str], stdin: int | None = None) -> Identity:
    """Start `command` in a session of its own, its output appended to `log`.

    Raises OSError when it cannot start.
    """
    append = os.O_WRONLY | os.O_CREAT | os.O_APPEND
    source = (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0) if stdin is None else (os.POSIX_SPAWN_DUP2, stdin, 0)
    pid = os.posix_spawn(
        command[0],
        list(command),
        environment,
        file_actions=[source, (os.POSIX_SPAWN_OPEN, 1, log, append, 0o600), (os.POSIX_SPAWN_DUP2, 1, 2)],
        setsid=True,
        setsigmask=[],
        setsigdef=[signal.SIGPIPE],  # Python ignores it, and that would be inherited
    )
    # A process that ended at once is still here as our zombie, so it has a start time in any case.
    return identify(pid) or Identity(pid=pid, started="")


def identify(pid: int) -> Identity | None:
    """The process that has this pid now."""
    found = _look_up(pid)
    return Identity(pid=pid, started=found[1]) if found else None


def state_of(process: Identity) -> ProcessState:
    """Whether the very process is there; one that ended and is ours is reaped here."""
    found = _look_up(process.pid)
    if found is None or found[1] != process.started:
        return "gone"
    if found[0] in "ZX":
        return "gone" if _reap(process.pid) else "running"
    return "paused" if found[0] == "T" else "running"


def send(process: Identity, number: signal.Signals) -> bool:
    """Signal the very process; False when it is gone. A later process with its pid is left alone."""
    try:
        if not hasattr(os, "pidfd_open"):  # macOS: check and kill are two steps
            if state_of(process) == "gone":
                return False
            os.kill(process.pid, number)
            return True
        descriptor = os.pidfd_open(process.pid)
    except ProcessLookupError:
        return False
    try:
        if state_of(process) == "gone":  # checked while the descriptor pins the pid
            return False
        signal.pidfd_send_signal(descriptor, number)
        return True
    except ProcessLookupError:
        return False
    finally:
        os.close(descriptor)


def await_end(process: Identity, *, timeout_s: float) -> bool:
    """Whether the process is gone within the time."""
    deadline = time.monotonic() + timeout_s
    while state_of(process) != "gone":
        if time.monotonic() >= deadline:
            return False
        threading.Event().wait(_POLL_S)
    return True


def tail(log: Path, *, lines: int = 15) -> str:
    """The last lines of a log file; empty when there is none."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - _TAIL_BYTES))
            text = file.read(_TAIL_BYTES).decode(errors="replace")
    except FileNotFoundError:
        return ""
    return "\n".join(text.splitlines()[-lines:])


def _reap(pid: int) -> bool:
    """Collect an ended child; False while threads of it still run."""
    try:
        return os.waitpid(pid, os.WNOHANG)[0] == pid
    except ChildProcessError:
        return True  # not ours to collect


def _look_up(pid: int) -> tuple[str, str] | None:
    """State letter and start of the process."""
    return _from_proc(pid) if Path("/proc/self/stat").exists() else _from_ps(pid)


def _from_proc(pid: int) -> tuple[str, str] | None:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="utf-8").strip()
    except (FileNotFoundError, ProcessLookupError):
        return None
    fields = stat.rpartition(")")[2].split()  # proc(5): the name before it may hold blanks and parentheses
    # A main thread may have ended before the others did; the process holds its ports and files until then.
    letter = "R" if fields[0] in "ZX" and int(fields[17]) > 1 else fields[0]
    return letter, f"{boot}/{fields[19]}"


def _from_ps(pid: int) -> tuple[str, str] | None:
    shown = subprocess.run(
        ["ps", "-o", "stat=,lstart=", "-p", str(pid)], capture_output=True, text=True, check=False
    ).stdout.strip()
    letter, _, started = shown.partition(" ")
    return (letter[0], started.strip()) if letter else None
