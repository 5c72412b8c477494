"""`kroasync validate`: report every problem of definitions, without a cluster.

Exit status 0: no errors, 1: errors, 2: the call itself is wrong. As text, problems go to standard error; the
machine formats are the result and go to standard output.
"""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from kroasync.cli.inputs import (
    CrdsOption,
    FeaturesOption,
    MissingKinds,
    MissingKindsOption,
    read_kinds,
    read_texts,
    usage_error,
    without_crds,
)


class ValidateFormat(StrEnum):
    TEXT = "text"
    JSON = "json"
    SARIF = "sarif"
    GITHUB = "github"


def validate_command(
    files: Annotated[
        list[str] | None, typer.Argument(metavar="FILE", help='Manifests; "-" reads standard input.')
    ] = None,
    folders: Annotated[
        list[Path] | None,
        typer.Option("-R", "--recursive", metavar="DIR", help="Also read every manifest in this folder, recursively."),
    ] = None,
    crds: CrdsOption = None,
    output: Annotated[
        ValidateFormat, typer.Option("-o", "--output", help="Format of the problems.")
    ] = ValidateFormat.TEXT,
    strict: Annotated[bool, typer.Option("--strict", help="Report warnings as errors.")] = False,
    features: FeaturesOption = None,
    missing_kinds: MissingKindsOption = MissingKinds.ERROR,
    allow_none: Annotated[
        bool, typer.Option("--allow-none", help="Succeed without a definition or an instance, as for a commit hook.")
    ] = False,
) -> None:
    """Check definitions and their instances without a cluster.

    The command knows the built-in kinds of Kubernetes, and the kinds of CRDs and definitions in the input or in
    --crds.
    """
    from kroasync.cli import problem_output
    from kroasync.graph.analysis import analyse
    from kroasync.model.problems import as_errors, has_errors

    if not files and not folders:
        raise usage_error("nothing to validate: name a file, - for standard input, or a folder with -R")
    if folder := next((one for one in files or () if Path(one).is_dir()), None):
        raise usage_error(f"cannot read {folder}: is a directory; read the manifests below it with -R {folder}")
    texts = read_texts(files or (), folders or ())
    others, known = without_crds(texts)
    found = analyse(
        others,
        known + read_kinds(crds),
        features=frozenset(features or ()),
        missing_kinds=missing_kinds.severity,
    )
    if strict:
        found.problems = as_errors(found.problems)
    if output is ValidateFormat.TEXT:
        for problem in found.problems:
            typer.echo(str(problem), err=True)
        if texts and not any(text.is_utf_8 for text in texts):
            raise typer.Exit(2)
        if not (found.definitions or found.instances or allow_none or has_errors(found.problems)):
            raise usage_error("no definition in the input")
        typer.echo(problem_output.summary(found))
    else:
        render = {
            ValidateFormat.JSON: problem_output.as_json,
            ValidateFormat.SARIF: problem_output.as_sarif,
            ValidateFormat.GITHUB: problem_output.as_github,
        }
        typer.echo(render[output](found.problems), nl=False)
    raise typer.Exit(1 if has_errors(found.problems) else 0)
