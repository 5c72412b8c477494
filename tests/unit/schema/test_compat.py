"""The CRD changes that can break existing instances."""

from typing import Any

import pytest

from kroasync.schema import compat
from kroasync.schema.compat import CompatibilityError

# ruff: noqa: E501  (a case is one line of its table)

S = {"type": "string"}
PRESERVE = "x-kubernetes-preserve-unknown-fields"


def version(schema: Any, **more: Any) -> dict[str, Any]:
    return {
        "name": "v1",
        "served": True,
        "subresources": {"status": {}},
        "schema": {"openAPIV3Schema": schema},
        **more,
    }


def changes(old: Any, new: Any, *, conservative: bool = False) -> list[tuple[str, str, bool]]:
    report = compat.compare_versions(version(old), version(new), conservative=conservative)
    return [(c.path, c.type.value, c.breaking) for c in report.changes]


def fields(**properties: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties}


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        (S, S, []),
        (S, {**S, "description": "d"}, [("", "DESCRIPTION_CHANGED", False)]),
        (S, {**S, "default": "d"}, [("", "DEFAULT_CHANGED", False)]),
        ({**S, "default": "d"}, S, [("", "DEFAULT_CHANGED", False)]),
        (S, {"type": "integer", "minimum": 3}, [("", "TYPE_CHANGED", True)]),
        (S, {**S, "pattern": "a"}, [("", "PATTERN_ADDED", True)]),
        ({**S, "pattern": "a"}, {**S, "pattern": "b"}, [("", "PATTERN_CHANGED", True)]),
        ({**S, "pattern": "a"}, S, [("", "PATTERN_REMOVED", False)]),
        (fields(a=S), fields(), [(".properties.a", "PROPERTY_REMOVED", True)]),
        (fields(), fields(a=S), [(".properties.a", "PROPERTY_ADDED", False)]),
        (fields(), {**fields(a=S), "required": ["a"]}, [(".properties.a", "PROPERTY_ADDED", True)]),
        (
            fields(),
            {**fields(a={**S, "default": "x"}), "required": ["a"]},
            [(".properties.a", "PROPERTY_ADDED", False)],
        ),
        (fields(a=S), {**fields(a=S), "required": ["a"]}, [(".properties.a", "REQUIRED_ADDED", True)]),
        ({**fields(a=S), "required": ["a"]}, fields(a=S), [(".properties.a", "REQUIRED_REMOVED", False)]),
        (
            {**fields(a={**S, "default": "x"}), "required": ["a"]},
            {**fields(a=S), "required": ["a"]},
            [
                (".properties.a", "REQUIRED_DEFAULT_REMOVED", True),
                (".properties.a", "DEFAULT_CHANGED", False),
            ],
        ),
        (
            {**S, "enum": ["a", "b"]},
            {**S, "enum": ["b", "c"]},
            [("", "ENUM_RESTRICTED", True), ("", "ENUM_EXPANDED", False)],
        ),
        (S, {**S, "enum": ["a"]}, [("", "ENUM_CONSTRAINT_ADDED", True)]),
        ({**S, "enum": ["a"]}, S, [("", "ENUM_EXPANDED", False)]),
        (S, {**S, "nullable": True}, [("", "NULLABLE_ADDED", False)]),
        ({**S, "nullable": True}, {**S, "nullable": False}, [("", "NULLABLE_REMOVED", True)]),
        (S, {**S, "nullable": False}, []),
        (fields(), {**fields(), PRESERVE: True}, [("", "PRESERVE_UNKNOWN_FIELDS_ADDED", False)]),
        ({**fields(), PRESERVE: True}, fields(), [("", "PRESERVE_UNKNOWN_FIELDS_REMOVED", True)]),
        (
            fields(a={**fields(), PRESERVE: True}),
            fields(a=fields(b=S)),
            [
                (".properties.a", "PRESERVE_UNKNOWN_FIELDS_REMOVED", True),
                (".properties.a.properties.b", "PROPERTY_ADDED", False),
            ],
        ),
        ({"type": "array", "items": S}, {"type": "array"}, [(".items", "PROPERTY_REMOVED", True)]),
        ({"type": "array"}, {"type": "array", "items": S}, [(".items", "PROPERTY_ADDED", False)]),
        (
            {"type": "array", "items": S},
            {"type": "array", "items": {"type": "integer"}},
            [(".items", "TYPE_CHANGED", True)],
        ),
        (
            fields(b=fields(c=S), a=S),
            fields(b=fields()),
            [
                (".properties.a", "PROPERTY_REMOVED", True),
                (".properties.b.properties.c", "PROPERTY_REMOVED", True),
            ],
        ),
        ({"type": "object", "additionalProperties": S}, {"type": "object"}, []),
    ],
)
def test_difference_has_its_class(old: Any, new: Any, expected: list[tuple[str, str, bool]]) -> None:
    assert changes(old, new) == expected


