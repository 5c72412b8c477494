"""What changed between two versions of a generated CRD, and whether existing instances can break by it.

The classes are kro's. The order of changes is that of the walk: a schema's own keywords, its properties by
name, its items. Values of maps, formats, rules in CEL, list types and all other keywords are compared only by the
conservative comparison, which kro has behind a feature gate; the rules of an instance's name always are.
"""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import Enum
from typing import Any, Final

from kroasync.model.objects import Obj
from kroasync.model.paths import nests_deeper
from kroasync.model.steps import Steps, drained
from kroasync.schema.markers import VALIDATIONS
from kroasync.schema.structural import LIST_MAP_KEYS, LIST_TYPE, PRESERVE

CONSERVATIVE_GATE: Final = "ConservativeCRDComparison"
MAX_DEPTH: Final = 500
_MAP_TYPE: Final = "x-kubernetes-map-type"
_NAME: Final = ".properties.metadata.properties.name"
# Schemas, properties and changes looked at in one step.
_STEP: Final = 500


class CompatibilityError(ValueError):
    """Two CRDs that can't be compared."""


class ChangeType(Enum):
    """Kinds of difference; the value is kro's name."""

    PROPERTY_ADDED = "PROPERTY_ADDED"
    PROPERTY_REMOVED = "PROPERTY_REMOVED"
    TYPE_CHANGED = "TYPE_CHANGED"
    DESCRIPTION_CHANGED = "DESCRIPTION_CHANGED"
    DEFAULT_CHANGED = "DEFAULT_CHANGED"
    REQUIRED_ADDED = "REQUIRED_ADDED"
    REQUIRED_REMOVED = "REQUIRED_REMOVED"
    REQUIRED_DEFAULT_REMOVED = "REQUIRED_DEFAULT_REMOVED"
    ENUM_RESTRICTED = "ENUM_RESTRICTED"
    ENUM_EXPANDED = "ENUM_EXPANDED"
    ENUM_CONSTRAINT_ADDED = "ENUM_CONSTRAINT_ADDED"
    NULLABLE_ADDED = "NULLABLE_ADDED"
    NULLABLE_REMOVED = "NULLABLE_REMOVED"
    PRESERVE_UNKNOWN_FIELDS_ADDED = "PRESERVE_UNKNOWN_FIELDS_ADDED"
    PRESERVE_UNKNOWN_FIELDS_REMOVED = "PRESERVE_UNKNOWN_FIELDS_REMOVED"
    PATTERN_ADDED = "PATTERN_ADDED"
    PATTERN_CHANGED = "PATTERN_CHANGED"
    PATTERN_REMOVED = "PATTERN_REMOVED"
    MINIMUM_ADDED = "MINIMUM_ADDED"
    MINIMUM_REMOVED = "MINIMUM_REMOVED"
    MINIMUM_INCREASED = "MINIMUM_INCREASED"
    MINIMUM_DECREASED = "MINIMUM_DECREASED"
    MAXIMUM_ADDED = "MAXIMUM_ADDED"
    MAXIMUM_REMOVED = "MAXIMUM_REMOVED"
    MAXIMUM_INCREASED = "MAXIMUM_INCREASED"
    MAXIMUM_DECREASED = "MAXIMUM_DECREASED"
    MIN_LENGTH_ADDED = "MIN_LENGTH_ADDED"
    MIN_LENGTH_REMOVED = "MIN_LENGTH_REMOVED"
    MIN_LENGTH_INCREASED = "MIN_LENGTH_INCREASED"
    MIN_LENGTH_DECREASED = "MIN_LENGTH_DECREASED"
    MAX_LENGTH_ADDED = "MAX_LENGTH_ADDED"
    MAX_LENGTH_REMOVED = "MAX_LENGTH_REMOVED"
    MAX_LENGTH_INCREASED = "MAX_LENGTH_INCREASED"
    MAX_LENGTH_DECREASED = "MAX_LENGTH_DECREASED"
    MIN_ITEMS_ADDED = "MIN_ITEMS_ADDED"
    MIN_ITEMS_REMOVED = "MIN_ITEMS_REMOVED"
    MIN_ITEMS_INCREASED = "MIN_ITEMS_INCREASED"
    MIN_ITEMS_DECREASED = "MIN_ITEMS_DECREASED"
    MAX_ITEMS_ADDED = "MAX_ITEMS_ADDED"
    MAX_ITEMS_REMOVED = "MAX_ITEMS_REMOVED"
    MAX_ITEMS_INCREASED = "MAX_ITEMS_INCREASED"
    MAX_ITEMS_DECREASED = "MAX_ITEMS_DECREASED"
    ADDITIONAL_PRINTER_COLUMNS_CHANGED = "ADDITIONAL_PRINTER_COLUMNS_CHANGED"
    VALIDATION_RULES_CHANGED = "VALIDATION_RULES_CHANGED"
    FORMAT_CHANGED = "FORMAT_CHANGED"
    FORMAT_REMOVED = "FORMAT_REMOVED"
    TOPOLOGY_CHANGED = "TOPOLOGY_CHANGED"
    ADDITIONAL_PROPERTIES_CHANGED = "ADDITIONAL_PROPERTIES_CHANGED"
    UNCLASSIFIED_SCHEMA_CHANGE = "UNCLASSIFIED_SCHEMA_CHANGE"


