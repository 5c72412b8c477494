"""Converts SimpleSchema to an OpenAPI v3 structural schema.

A field is a text (`type | markers`) or an object of fields. `types` has named types, which may use each other.
Every error becomes a Problem at its field, and the build continues with a permissive placeholder. The size and
the depth of the result have limits: a chain of types that use the next type twice would grow exponentially.
"""

import itertools
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from kroasync.model.objects import Obj
from kroasync.model.paths import Path, nests_deeper
from kroasync.model.problems import MAX_SUGGESTED, Problem, Severity, collect
from kroasync.model.steps import Steps, drained
from kroasync.model.suggest import did_you_mean
from kroasync.schema import defaults, markers
from kroasync.schema.structural import LIST_MAP_KEYS, LIST_TYPE, OPEN

MAX_WRAPPERS: Final = 16
"""The maximum number of `[]` and `map[string]` around one type."""
MAX_DEPTH: Final = 100
"""The maximum depth of a schema."""
MAX_FIELDS: Final = 20_000
"""The maximum number of schema nodes of one definition; each use of a custom type counts."""

MAX_MARKERS: Final = 65_536
"""The maximum number of characters of one field's markers."""
MAX_PATTERNS: Final = 1_000
"""The maximum number of different patterns of one definition."""

MAX_CYCLES: Final = 20
"""The maximum number of cycles of types that are reported."""

# How many characters of fields are read in one turn, and the cost of a field and of a pattern in characters.
_TURN: Final = 10_000
_PER_FIELD: Final = 20
_PER_PATTERN: Final = 5_000
# How many named types are ordered in one turn.
_ORDERED: Final = 5_000

SPEC_PATH: Final[Path] = ("spec", "schema", "spec")
TYPES_PATH: Final[Path] = ("spec", "schema", "types")

_ATOMIC: Final = {"string": "string", "integer": "integer", "boolean": "boolean", "float": "number"}
BUILT_IN: Final = (*_ATOMIC, "object")
_SYNONYMS: Final = {
    "int": "integer",
    "int32": "integer",
    "int64": "integer",
    "bool": "boolean",
    "number": "float",
    "double": "float",
    "str": "string",
    "text": "string",
    "any": "object",
    "map": "object",
    "dict": "object",
}
_MAP: Final = "map[string]"
_GO_TYPES: Final = {bool: "bool", int: "int64", float: "float64", list: "[]interface {}", type(None): "<nil>"}


class TypeSyntaxError(ValueError):
    """The text of a type does not follow the grammar."""


@dataclass(frozen=True, slots=True)
class TypeText:
    """A parsed type: its wrappers from the outside in ("array" or "map"), and the name inside them."""

    wrappers: tuple[str, ...]
    name: str


def parse_type(text: str) -> TypeText:
    """The type that the text before the markers denotes; raises TypeSyntaxError."""
    wrappers: list[str] = []
    rest = text.strip()
    missing = "empty type"
    while True:
        if not rest:
            raise TypeSyntaxError(missing)
        if rest.startswith("[]"):
            wrapper, length, missing = "array", 2, "empty slice element type"
        elif rest.startswith("map["):
            if not rest.startswith(_MAP):
                raise TypeSyntaxError("map key must be string")
            wrapper, length, missing = "map", len(_MAP), "map value type is required"
        else:
            return TypeText(tuple(wrappers), rest)
        if len(wrappers) == MAX_WRAPPERS:
            raise TypeSyntaxError(f'type nesting too deep (max {MAX_WRAPPERS}): "{rest[:100]}"')
        wrappers.append(wrapper)
        rest = rest[length:].strip()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Built:
    """A finished schema: its size in nodes, its depth, and whether it makes its field required.

    `known` is False for a type that could not be read. Nothing that depends on it is checked: one problem is enough.
    """

    schema: Obj
    size: int = 1
    depth: int = 1
    required: bool = False
    known: bool = True


_ANYTHING: Final = _Built(schema=OPEN)
_UNKNOWN: Final = replace(_ANYTHING, known=False)


def build(spec: Mapping[str, Any], types: Mapping[str, Any]) -> tuple[Obj, list[Problem]]:
    """See `building`."""
    return drained(building(spec, types))


def building(spec: Mapping[str, Any], types: Mapping[str, Any]) -> Steps[tuple[Obj, list[Problem]]]:
    """The schema of the instance's `spec`, and every problem of it and of `types`, in declared order."""
    builder = _SchemaBuilder()
    for tree, path in ((spec, SPEC_PATH), (types, TYPES_PATH)):
        if nests_deeper(tree, MAX_DEPTH):
            builder.add(path, "schema-limit", f"nested more than {MAX_DEPTH} levels")
            return dict(_ANYTHING.schema), builder.problems
    yield from builder.build_types(types)
    built = yield from builder.struct(spec, SPEC_PATH)
    return built.schema, builder.problems


