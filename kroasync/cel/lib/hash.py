"""kro's digests: `hash.sha256("x")` and others return raw bytes; `base64.encode` converts them to text."""

import hashlib
from typing import Final

from kroasync.cel.decls import LibraryBuilder

_FNV64_OFFSET: Final = 0xCBF29CE484222325
_FNV64_PRIME: Final = 0x100000001B3

# How many characters Python hashes in one step where it loops over the bytes; a character has up to four bytes.
_HASHED_BYTE_BY_BYTE: Final = 2

_library = LibraryBuilder("hash", doc="Digests of text (as UTF-8).")


@_library.fn(
    "hash.fnv64a(string) bytes",
    example="base64.encode(hash.fnv64a('hello world')) == 'd5pl5wI80uc='",
    doc="The 64-bit FNV-1a hash, 8 bytes, most significant first.",
    rate=_HASHED_BYTE_BY_BYTE,
    weight=32,
)
def _fnv64a(text: str) -> bytes:
    value = _FNV64_OFFSET
    for byte in _bytes(text):
        value = ((value ^ byte) * _FNV64_PRIME) & 0xFFFFFFFFFFFFFFFF
    return value.to_bytes(8)


@_library.fn(
    "hash.sha256(string) bytes", example="size(hash.sha256('x')) == 32", doc="The SHA-256 digest, 32 bytes.", weight=32
)
def _sha256(text: str) -> bytes:
    return hashlib.sha256(_bytes(text)).digest()


@_library.fn("hash.md5(string) bytes", example="size(hash.md5('x')) == 16", doc="The MD5 digest, 16 bytes.", weight=32)
def _md5(text: str) -> bytes:
    return hashlib.md5(_bytes(text), usedforsecurity=False).digest()


def _bytes(text: str) -> bytes:
    return text.encode(errors="replace")


LIBRARY: Final = _library.build()
