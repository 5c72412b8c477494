"""`--help` has one look: plain text, complete summaries, completion options only at the root."""

from collections.abc import Iterator
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from kroasync.cli.main import COMMANDS, app


def _paths() -> Iterator[tuple[str, ...]]:
    """Every command with its own page; `run` prints its flags itself."""
    root: Any = typer.main.get_command(app)
    context = root.make_context("kroasync", [], resilient_parsing=True)
    yield ()
    for name in COMMANDS:
        if name == "run":
            continue
        command = root.get_command(context, name)
        yield (name,)
        yield from ((name, inner) for inner in getattr(command, "commands", ()))


@pytest.mark.parametrize("path", list(_paths()), ids=" ".join)
def test_help_is_plain_and_complete(path: tuple[str, ...]) -> None:
    shown = CliRunner().invoke(app, [*path, "--help"], terminal_width=80).output
    assert shown.startswith("Usage: ")
    assert not set(shown) & set("╭╮│╰╯─")
    commands = shown.partition("Commands:")[2]
    assert "..." not in commands
    assert ("--install-completion" in shown) == (path == ())
