"""Regular expressions in RE2's syntax, in linear time: for the whole language, and cel-go's library `regex`."""

from collections.abc import Iterator
from typing import Any, Final

from kroasync.cel.budget import CHARS_PER_STEP
from kroasync.cel.decls import Budget, LibraryBuilder
from kroasync.cel.errors import ValueError_
from kroasync.cel.values import NONE, Optional

_library = LibraryBuilder("regex", doc="Extracting and replacing by regular expressions.", extra=True)


class Pattern:
    """A compiled pattern. Texts that are no Unicode (lone surrogates) raise ValueError_."""

    __slots__ = ("_compiled", "groups")

    def __init__(self, compiled: Any) -> None:
        self._compiled = compiled
        # How many capturing groups it has.
        self.groups: int = compiled.groups

    def search(self, text: str) -> Any:
        """The first match or None."""
        try:
            return self._compiled.search(text)
        except UnicodeError:
            raise _not_unicode() from None

    def finditer(self, text: str) -> Iterator[Any]:
        """The matches from left to right, as Go finds them: no empty one right behind the match before it."""
        end = -1
        try:
            for match in self._compiled.finditer(text):
                if match.end() != end or match.start() != end:
                    yield match
                end = match.end()
        except UnicodeError:
            raise _not_unicode() from None


def _not_unicode() -> ValueError_:
    return ValueError_("text is not valid Unicode")


def compiled(pattern: str) -> Pattern:
    """A compiled pattern; raises ValueError_. The engine keeps those it has seen last."""
    # Imported at the first pattern: few definitions have one.
    import re2

    options = re2.Options()
    options.log_errors = False
    try:
        return Pattern(re2.compile(pattern, options=options))
    except (re2.error, UnicodeError) as error:
        raise ValueError_(f"invalid regular expression {pattern!r:.200}: {_reason(error)}", value=pattern) from None


def _reason(error: Exception) -> str:
    reason = error.args[0] if error.args else error
    return reason.decode("utf-8", "replace") if isinstance(reason, bytes) else str(reason)


def _spend(budget: Budget, text: str, pattern: str) -> None:
    budget.spend(1 + (len(text) + len(pattern)) // CHARS_PER_STEP)


def _capture(match: Any) -> Any:
    return match.group(1) if match.re.groups else match.group()


def _single_group(pattern: str) -> Pattern:
    engine = compiled(pattern)
    if engine.groups > 1:
        raise ValueError_(f"regular expression has more than one capturing group: {pattern!r:.200}", value=pattern)
    return engine


@_library.fn(
    "regex.extract(string, string) optional(string)",
    example="regex.extract('item-A', 'item-(\\\\w+)') == optional.of('A')",
    doc="The first match, or its capturing group if there is one; none if nothing matches.",
    metered=True,
)
def _extract(text: str, pattern: str, *, budget: Budget) -> Optional:
    _spend(budget, text, pattern)
    match = _single_group(pattern).search(text)
    if match is None or _capture(match) is None:
        return NONE
    return Optional(_capture(match))


@_library.fn(
    "regex.extractAll(string, string) list(string)",
    example="regex.extractAll('id:1 id:2', 'id:(\\\\d)') == ['1', '2']",
    doc="Every match, or the capturing group of each.",
    metered=True,
)
def _extract_all(text: str, pattern: str, *, budget: Budget) -> list[str]:
    _spend(budget, text, pattern)
    found = []
    for match in _single_group(pattern).finditer(text):
        budget.spend(1)
        if _capture(match) is not None:
            found.append(_capture(match))
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
def _replace(text: str, pattern: str, replacement: str, count: int = -1, *, budget: Budget) -> str:
    _spend(budget, text, pattern)
    engine = compiled(pattern)
    template = _template(replacement, engine.groups)
    if count == 0:
        return text
    parts: list[str] = []
    done = 0
    for made, match in enumerate(engine.finditer(text)):
        if made == count:
            break
        parts.append(text[done : match.start()])
        new = "".join(part if isinstance(part, str) else match.group(part) or "" for part in template)
        budget.spend(1 + len(new) // CHARS_PER_STEP)
        parts.append(new)
        done = match.end()
    return "".join((*parts, text[done:]))


def _template(replacement: str, groups: int) -> list[str | int]:
    """A replacement as texts and group numbers; raises ValueError_."""
    template: list[str | int] = []
    position = 0
    while position < len(replacement):
        char = replacement[position]
        if char != "\\":
            end = replacement.find("\\", position)
            end = len(replacement) if end < 0 else end
            template.append(replacement[position:end])
            position = end
            continue
        after = replacement[position + 1 : position + 2]
        if after == "\\":
            template.append("\\")
        elif after.isascii() and after.isdigit():
            if int(after) > groups:
                raise ValueError_(
                    f"replacement string references group {after} but regex has only {groups} group(s)",
                    value=replacement,
                )
            template.append(int(after))
        else:
            problem = "\\ not allowed at end" if not after else "\\ must be followed by a digit or \\"
            raise ValueError_(f"invalid replacement string: {replacement!r:.200} {problem}", value=replacement)
        position += 2
    return template


LIBRARY: Final = _library.build()
