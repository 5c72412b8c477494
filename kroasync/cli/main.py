"""The command line: which command there is, and nothing else. Commands import what they need when they run."""

import sys
from typing import Annotated

import typer

from kroasync import __version__
from kroasync.cli import run

app = typer.Typer(
    name="kroasync",
    help="Turns short definitions with CEL into new Kubernetes APIs, and their instances into resources.",
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"kroasync {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Options of every command."""


@app.command("run", help="Run the controller (`kroasync run --help` lists its flags).", add_help_option=False)
def _run() -> None:
    # Reached only without arguments: flags have Go's syntax, see `main`.
    raise typer.Exit(run.run(()))


def main() -> None:
    """Entry point of `kroasync` and of `kubectl kroasync`."""
    arguments = sys.argv[1:]
    if arguments[:1] == ["run"]:
        raise SystemExit(run.run(arguments[1:]))
    app()
