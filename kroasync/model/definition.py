"""The definition of an author, as one model for both kinds.

`parse_definition` performs all structural checks that the definition CRDs perform at admission (presence, types,
patterns, exclusive fields). The meaning of expressions and names is checked when the graph is built.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from kroasync.model import legacy, names
from kroasync.model.name_forms import DNS_LABEL_1035, MAX_SUBDOMAIN, SUBDOMAIN
from kroasync.model.objects import Obj
from kroasync.model.paths import Path, counts_more, nests_deeper
from kroasync.model.policies import FORMS, MAX_PRUNE, MaxPrune, one_of
from kroasync.model.problems import MAX_SUGGESTED, Problem, Severity, collect, has_errors
from kroasync.model.steps import Steps, drained
from kroasync.model.suggest import did_you_mean

KINDS: Final = (names.RESOURCE_GROUP, names.RESOURCE_GRAPH_DEFINITION)
NAMESPACED: Final = "Namespaced"
CLUSTER: Final = "Cluster"
SCOPES: Final = (NAMESPACED, CLUSTER)
# Which children get the labels of their instance.
ALL: Final = "All"
EXCEPT_PODS: Final = "ExceptPods"
NONE: Final = "None"
PROPAGATIONS: Final = (ALL, EXCEPT_PODS, NONE)

MAX_DEPTH: Final = 200
MAX_VALUES: Final = 60_000
"""Maximum number of values (texts, numbers, lists, objects) in one definition."""
MAX_NAMES: Final = 32
"""Maximum number of entries of `shortNames` and of `categories`."""

_KIND: Final = re.compile(r"[A-Z][a-zA-Z0-9]{0,62}", re.ASCII)
_VERSION: Final = re.compile(r"v[0-9]+(alpha[0-9]+|beta[0-9]+)?", re.ASCII)
# DNS label of RFC 1035, as far as its characters go.


@dataclass(frozen=True, slots=True, kw_only=True)
class ResourceSpec:
    """One entry of `spec.resources`: exactly one of `template` and `external_ref` is set."""

    id: str
    index: int
    template: Obj | None = None
    external_ref: Obj | None = None
    ready_when: tuple[str, ...] = ()
    include_when: tuple[str, ...] = ()
    for_each: tuple[tuple[str, str], ...] = ()
    """(iterator name, expression) in declared order."""
    policy: Obj = field(default_factory=dict)
    """The policies as written; see `model.policies`."""
    external_fields: tuple[str, ...] = ()
    """Dotted paths of fields that other managers may take over."""

    @property
    def path(self) -> Path:
        """The path of this entry in the definition."""
        return ("spec", "resources", self.index)


@dataclass(frozen=True, slots=True, kw_only=True)
class Definition:
    """A structurally valid definition; `api_kind` is one of the two kinds."""

    api_kind: str
    name: str
    kind: str
    api_version: str
    plural: str = ""
    """The author's plural; empty if it follows from the kind."""
    namespace: str = ""
    uid: str = ""
    generation: int = 0
    labels: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)
    group: str = names.KRO_GROUP
    scope: str = NAMESPACED
    spec: Obj = field(default_factory=dict)
    """`schema.spec`: SimpleSchema as written."""
    types: Obj = field(default_factory=dict)
    status: Obj = field(default_factory=dict)
    printer_columns: tuple[Obj, ...] = ()
    short_names: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    metadata_labels: Mapping[str, str] = field(default_factory=dict)
    metadata_annotations: Mapping[str, str] = field(default_factory=dict)
    name_validation: str = ""
    """`schema.metadata.nameValidation`: SimpleSchema markers as written."""
    resources: tuple[ResourceSpec, ...] = ()
    policy: Obj = field(default_factory=dict)
    """The policies of resources that do not set them themselves, as written."""
    label_propagation: str = EXCEPT_PODS
    """Which children get the labels of their instance; see `engine.labels`."""
    source_spec: Obj = field(default_factory=dict)
    """The whole `spec` in the current form: a revision stores and hashes it."""
    known_hash: str = ""
    """The hash, if it is known already; hashing a large spec takes long."""

    @property
    def namespaced(self) -> bool:
        """True if instances live in a namespace."""
        return self.scope == NAMESPACED

    @property
    def allow_breaking_changes(self) -> bool:
        """Whether the author's annotation allows a CRD update that breaks existing instances."""
        return self.annotations.get(names.ANNOTATION_ALLOW_BREAKING) == "true"

    @property
    def hash(self) -> str:
        """The hash that distinguishes revisions."""
        return self.known_hash or spec_hash(self.source_spec)


