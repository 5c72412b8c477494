"""The command line: a table of commands. Each is imported only when it is used, so that others cost nothing.

Every group is plain text and leaves completion to the root: `--help` has one look.
"""

import sys
from importlib import import_module
from typing import Annotated, Any, Final

import typer
from typer.core import TyperGroup

from kroasync import __version__

# Command -> module and attribute: a function with typer annotations, or a Typer with its own commands.
COMMANDS: Final = {
    "run": ("kroasync.cli.run", "run_command"),
    "validate": ("kroasync.cli.validate", "validate_command"),
    "render": ("kroasync.cli.render", "render_command"),
    "graph": ("kroasync.cli.graph", "graph_command"),
    "generate": ("kroasync.cli.generate", "app"),
    "eval": ("kroasync.cli.eval", "eval_command"),
    "plan": ("kroasync.cli.preview", "plan_command"),
    "preview": ("kroasync.cli.preview", "plan_command"),
    "diff": ("kroasync.cli.preview", "diff_command"),
    "tree": ("kroasync.cli.tree", "tree_command"),
    "playground": ("kroasync.cli.playground", "app"),
}


class _Commands(TyperGroup):
    """The table of commands as a click group."""

    def list_commands(self, ctx: Any) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        if cmd_name not in COMMANDS:
            return None
        module, attribute = COMMANDS[cmd_name]
        found = getattr(import_module(module), attribute)
        if not isinstance(found, typer.Typer):
            single = typer.Typer(add_completion=False, rich_markup_mode=None)
            single.command(cmd_name)(found)
            found = single
        command = typer.main.get_command(found)
        command.name = cmd_name
        return command


app = typer.Typer(
    name="kroasync",
    cls=_Commands,
    help="Turn short definitions with CEL into Kubernetes APIs, and their instances into resources.",
    no_args_is_help=True,
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


def main() -> None:
    """Run the command that the arguments name."""
    arguments = sys.argv[1:]
    if arguments[:1] == ["run"]:
        # click cannot parse flags in Go's syntax, which kro's start commands use.
        from kroasync.cli.run import run

        raise SystemExit(run(arguments[1:]))
    app()
