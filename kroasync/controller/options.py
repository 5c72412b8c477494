"""The options of the controller. Every part gets the whole group and reads the options that concern it."""

from dataclasses import dataclass, field

from kroasync.controller.neighbour import KRO_NAMESPACES
from kroasync.engine.plan import Options
from kroasync.graph.build import Limits


@dataclass(frozen=True, slots=True, kw_only=True)
class RuntimeOptions:
    """Durations are in seconds."""

    version: str = "devel"
    identity: str = "kroasync"
    workers: int = 32
    definition_workers: int = 4
    min_delay_s: float = 0.2
    max_delay_s: float = 1000.0
    resync_s: float = 36000.0
    # The longest delay between two attempts if no watch announces the change; 0 for no limit.
    requeue_s: float = 3.0
    # The longest delay between two reads of a CRD that is not established yet.
    progress_s: float = 3.0
    stop_after_s: float = 60.0
    idle_deadline_s: float = 150.0
    events: bool = True
    allow_crd_deletion: bool = False
    # How many revisions of each definition to keep; 0 for all.
    max_revisions: int = 5
    limits: Limits = field(default_factory=Limits)
    engine: Options = field(default_factory=Options)
    features: frozenset[str] = frozenset()
    kro_namespaces: frozenset[str] = frozenset(KRO_NAMESPACES)
