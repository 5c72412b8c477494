"""The results of a stage in a pass over a definition: proceed to the next stage, or stop with a reason."""

from dataclasses import dataclass, field
from typing import TypeAlias

from kroasync.engine.verdict import AtRest, Verdict


@dataclass(frozen=True, slots=True)
class StageCondition:
    """A condition of the definition that a stage found."""

    type: str
    status: str
    reason: str
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Proceed:
    """The next stage can run. `changes` names each write of this stage."""

    findings: tuple[StageCondition, ...] = ()
    changes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Stop:
    """The next stage cannot run. `verdict` says when the definition gets another pass."""

    findings: tuple[StageCondition, ...] = ()
    changes: tuple[str, ...] = ()
    verdict: Verdict = field(default_factory=AtRest)


Stage: TypeAlias = Proceed | Stop
