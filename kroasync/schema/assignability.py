"""Whether an expression of one type may fill a field of another: kro's answer, and a stricter one.

kro compares types loosely, and a definition that kro accepts is never refused: `Loose` has its rule, measured on kro
0.9.3's builder (tests/data/type-vectors.jsonl). It asks nothing of what fills an object, unless it is a map or an
object itself; of what fills a list, it looks at the first parameter only, be it a list's element or a map's key; and
the values of a map must suit every field of an object, for the type of a map does not say which keys there are.

`Strict` says what the API server will take. Where it finds a fault that kro does not see, the author is warned.

Both differ from kro in one point: text may fill fields that JSON keeps as text (bytes, timestamps, durations).
"""

from types import MappingProxyType
from typing import Final

from kroasync.cel import fits
from kroasync.cel.types import Type
from kroasync.schema.celtypes import SchemaTypes

_ANYTHING: Final = frozenset(("dyn", "error"))
_TEXT_KINDS: Final = frozenset(("bytes", "timestamp", "duration"))
# Types of libraries that are objects to cel-go, without a schema; those of other libraries are opaque to it.
_OBJECTS_OF_LIBRARIES: Final = ("kubernetes.", "kro.run.")


class Loose:
    """kro's comparison. Each pair of object types is looked at once; `work` counts the types looked at."""

    def __init__(self, types: SchemaTypes) -> None:
        self.work = 0
        self._types = types
        self._seen: set[tuple[str, str]] = set()

    def refusal(self, output: Type, expected: Type) -> str | None:
        """Why a result of one type may not fill a field of another; None if it may.

        CEL's rules, or else compatible structure.
        """
        self.work += 1
        return None if fits(output, expected) else self._cause(output, expected)

    def _cause(self, output: Type, expected: Type) -> str | None:
        self.work += 1
        if output.kind in _ANYTHING or expected.kind in _ANYTHING:
            return None
        if output.kind == "optional":
            return self._cause(output.element, expected)
        if output.kind == "string" and expected.kind in _TEXT_KINDS:
            return None
        match expected.kind:
            case "object":
                return self._to_object(output, expected)
            case "list":
                return self._to_list(output, expected)
            case "map":
                return self._to_map(output, expected)
        return None if output.kind == expected.kind else self._differ(output, expected)

    def _differ(self, output: Type, expected: Type) -> str:
        return f'type kind mismatch: got "{output}", expected "{expected}"'

    def _part(self, what: str, output: Type, expected: Type) -> str | None:
        cause = self._cause(output, expected)
        return None if cause is None else f"{what}: {cause}"

    def _to_object(self, output: Type, expected: Type) -> str | None:
        if output.kind == "map":
            return self._map_to_object(output, expected)
        return self._object_to_object(output, expected) if output.kind == "object" else None

    def _to_list(self, output: Type, expected: Type) -> str | None:
        if not output.params:
            return self._differ(output, expected)
        return self._part("list element type incompatible", output.params[0], expected.element)

    def _to_map(self, output: Type, expected: Type) -> str | None:
        if output.kind == "object":
            return self._object_to_map(output, expected)
        if output.kind == "opaque" and output.name.startswith(_OBJECTS_OF_LIBRARIES):
            return None
        return self._map_to_map(output, expected) if output.kind == "map" else self._differ(output, expected)

    def _map_to_map(self, output: Type, expected: Type) -> str | None:
        key = self._part("map key type incompatible", output.params[0], expected.params[0])
        return key or self._part("map value type incompatible", output.element, expected.element)

    def _map_to_object(self, output: Type, expected: Type) -> str | None:
        fields = self._types.fields(expected.name)
        if not fields:
            return None
        if output.params[0].kind not in ("string", "dyn"):
            return "map keys must be strings to assign to struct"
        if output.element.kind in _ANYTHING:
            return None
        for name, field in fields.items():
            cause = self._cause(output.element, field)
            if cause is not None:
                key = self._types.key_of(expected.name, name)
                return f'map value incompatible with struct field "{key}": {cause}'
        return None

    def _object_to_map(self, output: Type, expected: Type) -> str | None:
        fields = self._types.fields(output.name)
        if not fields:
            return None
        if expected.params[0].kind not in ("string", "dyn"):
            return "map key type must be string when assigning struct to map"
        for name, field in fields.items():
            cause = self._cause(field, expected.element)
            if cause is not None:
                key = self._types.key_of(output.name, name)
                return f'struct field "{key}" incompatible with map value type: {cause}'
        return None

    def _object_to_object(self, output: Type, expected: Type) -> str | None:
        pair = (output.name, expected.name)
        if output.name == expected.name or pair in self._seen or self._types.is_open(expected.name):
            return None
        self._seen.add(pair)
        given = self._types.fields(output.name)
        # An object type without fields says nothing of what it holds.
        if not given or not self._types.fields(expected.name):
            return None
        for name, field in given.items():
            key = self._types.key_of(output.name, name)
            wanted = self._types.value_type(expected.name, key)
            if wanted is None:
                return unknown_field(key)
            cause = self._cause(field, wanted)
            if cause is not None:
                return f'field "{key}" has incompatible type: {cause}'
        return None


class Strict(Loose):
    """The comparison of the API server: only an object fills an object, and only a list fills a list.

    Of a map whose keys are not known it knows no more than kro.
    """

    def _differ(self, output: Type, expected: Type) -> str:
        return f"expected {described(expected)}, found {described(output)}"

    def _to_object(self, output: Type, expected: Type) -> str | None:
        if output.kind == "map":
            loose = Loose(self._types)
            cause = loose.refusal(output, expected)
            self.work += loose.work
            return cause
        return super()._to_object(output, expected) if output.kind == "object" else self._differ(output, expected)

    def _to_list(self, output: Type, expected: Type) -> str | None:
        return super()._to_list(output, expected) if output.kind == "list" else self._differ(output, expected)

    def _to_map(self, output: Type, expected: Type) -> str | None:
        return self._differ(output, expected) if output.kind == "opaque" else super()._to_map(output, expected)


def unknown_field(key: str) -> str:
    """The cause of a refused key, in kro's words."""
    return f'field "{key}" exists in output but not in expected type'


def described(type_: Type, ending: str = "") -> str:
    """A type in the words of JSON and OpenAPI; `ending` is for many."""
    if type_.kind == "list":
        of = "" if type_.element.kind in _ANYTHING else f" of {described(type_.element, 's')}"
        return f"list{ending}{of}"
    return type_.name if type_.kind == "opaque" else _WORDS.get(type_.kind, type_.kind) + ending


_WORDS: Final = MappingProxyType(
    {
        "object": "object",
        "map": "object",
        "bool": "boolean",
        "int": "integer",
        "uint": "integer",
        "double": "number",
        "timestamp": "date-time",
    }
)
