"""cel-go's string extension. Positions and lengths count characters (code points)."""

from typing import Any, Final

from kroasync.cel.decls import LibraryBuilder
from kroasync.cel.errors import OverloadError, ValueError_
from kroasync.cel.lib.printf import format_text
from kroasync.cel.lib.searching import last_position, spend_search
from kroasync.cel.lib.texts import without_surrogates
from kroasync.cel.meter import CHARS_PER_STEP, Meter
from kroasync.cel.run.operations import type_name

_library = LibraryBuilder("strings", doc="Functions on strings.", weight=12)
fn = _library.fn

# Go's unicode.IsSpace, which is what trim removes.
_SPACES: Final = (
    "\t\n\v\f\r \x85\xa0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a"
    "\u2028\u2029\u202f\u205f\u3000"
)
_LOWER: Final = str.maketrans("ABCDEFGHIJKLMNOPQRSTUVWXYZ", "abcdefghijklmnopqrstuvwxyz")
_UPPER: Final = str.maketrans("abcdefghijklmnopqrstuvwxyz", "ABCDEFGHIJKLMNOPQRSTUVWXYZ")
# Characters that are replaced by others in a step, where Python looks up each.
_TRANSLATED_PER_STEP: Final = 8
# Characters a step looks at one by one, or replaces by others.
_EDITED_PER_STEP: Final = 16
# Strings that are made in one step.
_PARTS_PER_STEP: Final = 2


def _out_of_range(position: int) -> ValueError_:
    # Not IndexError_: cel-go's text is "index out of range", which kro does not take for missing data.
    return ValueError_(f"index out of range: {position}", value=position)


@fn("string.charAt(int) string", example="'añb'.charAt(1) == 'ñ'", doc="Empty at the end; an error beyond it.", rate=0)
def _char_at(text: str, position: int) -> str:
    if not 0 <= position <= len(text):
        raise _out_of_range(position)
    return text[position : position + 1]


@fn(
    "string.indexOf(string) int",
    example="'tacocat'.indexOf('ac') == 1",
    doc="Where a text first occurs, or -1.",
    metered=True,
)
@fn(
    "string.indexOf(string, int) int",
    example="'tacocat'.indexOf('a', 3) == 5",
    doc="From a position on.",
    metered=True,
)
def _index_of(text: str, part: str, start: int = 0, *, budget: Meter) -> int:
    if start < 0:
        raise _out_of_range(start)
    spend_search(max(len(text) - start, 0), part, budget)
    return text.find(part, min(start, len(text))) if part else min(start, len(text))


@fn(
    "string.lastIndexOf(string) int",
    example="'tacocat'.lastIndexOf('at') == 5",
    doc="Where it last occurs, or -1.",
    metered=True,
)
@fn(
    "string.lastIndexOf(string, int) int",
    example="'tacocat'.lastIndexOf('a', 3) == 1",
    doc="At that position or before.",
    metered=True,
)
def _last_index_of(text: str, part: str, start: int | None = None, *, budget: Meter) -> int:
    # Twice, for the text is looked through once to see whether there is anything.
    spend_search(2 * len(text), part, budget)
    spend_search(len(text), part, budget)
    if start is None:
        return last_position(text, part)
    if start < 0:
        raise _out_of_range(start)
    # cel-go: no search from beyond the end, except for the empty string, which is at the end.
    if start >= len(text):
        return -1 if part else len(text)
    before = text[: start + len(part)]
    spend_search(len(before), part, budget)
    return last_position(before, part)