class _SchemaBuilder:
    def __init__(self) -> None:
        self.problems: list[Problem] = []
        self._types: dict[str, _Built] = {}
        self._patterns: set[str] = set()
        self._work = 0

    def pause_after(self, work: int) -> bool:
        """Count the characters of fields that were read; True if other tasks should run now."""
        self._work += work
        if self._work < _TURN:
            return False
        self._work = 0
        return True

    def near(self, word: str, known: Iterable[str]) -> str | None:
        """The known word that the author probably meant."""
        if len(self.problems) >= MAX_SUGGESTED:
            return None
        self._work += _TURN
        return did_you_mean(word, known)

    def add(self, path: Path, code: str, message: str, suggestion: str | None = None) -> None:
        collect(self.problems, Problem(code=code, message=message, path=path, suggestion=suggestion))

    def warn(self, path: Path, code: str, message: str) -> None:
        collect(self.problems, Problem(code=code, message=message, path=path, severity=Severity.WARNING))

    def build_types(self, types: Mapping[str, Any]) -> Steps[None]:
        """Build every named type after the types that it uses."""
        for name in types:
            if name in BUILT_IN:
                self.warn((*TYPES_PATH, name), "schema-type", f"type {name} is hidden by the built-in type")
        uses = {}
        for name, spec in types.items():
            uses[name] = _references(spec)
            if self.pause_after(_PER_FIELD * (1 + len(uses[name]))):
                yield
        order, cycles = yield from _ordering(uses)
        cyclic = {name for cycle in cycles for name in cycle}
        self._types.update(dict.fromkeys(cyclic, _UNKNOWN))
        for cycle in cycles[:MAX_CYCLES]:
            self.add((*TYPES_PATH, cycle[0]), "schema-cycle", _cycle_text(cycle))
        for name in order:
            built = yield from self.field(types[name], (*TYPES_PATH, name))
            if name not in cyclic:
                self._types[name] = built

    def struct(self, fields: Mapping[str, Any], path: Path) -> Steps[_Built]:
        properties: dict[str, Obj] = {}
        required: list[str] = []
        size = depth = 1
        known = True
        for name, value in fields.items():
            built = yield from self.field(value, (*path, name))
            properties[name] = built.schema
            size += built.size
            depth = max(depth, built.depth + 1)
            known = known and built.known
            if built.required:
                required.append(name)
        schema: Obj = {"type": "object"}
        if properties:
            schema["properties"] = properties
        if required:
            schema["required"] = sorted(required)
        elif any("default" in prop for prop in properties.values()):
            # With this default, the API server applies the defaults below it even if an instance omits the object.
            schema["default"] = {}
        return self._within_limits(_Built(schema=schema, size=size, depth=depth, known=known), path)

    def field(self, value: Any, path: Path) -> Steps[_Built]:
        if isinstance(value, Mapping):
            return (yield from self.struct(value, path))
        if self.pause_after(_PER_FIELD + (len(value) if isinstance(value, str) else 0)):
            yield
        if not isinstance(value, str):
            go_type = _GO_TYPES.get(type(value), type(value).__name__)
            self.add(path, "schema-field", f"unexpected type: {go_type}")
            return _UNKNOWN
        type_text, bar, marker_text = value.partition("|")
        built = self._type(type_text, path)
        return self._marked(built, marker_text, path) if bar else built

    def _type(self, text: str, path: Path) -> _Built:
        try:
            parsed = parse_type(text)
        except TypeSyntaxError as err:
            self.add(path, "schema-type", str(err))
            return _UNKNOWN
        built = self._named(parsed.name, path)
        for wrapper in reversed(parsed.wrappers):
            inner = {"items": built.schema} if wrapper == "array" else {"additionalProperties": built.schema}
            built = _Built(
                schema={"type": "array" if wrapper == "array" else "object", **inner},
                size=built.size + 1,
                depth=built.depth + 1,
                known=built.known,
            )
        return self._within_limits(built, path)

    def _named(self, name: str, path: Path) -> _Built:
        if name in _ATOMIC:
            return _Built(schema={"type": _ATOMIC[name]})
        if name == "object":
            return _ANYTHING
        found = self._types.get(name)
        if found is None:
            suggestion = _SYNONYMS.get(name.lower()) or self.near(name, itertools.chain(BUILT_IN, self._types))
            self.add(path, "schema-unknown-type", f"unknown type: {name[:200]}", suggestion)
            return _UNKNOWN
        return found

    def _marked(self, built: _Built, text: str, path: Path) -> _Built:
        if len(text) > MAX_MARKERS:
            self.add(path, "schema-limit", f"expected markers of at most {MAX_MARKERS} characters, found {len(text)}")
            return replace(built, known=False)
        found, errors = markers.lex(text)
        for pattern in (marker.value for marker in found if marker.key == "pattern"):
            self._work += _PER_PATTERN
            self._patterns.add(pattern)
        if len(self._patterns) > MAX_PATTERNS:
            self.add(path, "schema-limit", f"expected at most {MAX_PATTERNS} different patterns, found more up to here")
            return replace(built, known=False)
        schema, required, faults = markers.apply(built.schema, found)
        for message in errors:
            key = message.partition('"')[2].partition('"')[0]
            self.add(path, "schema-marker", message, self.near(key, markers.APPLIERS))
        if not built.known:
            return replace(built, required=required or built.required)
        for message in faults:
            self.add(path, "schema-marker", message)
        if not errors and not faults:
            self._check(schema, found, path)
        return replace(built, schema=schema, required=required or built.required)

    def _check(self, schema: Obj, found: list[markers.Marker], path: Path) -> None:
        if "default" in schema:
            for fault in defaults.check(schema["default"], schema):
                self.add(path, "schema-default", fault)
        if schema.get("type") == "integer":
            for keyword in ("minimum", "maximum"):
                if isinstance(schema.get(keyword), float):
                    self.warn(path, "schema-bound", f"the API server will refuse a fractional {keyword} here")
        if any(marker.key in ("listType", "listMapKey", "uniqueItems") for marker in found):
            for fault in _list_faults(schema):
                self.warn(path, "schema-list-type", f"the API server will refuse this: {fault}")

    def _within_limits(self, built: _Built, path: Path) -> _Built:
        if built.depth > MAX_DEPTH:
            self.add(path, "schema-limit", f"nested more than {MAX_DEPTH} levels")
        elif built.size > MAX_FIELDS:
            self.add(path, "schema-limit", f"more than {MAX_FIELDS} fields, those of custom types counted per use")
        else:
            return built
        return _UNKNOWN


