"""`kroasync tree INSTANCE`: show the nodes of a live instance, the state of each, and what it waits for.

With `--owners` it also shows which declared fields other field managers have, and what the policies do about it. The
command reads the cluster and writes nothing. `kubectl kroasync tree` is the same command.
"""

import asyncio
import json
from dataclasses import asdict
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from kroasync.cli.inputs import DefaultPoliciesOption, default_policies, usage_error

if TYPE_CHECKING:
    from kroasync.cli.drawing import Drawing
    from kroasync.engine.views import InstanceView
    from kroasync.model.policies import Policies


class TreeFormat(StrEnum):
    TEXT = "text"
    JSON = "json"
    MERMAID = "mermaid"
    SVG = "svg"


def tree_command(
    instance: Annotated[
        str, typer.Argument(metavar="INSTANCE", help="NAME, or KIND/NAME if instances of several kinds have that name.")
    ],
    namespace: Annotated[str, typer.Option("-n", "--namespace", help="Namespace of the instance.")] = "default",
    output: Annotated[TreeFormat, typer.Option("-o", "--output", help="Format of the output.")] = TreeFormat.TEXT,
    kubeconfig: Annotated[
        str, typer.Option("--kubeconfig", help="Path of the kubeconfig; default: the one that kubectl uses.")
    ] = "",
    context: Annotated[str, typer.Option("--context", help="Context of the kubeconfig.")] = "",
    owners: Annotated[
        bool, typer.Option("--owners", help="Also show the declared fields that other field managers have.")
    ] = False,
    defaults: DefaultPoliciesOption = None,
) -> None:
    """Show the nodes of a live instance and their states.

    Each node is printed with its objects, its state, and what it waits for.
    """
    from kroasync.cli.live import InspectionError
    from kroasync.kube.api_errors import ApiError
    from kroasync.kube.config import ConfigError

    if owners and output not in (TreeFormat.TEXT, TreeFormat.JSON):
        raise usage_error(f"--owners cannot be drawn as {output}: use -o text or -o json")
    policies = default_policies(defaults)
    kind, _, name = instance.rpartition("/")
    try:
        view = asyncio.run(_inspect(kind, name, namespace, kubeconfig, context, policies, owners))
    except (InspectionError, ConfigError, ApiError) as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(1) from None
    match output:
        case TreeFormat.TEXT:
            from kroasync.cli.tree_text import print_tree

            print_tree(view, owners=owners)
        case TreeFormat.JSON:
            typer.echo(json.dumps(asdict(view), indent=2))
        case TreeFormat.MERMAID:
            from kroasync.cli.drawing import as_mermaid

            typer.echo(as_mermaid(_drawing(view)), nl=False)
        case TreeFormat.SVG:
            from kroasync.cli.drawing import as_svg

            typer.echo(as_svg(_drawing(view)), nl=False)


async def _inspect(
    kind: str, name: str, namespace: str, kubeconfig: str, context: str, policies: "Policies", with_owners: bool
) -> "InstanceView":
    from kroasync import __version__
    from kroasync.cli.live import find_instance, inspect_instance
    from kroasync.kube.client import Client
    from kroasync.kube.config import connect

    connection = await connect(
        kubeconfig=kubeconfig or None,
        context=context or None,
        in_cluster=None,
        user_agent=f"kroasync/{__version__}",
    )
    try:
        client = Client(connection)
        key, found = await find_instance(client, kind=kind, namespace=namespace, name=name)
        return await inspect_instance(client, key, found, policies=policies, with_owners=with_owners)
    finally:
        await connection.close()


def _drawing(view: "InstanceView") -> "Drawing":
    from kroasync.cli.drawing import Box, Drawing
    from kroasync.graph.nodes import NodeType

    boxes = []
    for node in view.nodes:
        objects = ", ".join(f"{o.kind} {o.name}" for o in node.objects[:3]) or "no object"
        more = f" and {len(node.objects) - 3} more" if len(node.objects) > 3 else ""
        boxes.append(
            Box(
                id=node.id,
                type=NodeType.RESOURCE,
                kind=f"{node.state}: {objects}{more}",
                is_conditional=node.state == "SKIPPED",
                for_each=(),
                needs=node.needs,
            )
        )
    return Drawing(title=f"{view.kind} {view.name}: {view.state}", boxes=tuple(boxes))