def is_definition(obj: Mapping[str, Any]) -> bool:
    """Whether apiVersion and kind name a definition kind, in the current or an older form."""
    if obj.get("apiVersion") == legacy.SYMPHONY_API_VERSION:
        return obj.get("kind") == names.RESOURCE_GROUP
    return obj.get("apiVersion") == names.KRO_API_VERSION and obj.get("kind") in KINDS


def parse_definition(obj: Obj) -> tuple[Definition | None, list[Problem]]:
    """The definition in a manifest and all problems; None if one of them is an error."""
    problems: list[Problem] = []
    if counts_more(obj, MAX_VALUES):
        return None, [Problem(code="definition-size", message=f"expected at most {MAX_VALUES} values, found more")]
    if nests_deeper(obj, MAX_DEPTH):
        return None, [Problem(code="definition-depth", message=f"nested more than {MAX_DEPTH} levels")]
    _check_type_meta(obj, problems)
    if has_errors(problems):
        return None, problems
    obj = legacy.convert(obj)
    root = _Fields(obj, (), problems)
    root.warn_unknown(("apiVersion", "kind", "metadata", "spec", "status"))
    meta = _metadata(root)
    spec = root.fields("spec", required=True)
    if spec is None:
        return None, problems
    ignored = ("defaultServiceAccounts",) if obj["kind"] == names.RESOURCE_GROUP else ()
    spec.warn_unknown(("schema", "resources", "labelPropagation", "policy"), ignored=ignored)
    schema = spec.fields("schema", required=True)
    head = _schema(schema) if schema else {}
    resources = _resources(spec)
    propagation, policy = _propagation(spec), _policy(spec)
    if has_errors(problems):
        return None, problems
    source = {"schema": {k: v for k, v in spec.obj["schema"].items() if k not in _IGNORED_SCHEMA_FIELDS}}
    if spec.obj.get("resources") is not None:
        source["resources"] = spec.obj["resources"]
    if spec.obj.get("labelPropagation") is not None:
        source["labelPropagation"] = spec.obj["labelPropagation"]
    if spec.obj.get("policy") is not None:
        source["policy"] = spec.obj["policy"]
    made = Definition(
        **meta, **head, resources=resources, policy=policy, label_propagation=propagation, source_spec=source
    )
    return made, problems


def _propagation(spec: "_Fields") -> str:
    found = spec.text("labelPropagation")
    if found is not None and found not in PROPAGATIONS:
        message = f"expected {', '.join(PROPAGATIONS[:-1])} or {PROPAGATIONS[-1]}, found {_show(found)}"
        suggestion = did_you_mean(found, PROPAGATIONS)
        spec.error("labelPropagation", "definition-label-propagation", message, suggestion=suggestion)
    return found or EXCEPT_PODS


def _check_type_meta(obj: Obj, problems: list[Problem]) -> None:
    if is_definition(obj):
        return
    kind, api_version = obj.get("kind"), obj.get("apiVersion")
    if kind not in KINDS:
        problems.append(
            Problem(
                code="definition-kind",
                path=("kind",),
                message=f"expected kind {' or '.join(KINDS)}, found {_show(kind)}",
                suggestion=did_you_mean(kind, KINDS) if isinstance(kind, str) else None,
            )
        )
    if kind in KINDS or api_version != names.KRO_API_VERSION:
        problems.append(
            Problem(
                code="definition-kind",
                path=("apiVersion",),
                message=f"expected apiVersion {names.KRO_API_VERSION}, found {_show(api_version)}",
            )
        )


