"""Templates: finding `${...}` in strings, and matching a template's literals against the schema of its kind.

Extraction is a character scan, not a parse: an expression ends at its closing brace outside double quotes.
Map keys are never scanned. Matching collects every problem and still finds the expressions below a field no
schema describes.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from enum import Enum, auto
from typing import Any, ClassVar, Final, TypeAlias

from kroasync.cel.syntax import MAX_CODE_POINTS
from kroasync.graph.budget import Budget
from kroasync.model import paths
from kroasync.model.paths import Path
from kroasync.model.problems import MAX_PROBLEMS, MAX_SUGGESTED
from kroasync.model.steps import Steps, drained
from kroasync.model.suggest import did_you_mean
from kroasync.schema.structural import INT_OR_STRING as _INT_OR_STRING
from kroasync.schema.structural import PRESERVE as _PRESERVE

Schema: TypeAlias = Mapping[str, Any]

# The text of a template is at most three characters longer than the expression it is read as.
_LONGEST: Final = MAX_CODE_POINTS + 3

NESTED: Final = "nested expressions are not allowed unless inside string literals"
NOT_STANDALONE: Final = "only standalone expressions are allowed"
LITERAL: Final = 'to write a literal ${, use ${"${"}'
# Characters of an expression without an end that are shown.
_SHOWN: Final = 60
# Quotes, braces and quoted characters looked at for one string, those looked at again counted: some 30 ms, and only so
# many for each character, as there may be many strings.
_MAX_LOOKS: Final = 100_000
_LOOKS_PER_CHAR: Final = 6
_LEAST_LOOKS: Final = 100
# Characters of a string that cost as much as a value without text.
CHARS_PER_VALUE: Final = 20

# What looking for a name that was meant costs, in values.
_WORK_PER_NAME: Final = 500


# What matters to a scan: a quote, an escaped character, a brace, the start of another expression.
_TOKEN: Final = re.compile(r'"|\\.|\$\{|\{|\}', re.DOTALL)
_SPECIAL: Final = re.compile(r"""["'\\]""")
# What a reader of all of CEL's quotes stops at outside of them.
_STRUCTURE: Final = re.compile(r"""["'{}]|\$\{""")
_QUOTES: Final = re.compile(r"""\"\"\"|'''|"|'""")


class ExtractionError(ValueError):
    """The text holds `${` in a way that has no reading."""

    code: ClassVar[str] = "expression-syntax"
    # Where in the text, if that helps.
    offset: int | None = None


class UnterminatedError(ExtractionError):
    """A `${` without its `}`."""

    code = "unterminated-expression"

    def __init__(self, text: str, offset: int) -> None:
        found = text[offset : offset + _SHOWN] + ("..." if len(text) - offset > _SHOWN else "")
        super().__init__(f"unterminated ${{: expected a closing }}, found only {quoted(found)}; {LITERAL}")
        self.offset = offset


@dataclass(frozen=True, slots=True)
class Match:
    """One `${...}`: the text inside, and its place in the string, end exclusive."""

    text: str
    start: int
    end: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """A string with expressions, as one CEL expression.

    `text` is what messages show: the inside of a standalone `${...}`, otherwise the author's whole string.
    """

    text: str
    cel: str
    is_standalone: bool
    # (start in `cel`, end in `cel`, start in the author's string) of each expression.
    pieces: tuple[tuple[int, int, int], ...]

    def author_offset(self, offset: int) -> int:
        """The place in the author's string for one in `cel`; for the text in between, the next expression's
        start.
        """
        for start, end, origin in self.pieces:
            if offset <= end:
                return origin + max(0, offset - start)
        start, end, origin = self.pieces[-1]
        return origin + end - start


@dataclass(frozen=True, slots=True, kw_only=True)
class FieldSource:
    """A string with expressions and its path in the template."""

    path: Path
    source: Source
    # True if the place takes no text at all, so that a string template there is already a fault.
    is_refused: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """Something wrong at a path of a template; `suggestion` is a near miss, `offset` the place in the string there."""

    code: str
    message: str
    path: Path
    suggestion: str | None = None
    offset: int | None = None


