"""`kroasync tree INSTANCE`: show the nodes of a live instance, the state of each, and what it waits for.

The command reads the cluster and writes nothing. `kubectl kroasync tree` is the same command.
"""

import asyncio
import json
import sys
from dataclasses import asdict
from datetime import UTC, datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Final

import typer

from kroasync.model import timestamps

if TYPE_CHECKING:
    from rich.text import Text

    from kroasync.cli.drawing import Drawing
    from kroasync.engine.views import InstanceView, NodeView, ObjectView


class TreeFormat(StrEnum):
    TEXT = "text"
    JSON = "json"
    MERMAID = "mermaid"
    SVG = "svg"


_COLOURS: Final = {
    "SYNCED": "green",
    "ACTIVE": "green",
    "SKIPPED": "bright_black",
    "ERROR": "red",
    "DELETING": "magenta",
    "UNKNOWN": "bright_black",
}


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
) -> None:
    """Show the nodes of a live instance and their states.

    Each node is printed with its objects, its state, and what it waits for.
    """
    from kroasync.cli.live import InspectionError
    from kroasync.kube.api_errors import ApiError
    from kroasync.kube.config import ConfigError

    kind, _, name = instance.rpartition("/")
    try:
        view = asyncio.run(_inspect(kind, name, namespace, kubeconfig, context))
    except (InspectionError, ConfigError, ApiError) as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(1) from None
    match output:
        case TreeFormat.TEXT:
            _print(view)
        case TreeFormat.JSON:
            typer.echo(json.dumps(asdict(view), indent=2))
        case TreeFormat.MERMAID:
            from kroasync.cli.drawing import as_mermaid

            typer.echo(as_mermaid(_drawing(view)), nl=False)
        case TreeFormat.SVG:
            from kroasync.cli.drawing import as_svg

            typer.echo(as_svg(_drawing(view)), nl=False)


async def _inspect(kind: str, name: str, namespace: str, kubeconfig: str, context: str) -> "InstanceView":
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
        return await inspect_instance(client, key, found)
    finally:
        await connection.close()


def _print(view: "InstanceView") -> None:
    from rich.console import Console
    from rich.text import Text
    from rich.tree import Tree

    place = f"{view.namespace}/{view.name}" if view.namespace else view.name
    head = Text.assemble(
        (f"{view.kind} {place}", "bold"), "  ", _state(view.state or "UNKNOWN"), f"  ready {view.ready}"
    )
    tree = Tree(head, guide_style="bright_black")
    for node in view.nodes:
        branch = tree.add(_node_text(node))
        for found in node.objects:
            branch.add(_object_text(found))
        if node.waits_for and node.state != "SKIPPED":
            since = f" (for {_age(node.since)})" if node.since else ""
            branch.add(Text(f"waits: {node.waits_for}{since}", style="yellow"))
    console = Console(file=sys.stdout, soft_wrap=True, highlight=False)
    console.print(tree)
    if view.message and view.ready != "True":
        console.print(Text(view.message, style="yellow"))
    if view.note:
        console.print(Text(view.note, style="yellow"))


def _state(state: str) -> tuple[str, str]:
    return state, _COLOURS.get(state, "yellow")


def _node_text(node: "NodeView") -> "Text":
    from rich.text import Text

    needs = f"  needs {', '.join(node.needs)}" if node.needs else ""
    return Text.assemble((node.id, "bold"), "  ", _state(node.state), (needs, "bright_black"))


def _object_text(found: "ObjectView") -> "Text":
    from rich.text import Text

    place = f"{found.namespace}/{found.name}" if found.namespace else found.name
    if not found.exists:
        return Text.assemble(f"{found.kind} {place}  ", ("missing", "red"))
    how = ("deleting", "magenta") if found.deleting else ("", "")
    return Text.assemble(f"{found.kind} {place}  ", (_age(found.since), "bright_black"), "  ", how)


def _age(stamp: str) -> str:
    """Time since an RFC 3339 stamp as kubectl prints ages; empty for no stamp."""
    if not stamp:
        return ""
    seconds = max(0, int((datetime.now(UTC) - timestamps.parse(stamp)).total_seconds()))
    for size, unit in ((86400, "d"), (3600, "h"), (60, "m")):
        if seconds >= 2 * size:
            return f"{seconds // size}{unit}"
    return f"{seconds}s"


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
