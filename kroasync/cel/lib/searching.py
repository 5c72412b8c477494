"""What it costs to look for a text in another.

Python's search is linear for long texts only; in others it may compare every place with the whole part. Looking from
the end it always may, so that is done by looking for the reverse from the start.
"""

from typing import Final

from kroasync.cel.meter import CHARS_PER_STEP, Meter

# From this length of the text on the search is linear (CPython, Objects/stringlib/fastsearch.h).
_LINEAR_FROM: Final = 30_000
# Characters that are compared one by one in a step.
_COMPARED_PER_STEP: Final = 512


def spend_search(size: int, part: str, budget: Meter) -> None:
    """Pay for finding or counting a part in a text of some size."""
    wanted = len(part)
    steps = (size + wanted) // CHARS_PER_STEP
    if wanted <= size < _LINEAR_FROM:
        steps += (size - wanted) * wanted // _COMPARED_PER_STEP
    if steps:
        budget.spend(steps)


def last_position(text: str, part: str) -> int:
    """Where a part last occurs, or -1; as `str.rfind`, in linear time."""
    if part not in text:
        return -1
    return len(text) - len(part) - text[::-1].find(part[::-1])
