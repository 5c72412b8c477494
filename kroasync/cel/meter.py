"""How much work one evaluation may do.

A step is half a microsecond of work, more or less: an item of a loop, a few dozen characters copied. CEL has no
unbounded loops, but nested ones over large data, or text that doubles, can take hours; evaluation stops with
BudgetError long before. What a value costs is paid where the value is made, so steps bound memory too.

`tests/benchmarks/pricing.py` tries everything an expression can do against these prices.
"""

from typing import Any, Final

from kroasync.cel.errors import BudgetError

# About one or two seconds of work. kro has no limit; `lists.range(1000000)` alone must still fit.
DEFAULT_BUDGET: Final = 3_000_000
# How many characters or bytes are read or copied in one step.
CHARS_PER_STEP: Final = 64
# How many characters or bytes of two texts are compared in one step.
COMPARED_PER_STEP: Final = 512
# How many elements of a list or map are copied in one step.
ITEMS_PER_STEP: Final = 4
# How many elements are compared with a value in one step.
SEARCHED_PER_STEP: Final = 2
# What an error costs that another operand or element absorbs.
ABSORBED: Final = 12
# How many things that are dear to prepare (patterns, time zones) an evaluation has at hand.
AT_HAND: Final = 32


class Meter:
    """The steps that one evaluation has left."""

    __slots__ = ("at_hand", "left", "limit")

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.left = limit
        # What is prepared already, by what it was made from; the least recently used goes first.
        self.at_hand: dict[Any, Any] | None = None

    def restart(self, steps: int) -> None:
        """Serve another evaluation, which has so many steps."""
        self.left = steps
        self.at_hand = None

    def spend(self, steps: int) -> None:
        """Take steps from what is left; raises BudgetError when nothing is."""
        self.left -= steps
        if self.left < 0:
            raise self.exhausted()

    def exhausted(self) -> BudgetError:
        return BudgetError(f"evaluation exceeds its budget of {self.limit} steps")

    def take(self, key: Any) -> Any:
        """What is at hand for a key, or None: then it is paid for, whatever other evaluations have made."""
        if self.at_hand is None:
            return None
        found = self.at_hand.pop(key, None)
        if found is not None:
            self.at_hand[key] = found
        return found

    def keep(self, key: Any, made: Any) -> None:
        """Have something at hand."""
        if self.at_hand is None:
            self.at_hand = {}
        if len(self.at_hand) >= AT_HAND:
            del self.at_hand[next(iter(self.at_hand))]
        self.at_hand[key] = made