def _list_faults(schema: Obj) -> Iterator[str]:
    """The violations of the API server's rules for list types (KEP-1523 and KEP-555)."""
    items: Obj = schema.get("items", {})
    list_type = schema.get(LIST_TYPE)
    if list_type == "set":
        if items.get("type") == "object" or items.get(LIST_TYPE, "atomic") != "atomic":
            yield "items of a set must be scalars or atomic lists"
    elif list_type == "map":
        keys = schema.get(LIST_MAP_KEYS, ())
        if not keys:
            yield "listType map needs at least one listMapKey"
        properties: Obj = items.get("properties", {})
        for key in keys:
            if properties.get(key, {}).get("type") not in ("string", "integer", "number", "boolean"):
                yield f"listMapKey {key} is not a scalar field of the items"
            elif key not in items.get("required", ()) and "default" not in properties[key]:
                yield f"listMapKey {key} must be required or have a default"


def _references(spec: Any) -> list[str]:
    """The names of custom types that a type uses, in order. A text that does not parse is reported when it is built."""
    if isinstance(spec, Mapping):
        return [name for value in spec.values() for name in _references(value)]
    if not isinstance(spec, str):
        return []
    try:
        name = parse_type(spec.partition("|")[0]).name
    except TypeSyntaxError:
        return []
    return [] if name in BUILT_IN else [name]


def _ordering(graph: Mapping[str, list[str]]) -> Steps[tuple[list[str], list[list[str]]]]:
    """The names, each after the names that it uses, and the cycles, each from a name to the same name."""
    order: list[str] = []
    cycles: list[list[str]] = []
    done: set[str] = set()
    steps = 0
    for start in graph:
        stack = [(start, iter(graph[start]))] if start not in done else []
        trail = {start: 0}
        while stack:
            name, uses = stack[-1]
            used = next((u for u in uses if u in graph and u not in done), None)
            steps += 1
            if steps % _ORDERED == 0:
                yield
            if used is None:
                stack.pop()
                trail.pop(name, None)
                done.add(name)
                order.append(name)
            elif used in trail:
                # List the members only of cycles that are reported.
                members = [entry[0] for entry in stack[trail[used] :]] if len(cycles) < MAX_CYCLES else []
                cycles.append([*members, used])
            else:
                trail[used] = len(stack)
                stack.append((used, iter(graph[used])))
    return order, cycles


def _cycle_text(cycle: list[str]) -> str:
    if len(cycle) == 2:
        return f"cyclic dependency in type {cycle[0]}: self references are not allowed"
    shown = cycle if len(cycle) <= 12 else [*cycle[:6], "...", *cycle[-5:]]
    return f"cyclic dependency in type {cycle[0]}: graph contains a cycle: {' -> '.join(shown)}"
