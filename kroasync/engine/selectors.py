"""Label selectors: convert them from manifests to the string of the API, and match them without a server.

The string has the form of apimachinery: requirements sorted by key and joined by commas. The empty selector matches
everything.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final, TypeVar

from kroasync.model.definition import type_name
from kroasync.model.name_forms import LABEL_TEXT, is_label_value

_PREFIX: Final = re.compile(r"[a-z0-9](?:[-.a-z0-9]{0,251}[a-z0-9])?", re.ASCII)
_TERM: Final = re.compile(
    r"(?P<not>!)?(?P<key>[^\s!=,()]+)\s*"
    r"(?:(?P<set>in|notin)\s*\((?P<values>[^)]*)\)|(?P<eq>!=|==|=)\s*(?P<value>[^,\s]*))?"
)


class SelectorError(ValueError):
    """A label selector that the API server would reject."""


_FIELDS: Final = ("matchLabels", "matchExpressions")


def selector_text(selector: Any) -> str:
    """The string form of `{matchLabels, matchExpressions}`; raises SelectorError.

    It never selects more than is meant: what is not a label selector, such as a map of labels, is refused.
    """
    if not isinstance(selector, dict):
        raise SelectorError(f"expected an object with {' or '.join(_FIELDS)}, found {type_name(selector)}")
    unknown = [key for key in selector if key not in _FIELDS]
    if unknown:
        raise SelectorError(f'unknown field "{unknown[0]}", expected {" or ".join(_FIELDS)}')
    labels, expressions = _part(selector, "matchLabels", dict), _part(selector, "matchExpressions", list)
    terms = [(key, f"{_key(key)}={_value(value)}") for key, value in labels.items()]
    terms += [_requirement(expression) for expression in expressions]
    return ",".join(text for _, text in sorted(terms))


_Part = TypeVar("_Part", dict[str, Any], list[Any])


def _part(fields: Mapping[str, Any], key: str, kind: type[_Part]) -> _Part:
    """A field that may be absent or null."""
    value = fields.get(key)
    if value is None:
        return kind()
    if not isinstance(value, kind):
        expected = "a list" if kind is list else "an object"
        raise SelectorError(f"{key}: expected {expected}, found {type_name(value)}")
    return value


def _requirement(expression: Any) -> tuple[str, str]:
    if not isinstance(expression, dict):
        raise SelectorError(f"an entry of matchExpressions: expected an object, found {type_name(expression)}")
    key, operator, values = (
        _key(expression.get("key")),
        expression.get("operator"),
        _part(expression, "values", list),
    )
    if operator in ("Exists", "DoesNotExist"):
        if values:
            raise SelectorError(f"values must be empty for operator {operator}")
        return key, key if operator == "Exists" else f"!{key}"
    if operator not in ("In", "NotIn"):
        raise SelectorError(f'"{operator}" is not a valid label selector operator')
    if not values:
        raise SelectorError(f"values must not be empty for operator {operator}")
    listed = ",".join(sorted(_value(value) for value in values))
    return key, f"{key} {'in' if operator == 'In' else 'notin'} ({listed})"


def _key(key: Any) -> str:
    prefix, slash, name = key.rpartition("/") if isinstance(key, str) else ("", "", "")
    if not LABEL_TEXT.fullmatch(name) or (slash and not _PREFIX.fullmatch(prefix)):
        raise SelectorError(f'"{key}" is not a valid label key')
    return str(key)


def _value(value: Any) -> str:
    if not isinstance(value, str) or not is_label_value(value):
        raise SelectorError(f'"{value}" is not a valid label value')
    return value


def matches(selector: str, labels: Mapping[str, str]) -> bool:
    """Whether labels satisfy a selector string made by `selector_text`."""
    return all(_holds(term, labels) for term in _terms(selector))


def _terms(selector: str) -> Sequence[re.Match[str]]:
    terms: list[re.Match[str]] = []
    position = 0
    while position < len(selector):
        term = _TERM.match(selector, position)
        if term is None:
            raise SelectorError(f'"{selector}" is not a label selector')
        terms.append(term)
        position = term.end()
        while position < len(selector) and selector[position] in ", ":
            position += 1
    return terms


def _holds(term: re.Match[str], labels: Mapping[str, str]) -> bool:
    value = labels.get(term["key"])
    if term["not"]:
        return value is None
    if term["set"]:
        listed = [item.strip() for item in term["values"].split(",")]
        return (value in listed) if term["set"] == "in" else (value not in listed)
    if term["eq"]:
        return value != term["value"] if term["eq"] == "!=" else value == term["value"]
    return value is not None
