"""OpenAPI v3 schemas as CEL types, and back.

Schemas are dicts with every `$ref` inlined. An object schema becomes an object type whose name tells its
place (`__type_deployment.spec`), so that messages can show it; `SchemaTypes` resolves the names, one level at
a time and only when asked. Property names that are no CEL identifiers are escaped as Kubernetes escapes them.
"""

import itertools
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final, TypeAlias

from kroasync.cel import fits
from kroasync.cel.syntax import NO_LIMIT
from kroasync.cel.types import (
    BOOL,
    BYTES,
    DOUBLE,
    DURATION,
    DYN,
    INT,
    STRING,
    TIMESTAMP,
    Type,
    TypeProvider,
    list_of,
    map_of,
    object_type,
)
from kroasync.schema.structural import INT_OR_STRING as _INT_OR_STRING
from kroasync.schema.structural import PRESERVE as _PRESERVE

Schema: TypeAlias = Mapping[str, Any]

PREFIX: Final = "__type_"

# Escaping of property names (k8s.io/apiserver, pkg/cel/escaping.go).
_RESERVED: Final = frozenset(
    (
        "true",
        "false",
        "null",
        "in",
        "as",
        "break",
        "const",
        "continue",
        "else",
        "for",
        "function",
        "if",
        "import",
        "let",
        "loop",
        "package",
        "namespace",
        "return",
        "var",
        "void",
        "while",
    )
)
_ESCAPES: Final = MappingProxyType({"__": "__underscores__", ".": "__dot__", "-": "__dash__", "/": "__slash__"})
_UNESCAPES: Final = MappingProxyType({escaped: plain for plain, escaped in _ESCAPES.items()})
_TO_ESCAPE: Final = re.compile(r"__|[.\-/]")
_ESCAPED: Final = re.compile(r"__[^_]+__")
_IDENTIFIER: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*", re.ASCII)

_STRING_FORMATS: Final = MappingProxyType(
    {"byte": BYTES, "duration": DURATION, "date": TIMESTAMP, "date-time": TIMESTAMP, "int-or-string": DYN}
)
_SCALARS: Final = MappingProxyType({"boolean": BOOL, "integer": INT, "number": DOUBLE})


def escape(name: str) -> str | None:
    """The identifier by which CEL names a property; None if there is none."""
    if name in _RESERVED:
        return f"__{name}__"
    escaped = _TO_ESCAPE.sub(lambda match: _ESCAPES[match.group()], name)
    return escaped if _IDENTIFIER.fullmatch(escaped) else None


def unescape(name: str) -> str | None:
    """The property an identifier names; None if the identifier is no escaped name."""
    if name.startswith("__") and name.endswith("__") and name[2:-2] in _RESERVED:
        return name[2:-2]
    plain = _ESCAPED.sub(lambda match: _UNESCAPES.get(match.group(), "\0"), name)
    return plain if escape(plain) == name else None


def collection_of(schema: Schema) -> Schema:
    """The schema of a list of such objects: what the id of a collection stands for."""
    return {"type": "array", "items": schema}


@dataclass(frozen=True, slots=True)
class _Property:
    """A property of an object type: its key in the data, its type, its schema."""

    key: str
    type: Type
    schema: Schema


