"""The budget for compiling one definition. It counts work, not time, so every machine refuses the same definitions.

The controller compiles between other work, on one thread: `pause_after` says when a turn of the event loop is used up.
A single expression has a limit because it is compiled in four pieces that cannot be interrupted. All expressions
together have a limit because each start and each standby compiles them again, and because of the memory that they take.
"""

from typing import Final

from kroasync.model.paths import Path
from kroasync.model.problems import Problem

MAX_EXPRESSIONS: Final = 20_000
"""Most places with an expression."""
MAX_NODES: Final = 50_000
"""Most nodes of the syntax trees of all expressions; equal texts count once. They take some 50 MB at most."""
MAX_EXPRESSION_NODES: Final = 3_000
"""Most nodes of one expression."""
MAX_EXPRESSION_TYPES: Final = 100_000
"""Most types the check of one expression looks at, parts counted."""
MAX_TYPES: Final = 1_500_000
"""Most types the check of all expressions looks at."""
MAX_REFERENCES: Final = 20_000
"""Most references from one resource to another."""

# The work of one turn, some 10 ms: nodes parsed, inspected, checked or compiled, and values of templates read.
_TURN: Final = 1_000


class OverBudgetError(Exception):
    """The definition is too large to compile; the rest of it is not checked."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.message)
        self.problem = problem


class Budget:
    """The work that the compilation of one definition has done."""

    def __init__(self) -> None:
        self._used: dict[str, int] = {}
        self._turn = 0

    def pause_after(self, work: int) -> bool:
        """Count work; whether others should run now."""
        self._turn += work
        if self._turn < _TURN:
            return False
        self._turn = 0
        return True

    def spend(self, what: str, amount: int, limit: int, path: Path) -> None:
        """Count work; raises OverBudgetError with the path where a limit is exceeded."""
        used = self._used[what] = self._used.get(what, 0) + amount
        if used > limit:
            message = f"the definition is too large: expected at most {limit} {what}, found {used} up to here"
            raise OverBudgetError(Problem(code="definition-size", message=message, path=path))
