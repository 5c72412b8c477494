"""The Common Expression Language: the door to it.

    env = Env(variables={"schema": object_type("schema")}, types=provider)
    program = env.program("schema.spec.replicas > 1")
    program.evaluate({"schema": {...}})

Two vocabularies are doors of their own, `cel.types` and `cel.syntax`. An import contract keeps the rest inside.
Pure: no I/O beyond the package's own data, no clock, no global state. Inputs are plain JSON data and are never changed.
"""

from kroasync.cel.budget import Meter
from kroasync.cel.check.inspection import Inspection, inspect
from kroasync.cel.check.reads import outermost
from kroasync.cel.check.unify import fits
from kroasync.cel.decls import Library, MacroDoc, Overload
from kroasync.cel.env import Env
from kroasync.cel.errors import (
    BudgetError,
    CelError,
    CheckError,
    ConversionError,
    EvalError,
    IndexError_,
    Issue,
    NoSuchFieldError,
    NoSuchKeyError,
    OverloadError,
    ParseError,
    PendingError,
    RangeError,
    TooLargeError,
    UnboundError,
    ValueError_,
)
from kroasync.cel.run.compiler import Program
from kroasync.cel.run.convert import to_json
from kroasync.cel.syntax import Ast, Checked
from kroasync.cel.types import Type, TypeProvider
from kroasync.cel.values import NONE, OMIT, Condition, Optional

__all__ = [
    "NONE",
    "OMIT",
    "Ast",
    "BudgetError",
    "CelError",
    "CheckError",
    "Checked",
    "Condition",
    "ConversionError",
    "Env",
    "EvalError",
    "IndexError_",
    "Inspection",
    "Issue",
    "Library",
    "MacroDoc",
    "Meter",
    "NoSuchFieldError",
    "NoSuchKeyError",
    "Optional",
    "Overload",
    "OverloadError",
    "ParseError",
    "PendingError",
    "Program",
    "RangeError",
    "TooLargeError",
    "Type",
    "TypeProvider",
    "UnboundError",
    "ValueError_",
    "fits",
    "inspect",
    "outermost",
    "to_json",
]
