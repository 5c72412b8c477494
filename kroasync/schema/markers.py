"""Markers of SimpleSchema: the `key=value` pairs after the first `|` of a field.

`lex` splits the text, and `apply` turns the pairs into OpenAPI keywords on a copy of the field's schema. Both
report every error as text; the caller adds the path of the field.
"""

import json
import math
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, Final

import re2

from kroasync.model.objects import Obj
from kroasync.model.paths import nests_deeper
from kroasync.schema.structural import LIST_MAP_KEYS, LIST_TYPE

VALIDATIONS: Final = "x-kubernetes-validations"
IMMUTABLE_RULE: Final = {"rule": "self == oldSelf", "message": "field is immutable"}

MAX_DEFAULT_DEPTH: Final = 100
MAX_MARKERS: Final = 256
"""The maximum number of markers of one field."""

_TRUE: Final = frozenset({"1", "t", "T", "TRUE", "true", "True"})
_FALSE: Final = frozenset({"0", "f", "F", "FALSE", "false", "False"})
_INTEGER: Final = re.compile(r"[-+]?[0-9]{1,100}", re.ASCII)
_FLOAT: Final = re.compile(r"[-+]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][-+]?[0-9]+)?", re.ASCII)


class MarkerError(ValueError):
    """A marker has no meaning on its field; the text says why."""


@dataclass(frozen=True, slots=True)
class Marker:
    """One pair; `value` has no quotes."""

    key: str
    value: str


@dataclass(slots=True)
class _Lexer:
    """The state of the scan: a key is open until its value ends; quotes and brackets preserve spaces."""

    markers: list[Marker] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    key: str | None = None
    buffer: str = ""
    in_quotes: bool = False
    escaped: bool = False
    depth: int = 0

    def run(self, text: str) -> None:
        chunk: list[str] = []
        for char in text:
            if self._take(char, chunk):
                chunk.append(char)
            if self.errors and self.errors[-1] == _UNMATCHED:
                return
        self._finish("".join(chunk))

    def _take(self, char: str, chunk: list[str]) -> bool:
        """Advance by one character; True if the character belongs to the buffer."""
        if self.escaped:
            self.escaped = False
        elif self.in_quotes:
            self.escaped = char == "\\"
            self.in_quotes = char != '"'
        elif char == '"':
            self.in_quotes = True
        elif char in "{[":
            self.depth += 1
        elif char in "}]":
            self.depth -= 1
            if self.depth < 0:
                self.errors.append(_UNMATCHED)
        elif self.depth == 0 and char == "=" and self.key is None:
            self._open("".join(chunk).strip())
            chunk.clear()
            return False
        elif self.depth == 0 and char.isspace():
            if self.key is not None:
                self._close("".join(chunk))
                chunk.clear()
            return False
        return True

    def _open(self, key: str) -> None:
        self.key = key
        if not key:
            self.errors.append("empty marker key")
        elif key not in APPLIERS:
            self.errors.append(f'invalid marker key "{key}": unknown marker: {key}')

    def _close(self, value: str) -> None:
        if self.key in APPLIERS:
            self.markers.append(Marker(self.key, _unquoted(value)))
        self.key = None

    def _finish(self, rest: str) -> None:
        if self.in_quotes:
            self.errors.append("unclosed quote")
        elif self.depth:
            self.errors.append("unclosed bracket/brace")
        elif self.key is not None:
            self._close(rest)
        elif rest:
            self.errors.append(f"marker key '{rest}' without a value")


_UNMATCHED: Final = "unmatched closing bracket/brace"
_ESCAPE: Final = re.compile(r'\\(["\\])')


def lex(text: str) -> tuple[list[Marker], list[str]]:
    """The known markers of a text, and its errors."""
    lexer = _Lexer()
    lexer.run(text)
    if len(lexer.markers) > MAX_MARKERS:
        return [], [*lexer.errors, f"expected at most {MAX_MARKERS} markers, found {len(lexer.markers)}"]
    return lexer.markers, lexer.errors


def _unquoted(value: str) -> str:
    if len(value) >= 2 and value[0] == value[-1] == '"':
        return _ESCAPE.sub(r"\1", value[1:-1])
    return value.strip()


