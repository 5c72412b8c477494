"""What a controller still remembers: once all instances and definitions are gone it must not be of them."""

from collections.abc import Mapping
from typing import Any

from kroasync.controller.runtime import Runtime
from kroasync.model.objects import Key


def remembered(runtime: Runtime, foreign: Mapping[Key, str]) -> list[str]:
    """Entries of the controller's structures; `foreign` are objects that carry our labels and are still there."""
    definitions, instances = runtime._definitions, runtime._instances
    if definitions is None or instances is None or runtime.watches is None:
        return ["the controller does not work yet"]
    children = runtime.children
    kept: dict[str, Any] = {
        "children": [key for key in children._children if key not in foreign],
        "unanswered applies": children._unanswered,
        "definitions": [*runtime.registry.remembered, *(key for store in runtime.stores.values() for key in store)],
        "revisions": runtime.revisions._by_name,
        "instances by UID": runtime.kinds.by_uid,
        "unsure statuses": instances.observing.unsure,
        "notes": instances.recording.told._notes,
        "external watches": [name for name, _ in runtime.watches.items() if name.startswith("watch external")],
        "passes": [task.get_name() for task in runtime._passes],
    }
    for served in runtime.kinds:
        kept[f"instances of {served.name}"] = list(served.instances)
        kept[f"dropped instances of {served.name}"] = served.dropped
        kept[f"graph of {served.name}"] = [served.definition] if served.definition is not None else []
    for name, queue in (("instances", runtime.queue), ("definitions", runtime.definition_queue)):
        kept[f"queue of {name}"] = queue._waiting
        kept[f"work of {name}"] = queue._in_work
        kept[f"delays of {name}"] = queue._due
        kept[f"failures of {name}"] = queue._failures
        kept[f"repeats of {name}"] = queue._again
    return [f"{name}: {', '.join(sorted(map(str, values)))}" for name, values in kept.items() if values]
