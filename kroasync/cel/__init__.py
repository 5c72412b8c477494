"""The Common Expression Language: the door to it.

    env = Env(variables={"schema": object_type("schema")}, types=provider)
    program = env.program("schema.spec.replicas > 1")
    program.evaluate({"schema": {...}})

Callers may also import `cel.types` and `cel.syntax`. An import contract keeps everything else private.
Pure: no I/O beyond the package's own data, no clock, no global state. Inputs are plain JSON data and are never changed.
"""

from kroasync.cel.check.mentions import Mentions, find_mentions
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
from kroasync.cel.meter import Meter
from kroasync.cel.run.compiler import Program
from kroasync.cel.run.json_form import to_json
from kroasync.cel.syntax import Ast, CheckedAst
from kroasync.cel.types import Type, TypeProvider
from kroasync.cel.values import NONE, OMIT, Condition, Optional

__all__ = [
    "NONE",
    "OMIT",
    "Ast",
    "BudgetError",
    "CelError",
    "CheckError",
    "CheckedAst",
    "Condition",
    "ConversionError",
    "Env",
    "EvalError",
    "IndexError_",
    "Issue",
    "Library",
    "MacroDoc",
    "Mentions",
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
    "find_mentions",
    "fits",
    "outermost",
    "to_json",
]
