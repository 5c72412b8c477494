"""Converts older forms of a definition to the current form.

The module covers the forms that were published under the name ResourceGroup: symphony's form (group
x.symphony.k8s.aws, with kind and apiVersion beside `definition`), the renames before kro v0.1.0, and the short-lived
flat externalRef. Current manifests are returned unchanged.
"""

import re
from typing import Any, Final

from kroasync.model import names
from kroasync.model.objects import Obj

SYMPHONY_API_VERSION: Final = "x.symphony.k8s.aws/v1alpha1"

_RESOURCE_RENAMES: Final = (
    ("name", "id"),
    ("definition", "template"),
    ("readyOn", "readyWhen"),
    ("conditional", "includeWhen"),
    ("conditionals", "includeWhen"),
    ("conditions", "includeWhen"),
)
_TOKEN: Final = re.compile(r'"(?:\\.|[^"\\])*"|\'(?:\\.|[^\'\\])*\'|[A-Za-z_]\w*|.', re.ASCII | re.DOTALL)
_OWN: Final = frozenset({"spec", "status"})
_INSTANCE: Final = frozenset({"spec", "metadata"})


def convert(obj: Obj) -> Obj:
    """The definition in the current form. The input is not modified, and its unchanged parts are shared.

    Values of unexpected types are not changed, so that the structural checks report them.
    """
    spec = obj.get("spec")
    if not isinstance(spec, dict):
        return obj
    changed = dict(spec)
    if obj.get("kind") == names.RESOURCE_GROUP:
        _move_schema(changed)
    symphony = obj.get("apiVersion") == SYMPHONY_API_VERSION
    resources = changed.get("resources")
    if isinstance(resources, list):
        rename = obj.get("kind") == names.RESOURCE_GROUP
        changed["resources"] = [_resource(r, rename, symphony) if isinstance(r, dict) else r for r in resources]
    schema = changed.get("schema")
    if symphony and isinstance(schema, dict) and "status" in schema:
        changed["schema"] = {**schema, "status": _rewrite(schema["status"], _INSTANCE, "schema")}
    if symphony and "policy" in changed:
        changed["policy"] = _rewrite(changed["policy"], _INSTANCE, "schema")
    return {**obj, "spec": changed}


def _move_schema(spec: Obj) -> None:
    """`spec.kind`, `spec.apiVersion` and `spec.definition` into `spec.schema`, in the caller's own copy."""
    if "definition" not in spec or "schema" in spec:
        return
    definition = spec.pop("definition")
    if not isinstance(definition, dict):
        spec["schema"] = definition
        return
    head = {key: spec.pop(key) for key in ("kind", "apiVersion") if key in spec}
    spec["schema"] = {**head, **definition}
    spec.pop("serviceAccounts", None)


def _resource(resource: Obj, rename: bool, symphony: bool) -> Obj:
    changed = dict(resource)
    for old, new in _RESOURCE_RENAMES if rename else ():
        if old in changed and new not in changed:
            changed = {new if key == old else key: value for key, value in changed.items()}
    if symphony:
        own = changed.get("id")
        for key in ("template", "includeWhen", "policy"):
            if key in changed:
                changed[key] = _rewrite(changed[key], _INSTANCE, "schema")
        if "readyWhen" in changed and isinstance(own, str):
            changed["readyWhen"] = _rewrite(changed["readyWhen"], _OWN, own)
    if isinstance(reference := changed.get("externalRef"), dict):
        changed["externalRef"] = _external(reference)
    return changed


def _external(reference: Obj) -> Obj:
    """`name` and `namespace` moved below `metadata`."""
    if "metadata" in reference or "name" not in reference:
        return reference
    moved = {key: reference[key] for key in ("name", "namespace") if key in reference}
    rest = {key: value for key, value in reference.items() if key not in moved}
    return {**rest, "metadata": moved}


def _rewrite(value: Any, words: frozenset[str], prefix: str) -> Any:
    """The tree with `prefix.` before the bare `words` in every `${...}`."""
    if isinstance(value, dict):
        return {key: _rewrite(item, words, prefix) for key, item in value.items()}
    if isinstance(value, list):
        return [_rewrite(item, words, prefix) for item in value]
    return _rewrite_text(value, words, prefix) if isinstance(value, str) and "${" in value else value


def _rewrite_text(text: str, words: frozenset[str], prefix: str) -> str:
    done: list[str] = []
    depth = 0
    before = ""
    for match in _TOKEN.finditer(text):
        token = match.group()
        if not depth and token == "{" and before == "$":
            depth = 1
        elif depth and token in "{}":
            depth += 1 if token == "{" else -1
        elif depth and token in words and before != ".":
            token = f"{prefix}.{token}"
        done.append(token)
        before = before if token.isspace() else token[-1:]
    return "".join(done)
