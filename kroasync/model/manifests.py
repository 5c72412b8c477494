"""Converts YAML and JSON text to objects with positions, and back. No other module imports PyYAML.

Scalars and keys have the same meaning as in kubectl (sigs.k8s.io/yaml; see `plain_scalars`), and a merge key replaces
the keys before it. What an author may not expect of that is a warning. Every fault is a Problem of its document. The
bounds below limit the cost of every text, however deep, large or self-referring it is.
"""

import json
import math
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any, Final, TypeAlias

import yaml

from kroasync.model import names
from kroasync.model.objects import Obj
from kroasync.model.paths import Path
from kroasync.model.plain_scalars import key_of_plain, resolve_plain, surprise
from kroasync.model.problems import Problem, Severity, has_errors

try:
    from yaml import CSafeDumper as _SafeDumper
    from yaml import CSafeLoader as _SafeLoader
except ImportError:  # PyYAML built without libyaml: slower, same result
    from yaml import SafeDumper as _SafeDumper  # type: ignore[assignment]
    from yaml import SafeLoader as _SafeLoader  # type: ignore[assignment]

Place: TypeAlias = tuple[int, int]
"""Line and column, both 1-based."""

MAX_BYTES: Final = 16 * 1024 * 1024
MAX_DEPTH: Final = 200
MAX_NODES: Final = 1_000_000
MAX_ALIASED_NODES: Final = 100_000
"""Number of nodes that aliases and merge keys may add."""

_MAX_PROBLEMS: Final = 100
_TAG: Final = "tag:yaml.org,2002:"
_MERGE: Final = "<<"


@dataclass(frozen=True, slots=True)
class Text:
    """One input: its source, as messages name it, and its text. Bytes that are not UTF-8 are escaped as in PEP 383."""

    source: str
    text: str
    fault: str | None = None
    """Why there is no text."""

    @property
    def is_utf_8(self) -> bool:
        return self.fault is None and _ESCAPED_BYTE.search(self.text) is None


@dataclass(slots=True, eq=False)
class _Node:
    """One composed YAML node; `children` of a mapping alternate key, value."""

    kind: str  # "scalar", "map" or "list"
    line: int
    column: int
    tag: str | None = None
    text: str = ""
    plain: bool = False
    children: "list[_Node]" = field(default_factory=list)
    is_open: bool = False

    @property
    def place(self) -> Place:
        return self.line, self.column

    def pairs(self) -> "Iterator[tuple[_Node, _Node]]":
        return zip(self.children[::2], self.children[1::2], strict=True)

    @property
    def key(self) -> str | None:
        """The key that this scalar is; None if it cannot be one."""
        return key_of_plain(self.text) if self.plain and self.tag in (None, "!") else self.text

    @property
    def is_merge_key(self) -> bool:
        return self.kind == "scalar" and self.plain and self.text == _MERGE


class Positions:
    """The positions of the values and keys of one document. The position of an aliased value is that of its anchor."""

    __slots__ = ("_root",)

    def __init__(self, root: _Node | None = None) -> None:
        self._root = root

    def value(self, path: Path) -> Place | None:
        """The position of the value at a path, None if there is none."""
        found = self._walk(path)
        return found[1].place if found else None

    def key(self, path: Path) -> Place | None:
        """The position of the key at the end of a path (in a list, of the item itself)."""
        found = self._walk(path)
        return (found[0] or found[1]).place if found else None

    def nearest(self, path: Path) -> Place | None:
        """The position to show for a path: a scalar's value, a container's key, or the closest parent's position."""
        for length in range(len(path), -1, -1):
            if found := self._walk(path[:length]):
                key, value = found
                return value.place if key is None or value.kind == "scalar" else key.place
        return None

    def plain(self, path: Path) -> str | None:
        """The unquoted text of a scalar as it is written; None for every other value."""
        found = self._walk(path)
        return found[1].text if found and found[1].plain else None

    def below(self, path: Path) -> "Positions":
        """The positions of the part at a path."""
        found = self._walk(path)
        return Positions(found[1] if found else None)

    def _walk(self, path: Path) -> tuple[_Node | None, _Node] | None:
        if self._root is None:
            return None
        key: _Node | None = None
        node = self._root
        for part in path:
            found = _child(node, part)
            if found is None:
                return None
            key, node = found
        return key, node


