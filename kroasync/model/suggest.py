"""The known word that an author probably meant. The work is bounded: long words are not searched for, and long lists
are not searched completely."""

from collections.abc import Iterable
from itertools import islice
from typing import Final

MAX_WORD: Final = 64
MAX_CANDIDATES: Final = 2000
MAX_COMPARED: Final = 20_000
"""Maximum number of pairs of characters that are compared for one word: some 5 ms."""


def did_you_mean(word: str, candidates: Iterable[str]) -> str | None:
    """The candidate closest to `word`, None if none is close.

    A candidate is close if its edit distance is at most a third of the word's length (at least 1), or if only the case
    differs. Of equally close candidates, the first in alphabetical order is taken.
    """
    if not word or len(word) > MAX_WORD:
        return None
    best: tuple[int, str] | None = None
    compared = 0
    for candidate in sorted(islice(candidates, MAX_CANDIDATES)):
        if candidate == word or not candidate or len(candidate) > MAX_WORD:
            continue
        limit = max(1, len(word) // 3)
        if best is not None:
            limit = min(limit, best[0] - 1)
        if abs(len(word) - len(candidate)) > limit:
            continue
        compared += len(word) * len(candidate)
        if compared > MAX_COMPARED:
            break
        distance = 0 if candidate.lower() == word.lower() else _distance(word.lower(), candidate.lower(), limit)
        if distance <= limit:
            best = (distance, candidate)
        if best is not None and best[0] == 0:
            break
    return best[1] if best else None


def _distance(left: str, right: str, limit: int) -> int:
    """The edit distance, where swapped neighbours count as one. The result is `limit + 1` for every larger distance."""
    before: list[int] = []
    row = list(range(len(right) + 1))
    for i, a in enumerate(left, 1):
        above, row = row, [i]
        for j, b in enumerate(right, 1):
            cost = min(above[j] + 1, row[j - 1] + 1, above[j - 1] + (a != b))
            if i > 1 and j > 1 and a == right[j - 2] and left[i - 2] == b:
                cost = min(cost, before[j - 2] + 1)
            row.append(cost)
        if min(row) > limit:
            return limit + 1
        before = above
    return min(row[-1], limit + 1)
