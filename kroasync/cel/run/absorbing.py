"""How `&&`, `||`, `all` and `exists` take errors: an error counts only if nothing decides.

False decides `&&` and `all`, True decides `||` and `exists`. Their code is fast as long as there is no error. From the
first one on they ask here whether what is left decides; if nothing does, that first error is raised.
"""

from collections.abc import Callable
from typing import Any

from kroasync.cel.errors import BudgetError, EvalError
from kroasync.cel.meter import ABSORBED, Meter


def absorb(error: EvalError, meter: Meter) -> None:
    """Pay for an error that may not count; raises it if the budget is spent."""
    if error.__class__ is BudgetError:
        raise error
    meter.spend(ABSORBED)


def decides(code: Callable[[list[Any]], Any], frame: list[Any], decisive: bool, meter: Meter) -> bool:
    """Whether an operand or a predicate has the deciding value; an error of it is absorbed."""
    try:
        return code(frame) is decisive
    except EvalError as error:
        absorb(error, meter)
        return False