@fn("list(string).join() string", example="['a', 'b'].join() == 'ab'", metered=True)
@fn("list(string).join(string) string", example="['a', 'b'].join('-') == 'a-b'", metered=True)
def _join(parts: list[Any], separator: str = "", *, budget: Meter) -> str:
    try:
        size = sum(map(len, parts)) + len(parts) * len(separator)
        budget.spend(2 + len(parts) // 8 + size // CHARS_PER_STEP)
        return separator.join(parts)
    except TypeError:
        other = next(part for part in parts if part.__class__ is not str)
        raise OverloadError(f"no such overload: join of a list with {type_name(other)}") from None


@fn(
    "string.lowerAscii() string",
    example="'TacoÑ'.lowerAscii() == 'tacoÑ'",
    doc="ASCII letters only.",
    rate=_TRANSLATED_PER_STEP,
)
def _lower_ascii(text: str) -> str:
    return text.lower() if text.isascii() else text.translate(_LOWER)


@fn(
    "string.upperAscii() string",
    example="'tacoñ'.upperAscii() == 'TACOñ'",
    doc="ASCII letters only.",
    rate=_TRANSLATED_PER_STEP,
)
def _upper_ascii(text: str) -> str:
    return text.upper() if text.isascii() else text.translate(_UPPER)


@fn("string.replace(string, string) string", example="'hello'.replace('l', 'L') == 'heLLo'", metered=True)
@fn(
    "string.replace(string, string, int) string",
    example="'hello'.replace('l', 'L', 1) == 'heLlo'",
    doc="At most so many; a negative number means all.",
    metered=True,
)
def _replace(text: str, old: str, new: str, count: int = -1, *, budget: Meter) -> str:
    spend_search(len(text), old, budget)
    places = text.count(old) if count < 0 else min(count, text.count(old))
    spend_search(len(text), old, budget)
    budget.spend(1 + places // _EDITED_PER_STEP + (len(text) + places * len(new)) // CHARS_PER_STEP)
    return text.replace(old, new, places)


@fn("string.split(string) list(string)", example="'a,b'.split(',') == ['a', 'b']", metered=True)
@fn(
    "string.split(string, int) list(string)",
    example="'a,b,c'.split(',', 2) == ['a', 'b,c']",
    doc="At most so many parts; none for 0, all for a negative number.",
    metered=True,
)
def _split(text: str, separator: str, count: int = -1, *, budget: Meter) -> list[str]:
    budget.spend(3)
    if count == 0:
        return []
    if separator:
        spend_search(len(text), separator, budget)
        places = text.count(separator)
        spend_search(len(text), separator, budget)
        budget.spend((places if count < 0 else min(places, count)) // _PARTS_PER_STEP)
        return text.split(separator, count - 1 if count > 0 else -1)
    budget.spend(len(text) // CHARS_PER_STEP + (len(text) if count < 0 else min(len(text), count)) // _PARTS_PER_STEP)
    if count < 0 or count >= len(text):
        return list(text)
    return [*text[: count - 1], text[count - 1 :]]


@fn("string.substring(int) string", example="'tacocat'.substring(4) == 'cat'")
@fn("string.substring(int, int) string", example="'tacocat'.substring(0, 4) == 'taco'", doc="Without the end.")
def _substring(text: str, start: int, end: int | None = None) -> str:
    if not 0 <= start <= len(text):
        raise _out_of_range(start)
    if end is None:
        return text[start:]
    if not 0 <= end <= len(text):
        raise _out_of_range(end)
    if start > end:
        raise ValueError_(f"invalid substring range. start: {start}, end: {end}", value=start)
    return text[start:end]


@fn(
    "string.trim() string",
    example="'  a '.trim() == 'a'",
    doc="Without white space at both ends.",
    rate=_EDITED_PER_STEP,
)
def _trim(text: str) -> str:
    return text.strip(_SPACES)


@fn("string.reverse() string", example="'abc'.reverse() == 'cba'")
def _reverse(text: str) -> str:
    return text[::-1]


# The backslash first, for the others bring more of them.
_QUOTED: Final = {
    "\\": "\\\\",
    "\a": "\\a",
    "\b": "\\b",
    "\f": "\\f",
    "\n": "\\n",
    "\r": "\\r",
    "\t": "\\t",
    "\v": "\\v",
    '"': '\\"',
}


@fn(
    "strings.quote(string) string",
    example="strings.quote('a\\n') == '\"a\\\\n\"'",
    doc="In double quotes, with escapes; safe to print.",
    rate=_EDITED_PER_STEP,
    weight=16,
)
def _quote(text: str) -> str:
    for char, escaped in _QUOTED.items():
        text = text.replace(char, escaped)
    return f'"{without_surrogates(text)}"'


fn(
    "string.format(list(dyn)) string",
    example="'%s has %d: %.1f%%'.format(['a', 2, 1.25]) == 'a has 2: 1.2%'",
    doc="Verbs %s %d %f %e %b %o %x %X; a precision for %f and %e, at most 100, 6 by default.",
    metered=True,
)(format_text)

LIBRARY: Final = _library.build()