def _metadata(root: "_Fields") -> dict[str, Any]:
    kind = root.obj["kind"]
    meta = root.fields("metadata", required=True) or _Fields({}, ("metadata",), [])
    name = meta.text("name", required=True) or ""
    if name and (len(name) > MAX_SUBDOMAIN or not SUBDOMAIN.fullmatch(name)):
        meta.error("name", "definition-name", f"name {_show(name)} is not a lowercase RFC 1123 subdomain")
    namespace = meta.text("namespace") or ""
    if kind == names.RESOURCE_GRAPH_DEFINITION and namespace:
        meta.warn("namespace", "definition-namespace", f"{kind} is cluster-scoped: the namespace is ignored")
        namespace = ""
    generation = meta.obj.get("generation")
    return {
        "api_kind": kind,
        "name": name,
        "namespace": namespace,
        "uid": meta.text("uid") or "",
        "generation": generation if isinstance(generation, int) else 0,
        "labels": meta.texts_by_key("labels"),
        "annotations": meta.texts_by_key("annotations"),
    }


_SCHEMA_FIELDS: Final = (
    "kind",
    "plural",
    "apiVersion",
    "group",
    "scope",
    "spec",
    "types",
    "status",
    "additionalPrinterColumns",
    "shortNames",
    "categories",
    "metadata",
)
_IGNORED_SCHEMA_FIELDS: Final = ("validation",)


def _schema(schema: "_Fields") -> dict[str, Any]:
    schema.warn_unknown(_SCHEMA_FIELDS, ignored=_IGNORED_SCHEMA_FIELDS)
    kind = schema.text("kind", required=True)
    if kind is not None and not _KIND.fullmatch(kind):
        schema.error(
            "kind",
            "definition-kind-name",
            f"naming convention violation: kind '{kind}' is not a valid KRO kind name: "
            "must be UpperCamelCase, letters and digits only, at most 63",
        )
    plural = schema.text("plural")
    if plural is not None and not _is_label(plural):
        schema.error("plural", "definition-plural", f"plural {_show(plural)} is not {_LABEL_TEXT}")
    version = schema.text("apiVersion", required=True)
    if version is not None and not _VERSION.fullmatch(version):
        schema.error(
            "apiVersion",
            "definition-version",
            f"apiVersion {_show(version)} is not a version like v1, v1beta1 or v1alpha1",
        )
    group = schema.text("group")
    if group is not None and (len(group) > 200 or not SUBDOMAIN.fullmatch(group)):
        schema.error("group", "definition-group", f"group {_show(group)} is not a lowercase RFC 1123 subdomain")
    scope = schema.text("scope")
    if scope is not None and scope not in SCOPES:
        message = f"expected {' or '.join(SCOPES)}, found {_show(scope)}"
        schema.error("scope", "definition-scope", message, suggestion=did_you_mean(scope, SCOPES))
    extra = schema.fields("metadata")
    if extra:
        extra.warn_unknown(("labels", "annotations", "nameValidation"))
    return {
        "kind": kind or "",
        "plural": plural or "",
        "api_version": version or "",
        "group": names.KRO_GROUP if group is None else group,
        "scope": scope or NAMESPACED,
        "spec": _tree(schema, "spec"),
        "types": _tree(schema, "types"),
        "status": _tree(schema, "status"),
        "printer_columns": _printer_columns(schema),
        "short_names": _name_set(schema, "shortNames"),
        "categories": _name_set(schema, "categories"),
        "metadata_labels": extra.texts_by_key("labels") if extra else {},
        "metadata_annotations": extra.texts_by_key("annotations") if extra else {},
        "name_validation": (extra.text("nameValidation") if extra else None) or "",
    }


def _tree(schema: "_Fields", key: str) -> Obj:
    found = schema.fields(key)
    return found.obj if found else {}


def _printer_columns(schema: "_Fields") -> tuple[Obj, ...]:
    columns = []
    for item in schema.items("additionalPrinterColumns"):
        item.warn_unknown(("name", "type", "jsonPath", "description", "format", "priority"))
        for key in ("name", "type", "jsonPath"):
            item.text(key, required=True)
        for key in ("description", "format"):
            item.text(key)
        priority = item.obj.get("priority", 0)
        if isinstance(priority, bool) or not isinstance(priority, int) or not -(2**31) <= priority < 2**31:
            item.error("priority", "definition-type", f"expected a 32-bit integer, found {_show(priority)}")
        columns.append(item.obj)
    return tuple(columns)


