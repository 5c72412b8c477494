"""`kroasync playground`: run a real control plane on this machine, without a container engine.

Only the result (a path, a table) goes to standard output; progress and remarks go to standard error.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from rich.filesize import decimal

from kroasync.playground import (
    CONTROL_PLANE,
    Binaries,
    ComponentStatus,
    NotUpError,
    Playground,
    PlaygroundError,
    cache_folder,
    folder_size,
    needs_build,
    remove_cache,
    reporting,
    toolchain,
)
from kroasync.playground.recipes import RECIPE_OF, RECIPES

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    help="Run a real control plane on this machine, for tests.\n\n"
    "A playground has an API server, etcd, the controllers, the scheduler and a simulated node.",
)

Name = Annotated[str, typer.Option("--name", help="Name of the playground; several can run at the same time.")]
Directory = Annotated[
    Path | None,
    typer.Option("--dir", help="Folder for its files: absent or empty at first; `down` removes it."),
]


@app.command()
def up(
    name: Name = "default",
    directory: Directory = None,
    audit: Annotated[bool, typer.Option("--audit", help="Log every request of a client to audit.log.")] = False,
) -> None:
    """Start a playground and print the path of its kubeconfig.

    If the playground is up, the command restarts components that crashed. The first start builds the programs with
    Go, which takes minutes; see `build`.
    """
    with _errors():
        started = time.monotonic()
        try:
            playground = Playground.load(name, directory=directory)
            playground.repair()
            if audit and not playground.is_audited:
                _remark("the playground was started without --audit: to change that, take it down first")
        except NotUpError:
            binaries = _build(CONTROL_PLANE)
            started = time.monotonic()
            playground = Playground.up(name=name, directory=directory, audit=audit, detach=True, binaries=binaries)
        _remark(f"ready after {time.monotonic() - started:.1f} s at {playground.server}")
        _remark(f"export KUBECONFIG={playground.kubeconfig}")
        typer.echo(playground.kubeconfig)


@app.command()
def down(name: Name = "default", directory: Directory = None) -> None:
    """Stop a playground and remove all of its data."""
    with _errors():
        Playground.load(name, directory=directory).down()


@app.command()
def status(name: Name = "default", directory: Directory = None) -> None:
    """Show the components of a playground.

    If a component crashed, the command prints the end of its log and exits with status 1.
    """
    with _errors():
        playground = Playground.load(name, directory=directory)
        components = playground.status()
        typer.echo(f"{'COMPONENT':24} {'STATE':8} {'PID':>8} {'PORT':>6}")
        for component in components:
            typer.echo(f"{component.name:24} {component.state:8} {component.pid or '-':>8} {component.port:>6}")
        typer.echo(f"\nserver      {playground.server}\nkubeconfig  {playground.kubeconfig}")
        if playground.is_audited:
            typer.echo(f"audit log   {playground.audit_log}")
        crashed = [component for component in components if component.state == "crashed"]
        for component in crashed:
            _show_crash(component)
        if crashed:
            raise typer.Exit(1)


@app.command()
def kubeconfig(name: Name = "default", directory: Directory = None) -> None:
    """Print the path of the kubeconfig of a playground."""
    with _errors():
        typer.echo(Playground.load(name, directory=directory).kubeconfig)


@app.command()
def build(
    programs: Annotated[
        list[str] | None,
        typer.Argument(help=f"Any of {', '.join(sorted(RECIPE_OF))}; default: all that `up` needs."),
    ] = None,
) -> None:
    """Build programs with Go and print their paths.

    The programs are kept in the user's cache. The command builds only programs that are not there.
    """
    names = programs or list(CONTROL_PLANE)
    with _errors():
        binaries = _build(names)
        for program in names:
            typer.echo(binaries.path(program))


@app.command()
def clean(
    go_cache: Annotated[
        bool, typer.Option("--go-cache", help="Also empty Go's own caches, which all Go projects of the user share.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Empty Go's own caches without asking.")] = False,
) -> None:
    """Remove the programs that `up` and `build` built.

    Playgrounds that are up continue to run.
    """
    with _errors():
        folder = cache_folder()
        typer.echo(f"removed {decimal(remove_cache())} of built programs from {folder}")
        if go_cache:
            _clean_go(yes)
        else:
            _remark("Go's own caches keep up to 6 GB of the build; --go-cache empties them")


def _clean_go(yes: bool) -> None:
    go = toolchain.find(module=RECIPES[0].source)
    folders = toolchain.own_caches(go)
    size = sum(folder_size(folder) for folder in folders)
    question = f"Empty {' and '.join(map(str, folders))} ({decimal(size)}, shared by all Go projects)?"
    if not yes:
        typer.confirm(question, abort=True, err=True)
    toolchain.clean_own_caches(go)
    typer.echo(f"removed {decimal(size)} from {' and '.join(map(str, folders))}")


def _build(names: list[str] | tuple[str, ...]) -> Binaries:
    missing = [name for name in names if name in RECIPE_OF and needs_build(name)]
    if missing:
        _remark(f"building {', '.join(missing)} with Go, once: this takes minutes, and Go's caches grow by up to 6 GB")
    with reporting(sys.stderr) as progress:
        return Binaries.ensure(names, progress=progress)


def _show_crash(component: ComponentStatus) -> None:
    _remark(f"{component.name} crashed; end of {component.log}:\n{component.log_tail}")


def _remark(text: str) -> None:
    typer.echo(text, err=True)


@contextmanager
def _errors() -> Iterator[None]:
    """Print one line for an error that the user can fix, and exit with status 1."""
    try:
        yield
    except (PlaygroundError, OSError) as error:
        _remark(f"error: {error}")
        raise typer.Exit(1) from error
