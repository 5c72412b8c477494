"""What changed between two versions of a generated CRD, and whether existing instances can break by it.

The classes are kro's. The order of changes is that of the walk: a schema's own keywords, its properties by
name, its items. Map value types, formats, validations and list types are not compared.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from typing import Any, Final

from kroasync.model.objects import Obj
from kroasync.model.paths import nests_deeper
from kroasync.model.steps import Steps, drained

MAX_DEPTH: Final = 500
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


def comparing_crds(old: Obj, new: Obj) -> Steps[Comparison]:
    """The differences of two CRDs with one version each; raises CompatibilityError."""
    versions = [crd.get("spec", {}).get("versions") or [] for crd in (old, new)]
    if [len(found) for found in versions] != [1, 1]:
        raise CompatibilityError(
            "failed to check schema compatibility: expected exactly one version in each CRD, "
            f"got {len(versions[0])} old and {len(versions[1])} new versions"
        )
    return (yield from comparing_versions(versions[0][0], versions[1][0]))


def compare_crds(old: Obj, new: Obj) -> Comparison:
    """`comparing_crds` at once."""
    return drained(comparing_crds(old, new))


def compare_versions(old: Obj, new: Obj) -> Comparison:
    """`comparing_versions` at once."""
    return drained(comparing_versions(old, new))


def comparing_versions(old: Obj, new: Obj) -> Steps[Comparison]:
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
        schemas.append(schema)
    changes: list[SchemaChange] = []
    if old.get("served") and not new.get("served"):
        changes.append(_type_changed("version.served", "true", "false"))
    if "status" in (old.get("subresources") or {}) and "status" not in (new.get("subresources") or {}):
        changes.append(_removed("version.subresources.status"))
    for count, change in enumerate(_compare(schemas[0], schemas[1], ""), 1):
        if change is not None:
            changes.append(change)
        if count % _STEP == 0:
            yield
    return Comparison(changes=tuple(changes))


def _name(path: str) -> str:
    return path.rpartition(".")[2]


def _type_changed(path: str, old: Any, new: Any) -> SchemaChange:
    description = f"Type changed from {old or ''} to {new or ''}"
    return SchemaChange(path=path, type=ChangeType.TYPE_CHANGED, breaking=True, description=description)


def _removed(path: str) -> SchemaChange:
    description = f"Property {_name(path)} was removed"
    return SchemaChange(path=path, type=ChangeType.PROPERTY_REMOVED, breaking=True, description=description)


def _compare(old: Obj, new: Obj, path: str) -> Iterator[SchemaChange | None]:
    """The changes, and None for each schema and each property that was looked at."""
    yield None
    yield from _compare_texts(old, new, path)
    if old.get("type", "") != new.get("type", ""):
        yield _type_changed(path, old.get("type"), new.get("type"))
        return
    yield from _compare_pattern(old, new, path)
    for bound in _BOUNDS:
        yield from _compare_bound(old, new, path, *bound)
    yield from _compare_enum(old, new, path)
    yield from _compare_required(old, new, path)
    yield from _compare_properties(old, new, path)
    yield from _compare_items(old, new, path)


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
    if not before or not after:
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


def _compare_properties(old: Obj, new: Obj, path: str) -> Iterator[SchemaChange | None]:
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
            yield SchemaChange(path=here, type=ChangeType.PROPERTY_ADDED, breaking=breaking, description=description)
        else:
            yield from _compare(olds[name], news[name], here)


def _compare_items(old: Obj, new: Obj, path: str) -> Iterator[SchemaChange | None]:
    before, after = old.get("items"), new.get("items")
    here = f"{path}.items"
    if before is not None and after is None:
        yield _removed(here)
    elif before is None and after is not None:
        description = "Optional property items was added"
        yield SchemaChange(path=here, type=ChangeType.PROPERTY_ADDED, breaking=False, description=description)
    elif before is not None and after is not None:
        yield from _compare(before, after, here)
