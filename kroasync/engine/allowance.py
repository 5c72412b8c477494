"""What one pass over an instance may compute, and when it should let others run.

Steps are those of `kroasync.cel.meter`: about half a microsecond each at most. A single evaluation is never
interrupted, so its budget is also how long a pass can keep everything else waiting. The engine knows no clock: the
shell says when a pass is tired.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final, Protocol

from kroasync.cel import BudgetError, Meter, to_json

# One evaluation: at most about 150 ms; 500 by 500 small comparisons, or a list of half a million numbers.
EVALUATION_STEPS: Final = 300_000
# All evaluations of a pass: a few seconds.
PASS_STEPS: Final = 10_000_000
# Results that are JSON as they are.
_SCALARS: Final = frozenset((str, int, bool, type(None)))
# What an evaluation costs however small it is.
_BASE_STEPS: Final = 10


class Evaluable(Protocol):
    """A compiled expression."""

    def evaluate(self, variables: Mapping[str, Any], *, budget: Meter) -> Any:
        """The value; raises EvalError."""


def never() -> bool:
    """Nobody waits: there is no need to interrupt anything."""
    return False


class Allowance:
    """The steps a pass has left. `tired` says that it has computed long enough without a pause."""

    __slots__ = ("_evaluation", "_left", "_meter", "_whole", "taken", "tired")

    def __init__(
        self,
        *,
        evaluation: int = EVALUATION_STEPS,
        whole: int = PASS_STEPS,
        tired: Callable[[], bool] = never,
    ) -> None:
        self._evaluation = evaluation
        self._whole = whole
        self._left = whole
        self._meter = Meter(evaluation)
        self.tired = tired
        # Steps of the last evaluation or conversion.
        self.taken = 0

    def run(self, program: Evaluable, variables: Mapping[str, Any]) -> Any:
        """The value of an expression; raises EvalError, which is a BudgetError when too many steps are taken."""
        given = self._give()
        try:
            return program.evaluate(variables, budget=self._meter)
        except BudgetError:
            raise self._overspent(given) from None
        finally:
            self._take(given)

    def json(self, value: Any) -> Any:
        """A result as JSON, which costs by its size, as often as anything stands in it; raises CelError."""
        if value.__class__ in _SCALARS:
            self.taken = 0
            return value
        given = self._give()
        try:
            return to_json(value, self._meter)
        except BudgetError:
            raise self._overspent(given) from None
        finally:
            self._take(given)

    def _give(self) -> int:
        given = min(self._evaluation, self._left)
        if given <= 0:
            raise self._exhausted()
        self._meter.restart(given)
        return given

    def _take(self, given: int) -> None:
        self.taken = given - max(self._meter.left, 0) + _BASE_STEPS
        self._left -= self.taken

    def _overspent(self, given: int) -> BudgetError:
        return self._exhausted() if given < self._evaluation else self._meter.exhausted()

    def _exhausted(self) -> BudgetError:
        return BudgetError(f"all evaluations of a pass together exceed their budget of {self._whole} steps")