def _child(node: _Node, part: str | int) -> tuple[_Node | None, _Node] | None:
    if node.kind == "list" and isinstance(part, int):
        return (None, node.children[part]) if 0 <= part < len(node.children) else None
    if node.kind != "map":
        return None
    for key, value in node.pairs():
        if key.kind == "scalar" and part in (key.text, key.key):
            return key, value
    for key, value in node.pairs():
        if key.is_merge_key:
            for source in value.children if value.kind == "list" else [value]:
                if found := _child(source, part):
                    return found
    return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """One object of a text; with errors among `problems`, `obj` is incomplete or empty."""

    obj: Obj
    positions: Positions
    source: str
    line: int = 1
    problems: tuple[Problem, ...] = ()
    surprises: tuple[Problem, ...] = ()
    """Warnings of scalars that are not what they look like; they matter only where the object is checked."""

    def locate(self, problem: Problem) -> Problem:
        """The problem with the file, line and column of its path in this document."""
        line, column = self.positions.nearest(problem.path) or (self.line, 1)
        return problem.at(source=self.source, line=line, column=column)

    def reading(self, path: Path) -> str | None:
        """What an unquoted scalar is read as, if that is not what is written: `unquoted 010 is read as 8`."""
        text = self.positions.plain(path)
        value = None if text is None else resolve_plain(text)
        if value is None or isinstance(value, str) or json.dumps(value) == text:
            return None
        return f"unquoted {text} is read as {json.dumps(value)}"


def load(text: str, source: str = "<text>") -> list[Document]:
    """Every object of a YAML (or JSON) text in order, without empty documents.

    A document that cannot be read is in the list, too, with its problems. It does not hide later documents.
    """
    if problems := _refuse(text, source):
        return [Document(obj={}, positions=Positions(), source=source, problems=tuple(problems))]
    documents: list[Document] = []
    for part in _parts(_join_surrogates(text)):
        documents += part.read(source)
    offset = _template_in(text, documents)
    return documents if offset is None else [_helm_template(text, source, offset)]


def load_objects(texts: Iterable[Text]) -> list[Document]:
    """Every object of some texts, as `load`, with the items of lists in place of the lists."""
    return [one for text in texts for document in _loaded(text) for one in opened(document)]


def _loaded(text: Text) -> list[Document]:
    if text.fault is None:
        return load(text.text, text.source)
    problem = Problem(code="yaml-syntax", message=text.fault, source=text.source, line=1, column=1)
    return [Document(obj={}, positions=Positions(), source=text.source, problems=(problem,))]


def opened(document: Document) -> list[Document]:
    """The items of a list, each with its own positions and problems, as kubectl applies them; an object as it is."""
    kind, items = document.obj.get("kind"), document.obj.get("items")
    if not isinstance(kind, str) or not kind.endswith("List") or not isinstance(items, list):
        return [document]
    found, others = [], list(document.problems)
    for index, item in enumerate(items):
        place = ("items", index)
        positions = document.positions.below(place)
        line, column = positions.nearest(()) or (document.line, 1)
        own, surprises = _below(others, place), _below(document.surprises, place)
        others = [problem for problem in others if problem.path[:2] != place]
        if not isinstance(item, dict):
            message = f"expected an object, found {_JSON_NAMES[type(item)]}"
            fault = Problem(code="yaml-document", message=message, path=place)
            others.append(fault.at(source=document.source, line=line, column=column))
            continue
        # kubectl infers what an item of a typed list leaves out.
        if kind != "List" and not (item.get("kind") and item.get("apiVersion")):
            item = {**item, "apiVersion": document.obj.get("apiVersion"), "kind": kind.removesuffix("List")}
        source = document.source
        one = Document(obj=item, positions=positions, source=source, line=line, problems=own, surprises=surprises)
        found += opened(one)
    # What is wrong with the list itself belongs to no item.
    return [*found, replace(document, obj={}, problems=tuple(others), surprises=())] if others else found


