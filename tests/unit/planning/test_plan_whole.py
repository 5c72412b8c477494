"""Whole plans over the API server in memory, without dry runs."""

import asyncio
import json
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from kroasync.controller.crd_stage import labelled
from kroasync.graph.build import build
from kroasync.kube.api_errors import ApiError
from kroasync.kube.client import Client
from kroasync.kube.config import Connection
from kroasync.model.definition import parse_definition
from kroasync.model.kinds import CRDS, GRAPH_DEFINITIONS
from kroasync.model.manifests import Text
from kroasync.model.objects import Key, Obj, Resource
from kroasync.model.policies import Adoption, Policies
from kroasync.model.problems import Severity
from kroasync.planning.forecast import Forecast, InstanceForecast, Verb
from kroasync.planning.planned_kinds import field_of
from kroasync.planning.planner import forecast
from kroasync.planning.request import PlanningError, Request
from kroasync.schema.catalog import bundled
from tests.fakes import virtual
from tests.fakes.client import FakeClient
from tests.fakes.kube import FakeServer
from tests.samples import CONFIG_MAPS, config_map, definition

SHOPS = Resource("kro.run", "v1alpha1", "Shop", "shops")
SIZE = {"size": "string"}


def shops(*more: Obj, kind: str = "Shop", name: str = "shop", **data: str) -> Obj:
    """The definition of Shop: a ConfigMap `config`, and more resources."""
    template = config_map("${schema.metadata.name}", data={"size": "${schema.spec.size}", **data})
    return definition(kind, [{"id": "config", "template": template}, *more], name=name, spec=SIZE)


def shop(name: str = "a", kind: str = "Shop", **spec: Any) -> Obj:
    meta = {"name": name, "namespace": "default"}
    return {"apiVersion": "kro.run/v1alpha1", "kind": kind, "metadata": meta, "spec": {"size": "1", **spec}}


def planned(
    *files: Obj,
    live: Obj | None = None,
    there: Sequence[Obj] = (),
    prepare: Callable[[FakeServer], None] = lambda _: None,
    wait_s: float = 10,
    **request: Any,
) -> Forecast:
    """The forecast for files, where Shop is live and has the instance `a` without children."""

    async def run() -> Forecast:
        server = FakeServer()
        client = FakeClient(server)
        await client.create(Key(GRAPH_DEFINITIONS, "", "shop"), live or shops())
        stored = await client.get(Key(GRAPH_DEFINITIONS, "", "shop"))
        parsed, _ = parse_definition(stored)
        assert parsed is not None
        graph = build(parsed, bundled()).graph
        assert graph is not None
        await client.create(Key(CRDS, "", "shops.kro.run"), labelled(graph.crd, graph.definition, ""))
        if wait_s:
            await asyncio.sleep(wait_s)  # in virtual time, until the CRD is established
            await client.create(Key(SHOPS, "default", "a"), shop())
        for obj in there:
            await client.create(Key(CONFIG_MAPS, "default", obj["metadata"]["name"]), obj)
        prepare(server)
        texts = [Text("file.yaml", "\n---\n".join(map(json.dumps, files)))] if files else []
        return await forecast(client, Request(texts=texts, dry_run="none", **request), lambda *_: None)

    found: Forecast = virtual.run(run())
    return found


def of(found: Forecast, name: str = "a") -> InstanceForecast:
    return next(one for one in found.instances if one.key.name == name)


def told(steps: Sequence[Any]) -> list[tuple[Verb, str]]:
    return [(step.verb, step.key.name if step.key else step.node) for step in steps]


def test_a_missing_child_is_drift_and_the_edit_is_a_step() -> None:
    one = of(planned(shops(more="x")))
    assert told(one.drift) == [(Verb.CREATE, "a")]
    assert [(step.verb, [change.path for change in step.fields]) for step in one.steps] == [
        (Verb.UPDATE, ["data.more"])
    ]


def test_a_definition_that_stays_the_same_changes_nothing() -> None:
    found = planned(shops())
    assert (found.definitions[0].verb, of(found).steps) == (None, ())
    assert not found.has_changes


def test_an_instance_of_a_new_kind_is_planned() -> None:
    found = planned(shops(kind="Stall", name="stall"), shop("b", kind="Stall"))
    assert [one.verb for one in found.definitions] == [Verb.CREATE]
    one = of(found, "b")
    assert one.edit is not None
    assert (one.edit.verb, told(one.steps), one.drift) == (Verb.CREATE, [(Verb.CREATE, "b")], ())


def test_nobody_knows_the_uid_of_what_does_not_exist() -> None:
    more = {"id": "more", "template": config_map("${schema.metadata.name}-m", data={"of": "by ${schema.metadata.uid}"})}
    uids = {"id": "uids", "template": config_map("${schema.metadata.name}-u", data={"of": "${more.metadata.uid}"})}
    one = of(planned(shops(more, uids, kind="Stall", name="stall"), shop("b", kind="Stall")), "b")
    assert told(one.steps) == [(Verb.CREATE, "b"), (Verb.CREATE, "b-m"), (Verb.UNKNOWN, "uids")]
    assert one.steps[1].after is not None
    assert one.steps[1].after["data"] == {"of": "by (known after apply)"}


def test_a_renamed_kind_leaves_the_old_one_alone() -> None:
    found = planned(shops(kind="Stall"))
    assert (found.definitions[0].verb, found.definitions[0].kind) == (Verb.UPDATE, "Stall")
    assert "its kind was Shop" in found.definitions[0].why
    assert of(found).steps == ()


def test_a_deleted_definition() -> None:
    found = planned(delete=("shop",))
    assert found.definitions[0].verb is Verb.DELETE
    assert "--allow-crd-deletion" in found.definitions[0].why
    assert found.definitions[0].instances == 1


