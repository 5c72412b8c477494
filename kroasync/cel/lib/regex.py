"""Regular expressions in RE2's syntax, in linear time: for the whole language, and cel-go's library `regex`.

Linear is not cheap: RE2 may look at every instruction of a pattern's program for every byte, and looking for the next
match it may read to the end of the text. So a search costs bytes times instructions, and every match another search
over the rest. An evaluation pays for compiling a pattern unless it has it at hand.
"""

from collections.abc import Iterator
from functools import lru_cache
from typing import Any, Final

from kroasync.cel.decls import LibraryBuilder
from kroasync.cel.errors import ValueError_
from kroasync.cel.meter import CHARS_PER_STEP, Meter
from kroasync.cel.values import NONE, Optional

_library = LibraryBuilder("regex", doc="Extracting and replacing by regular expressions.", extra=True)


# Longer patterns are refused, and those whose program needs more memory.
MAX_PATTERN: Final = 1024
_MAX_BYTES: Final = 512 * 1024
# What compiling costs: anyhow, by the pattern's length, for each class of Unicode's, and by the program made.
_COMPILING: Final = 64
_STEPS_PER_CHAR: Final = 8
_STEPS_PER_CLASS: Final = 400
_STEPS_PER_INSTRUCTION: Final = 4
_STEPS_OF_TOO_LARGE: Final = 20_000
# Compiled patterns that are kept from one evaluation to the next.
_KEPT: Final = 64
# A search costs at least this; a program so small runs as an automaton without look at its instructions.
_SEARCHING: Final = 12
_SMALL_PROGRAM: Final = 16
_BYTES_PER_STEP: Final = 128
_INSTRUCTIONS_PER_STEP: Final = 64


class Pattern:
    """A compiled pattern. Texts that are no Unicode (lone surrogates) raise ValueError_."""

    __slots__ = ("_compiled", "groups", "size")

    def __init__(self, compiled: Any) -> None:
        self._compiled = compiled
        # How many capturing groups it has.
        self.groups: int = compiled.groups
        # Instructions of its programs, forwards and backwards.
        self.size: int = max(compiled.programsize, compiled.reverseprogramsize)

    def search(self, text: str, budget: Meter) -> Any:
        """The first match or None; groups are bytes."""
        data = _utf8(text)
        budget.spend(self._price(len(data)))
        return self._compiled.search(data)

    def finditer(self, text: str, budget: Meter) -> Iterator[Any]:
        """The matches from left to right, as Go finds them: no empty one right behind the match before it."""
        data = _utf8(text)
        budget.spend(self._price(len(data)))
        end = -1
        for match in self._matches(data):
            budget.spend(self._price(len(data) - match.end()))
            if match.end() != end or match.start() != end:
                yield match
            end = match.end()

    def _matches(self, data: bytes) -> Iterator[Any]:
        """All matches; an empty one is followed by a search from the next character."""
        at = 0
        while at <= len(data):
            match = self._compiled.search(data, at)
            if match is None:
                return
            yield match
            at = match.end() if match.end() > match.start() or match.end() > at else _next_character(data, at)

    def _price(self, size: int) -> int:
        per_byte = self.size * 2 if self.size > _SMALL_PROGRAM else 1
        return _SEARCHING + self.groups + size * per_byte // _BYTES_PER_STEP


def _next_character(data: bytes, at: int) -> int:
    at += 1
    while at < len(data) and data[at] & 0xC0 == 0x80:
        at += 1
    return at


def _utf8(text: str) -> bytes:
    try:
        return text.encode()
    except UnicodeError:
        raise _not_unicode() from None


def _not_unicode() -> ValueError_:
    return ValueError_("text is not valid Unicode")


def compiled(pattern: str, budget: Meter) -> Pattern:
    """A compiled pattern; raises ValueError_."""
    found: Pattern | None = budget.take(pattern)
    if found is not None:
        return found
    if len(pattern) > MAX_PATTERN:
        raise ValueError_(
            f"invalid regular expression {pattern[:100]!r}...: "
            f"it has {len(pattern)} characters, at most {MAX_PATTERN} are allowed"
        )
    classes = pattern.count("\\p") + pattern.count("\\P")
    budget.spend(_COMPILING + len(pattern) * _STEPS_PER_CHAR + classes * _STEPS_PER_CLASS)
    try:
        made = _compiled(pattern)
    except ValueError_:
        budget.spend(_STEPS_OF_TOO_LARGE)
        raise
    budget.spend(made.size * _STEPS_PER_INSTRUCTION)
    budget.keep(pattern, made)
    return made


