"""`kroasync generate`: print the CRD of a definition, a sample instance, or a JSON Schema for editors."""

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer

from kroasync.cli.inputs import CrdsOption, MissingKinds, MissingKindsOption, NameOption, analysed, one_definition

if TYPE_CHECKING:
    from kroasync.model.definition import Definition

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    help="Generate a CRD, a sample instance or a JSON Schema.",
)


class GenerateFormat(StrEnum):
    YAML = "yaml"
    JSON = "json"


class _Chosen(NamedTuple):
    definition: "Definition"
    spec_schema: dict[str, Any]
    crd: dict[str, Any]
    has_errors: bool


Files = Annotated[
    list[str], typer.Argument(metavar="FILE", help='Manifests with the definition; "-" reads standard input.')
]
Output = Annotated[GenerateFormat, typer.Option("-o", "--output", "--format", help="Format of the output.")]


@app.command("crd")
def crd_command(
    files: Files,
    output: Output = GenerateFormat.YAML,
    name: NameOption = None,
    crds: CrdsOption = None,
    missing_kinds: MissingKindsOption = MissingKinds.ERROR,
) -> None:
    """Print the CustomResourceDefinition of a definition."""
    found = _choose(files, name, crds, missing_kinds)
    # The types of the CRD's status come from the whole graph, so the whole graph must be valid.
    if found.has_errors:
        raise typer.Exit(1)
    _print(found.crd, output)


@app.command("instance")
def instance_command(
    files: Files,
    output: Output = GenerateFormat.YAML,
    name: NameOption = None,
    crds: CrdsOption = None,
    missing_kinds: MissingKindsOption = MissingKinds.ERROR,
) -> None:
    """Print a sample instance of a definition."""
    from kroasync.cli.samples import sample_instance

    found = _choose(files, name, crds, missing_kinds)
    _print(sample_instance(found.definition, found.spec_schema), output)


@app.command("schema")
def schema_command(
    files: Annotated[
        list[str] | None,
        typer.Argument(metavar="FILE", help="Manifests with the definition; none: print the schema of definitions."),
    ] = None,
    output: Output = GenerateFormat.JSON,
    name: NameOption = None,
    crds: CrdsOption = None,
    missing_kinds: MissingKindsOption = MissingKinds.ERROR,
) -> None:
    """Print a JSON Schema of instances or of definitions.

    Editors use the schema to complete and to check manifests.
    """
    from kroasync.cli.jsonschema import instance_schema

    if not files:
        _print(_definition_schema(), output)
        return
    found = _choose(files, name, crds, missing_kinds)
    _print(instance_schema(found.definition, found.spec_schema), output)


def _definition_schema() -> dict[str, Any]:
    from kroasync.cli import jsonschema
    from kroasync.model import names
    from kroasync.model.objects import GVK
    from kroasync.schema.catalog import bundled

    kinds = [names.RESOURCE_GRAPH_DEFINITION, names.RESOURCE_GROUP]
    schema = bundled().schema(GVK(names.KRO_GROUP, names.KRO_VERSION, kinds[0]))
    if schema is None:
        raise LookupError("the bundled catalog lacks the definition kinds")
    return jsonschema.document(
        title="Definitions of kro and kroasync",
        api_version=names.KRO_API_VERSION,
        kinds=kinds,
        name={"type": "string"},
        spec=jsonschema.definition_spec(schema["properties"]["spec"]),
        spec_required=True,
    )


def _choose(files: list[str], name: str | None, crds: list[Path] | None, missing_kinds: MissingKinds) -> "_Chosen":
    """The chosen definition. Without a schema of its spec, the program exits with status 1.

    Problems go to standard error.
    """
    from kroasync.model.problems import has_errors

    found = analysed(files, crds, missing_kinds)
    chosen = one_definition(found, name)
    built = chosen.built
    if chosen.definition is None or built is None or built.spec_schema is None or built.crd is None:
        raise typer.Exit(1)
    return _Chosen(chosen.definition, built.spec_schema, built.crd, has_errors(found.problems))


def _print(obj: Any, output: GenerateFormat) -> None:
    import json

    from kroasync.model.manifests import dump

    typer.echo(dump(obj) if output is GenerateFormat.YAML else json.dumps(obj, indent=2) + "\n", nl=False)