class SchemaTypes:
    """The types of named schemas; a TypeProvider for the checker and the evaluator.

    Type names are `__type_<id>`, below it `.<property>`, `.@idx` for list elements, `.@elem` for map values.
    """

    def __init__(self, roots: Mapping[str, Schema] = MappingProxyType({})) -> None:
        self._schemas: dict[str, Schema] = {}
        self._properties: dict[str, Mapping[str, _Property]] = {}
        self._roots = {id_: self.declared_type(schema, f"{PREFIX}{id_}") for id_, schema in roots.items()}
        self._root_schemas = dict(roots)

    def has(self, id_: str) -> bool:
        """Whether there is a root of this id."""
        return id_ in self._roots

    def type_for(self, id_: str) -> Type:
        """The type of a root; dyn if its schema says nothing. KeyError for an id that was not declared."""
        return self._roots[id_]

    def variables(self) -> dict[str, Type]:
        """The types of all roots."""
        return dict(self._roots)

    def declared_type(self, schema: Schema, name: str) -> Type:
        """The type of a schema, object types below named after `name`; dyn if the schema gives no type."""
        return self._type(schema, name) or DYN

    def field_type(self, id_: str, path: Sequence[str | int]) -> Type:
        """The type expected at a path of a root (names as in the data, list indices); dyn if it is open."""
        name, schema = f"{PREFIX}{id_}", self._root_schemas[id_]
        for segment in path:
            below = _below(schema, segment)
            if below is None:
                return DYN
            suffix, schema = below
            name = f"{name}.{suffix}"
        return self.declared_type(schema, name)

    # TypeProvider

    def field(self, type_name: str, name: str) -> Type | None:
        found = self._property(type_name, name)
        if found is not None:
            return found.type
        return DYN if self.is_open(type_name) else None

    def fields(self, type_name: str) -> Mapping[str, Type] | None:
        properties = self._of(type_name)
        return None if properties is None else {name: found.type for name, found in properties.items()}

    def is_open(self, type_name: str) -> bool:
        return bool((self._schema(type_name) or {}).get(_PRESERVE))

    def key_of(self, type_name: str, name: str) -> str:
        found = self._property(type_name, name)
        return name if found is None else found.key

    def list_kind(self, type_name: str, name: str) -> tuple[str, tuple[str, ...]]:
        found = self._property(type_name, name)
        schema = {} if found is None else found.schema
        return schema.get("x-kubernetes-list-type", "atomic"), tuple(schema.get("x-kubernetes-list-map-keys", ()))

    def _property(self, type_name: str, name: str) -> _Property | None:
        """By escaped name; reserved words and names in backticks may also be written as they are."""
        properties = self._of(type_name)
        if properties is None:
            return None
        return properties.get(name) or properties.get(escape(name) or "")

    def _of(self, type_name: str) -> Mapping[str, _Property] | None:
        if type_name in self._properties:
            return self._properties[type_name]
        schema = self._schema(type_name)
        if schema is None:
            return None
        properties: dict[str, _Property] = {}
        for key, inner in (schema.get("properties") or {}).items():
            escaped = escape(key)
            type_ = self._type(inner, f"{type_name}.{key}")
            if escaped is not None and type_ is not None:
                properties[escaped] = _Property(key, type_, inner)
        return self._properties.setdefault(type_name, properties)

    def _schema(self, type_name: str) -> Schema | None:
        """The schema behind a name; the types around it are resolved first, from the outermost in."""
        while type_name not in self._schemas:
            ends = [end for end, char in enumerate(type_name) if char == "."]
            outer = [type_name[:end] for end in ends if type_name[:end] in self._schemas]
            unresolved = next((name for name in reversed(outer) if name not in self._properties), None)
            if unresolved is None:
                return None
            self._of(unresolved)
        return self._schemas[type_name]

    def _type(self, schema: Schema, name: str) -> Type | None:
        """None for what has no type: no `type`, or a list of such."""
        kind, format_ = schema.get("type"), schema.get("format")
        if schema.get(_INT_OR_STRING) or format_ == "int-or-string":
            return DYN
        if kind == "string":
            return _STRING_FORMATS.get(format_ or "", STRING)
        if isinstance(kind, str) and kind in _SCALARS:
            return _SCALARS[kind]
        if kind == "array":
            items = schema.get("items")
            element = self._type(items, f"{name}.@idx") if isinstance(items, Mapping) else None
            return None if element is None else list_of(element)
        if kind == "object":
            values = schema.get("additionalProperties")
            if isinstance(values, Mapping):
                return map_of(STRING, self._type(values, f"{name}.@elem") or DYN)
            return self._object(schema, name)
        # Anything goes, and the author said so; kro hides such fields, which helps nobody.
        return DYN if schema.get(_PRESERVE) else None

    def _object(self, schema: Schema, name: str) -> Type:
        # A property called "a.b" must not pass for the property "b" of "a".
        while self._schemas.get(name, schema) is not schema:
            name = f"{name}'"
        self._schemas[name] = schema
        return object_type(name)


def _below(schema: Schema, segment: str | int) -> tuple[str, Schema] | None:
    """The schema one step down, with what the step adds to a type's name."""
    if isinstance(segment, int):
        items = schema.get("items")
        return ("@idx", items) if isinstance(items, Mapping) else None
    properties = schema.get("properties") or {}
    if segment in properties:
        return segment, properties[segment]
    values = schema.get("additionalProperties")
    if isinstance(values, Mapping):
        return "@elem", values
    items = schema.get("items")
    if isinstance(items, Mapping) and segment in (items.get("properties") or {}):
        return f"@idx.{segment}", items["properties"][segment]
    return None


def assignable(output: Type | None, expected: Type | None, provider: TypeProvider) -> str | None:
    """None if an expression of one type may fill a field of another, otherwise the cause.

    CEL's rules, or else compatible structure: objects and maps by their fields, optionals by what they hold.
    Text may fill fields that JSON keeps as text (bytes, timestamps, durations); the API server checks its form.
    """
    if output is None or expected is None:
        return f"nil type(s): output={output or '<nil>'}, expected={expected or '<nil>'}"
    if fits(output, expected):
        return None
    return _Compatibility(provider).cause(output, expected)


_TEXT_KINDS: Final = frozenset(("bytes", "timestamp", "duration"))


