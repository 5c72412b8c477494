"""Draws the graph of a definition as text, Mermaid, Graphviz DOT or SVG. The output depends only on the definition."""

from collections.abc import Mapping
from dataclasses import dataclass
from html import escape
from typing import Final

from kroasync.graph import dag
from kroasync.graph.checks import declared_object, node_type
from kroasync.graph.nodes import NodeType
from kroasync.model.definition import Definition


@dataclass(frozen=True, slots=True, kw_only=True)
class Box:
    """One node as it is drawn."""

    id: str
    type: NodeType
    kind: str
    is_conditional: bool
    for_each: tuple[str, ...]
    needs: tuple[str, ...]

    @property
    def remarks(self) -> tuple[str, ...]:
        """How the node differs from one that is always created."""
        found = []
        if self.for_each:
            found.append(f"for each {', '.join(self.for_each)}")
        if self.type is NodeType.EXTERNAL:
            found.append("external")
        if self.type is NodeType.EXTERNAL_COLLECTION:
            found.append("external, by selector")
        if self.is_conditional:
            found.append("conditional")
        return tuple(found)


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawing:
    """The nodes in order of creation."""

    title: str
    boxes: tuple[Box, ...]


def draw(definition: Definition, needs: Mapping[str, tuple[str, ...]]) -> Drawing:
    """The graph of a definition without cycles; `needs` as `Built.needs`."""
    boxes: dict[str, Box] = {}
    for spec in definition.resources:
        obj = declared_object(spec) or {}
        boxes.setdefault(
            spec.id,
            Box(
                id=spec.id,
                type=node_type(spec),
                kind=f"{obj.get('apiVersion', '?')} {obj.get('kind', '?')}",
                is_conditional=bool(spec.include_when),
                for_each=tuple(name for name, _ in spec.for_each),
                needs=tuple(needs.get(spec.id, ())),
            ),
        )
    title = f"{definition.name} ({definition.group}/{definition.api_version} {definition.kind})"
    return Drawing(title=title, boxes=tuple(boxes[node] for node in dag.order(needs)))


def as_text(drawing: Drawing) -> str:
    """One line for each node, in order of creation."""
    lines = [drawing.title]
    widths = [max((len(text) for text in column), default=0) for column in (
        [box.id for box in drawing.boxes],
        [box.kind for box in drawing.boxes],
    )]  # fmt: skip
    for place, box in enumerate(drawing.boxes, 1):
        line = f"{place:>3}. {box.id:<{widths[0]}}  {box.kind:<{widths[1]}}"
        if box.needs:
            line += f"  <- {', '.join(box.needs)}"
        if box.remarks:
            line += f"  ({'; '.join(box.remarks)})"
        lines.append(line.rstrip())
    return "\n".join(lines) + "\n"


def as_mermaid(drawing: Drawing) -> str:
    """A Mermaid flowchart; rounded: external, double border: collection, dashed: conditional."""
    lines = ["---", f"title: {_mermaid(drawing.title)}", "---", "flowchart TD"]
    for box in drawing.boxes:
        label = "<br/>".join((f"<b>{box.id}</b>", *map(_mermaid, (box.kind, *box.remarks))))
        opening, closing = _SHAPES[box.type]
        lines.append(f'    n_{box.id}{opening}"{label}"{closing}')
    for box in drawing.boxes:
        lines += [f"    n_{other} --> n_{box.id}" for other in box.needs]
    conditional = [f"n_{box.id}" for box in drawing.boxes if box.is_conditional]
    if conditional:
        lines += [
            "    classDef conditional stroke-dasharray: 5 5",
            f"    class {','.join(conditional)} conditional",
        ]
    return "\n".join(lines) + "\n"


_SHAPES: Final = {
    NodeType.RESOURCE: ("[", "]"),
    NodeType.COLLECTION: ("[[", "]]"),
    NodeType.EXTERNAL: ("([", "])"),
    NodeType.EXTERNAL_COLLECTION: ("([", "])"),
}


def _mermaid(text: str) -> str:
    return text.replace("&", "&amp;").replace('"', "#quot;").replace("<", "&lt;").replace(">", "&gt;")


def as_dot(drawing: Drawing) -> str:
    """Graphviz DOT, with arrows from a node to the nodes that need it."""
    lines = [
        f"digraph {_dot(drawing.title)} {{",
        "  rankdir=TB;",
        '  node [shape=box, fontname="sans-serif"];',
    ]
    for box in drawing.boxes:
        label = _dot("\n".join((box.id, box.kind, *box.remarks)))
        style = ["rounded"] if box.type in (NodeType.EXTERNAL, NodeType.EXTERNAL_COLLECTION) else []
        style += ["dashed"] if box.is_conditional else []
        extra = f', style="{",".join(style)}"' if style else ""
        extra += ", peripheries=2" if box.for_each else ""
        lines.append(f"  {_dot(box.id)} [label={label}{extra}];")
    for box in drawing.boxes:
        lines += [f"  {_dot(other)} -> {_dot(box.id)};" for other in box.needs]
    return "\n".join([*lines, "}"]) + "\n"


