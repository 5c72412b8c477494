"""`kroasync render`: what the controller would apply for an instance, in order, without a cluster.

Exit status 0: rendered (nodes may wait), 1: problems in the input or errors of nodes, 2: the call itself is wrong.
Manifests go to standard output; problems, and what waits and why, to standard error.
"""

from enum import StrEnum
from typing import Annotated

import typer

from kroasync.cli.inputs import CrdsOption, FeaturesOption, read_kinds, read_texts, source_of


class RenderFormat(StrEnum):
    YAML = "yaml"
    JSON = "json"


def render_command(
    files: Annotated[
        list[str],
        typer.Argument(
            metavar="FILE",
            help="Files with definitions. The last one has the instance, and may be the only one. "
            '"-" reads standard input.',
        ),
    ],
    observed: Annotated[
        list[str] | None,
        typer.Option(
            metavar="FILE",
            help="Objects that exist in the cluster: external references, children with a status; with the instance "
            "itself among them, also what is deleted, released or held; with managedFields, what is yielded.",
        ),
    ] = None,
    crds: CrdsOption = None,
    output: Annotated[
        RenderFormat, typer.Option("-o", "--output", help="Format of the manifests.")
    ] = RenderFormat.YAML,
    status: Annotated[
        bool, typer.Option("--status", help="Also print the instance with the status it would get.")
    ] = False,
    features: FeaturesOption = None,
) -> None:
    """Print the manifests of an instance without a cluster.

    The manifests are printed in the order in which the controller would apply them. Remarks name what waits, and
    what would be deleted, released or held.
    """
    from kroasync.cli import offline_pass
    from kroasync.graph.analysis import analyse
    from kroasync.model.problems import has_errors

    others = read_kinds(crds)
    texts = read_texts(files)
    found = analyse(texts, others, features=frozenset(features or ()))
    live, faults = offline_pass.observed_objects(read_texts(observed or ()))
    problems = found.problems + faults
    for problem in problems:
        typer.echo(str(problem), err=True)
    if has_errors(problems):
        raise typer.Exit(1)
    graph, completed = offline_pass.only_instance(found, source_of(files[-1], texts))
    rendered = offline_pass.render(graph, completed, live, others)
    manifests = [*rendered.manifests, *([rendered.instance] if status else [])]
    typer.echo(
        offline_pass.as_json(manifests) if output is RenderFormat.JSON else offline_pass.as_yaml(manifests), nl=False
    )
    for remark in rendered.remarks:
        typer.echo(remark, err=True)
    if rendered.has_errors:
        raise typer.Exit(1)