def object_of(**keywords: Any) -> dict[str, Any]:
    return {"type": "object", **keywords}


def list_of(**keywords: Any) -> dict[str, Any]:
    return {"type": "array", "items": S, **{f"x-kubernetes-list-{k}": v for k, v in keywords.items()}}


RULES = "x-kubernetes-validations"
MAP_TYPE = "x-kubernetes-map-type"
VALUES = ".additionalProperties"
CONSERVATIVE = [
    (object_of(), object_of(additionalProperties=S), [(VALUES, "ADDITIONAL_PROPERTIES_CHANGED", False)]),
    (object_of(additionalProperties=False), object_of(additionalProperties=True), [(VALUES, "ADDITIONAL_PROPERTIES_CHANGED", False)]),
    (object_of(additionalProperties=S), object_of(additionalProperties=True), [(VALUES, "ADDITIONAL_PROPERTIES_CHANGED", False)]),
    (object_of(additionalProperties=S), object_of(), [(VALUES, "ADDITIONAL_PROPERTIES_CHANGED", True)]),
    (object_of(additionalProperties=True), object_of(additionalProperties=False), [(VALUES, "ADDITIONAL_PROPERTIES_CHANGED", True)]),
    (object_of(additionalProperties={}), object_of(additionalProperties=S), [(VALUES, "ADDITIONAL_PROPERTIES_CHANGED", True)]),
    (
        object_of(additionalProperties=object_of(additionalProperties=S)),
        object_of(additionalProperties=object_of(additionalProperties={**S, "maxLength": 3})),
        [(f"{VALUES}{VALUES}", "MAX_LENGTH_ADDED", True)],
    ),
    (S, {**S, "format": "date"}, [("", "FORMAT_CHANGED", True)]),
    ({**S, "format": "date"}, {**S, "format": "uuid"}, [("", "FORMAT_CHANGED", True)]),
    ({**S, "format": "date"}, S, [("", "FORMAT_REMOVED", False)]),
    (list_of(), list_of(type="set"), [("", "TOPOLOGY_CHANGED", True)]),
    (list_of(type="set"), list_of(), [("", "TOPOLOGY_CHANGED", True)]),
    (list_of(), list_of(type="atomic"), []),
    (
        list_of(**{"type": "map", "map-keys": ["a", "b"]}),
        list_of(**{"type": "map", "map-keys": ["b", "a"]}),
        [],
    ),
    (
        list_of(**{"type": "map", "map-keys": ["a"]}),
        list_of(**{"type": "map", "map-keys": ["a", "b"]}),
        [("", "TOPOLOGY_CHANGED", True)],
    ),
    (object_of(), object_of(**{MAP_TYPE: "atomic"}), [("", "TOPOLOGY_CHANGED", True)]),
    (S, {**S, RULES: [{"rule": "a"}]}, [("", "VALIDATION_RULES_CHANGED", True)]),
    ({**S, RULES: [{"rule": "a"}]}, {**S, RULES: [{"rule": "b"}]}, [("", "VALIDATION_RULES_CHANGED", True)]),
    ({**S, RULES: [{"rule": "a"}, {"rule": "b"}]}, {**S, RULES: [{"rule": "b"}]}, [("", "VALIDATION_RULES_CHANGED", False)]),
    ({**S, RULES: [{"rule": "a"}, {"rule": "b"}]}, {**S, RULES: [{"rule": "b"}, {"rule": "a"}]}, []),
    (S, {**S, RULES: []}, []),
    (list_of(), {**list_of(), "uniqueItems": True}, [("", "UNCLASSIFIED_SCHEMA_CHANGE", True)]),
    ({**list_of(), "uniqueItems": False}, list_of(), []),
    (object_of(minProperties=1), object_of(), [("", "UNCLASSIFIED_SCHEMA_CHANGE", True)]),
]  # fmt: skip


