"""Field ownership of server-side apply (KEP-555), on plain JSON.

A field set is a set of paths, with the steps of `managedFields` (`f:name`, `k:{"name":"a"}`, `v:"x"`, `.`). The schema
defines which value is a single field, and which keys identify the items of a list. Without a schema, maps are granular
and lists are single fields.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, TypeAlias

import orjson

Path: TypeAlias = tuple[str, ...]
Schema: TypeAlias = Mapping[str, Any] | None

_MEMBER = "."
_NOT_OWNED = frozenset(
    {
        "name",
        "namespace",
        "uid",
        "resourceVersion",
        "creationTimestamp",
        "generation",
        "deletionTimestamp",
        "deletionGracePeriodSeconds",
        "managedFields",
        "selfLink",
        "generateName",
    }
)
_META_SCHEMA: dict[str, Any] = {
    "properties": {
        "finalizers": {"x-kubernetes-list-type": "set"},
        "ownerReferences": {
            "x-kubernetes-list-type": "map",
            "x-kubernetes-list-map-keys": ["uid"],
            "items": {"x-kubernetes-map-type": "atomic"},
        },
    }
}


def of_object(obj: Mapping[str, Any], schema: Schema) -> dict[Path, Any]:
    """Every field of an object that a manager can own, with its value."""
    found: dict[Path, Any] = {}
    for name, value in obj.items():
        if name in ("apiVersion", "kind"):
            continue
        if name == "metadata":
            owned = {key: item for key, item in value.items() if key not in _NOT_OWNED}
            if owned:
                found.update(_leaves(owned, _META_SCHEMA, ("f:metadata",)))
            continue
        found.update(_leaves(value, _property(schema, name), (f"f:{name}",)))
    return found


def merge(live: Any, applied: Any, schema: Schema) -> Any:
    """The result of applying `applied` to `live`."""
    if isinstance(applied, dict) and isinstance(live, dict) and not _is_atomic_map(schema):
        merged = dict(live)
        for name, value in applied.items():
            merged[name] = merge(live.get(name), value, _property(schema, name))
        return merged
    kind = _list_type(schema)
    if isinstance(applied, list) and isinstance(live, list):
        if kind == "map":
            return _merge_items(live, applied, schema)
        if kind == "set":
            return [*live, *(item for item in applied if item not in live)]
    return applied


def merge_object(live: Mapping[str, Any], applied: Mapping[str, Any], schema: Schema) -> dict[str, Any]:
    """`merge` for whole objects: metadata has its own schema."""
    merged: dict[str, Any] = merge(dict(live), {k: v for k, v in applied.items() if k != "metadata"}, schema)
    merged["metadata"] = merge(live["metadata"], applied.get("metadata", {}), _META_SCHEMA)
    return merged


def remove(obj: dict[str, Any], paths: Iterable[Path]) -> dict[str, Any]:
    """The object without these fields, and without the parents that become empty."""
    result: Any = obj
    for path in sorted(paths, key=len, reverse=True):
        result = _without(result, path)
    return result if isinstance(result, dict) else {}


def encoded(paths: Iterable[Path]) -> dict[str, Any]:
    """The paths as `fieldsV1`."""
    root: dict[str, Any] = {}
    for path in sorted(paths):
        node = root
        for step in path:
            node = node.setdefault(step, {})
    return root


def text(path: Path) -> str:
    """A path as conflict messages write it: `.spec.ports[port=80].name`."""
    written = ""
    for step in path:
        if step.startswith("f:"):
            written += f".{step[2:]}"
        elif step.startswith("k:"):
            keys = orjson.loads(step[2:])
            written += "[" + ",".join(f"{k}={orjson.dumps(v).decode()}" for k, v in keys.items()) + "]"
        elif step.startswith("v:"):
            written += f"[={step[2:]}]"
    return written


def _leaves(value: Any, schema: Schema, path: Path) -> Iterator[tuple[Path, Any]]:
    if isinstance(value, dict) and value and not _is_atomic_map(schema):
        for name, item in value.items():
            yield from _leaves(item, _property(schema, name), (*path, f"f:{name}"))
        return
    if isinstance(value, list) and value:
        kind = _list_type(schema)
        if kind == "map":
            items = (schema or {}).get("items")
            for item in value:
                at = (*path, _step(item, schema))
                yield (*at, _MEMBER), True
                if _is_atomic_map(items):
                    yield at, item
                else:
                    for name, below in item.items():
                        yield from _leaves(below, _property(items, name), (*at, f"f:{name}"))
            return
        if kind == "set":
            for item in value:
                yield (*path, f"v:{orjson.dumps(item).decode()}"), True
            return
    yield path, value


def _merge_items(live: list[Any], applied: list[Any], schema: Schema) -> list[Any]:
    wanted = {_step(item, schema): item for item in applied}
    items = (schema or {}).get("items")
    merged = []
    for item in live:
        over = wanted.pop(_step(item, schema), None)
        merged.append(item if over is None else merge(item, over, items))
    return [*merged, *wanted.values()]


def _step(item: Any, schema: Schema) -> str:
    schema = schema or {}
    properties = (schema.get("items") or {}).get("properties") or {}
    keys = {
        key: item.get(key, (properties.get(key) or {}).get("default"))
        for key in schema.get("x-kubernetes-list-map-keys", ())
    }
    return "k:" + orjson.dumps(keys, option=orjson.OPT_SORT_KEYS).decode()


def _without(value: Any, path: Path) -> Any:
    step, rest = path[0], path[1:]
    if step.startswith("f:"):
        name = step[2:]
        if not isinstance(value, dict) or name not in value:
            return value
        if not rest:
            return {k: v for k, v in value.items() if k != name}
        below = _without(value[name], rest)
        if below in ({}, []) and value[name] not in ({}, []):
            return {k: v for k, v in value.items() if k != name}
        return {**value, name: below}
    if not isinstance(value, list):
        return value
    if step.startswith("v:"):
        gone = orjson.loads(step[2:])
        return [item for item in value if item != gone]
    keys = orjson.loads(step[2:])
    kept = []
    for item in value:
        if not all(item.get(key, wanted) == wanted for key, wanted in keys.items()):
            kept.append(item)
        elif rest and rest != (_MEMBER,):
            kept.append(_without(item, rest))
    return kept


def _property(schema: Schema, name: str) -> Schema:
    if schema is None:
        return None
    found = (schema.get("properties") or {}).get(name)
    if found is None:
        found = schema.get("additionalProperties")
    return found if isinstance(found, Mapping) else None


def _is_atomic_map(schema: Schema) -> bool:
    return schema is not None and schema.get("x-kubernetes-map-type") == "atomic"


def _list_type(schema: Schema) -> str:
    return str((schema or {}).get("x-kubernetes-list-type", "atomic"))
