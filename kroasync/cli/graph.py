"""`kroasync graph`: draw the resources of a definition and their dependencies."""

from enum import StrEnum
from typing import Annotated

import typer

from kroasync.cli.inputs import CrdsOption, MissingKinds, MissingKindsOption, NameOption, analysed, one_definition


class GraphFormat(StrEnum):
    TEXT = "text"
    MERMAID = "mermaid"
    DOT = "dot"
    SVG = "svg"


def graph_command(
    files: Annotated[
        list[str], typer.Argument(metavar="FILE", help='Manifests with the definition; "-" reads standard input.')
    ],
    output: Annotated[GraphFormat, typer.Option("-o", "--output", help="Format of the drawing.")] = GraphFormat.TEXT,
    name: NameOption = None,
    crds: CrdsOption = None,
    missing_kinds: MissingKindsOption = MissingKinds.ERROR,
) -> None:
    """Draw the dependency graph of a definition.

    The graph shows which resources are created, in which order, and which of them read others. Problems go to
    standard error; they do not prevent the drawing, unless the graph has a cycle.
    """
    from kroasync.cli import drawing
    from kroasync.graph import dag
    from kroasync.model.problems import has_errors

    found = analysed(files, crds, missing_kinds)
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
