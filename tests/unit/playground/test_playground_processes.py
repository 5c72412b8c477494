"""A process is identified by its pid and start time, so another process that gets the pid is not touched."""

from __future__ import annotations

import fcntl
import os
import signal
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from kroasync.playground.processes import Identity, await_end, identify, send, spawn, state_of, tail

SLEEP = ["/bin/sleep", "60"]


@pytest.fixture
def sleeper(tmp_path: Path) -> Iterator[Identity]:
    process = spawn(SLEEP, log=tmp_path / "log", environment={})
    yield process
    send(process, signal.SIGKILL)
    assert await_end(process, timeout_s=5)


def test_process_runs_pauses_and_ends(sleeper: Identity) -> None:
    assert state_of(sleeper) == "running"
    assert send(sleeper, signal.SIGSTOP)
    while state_of(sleeper) == "running":
        pass
    assert state_of(sleeper) == "paused"
    assert send(sleeper, signal.SIGKILL)
    assert await_end(sleeper, timeout_s=5)
    assert state_of(sleeper) == "gone"
    assert not send(sleeper, signal.SIGTERM)
    assert identify(sleeper.pid) is None  # reaped, no zombie is left


def test_innocent_process_with_a_remembered_pid_is_never_signalled(sleeper: Identity) -> None:
    stale = replace(sleeper, started="another time")
    assert state_of(stale) == "gone"
    assert not send(stale, signal.SIGKILL)
    assert state_of(sleeper) == "running"


def test_process_has_a_session_of_its_own(sleeper: Identity) -> None:
    assert os.getsid(sleeper.pid) == sleeper.pid


def test_waiting_for_the_end_is_bounded(sleeper: Identity) -> None:
    assert not await_end(sleeper, timeout_s=0.05)


def test_identity_is_the_same_each_time_and_differs_between_processes(sleeper: Identity) -> None:
    assert identify(sleeper.pid) == sleeper
    own = identify(os.getpid())
    assert own is not None
    assert own != sleeper


def test_output_of_both_streams_goes_to_the_log(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text("before\n")
    process = spawn(["/bin/sh", "-c", "echo out; echo err >&2"], log=log, environment={})
    assert await_end(process, timeout_s=5)
    assert log.read_text() == "before\nout\nerr\n"


def test_process_keeps_neither_pipes_nor_locks_of_its_parent(tmp_path: Path) -> None:
    """As under `flock FILE kroasync playground up`, or in a test runner that waits for its pipe to close."""
    read_end, write_end = os.pipe()
    lock = os.open(tmp_path / "lock", os.O_CREAT | os.O_RDWR)
    fcntl.flock(lock, fcntl.LOCK_EX)
    for descriptor in (write_end, lock):
        os.set_inheritable(descriptor, True)
    process = spawn(SLEEP, log=tmp_path / "log", environment={})
    try:
        os.close(write_end)
        os.close(lock)
        os.set_blocking(read_end, False)
        assert os.read(read_end, 1) == b""
        with (tmp_path / "lock").open() as again:
            fcntl.flock(again, fcntl.LOCK_EX | fcntl.LOCK_NB)
        assert state_of(process) == "running"
    finally:
        os.close(read_end)
        send(process, signal.SIGKILL)
        assert await_end(process, timeout_s=5)


def test_process_keeps_the_input_it_was_given(tmp_path: Path) -> None:
    read_end, write_end = os.pipe()
    os.write(write_end, b"given\n")
    os.close(write_end)
    process = spawn(["/bin/cat"], log=tmp_path / "log", environment={}, stdin=read_end)
    os.close(read_end)
    assert await_end(process, timeout_s=5)
    assert (tmp_path / "log").read_text() == "given\n"


def test_missing_program_raises(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="No such file"):
        spawn([str(tmp_path / "none")], log=tmp_path / "log", environment={})


def test_tail_is_the_last_lines(tmp_path: Path) -> None:
    log = tmp_path / "log"
    assert tail(log) == ""
    log.write_bytes(b"\xff" * 40000 + b"\n" + b"".join(b"line %d\n" % n for n in range(100)))
    assert tail(log, lines=2) == "line 98\nline 99"
