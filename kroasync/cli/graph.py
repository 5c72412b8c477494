"""`kroasync graph`: the resources of a definition and what each of them needs, drawn."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer


class Format(StrEnum):
    TEXT = "text"
    MERMAID = "mermaid"
    DOT = "dot"
    SVG = "svg"


def graph_command(
    definition: Annotated[str, typer.Argument(metavar="DEFINITION", help='A manifest, "-" for standard input.')],
    output: Annotated[Format, typer.Option("-o", "--output", help="How to draw.")] = Format.TEXT,
    name: Annotated[str | None, typer.Option("--name", help="Which definition, if there are several.")] = None,
    crds: Annotated[
        list[Path] | None,
        typer.Option("--crds", metavar="DIR", help="Know the kinds of the CRDs below this folder."),
    ] = None,
) -> None:
    """Draw the graph of a definition: what is created, in which order, and why in that order.

    Problems go to standard error; the graph is drawn all the same unless it has a cycle.
    """
    from kroasync.cli import drawing
    from kroasync.cli.inputs import one_definition, read_texts
    from kroasync.graph import dag
    from kroasync.graph.analysis import analyse
    from kroasync.model.problems import has_errors

    found = analyse(read_texts([definition]), read_texts((), crds or ()))
    for problem in found.problems:
        typer.echo(str(problem), err=True)
    if not found.definitions and has_errors(found.problems):
        raise typer.Exit(1)
    chosen = one_definition(found, name)
    if chosen.definition is None or chosen.built is None or dag.cycles(chosen.built.needs):
        raise typer.Exit(1)
    picture = drawing.draw(chosen.definition, chosen.built.needs)
    render = {
        Format.TEXT: drawing.as_text,
        Format.MERMAID: drawing.as_mermaid,
        Format.DOT: drawing.as_dot,
        Format.SVG: drawing.as_svg,
    }
    typer.echo(render[output](picture), nl=False)
    raise typer.Exit(1 if has_errors(found.problems) else 0)
