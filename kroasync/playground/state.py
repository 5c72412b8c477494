"""The state of a playground between two commands: one JSON file in its directory, replaced atomically.

It is written before the first process starts and after each start and stop, so that the next command finds every
process.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from kroasync.playground.access import write_private
from kroasync.playground.plane_errors import PlaygroundError
from kroasync.playground.processes import Identity


@dataclass(frozen=True, slots=True, kw_only=True)
class ComponentRecord:
    """The command line of a component, and its process, unless it was stopped on purpose."""

    command: tuple[str, ...]
    process: Identity | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """A playground as its directory describes it."""

    name: str
    admin_token: str
    ports: dict[str, int]
    components: dict[str, ComponentRecord]


def write_state(file: Path, state: State) -> None:
    """Replace the file."""
    write_private(file, json.dumps(asdict(state), indent=1) + "\n")


def read_state(file: Path) -> State | None:
    """The state, or None if there is no file. Raises PlaygroundError if the file is something else."""
    try:
        raw = json.loads(file.read_text(encoding="utf-8"))
        return State(
            name=str(raw["name"]),
            admin_token=str(raw["admin_token"]),
            ports={str(key): int(port) for key, port in raw["ports"].items()},
            components={
                str(name): ComponentRecord(
                    command=tuple(str(part) for part in record["command"]),
                    process=_identity(record["process"]),
                )
                for name, record in raw["components"].items()
            },
        )
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise PlaygroundError(f"{file} is not the state of a playground: {error!r}") from error


def _identity(raw: dict[str, object] | None) -> Identity | None:
    if raw is None:
        return None
    pid = raw["pid"]
    if not isinstance(pid, int) or pid <= 1:
        raise ValueError(f"pid {pid!r}")  # a signal to 0 or -1 would reach whole groups
    return Identity(pid=pid, started=str(raw["started"]))