def test_what_waits_for_readiness_is_shown_with_eventual() -> None:
    waits = {"readyWhen": ['${config.data.size == "never"}']}
    next_one = {"id": "next", "template": config_map("${config.metadata.name}-next")}
    edited = shops(next_one)
    edited["spec"]["resources"][0].update(waits)
    assert told(of(planned(edited)).steps) == [(Verb.UNKNOWN, "next")]
    assert told(of(planned(edited, eventual=True)).steps) == [(Verb.CREATE, "a-next")]


@pytest.mark.parametrize(
    ("policy", "marks", "verb", "why"),
    [
        ({}, {}, Verb.UPDATE, "adopts an object that exists"),
        ({}, {"labels": {"app.kubernetes.io/managed-by": "Helm"}}, Verb.REFUSED, "Helm"),
        ({"adoption": "Always"}, {"labels": {"app.kubernetes.io/managed-by": "Helm"}}, Verb.UPDATE, "adopts"),
        ({"adoption": "Never"}, {}, Verb.REFUSED, "adoption: Never"),
        ({}, {"labels": {"applyset.kubernetes.io/part-of": "other"}}, Verb.REFUSED, 'ApplySet "other"'),
    ],
)
def test_what_exists_already_is_adopted_or_not(policy: Obj, marks: Obj, verb: Verb, why: str) -> None:
    more = {"id": "more", "template": config_map("taken", data={"v": "1"}), "policy": policy}
    one = of(planned(shops(more), there=[config_map("taken", "default", {"v": "0", "w": "0"}, **marks)]))
    (step,) = one.steps
    assert step.verb is verb
    assert why in step.why
    if verb is Verb.UPDATE:
        assert step.after is not None
        assert step.after["data"] == {"v": "1", "w": "0"}


def test_an_instance_that_the_new_schema_refuses_is_named() -> None:
    edited = shops()
    edited["spec"]["schema"]["spec"] = {"size": "string | minLength=3"}
    (one,) = planned(edited).definitions
    assert {step.path for step in one.schema} == {"spec.size"}
    (unfit,) = one.misfits
    assert (unfit.key.name, len(unfit.problems)) == ("a", 1)
    assert unfit.problems[0].startswith("spec.size: ")
    assert not unfit.problems[0].endswith("]")


def test_an_error_of_an_expression_is_a_refused_step() -> None:
    more = {
        "id": "more",
        "template": config_map(
            "${schema.metadata.name}-m", data={"v": '${string(1 / (schema.spec.size == "1" ? 0 : 1))}'}
        ),
    }
    (step,) = of(planned(shops(more))).steps
    assert (step.verb, step.node) == (Verb.REFUSED, "more")


def test_a_definition_that_does_not_compile_is_located() -> None:
    with pytest.raises(PlanningError) as raised:
        planned(shops(bad="${schema.spec.nothing}"))
    assert any("file.yaml" in str(problem) and "nothing" in str(problem) for problem in raised.value.problems)


@pytest.mark.parametrize("name", ["Shop", "/a", "Nothing/a", "a/b/c/d"])
def test_a_wrong_name_of_an_instance_is_said(name: str) -> None:
    with pytest.raises(PlanningError, match=name.removesuffix("/a") or name):
        planned(shops(), instances=(name,))


def test_one_named_instance() -> None:
    found = planned(instances=("shop/default/a",))
    assert told(of(found).drift) == [(Verb.CREATE, "a")]
    assert planned(instances=("shop/default/b",)).instances == ()


def test_a_crd_that_is_not_established_is_said() -> None:
    (one,) = planned(shops(more="x"), wait_s=0).definitions
    assert "not established" in one.why


def test_a_definition_that_nobody_has_cannot_be_deleted() -> None:
    with pytest.raises(PlanningError, match="nothing"):
        planned(delete=("nothing",))


async def test_without_a_cluster_there_is_no_plan() -> None:
    connection = Connection("http://127.0.0.1:1")
    with pytest.raises(ApiError):
        await forecast(Client(connection), Request(texts=[Text("f", json.dumps(shops()))]), lambda *_: None)
    await connection.close()


def test_an_object_of_a_kind_that_nobody_knows_is_said() -> None:
    found = planned(shop("b", kind="Stall"), config_map("c", "default"))
    assert found.unread == (
        "file.yaml: no definition generates the kind Stall (kro.run/v1alpha1), so its objects are not planned",
    )


def test_the_default_policies_of_the_controller_count() -> None:
    there = [config_map("a", data={"size": "0"})]
    edit = shops(more="x")
    assert Verb.UPDATE in {step.verb for step in of(planned(edit, there=there)).drift}
    never = of(planned(edit, there=there, policies=Policies(adoption=Adoption.NEVER)))
    assert {step.verb for step in (*never.steps, *never.drift)} == {Verb.REFUSED}


def test_warnings_about_the_files_are_told() -> None:
    edit = shops()
    edit["spec"]["resources"][0]["comment"] = "x"
    assert [(one.code, one.severity) for one in planned(edit).warnings] == [("unknown-field", Severity.WARNING)]


@pytest.mark.parametrize(
    ("place", "field"),
    [
        (".properties.spec.properties.ports.items.properties.name", "spec.ports[].name"),
        (".properties.spec.properties.properties.additionalProperties", "spec.properties[*]"),
        (".properties.metadata.properties.name", "metadata.name"),
        ("version", "version"),
        ("", ""),
    ],
)
def test_the_field_of_a_place_in_a_schema(place: str, field: str) -> None:
    assert field_of(place) == field