def _below(problems: Iterable[Problem], place: Path) -> tuple[Problem, ...]:
    """The problems below a place, with the paths from there on."""
    length = len(place)
    return tuple(replace(one, path=one.path[length:]) for one in problems if one.path[:length] == place)


def _template_in(text: str, documents: Iterable[Document]) -> int | None:
    """Where Helm's template language is why objects cannot be read, or have names that no object can have."""
    if any(map(_is_named_by_template, documents)):
        found = _TEMPLATE.search(text)
        return found.start() if found else None
    if any(has_errors(document.problems) for document in documents):
        return next((one.start() for one in _TEMPLATE.finditer(text) if _begins_value(text, one.start())), None)
    return None


def _is_named_by_template(document: Document) -> bool:
    metadata = document.obj.get("metadata")
    names_of_object = metadata if isinstance(metadata, dict) else {}
    shown = (document.obj.get("kind"), *(names_of_object.get(key) for key in ("name", "namespace", "generateName")))
    return any("{{" in text for text in shown if isinstance(text, str))


def _begins_value(text: str, offset: int) -> bool:
    """Whether YAML reads an action as a map. Inside of quotes and other text, as in alerts, it is text."""
    before = offset - 1
    while before >= 0 and text[before] in " \t":
        before -= 1
    return before < 0 or text[before] in "\n:-[{,"


def _helm_template(text: str, source: str, offset: int) -> Document:
    """In place of the objects that nobody can know before Helm renders them. If a definition is among them, this is an
    error.
    """
    severity = Severity.ERROR if _DEFINITION.search(text) else Severity.WARNING
    line = text.count("\n", 0, offset) + 1
    problem = Problem(
        code="helm-template",
        message="a Helm template is no manifest and is not checked: check what `helm template` prints",
        severity=severity,
        source=source,
        line=line,
        column=offset - (text.rfind("\n", 0, offset) + 1) + 1,
    )
    return Document(obj={}, positions=Positions(), source=source, line=line, problems=(problem,))


# An action of Go's templates. `${{` begins a map in CEL.
_TEMPLATE: Final = re.compile(
    r"(?<!\$)\{\{-?\s*(?:/\*|[.$(]|(?:if|else|end|range|with|define|template|include|block|tpl|toYaml|fail|required"
    r"|default|quote|printf|lookup|and|or|not|eq|ne)\b)"
)
_DEFINITION: Final = re.compile(
    rf"""^[\s-]*["']?kind["']?:\s*["']?(?:{names.RESOURCE_GROUP}|{names.RESOURCE_GRAPH_DEFINITION})\b""", re.MULTILINE
)


def _refuse(text: str, source: str) -> list[Problem]:
    """Faults of the raw text that prevent parsing."""
    if len(text) > MAX_BYTES:
        size = f"text of {len(text)} characters is larger than {MAX_BYTES}"
        return [Problem(code="yaml-limit", message=size, source=source, line=1, column=1)]
    problems = []
    for match in _UNPRINTABLE.finditer(text):
        line = text.count("\n", 0, match.start()) + 1
        column = match.start() - (text.rfind("\n", 0, match.start()) + 1) + 1
        character = ord(match.group())
        if _ESCAPED_BYTE.match(match.group()):
            message = f"the text is not UTF-8: found byte 0x{character - 0xDC00:02X}"
            return [Problem(code="yaml-syntax", message=message, source=source, line=line, column=column)]
        message = f"character U+{character:04X} is not allowed"
        problems.append(Problem(code="yaml-syntax", message=message, source=source, line=line, column=column))
        # A zero is in no text: there may be one in every character of another encoding.
        if character == 0 or len(problems) == _MAX_PROBLEMS:
            break
    return problems


