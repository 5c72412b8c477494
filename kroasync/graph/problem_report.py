"""Collects the problems of a definition in the order of the build steps, and in declaration order within a step.

A message is kro's whole text, with the prefix of the step that found the problem. Clients and tests depend on it.
Beside a path, most of a prefix says nothing new, so each problem has a short message, too.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Final

from kroasync.model.paths import Path
from kroasync.model.problems import MAX_PROBLEMS, MAX_SUGGESTED, Problem, Severity, collect

# Maximum characters of the message of a condition in the cluster (the API server accepts 32,768 bytes of UTF-8).
MESSAGE_CAP = 8_000
# Characters kept at each end of the message of one problem: it may quote a whole string of the author.
_END = 6_000


class Report:
    """Collects the problems of one build; the current step sets a prefix and a path."""

    def __init__(self) -> None:
        self.problems: list[Problem] = []
        # For a problem inside an expression: its position in the author's string.
        self.offsets: dict[Problem, int] = {}
        # Messages without the prefixes that the path says already.
        self.short_messages: dict[Problem, str] = {}
        self._prefix = ""
        self._kept = ""
        self._path: Path = ()

    @property
    def is_full(self) -> bool:
        """Whether further problems are counted, but not kept."""
        return len(self.problems) > MAX_PROBLEMS

    @property
    def suggests(self) -> bool:
        """Whether suggestions are still searched for."""
        return len(self.problems) < MAX_SUGGESTED

    @contextmanager
    def step(self, prefix: str = "", path: Path = (), *, kept: str = "") -> Iterator[None]:
        """Puts a prefix before the messages, and a path before the paths, of the problems that are added inside.

        `kept` is a prefix that says more than the path; a short message has it, too.
        """
        before = self._prefix, self._kept, self._path
        self._prefix += kept + prefix
        self._kept += kept
        self._path += path
        try:
            yield
        finally:
            self._prefix, self._kept, self._path = before

    def add(
        self,
        code: str,
        message: str,
        path: Path = (),
        *,
        suggestion: str | None = None,
        offset: int | None = None,
        severity: Severity = Severity.ERROR,
    ) -> None:
        """Add one problem; `offset` is its position in the author's string at the path.

        A warning has no prefix, because no step has failed.
        """
        prefix = self._prefix if severity is Severity.ERROR else ""
        problem = Problem(
            code=code,
            message=_without_middle(prefix + message),
            path=self._path + path,
            severity=severity,
            suggestion=suggestion,
        )
        collect(self.problems, problem)
        if not self.is_full:
            self.short_messages[problem] = _without_middle(self._kept + message)
        if offset is not None and not self.is_full:
            self.offsets[problem] = offset


def without_place(message: str, resource: str, field: str) -> str:
    """A short message without the resource and the field that its path names, wherever the text mentions them."""
    for said in (
        *(f' in resource "{resource}"', f'node "{resource}": ', f'resource "{resource}": ', f'resource "{resource}" '),
        *((f' at path "{field}"',) if field else ()),
    ):
        message = message.replace(said, "")
    return _POSITION.sub("", message)


# Before the text of a CEL error. The place of the problem is more precise.
_POSITION: Final = re.compile(r"^ERROR: <input>:\d+:\d+: ")


def condition_message(problems: Sequence[Problem], *, cap: int = MESSAGE_CAP) -> str:
    """The text of a cluster condition: kro's text of the first error with its path, then one error per line."""
    errors = [problem for problem in problems if problem.severity is Severity.ERROR]
    if not errors:
        return ""
    text = _clipped(_first(errors[0]), cap)
    for place, problem in enumerate(errors[1:], 1):
        line = f"\n{problem.where}: {_hinted(problem)}" if problem.path else f"\n{_hinted(problem)}"
        more = f"\nand {len(errors) - place} more problems"
        if len(text) + len(line) > cap - (len(more) if place < len(errors) - 1 else 0):
            return text + more if len(text) + len(more) <= cap else text
        text += line
    return text


def _first(problem: Problem) -> str:
    """The text of the first error. Clients compare the start of the message, so the path comes last."""
    text = _hinted(problem)
    if not problem.path:
        return text
    return f"{text}\nat {problem.where}" if "\n" in text else f"{text} (at {problem.where})"


def _hinted(problem: Problem) -> str:
    return f'{problem.message} (did you mean "{problem.suggestion}"?)' if problem.suggestion else problem.message


def _clipped(text: str, cap: int) -> str:
    return text if len(text) <= cap else text[: max(0, cap - 3)] + "..."


def _without_middle(text: str) -> str:
    return text if len(text) <= 2 * _END else f"{text[:_END]}...{text[-_END:]}"


def names(found: Iterable[str]) -> str:
    """A list as Go prints it: `[a b]`."""
    return f"[{' '.join(found)}]"
