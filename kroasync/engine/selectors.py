"""Label selectors: convert them from manifests to the string of the API, and match them without a server.

The string has the form of apimachinery: requirements sorted by key and joined by commas. The empty selector matches
everything.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

_NAME: Final = re.compile(r"[A-Za-z0-9](?:[-_.A-Za-z0-9]{0,61}[A-Za-z0-9])?", re.ASCII)
_VALUE: Final = re.compile(r"(?:[A-Za-z0-9](?:[-_.A-Za-z0-9]{0,61}[A-Za-z0-9])?)?", re.ASCII)
_PREFIX: Final = re.compile(r"[a-z0-9](?:[-.a-z0-9]{0,251}[a-z0-9])?", re.ASCII)
_TERM: Final = re.compile(
    r"(?P<not>!)?(?P<key>[^\s!=,()]+)\s*"
    r"(?:(?P<set>in|notin)\s*\((?P<values>[^)]*)\)|(?P<eq>!=|==|=)\s*(?P<value>[^,\s]*))?"
)


class SelectorError(ValueError):
    """A label selector that the API server would reject."""


def selector_text(selector: Mapping[str, Any] | None) -> str:
    """The string form of `{matchLabels, matchExpressions}`; raises SelectorError."""
    if not selector:
        return ""
    labels, expressions = selector.get("matchLabels") or {}, selector.get("matchExpressions") or []
    if not isinstance(labels, dict) or not isinstance(expressions, list):
        raise SelectorError("matchLabels must be a map and matchExpressions a list")
    terms = [(key, f"{_key(key)}={_value(value)}") for key, value in labels.items()]
    terms += [_requirement(expression) for expression in expressions]
    return ",".join(text for _, text in sorted(terms))


def _requirement(expression: Any) -> tuple[str, str]:
    if not isinstance(expression, dict):
        raise SelectorError("an entry of matchExpressions must be a map")
    key, operator, values = (
        _key(expression.get("key")),
        expression.get("operator"),
        expression.get("values") or [],
    )
    if not isinstance(values, list):
        raise SelectorError(f'values of "{key}" must be a list')
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
    if not _NAME.fullmatch(name) or (slash and not _PREFIX.fullmatch(prefix)):
        raise SelectorError(f'"{key}" is not a valid label key')
    return str(key)


def _value(value: Any) -> str:
    if not isinstance(value, str) or not _VALUE.fullmatch(value):
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
