"""The cost of searching for a text in another text.

Python's search is linear only for long texts. In a shorter text, it may compare the whole part at every position. A
search from the end always may, so `last_position` searches the reversed text from the start.
"""

from typing import Final

from kroasync.cel.meter import CHARS_PER_STEP, Meter

# The search is linear in texts of at least this length (CPython, Objects/stringlib/fastsearch.h).
_LINEAR_FROM: Final = 30_000
# How many characters are compared one by one in a step.
_COMPARED_PER_STEP: Final = 512


def spend_search(size: int, part: str, budget: Meter) -> None:
    """Pay for finding or counting a part in a text of a given size."""
    wanted = len(part)
    steps = (size + wanted) // CHARS_PER_STEP
    if wanted <= size < _LINEAR_FROM:
        steps += (size - wanted) * wanted // _COMPARED_PER_STEP
    if steps:
        budget.spend(steps)


def last_position(text: str, part: str) -> int:
    """The last position of a part, or -1; like `str.rfind`, but in linear time."""
    if part not in text:
        return -1
    return len(text) - len(part) - text[::-1].find(part[::-1])