@dataclass(frozen=True, slots=True, kw_only=True)
class SchemaChange:
    """One difference at a schema path like `.properties.spec.properties.replicas`."""

    path: str
    type: ChangeType
    breaking: bool
    description: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """All differences, in a fixed order."""

    changes: tuple[SchemaChange, ...] = ()

    @property
    def breaking(self) -> tuple[SchemaChange, ...]:
        return tuple(change for change in self.changes if change.breaking)

    @property
    def has_breaking_changes(self) -> bool:
        return any(change.breaking for change in self.changes)

    def summary(self) -> str:
        """The first three breaking changes in words, and how many more there are."""
        found = [change.description for change in self.breaking]
        if not found:
            return "no breaking changes"
        more = f" and {len(found) - 3} more changes" if len(found) > 3 else ""
        return "; ".join(found[:3]) + more


def comparing_crds(old: Obj, new: Obj, *, conservative: bool = False) -> Steps[Comparison]:
    """The differences of two CRDs with one version each; raises CompatibilityError."""
    versions = [crd.get("spec", {}).get("versions") or [] for crd in (old, new)]
    if [len(found) for found in versions] != [1, 1]:
        raise CompatibilityError(
            "failed to check schema compatibility: expected exactly one version in each CRD, "
            f"got {len(versions[0])} old and {len(versions[1])} new versions"
        )
    return (yield from comparing_versions(versions[0][0], versions[1][0], conservative=conservative))


def compare_crds(old: Obj, new: Obj, *, conservative: bool = False) -> Comparison:
    """`comparing_crds` at once."""
    return drained(comparing_crds(old, new, conservative=conservative))


def compare_versions(old: Obj, new: Obj, *, conservative: bool = False) -> Comparison:
    """`comparing_versions` at once."""
    return drained(comparing_versions(old, new, conservative=conservative))


def comparing_versions(old: Obj, new: Obj, *, conservative: bool = False) -> Steps[Comparison]:
    """The differences of two CRD versions; raises CompatibilityError if one has no schema."""
    if old.get("name") != new.get("name"):
        return Comparison(changes=(_type_changed("version", old.get("name"), new.get("name")),))
    schemas = []
    for version, age in ((old, "old"), (new, "new")):
        schema = (version.get("schema") or {}).get("openAPIV3Schema")
        if schema is None:
            raise CompatibilityError(f"{age} version {version.get('name')} has no schema")
        if nests_deeper(schema, MAX_DEPTH):
            message = f"{age} version {version.get('name')} nests more than {MAX_DEPTH} levels"
            raise CompatibilityError(message)
        schemas.append(_with_name(schema))
    changes = [*_compare_serving(old, new)]
    walk = _Walk(_CONSERVATIVE if conservative else _DEFAULT)
    for count, change in enumerate(walk.compare(schemas[0], schemas[1], ""), 1):
        if change is not None:
            changes.append(change)
        if count % _STEP == 0:
            yield
    return Comparison(changes=tuple(changes))


def _with_name(schema: Obj) -> Obj:
    """The schema of an object with what holds of its name: rules for it are constraints then, not a new property."""
    properties = _properties(schema)
    metadata = {"type": "object", **properties.get("metadata", {})}
    metadata["properties"] = {"name": {"type": "string"}, **_properties(metadata)}
    return {**schema, "properties": {**properties, "metadata": metadata}}


