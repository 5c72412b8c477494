"""Long-running processes by identity: a pid can be reused, but a pid with its start time is unique.

Each process has its own session, so it outlives the terminal, and no descriptor but its own three, so nobody waits for
it by a pipe or a lock. Functions raise nothing if a process is gone.
"""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

_POLL_S = 0.02
_TAIL_BYTES = 16384

ProcessState = Literal["running", "paused", "gone"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """A unique process: `started` differs if the kernel reuses the pid."""

    pid: int
    started: str


def spawn(command: Sequence[str], *, log: Path, environment: Mapping[str, str], stdin: int | None = None) -> Identity:
    """Start `command` in its own session, and append its output to `log`. It inherits no other descriptor.

    Raises OSError if it cannot start.
    """
    append = os.O_WRONLY | os.O_CREAT | os.O_APPEND
    source = (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0) if stdin is None else (os.POSIX_SPAWN_DUP2, stdin, 0)
    pid = os.posix_spawn(
        command[0],
        list(command),
        environment,
        file_actions=[
            source,
            (os.POSIX_SPAWN_OPEN, 1, log, append, 0o600),
            (os.POSIX_SPAWN_DUP2, 1, 2),
            *((os.POSIX_SPAWN_CLOSE, descriptor) for descriptor in _inherited()),
        ],
        setsid=True,
        setsigmask=[],
        setsigdef=[signal.SIGPIPE],  # Python ignores this signal, and the process would inherit that
    )
    # A process that has already ended is still a zombie, so it always has a start time.
    return identify(pid) or Identity(pid=pid, started="")


def _inherited() -> Iterator[int]:
    """Descriptors that a child would get beside its first three. Python marks its own ones, but not those that its
    parent left open: locks of `flock`, pipes of a test runner.
    """
    for name in os.listdir("/dev/fd"):
        descriptor = int(name)
        try:
            if descriptor > 2 and os.get_inheritable(descriptor):
                yield descriptor
        except OSError:  # the listing itself, which is closed already
            continue


def identify(pid: int) -> Identity | None:
    """The process that currently has this pid."""
    found = _look_up(pid)
    return Identity(pid=pid, started=found[1]) if found else None


def state_of(process: Identity) -> ProcessState:
    """Whether exactly this process exists; a child that has ended is reaped here."""
    found = _look_up(process.pid)
    if found is None or found[1] != process.started:
        return "gone"
    if found[0] in "ZX":
        return "gone" if _reap(process.pid) else "running"
    return "paused" if found[0] == "T" else "running"


def send(process: Identity, number: signal.Signals) -> bool:
    """Send a signal to exactly this process; False if it is gone. A later process with its pid gets none."""
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
        if state_of(process) == "gone":  # checked while the descriptor prevents the pid from being reused
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
    """The last lines of a log file; empty if there is none."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - _TAIL_BYTES))
            text = file.read(_TAIL_BYTES).decode(errors="replace")
    except FileNotFoundError:
        return ""
    return "\n".join(text.splitlines()[-lines:])


def _reap(pid: int) -> bool:
    """Reap an ended child; False while its threads still run."""
    try:
        return os.waitpid(pid, os.WNOHANG)[0] == pid
    except ChildProcessError:
        return True  # not our child


def _look_up(pid: int) -> tuple[str, str] | None:
    """The state letter and the start time of the process."""
    return _from_proc(pid) if Path("/proc/self/stat").exists() else _from_ps(pid)


def _from_proc(pid: int) -> tuple[str, str] | None:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="utf-8").strip()
    except (FileNotFoundError, ProcessLookupError):
        return None
    fields = stat.rpartition(")")[2].split()  # proc(5): the name before it may contain blanks and parentheses
    # The main thread may end before the others; until then, the process keeps its ports and files.
    letter = "R" if fields[0] in "ZX" and int(fields[17]) > 1 else fields[0]
    return letter, f"{boot}/{fields[19]}"


def _from_ps(pid: int) -> tuple[str, str] | None:
    shown = subprocess.run(
        ["ps", "-o", "stat=,lstart=", "-p", str(pid)], capture_output=True, text=True, check=False
    ).stdout.strip()
    letter, _, started = shown.partition(" ")
    return (letter[0], started.strip()) if letter else None