@dataclass(slots=True)
class Template:
    """What a walk found: expressions in document order, faults, and leaves without any expression.

    Of faults and such leaves no more are kept than are reported.
    """

    fields: list[FieldSource] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)
    plain_leaves: list[Path] = field(default_factory=list)

    def add_fault(self, fault: Fault) -> None:
        if len(self.faults) <= MAX_PROBLEMS:
            self.faults.append(fault)

    def add_plain(self, path: Path) -> None:
        if len(self.plain_leaves) <= MAX_PROBLEMS:
            self.plain_leaves.append(path)


class _Looks:
    """How often a scan may still look."""

    __slots__ = ("left",)

    def __init__(self, text: str) -> None:
        self.left = min(_MAX_LOOKS, _LEAST_LOOKS + _LOOKS_PER_CHAR * len(text))

    def take(self) -> None:
        self.left -= 1
        if self.left < 0:
            raise ExtractionError("too many quotes and braces in one string")


def extract(text: str) -> tuple[Match, ...]:
    """Every `${...}` of a string.

    Raises ExtractionError for nested expressions and those without an end, for hopeless amounts of quotes and braces,
    and for an expression in a text that is too long to be one.
    """
    found: list[Match] = []
    position, looks = text.find("${"), _Looks(text)
    while position >= 0:
        end, nested = _scan(text, position + 2, looks)
        if end < 0 or nested or _ends_quoted(text, position + 2, end - 1, looks):
            # Apostrophes mean nothing to the scan above; where it fails, they may.
            lenient = _scan_quoted(text, position + 2, looks)
            if lenient >= 0:
                end, nested = lenient, False
        if nested:
            raise ExtractionError(NESTED)
        if end < 0:
            raise UnterminatedError(text, position)
        if len(text) > _LONGEST:
            # What the parser would say of the whole, which is no shorter.
            raise ExtractionError(
                f"expression code point size exceeds limit: size: {len(text)}, limit {MAX_CODE_POINTS}"
            )
        found.append(Match(text[position + 2 : end - 1], position, end))
        position = text.find("${", end)
    return tuple(found)


def _scan(text: str, start: int, looks: _Looks) -> tuple[int, bool]:
    """End (exclusive) of the expression that starts here, or -1; and whether another one starts in it."""
    depth, in_string = 1, False
    for token in _TOKEN.finditer(text, start):
        looks.take()
        what = token.group()
        if what[0] == "\\":
            if not in_string and what[1] in '"{}':
                # Outside a string a backslash escapes nothing: the character counts.
                what = what[1]
            else:
                continue
        if what == '"':
            in_string = not in_string
        elif in_string:
            continue
        elif what == "}":
            depth -= 1
            if depth == 0:
                return token.end(), False
        elif what == "${":
            if text[token.start() - 1] != '"':
                return -1, True
            depth += 1
        else:
            depth += 1
    return -1, False


def _ends_quoted(text: str, start: int, end: int, looks: _Looks) -> bool:
    """True if the part of the text ends inside a string in single quotes, so that it is no expression."""
    if text.find("'", start, end) < 0:
        return False
    position, quote = start, ""
    while position < end:
        looks.take()
        if not quote:
            opening = _QUOTES.search(text, position, end)
            if opening is None:
                return False
            quote, position = opening.group(), opening.end()
        elif text.startswith(quote, position, end):
            quote, position = "", position + len(quote)
        else:
            position = _next_special(text, position, end)
    return bool(quote)


def _next_special(text: str, position: int, end: int) -> int:
    """Inside of quotes: where the next quote or backslash is to be looked for, after the character here."""
    position += 2 if text[position] == "\\" else 1
    found = _SPECIAL.search(text, position, end)
    return end if found is None else found.start()


def _scan_quoted(text: str, start: int, looks: _Looks) -> int:
    """End of the expression as a reader of all of CEL's quotes sees it; -1 if there is none or another one
    starts in it.
    """
    depth, position, quote = 1, start, ""
    while position < len(text):
        looks.take()
        if quote:
            if text.startswith(quote, position):
                position, quote = position + len(quote), ""
            else:
                position = _next_special(text, position, len(text))
            continue
        opening = _QUOTES.match(text, position)
        if opening:
            quote, position = opening.group(), opening.end()
            continue
        if text.startswith("${", position):
            return -1
        depth += {"{": 1, "}": -1}.get(text[position], 0)
        if depth == 0:
            return position + 1
        found = _STRUCTURE.search(text, position + 1)
        if found is None:
            return -1
        position = found.start()
    return -1


