"""What a forecast is asked for, and why there may be none."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from kroasync.model.manifests import Document, Text
from kroasync.model.policies import Policies
from kroasync.model.problems import Problem

Progress = Callable[[int, int, str], None]
"""Told how many of how many instances are done, and what is being done."""


class PlanningError(Exception):
    """Nothing can be forecast. `problems` are those of the files, with their places."""

    def __init__(self, message: str, problems: Sequence[Problem] = ()) -> None:
        super().__init__(message)
        self.problems = tuple(problems)


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What to forecast. Without `texts`, the drift of the chosen instances."""

    texts: Sequence[Text] = ()
    # CRDs and definitions that only make kinds known.
    kinds: Sequence[Document] = ()
    # Empty for all namespaces.
    namespace: str = ""
    # KIND/NAMESPACE/NAME or KIND/NAME; empty for all instances of the definitions.
    instances: tuple[str, ...] = ()
    selector: str = ""
    dry_run: str = "all"
    eventual: bool = False
    ignore: tuple[str, ...] = ()
    # Names of definitions that are deleted.
    delete: tuple[str, ...] = ()
    features: frozenset[str] = frozenset()
    # The default policies of the controller.
    policies: Policies = field(default_factory=Policies)
