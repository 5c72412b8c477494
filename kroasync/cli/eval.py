"""`kroasync eval`: evaluate one expression and print its value, its type and the fields it reads."""

import base64
import json
from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer

from kroasync.cli.inputs import read_texts, usage_error

if TYPE_CHECKING:
    from kroasync.cel import Env, Program

_OPEN, _CLOSE = "${", "}"


class EvalFormat(StrEnum):
    TEXT = "text"
    JSON = "json"


def eval_command(
    expression: Annotated[
        str, typer.Argument(metavar="EXPRESSION", help="A CEL expression, with or without ${...} around it.")
    ],
    data: Annotated[
        str | None,
        typer.Option(
            "--data", metavar="FILE", help='YAML or JSON file whose keys are the variables; "-" reads standard input.'
        ),
    ] = None,
    schema: Annotated[
        list[str] | None,
        typer.Option(
            "--schema",
            metavar="VAR=GROUP/VERSION/KIND",
            help="Type-check a variable as a built-in kind, such as deployment=apps/v1/Deployment.",
        ),
    ] = None,
    output: Annotated[EvalFormat, typer.Option("-o", "--output", help="Format of the output.")] = EvalFormat.TEXT,
) -> None:
    """Evaluate a CEL expression as in a definition.

    The command prints the value, its type and the fields that the expression reads. A variable that is a list can
    have a --schema, too: then each element is an object of that kind.
    """
    from kroasync.cel import CelError
    from kroasync.engine.allowance import EVALUATION_STEPS

    variables = {} if data is None else _load(data)
    env = _environment(variables, schema or ())
    try:
        program = env.program(_inner(expression))
        value = _printable(program.evaluate(variables, budget=EVALUATION_STEPS))
    except CelError as error:
        _report(error, _inner(expression))
        raise typer.Exit(1) from None
    typer.echo(_as_json(program, value) if output is EvalFormat.JSON else _as_text(program, value))


def _inner(expression: str) -> str:
    """The expression without the `${...}` of a definition around it."""
    if expression.startswith(_OPEN) and expression.endswith(_CLOSE):
        return expression[len(_OPEN) : -len(_CLOSE)]
    return expression


def _load(source: str) -> dict[str, Any]:
    """The variables of a file. If it has problems or several documents, the program exits with status 2."""
    from kroasync.model.manifests import load
    from kroasync.model.problems import has_errors

    (text,) = read_texts([source])
    documents = load(text.text, text.source)
    problems = [problem for document in documents for problem in document.problems + document.surprises]
    if has_errors(problems):
        raise usage_error("; ".join(str(problem) for problem in problems))
    for problem in problems:
        typer.echo(str(problem), err=True)
    if len(documents) > 1:
        raise usage_error(f"{text.source}: expected one document, found {len(documents)}")
    return dict(documents[0].obj) if documents else {}


def _environment(variables: Mapping[str, Any], schemas: Sequence[str]) -> "Env":
    from kroasync.cel import Env
    from kroasync.cel.types import DYN
    from kroasync.schema.celtypes import SchemaTypes, collection_of

    declared = {}
    for text in schemas:
        name, kind = _declaration(text)
        declared[name] = collection_of(kind) if isinstance(variables.get(name), list) else kind
    types = SchemaTypes(declared)
    return Env(variables={**dict.fromkeys(variables, DYN), **types.variables()}, types=types)


def _declaration(text: str) -> tuple[str, Mapping[str, Any]]:
    """The variable and the schema of `deployment=apps/v1/Deployment`."""
    from kroasync.model.objects import GVK
    from kroasync.schema import catalog

    name, equals, path = text.partition("=")
    api_version, slash, kind = path.rpartition("/")
    if not (name and equals and api_version and slash and kind):
        raise usage_error(f"--schema {text}: expected VAR=GROUP/VERSION/KIND, such as pod=v1/Pod")
    found = catalog.bundled().schema(GVK.parse(api_version, kind))
    if found is None:
        raise usage_error(f"--schema {text}: no built-in kind {kind} in {api_version}")
    return name, found


def _printable(value: Any) -> Any:
    """The value as JSON; bytes as base64, other values that JSON cannot hold as text."""
    from kroasync.cel import ConversionError, to_json

    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    try:
        return to_json(value)
    except ConversionError:
        return str(value)


def _type(program: "Program") -> str:
    from kroasync.schema.celtypes import readable

    return readable(str(program.result_type))


def _as_json(program: "Program", value: Any) -> str:
    reads = [".".join(path) for path in sorted(program.reads)]
    return json.dumps(
        {"value": value, "type": _type(program), "reads": reads}, indent=2, ensure_ascii=False, default=str
    )


def _as_text(program: "Program", value: Any) -> str:
    reads = "\n       ".join(".".join(path) for path in sorted(program.reads)) or "nothing"
    shown = json.dumps(value, indent=2, ensure_ascii=False, default=str)
    return f"value: {shown}\ntype:  {_type(program)}\nreads: {reads}"


def _report(error: Exception, source: str) -> None:
    """Every fault with its line and a caret, on standard error."""
    from kroasync.cel import CheckError, EvalError, Issue, ParseError
    from kroasync.schema.celtypes import readable

    issues: Sequence[Issue] = ()
    if isinstance(error, ParseError | CheckError):
        issues = error.issues
    elif isinstance(error, EvalError) and error.span is not None:
        issues = (Issue(error.message, error.span),)
    if not issues:
        typer.echo(f"ERROR: {error}", err=True)
    for issue in issues:
        hint = f"\ndid you mean '{issue.suggestion}'?" if issue.suggestion else ""
        typer.echo(f"{readable(issue.render(source))}{hint}", err=True)
