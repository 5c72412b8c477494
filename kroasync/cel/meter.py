"""The budget of one evaluation.

A step is about half a microsecond of work: an item of a loop, or a few dozen copied characters. CEL has no unbounded
loops, but nested loops over large data, or text that doubles, can take hours. Evaluation stops with BudgetError long
before that. The code that makes a value pays for it, so steps bound memory too.

`tests/benchmarks/pricing.py` measures everything that an expression can do against these prices.
"""

from typing import Any, Final

from kroasync.cel.errors import BudgetError

# About one or two seconds of work. kro has no limit; `lists.range(1000000)` alone must still fit.
DEFAULT_BUDGET: Final = 3_000_000
# How many characters or bytes are read or copied in one step.
CHARS_PER_STEP: Final = 64
# How many characters or bytes are compared in one step.
COMPARED_PER_STEP: Final = 512
# How many elements of a list or map are copied in one step.
ITEMS_PER_STEP: Final = 4
# How many elements are compared with a value in one step.
SEARCHED_PER_STEP: Final = 2
# The cost of an error that another operand or element absorbs.
ABSORBED: Final = 12
# How many prepared things (patterns, time zones) an evaluation keeps; they are expensive to prepare.
AT_HAND: Final = 32


class Meter:
    """The remaining steps of one evaluation."""

    __slots__ = ("at_hand", "left", "limit")

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.left = limit
        # Prepared things by the text they were made from; the least recently used is dropped first.
        self.at_hand: dict[Any, Any] | None = None

    def restart(self, steps: int) -> None:
        """Start another evaluation with that many steps."""
        self.left = steps
        self.at_hand = None

    def spend(self, steps: int) -> None:
        """Take steps from the remaining ones; raises BudgetError when no step remains."""
        self.left -= steps
        if self.left < 0:
            raise self.exhausted()

    def exhausted(self) -> BudgetError:
        return BudgetError(f"evaluation exceeds its budget of {self.limit} steps")

    def take(self, key: Any) -> Any:
        """The prepared thing for a key, or None; then this evaluation pays, even if another one has prepared it."""
        if self.at_hand is None:
            return None
        found = self.at_hand.pop(key, None)
        if found is not None:
            self.at_hand[key] = found
        return found

    def keep(self, key: Any, made: Any) -> None:
        """Keep a prepared thing for this evaluation."""
        if self.at_hand is None:
            self.at_hand = {}
        if len(self.at_hand) >= AT_HAND:
            del self.at_hand[next(iter(self.at_hand))]
        self.at_hand[key] = made
