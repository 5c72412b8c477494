"""An instance to plan, and what the files change of the instance itself."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from kroasync.engine.difference import difference, plain, without
from kroasync.engine.offline import defaulted
from kroasync.graph.nodes import Graph
from kroasync.model.objects import Key, Obj, metadata
from kroasync.planning.forecast import (
    PlannedStep,
    Verb,
)
from kroasync.planning.prediction import after_file
from kroasync.schema.crd import instance_schema

# Stands for the UID of what does not exist yet.
NO_UID: Final = "7c0ffee0-0000-4000-8000-000000000000"
_LATER: Final = "(known after apply)"


@dataclass(slots=True, kw_only=True, eq=False)
class PlannedInstance:
    """An instance to plan: as it is (None: it does not exist), and as it would be (None: it would be deleted)."""

    key: Key
    live: Obj | None
    wanted: Obj | None
    # Whether the files themselves have it, or another instance's step.
    by_file: bool = False


def applied(live: Obj | None, obj: Obj, namespace: str) -> Obj:
    """The instance after the file is applied."""
    meta = {k: v for k, v in metadata(obj).items() if k != "namespace"}
    if live is None:
        place = {"namespace": namespace} if namespace else {}
        return {**obj, "metadata": {"uid": NO_UID, "generation": 1, **meta, **place}}
    marks = {name: meta[name] for name in ("labels", "annotations") if meta.get(name)}
    applied = after_file(live, {"metadata": marks, "spec": obj.get("spec") or {}})
    generation = int(metadata(live).get("generation") or 0) + (applied.get("spec") != live.get("spec"))
    return {**applied, "metadata": {**metadata(applied), "generation": generation}}


def patch_to(live: Obj, wanted: Obj) -> Obj:
    """The merge patch that makes `wanted` of the live instance."""
    meta = {
        name: _merge(metadata(live).get(name) or {}, metadata(wanted).get(name) or {})
        for name in ("labels", "annotations")
    }
    return {"metadata": meta, "spec": _merge(live.get("spec") or {}, wanted.get("spec") or {})}


def _merge(before: Obj, after: Obj) -> Obj:
    found: Obj = dict.fromkeys(before.keys() - after.keys())
    for name, value in after.items():
        if name not in before or before[name] != value:
            old = before.get(name)
            found[name] = _merge(old, value) if isinstance(old, dict) and isinstance(value, dict) else value
    return found


def without_uid(step: PlannedStep) -> PlannedStep:
    """The step about an object of an instance that does not exist yet: nobody knows its UID."""
    return replace(step, after=_later(step.after)) if step.after is not None else step


def _later(value: Any) -> Any:
    if isinstance(value, str):
        return value.replace(NO_UID, _LATER)
    if isinstance(value, dict):
        return {name: _later(item) for name, item in value.items()}
    return [_later(item) for item in value] if isinstance(value, list) else value


def filled(instance: Obj, graph: Graph) -> Obj:
    """The instance with the defaults of the graph's schema, as the API server reads it."""
    schema = instance_schema(graph.crd)["properties"].get("spec", {})
    return {**instance, "spec": defaulted(instance.get("spec") or {}, schema)}


def edit_of(subject: PlannedInstance, graph: Graph | None, ignored: Sequence[str]) -> PlannedStep | None:
    """What the files change of the instance itself. A default that the file does not say is no change."""
    live, wanted = subject.live, subject.wanted
    if not subject.by_file or wanted is None:
        return None
    if graph is not None:
        live, wanted = live and filled(live, graph), filled(wanted, graph)
    shown = without(plain(wanted), ignored)
    if live is None:
        return PlannedStep(verb=Verb.CREATE, node="", key=subject.key, after=shown)
    fields = difference(live, wanted, ignored=ignored)
    if not fields:
        return None
    before = without(plain(live), ignored)
    return PlannedStep(verb=Verb.UPDATE, node="", key=subject.key, fields=fields, before=before, after=shown)
