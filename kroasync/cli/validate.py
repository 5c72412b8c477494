"""`kroasync validate`: every problem of some definitions, without a cluster.

Exit status 0: no errors, 1: errors, 2: the call itself is wrong. As text, problems go to standard error; the
machine formats are the result and go to standard output.
"""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer


class Format(StrEnum):
    TEXT = "text"
    JSON = "json"
    SARIF = "sarif"
    GITHUB = "github"


def validate_command(
    files: Annotated[
        list[str] | None, typer.Argument(metavar="FILE...", help='Manifests, "-" for standard input.')
    ] = None,
    folders: Annotated[
        list[Path] | None,
        typer.Option("-R", "--recursive", metavar="DIR", help="Also every manifest below this folder."),
    ] = None,
    crds: Annotated[
        list[Path] | None,
        typer.Option("--crds", metavar="DIR", help="Know the kinds of the CRDs below this folder."),
    ] = None,
    output: Annotated[Format, typer.Option("-o", "--output", help="How to print the problems.")] = Format.TEXT,
    features: Annotated[
        list[str] | None,
        typer.Option("--feature", metavar="NAME", help="Feature gate that is on, such as CELOmitFunction."),
    ] = None,
) -> None:
    """Check definitions, and instances of them, without a cluster.

    Known are the kinds of Kubernetes, of CRDs in the input or in --crds, and those the definitions generate.
    """
    from kroasync.cli import reports
    from kroasync.cli.inputs import read_texts, usage_error
    from kroasync.graph.analysis import analyse
    from kroasync.model.problems import has_errors

    if not files and not folders:
        raise usage_error("nothing to validate: name a file, - for standard input, or a folder with -R")
    texts = read_texts(files or (), folders or ())
    found = analyse(texts, read_texts((), crds or ()), features=frozenset(features or ()))
    if output is Format.TEXT:
        for problem in found.problems:
            typer.echo(str(problem), err=True)
        if not found.definitions and not has_errors(found.problems):
            raise usage_error("no definition in the input")
        typer.echo(reports.summary(found))
    else:
        render = {
            Format.JSON: reports.as_json,
            Format.SARIF: reports.as_sarif,
            Format.GITHUB: reports.as_github,
        }
        typer.echo(render[output](found.problems), nl=False)
    raise typer.Exit(1 if has_errors(found.problems) else 0)
