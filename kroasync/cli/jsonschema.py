"""OpenAPI v3 schemas as JSON Schema (draft 7), the form that editors support."""

from typing import Any, Final

from kroasync.model.definition import Definition
from kroasync.model.objects import Obj
from kroasync.model.policies import FORMS, MAX_PRUNE, PERCENTAGE
from kroasync.schema import name_rules
from kroasync.schema.structural import INT_OR_STRING, PRESERVE

_DIALECT: Final = "http://json-schema.org/draft-07/schema#"
_KEPT: Final = (
    "description",
    "default",
    "enum",
    "format",
    "minimum",
    "maximum",
    "minLength",
    "maxLength",
    "minItems",
    "maxItems",
    "minProperties",
    "maxProperties",
    "pattern",
    "uniqueItems",
    "required",
)


def instance_schema(definition: Definition, spec_schema: Obj) -> Obj:
    """The schema of instances of a definition. The status may have any fields, because the controller writes it."""
    spec = convert(spec_schema)
    name, _ = name_rules.read(definition.name_validation)
    return document(
        title=f"{definition.kind} ({definition.group}/{definition.api_version})",
        api_version=f"{definition.group}/{definition.api_version}",
        kinds=[definition.kind],
        name=convert(name),
        spec=spec,
        spec_required=bool(spec_schema.get("required")),
    )


def definition_spec(spec_schema: Obj) -> Obj:
    """The schema of the spec of definitions. It refuses the policies that the CRD leaves to the controller."""
    spec = convert(spec_schema)
    for owner in (spec, spec["properties"]["resources"]["items"]):
        policy = owner["properties"]["policy"]
        policy["additionalProperties"] = False
        for name, values in FORMS.items():
            policy["properties"][name]["pattern"] = rf"^({'|'.join(values)})$|^\$\{{"
        policy["properties"][MAX_PRUNE] |= {"minimum": 0, "pattern": f"^({PERCENTAGE})$"}
    return spec


def document(*, title: str, api_version: str, kinds: list[str], name: Obj, spec: Obj, spec_required: bool) -> Obj:
    """A whole Kubernetes object as JSON Schema."""
    return {
        "$schema": _DIALECT,
        "title": title,
        "type": "object",
        "required": ["apiVersion", "kind", "metadata", *(["spec"] if spec_required else [])],
        "properties": {
            "apiVersion": {"const": api_version},
            "kind": {"enum": kinds},
            "metadata": {
                "type": "object",
                "properties": {
                    "name": name,
                    "generateName": {"type": "string"},
                    "namespace": {"type": "string"},
                    "labels": {"type": "object", "additionalProperties": {"type": "string"}},
                    "annotations": {"type": "object", "additionalProperties": {"type": "string"}},
                },
            },
            "spec": spec,
            "status": {"type": "object"},
        },
        "additionalProperties": False,
    }


def convert(schema: Obj) -> Obj:
    """One schema; unknown fields are errors unless the schema keeps them."""
    found: Obj = {key: schema[key] for key in _KEPT if key in schema}
    if schema.get(INT_OR_STRING):
        return {**found, "type": ["integer", "string"]}
    for key in ("oneOf", "anyOf", "allOf"):
        if key in schema:
            found[key] = [convert(branch) for branch in schema[key]]
    kind = schema.get("type")
    if kind is not None:
        found["type"] = [kind, "null"] if schema.get("nullable") else kind
    if isinstance(schema.get("items"), dict):
        found["items"] = convert(schema["items"])
    additional: Any = schema.get("additionalProperties")
    if schema.get("properties"):
        found["properties"] = {name: convert(one) for name, one in schema["properties"].items()}
    if isinstance(additional, dict):
        found["additionalProperties"] = convert(additional)
    elif kind == "object" and not additional and not schema.get(PRESERVE):
        found["additionalProperties"] = False
    return found
