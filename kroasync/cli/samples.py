"""A sample value of a schema: the minimum that the schema allows, with its defaults and the first value of enums."""

from typing import Any, Final

from kroasync.model.definition import Definition
from kroasync.model.objects import Obj
from kroasync.schema import name_rules
from kroasync.schema.structural import INT_OR_STRING

_MAX_ITEMS: Final = 10


def sample_instance(definition: Definition, spec_schema: Obj) -> Obj:
    """An instance of the definition's kind, for editing."""
    metadata: Obj = {"name": _name(definition)}
    if definition.namespaced:
        metadata["namespace"] = "default"
    obj: Obj = {
        "apiVersion": f"{definition.group}/{definition.api_version}",
        "kind": definition.kind,
        "metadata": metadata,
    }
    spec = sample(spec_schema)
    return {**obj, "spec": spec} if spec else obj


def _name(definition: Definition) -> str:
    """A name that speaks for itself, if the definition lets instances have any name."""
    rules, _ = name_rules.read(definition.name_validation)
    return str(sample(rules)) if len(rules) > 1 else f"{definition.kind.lower()}-sample"


def sample(schema: Obj) -> Any:
    """A value of the schema; patterns are ignored."""
    if "default" in schema and schema["default"] != {}:
        return schema["default"]
    if schema.get("enum"):
        return schema["enum"][0]
    if schema.get(INT_OR_STRING):
        return 1
    for key in ("oneOf", "anyOf"):
        if schema.get(key) and "type" not in schema:
            return sample(schema[key][0])
    kind = schema.get("type")
    if kind in ("integer", "number"):
        return _number(schema)
    if kind == "boolean":
        return False
    if kind == "string":
        return _text(schema)
    if kind == "array":
        items = sample(schema.get("items") or {})
        return [items] * min(max(1, schema.get("minItems", 1)), _MAX_ITEMS)
    properties = schema.get("properties") or {}
    if not properties and isinstance(schema.get("additionalProperties"), dict):
        return {"key": sample(schema["additionalProperties"])}
    return {name: sample(found) for name, found in properties.items()} if kind == "object" or properties else None


def _number(schema: Obj) -> int | float:
    if "minimum" in schema:
        low = schema["minimum"]
        return low if schema.get("type") == "number" or low == int(low) else int(low) + 1
    return min(0, schema["maximum"]) if "maximum" in schema else 0


def _text(schema: Obj) -> str:
    text = "example"
    shortest, longest = int(schema.get("minLength", 0)), int(schema.get("maxLength", len(text)))
    return (text * (shortest // len(text) + 1))[: max(shortest, min(len(text), longest))]
