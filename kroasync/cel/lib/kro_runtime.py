"""Conditions in `status.conditions`: kro's `runtime.newCondition({...})` and `runtime.condition(obj, type)`.

`runtime.newCondition` is a macro; it becomes a call of `@runtime.newCondition` with type, status, reason and message.
"""

from typing import Any, Final

from kroasync.cel.decls import LibraryBuilder
from kroasync.cel.errors import ValueError_
from kroasync.cel.meter import Meter
from kroasync.cel.run.operations import equal
from kroasync.cel.syntax import CONDITION_KEYS, NEW_CONDITION
from kroasync.cel.types import object_type
from kroasync.cel.values import Condition

CONDITION: Final = object_type("kro.run.Condition")
STATUSES: Final = ("True", "False", "Unknown")

_library = LibraryBuilder(
    "runtime", doc="Conditions, for status.conditions only.", aliases={"kro.run.Condition": CONDITION}
)
_library.macro(
    "runtime.newCondition({type: string, status: string, reason: string, message: string}) kro.run.Condition",
    example="runtime.newCondition({type: 'Up', status: 'True'}).status == 'True'",
    doc="A condition. Keys have no quotes; reason and message are optional. status is True, False or Unknown.",
)


@_library.fn(
    f"{NEW_CONDITION}(string, string, string, string) kro.run.Condition",
    example="runtime.newCondition({type: 'Up', status: 'Unknown', reason: 'R'}).reason == 'R'",
    doc="The call that the macro becomes.",
)
def _new_condition(type: str, status: str, reason: str, message: str) -> Condition:
    if not type:
        raise ValueError_("runtime.newCondition: type must not be empty")
    if status not in STATUSES:
        raise ValueError_(f'runtime.newCondition: status must be one of True, False, Unknown (got "{status[:100]}")')
    return Condition(type, status, reason, message)


@_library.fn(
    "runtime.condition(dyn, string) kro.run.Condition",
    example="runtime.condition({'status': {'conditions': [{'type': 'A', 'reason': 'R'}]}}, 'A').type == 'A'",
    doc="The condition of that type in the object's status; a condition with four empty fields if there is none.",
    metered=True,
    weight=16,
)
def _condition(subject: Any, type: str, *, budget: Meter) -> Condition:
    status = subject.get("status") if isinstance(subject, dict) else None
    conditions = status.get("conditions") if isinstance(status, dict) else None
    for condition in conditions if isinstance(conditions, list) else ():
        budget.spend(1)
        if isinstance(condition, dict) and equal(condition.get("type"), type, budget):
            return Condition(*(_text(condition.get(key)) for key in CONDITION_KEYS))
    return Condition("", "")


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""


LIBRARY: Final = _library.build()
