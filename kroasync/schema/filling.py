"""What the API server fills into an object before it checks it: the defaults of the schema."""

from collections.abc import Mapping
from typing import Any


def defaulted(value: Any, schema: Mapping[str, Any]) -> Any:
    """A copy of `value` with the defaults of a structural schema, as the API server fills them in."""
    if isinstance(value, dict):
        properties = schema.get("properties") or {}
        filled = {k: v for k, v in value.items() if v is not None or "default" not in properties.get(k, {})}
        for name, below in properties.items():
            if name not in filled and "default" in below:
                filled[name] = below["default"]
        others = schema.get("additionalProperties")
        rest = others if isinstance(others, dict) else {}
        return {k: defaulted(v, properties.get(k, rest)) for k, v in filled.items()}
    if isinstance(value, list):
        items = schema.get("items")
        return [defaulted(v, items) for v in value] if isinstance(items, dict) else value
    return value
