"""React to events of CRDs: start or stop serving a kind, and wake definitions."""

from collections.abc import Callable
from dataclasses import dataclass

from kroasync.controller.crds import SeenCrd
from kroasync.controller.registry import Registry
from kroasync.controller.serving import Serving
from kroasync.model.objects import Key


@dataclass(frozen=True, slots=True)
class CrdEvents:
    """Receives every change of a CRD; `wake` puts a definition into the queue."""

    registry: Registry
    serving: Serving
    wake: Callable[[Key], None]

    def changed(self, before: SeenCrd | None, after: SeenCrd | None) -> None:
        """React to a new state of a CRD; `after` is None if the CRD is gone."""
        crd = after or before
        if crd is None:
            return
        if after is None:
            for served in self.serving.kinds:
                if served.name == crd.name:
                    self.serving.stop(served.resource)
        elif after.established and after.owned:
            # Also a CRD that is being deleted: it waits for its instances, and these wait for our finalizers.
            self.serving.adopt(after.resource())
        for key in self._concerned(crd, after):
            self.wake(key)

    def _concerned(self, crd: SeenCrd, after: SeenCrd | None) -> list[Key]:
        """The definitions that wait for the kind, that generate the CRD, or whose labels the CRD carries."""
        waiting = self.registry.concerned_with(after.group_kind) if after is not None and after.established else []
        owner = self.registry.owner_of(crd) if crd.owned else None
        return [*waiting, *self.registry.generating(crd.name), *([owner] if owner is not None else [])]