def _name_set(schema: "_Fields", key: str) -> tuple[str, ...]:
    found = schema.texts(key)
    if len(found) > MAX_NAMES:
        schema.error(key, "definition-names", f"expected at most {MAX_NAMES} entries, found {len(found)}")
    for index, name in enumerate(found[:MAX_NAMES]):
        if name in found[:index]:
            schema.error((key, index), "definition-names", f"duplicate entry {_show(name)}")
        elif not _is_label(name):
            schema.error((key, index), "definition-names", f"{_show(name)} is not {_LABEL_TEXT}")
    return found


_LABEL_TEXT: Final = "lower-case letters, digits and -, at most 63, a letter first"


def _is_label(text: str) -> bool:
    return DNS_LABEL_1035.fullmatch(text) is not None


_RESOURCE_FIELDS: Final = (
    *("id", "template", "externalRef", "readyWhen", "includeWhen", "forEach"),
    *("policy", "externalFields"),
)


def _resources(spec: "_Fields") -> tuple[ResourceSpec, ...]:
    resources = []
    for index, item in spec.indexed("resources"):
        item.warn_unknown(_RESOURCE_FIELDS)
        template, external = item.fields("template"), item.fields("externalRef")
        if (template is None) == (external is None) and not item.has_wrong("template", "externalRef"):
            item.error((), "resource-fields", "exactly one of template or externalRef must be provided")
        if external:
            _check_external(external)
        resources.append(
            ResourceSpec(
                id=item.text("id", required=True) or "",
                index=index,
                template=template.obj if template else None,
                external_ref=external.obj if external else None,
                ready_when=item.texts("readyWhen"),
                include_when=item.texts("includeWhen"),
                for_each=_for_each(item),
                policy=_policy(item),
                external_fields=item.texts("externalFields"),
            )
        )
    return tuple(resources)


def _policy(owner: "_Fields") -> Obj:
    """The policies as written. An unknown one is an error: a misspelt policy would lose what it is to keep."""
    found = owner.fields("policy")
    if found is None:
        return {}
    found.refuse_unknown((*FORMS, MAX_PRUNE), "policy-field", "policy")
    for name, values in FORMS.items():
        word = found.text(name)
        # Expressions are checked when the graph is built.
        if word is not None and word not in list(values) and "${" not in word:
            message = f"expected {one_of(values)}, found {_show(word)}"
            found.error(name, "policy-value", message, suggestion=did_you_mean(word, values))
    limit = found.obj.get(MAX_PRUNE)
    if limit is not None and MaxPrune.of(limit) is None:
        message = f"expected a number from 0 on, or a percentage from 0% to 100%, found {_show(limit)}"
        if _is_expression(limit):
            message += "; expressions are not allowed here"
        found.error(MAX_PRUNE, "max-prune-value", message)
    return {name: value for name, value in found.obj.items() if value is not None}


def _for_each(resource: "_Fields") -> tuple[tuple[str, str], ...]:
    iterators: list[tuple[str, str]] = []
    for item in resource.items("forEach"):
        if len(item.obj) != 1:
            message = f"expected exactly one iterator, found {len(item.obj)}"
            item.error((), "resource-for-each", message)
            continue
        name = next(iter(item.obj))
        expression = item.text(name, required=True)
        if expression is not None:
            iterators.append((name, expression))
    return tuple(iterators)


def _check_external(external: "_Fields") -> None:
    external.warn_unknown(("apiVersion", "kind", "metadata"))
    external.text("apiVersion", required=True)
    external.text("kind", required=True)
    meta = external.fields("metadata", required=True)
    if meta is None:
        return
    meta.warn_unknown(("name", "namespace", "selector"))
    if (meta.obj.get("name") is None) == (meta.obj.get("selector") is None):
        meta.error((), "external-ref-fields", "exactly one of name or selector must be provided")
    if meta.text("name") == "":
        meta.error("name", "external-ref-fields", "name must not be empty")
    meta.text("namespace")
    if not meta.has_expression("selector") and (selector := meta.fields("selector")):
        _check_selector(selector)