# What stands for a byte that is not UTF-8 (PEP 383, `surrogateescape`).
_ESCAPED_BYTE: Final = re.compile("[\udc80-\udcff]")


# YAML 1.1 section 4.1.1: characters that are not c-printable.
_UNPRINTABLE: Final = re.compile("[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_PAIR: Final = re.compile(r"(?<!\\)((?:\\\\)*)\\u([dD][89abAB][0-9a-fA-F]{2})\\u([dD][c-fC-F][0-9a-fA-F]{2})")


def _join_surrogates(text: str) -> str:
    r"""JSON writes characters beyond U+FFFF as two `\u` escapes, which YAML does not support."""
    if not text.lstrip().startswith(("{", "[")):
        return text
    return _PAIR.sub(
        lambda m: f"{m[1]}\\U{0x10000 + ((int(m[2], 16) & 0x3FF) << 10) + (int(m[3], 16) & 0x3FF):08X}", text
    )


@dataclass(slots=True)
class _Part:
    """A part of the text that starts at a document and ends at the end of the text or at a syntax error."""

    roots: list[_Node]
    written: list[int]
    problems: list[list[Problem]]

    def read(self, source: str) -> list[Document]:
        documents = []
        for root, written, problems in zip(self.roots, self.written, self.problems, strict=True):
            if document := _document(root, written, problems, source):
                documents.append(document)
        return documents


def _parts(text: str) -> Iterator[_Part]:
    """The documents of a text. After a syntax error, reading continues at the next `---`."""
    offset = line = nodes = 0
    while offset <= len(text):
        composer = _Composer(line, MAX_NODES - nodes)
        error_line = composer.run(text[offset:] if offset else text)
        nodes += sum(composer.part.written)
        yield composer.part
        if error_line is None or nodes >= MAX_NODES:
            return
        # The error may be noticed at the `---` of the next document, but never before its own `---`.
        resume = max(error_line, composer.start_line + 1)
        while line < resume and offset <= len(text):
            end = text.find("\n", offset)
            offset, line = (end + 1, line + 1) if end >= 0 else (len(text) + 1, line + 1)
        found = _SEPARATOR.search(text, offset)
        if found is None:
            return
        line += text.count("\n", offset, found.start())
        offset = found.start()


_SEPARATOR: Final = re.compile(r"^---(?=\s|$)", re.MULTILINE)


class _Composer:
    """Builds node trees from parser events without recursion, so that deep nesting is a Problem and not a crash."""

    def __init__(self, first_line: int, max_nodes: int) -> None:
        self.part = _Part([], [], [])
        self.start_line = first_line
        self._first_line = first_line
        self._max_nodes = max_nodes
        self._nodes = 0
        self._root: _Node | None = None
        self._stack: list[_Node] = []
        self._anchors: dict[str, _Node] = {}
        self._problems: list[Problem] = []

    def run(self, text: str) -> int | None:
        """Read to the end (None) or to an error: the 0-based line where to search for the next document."""
        try:
            for event in yaml.parse(text, Loader=_SafeLoader):
                if not self._take(event):
                    return self._close(self._line(event))
        except yaml.MarkedYAMLError as err:
            mark = err.problem_mark or err.context_mark
            line, column = (self._first_line + mark.line, mark.column) if mark else (self.start_line, 0)
            message = ", ".join(text for text in (err.problem, err.context) if text)
            if "nesting depth" in message:
                # libyaml reads ahead, and has its own limit (since PyYAML 6.0.4).
                self._add("yaml-limit", f"nested more than {MAX_DEPTH} levels", line, column)
            else:
                self._add("yaml-syntax", message or "not YAML", line, column)
            return self._close(line)
        except yaml.YAMLError as err:
            self._add("yaml-syntax", str(err).splitlines()[0], self.start_line, 0)
            return self._close(self.start_line)
        return None

    def _take(self, event: yaml.Event) -> bool:
        """Add one event to the tree; False if a bound is exceeded."""
        match event:
            case yaml.ScalarEvent():
                node = self._node(event, "scalar")
                node.text, node.plain = event.value, event.implicit[0] and not event.style
                return self._add_node(node, event.anchor)
            case yaml.MappingStartEvent() | yaml.SequenceStartEvent():
                node = self._node(event, "map" if isinstance(event, yaml.MappingStartEvent) else "list")
                node.is_open = True
                if not self._add_node(node, event.anchor):
                    return False
                self._stack.append(node)
                if len(self._stack) > MAX_DEPTH:
                    self._add("yaml-limit", f"nested more than {MAX_DEPTH} levels", node.line - 1, node.column - 1)
                    return False
            case yaml.MappingEndEvent() | yaml.SequenceEndEvent():
                self._stack.pop().is_open = False
            case yaml.AliasEvent():
                self._add_alias(event)
            case yaml.DocumentStartEvent():
                self.start_line = self._line(event)
            case yaml.DocumentEndEvent():
                self._close(self.start_line)
            case _:
                pass
        return True

    def _node(self, event: Any, kind: str) -> _Node:
        mark = event.start_mark
        return _Node(kind=kind, line=self._first_line + mark.line + 1, column=mark.column + 1, tag=event.tag)

    def _add_node(self, node: _Node, anchor: str | None) -> bool:
        self._nodes += 1
        if self._nodes > self._max_nodes:
            self._add("yaml-limit", f"more than {MAX_NODES} values", node.line - 1, node.column - 1)
            return False
        if anchor:
            self._anchors[anchor] = node
        self._attach(node)
        return True

    def _attach(self, node: _Node) -> None:
        if self._stack:
            self._stack[-1].children.append(node)
        else:
            self._root = node

    def _add_alias(self, event: yaml.AliasEvent) -> None:
        target = self._anchors.get(event.anchor or "")
        line, column = self._line(event), self._column(event)
        if target is None or target.is_open:
            fault = "is not defined before" if target is None else "contains itself"
            self._add("yaml-syntax", f"alias *{event.anchor} {fault}", line, column)
            target = _Node(kind="scalar", line=line + 1, column=column + 1, plain=True)
        self._attach(target)

    def _line(self, event: Any) -> int:
        return self._first_line + int(event.start_mark.line)

    @staticmethod
    def _column(event: Any) -> int:
        return int(event.start_mark.column)

    def _add(self, code: str, message: str, line: int, column: int) -> None:
        self._problems.append(Problem(code=code, message=message, line=line + 1, column=column + 1))

    def _close(self, resume_line: int) -> int:
        """End the current document, complete or not."""
        if self._problems or self._root is not None:
            start = _Node(kind="scalar", line=self.start_line + 1, column=1, plain=True)
            # After an error, containers are incomplete (a mapping may lack its last value), so nothing is kept.
            broken = self._root is None or bool(self._stack)
            self.part.roots.append(start if broken or self._root is None else self._root)
            self.part.written.append(self._nodes)
            self.part.problems.append(self._problems)
        self._max_nodes -= self._nodes
        self._nodes = 0
        self._root, self._stack, self._anchors, self._problems = None, [], {}, []
        return resume_line


def _document(root: _Node, written: int, problems: list[Problem], source: str) -> Document | None:
    """The constructed document; None for an empty document without problems."""
    builder = _DocumentBuilder(written + MAX_ALIASED_NODES)
    try:
        value = builder.build(root, 0)
    except _TooManyNodesError:
        builder.at_root().add(root, "yaml-limit", f"aliases expand to more than {MAX_ALIASED_NODES} values")
        value = {}
    found = problems + builder.problems
    if value is None and not found:
        return None
    if not isinstance(value, dict):
        if value is not None:
            name = _JSON_NAMES[type(value)]
            found.append(
                Problem(
                    code="yaml-document",
                    message=f"expected an object, found {name}",
                    line=root.line,
                    column=1,
                )
            )
        value = {}
    return Document(
        obj=value,
        positions=Positions(root),
        source=source,
        line=root.line,
        problems=tuple(replace(problem, source=source) for problem in found[:_MAX_PROBLEMS] + builder.warnings),
        surprises=tuple(replace(problem, source=source) for problem in builder.surprises),
    )


_JSON_NAMES: Final = {
    dict: "an object",
    list: "a list",
    str: "a string",
    bool: "a boolean",
    int: "a number",
    float: "a number",
    type(None): "null",
}


class _TooManyNodesError(Exception):
    """The alias budget is used up."""


class _DocumentBuilder:
    """Turns nodes into JSON values; recursion is at most MAX_DEPTH deep."""

    def __init__(self, budget: int) -> None:
        self.problems: list[Problem] = []
        self.warnings: list[Problem] = []
        self.surprises: list[Problem] = []
        self._budget = budget
        self._path: list[str | int] = []

    def add(self, node: _Node, code: str, message: str) -> None:
        self._note(self.problems, node, code, message, Severity.ERROR)

    def warn(self, node: _Node, code: str, message: str) -> None:
        self._note(self.warnings, node, code, message, Severity.WARNING)

    def _note(self, into: list[Problem], node: _Node, code: str, message: str, severity: Severity) -> None:
        if len(into) < _MAX_PROBLEMS:
            path, line, column = tuple(self._path), node.line, node.column
            into.append(Problem(code=code, message=message, path=path, severity=severity, line=line, column=column))

    def at_root(self) -> "_DocumentBuilder":
        self._path.clear()
        return self

    def build(self, node: _Node, depth: int) -> Any:
        self._budget -= 1
        if self._budget < 0:
            raise _TooManyNodesError
        if node.kind == "scalar":
            return self._scalar(node)
        if node.tag not in (None, "!", _TAG + ("map" if node.kind == "map" else "seq")):
            self.add(node, "yaml-tag", f"tag {_short_tag(node.tag)} is not supported")
            return None
        if depth >= MAX_DEPTH:
            self.add(node, "yaml-limit", f"nested more than {MAX_DEPTH} levels")
            return None
        return self._map(node, depth + 1) if node.kind == "map" else self._list(node, depth + 1)

    def _list(self, node: _Node, depth: int) -> list[Any]:
        items = []
        for index, child in enumerate(node.children):
            self._path.append(index)
            items.append(self.build(child, depth))
            self._path.pop()
        return items

    def _map(self, node: _Node, depth: int) -> dict[str, Any]:
        found: dict[str, Any] = {}
        lines: dict[str, int] = {}
        for key_node, value_node in node.pairs():
            if key_node.is_merge_key:
                self._merge(key_node, value_node, found, lines, depth)
                continue
            key = self._key(key_node)
            if key is None:
                continue
            self._path.append(key)
            if key in lines:
                self.add(key_node, "yaml-duplicate-key", f'duplicate key "{key}", first in line {lines[key]}')
            lines.setdefault(key, key_node.line)
            found[key] = self.build(value_node, depth)
            self._path.pop()
        return found

    def _merge(self, at: _Node, node: _Node, into: dict[str, Any], written: dict[str, int], depth: int) -> None:
        """A merge key of go-yaml v2: it replaces the keys before it, and the first source wins."""
        merged: dict[str, Any] = {}
        for source in node.children if node.kind == "list" else [node]:
            value = self.build(source, depth)
            if not isinstance(value, dict):
                self.add(source, "yaml-value", "merge key << needs an object or a list of objects")
                continue
            for key, item in value.items():
                merged.setdefault(key, item)
        for key in written.keys() & merged.keys():
            if into[key] != merged[key]:
                line = written[key]
                self.warn(at, "yaml-merge", f'merge key << replaces "{key}" of line {line}: write << before it')
        into.update(merged)

    def _key(self, node: _Node) -> str | None:
        if node.kind != "scalar":
            self.add(node, "yaml-key", "a key must be a string, found a list or an object")
            return None
        if not node.plain or node.tag not in (None, "!"):
            value = self._scalar(node)
            if isinstance(value, str):
                return value
            self.add(node, "yaml-key", f"key {node.text or 'null'} is {_JSON_NAMES[type(value)]}: quote it")
            return None
        key = node.key
        if key is None:
            fault = "is null" if resolve_plain(node.text) is None else "is too large for a number"
            self.add(node, "yaml-key", f"key {node.text or 'null'} {fault}: quote it")
        elif key != node.text:
            self.warn(node, "yaml-key", f'unquoted key {node.text} is read as "{key}": quote it')
        return key

    def _scalar(self, node: _Node) -> Any:
        if node.tag in (None, "!"):
            value = resolve_plain(node.text) if node.plain else node.text
            if node.plain and (read := surprise(node.text)):
                message = f"unquoted {node.text[:40]} is read as {read}: quote text"
                self._note(self.surprises, node, "yaml-ambiguous", message, Severity.WARNING)
        elif node.tag in _STRING_TAGS:
            value = node.text
        else:
            value = resolve_plain(node.text)
            if (types := _TAGGED.get(node.tag or "")) is None:
                self.add(node, "yaml-tag", f"tag {_short_tag(node.tag)} is not supported")
                return None
            if type(value) not in types:
                self.add(node, "yaml-value", f"expected {_short_tag(node.tag)}, found {node.text[:40]!r}")
                return None
        if isinstance(value, float) and not math.isfinite(value):
            self.add(node, "yaml-value", f"{node.text[:40]} is not a number JSON can hold")
            return None
        return value


_STRING_TAGS: Final = frozenset({_TAG + "str", _TAG + "timestamp"})
_TAGGED: Final[dict[str, tuple[type, ...]]] = {
    _TAG + "bool": (bool,),
    _TAG + "int": (int,),
    _TAG + "float": (float, int),
    _TAG + "null": (type(None),),
}


def _short_tag(tag: str | None) -> str:
    text = tag or ""
    return "!!" + text.removeprefix(_TAG) if text.startswith(_TAG) else text


class _Dumper(_SafeDumper):
    def ignore_aliases(self, data: Any) -> bool:
        return True


# Words that other YAML readers (go-yaml v2, YAML 1.1 and 1.2 core) do not read as strings.
_AMBIGUOUS: Final = re.compile(
    r"[yYnN]|=|<<|[-+]?[0-9][0-9_]*(?::[0-5]?[0-9])+(?:\.[0-9_]*)?|[-+]?[0-9._]+(?:[eE][-+]?[0-9_]*)?"
)
# Literal blocks only where all readers agree: no blank at the end of a line, no special first character.
_LITERAL: Final = re.compile(r"[!-~\xa1-\u2027](?:[^\r\x85\u2028\u2029\ufeff\U00010000-\U0010ffff])*")
_BLANK_END: Final = re.compile(r"[ \t](?:\n|\Z)")


def _represent_text(dumper: Any, text: str) -> yaml.ScalarNode:
    style = None
    if "\n" in text:
        style = "|" if _LITERAL.fullmatch(text) and not _BLANK_END.search(text) else '"'
    elif text and (not isinstance(resolve_plain(text), str) or _AMBIGUOUS.fullmatch(text)):
        style = '"'
    return yaml.ScalarNode(_TAG + "str", text, style=style)


_Dumper.add_representer(str, _represent_text)


def dump(obj: Any) -> str:
    """Block-style YAML of a JSON value, with keys in their order and multi-line text as literal blocks."""
    text: str = yaml.dump(
        obj, Dumper=_Dumper, sort_keys=False, default_flow_style=False, allow_unicode=True, width=2**20
    )
    return text


def dump_all(objs: Iterable[Any]) -> str:
    """Several objects as one stream, separated by `---`."""
    return "---\n".join(dump(obj) for obj in objs)
