"""Searches the memory of a controller: after all instances and definitions are gone, nothing of them may remain."""

from collections.abc import Mapping
from typing import Any

from kroasync.controller.runtime import Runtime
from kroasync.model.objects import Key


def remembered(runtime: Runtime, foreign: Mapping[Key, str]) -> list[str]:
    """The entries of the controller's structures; `foreign` are the remaining objects of others with our labels."""
    parts = runtime.parts
    caches, queues, instances = parts.caches, parts.queues, parts.instances
    children, registry = caches.children, caches.registry
    kept: dict[str, Any] = {
        "children": [key for key in children._children if key not in foreign],
        "unanswered applies": children._unanswered,
        "definitions": [*registry.remembered, *(key for store in registry.stores.values() for key in store)],
        "revisions": caches.revisions._by_name,
        "instances by UID": caches.kinds.by_uid,
        "unsure statuses": instances.observing.unsure,
        "notes": instances.recording.told._notes,
        "external watches": [name for name, _ in parts.watches.items() if name.startswith("watch external")],
        "passes": [task.get_name() for passes in (runtime._instances, runtime._definitions) for task in passes.tasks],
    }
    for served in caches.kinds:
        kept[f"instances of {served.name}"] = list(served.instances)
        kept[f"dropped instances of {served.name}"] = served.dropped
        kept[f"graph of {served.name}"] = [served.definition] if served.definition is not None else []
    for name, queue in (("instances", queues.instances), ("definitions", queues.definitions)):
        kept[f"queue of {name}"] = queue._waiting
        kept[f"work of {name}"] = queue._in_work
        kept[f"delays of {name}"] = queue._due
        kept[f"failures of {name}"] = queue._failures
        kept[f"repeats of {name}"] = queue._again
    return [f"{name}: {', '.join(sorted(map(str, values)))}" for name, values in kept.items() if values]
