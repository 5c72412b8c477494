"""Field paths: `spec.containers[0]["my.field"]` in text, a tuple of names and indices in data.

`get` reads; `set_at` and `delete_at` return a changed copy that shares every untouched branch with its input.
"""

import re
from collections.abc import Iterable, Iterator
from typing import Any, Final, TypeAlias

Path: TypeAlias = tuple[str | int, ...]

MAX_INDEX: Final = 1_000_000
"""The largest list index a path may have."""

_MISSING: Final = object()
_BARE: Final = re.compile(r"[^.\[]*")
_INDEX: Final = re.compile(r"[0-9]+", re.ASCII)


class PathError(ValueError):
    """A text is not a field path, or a path does not match an object."""


def build(path: Iterable[str | int]) -> str:
    """The text of a path. A name that is empty or contains a dot is written `["name"]`, other names are bare."""
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part}]"
        elif part == "" or "." in part:
            text += f'["{part}"]'
        else:
            text += f".{part}" if text else part
    return text


def parse(text: str) -> Path:
    """The path of a text, the inverse of `build`; raises PathError, which names the 0-based position."""
    parts: list[str | int] = []
    pos = 0
    while pos < len(text):
        if text.startswith('["', pos):
            name, pos = _quoted(text, pos)
            parts.append(name)
        elif text[pos] != "[":
            name = _BARE.match(text, pos).group()  # type: ignore[union-attr]  # the pattern matches the empty text
            if not name:
                raise PathError(f"empty field name at position {pos}")
            parts.append(name)
            pos += len(name)
        if text.startswith("[", pos) and not text.startswith('["', pos):
            index, pos = _index(text, pos)
            parts.append(index)
        if text.startswith(".", pos):
            pos += 1
    return tuple(parts)


def _quoted(text: str, pos: int) -> tuple[str, int]:
    end = text.find('"', pos + 2)
    if end < 0:
        raise PathError(f"unterminated quoted string starting at position {pos}")
    if not text.startswith("]", end + 1):
        raise PathError(f"expected closing bracket after quote at position {end + 1}")
    return text[pos + 2 : end], end + 2


def _index(text: str, pos: int) -> tuple[int, int]:
    end = text.find("]", pos)
    if end < 0:
        raise PathError(f"unterminated array index at position {pos}")
    digits = text[pos + 1 : end]
    if not _INDEX.fullmatch(digits) or len(digits) > len(str(MAX_INDEX)) or int(digits) > MAX_INDEX:
        raise PathError(f"invalid array index '{digits}' at position {pos}")
    return int(digits), end + 1


def get(obj: Any, path: Iterable[str | int], default: Any = None) -> Any:
    """The value at a path; `default` if the path does not exist in the object."""
    for part in path:
        obj = _step(obj, part)
        if obj is _MISSING:
            return default
    return obj


def has(obj: Any, path: Iterable[str | int]) -> bool:
    """Whether the path leads to a value, including null."""
    return get(obj, path, _MISSING) is not _MISSING


def _step(obj: Any, part: str | int) -> Any:
    if isinstance(obj, dict):
        return obj.get(part, _MISSING)
    if isinstance(obj, list) and isinstance(part, int) and 0 <= part < len(obj):
        return obj[part]
    return _MISSING


def set_at(obj: Any, path: Path, value: Any) -> Any:
    """A copy with `value` at the path. Missing and null parents are created; an index may append one item.

    Raises PathError if a parent has another type or an index is beyond the end.
    """
    if not path:
        return value
    part, rest = path[0], path[1:]
    if isinstance(part, int):
        items = list(_as(list, obj, path))
        if part > len(items):
            raise PathError(f"index {part} is beyond the end of a list of {len(items)}")
        child = items[part] if part < len(items) else None
        items[part : part + 1] = [set_at(child, rest, value)]
        return items
    fields = dict(_as(dict, obj, path))
    fields[part] = set_at(fields.get(part), rest, value)
    return fields


def _as(kind: type, obj: Any, path: Path) -> Any:
    if obj is None:
        return kind()
    if not isinstance(obj, kind):
        wanted = "a list" if kind is list else "an object"
        raise PathError(f"expected {wanted} at {build(path)}, found {type(obj).__name__}")
    return obj


def delete_at(obj: Any, path: Path) -> Any:
    """A copy without the field or item at the path; the same object if there is none."""
    if not path or not has(obj, path):
        return obj
    part, rest = path[0], path[1:]
    copy: Any = list(obj) if isinstance(obj, list) else dict(obj)
    if rest:
        copy[part] = delete_at(obj[part], rest)
    else:
        del copy[part]
    return copy


def leaves(obj: Any, path: Path = ()) -> Iterator[tuple[Path, Any]]:
    """Every scalar, empty list and empty object with its path, in document order."""
    stack: list[tuple[Path, Any]] = [(path, obj)]
    while stack:
        here, value = stack.pop()
        if isinstance(value, dict) and value:
            stack.extend(((*here, key), item) for key, item in reversed(value.items()))
        elif isinstance(value, list) and value:
            stack.extend(((*here, i), value[i]) for i in range(len(value) - 1, -1, -1))
        else:
            yield here, value


def counts_more(value: Any, limit: int) -> bool:
    """Whether lists and objects contain more than `limit` values; counting stops at the limit."""
    count = 1
    stack = [value]
    while stack:
        item = stack.pop()
        if isinstance(item, dict | list):
            count += len(item)
            if count > limit:
                return True
            stack.extend(item.values() if isinstance(item, dict) else item)
    return False


_CONTAINERS: Final = (dict, list)


def nests_deeper(value: Any, limit: int) -> bool:
    """Whether lists and objects nest more than `limit` levels; checked before any recursion."""
    level = [value] if isinstance(value, dict | list) else []
    for _ in range(limit):
        if not level:
            return False
        # Only containers are kept, because this runs for every object and most values are not containers.
        level = [
            child
            for item in level
            for child in (item.values() if isinstance(item, dict) else item)
            if isinstance(child, _CONTAINERS)
        ]
    return any(map(len, level))