def _dot(text: str) -> str:
    quoted = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{quoted}"'


# Average widths of a character in DejaVu Sans, among the widest of the fonts that a viewer may choose.
_CHAR, _BOLD_CHAR = 7.3, 9.0
_LINE, _GAP_X, _GAP_Y, _MARGIN, _TITLE = 17, 32, 56, 20, 34
_STYLE: Final = (
    "text{font:13px ui-sans-serif,system-ui,sans-serif;fill:#1f2933}.id{font-weight:600}.kind{fill:#52606d}"
    "rect{fill:#f5f7fa;stroke:#3e4c59;stroke-width:1.3}.external{fill:#fff8e6}.conditional{stroke-dasharray:5 4}"
    "path{fill:none;stroke:#7b8794;stroke-width:1.3}"
)


def as_svg(drawing: Drawing) -> str:
    """A self-contained picture, with one row for each layer. Nodes are above the nodes that need them."""
    rows = _rows(drawing)
    width_of = {box.id: _width(box) for box in drawing.boxes}
    full = max((sum(width_of[box.id] + _GAP_X for box in row) - _GAP_X for row in rows), default=0.0)
    full = max(full, len(drawing.title) * _BOLD_CHAR)
    places: dict[str, tuple[float, float, float, float]] = {}
    top = float(_MARGIN + _TITLE)
    for row in rows:
        left = _MARGIN + (full - sum(width_of[box.id] + _GAP_X for box in row) + _GAP_X) / 2
        height = max(_height(box) for box in row)
        for box in row:
            places[box.id] = (left, top, width_of[box.id], _height(box))
            left += width_of[box.id] + _GAP_X
        top += height + _GAP_Y
    width, height = full + 2 * _MARGIN, top - (_GAP_Y if rows else 0) + _MARGIN
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {height:.0f}" '
        f'width="{width:.0f}" height="{height:.0f}" role="img">',
        f"<title>{escape(drawing.title)}</title><style>{_STYLE}</style>",
        '<defs><marker id="arrow" viewBox="0 0 10 10" refX="9" refY="5" markerWidth="7" markerHeight="7" '
        'orient="auto-start-reverse"><path d="M0 1 L9 5 L0 9" /></marker></defs>',
        f'<text x="{_MARGIN}" y="{_MARGIN + 14}" class="id">{escape(drawing.title)}</text>',
    ]
    for box in drawing.boxes:
        parts += [_curve(places[other], places[box.id]) for other in box.needs]
    parts += [_rectangle(box, *places[box.id]) for box in drawing.boxes]
    return "\n".join([*parts, "</svg>"]) + "\n"


def _rows(drawing: Drawing) -> list[list[Box]]:
    depth: dict[str, int] = {}
    rows: list[list[Box]] = []
    for box in drawing.boxes:
        depth[box.id] = max((depth[other] + 1 for other in box.needs), default=0)
        if depth[box.id] == len(rows):
            rows.append([])
        rows[depth[box.id]].append(box)
    return rows


def _texts(box: Box) -> tuple[str, ...]:
    return (box.id, box.kind, *(f"({remark})" for remark in box.remarks))


def _width(box: Box) -> float:
    first, *others = map(len, _texts(box))
    return max(first * _BOLD_CHAR, max(others) * _CHAR) + 24


def _height(box: Box) -> float:
    return len(_texts(box)) * _LINE + 16


def _curve(start: tuple[float, float, float, float], end: tuple[float, float, float, float]) -> str:
    x1, y1 = start[0] + start[2] / 2, start[1] + start[3]
    x2, y2 = end[0] + end[2] / 2, end[1]
    bend = (y1 + y2) / 2
    line = f"M{x1:.1f} {y1:.1f} C{x1:.1f} {bend:.1f} {x2:.1f} {bend:.1f} {x2:.1f} {y2:.1f}"
    return f'<path d="{line}" marker-end="url(#arrow)"/>'


def _rectangle(box: Box, left: float, top: float, width: float, height: float) -> str:
    external = box.type in (NodeType.EXTERNAL, NodeType.EXTERNAL_COLLECTION)
    classes = " ".join(name for name, holds in (("external", external), ("conditional", box.is_conditional)) if holds)
    attribute = f' class="{classes}"' if classes else ""
    frame = f'<rect x="{left:.1f}" y="{top:.1f}" width="{width:.1f}" height="{height:.1f}" rx="6"{attribute}/>'
    if box.for_each:
        frame = (
            f'<rect x="{left + 4:.1f}" y="{top + 4:.1f}" width="{width:.1f}" height="{height:.1f}" rx="6"{attribute}/>'
            + frame
        )
    lines = "".join(
        f'<text x="{left + width / 2:.1f}" y="{top + 20 + place * _LINE:.1f}" text-anchor="middle" '
        f'class="{"id" if place == 0 else "kind"}">{escape(text)}</text>'
        for place, text in enumerate(_texts(box))
    )
    return frame + lines
