"""How `&&`, `||`, `all` and `exists` absorb errors: an error counts only if no operand or element decides.

False decides `&&` and `all`, True decides `||` and `exists`. Their code is fast while there is no error. After the
first error, they ask this module whether a remaining operand or element decides; if none does, the first error is
raised.
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
    """Whether an operand or a predicate has the deciding value; absorbs its error."""
    try:
        return code(frame) is decisive
    except EvalError as error:
        absorb(error, meter)
        return False