@pytest.mark.parametrize(("old", "new", "expected"), CONSERVATIVE)
def test_the_conservative_comparison_looks_at_everything(
    old: Any, new: Any, expected: list[tuple[str, str, bool]]
) -> None:
    assert changes(old, new) == []
    assert changes(old, new, conservative=True) == expected


def test_the_conservative_comparison_finds_nothing_else_in_what_the_default_knows() -> None:
    for conservative in (False, True):
        assert changes(S, {**S, "enum": ["a"]}, conservative=conservative) == [("", "ENUM_CONSTRAINT_ADDED", True)]
        assert changes(fields(a=S), fields(a=S), conservative=conservative) == []


RULE = {RULES: [{"rule": "self.startsWith('a')", "message": "validation failed"}]}
NAMES = [
    ({}, {}, []),
    ({}, {"maxLength": 9}, [("MAX_LENGTH_ADDED", True)]),
    ({"maxLength": 9}, {"maxLength": 8}, [("MAX_LENGTH_DECREASED", True)]),
    ({"maxLength": 9}, {"maxLength": 10}, [("MAX_LENGTH_INCREASED", False)]),
    ({"maxLength": 9, "pattern": "a"}, {}, [("PATTERN_REMOVED", False), ("MAX_LENGTH_REMOVED", False)]),
    ({"pattern": "a"}, {"pattern": "b"}, [("PATTERN_CHANGED", True)]),
    ({}, {"enum": ["a"]}, [("ENUM_CONSTRAINT_ADDED", True)]),
    ({"enum": ["a"]}, {}, [("ENUM_EXPANDED", False)]),
    ({}, RULE, [("VALIDATION_RULES_CHANGED", True)]),
    (RULE, {RULES: [{**RULE[RULES][0], "rule": "true"}]}, [("VALIDATION_RULES_CHANGED", True)]),
    (RULE, {}, [("VALIDATION_RULES_CHANGED", False)]),
]


@pytest.mark.parametrize("conservative", [False, True])
@pytest.mark.parametrize(("old", "new", "expected"), NAMES)
def test_the_rules_for_names_are_constraints_in_both_comparisons(
    old: Any, new: Any, expected: list[tuple[str, bool]], conservative: bool
) -> None:
    def root(rules: Any) -> Any:
        metadata = fields(name={**S, **rules}) if rules else {"type": "object"}
        return fields(metadata=metadata, spec=fields())

    path = ".properties.metadata.properties.name"
    assert changes(root(old), root(new), conservative=conservative) == [(path, *change) for change in expected]


def test_rules_of_other_fields_are_compared_only_conservatively() -> None:
    def nested(rules: Any) -> Any:
        return fields(spec=fields(metadata=fields(name={**S, **rules})))

    assert changes(nested({}), nested(RULE)) == []
    assert [breaking for *_, breaking in changes(nested({}), nested(RULE), conservative=True)] == [True]


@pytest.mark.parametrize(
    ("old", "new", "differ"),
    [
        ([], [{"name": "A", "type": "string", "jsonPath": ".a"}], True),
        (
            [{"name": "A", "type": "string", "jsonPath": ".a"}],
            [{"name": "A", "type": "string", "jsonPath": ".b"}],
            True,
        ),
        ([{"name": "A", "type": "string", "jsonPath": ".a"}], None, True),
        (
            [{"name": "A", "type": "string", "jsonPath": ".a", "priority": 0}],
            [{"name": "A", "type": "string", "jsonPath": ".a", "description": ""}],
            False,
        ),
    ],
)
def test_printer_columns_are_a_change_that_breaks_nobody(old: Any, new: Any, differ: bool) -> None:
    versions = (version(S, additionalPrinterColumns=columns) for columns in (old, new))
    report = compat.compare_versions(*versions)
    expected = [("ADDITIONAL_PRINTER_COLUMNS_CHANGED", False, "Additional printer columns were changed")]
    assert [(c.type.value, c.breaking, c.description) for c in report.changes] == (expected if differ else [])


