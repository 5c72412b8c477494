"""How much of what others write is in memory: room for objects, bounded in bytes.

Whoever may create objects decides how large they are and how many, and as Python data one takes up to 24 times the
bytes of its JSON. Small ones are held as they are, as long as there are not too many; large ones, and what comes after,
as compressed JSON. When that has no room either nothing is held, and whoever needs the object asks the API server.

An object may take an eighth of the room that is left, so that large ones leave some for the small ones of others.
"""

import zlib
from typing import Final

import orjson

from kroasync.model.objects import Obj

# Above this an object is compressed, which takes some milliseconds a megabyte.
LARGE_BYTES: Final = 32 << 10
LOOSE_BYTES: Final = 10 << 20
PACKED_BYTES: Final = 64 << 20
_SHARE: Final = 8


class Room:
    """Bytes of JSON that may be held `loose`, and `packed`: compressed."""

    def __init__(self, *, loose: int = LOOSE_BYTES, packed: int = PACKED_BYTES, large: int = LARGE_BYTES) -> None:
        self.loose = loose
        self.packed = packed
        self._large = large

    def hold(self, obj: Obj) -> "Held | None":
        """The object from now on, as long as somebody has what is returned; None without room for it."""
        try:
            content = orjson.dumps(obj)
        except (TypeError, RecursionError):
            return None  # nested more deeply than JSON is written
        size = len(content)
        if size <= self._large and size <= self.loose // _SHARE:
            return Held(self, obj, size)
        packed = zlib.compress(content, 1)
        return Held(self, packed, len(packed)) if len(packed) <= self.packed // _SHARE else None


class EndlessRoom(Room):
    """For what only those write who are trusted with everything: held as it is, however large."""

    def hold(self, obj: Obj) -> "Held":
        return Held(self, obj, 0)


class Held:
    """An object in a Room, which gets its place back when nobody has this any more."""

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
        """The object; made anew each time where it is compressed."""
        content = self._content
        found: Obj = orjson.loads(zlib.decompress(content)) if isinstance(content, bytes) else content
        return found