@dataclass(slots=True)
class _Field:
    """The schema that `apply` builds: a copy of the top level; nested values are replaced, never changed."""

    schema: Obj
    required: bool = False

    @property
    def type(self) -> str:
        return str(self.schema.get("type", ""))

    def append(self, key: str, value: Any) -> None:
        self.schema[key] = [*self.schema.get(key, ()), value]


def apply(schema: Obj, markers: Iterable[Marker]) -> tuple[Obj, bool, list[str]]:
    """A copy of the schema with the markers applied in order; whether the field is required; the errors."""
    target = _Field(dict(schema))
    errors = []
    for marker in markers:
        try:
            APPLIERS[marker.key](target, marker.value)
        except MarkerError as err:
            errors.append(str(err))
    list_type = target.schema.get(LIST_TYPE)
    if not errors and LIST_MAP_KEYS in target.schema and list_type != "map":
        state = f"set to {list_type}" if list_type else "unset"
        errors.append(f"listMapKey set while listType is {state}, listType must be set to map")
    return target.schema, target.required, errors


def _quote(text: str) -> str:
    shown = text if len(text) <= 100 else text[:97] + "..."
    return json.dumps(shown, ensure_ascii=False)


def _boolean(text: str, failure: str) -> bool:
    """Go's strconv.ParseBool."""
    if text in _TRUE or text in _FALSE:
        return text in _TRUE
    raise MarkerError(f"{failure}: {_quote(text)} is not a boolean")


def _integer(text: str, failure: str) -> int:
    """A base-10 int64."""
    if _INTEGER.fullmatch(text) and -(2**63) <= (number := int(text)) < 2**63:
        return number
    raise MarkerError(f"{failure}: {_quote(text)} is not an integer")


def _number(text: str, failure: str) -> int | float:
    """A finite decimal number; an integer if it is whole."""
    if _INTEGER.fullmatch(text) and -(2**63) <= (number := int(text)) < 2**63:
        return number
    if _FLOAT.fullmatch(text) and math.isfinite(real := float(text)):
        return int(real) if abs(real) < 2**53 and real == int(real) else real
    raise MarkerError(f"{failure}: {_quote(text)} is not a number")


def _apply_required(target: _Field, value: str) -> None:
    # The alias may already make the field required; "false" does not undo that.
    target.required = _boolean(value, "failed to parse required marker value") or target.required


def _apply_description(target: _Field, value: str) -> None:
    target.schema["description"] = value


def _apply_default(target: _Field, value: str) -> None:
    default = _default(target.type, value)
    if default is not None:  # For the API server, a null default of a list or an object is no default.
        target.schema["default"] = default


def _default(type_: str, value: str) -> Any:
    invalid = MarkerError(f"default value must be a valid {type_ or 'JSON value'}, got: {value[:200]}")
    match type_:
        case "string":
            return _string_default(value)
        case "boolean":
            if value in _TRUE or value in _FALSE:
                return value in _TRUE
            raise invalid
        case "integer" | "number":
            try:
                return (_integer if type_ == "integer" else _number)(value, "")
            except MarkerError:
                raise invalid from None
        case _:
            try:
                found = json.loads(
                    value, parse_constant=_refuse_constant, parse_int=_json_number, parse_float=_json_number
                )
                json.dumps(found, ensure_ascii=False).encode()  # Fails for lone surrogates.
            except (ValueError, RecursionError):
                raise invalid from None
            wanted = {"array": list, "object": dict}.get(type_, object)
            if not isinstance(found, wanted | None) or nests_deeper(found, MAX_DEFAULT_DEPTH):
                raise invalid
            return found


def _string_default(value: str) -> str:
    r"""The text with escapes such as `\n` read as in JSON; unchanged if it is not the inside of a JSON string."""
    try:
        text = json.loads(f'"{value}"')
        text.encode()  # Fails for a lone surrogate ("\\ud800"): UTF-8 has no form for it.
    except ValueError:
        return value
    return str(text)


def _refuse_constant(name: str) -> float:
    raise ValueError(name)


def _json_number(text: str) -> int | float:
    return _number(text, "default")


