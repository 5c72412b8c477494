"""How much work one evaluation may do.

A step is about one small operation: an item of a loop, a few dozen characters copied. CEL has no unbounded loops, but
nested ones over large data, or text that doubles, can take hours; evaluation stops with BudgetError long before.
"""

from typing import Final

from kroasync.cel.errors import BudgetError

# About one or two seconds of work. kro has no limit; `lists.range(1000000)` alone must still fit.
DEFAULT_BUDGET: Final = 3_000_000
# How many characters or bytes are read or copied in one step.
CHARS_PER_STEP: Final = 64
# How many elements of a list or map are copied in one step.
ITEMS_PER_STEP: Final = 4


class Meter:
    """The steps that one evaluation has left."""

    __slots__ = ("left", "limit")

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.left = limit

    def spend(self, steps: int) -> None:
        """Take steps from what is left; raises BudgetError when nothing is."""
        self.left -= steps
        if self.left < 0:
            raise self.exhausted()

    def exhausted(self) -> BudgetError:
        return BudgetError(f"evaluation exceeds its budget of {self.limit} steps")
