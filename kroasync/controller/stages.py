"""What a stage of a pass over a definition comes to: the next stage follows, or the pass stops and says why."""

from dataclasses import dataclass, field
from typing import TypeAlias

from kroasync.engine.verdict import AtRest, Verdict


@dataclass(frozen=True, slots=True)
class StageCondition:
    """A condition of the definition as a stage found it."""

    type: str
    status: str
    reason: str
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Proceed:
    """The next stage makes sense. `changes` has what was written, one entry for each write."""

    findings: tuple[StageCondition, ...] = ()
    changes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Stop:
    """The next stage makes no sense. `verdict` says when the definition gets another pass."""

    findings: tuple[StageCondition, ...] = ()
    changes: tuple[str, ...] = ()
    verdict: Verdict = field(default_factory=AtRest)


Stage: TypeAlias = Proceed | Stop