class _Compatibility:
    """Structural comparison of types; each pair of object types is looked at once."""

    def __init__(self, provider: TypeProvider) -> None:
        self._provider = provider
        self._seen: set[tuple[str, str]] = set()

    def cause(self, output: Type, expected: Type) -> str | None:
        if output.kind == "dyn" or expected.kind == "dyn":
            return None
        if output.kind == "optional":
            return self.cause(output.element, expected)
        if output.kind == "string" and expected.kind in _TEXT_KINDS:
            return None
        match output.kind, expected.kind:
            case "map", "object":
                return self._map_to_object(output, expected)
            case "object", "map":
                return self._object_to_map(output, expected)
            case "object", "object":
                return self._object_to_object(output, expected)
            case "list", "list":
                return self._part("list element type incompatible", output.element, expected.element)
            case "map", "map":
                key = self._part("map key type incompatible", output.params[0], expected.params[0])
                return key or self._part("map value type incompatible", output.element, expected.element)
        if output.kind == expected.kind:
            return None
        return f'type kind mismatch: got "{output}", expected "{expected}"'

    def _part(self, what: str, output: Type, expected: Type) -> str | None:
        cause = self.cause(output, expected)
        return None if cause is None else f"{what}: {cause}"

    def _map_to_object(self, output: Type, expected: Type) -> str | None:
        fields = self._provider.fields(expected.name)
        if not fields:
            return None
        if output.params[0].kind not in ("string", "dyn"):
            return "map keys must be strings to assign to struct"
        for name, field in fields.items():
            what = f'map value incompatible with struct field "{self._provider.key_of(expected.name, name)}"'
            cause = self._part(what, output.element, field)
            if cause is not None:
                return cause
        return None

    def _object_to_map(self, output: Type, expected: Type) -> str | None:
        fields = self._provider.fields(output.name)
        if not fields:
            return None
        if expected.params[0].kind not in ("string", "dyn"):
            return "map key type must be string when assigning struct to map"
        for name, field in fields.items():
            what = f'struct field "{self._provider.key_of(output.name, name)}" incompatible with map value type'
            cause = self._part(what, field, expected.element)
            if cause is not None:
                return cause
        return None

    def _object_to_object(self, output: Type, expected: Type) -> str | None:
        pair = (output.name, expected.name)
        if output.name == expected.name or pair in self._seen or self._provider.is_open(expected.name):
            return None
        self._seen.add(pair)
        given, wanted = self._provider.fields(output.name), self._provider.fields(expected.name)
        # An object type without fields says nothing of what it holds.
        if not given or not wanted:
            return None
        for name, field in given.items():
            shown = self._provider.key_of(output.name, name)
            if name not in wanted:
                return f'field "{shown}" exists in output but not in expected type'
            cause = self._part(f'field "{shown}" has incompatible type', field, wanted[name])
            if cause is not None:
                return cause
        return None


class CyclicTypeError(ValueError):
    """An object type contains itself, so that it has no finite schema."""


_SCALAR_SCHEMAS: Final[Mapping[str, Mapping[str, str]]] = MappingProxyType(
    {
        "bool": {"type": "boolean"},
        "int": {"type": "integer"},
        "uint": {"type": "integer"},
        "double": {"type": "number"},
        "string": {"type": "string"},
        "bytes": {"type": "string", "format": "byte"},
        "timestamp": {"type": "string", "format": "date-time"},
        "duration": {"type": "string"},
    }
)


class SchemaTooLargeError(ValueError):
    """A schema would have more nodes than allowed."""


def schema_of(type_: Type, provider: TypeProvider, *, max_nodes: int = NO_LIMIT) -> dict[str, Any]:
    """The schema that holds every value of a type, for the status of a generated CRD.

    Property names are those of the data. What has no fixed form is left open; optionals may be null. Raises
    CyclicTypeError, and SchemaTooLargeError for more than `max_nodes` schemas in each other.
    """
    return _schema_of(type_, provider, (), itertools.count(max_nodes, -1))


def _schema_of(type_: Type, provider: TypeProvider, outer: tuple[str, ...], left: Iterator[int]) -> dict[str, Any]:
    if next(left) <= 0:
        raise SchemaTooLargeError(str(type_))
    if type_.kind in _SCALAR_SCHEMAS:
        return dict(_SCALAR_SCHEMAS[type_.kind])
    match type_.kind:
        case "list":
            return {"type": "array", "items": _schema_of(type_.element, provider, outer, left)}
        case "map":
            return {"type": "object", "additionalProperties": _schema_of(type_.element, provider, outer, left)}
        case "optional":
            return {**_schema_of(type_.element, provider, outer, left), "nullable": True}
        case "object":
            return _object_schema(type_, provider, outer, left)
    return {_PRESERVE: True}


def _object_schema(type_: Type, provider: TypeProvider, outer: tuple[str, ...], left: Iterator[int]) -> dict[str, Any]:
    if type_.name in outer:
        raise CyclicTypeError(f"cyclic type reference detected: {type_}")
    fields = provider.fields(type_.name)
    if fields is None:
        return {"type": "object", "additionalProperties": True}
    properties = {}
    for name, field in fields.items():
        schema = _schema_of(field, provider, (*outer, type_.name), left)
        if field.kind == "timestamp":
            # Kubernetes writes unset timestamps of nested objects as null.
            schema["nullable"] = True
        properties[provider.key_of(type_.name, name)] = schema
    schema = {"type": "object", "properties": properties}
    # Without properties the API server would prune everything.
    if provider.is_open(type_.name) or not properties:
        schema[_PRESERVE] = True
    return schema
