"""What compiling one definition may cost, counted and never timed: the same definition is refused everywhere.

The controller compiles between other work, on one thread: `pause_after` says when a turn of the event loop is used up.
What a single expression costs is bounded because it is compiled in four pieces that can't be interrupted; what all cost
together, because it is paid again at each start and by each standby, and is what the compiled form takes in memory.
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

# What is done in one turn: nodes parsed, inspected, checked or compiled, values of templates read: some 10 ms.
_TURN: Final = 1_000


class OverBudgetError(Exception):
    """The definition is too much to compile; nothing more of it is looked at."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.message)
        self.problem = problem


class Budget:
    """What the compilation of one definition has used."""

    def __init__(self) -> None:
        self._used: dict[str, int] = {}
        self._turn = 0

    def pause_after(self, work: int) -> bool:
        """Whether others should run now that so much more has been done."""
        self._turn += work
        if self._turn < _TURN:
            return False
        self._turn = 0
        return True

    def spend(self, what: str, amount: int, limit: int, path: Path) -> None:
        """Counts; raises OverBudgetError at the path where there is more of something than allowed."""
        used = self._used[what] = self._used.get(what, 0) + amount
        if used > limit:
            message = f"the definition is too large: expected at most {limit} {what}, found {used} up to here"
            raise OverBudgetError(Problem(code="definition-size", message=message, path=path))
