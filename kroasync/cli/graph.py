"""`kroasync graph`: draw the resources of a definition and their dependencies."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer


class GraphFormat(StrEnum):
    TEXT = "text"
    MERMAID = "mermaid"
    DOT = "dot"
    SVG = "svg"


def graph_command(
    definition: Annotated[str, typer.Argument(metavar="DEFINITION", help='A manifest; "-" reads standard input.')],
    output: Annotated[GraphFormat, typer.Option("-o", "--output", help="Format of the drawing.")] = GraphFormat.TEXT,
    name: Annotated[
        str | None, typer.Option("--name", help="Name of the definition, if the input has several.")
    ] = None,
    crds: Annotated[
        list[Path] | None,
        typer.Option("--crds", metavar="DIR", help="Also accept the kinds of the CRDs in this folder."),
    ] = None,
) -> None:
    """Draw the dependency graph of a definition.

    The graph shows which resources are created, in which order, and which of them read others. Problems go to
    standard error; they do not prevent the drawing, unless the graph has a cycle.
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
        GraphFormat.TEXT: drawing.as_text,
        GraphFormat.MERMAID: drawing.as_mermaid,
        GraphFormat.DOT: drawing.as_dot,
        GraphFormat.SVG: drawing.as_svg,
    }
    typer.echo(render[output](picture), nl=False)
    raise typer.Exit(1 if has_errors(found.problems) else 0)