@lru_cache(maxsize=_KEPT)
def _compiled(pattern: str) -> Pattern:
    # Imported at the first pattern: few definitions have one.
    import re2

    options = re2.Options()
    options.log_errors = False
    options.max_mem = _MAX_BYTES
    try:
        return Pattern(re2.compile(pattern, options=options))
    except (re2.error, UnicodeError) as error:
        raise ValueError_(f"invalid regular expression {pattern!r:.200}: {_reason(error)}", value=pattern) from None


def _reason(error: Exception) -> str:
    reason = error.args[0] if error.args else error
    return reason.decode("utf-8", "replace") if isinstance(reason, bytes) else str(reason)


def _capture(match: Any) -> str | None:
    """The match, or its group; to cel-go a group that is empty is the same as one that takes no part."""
    if not match.re.groups:
        return str(match.group().decode())
    found = match.group(1)
    return found.decode() if found else None


def _single_group(pattern: str, budget: Meter) -> Pattern:
    engine = compiled(pattern, budget)
    if engine.groups > 1:
        raise ValueError_(f"regular expression has more than one capturing group: {pattern!r:.200}", value=pattern)
    return engine


@_library.fn(
    "regex.extract(string, string) optional(string)",
    example="regex.extract('item-A', 'item-(\\\\w+)') == optional.of('A')",
    doc="The first match, or its capturing group if there is one; none if nothing matches, or the group is empty.",
    metered=True,
)
def _extract(text: str, pattern: str, *, budget: Meter) -> Optional:
    match = _single_group(pattern, budget).search(text, budget)
    found = None if match is None else _capture(match)
    return NONE if found is None else Optional(found)


@_library.fn(
    "regex.extractAll(string, string) list(string)",
    example="regex.extractAll('id:1 id:2', 'id:(\\\\d)') == ['1', '2']",
    doc="Every match, or the capturing group of each unless it is empty.",
    metered=True,
)
def _extract_all(text: str, pattern: str, *, budget: Meter) -> list[str]:
    found = []
    for match in _single_group(pattern, budget).finditer(text, budget):
        part = _capture(match)
        if part is not None:
            found.append(part)
    return found


@_library.fn(
    "regex.replace(string, string, string) string",
    example="regex.replace('foo bar', '(fo+) (ba.)', '\\\\2 \\\\1') == 'bar foo'",
    doc="Every match replaced; in the replacement `\\1` stands for a group, `\\0` for the match.",
    metered=True,
)
@_library.fn(
    "regex.replace(string, string, string, int) string",
    example="regex.replace('banana', 'a', 'x', 1) == 'bxnana'",
    doc="At most so many; a negative number means all.",
    metered=True,
)
def _replace(text: str, pattern: str, replacement: str, count: int = -1, *, budget: Meter) -> str:
    if count == 0:
        return text
    engine = compiled(pattern, budget)
    budget.spend(len(replacement) // 2)
    data = _utf8(text)
    parts: list[bytes] = []
    # As in cel-go, a replacement is read only where something is replaced.
    template: list[bytes | int] | None = None
    done = 0
    for made, match in enumerate(engine.finditer(text, budget)):
        if made == count:
            break
        template = _template(replacement, engine.groups) if template is None else template
        parts.append(data[done : match.start()])
        new = [part if isinstance(part, bytes) else match.group(part) or b"" for part in template]
        budget.spend(len(template) + sum(map(len, new)) // CHARS_PER_STEP)
        parts.extend(new)
        done = match.end()
    return b"".join((*parts, data[done:])).decode()


def _template(replacement: str, groups: int) -> list[bytes | int]:
    """A replacement as texts and group numbers; raises ValueError_."""
    template: list[bytes | int] = []
    position = 0
    while position < len(replacement):
        char = replacement[position]
        if char != "\\":
            end = replacement.find("\\", position)
            end = len(replacement) if end < 0 else end
            template.append(_utf8(replacement[position:end]))
            position = end
            continue
        after = replacement[position + 1 : position + 2]
        if after == "\\":
            template.append(b"\\")
        elif after.isascii() and after.isdigit():
            if int(after) > groups:
                raise ValueError_(
                    f"replacement string references group {after} but regex has only {groups} group(s)",
                    value=replacement,
                )
            template.append(int(after))
        else:
            problem = "\\ not allowed at end" if not after else "\\ must be followed by a digit or \\"
            raise ValueError_(f"invalid replacement string: {replacement[:200]!r} {problem}", value=replacement)
        position += 2
    return template


LIBRARY: Final = _library.build()
