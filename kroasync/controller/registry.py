"""The definitions there are, what is remembered of each between passes, and which of them generates which CRD.

A definition is found by what it waits for, by the CRD it generates or would generate, and by the labels of a CRD. None
of this is needed after a restart: the next pass over a definition fills it in.
"""

from collections.abc import Callable
from dataclasses import dataclass

from kroasync.controller.crds import SeenCrd
from kroasync.controller.room import EndlessRoom
from kroasync.controller.store import InstanceStore
from kroasync.engine.labels import label_value
from kroasync.graph.build import Built
from kroasync.model import names
from kroasync.model.definition import parse_definition
from kroasync.model.kinds import GRAPH_DEFINITIONS, GROUPS
from kroasync.model.objects import GVK, Key, Obj, labels_of
from kroasync.schema.crd import crd_name


def key_of_identity(identity: str) -> Key:
    """The definition that revisions refer to by this name (`revisions.identity_of`)."""
    namespace, _, name = identity.rpartition("/")
    return Key(GROUPS if namespace else GRAPH_DEFINITIONS, namespace, name)


@dataclass(slots=True)
class Remembered:
    """What is remembered of a definition between passes."""

    # Of which object, and which of its specs, `built` is.
    uid: str = ""
    generation: int = 0
    built: Built | None = None
    # While it has no graph: the kinds it uses, whose absence or schema may be why.
    refused_over: tuple[GVK, ...] = ()
    # Name of the CRD it generates, whoever owns that now.
    crd: str = ""
    issued: int = 0
    # The last status may have been written although no answer came: the cache may be behind it.
    unsure: bool = False


class Registry:
    """The definitions of both kinds. `stores` caches them, by resource.

    `wake` puts a definition into the queue; `gone` is told the name of one that no longer exists.
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
            # One of them may have the kind now.
            self._wake(rival)
        self._gone(key.name)

    def store(self, key: Key) -> InstanceStore:
        return self.stores[key.resource]

    def get(self, key: Key) -> Obj | None:
        """The definition as it is cached."""
        return self.store(key).get(key)

    def of(self, key: Key) -> Remembered:
        """What is remembered of a definition, from now on if nothing was."""
        return self.remembered.setdefault(key, Remembered())

    def is_unsure(self, key: Key) -> bool:
        known = self.remembered.get(key)
        return known is not None and known.unsure

    def forget(self, key: Key) -> None:
        """The definition is gone."""
        self.remembered.pop(key, None)

    def concerned_with(self, group_kind: tuple[str, str]) -> list[Key]:
        """The definitions that wait for a kind to appear, or were refused with the schema it had."""
        return [
            key
            for key, known in self.remembered.items()
            if any((gvk.group, gvk.kind) == group_kind for gvk in known.refused_over)
        ]

    def generating(self, crd: str) -> list[Key]:
        """The definitions that generate a CRD of this name, or would if it were theirs."""
        return [key for key, known in self.remembered.items() if known.crd == crd]

    def rivals(self, definition: Obj) -> list[Key]:
        """The definitions that want to generate the same CRD as this one, which may be gone."""
        parsed, _ = parse_definition(definition)
        return self.generating(crd_name(parsed)) if parsed is not None else []

    def owner_of(self, crd: SeenCrd) -> Key | None:
        """The definition whose labels a generated CRD carries."""
        key = self._by_uid(crd.labels.get(names.LABEL_DEFINITION_ID, ""))
        if key is not None:
            return key
        label = crd.labels.get(names.LABEL_DEFINITION_NAME, "")
        return next((key for key in self.stores[GRAPH_DEFINITIONS] if label_value(key.name) == label), None)

    def rival_of(self, key: Key, crd: Obj) -> Key | None:
        """The live definition a CRD belongs to, if that is another one than this."""
        return self._by_uid(labels_of(crd).get(names.LABEL_DEFINITION_ID, ""), but=key)

    def _by_uid(self, uid: str, *, but: Key | None = None) -> Key | None:
        found = (store.key_by_uid(uid) for store in self.stores.values())
        return next((key for key in found if key not in (None, but)), None)
