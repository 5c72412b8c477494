"""The budget for compiling one definition. It counts work, not time, so every machine rejects the same definitions.

The controller compiles between other work, on one thread: `pause_after` reports when one turn of the event loop is used
up. A single expression has a limit because its compilation has four steps that cannot be interrupted. All expressions
together have a limit because each start and each standby compiles them again, and because they need memory.
"""

from typing import Final

from kroasync.model.paths import Path
from kroasync.model.problems import Problem

MAX_EXPRESSIONS: Final = 20_000
"""The maximum number of places with an expression."""
MAX_NODES: Final = 50_000
"""The maximum number of syntax tree nodes of all expressions (at most about 50 MB); equal texts count once."""
MAX_EXPRESSION_NODES: Final = 3_000
"""The maximum number of nodes of one expression."""
MAX_EXPRESSION_TYPES: Final = 100_000
"""The maximum number of types, including parts of types, that the check of one expression visits."""
MAX_RESULT_TYPES: Final = 20_000
"""The maximum number of types that the comparison of one result with its field looks at."""
MAX_TYPES: Final = 1_500_000
"""The maximum number of types that the check of all expressions visits."""
MAX_REFERENCES: Final = 20_000
"""The maximum number of references from one resource to another."""

# The work of one turn, about 10 ms: nodes parsed, inspected, checked or compiled, and template values read.
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
        """Count work; True if other tasks should run now."""
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
