"""All definitions, the state that is remembered for each between passes, and the CRD that each generates.

The registry finds a definition by the kinds that it waits for, by the CRD that it generates or would generate, and by
the labels of a CRD. A restart loses this state without harm: the next pass over a definition restores it.
"""

from collections.abc import Callable
from dataclasses import dataclass

from kroasync.controller.crds import SeenCrd
from kroasync.controller.instance_store import InstanceStore
from kroasync.controller.room import EndlessRoom
from kroasync.engine.labels import label_value
from kroasync.graph.build import Built
from kroasync.model import names
from kroasync.model.definition import parse_definition
from kroasync.model.kinds import GRAPH_DEFINITIONS, GROUPS
from kroasync.model.objects import GVK, Key, Obj, labels_of
from kroasync.schema.crd import crd_name


def key_of_identity(identity: str) -> Key:
    """The key of the definition that revisions refer to by this name (`revisions.identity_of`)."""
    namespace, _, name = identity.rpartition("/")
    return Key(GROUPS if namespace else GRAPH_DEFINITIONS, namespace, name)


@dataclass(slots=True)
class Remembered:
    """The state that is remembered for a definition between passes."""

    # The UID and the generation that `built` was compiled from.
    uid: str = ""
    generation: int = 0
    built: Built | None = None
    # While the definition has no graph: the kinds that it uses. A missing kind or its schema may be the cause.
    refused_over: tuple[GVK, ...] = ()
    # The name of the CRD that the definition generates, even if another definition owns it now.
    crd: str = ""
    issued: int = 0
    # The last status write got no answer: it may have succeeded, so the cache may be stale.
    unsure: bool = False


class Registry:
    """The definitions of both kinds. `stores` caches them, by resource.

    `wake` puts a definition into the queue; `gone` is called with the name of a definition that no longer exists.
    """

    def __init__(self, wake: Callable[[Key], None], gone: Callable[[str], None]) -> None:
        self._wake = wake
        self._gone = gone
        self.stores = {
            resource: InstanceStore(resource, wake, self._is_gone, room=EndlessRoom())
            for resource in (GROUPS, GRAPH_DEFINITIONS)
        }
        self.remembered: dict[Key, Remembered] = {}

    def _is_gone(self, key: Key, obj: Obj) -> None:
        self._wake(key)
        for rival in self.rivals(obj):
            # The kind is free now, so a rival may take it.
            self._wake(rival)
        self._gone(key.name)

    def store(self, key: Key) -> InstanceStore:
        return self.stores[key.resource]

    def get(self, key: Key) -> Obj | None:
        """The cached definition."""
        return self.store(key).get(key)

    def of(self, key: Key) -> Remembered:
        """The remembered state of a definition; empty state if there was none."""
        return self.remembered.setdefault(key, Remembered())

    def is_unsure(self, key: Key) -> bool:
        known = self.remembered.get(key)
        return known is not None and known.unsure

    def forget(self, key: Key) -> None:
        """Forget a definition that is gone."""
        self.remembered.pop(key, None)

    def concerned_with(self, group_kind: tuple[str, str]) -> list[Key]:
        """The definitions that wait for a kind, or were refused with its former schema."""
        return [
            key
            for key, known in self.remembered.items()
            if any((gvk.group, gvk.kind) == group_kind for gvk in known.refused_over)
        ]

    def generating(self, crd: str) -> list[Key]:
        """The definitions that generate a CRD of this name, or would if they owned it."""
        return [key for key, known in self.remembered.items() if known.crd == crd]

    def rivals(self, definition: Obj) -> list[Key]:
        """The other definitions that declare the same CRD as this definition, which may be gone."""
        parsed, _ = parse_definition(definition)
        return self.generating(crd_name(parsed)) if parsed is not None else []

    def owner_of(self, crd: SeenCrd) -> Key | None:
        """The definition that the labels of a generated CRD name."""
        key = self._by_uid(crd.labels.get(names.LABEL_DEFINITION_ID, ""))
        if key is not None:
            return key
        label = crd.labels.get(names.LABEL_DEFINITION_NAME, "")
        return next((key for key in self.stores[GRAPH_DEFINITIONS] if label_value(key.name) == label), None)

    def rival_of(self, key: Key, crd: Obj) -> Key | None:
        """The live definition that a CRD belongs to; None if that is this definition."""
        return self._by_uid(labels_of(crd).get(names.LABEL_DEFINITION_ID, ""), but=key)

    def _by_uid(self, uid: str, *, but: Key | None = None) -> Key | None:
        found = (store.key_by_uid(uid) for store in self.stores.values())
        return next((key for key in found if key not in (None, but)), None)