@pytest.mark.parametrize(
    ("keyword", "prefix", "is_lower"),
    [
        ("minimum", "MINIMUM", True),
        ("maximum", "MAXIMUM", False),
        ("minLength", "MIN_LENGTH", True),
        ("maxLength", "MAX_LENGTH", False),
        ("minItems", "MIN_ITEMS", True),
        ("maxItems", "MAX_ITEMS", False),
    ],
)
def test_bounds_break_when_they_allow_less(keyword: str, prefix: str, is_lower: bool) -> None:
    def change(old: float | None, new: float | None) -> list[tuple[str, str, bool]]:
        olds, news = ({"type": "x", **({} if v is None else {keyword: v})} for v in (old, new))
        return changes(olds, news)

    assert change(3, 3) == []
    assert change(None, 3) == [("", f"{prefix}_ADDED", True)]
    assert change(3, None) == [("", f"{prefix}_REMOVED", False)]
    assert change(3, 4) == [("", f"{prefix}_INCREASED", is_lower)]
    assert change(4, 3) == [("", f"{prefix}_DECREASED", not is_lower)]


def test_versions_compare_by_name_serving_and_status() -> None:
    report = compat.compare_versions(version(S), version(fields(), name="v2"))
    assert [(c.path, c.type.value) for c in report.changes] == [("version", "TYPE_CHANGED")]
    report = compat.compare_versions(version(S), version(S, served=False, subresources={}))
    assert [(c.path, c.breaking) for c in report.changes] == [
        ("version.served", True),
        ("version.subresources.status", True),
    ]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            [version(S)] * 2,
            [version(S)],
            "expected exactly one version in each CRD, got 2 old and 1 new versions",
        ),
        ([{"name": "v1"}], [version(S)], "old version v1 has no schema"),
        ([version(S)], [{"name": "v1"}], "new version v1 has no schema"),
    ],
)
def test_crds_that_cannot_be_compared(old: list[Any], new: list[Any], message: str) -> None:
    with pytest.raises(CompatibilityError) as caught:
        compat.compare_crds({"spec": {"versions": old}}, {"spec": {"versions": new}})
    assert message in str(caught.value)


def test_endless_nesting_cannot_be_compared() -> None:
    deep: Any = S
    for _ in range(5000):
        deep = {"type": "array", "items": deep}
    with pytest.raises(CompatibilityError):
        compat.compare_versions(version(deep), version(S))


def test_summary_names_three_breaking_changes_and_counts_the_rest() -> None:
    old = fields(a=S, b={"type": "number", "minimum": 0.5}, c={**S, "enum": ["x", "y"]}, d=S, e=S)
    new = fields(b={"type": "number", "minimum": 1}, c={**S, "enum": ["y"]}, d={"type": "integer"}, f=S)
    report = compat.compare_versions(version(old), version(new))
    assert report.summary() == (
        'Property a was removed; Minimum was increased from 0.5 to 1; Enum value "x" was removed and 2 more changes'
    )
    assert report.has_breaking_changes
    assert compat.compare_versions(version(S), version(S)).summary() == "no breaking changes"


@pytest.mark.parametrize(
    ("old", "new", "description"),
    [
        (fields(), {**fields(a=S), "required": ["a"]}, "Required property a was added"),
        (fields(), fields(a=S), "Optional property a was added"),
        (S, {"type": "integer"}, "Type changed from string to integer"),
        (fields(a=S), {**fields(a=S), "required": ["a"]}, "Field a is newly required"),
        (S, {**S, "pattern": "^a$"}, "Validation pattern ^a$ was added"),
        ({**S, "pattern": "a"}, {**S, "pattern": "b"}, "Validation pattern changed from a to b"),
        (S, {**S, "maxLength": 5}, "MaxLength constraint 5 was added"),
        (
            {"type": "number", "maximum": 1e21},
            {"type": "number"},
            "Maximum constraint 1000000000000000000000 was removed",
        ),
        ({"type": "integer", "enum": [1]}, {"type": "integer", "enum": [1, 2]}, "Enum value 2 was added"),
        ({**S, "description": "a"}, {**S, "description": "b"}, "Description field was changed from a to b"),
    ],
)
def test_description(old: Any, new: Any, description: str) -> None:
    report = compat.compare_versions(version(old), version(new))
    assert [c.description for c in report.changes] == [description]