def read_string(text: str) -> Source | None:
    """The string as a CEL expression; None for a plain literal. Raises ExtractionError."""
    if "${" not in text:
        return None
    matches = extract(text)
    if not matches:
        return None
    first = matches[0]
    if len(matches) == 1 and first.start == 0 and first.end == len(text):
        return Source(text=first.text, cel=first.text, is_standalone=True, pieces=((0, len(first.text), 2),))
    parts: list[str] = []
    pieces: list[tuple[int, int, int]] = []
    length = 0

    def add(part: str) -> int:
        nonlocal length
        if parts:
            parts.append(" + ")
            length += 3
        parts.append(part)
        length += len(part)
        return length - len(part)

    position = 0
    for match in matches:
        if match.start > position:
            add(quoted(text[position : match.start]))
        start = add(f"({match.text})") + 1
        pieces.append((start, start + len(match.text), match.start + 2))
        position = match.end
    if position < len(text):
        add(quoted(text[position:]))
    return Source(text=text, cel="".join(parts), is_standalone=False, pieces=tuple(pieces))


def read_standalone(text: str) -> Source:
    """The string as exactly one `${...}`. Raises ExtractionError if it is anything else."""
    source = read_string(text)
    if source is None or not source.is_standalone:
        raise ExtractionError(NOT_STANDALONE)
    return source


_ESCAPES: Final = {
    '"': '\\"',
    "\\": "\\\\",
    "\a": "\\a",
    "\b": "\\b",
    "\f": "\\f",
    "\n": "\\n",
    "\r": "\\r",
    "\t": "\\t",
    "\v": "\\v",
}


def quoted(text: str) -> str:
    """A CEL string literal with this value, escaped as Go's strconv.Quote does."""
    return '"' + "".join(_ESCAPES.get(char) or (char if char.isprintable() else _code(char)) for char in text) + '"'


def _code(char: str) -> str:
    point = ord(char)
    if point < 0x80:
        return f"\\x{point:02x}"
    return f"\\u{point:04x}" if point < 0x10000 else f"\\U{point:08x}"


def read_schemaless(value: Any) -> Template:
    """Every expression below a value no schema describes."""
    return drained(reading(value, None, Budget()))


def read_template(value: Any, schema: Schema) -> Template:
    """Every expression of a template, and every literal that its schema does not allow."""
    return drained(reading(value, schema, Budget()))


def reading(value: Any, schema: Schema | None, budget: Budget) -> Steps[Template]:
    """Every expression below a value, and every literal that its schema does not allow, if there is one.

    Not checked, because the API server does it: required fields, enums, patterns, ranges, formats.
    """
    template = Template()
    if schema:
        yield from _match(value, schema, (), template, budget)
        return template
    if schema is not None:
        template.add_fault(_invalid_schema(()))
    yield from _collect(value, (), template, budget)
    return template


def _collect(value: Any, path: Path, into: Template, budget: Budget) -> Steps[None]:
    if isinstance(value, dict):
        for name, item in value.items():
            yield from _collect(item, (*path, name), into, budget)
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _collect(item, (*path, index), into, budget)
    else:
        if budget.pause_after(_work(value)):
            yield
        if not isinstance(value, str) or _add_string(value, path, into) is _Text.PLAIN:
            into.add_plain(path)


def _work(value: Any) -> int:
    """What reading a leaf costs, a value without text being 1."""
    return 1 + len(value) // CHARS_PER_VALUE if isinstance(value, str) and "${" in value else 1


class _Text(Enum):
    """What a string of a template is; anything can come of an expression, but only a string of the other
    two.
    """

    PLAIN = auto()
    EXPRESSION = auto()
    MIXED = auto()


def _add_string(text: str, path: Path, into: Template) -> _Text:
    try:
        source = read_string(text)
    except ExtractionError as error:
        into.add_fault(Fault(code=error.code, message=str(error), path=path, offset=error.offset))
        return _Text.EXPRESSION
    if source is None:
        return _Text.PLAIN
    into.fields.append(FieldSource(path=path, source=source))
    return _Text.EXPRESSION if source.is_standalone else _Text.MIXED


