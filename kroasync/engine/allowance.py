"""Limit how much one pass over an instance computes, and decide when it lets others run.

The unit is a step of `kroasync.cel.meter`: at most about half a microsecond. An evaluation is never interrupted, so its
budget also bounds how long a pass can block everything else. The engine has no clock: the caller says when a pass is
tired.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final, Protocol, TypeAlias

from kroasync.cel import BudgetError, Meter, to_json

# One evaluation: about 150 ms at most. This suffices for 500 by 500 small comparisons, or a list of 500,000 numbers.
EVALUATION_STEPS: Final = 300_000
# All evaluations of a pass: a few seconds.
PASS_STEPS: Final = 10_000_000
# Results that need no conversion to JSON.
_SCALARS: Final = frozenset((str, int, bool, type(None)))
# The cost of every evaluation, however small.
_BASE_STEPS: Final = 10


class Evaluable(Protocol):
    """A compiled expression."""

    def evaluate(self, variables: Mapping[str, Any], *, budget: Meter) -> Any:
        """The value; raises EvalError."""


Evaluate: TypeAlias = Callable[[Evaluable, Mapping[str, Any], Meter], Any]


def untimed(program: Evaluable, variables: Mapping[str, Any], meter: Meter) -> Any:
    """The value of an expression; raises EvalError."""
    return program.evaluate(variables, budget=meter)


def never() -> bool:
    """Say that the pass is not tired: nobody else waits."""
    return False


class Allowance:
    """The steps that a pass has left. `tired` returns True if the pass has computed long enough without a pause;
    `evaluate` evaluates one expression.
    """

    __slots__ = ("_evaluate", "_evaluation", "_left", "_meter", "_whole", "taken", "tired")

    def __init__(
        self,
        *,
        evaluation: int = EVALUATION_STEPS,
        whole: int = PASS_STEPS,
        tired: Callable[[], bool] = never,
        evaluate: Evaluate = untimed,
    ) -> None:
        self._evaluate = evaluate
        self._evaluation = evaluation
        self._whole = whole
        self._left = whole
        self._meter = Meter(evaluation)
        self.tired = tired
        # Steps of the last evaluation or conversion.
        self.taken = 0

    def run(self, program: Evaluable, variables: Mapping[str, Any]) -> Any:
        """The value of an expression; raises EvalError, or BudgetError if the evaluation takes too many steps."""
        given = self._give()
        try:
            return self._evaluate(program, variables, self._meter)
        except BudgetError:
            raise self._overspent(given) from None
        finally:
            self._take(given)

    def json(self, value: Any) -> Any:
        """A result as JSON; raises CelError. The cost follows the size of the JSON, with every repetition counted."""
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
