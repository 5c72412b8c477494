"""Bound the memory for objects of other people, in bytes.

Anybody who may create objects decides how many there are and how large they are. As Python data an object takes up to
24 times the bytes of its JSON. A room holds small objects as they are until the loose bytes are used up. It holds large
objects, and small ones after that, as compressed JSON. If there is no room for that either, the room holds nothing, and
the reader asks the API server for the object.

One object may take an eighth of the free room, so large objects leave room for the small objects of others.
"""

import zlib
from typing import Final

import orjson

from kroasync.model.objects import Obj

# An object above this size is compressed, which takes some milliseconds a megabyte.
LARGE_BYTES: Final = 32 << 10
LOOSE_BYTES: Final = 10 << 20
PACKED_BYTES: Final = 64 << 20
_SHARE: Final = 8


class Room:
    """Free bytes: `loose` for plain objects, `packed` for compressed ones."""

    def __init__(self, *, loose: int = LOOSE_BYTES, packed: int = PACKED_BYTES, large: int = LARGE_BYTES) -> None:
        self.loose = loose
        self.packed = packed
        self._large = large

    def hold(self, obj: Obj) -> "Held | None":
        """Hold the object for as long as the caller keeps the result; None if there is no room for it."""
        try:
            content = orjson.dumps(obj)
        except (TypeError, RecursionError):
            return None  # orjson cannot write an object that nests so deeply
        size = len(content)
        if size <= self._large and size <= self.loose // _SHARE:
            return Held(self, obj, size)
        packed = zlib.compress(content, 1)
        return Held(self, packed, len(packed)) if len(packed) <= self.packed // _SHARE else None


class EndlessRoom(Room):
    """Room without a limit, for objects that only trusted administrators can write."""

    def hold(self, obj: Obj) -> "Held":
        return Held(self, obj, 0)


class Held:
    """An object in a Room. The Room gets its bytes back when this is garbage-collected."""

    __slots__ = ("_content", "_room", "_size")

    def __init__(self, room: Room, content: Obj | bytes, size: int) -> None:
        self._room = room
        self._content = content
        self._size = size
        self._take(-size)

    def __del__(self) -> None:
        self._take(self._size)

    def _take(self, size: int) -> None:
        if self.is_packed:
            self._room.packed += size
        else:
            self._room.loose += size

    @property
    def is_packed(self) -> bool:
        return type(self._content) is bytes

    def open(self) -> Obj:
        """The object; a compressed one is decompressed anew each time."""
        content = self._content
        found: Obj = orjson.loads(zlib.decompress(content)) if isinstance(content, bytes) else content
        return found