def _compare_serving(old: Obj, new: Obj) -> Iterator[SchemaChange]:
    if old.get("served") and not new.get("served"):
        yield _type_changed("version.served", "true", "false")
    if "status" in (old.get("subresources") or {}) and "status" not in (new.get("subresources") or {}):
        yield _removed("version.subresources.status")
    before, after = (
        [{k: v for k, v in column.items() if v} for column in version.get("additionalPrinterColumns") or ()]
        for version in (old, new)
    )
    if before != after:
        yield SchemaChange(
            path="version.additionalPrinterColumns",
            type=ChangeType.ADDITIONAL_PRINTER_COLUMNS_CHANGED,
            breaking=False,
            description="Additional printer columns were changed",
        )


def _name(path: str) -> str:
    return path.rpartition(".")[2]


def _type_changed(path: str, old: Any, new: Any) -> SchemaChange:
    description = f"Type changed from {old or ''} to {new or ''}"
    return SchemaChange(path=path, type=ChangeType.TYPE_CHANGED, breaking=True, description=description)


def _removed(path: str) -> SchemaChange:
    description = f"Property {_name(path)} was removed"
    return SchemaChange(path=path, type=ChangeType.PROPERTY_REMOVED, breaking=True, description=description)


@dataclass(frozen=True, slots=True)
class _Walk:
    """A comparison of two schemas by facets, each of which yields the changes of one schema's own keywords."""

    facets: tuple[Callable[[Obj, Obj, str], Iterator[SchemaChange]], ...]

    def compare(self, old: Obj, new: Obj, path: str) -> Iterator[SchemaChange | None]:
        """The changes, and None for each schema and each property that was looked at."""
        yield None
        yield from _compare_texts(old, new, path)
        if old.get("type", "") != new.get("type", ""):
            yield _type_changed(path, old.get("type"), new.get("type"))
            return
        for facet in self.facets:
            yield from facet(old, new, path)
        yield from _compare_required(old, new, path)
        yield from self._compare_properties(old, new, path)
        yield from self._compare_items(old, new, path)
        if self.facets is _CONSERVATIVE:
            yield from self._compare_values(old, new, path)

    def _compare_properties(self, old: Obj, new: Obj, path: str) -> Iterator[SchemaChange | None]:
        olds, news = _properties(old), _properties(new)
        required = set(new.get("required") or ())
        for name in sorted(olds.keys() | news.keys()):
            here = f"{path}.properties.{name}"
            if name not in news:
                description = f"Property {name} was removed"
                yield SchemaChange(path=here, type=ChangeType.PROPERTY_REMOVED, breaking=True, description=description)
            elif name not in olds:
                breaking = name in required and not _has_default(news[name])
                description = f"{'Required' if breaking else 'Optional'} property {name} was added"
                yield SchemaChange(
                    path=here, type=ChangeType.PROPERTY_ADDED, breaking=breaking, description=description
                )
            else:
                yield from self.compare(olds[name], news[name], here)

    def _compare_items(self, old: Obj, new: Obj, path: str) -> Iterator[SchemaChange | None]:
        before, after = old.get("items"), new.get("items")
        here = f"{path}.items"
        if before is not None and after is None:
            yield _removed(here)
        elif before is None and after is not None:
            description = "Optional property items was added"
            yield SchemaChange(path=here, type=ChangeType.PROPERTY_ADDED, breaking=False, description=description)
        elif before is not None and after is not None:
            yield from self.compare(before, after, here)

    def _compare_values(self, old: Obj, new: Obj, path: str) -> Iterator[SchemaChange | None]:
        """The values of a map: a schema for them, any value (True), or no further keys (False or nothing)."""
        here = f"{path}.additionalProperties"
        before, after = _values(old), _values(new)
        if isinstance(before, dict) and isinstance(after, dict):
            yield from self.compare(before, after, here)
        elif before != after:
            yield SchemaChange(
                path=here,
                type=ChangeType.ADDITIONAL_PROPERTIES_CHANGED,
                breaking=after is None or before is True,
                description=f"Additional properties were changed from {_allowed(before)} to {_allowed(after)}",
            )


def _values(schema: Obj) -> Any:
    additional = schema.get("additionalProperties")
    return True if additional == {} else additional or None


def _allowed(additional: Any) -> str:
    return "none" if additional is None else "any" if additional is True else "a schema"


def _compare_texts(old: Obj, new: Obj, path: str) -> Iterator[SchemaChange]:
    before, after = old.get("description", ""), new.get("description", "")
    if before != after:
        yield SchemaChange(
            path=path,
            type=ChangeType.DESCRIPTION_CHANGED,
            breaking=False,
            description=f"Description field was changed from {before} to {after}",
        )
    old_default, new_default = _raw(old.get("default")), _raw(new.get("default"))
    if old_default != new_default:
        yield SchemaChange(
            path=path,
            type=ChangeType.DEFAULT_CHANGED,
            breaking=False,
            description=f"Default value was changed from {old_default} to {new_default}",
        )


