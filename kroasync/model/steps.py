"""Long work in steps: a generator that yields where others may run, and returns what came of it.

What decides stays pure; who runs it says what happens between two steps.
"""

from collections.abc import Generator
from typing import TypeAlias, TypeVar

T = TypeVar("T")
Steps: TypeAlias = Generator[None, None, T]


def drained(steps: Steps[T]) -> T:
    """All steps at once; raises what they raise."""
    while True:
        try:
            next(steps)
        except StopIteration as end:
            value: T = end.value
            return value
