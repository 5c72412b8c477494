"""The directory of a playground: its default path, its creation, and a lock for changes."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from kroasync.playground.components import Layout
from kroasync.playground.locks import lock
from kroasync.playground.plane_errors import AlreadyUpError, PlaygroundError

_NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?")
_OTHER_COMMAND_TIMEOUT_S = 120.0


def default_directory(name: str) -> Path:
    """`$XDG_STATE_HOME/kroasync/playground/NAME`, or below ~/.local/state.

    Raises PlaygroundError for an invalid name.
    """
    if not _NAME.fullmatch(name):
        raise PlaygroundError(
            f"{name!r} is not a valid playground name: expected 1 to 40 of a-z, 0-9 and '-', with no '-' at either end"
        )
    home = os.environ.get("XDG_STATE_HOME", "")
    base = Path(home) if os.path.isabs(home) else Path.home() / ".local" / "state"
    return base / "kroasync" / "playground" / name


def claim(directory: Path, *, name: str) -> None:
    """Create the directory, or take an empty one: it must be empty, because it is removed later."""
    directory.parent.mkdir(parents=True, exist_ok=True)
    try:
        directory.mkdir(mode=0o700)
    except FileExistsError as error:
        if Layout(directory).state.exists():
            raise AlreadyUpError(f"playground {name!r} already exists ({directory})") from error
        if not directory.is_dir() or any(directory.iterdir()):
            raise PlaygroundError(f"{directory} is not an empty directory") from error
        directory.chmod(0o700)


@contextmanager
def alone_in(directory: Path) -> Iterator[None]:
    """Prevent other processes from starting or stopping the playground, by a lock of the directory.

    Raises PlaygroundError if another process holds the lock for longer than a start may take.
    """
    try:
        descriptor = os.open(directory, os.O_RDONLY)
    except FileNotFoundError:
        yield  # without a directory, there is nothing to protect
        return
    try:
        if not lock(descriptor, timeout_s=_OTHER_COMMAND_TIMEOUT_S):
            raise PlaygroundError(f"another process is starting or stopping the playground in {directory}")
        yield
    finally:
        os.close(descriptor)