def _raw(value: Any) -> str:
    """JSON as the API server keeps it; empty for none."""
    return "" if value is None else json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":"))


def _compare_pattern(old: Obj, new: Obj, path: str) -> Iterator[SchemaChange]:
    before, after = old.get("pattern", ""), new.get("pattern", "")
    if before == after:
        return
    if not before:
        type_, text = ChangeType.PATTERN_ADDED, f"{after} was added"
    elif not after:
        type_, text = ChangeType.PATTERN_REMOVED, f"{before} was removed"
    else:
        type_, text = ChangeType.PATTERN_CHANGED, f"changed from {before} to {after}"
    yield SchemaChange(
        path=path,
        type=type_,
        breaking=type_ is not ChangeType.PATTERN_REMOVED,
        description=f"Validation pattern {text}",
    )


# keyword, prefix of its change types, its name in descriptions, whether a larger value allows less
_BOUNDS: Final = (
    ("minimum", "MINIMUM", "Minimum", True),
    ("maximum", "MAXIMUM", "Maximum", False),
    ("minLength", "MIN_LENGTH", "MinLength", True),
    ("maxLength", "MAX_LENGTH", "MaxLength", False),
    ("minItems", "MIN_ITEMS", "MinItems", True),
    ("maxItems", "MAX_ITEMS", "MaxItems", False),
)


def _compare_bounds(old: Obj, new: Obj, path: str) -> Iterator[SchemaChange]:
    for bound in _BOUNDS:
        yield from _compare_bound(old, new, path, *bound)


def _compare_bound(
    old: Obj, new: Obj, path: str, keyword: str, prefix: str, label: str, is_lower: bool
) -> Iterator[SchemaChange]:
    before, after = old.get(keyword), new.get(keyword)
    if before == after:
        return
    if before is None:
        suffix, breaking, text = "ADDED", True, f"constraint {_decimal(after)} was added"
    elif after is None:
        suffix, breaking, text = "REMOVED", False, f"constraint {_decimal(before)} was removed"
    else:
        suffix = "INCREASED" if after > before else "DECREASED"
        breaking = (after > before) == is_lower
        text = f"was {suffix.lower()} from {_decimal(before)} to {_decimal(after)}"
    yield SchemaChange(
        path=path, type=ChangeType[f"{prefix}_{suffix}"], breaking=breaking, description=f"{label} {text}"
    )


def _decimal(number: Any) -> str:
    """Plain decimal digits without exponent or trailing zeros."""
    if isinstance(number, int):
        return str(number)
    text = format(float(number), "f") if abs(number) >= 1e-6 or number == 0 else format(float(number), ".20f")
    return text.rstrip("0").rstrip(".") if "." in text else text


def _compare_enum(old: Obj, new: Obj, path: str) -> Iterator[SchemaChange]:
    before, after = ([_raw(value) for value in schema.get("enum") or ()] for schema in (old, new))
    if not before and after:
        text = f"Enum constraint {', '.join(after)} was added"
        yield SchemaChange(path=path, type=ChangeType.ENUM_CONSTRAINT_ADDED, breaking=True, description=text)
        return
    if before and not after:
        text = f"Enum constraint {', '.join(before)} was removed"
        yield SchemaChange(path=path, type=ChangeType.ENUM_EXPANDED, breaking=False, description=text)
        return
    olds, news = set(before), set(after)
    for value in before:
        if value not in news:
            description = f"Enum value {value} was removed"
            yield SchemaChange(path=path, type=ChangeType.ENUM_RESTRICTED, breaking=True, description=description)
    for value in after:
        if value not in olds:
            description = f"Enum value {value} was added"
            yield SchemaChange(path=path, type=ChangeType.ENUM_EXPANDED, breaking=False, description=description)


def _compare_required(old: Obj, new: Obj, path: str) -> Iterator[SchemaChange | None]:
    """Only properties that both sides have; an added or removed property speaks for itself."""
    before, after = set(old.get("required") or ()), set(new.get("required") or ())
    added, removed = after - before, before - after
    olds, news = _properties(old), _properties(new)
    for name in sorted(olds.keys() & news.keys()):
        yield None
        here = f"{path}.properties.{name}"
        if name in added:
            text, type_, breaking = f"Field {name} is newly required", ChangeType.REQUIRED_ADDED, True
        elif name in removed:
            text, type_, breaking = f"Field {name} is no longer required", ChangeType.REQUIRED_REMOVED, False
        elif name in before and _has_default(olds[name]) and not _has_default(news[name]):
            text = f"Default value removed from required field {name}"
            type_, breaking = ChangeType.REQUIRED_DEFAULT_REMOVED, True
        else:
            continue
        yield SchemaChange(path=here, type=type_, breaking=breaking, description=text)


