"""Checks that a default matches its own schema, as the API server does when a CRD is created.

Only the API server checks CEL rules. The caller must have checked that the patterns in the schema compile.
"""

from collections.abc import Iterator
from typing import Any, Final

from kroasync.model.objects import Obj
from kroasync.model.paths import build
from kroasync.schema.structural import UNKNOWN, Misfit, Validator

_VALIDATOR: Final = Validator(fills_in=False)
# What a value is that exceeds a bound.
_EXCESSES: Final = {
    "minimum": "less than",
    "maximum": "more than",
    "minLength": "shorter than",
    "maxLength": "longer than",
    "minItems": "shorter than",
    "maxItems": "longer than",
}


def check(value: Any, schema: Obj) -> Iterator[str]:
    """Every reason why a default is not allowed by its schema, as text."""
    return map(_fault_of, _VALIDATOR.misfits(value, schema, ("default",)))


def _fault_of(misfit: Misfit) -> str:
    where, parent, name = build(misfit.path), build(misfit.path[:-1]), misfit.path[-1]
    match misfit.keyword:
        case "type":
            return f"{where} is not of type {misfit.expected}"
        case "enum":
            return f"{where} is not one of its enum values"
        case "pattern":
            return f"{where} does not match its pattern"
        case "required":
            return f"{parent} lacks the required field {name}"
        case keyword if keyword == UNKNOWN:
            return f"{parent} has the unknown field {name}"
        case keyword:
            return f"{where} is {_EXCESSES[keyword]} {keyword} {misfit.expected}"
