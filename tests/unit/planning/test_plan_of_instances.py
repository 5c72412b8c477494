"""Files with instances only: the definitions that generate their kinds are live."""

import asyncio
import json
from typing import Any

import pytest

from kroasync.controller.crd_stage import labelled
from kroasync.graph.build import build
from kroasync.model.definition import parse_definition
from kroasync.model.kinds import CRDS, GRAPH_DEFINITIONS
from kroasync.model.manifests import Text
from kroasync.model.objects import Key, Obj, Resource
from kroasync.planning.forecast import Forecast, Verb
from kroasync.planning.planner import forecast
from kroasync.planning.request import PlanningError, Request
from kroasync.schema.catalog import bundled
from tests.fakes import virtual
from tests.fakes.client import FakeClient
from tests.fakes.kube import FakeServer
from tests.samples import config_map, definition

SHOPS = Resource("kro.run", "v1alpha1", "Shop", "shops")


def shop(name: str, **spec: Any) -> Obj:
    meta = {"name": name, "namespace": "default"}
    return {"apiVersion": "kro.run/v1alpha1", "kind": "Shop", "metadata": meta, "spec": spec}


async def planned(*files: Any, **request: Any) -> Forecast:
    """The forecast for files, where the kind Shop has the instance `a` with the size `1`."""
    server = FakeServer()
    client = FakeClient(server)
    template = config_map("${schema.metadata.name}", data={"size": "${schema.spec.size}"})
    spec = {"size": "string", "mode": 'string | default="slow"'}
    shops = definition("Shop", [{"id": "config", "template": template}], spec=spec)
    await client.create(Key(GRAPH_DEFINITIONS, "", "shop"), shops)
    live = await client.get(Key(GRAPH_DEFINITIONS, "", "shop"))
    parsed, _ = parse_definition(live)
    assert parsed is not None
    graph = build(parsed, bundled()).graph
    await client.create(Key(CRDS, "", "shops.kro.run"), labelled(graph.crd, graph.definition, ""))
    await asyncio.sleep(10)  # in virtual time, until the CRD is established
    await client.create(Key(SHOPS, "default", "a"), shop("a", size="1", mode="slow"))
    texts = [Text("file.yaml", "\n---\n".join(json.dumps(one) for one in files))]
    return await forecast(client, Request(texts=texts, dry_run="none", **request), lambda *_: None)


def edits(found: Forecast) -> dict[str, tuple[Verb | None, list[str]]]:
    return {
        one.key.name: (one.edit.verb, [change.path for change in one.edit.fields]) if one.edit else (None, [])
        for one in found.instances
    }


def test_instances_of_a_live_definition_are_planned() -> None:
    found = virtual.run(planned(shop("a", size="2"), shop("b", size="1")))
    assert edits(found) == {"a": (Verb.UPDATE, ["spec.size"]), "b": (Verb.CREATE, [])}
    created = {step.key.name for one in found.instances for step in one.steps if step.key}
    assert created == {"a", "b"}
    assert found.definitions == ()


def test_a_default_that_a_file_does_not_say_is_no_change() -> None:
    assert edits(virtual.run(planned(shop("a", size="1")))) == {"a": (None, [])}


def test_an_instance_that_does_not_fit_the_live_schema_is_a_problem_of_the_file() -> None:
    with pytest.raises(PlanningError) as error:
        virtual.run(planned(shop("a", size=7)))
    assert [(one.source, one.where) for one in error.value.problems] == [("file.yaml", "spec.size")]


@pytest.mark.parametrize("file", [{}, {"a": "b"}, {"kind": ["x"], "apiVersion": 1}, {"kind": "Shop"}])
def test_what_is_no_object_is_no_traceback(file: Obj) -> None:
    assert edits_or_problems(file)


def edits_or_problems(file: Obj) -> object:
    try:
        return edits(virtual.run(planned(file, shop("a", size="1"))))
    except PlanningError as error:
        return error.problems