def _properties(schema: Obj) -> dict[str, Obj]:
    return schema.get("properties") or {}


def _has_default(schema: Obj) -> bool:
    return schema.get("default") is not None


# keyword, prefix of its change types, its name in descriptions; each lets more through
_SWITCHES: Final = (
    ("nullable", "NULLABLE", "Nullable"),
    (PRESERVE, "PRESERVE_UNKNOWN_FIELDS", "Preservation of unknown fields"),
)


def _compare_switches(old: Obj, new: Obj, path: str) -> Iterator[SchemaChange]:
    for keyword, prefix, label in _SWITCHES:
        before, after = bool(old.get(keyword)), bool(new.get(keyword))
        if before != after:
            suffix = "REMOVED" if before else "ADDED"
            type_, text = ChangeType[f"{prefix}_{suffix}"], f"{label} was {suffix.lower()}"
            yield SchemaChange(path=path, type=type_, breaking=before, description=text)


def _compare_name_rules(old: Obj, new: Obj, path: str) -> Iterator[SchemaChange]:
    if path == _NAME:
        yield from _compare_rules(old, new, path)


def _compare_rules(old: Obj, new: Obj, path: str) -> Iterator[SchemaChange]:
    before, after = ({_raw(rule) for rule in schema.get(VALIDATIONS) or ()} for schema in (old, new))
    if before == after:
        return
    added, removed = sorted(after - before), sorted(before - after)
    parts = [f"{', '.join(rules)} {what}" for rules, what in ((added, "added"), (removed, "removed")) if rules]
    text = f"Validation rules were changed: {'; '.join(parts)}"
    yield SchemaChange(path=path, type=ChangeType.VALIDATION_RULES_CHANGED, breaking=bool(added), description=text)


def _compare_format(old: Obj, new: Obj, path: str) -> Iterator[SchemaChange]:
    before, after = old.get("format") or "", new.get("format") or ""
    if before != after:
        type_ = ChangeType.FORMAT_CHANGED if after else ChangeType.FORMAT_REMOVED
        text = f"Format was changed from {before or 'none'} to {after or 'none'}"
        yield SchemaChange(path=path, type=type_, breaking=bool(after), description=text)


# How the API server merges; what stands for a keyword that is not there.
_TOPOLOGY: Final[tuple[tuple[str, Any], ...]] = ((LIST_TYPE, "atomic"), (LIST_MAP_KEYS, ()), (_MAP_TYPE, "granular"))


def _compare_topology(old: Obj, new: Obj, path: str) -> Iterator[SchemaChange]:
    for keyword, default in _TOPOLOGY:
        before, after = (schema.get(keyword) or default for schema in (old, new))
        if before != after and (isinstance(before, str) or set(before) != set(after)):
            text = f"{keyword} was changed from {_raw(before)} to {_raw(after)}"
            yield SchemaChange(path=path, type=ChangeType.TOPOLOGY_CHANGED, breaking=True, description=text)


# What the other facets, the walk and the texts look at.
_CLASSIFIED: Final = frozenset(
    (
        *("type", "description", "default", "pattern", "enum", "required", "format", "nullable", PRESERVE),
        *("properties", "items", "additionalProperties", VALIDATIONS, LIST_TYPE, LIST_MAP_KEYS, _MAP_TYPE),
        *(keyword for keyword, *_ in _BOUNDS),
    )
)


def _compare_rest(old: Obj, new: Obj, path: str) -> Iterator[SchemaChange]:
    for keyword in sorted((old.keys() | new.keys()) - _CLASSIFIED):
        before, after = _raw(old.get(keyword) or None), _raw(new.get(keyword) or None)
        if before != after:
            text = f"{keyword} was changed from {before or 'none'} to {after or 'none'}"
            yield SchemaChange(path=path, type=ChangeType.UNCLASSIFIED_SCHEMA_CHANGE, breaking=True, description=text)


_BASIC: Final = (_compare_pattern, _compare_bounds, _compare_enum, _compare_switches)
_DEFAULT: Final = (*_BASIC, _compare_name_rules)
_CONSERVATIVE: Final = (*_BASIC, _compare_format, _compare_topology, _compare_rules, _compare_rest)
