"""Long work in steps: a generator that yields where others may run, and returns the result.

The code that decides stays pure. Its caller determines what happens between two steps.
"""

from collections.abc import Generator
from typing import TypeAlias, TypeVar

T = TypeVar("T")
Steps: TypeAlias = Generator[None, None, T]


def drained(steps: Steps[T]) -> T:
    """Run all steps without a pause; raises what they raise."""
    while True:
        try:
            next(steps)
        except StopIteration as end:
            value: T = end.value
            return value