def _match(value: Any, schema: Schema, path: Path, into: Template, budget: Budget) -> Steps[None]:
    if value is None:
        return
    if budget.pause_after(_work(value)):
        yield
    if schema.get(_PRESERVE) or not schema:
        yield from _collect(value, path, into, budget)
        return
    expected = expected_types(schema)
    if not expected:
        into.add_fault(_invalid_schema(path))
        yield from _collect(value, path, into, budget)
    elif isinstance(value, dict):
        yield from _match_map(value, schema, expected, path, into, budget)
    elif isinstance(value, list):
        yield from _match_list(value, schema, expected, path, into, budget)
    elif isinstance(value, str):
        kind = _add_string(value, path, into)
        if kind is not _Text.EXPRESSION and not _expect(expected, "string", path, into) and kind is _Text.MIXED:
            into.fields[-1] = replace(into.fields[-1], is_refused=True)
    elif isinstance(value, bool):
        _expect(expected, "boolean", path, into)
    elif isinstance(value, int):
        _expect(expected, "integer", path, into, also="number")
    else:
        _expect(expected, "float64", path, into, also="number")


def _match_map(
    value: dict[str, Any], schema: Schema, expected: tuple[str, ...], path: Path, into: Template, budget: Budget
) -> Steps[None]:
    additional = schema.get("additionalProperties")
    if not (isinstance(additional, dict) or additional is True) and not _expect(expected, "object", path, into):
        yield from _collect(value, path, into, budget)
        return
    properties = schema.get("properties") or {}
    for name, item in value.items():
        below = (*path, name)
        found = properties.get(name)
        if found is None:
            found = additional if isinstance(additional, dict) else {} if additional is True else None
        if found is not None:
            yield from _match(item, found, below, into, budget)
            continue
        if budget.pause_after(_WORK_PER_NAME):
            yield
        where = f"{paths.build(path)}.{name}"
        into.add_fault(
            Fault(
                code="unknown-field",
                message=f"error getting field schema for path {where}: schema not found for field {name}",
                path=below,
                suggestion=did_you_mean(name, properties) if len(into.faults) < MAX_SUGGESTED else None,
            )
        )
        yield from _collect(item, below, into, budget)


def _match_list(
    value: list[Any], schema: Schema, expected: tuple[str, ...], path: Path, into: Template, budget: Budget
) -> Steps[None]:
    items = schema.get("items")
    if not _expect(expected, "array", path, into):
        yield from _collect(value, path, into, budget)
    elif not isinstance(items, dict) and "any" not in expected:
        where = paths.build(path)
        message = f"invalid array schema for path {where}: neither Items.Schema nor Properties are defined"
        into.add_fault(Fault(code="kind-schema", message=message, path=path))
        yield from _collect(value, path, into, budget)
    else:
        for index, item in enumerate(value):
            yield from _match(item, items or {}, (*path, index), into, budget)


def _expect(expected: tuple[str, ...], found: str, path: Path, into: Template, *, also: str = "") -> bool:
    if found in expected or "any" in expected or also in expected:
        return True
    message = f"expected {' or '.join(expected)} type for path {paths.build(path)}, got {found}"
    into.add_fault(Fault(code="literal-type", message=message, path=path))
    return False


def _invalid_schema(path: Path) -> Fault:
    message = f"schema at path {paths.build(path)} has no valid type, OneOf, AnyOf, or AdditionalProperties"
    return Fault(code="kind-schema", message=message, path=path)


def expected_types(schema: Schema) -> tuple[str, ...]:
    """JSON types a schema allows, "any" for all; empty if it says nothing."""
    if schema.get(_PRESERVE):
        return ("any",)
    if schema.get(_INT_OR_STRING) or schema.get("format") == "int-or-string":
        return ("string", "integer")
    for key in ("oneOf", "anyOf"):
        found = tuple(dict.fromkeys(_branch_types(schema.get(key) or ())))
        if found:
            return found
    if schema.get("type"):
        return (str(schema["type"]),)
    additional = schema.get("additionalProperties")
    if additional is True:
        return ("any",)
    if isinstance(additional, dict) or schema.get("properties"):
        return ("object",)
    return ()


def _branch_types(branches: Any) -> Iterator[str]:
    typed = [branch for branch in branches if isinstance(branch, dict)]
    named = [str(branch["type"]) for branch in typed if branch.get("type")]
    yield from named
    if named and any("required" in branch or "not" in branch for branch in typed):
        yield "object"
