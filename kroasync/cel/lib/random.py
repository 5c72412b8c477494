"""kro's seeded random values: a seed gives the same value forever, so reconciling changes nothing.

The values come from the SHA-256 digest of the seed, four bytes (strings) or eight bytes (integers) at a time.
"""

import hashlib
from typing import Final

from kroasync.cel.decls import LibraryBuilder
from kroasync.cel.errors import ValueError_
from kroasync.cel.meter import CHARS_PER_STEP, Meter

_ALPHABET: Final = "0123456789abcdefghijklmnopqrstuvwxyz"

_library = LibraryBuilder("random", doc="Values derived from a seed.")


@_library.fn(
    "random.seededString(int, string) string",
    example="random.seededString(10, 'test-seed') == '5czheg3o5c'",
    doc="A string of that many lower-case letters and digits. It repeats after eight characters, as in kro.",
    metered=True,
)
def _seeded_string(length: int, seed: str, *, budget: Meter) -> str:
    if length <= 0:
        raise ValueError_("random.seededString length must be positive")
    budget.spend(16 + length + len(seed) // CHARS_PER_STEP)
    digest = _digest(seed)
    word = "".join(_ALPHABET[int.from_bytes(digest[at : at + 4]) % 36] for at in range(0, 32, 4))
    return (word * (length // 8 + 1))[:length]


@_library.fn(
    "random.seededInt(int, int, string) int",
    example="random.seededInt(0, 100, 'test-seed') == 56",
    doc="An integer that is at least the first bound and less than the second.",
    weight=32,
)
def _seeded_int(low: int, high: int, seed: str) -> int:
    if low >= high:
        raise ValueError_("random.seededInt min must be less than max")
    return int.from_bytes(_digest(seed)[:8]) % (high - low) + low


def _digest(seed: str) -> bytes:
    return hashlib.sha256(seed.encode(errors="replace")).digest()


LIBRARY: Final = _library.build()