def _check_selector(selector: "_Fields") -> None:
    """What is written out of a label selector; an expression may stand for each of its parts."""
    selector.refuse_unknown(("matchLabels", "matchExpressions"), "selector-field", "a label selector")
    if not selector.has_expression("matchLabels"):
        selector.texts_by_key("matchLabels")
    if selector.has_expression("matchExpressions"):
        return
    for _, item in selector.indexed("matchExpressions", or_expressions=True):
        item.warn_unknown(("key", "operator", "values"))
        item.text("key", required=True)
        item.text("operator", required=True)
        if not item.has_expression("values"):
            item.texts("values")


def _is_expression(value: Any) -> bool:
    """Whether a value is meant as one `${...}`; whether it is one is found out when the graph is built."""
    return isinstance(value, str) and value.startswith("${")


class _Fields:
    """One object of the manifest, read field by field; problems go to the shared list with their path."""

    def __init__(self, obj: Obj, path: Path, problems: list[Problem]) -> None:
        self.obj = obj
        self._path = path
        self._problems = problems

    def error(self, key: str | Path, code: str, message: str, *, suggestion: str | None = None) -> None:
        self._report(key, code, message, Severity.ERROR, suggestion)

    def warn(self, key: str | Path, code: str, message: str, *, suggestion: str | None = None) -> None:
        self._report(key, code, message, Severity.WARNING, suggestion)

    def _report(self, key: str | Path, code: str, message: str, severity: Severity, suggestion: str | None) -> None:
        path = (*self._path, *((key,) if isinstance(key, str) else key))
        problem = Problem(code=code, message=message, path=path, severity=severity, suggestion=suggestion)
        collect(self._problems, problem)

    def warn_unknown(self, known: tuple[str, ...], *, ignored: tuple[str, ...] = ()) -> None:
        for key in self.obj:
            if key in ignored:
                self.warn(key, "ignored-field", f"field {_show(key)} is accepted for compatibility, and ignored")
            elif key not in known:
                absent = [name for name in known if name not in self.obj]
                near = did_you_mean(key, absent) if len(self._problems) < MAX_SUGGESTED else None
                self.warn(key, "unknown-field", f"unknown field {_show(key)}", suggestion=near)

    def refuse_unknown(self, known: tuple[str, ...], code: str, what: str) -> None:
        for key in self.obj:
            if key not in known:
                near = did_you_mean(key, known) if len(self._problems) < MAX_SUGGESTED else None
                message = f"unknown field {_show(key)} in {what}: expected {one_of(known)}"
                self.error(key, code, message, suggestion=near)

    def _value(self, key: str, kind: type, *, required: bool = False) -> Any:
        """The value of a field if it exists (null counts as absent) and has the type."""
        value = self.obj.get(key)
        if value is None:
            if required:
                self.error(key, "required-field", "required field is missing")
            return None
        if not isinstance(value, kind):
            self.error(key, "definition-type", f"expected {_TYPE_NAMES[kind]}, found {type_name(value)}")
            return None
        return value

    def has_wrong(self, *keys: str) -> bool:
        """Whether one of the object fields exists with another type (which is reported already)."""
        return any(not isinstance(self.obj.get(key), dict | None) for key in keys)

    def has_expression(self, key: str) -> bool:
        """Whether one `${...}` stands for the field."""
        return _is_expression(self.obj.get(key))

    def text(self, key: str, *, required: bool = False) -> str | None:
        value: str | None = self._value(key, str, required=required)
        return value

    def fields(self, key: str, *, required: bool = False) -> "_Fields | None":
        value = self._value(key, dict, required=required)
        return None if value is None else _Fields(value, (*self._path, key), self._problems)

    def indexed(self, key: str, *, or_expressions: bool = False) -> "list[tuple[int, _Fields]]":
        """The objects of a list with their positions; other items are reported, but for expressions if they may be."""
        found = []
        for index, item in enumerate(self._value(key, list) or ()):
            if isinstance(item, dict):
                found.append((index, _Fields(item, (*self._path, key, index), self._problems)))
            elif not (or_expressions and _is_expression(item)):
                self.error((key, index), "definition-type", f"expected an object, found {type_name(item)}")
        return found

    def items(self, key: str) -> "list[_Fields]":
        return [item for _, item in self.indexed(key)]

    def texts(self, key: str) -> tuple[str, ...]:
        found = []
        for index, item in enumerate(self._value(key, list) or ()):
            if isinstance(item, str):
                found.append(item)
            else:
                self.error((key, index), "definition-type", f"expected a string, found {type_name(item)}")
        return tuple(found)

    def texts_by_key(self, key: str) -> dict[str, str]:
        found = {}
        for name, value in (self._value(key, dict) or {}).items():
            if isinstance(value, str):
                found[name] = value
            else:
                self.error((key, name), "definition-type", f"expected a string, found {type_name(value)}")
        return found


