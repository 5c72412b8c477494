"""Prints the view of a live instance as a tree of nodes and objects, for `kroasync tree`."""

import sys
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Final

from rich.console import Console
from rich.text import Text
from rich.tree import Tree

from kroasync.engine.owners import Treatment
from kroasync.engine.views import InstanceView, NodeView, ObjectView
from kroasync.model import timestamps

_COLOURS: Final = {
    "SYNCED": "green",
    "ACTIVE": "green",
    "SKIPPED": "bright_black",
    "ERROR": "red",
    "DELETING": "magenta",
    "UNKNOWN": "bright_black",
}
_TREATED: Final[dict[str, str]] = {
    Treatment.TAKEN_BACK: "yellow",
    Treatment.CONTESTED: "red",
    Treatment.NOT_ADOPTED: "red",
}
# A tree is cut at the width of its console, even if lines may be longer than those of the terminal.
_WIDTH: Final = 100_000
# A line names this many objects or nodes, and counts the rest.
_NAMED: Final = 5
_HEADINGS: Final = ("FIELD", "DECLARED", "LIVE", "MANAGER", "RESULT")


def print_tree(view: InstanceView, *, owners: bool) -> None:
    """Print the nodes with their objects; with `owners`, also the declared fields that other managers have."""
    place = f"{view.namespace}/{view.name}" if view.namespace else view.name
    head = Text.assemble(
        (f"{view.kind} {place}", "bold"), "  ", _state(view.state or "UNKNOWN"), f"  ready {view.ready}"
    )
    tree = Tree(head, guide_style="bright_black")
    widths = _widths(view)
    for node in view.nodes:
        branch = tree.add(_node_text(node))
        for found in node.objects:
            below = branch.add(_object_text(found))
            for line in _owner_lines(found, widths):
                below.add(line)
        if node.waits_for and node.state != "SKIPPED":
            since = f" (for {_age(node.since)})" if node.since else ""
            branch.add(Text(f"waits: {node.waits_for}{since}", style="yellow"))
    console = Console(file=sys.stdout, soft_wrap=True, highlight=False, width=_WIDTH)
    console.print(tree)
    if view.message and view.ready != "True":
        console.print(Text(view.message, style="yellow"))
    if view.note:
        console.print(Text(view.note, style="yellow"))
    for text in _summary(view) if owners else ():
        console.print(Text(text))


def _rows(found: ObjectView) -> list[tuple[str, ...]]:
    """The table below an object: its declared fields that other managers have."""
    fields = found.owners.fields if found.owners is not None else ()
    rows = [(*map(_cell, (one.field, one.declared, one.live, one.manager)), one.treatment) for one in fields]
    return [_HEADINGS, *rows] if rows else []


def _cell(text: str) -> str:
    """The text without characters that would steer a terminal."""
    return "".join(char if char.isprintable() else f"\\u{ord(char):04x}" for char in text)


def _widths(view: InstanceView) -> list[int]:
    """The widths of the columns, the same below all objects."""
    rows = [row for node in view.nodes for found in node.objects for row in _rows(found)]
    return [max(map(len, column)) for column in zip(*rows, strict=True)]


def _owner_lines(found: ObjectView, widths: Sequence[int]) -> Iterator[Text]:
    for row in _rows(found):
        cells = "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        yield Text(cells.rstrip(), style="bright_black" if row is _HEADINGS else _TREATED.get(row[-1], ""))
    if found.owners is not None and found.owners.undeclared:
        counts = ", ".join(f"{manager} {count}" for manager, count in found.owners.undeclared.items())
        yield Text(f"undeclared fields: {counts}", style="bright_black")


def _summary(view: InstanceView) -> Iterator[str]:
    """What the tables do not say."""
    objects = [found for node in view.nodes for found in node.objects if found.exists or found.standing]
    judged = [found.owners for found in objects if found.owners is not None]
    if judged and not any(owners.fields for owners in judged):
        yield "No other field manager has a declared field."
    others = [f"{found.kind} {found.name}" for found in objects if found.owners is None]
    if others:
        yield f"Nothing is known about {_few(others)}: it cannot be read, or nothing known declares it."
    unknown = [node.id for node in view.nodes if not node.objects and node.blocked_by]
    if unknown:
        yield f"Not known yet what these declare: {_few(unknown)}"


def _few(names: Sequence[str]) -> str:
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(names[:_NAMED]) + more


def _state(state: str) -> tuple[str, str]:
    return state, _COLOURS.get(state, "yellow")


def _node_text(node: NodeView) -> Text:
    needs = f"  needs {', '.join(node.needs)}" if node.needs else ""
    return Text.assemble((node.id, "bold"), "  ", _state(node.state), (needs, "bright_black"))


def _object_text(found: ObjectView) -> Text:
    place = f"{found.namespace}/{found.name}" if found.namespace else found.name
    if not found.exists:
        return Text.assemble(f"{found.kind} {place}  ", (found.standing or "missing", "red"))
    how = ("  deleting", "magenta") if found.deleting else (f"  {found.standing}" if found.standing else "", "red")
    return Text.assemble(f"{found.kind} {place}  ", (_age(found.since), "bright_black"), how)


def _age(stamp: str) -> str:
    """Time since an RFC 3339 stamp as kubectl prints ages; empty for no stamp."""
    if not stamp:
        return ""
    seconds = max(0, int((datetime.now(UTC) - timestamps.parse(stamp)).total_seconds()))
    for size, unit in ((86400, "d"), (3600, "h"), (60, "m")):
        if seconds >= 2 * size:
            return f"{seconds // size}{unit}"
    return f"{seconds}s"