def _bound(keyword: str) -> "Callable[[_Field, str], None]":
    def apply_bound(target: _Field, value: str) -> None:
        target.schema[keyword] = _number(value, f"failed to parse {keyword} enum value")

    return apply_bound


def _only(target: _Field, keyword: str, type_: str) -> None:
    if target.type != type_:
        raise MarkerError(f"{keyword} marker is only valid for {type_} types, got type: {target.type}")


def _length(keyword: str, type_: str) -> "Callable[[_Field, str], None]":
    def apply_length(target: _Field, value: str) -> None:
        _only(target, keyword, type_)
        target.schema[keyword] = _integer(value, f"failed to parse {keyword} value")

    return apply_length


def _apply_enum(target: _Field, value: str) -> None:
    values = [item.strip() for item in value.split(",")]
    if target.type not in ("string", "integer"):
        raise MarkerError(f"enum values only supported for string and integer types, got type: {target.type}")
    if "" in values:
        raise MarkerError("empty enum values are not allowed")
    if target.type == "string":
        target.schema["enum"] = values
    else:
        target.schema["enum"] = [_integer(item, "failed to parse integer enum value") for item in values]


def _add_rule(target: _Field, rule: dict[str, str]) -> None:
    if rule not in target.schema.get(VALIDATIONS, ()):
        target.append(VALIDATIONS, rule)


def _apply_validation(target: _Field, value: str) -> None:
    if not value.strip():
        raise MarkerError("validation failed: the rule is empty")
    _add_rule(target, {"rule": value, "message": "validation failed"})


def _apply_immutable(target: _Field, value: str) -> None:
    if _boolean(value, "failed to parse immutable marker value"):
        _add_rule(target, dict(IMMUTABLE_RULE))


def _apply_pattern(target: _Field, value: str) -> None:
    if not value:
        raise MarkerError("pattern marker value cannot be empty")
    _only(target, "pattern", "string")
    options = re2.Options()
    options.log_errors = False
    try:
        re2.compile(value, options)
    except (re2.error, UnicodeError) as err:
        raise MarkerError(f"invalid pattern regex: {_reason(err)}") from None
    target.schema["pattern"] = value


def _reason(err: Exception) -> str:
    first = err.args[0] if err.args else ""
    return first.decode("utf-8", "replace") if isinstance(first, bytes) else str(first)


def _apply_unique_items(target: _Field, value: str) -> None:
    unique = _boolean(value, "failed to parse uniqueItems marker value")
    _only(target, "uniqueItems", "array")
    if not unique:
        return
    if (current := target.schema.get(LIST_TYPE, "set")) != "set":
        raise MarkerError(f"cannot set unique when listType is set to {current}")
    target.schema[LIST_TYPE] = "set"


def _apply_list_type(target: _Field, value: str) -> None:
    if target.type != "array":
        raise MarkerError("listType marker only applies to array types")
    if value not in ("atomic", "set", "map"):
        raise MarkerError(f"unsupported value for listType {value}, needs to be one of atomic, set, or map")
    if (current := target.schema.get(LIST_TYPE, value)) != value:
        raise MarkerError(f"listType attempting to overwrite set type of {current}, with {value}")
    target.schema[LIST_TYPE] = value


def _apply_list_map_key(target: _Field, value: str) -> None:
    if target.type != "array":
        raise MarkerError("listMapKey marker only applies to array types")
    if value in target.schema.get(LIST_MAP_KEYS, ()):
        raise MarkerError(f"duplicate listMapKey marker, value {value}")
    target.append(LIST_MAP_KEYS, value)


APPLIERS: Final[dict[str, Callable[[_Field, str], None]]] = {
    "required": _apply_required,
    "default": _apply_default,
    "description": _apply_description,
    "minimum": _bound("minimum"),
    "maximum": _bound("maximum"),
    "enum": _apply_enum,
    "validation": _apply_validation,
    "immutable": _apply_immutable,
    "pattern": _apply_pattern,
    "minLength": _length("minLength", "string"),
    "maxLength": _length("maxLength", "string"),
    "minItems": _length("minItems", "array"),
    "maxItems": _length("maxItems", "array"),
    "uniqueItems": _apply_unique_items,
    "listType": _apply_list_type,
    "listMapKey": _apply_list_map_key,
}