_TYPE_NAMES: Final = {
    str: "a string",
    dict: "an object",
    list: "a list",
    bool: "a boolean",
    int: "a number",
    float: "a number",
    type(None): "null",
}


def type_name(value: Any) -> str:
    """The type of a JSON value in words: `a string`, `an object`, `null`…"""
    return _TYPE_NAMES.get(type(value), type(value).__name__)


def _show(value: Any) -> str:
    """A value for a message: truncated JSON."""
    if isinstance(value, dict | list):
        return type_name(value)
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= 80 else text[:77] + "..."


def spec_hash(definition_spec: Mapping[str, Any]) -> str:
    """See `hashing`."""
    return drained(hashing(definition_spec))


def hashing(definition_spec: Mapping[str, Any]) -> Steps[str]:
    """16 hex digits that differ if and only if two definition specs differ in meaning, apart from order and defaults.

    The hash ignores formatting, key order, and the order of resources and of the conditions in one resource.
    """
    schema = _present(definition_spec.get("schema") or {})
    schema.setdefault("group", names.KRO_GROUP)
    schema.setdefault("scope", NAMESPACED)
    if isinstance(schema.get("metadata"), dict):
        schema["metadata"] = _present(schema["metadata"])
    resources = [_canonical_resource(r) for r in definition_spec.get("resources") or ()]
    resources.sort(key=lambda r: (str(r.get("id")), _canonical(r)))
    propagation = definition_spec.get("labelPropagation")
    told = None if propagation == EXCEPT_PODS else propagation
    whole = {
        "schema": _present(schema),
        "resources": resources,
        "labelPropagation": told,
        "policy": _canonical_policy(definition_spec),
    }
    text = _canonical(_present(whole))
    yield
    value = yield from _fnv1a(text, 64)
    return f"{value:016x}"


def _canonical_resource(resource: Mapping[str, Any]) -> Obj:
    kept = _present({**resource, "policy": _canonical_policy(resource)})
    for key in ("readyWhen", "includeWhen", "externalFields"):
        if key in kept:
            kept[key] = sorted(kept[key], key=str)
    return kept


def _canonical_policy(owner: Mapping[str, Any]) -> Any:
    """The policies of a resource or of a whole definition; null is the same as absent."""
    written = owner.get("policy")
    return _present(written) if isinstance(written, dict) else written


def _present(fields: Mapping[str, Any]) -> Obj:
    """A copy without fields that are null or empty; the contents of the fields are not checked."""
    return {key: value for key, value in fields.items() if value is not None and value != {} and value != []}


def _canonical(value: Any) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


# The number of bytes that are hashed in one step: some 10 ms.
_HASHED: Final = 50_000


def _fnv1a(text: str, bits: int) -> Steps[int]:
    """Fowler-Noll-Vo 1a over UTF-8 (http://www.isthe.com/chongo/tech/comp/fnv/)."""
    value, prime = (0xCBF29CE484222325, 0x100000001B3) if bits == 64 else (0x811C9DC5, 0x01000193)
    mask = (1 << bits) - 1
    data = text.encode("utf-8", "surrogatepass")
    for start in range(0, len(data), _HASHED):
        for byte in data[start : start + _HASHED]:
            value = ((value ^ byte) * prime) & mask
        yield
    return value


def revision_name(definition_name: str, revision: int) -> str:
    """The name of a revision object, at most 253 characters: a hash is appended to a truncated name."""
    name = f"{definition_name}-r{revision:05d}"
    if len(name) <= 253:
        return name
    suffix = f"-r{revision:05d}-{drained(_fnv1a(definition_name, 32)):x}"
    return (definition_name[: 253 - len(suffix)].rstrip(".-") or "gr") + suffix
