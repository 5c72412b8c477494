"""The behaviour of an API server that the controller relies on: the real server and the fake one of the simulation."""

import asyncio
import itertools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import orjson
import pytest

from kroasync.kube import openapi
from kroasync.kube.api_errors import (
    AlreadyExistsError,
    ApiError,
    ConflictError,
    GoneError,
    InvalidError,
    NotFoundError,
    error_of_status,
)
from kroasync.kube.client import Client, path_of
from kroasync.kube.config import connect
from kroasync.kube.discovery import Discovery
from kroasync.kube.watch import LineSplitter
from kroasync.model.kinds import CRDS
from kroasync.model.objects import GVK, Key, Obj, Resource
from tests.fakes.client import FakeClient
from tests.fakes.kube import FakeServer
from tests.samples import CONFIG_MAPS, DEPLOYMENTS, NAMESPACES, config_map, crd
from tests.waiting import until_answered, until_missing

SERVICES = Resource("", "v1", "Service", "services")
JOBS = Resource("batch", "v1", "Job", "jobs")
CLAIMS = Resource("", "v1", "PersistentVolumeClaim", "persistentvolumeclaims")
GROUP = "both.example.com"
WIDGETS = Resource(GROUP, "v1", "Widget", "widgets")

_names = (f"both-{number}" for number in itertools.count())


@pytest.fixture(params=["fake", pytest.param("real", marks=pytest.mark.integration)])
async def server(request: pytest.FixtureRequest) -> AsyncIterator[Client]:
    if request.param == "fake":
        yield FakeClient(FakeServer())
        return
    connection = await connect(kubeconfig=str(request.getfixturevalue("plane").kubeconfig))
    yield Client(connection)
    await connection.close()


def configmap(**data: str) -> tuple[Key, Obj]:
    name = next(_names)
    return Key(CONFIG_MAPS, "default", name), config_map(name, "default", data)


def deployment(*containers: Obj, **spec: Any) -> tuple[Key, Obj]:
    name = next(_names)
    template = {"metadata": {"labels": {"app": name}}, "spec": {"containers": list(containers)}}
    return Key(DEPLOYMENTS, "default", name), {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "namespace": "default"},
        "spec": {"selector": {"matchLabels": {"app": name}}, "template": template, **spec},
    }


def widget_kind(**fields: Obj) -> tuple[Key, Obj]:
    status = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    schema = {"type": "object", "properties": {"spec": {"type": "object", "properties": fields}, "status": status}}
    body = crd("Widget", group=GROUP, schema=schema, subresources={"status": {}})
    return Key(CRDS, "", body["metadata"]["name"]), body


async def gone(client: Client, key: Key) -> None:
    await until_missing(lambda: client.get(key))


@asynccontextmanager
async def widgets(client: Client, **fields: Obj) -> AsyncIterator[Key]:
    """A served kind, and the key of a widget that does not exist yet."""
    key, body = widget_kind(**fields)
    await client.create(key, body)
    widget = Key(WIDGETS, "default", next(_names))
    try:
        await until_answered(lambda: listed(client, WIDGETS))
        yield widget
    finally:
        await client.delete(key)
        await gone(client, key)


async def listed(client: Client, resource: Resource) -> str:
    _, version = await client.list(resource)
    return version


def widget_body(widget: Key, **spec: Any) -> Obj:
    return {
        "apiVersion": WIDGETS.api_version,
        "kind": "Widget",
        "metadata": {"name": widget.name, "namespace": "default"},
        "spec": spec,
    }


async def events(client: Client, resource: Resource, version: str, count: int, **query: str) -> list[tuple[str, Obj]]:
    """The next events of a watch from a version; raises the error of an ERROR event."""
    lines, found = LineSplitter(), []
    path = path_of(Key(resource, "default", ""))
    query = {"watch": "true", "resourceVersion": version, **query}
    async with asyncio.timeout(20), client.stream(path, query) as response:
        async for chunk in response.content.iter_any():
            for line in lines.feed(chunk):
                event = orjson.loads(line)
                if event["type"] == "ERROR":
                    raise error_of_status(event["object"])
                found.append((event["type"], event["object"]))
                if len(found) == count:
                    return found
    return found


def managers(obj: Obj) -> dict[str, Obj]:
    return {entry["manager"]: entry["fieldsV1"] for entry in obj["metadata"]["managedFields"]}


def version_of(obj: Obj) -> str:
    return str(obj["metadata"]["resourceVersion"])


async def test_versions_grow_with_every_change_and_only_then(server: Client) -> None:
    key, obj = configmap(a="1")
    created = await server.create(key, obj, manager="m")
    assert created["metadata"]["uid"]
    assert created["metadata"]["creationTimestamp"].endswith("Z")
    assert "generation" not in created["metadata"]
    changed = await server.merge_patch(key, {"data": {"b": "2"}}, manager="m")
    assert int(version_of(changed)) > int(version_of(created))
    again = await server.merge_patch(key, {"data": {"b": "2"}}, manager="m")
    assert version_of(again) == version_of(changed)
    with pytest.raises(AlreadyExistsError):
        await server.create(key, obj)


async def test_writes_bound_to_a_version_or_uid_are_refused_for_another(server: Client) -> None:
    key, obj = configmap(a="1")
    created = await server.create(key, obj)
    await server.merge_patch(key, {"data": {"a": "2"}}, manager="m")
    attempts = [
        lambda: server.put(key, created, manager="m"),
        lambda: server.merge_patch(
            key, {"metadata": {"resourceVersion": version_of(created)}, "data": {"a": "3"}}, manager="m"
        ),
        lambda: server.apply(
            key,
            {**obj, "metadata": {**obj["metadata"], "resourceVersion": version_of(created)}},
            manager="m",
            force=True,
        ),
        lambda: server.delete(key, uid="other"),
        lambda: server.delete(key, uid=created["metadata"]["uid"], version=version_of(created)),
    ]
    for attempt in attempts:
        with pytest.raises(ConflictError) as caught:
            await attempt()
        assert caught.value.reason == "Conflict"
        assert caught.value.managers == ()
    with pytest.raises(InvalidError, match="immutable"):
        await server.merge_patch(key, {"metadata": {"uid": "other"}, "data": {"a": "3"}}, manager="m")
    current = await server.get(key)
    assert current["data"] == {"a": "2"}
    assert await server.delete(key, uid=current["metadata"]["uid"], version=version_of(current)) is None


async def test_an_apply_bound_to_a_version_no_object_has_creates_one_or_changes_nothing(server: Client) -> None:
    """The first apply of a child relies on this: it takes one call, and does not change an existing object."""
    key, obj = configmap(a="1")
    bound = {**obj, "metadata": {**obj["metadata"], "resourceVersion": "1"}}
    created = await server.apply(key, bound, manager="kro", force=False)
    assert created["data"] == {"a": "1"}
    assert managers(created).keys() == {"kro"}
    other = {**bound, "data": {"b": "2"}}
    for manager, force, sent in (("kro", False, bound), ("kro", True, other), ("x", False, other), ("x", True, other)):
        with pytest.raises(ConflictError) as caught:
            await server.apply(key, sent, manager=manager, force=force)
        assert caught.value.managers == ()
    with pytest.raises(ConflictError) as contested:
        await server.apply(key, {**bound, "data": {"a": "2"}}, manager="x", force=False)
    assert contested.value.managers == ("kro",)
    assert version_of(await server.get(key)) == version_of(created)
    taken = {**other, "metadata": {**obj["metadata"], "resourceVersion": version_of(created)}}
    assert (await server.apply(key, taken, manager="x", force=False))["data"] == {"a": "1", "b": "2"}


async def test_an_apply_creates_changes_and_leaves_alone(server: Client) -> None:
    key, obj = configmap(a="1", b="2")
    first = await server.apply(key, obj, manager="kro", force=False)
    same = await server.apply(key, obj, manager="kro", force=False)
    assert version_of(first) == version_of(same)
    fields = managers(first)["kro"]
    assert fields["f:data"].keys() - {"."} == {"f:a", "f:b"}
    entry = first["metadata"]["managedFields"][0]
    assert (entry["operation"], entry["apiVersion"], entry["fieldsType"]) == ("Apply", "v1", "FieldsV1")


async def test_an_apply_removes_what_only_it_declared(server: Client) -> None:
    key, obj = configmap(a="1", b="2")
    await server.apply(key, obj, manager="kro", force=False)
    await server.merge_patch(key, {"data": {"c": "3"}}, manager="other")
    shared = {**obj, "data": {"b": "2"}}
    await server.apply(key, shared, manager="other-apply", force=False)
    after = await server.apply(key, {**obj, "data": {}}, manager="kro", force=False)
    assert after["data"] == {"b": "2", "c": "3"}


async def test_a_conflict_names_manager_and_field_and_force_takes_both(server: Client) -> None:
    key, obj = configmap(a="1")
    await server.apply(key, obj, manager="first", force=False)
    wanted = {**obj, "data": {"a": "2"}}
    with pytest.raises(ConflictError) as caught:
        await server.apply(key, wanted, manager="second", force=False)
    assert caught.value.managers == ("first",)
    assert caught.value.fields == (".data.a",)
    assert "conflict" in caught.value.message
    taken = await server.apply(key, wanted, manager="second", force=True)
    assert taken["data"] == {"a": "2"}
    assert "f:data" not in managers(taken).get("first", {})
    assert "f:a" in managers(taken)["second"]["f:data"]


async def test_a_conflict_tells_how_the_other_manager_got_the_field(server: Client) -> None:
    key, obj = deployment({"name": "main", "image": "main:1"}, replicas=2)
    await server.apply(key, obj, manager="kro", force=False)
    edit = {
        "metadata": {"labels": {"a": "1"}},
        "spec": {"template": {"spec": {"containers": [{"name": "main", "image": "x"}]}}},
    }
    await server.merge_patch(key, edit, manager='ed"itor')
    await server.merge_patch(key, {"spec": {"replicas": 5}}, manager="hpa", subresource="scale")
    await server.apply(key, {**obj, "spec": {"minReadySeconds": 7}}, manager="tool", force=False)
    wanted = {
        **obj,
        "metadata": {**obj["metadata"], "labels": {"a": "2"}},
        "spec": {**obj["spec"], "minReadySeconds": 8},
    }
    with pytest.raises(ConflictError) as caught:
        await server.apply(key, wanted, manager="kro", force=False)
    assert {(cause["message"], cause["field"]) for cause in caught.value.causes} == {
        ('conflict with "hpa" with subresource "scale" using apps/v1', ".spec.replicas"),
        ('conflict with "tool"', ".spec.minReadySeconds"),
        ('conflict with "ed\\"itor" using apps/v1', ".metadata.labels.a"),
        ('conflict with "ed\\"itor" using apps/v1', '.spec.template.spec.containers[name="main"].image'),
    }
    assert {cause["reason"] for cause in caught.value.causes} == {"FieldManagerConflict"}
    assert caught.value.message.splitlines() == [
        'Apply failed with 4 conflicts: conflicts with "ed\\"itor" using apps/v1:',
        "- .metadata.labels.a",
        '- .spec.template.spec.containers[name="main"].image',
        'conflicts with "hpa" with subresource "scale" using apps/v1:',
        "- .spec.replicas",
        'conflicts with "tool":',
        "- .spec.minReadySeconds",
    ]
    with pytest.raises(ConflictError) as single:
        await server.apply(key, {**obj, "spec": {"replicas": 3}}, manager="other", force=False)
    assert single.value.message == (
        'Apply failed with 1 conflict: conflict with "hpa" with subresource "scale" using apps/v1: .spec.replicas'
    )


async def test_a_scaler_owns_the_replicas_that_it_changed_until_somebody_takes_them(server: Client) -> None:
    key, obj = deployment({"name": "main", "image": "main:1"}, replicas=2)
    created = await server.apply(key, obj, manager="kro", force=False)
    scale = await server.request("GET", path_of(key, "scale"))
    assert (scale["kind"], scale["apiVersion"], scale["spec"]) == ("Scale", "autoscaling/v1", {"replicas": 2})
    assert scale["metadata"]["uid"] == created["metadata"]["uid"]
    scaled = await server.merge_patch(key, {"spec": {"replicas": 5}}, manager="hpa", subresource="scale")
    assert scaled["spec"] == {"replicas": 5}
    after = await server.get(key)
    assert after["spec"]["replicas"] == 5
    assert after["metadata"]["generation"] == 2
    owned = {
        (entry["manager"], entry["operation"], entry.get("subresource", ""))
        for entry in after["metadata"]["managedFields"]
        if "f:replicas" in entry["fieldsV1"].get("f:spec", {})
    }
    assert owned == {("hpa", "Update", "scale")}
    bound = {"metadata": {"resourceVersion": "1"}, "spec": {"replicas": 9}}
    with pytest.raises(ConflictError):
        await server.merge_patch(key, bound, manager="hpa", subresource="scale")
    body = {**scale, "metadata": {"name": key.name, "namespace": "default"}, "spec": {"replicas": 2}}
    await server.request("PUT", path_of(key, "scale"), query={"fieldManager": "hpa"}, body=body)
    # The value is the declared one again: both own it, until the scaler changes it.
    shared = managers(await server.apply(key, obj, manager="kro", force=False))
    assert "f:replicas" in shared["kro"]["f:spec"]
    assert "f:replicas" in shared["hpa"]["f:spec"]
    await server.merge_patch(key, {"spec": {"replicas": 6}}, manager="hpa", subresource="scale")
    assert "f:replicas" not in managers(await server.get(key))["kro"]["f:spec"]
    taken = await server.apply(key, obj, manager="kro", force=True)
    assert taken["spec"]["replicas"] == 2
    assert "hpa" not in managers(taken)


async def test_a_field_is_free_again_when_its_manager_applies_without_it(server: Client) -> None:
    key, obj = configmap(a="1", b="1")
    await server.apply(key, obj, manager="kro", force=False)
    await server.apply(key, {**obj, "data": {"a": "2"}}, manager="tool", force=True)
    without = await server.apply(key, {**obj, "data": {"b": "1"}}, manager="kro", force=False)
    assert without["data"] == {"a": "2", "b": "1"}
    freed = await server.apply(key, {**obj, "data": {"c": "3"}}, manager="tool", force=False)
    assert freed["data"] == {"b": "1", "c": "3"}
    assert (await server.apply(key, obj, manager="kro", force=False))["data"] == {"a": "1", "b": "1", "c": "3"}


async def causes_of(server: Client, key: Key, obj: Obj) -> list[tuple[str, str, str]]:
    """Why a forced apply is refused: reason, field and the first and last words of each cause."""
    with pytest.raises(InvalidError) as caught:
        await server.apply(key, obj, manager="kro", force=True)
    assert caught.value.status == 422
    assert caught.value.details["name"] == key.name
    assert caught.value.details["kind"] == key.resource.kind
    assert caught.value.details.get("group", "") == key.resource.group
    return [(str(cause["reason"]), str(cause["field"]), str(cause["message"])) for cause in caught.value.causes]


async def test_what_is_immutable_is_refused_with_causes(server: Client) -> None:
    key, obj = configmap(a="1")
    obj["immutable"] = True
    made = await server.apply(key, obj, manager="kro", force=False)
    text = "Forbidden: field is immutable when `immutable` is set"
    refused = await causes_of(server, key, {**obj, "immutable": False, "data": {"a": "2"}})
    assert refused == [("FieldValueForbidden", "immutable", text), ("FieldValueForbidden", "data", text)]
    assert await causes_of(server, key, {**obj, "data": {"a": "2"}}) == refused[1:]
    with pytest.raises(InvalidError) as caught:
        await server.merge_patch(key, {"data": {"a": "3"}}, manager="m")
    assert caught.value.message == f'ConfigMap "{key.name}" is invalid: data: {text}'
    assert version_of(await server.get(key)) == version_of(made)
    await server.merge_patch(key, {"metadata": {"labels": {"a": "b"}}}, manager="m")


async def test_template_of_a_job_and_selector_of_a_deployment_are_immutable(server: Client) -> None:
    name = next(_names)
    key = Key(JOBS, "default", name)
    pod = {"restartPolicy": "Never", "containers": [{"name": "main", "image": "main:1"}]}
    spec: Obj = {"completions": 1, "template": {"spec": pod}}
    obj = {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": name, "namespace": "default"}, "spec": spec}
    await server.apply(key, obj, manager="kro", force=False)
    changed = {"completions": 1, "template": {"spec": {**pod, "containers": [{"name": "main", "image": "main:2"}]}}}
    ((reason, field, text),) = await causes_of(server, key, {**obj, "spec": changed})
    assert (reason, field) == ("FieldValueInvalid", "spec.template")
    assert text.startswith("Invalid value: {")
    assert text.endswith(": field is immutable")
    expected = [("FieldValueInvalid", "spec.completions", "Invalid value: 3: field is immutable")]
    assert await causes_of(server, key, {**obj, "spec": {**spec, "completions": 3}}) == expected
    await server.apply(key, {**obj, "spec": {**spec, "parallelism": 2}}, manager="kro", force=False)
    key, app = deployment({"name": "main", "image": "main:1"})
    await server.apply(key, app, manager="kro", force=False)
    labels = {"app": "other"}
    app["spec"]["selector"] = {"matchLabels": labels}
    app["spec"]["template"]["metadata"] = {"labels": labels}
    selector = 'Invalid value: {"matchLabels":{"app":"other"}}: field is immutable'
    assert await causes_of(server, key, app) == [("FieldValueInvalid", "spec.selector", selector)]


async def test_the_spec_of_a_claim_is_immutable(server: Client) -> None:
    name = next(_names)
    key = Key(CLAIMS, "default", name)
    spec = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}
    obj = {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": name}, "spec": spec}
    await server.apply(key, obj, manager="kro", force=False)
    ((reason, field, text),) = await causes_of(server, key, {**obj, "spec": {**spec, "accessModes": ["ReadOnlyMany"]}})
    assert (reason, field) == ("FieldValueForbidden", "spec")
    assert text.startswith("Forbidden: spec is immutable after creation except resources.requests and ")


async def test_the_same_value_is_shared_without_conflict(server: Client) -> None:
    key, obj = configmap(a="1")
    await server.apply(key, obj, manager="first", force=False)
    both = await server.apply(key, obj, manager="second", force=False)
    assert {"first", "second"} <= managers(both).keys()


async def test_an_edit_takes_a_field_from_who_applied_it(server: Client) -> None:
    key, obj = configmap(a="1", b="2")
    await server.apply(key, obj, manager="kro", force=False)
    edited = await server.merge_patch(key, {"data": {"a": "9"}}, manager="kubectl-edit")
    assert "f:a" not in managers(edited)["kro"]["f:data"]
    with pytest.raises(ConflictError) as caught:
        await server.apply(key, obj, manager="kro", force=False)
    assert caught.value.managers == ("kubectl-edit",)
    assert (await server.apply(key, obj, manager="kro", force=True))["data"] == {"a": "1", "b": "2"}


async def test_lists_with_keys_are_merged_item_by_item(server: Client) -> None:
    main = {"name": "main", "image": "main:1"}
    key, obj = deployment(main)
    await server.apply(key, obj, manager="kro", force=False)
    _, with_side = deployment({"name": "side", "image": "side:1"})
    with_side["metadata"] = obj["metadata"]
    with_side["spec"] = {"template": {"spec": with_side["spec"]["template"]["spec"]}}
    both = await server.apply(key, with_side, manager="injector", force=False)
    assert {c["name"] for c in both["spec"]["template"]["spec"]["containers"]} == {"main", "side"}
    obj["spec"]["template"]["spec"]["containers"] = [{"name": "main", "image": "main:2"}]
    after = await server.apply(key, obj, manager="kro", force=False)
    images = {c["name"]: c["image"] for c in after["spec"]["template"]["spec"]["containers"]}
    assert images == {"main": "main:2", "side": "side:1"}


async def test_a_generation_counts_changes_of_the_spec_only(server: Client) -> None:
    key, obj = deployment({"name": "main", "image": "main:1"}, replicas=1)
    created = await server.create(key, obj)
    assert created["metadata"]["generation"] == 1
    assert created["spec"]["revisionHistoryLimit"] == 10
    labelled = await server.merge_patch(key, {"metadata": {"labels": {"a": "b"}}}, manager="m")
    assert labelled["metadata"]["generation"] == 1
    status = {"status": {"observedGeneration": 1, "replicas": 1}}
    reported = await server.merge_patch(key, status, manager="m", subresource="status")
    assert (reported["metadata"]["generation"], reported["status"]["replicas"]) == (1, 1)
    scaled = await server.merge_patch(key, {"spec": {"replicas": 2}, "status": {"replicas": 9}}, manager="m")
    assert (scaled["metadata"]["generation"], scaled["status"]["replicas"]) == (2, 1)


async def test_a_finalizer_keeps_an_object_and_no_new_one_may_join(server: Client) -> None:
    key, obj = configmap()
    obj["metadata"]["finalizers"] = ["kro.run/finalizer"]
    created = await server.create(key, obj)
    waiting = await server.delete(key, uid=created["metadata"]["uid"], version=version_of(created))
    assert waiting is not None
    assert waiting["metadata"]["deletionTimestamp"]
    assert int(version_of(waiting)) > int(version_of(created))
    again = await server.delete(key)
    assert again is not None
    assert version_of(again) == version_of(waiting)
    with pytest.raises(InvalidError):
        await server.merge_patch(key, {"metadata": {"finalizers": ["a.example.com/new"]}}, manager="m")
    await server.merge_patch(key, {"metadata": {"finalizers": None}}, manager="m")
    with pytest.raises(NotFoundError):
        await server.get(key)


async def test_a_name_deleted_and_made_again_is_another_object(server: Client) -> None:
    key, obj = configmap()
    first = await server.create(key, obj)
    assert await server.delete(key) is None
    second = await server.create(key, obj)
    assert first["metadata"]["uid"] != second["metadata"]["uid"]
    with pytest.raises(ConflictError):
        await server.delete(key, uid=first["metadata"]["uid"])


async def test_patches_of_both_kinds(server: Client) -> None:
    key, obj = configmap(a="1", b="2")
    await server.create(key, obj)
    assert (await server.merge_patch(key, {"data": {"a": None}}, manager="m"))["data"] == {"b": "2"}
    operations = [{"op": "test", "path": "/data/b", "value": "2"}, {"op": "replace", "path": "/data/b", "value": "3"}]
    patch: dict[str, Any] = {"body": operations, "content_type": "application/json-patch+json"}
    assert (await server.request("PATCH", path_of(key), **patch))["data"] == {"b": "3"}
    with pytest.raises(InvalidError):
        await server.request("PATCH", path_of(key), **patch)
    with pytest.raises(NotFoundError):
        await server.merge_patch(Key(CONFIG_MAPS, "default", next(_names)), {"data": {}}, manager="m")


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"metadata": {"name": "Not_A_Name"}}, 422),
        ({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "wrong-kind"}}, 400),
        ({"metadata": {"name": "in-another", "namespace": "kube-system"}}, 400),
    ],
)
async def test_bad_objects_are_refused(server: Client, body: Obj, status: int) -> None:
    with pytest.raises(InvalidError) as caught:
        await server.create(Key(CONFIG_MAPS, "default", ""), {"apiVersion": "v1", "kind": "ConfigMap", **body})
    assert caught.value.status == status


async def test_a_namespace_must_exist(server: Client) -> None:
    with pytest.raises(NotFoundError):
        await server.create(Key(CONFIG_MAPS, "nowhere", ""), {"metadata": {"name": "x", "namespace": "nowhere"}})


async def test_a_namespace_in_deletion_takes_nothing_new_and_ends_with_its_objects(server: Client) -> None:
    namespace = Key(NAMESPACES, "", next(_names))
    await server.create(namespace, {"metadata": {"name": namespace.name}})
    inside = Key(CONFIG_MAPS, namespace.name, "inside")
    await server.create(inside, {"metadata": {"name": "inside", "finalizers": ["example.com/hold"]}})
    await server.delete(namespace)
    with pytest.raises(ApiError) as caught:
        await server.create(Key(CONFIG_MAPS, namespace.name, "late"), {"metadata": {"name": "late"}})
    assert caught.value.status == 403
    assert "NamespaceTerminating" in [cause["reason"] for cause in caught.value.causes]
    await until_answered(lambda: is_deleting(server, inside))
    await server.merge_patch(inside, {"metadata": {"finalizers": None}}, manager="m")
    with pytest.raises(NotFoundError):
        await server.get(inside)


async def is_deleting(client: Client, key: Key) -> bool:
    return "deletionTimestamp" in (await client.get(key))["metadata"]


async def test_selectors(server: Client) -> None:
    group = next(_names)
    for number, tier in enumerate(("front", "back", "back")):
        key, obj = configmap()
        obj["metadata"]["labels"] = {"group": group, "tier": tier, f"n{number}": "yes"}
        await server.create(key, obj)

    async def count(selector: str) -> int:
        items, _ = await server.list(CONFIG_MAPS, label_selector=f"group={group},{selector}")
        return len(items)

    counts = {s: await count(s) for s in ("tier=back", "tier!=back", "tier in (back, front)", "tier notin (back)")}
    counts |= {s: await count(s) for s in ("n1", "!n1", "tier==front,n0")}
    assert counts == {
        "tier=back": 2,
        "tier!=back": 1,
        "tier in (back, front)": 3,
        "tier notin (back)": 1,
        "n1": 1,
        "!n1": 2,
        "tier==front,n0": 1,
    }
    named, _ = await server.list(CONFIG_MAPS, "default", field_selector=f"metadata.name={group}")
    assert named == []


async def test_pages_join_to_the_whole_list(server: Client) -> None:
    group = next(_names)
    names = []
    for _ in range(5):
        key, obj = configmap()
        obj["metadata"]["labels"] = {"group": group}
        await server.create(key, obj)
        names.append(key.name)
    items, version = await server.list(CONFIG_MAPS, "default", label_selector=f"group={group}", limit=2)
    assert sorted(i["metadata"]["name"] for i in items) == sorted(names)
    assert int(version) >= max(int(version_of(i)) for i in items)


async def test_pages_are_of_one_state_whatever_happens_between_them(server: Client) -> None:
    made = [configmap() for _ in range(4)]
    label = {"pages": made[0][0].name}
    for key, obj in made[:3]:
        await server.create(key, {**obj, "metadata": {**obj["metadata"], "labels": label}})
    query = {"labelSelector": f"pages={made[0][0].name}", "limit": "2"}
    path = path_of(Key(CONFIG_MAPS, "default", ""))
    first = await server.request("GET", path, query=query)
    await server.delete(made[2][0])
    key, obj = made[3]
    await server.create(key, {**obj, "metadata": {**obj["metadata"], "labels": label}})
    token = first["metadata"]["continue"]
    second = await server.request("GET", path, query={**query, "continue": token})
    assert [item["metadata"]["name"] for item in second["items"]] == [made[2][0].name]
    assert second["metadata"]["resourceVersion"] == first["metadata"]["resourceVersion"]


async def test_a_watch_from_an_older_version_tells_the_same_again(server: Client) -> None:
    key, obj = configmap(a="1")
    before = version_of(await server.create(*configmap()))
    made = await server.create(key, obj)
    changed = await server.merge_patch(key, {"data": {"a": "2"}}, manager="m")
    selector = {"fieldSelector": f"metadata.name={key.name}"}
    for _ in range(2):
        told = await events(server, CONFIG_MAPS, before, 2, **selector)
        assert [(kind, version_of(found)) for kind, found in told] == [
            ("ADDED", version_of(made)),
            ("MODIFIED", version_of(changed)),
        ]


async def test_a_watch_tells_changes_in_order_and_leaving_a_selector_as_deletion(server: Client) -> None:
    key, obj = configmap(a="1")
    obj["metadata"]["labels"] = {"watched": key.name}
    _, version = await server.list(CONFIG_MAPS)
    await server.create(key, obj)
    await server.merge_patch(key, {"data": {"a": "2"}}, manager="m")
    await server.merge_patch(key, {"metadata": {"labels": None}}, manager="m")
    await server.merge_patch(key, {"data": {"a": "3"}}, manager="m")
    await server.merge_patch(key, {"metadata": {"labels": {"watched": key.name}}}, manager="m")
    await server.delete(key)
    found = await events(server, CONFIG_MAPS, version, 5, labelSelector=f"watched={key.name}")
    assert [kind for kind, _ in found] == ["ADDED", "MODIFIED", "DELETED", "ADDED", "DELETED"]
    versions = [int(version_of(obj)) for _, obj in found]
    assert versions == sorted(set(versions))
    assert found[-1][1]["metadata"]["uid"] == found[0][1]["metadata"]["uid"]


async def test_a_watch_resumes_where_it_was(server: Client) -> None:
    key, obj = configmap(a="1")
    created = await server.create(key, obj)
    await server.merge_patch(key, {"data": {"a": "2"}}, manager="m")
    selector = {"fieldSelector": f"metadata.name={key.name}"}
    ((kind, found),) = await events(server, CONFIG_MAPS, version_of(created), 1, **selector)
    assert (kind, found["data"]) == ("MODIFIED", {"a": "2"})


async def test_a_watch_from_a_forgotten_version_is_told_to_list_again(server: Client) -> None:
    if not isinstance(server, FakeClient):
        pytest.skip("shown by restarting the server, in test_real_api_server.py")
    server.server.compact()
    with pytest.raises(GoneError):
        await events(server, CONFIG_MAPS, "1", 1)


async def test_the_server_ends_a_watch_after_its_time_with_a_bookmark_where_it_can(server: Client) -> None:
    _, version = await server.list(CONFIG_MAPS)
    found = await events(
        server, CONFIG_MAPS, version, 99, timeoutSeconds="1", allowWatchBookmarks="true", labelSelector="never=there"
    )
    assert {kind for kind, _ in found} <= {"BOOKMARK"}


async def test_life_of_a_kind(server: Client) -> None:
    discovery = Discovery(server)
    assert await discovery.resource(WIDGETS.gvk) is None
    async with widgets(server, size={"type": "integer", "default": 3}, colour={"type": "string"}) as widget:
        # Discovery follows a kind that is established with some delay.
        assert await until_answered(lambda: discovery.resource(WIDGETS.gvk)) == WIDGETS
        assert await until_answered(lambda: discovery.resource_of_group_kind(GROUP, "Widget")) == WIDGETS
        established = await server.get(Key(CRDS, "", f"widgets.{GROUP}"))
        states = {c["type"]: c["status"] for c in established["status"]["conditions"]}
        assert states["Established"] == states["NamesAccepted"] == "True"
        created = await server.create(widget, widget_body(widget, colour="red", unknown=1))
        assert created["spec"] == {"size": 3, "colour": "red"}
        assert created["metadata"]["generation"] == 1
        with pytest.raises(InvalidError):
            await server.merge_patch(widget, {"spec": {"size": "large"}}, manager="m")
        reported = await server.merge_patch(widget, {"status": {"ok": True}}, manager="m", subresource="status")
        assert (reported["status"], reported["metadata"]["generation"]) == ({"ok": True}, 1)
        ignored = await server.merge_patch(widget, {"spec": {"size": 9}}, manager="m", subresource="status")
        assert ignored["spec"]["size"] == 3
        changed = await server.merge_patch(widget, {"spec": {"size": 4}, "status": None}, manager="m")
        assert (changed["metadata"]["generation"], changed["status"]) == (2, {"ok": True})
        without_version = {**changed, "metadata": {"name": widget.name, "namespace": "default"}}
        with pytest.raises(InvalidError):
            await server.put(widget, without_version, manager="m")
    discovery.invalidate(WIDGETS.api_version)
    # The handlers of a kind follow its CRD with some delay.
    await until_missing(lambda: server.list(WIDGETS))


async def test_a_kind_in_deletion_waits_for_the_finalizers_of_its_objects(server: Client) -> None:
    async with widgets(server) as widget:
        body = widget_body(widget)
        body["metadata"]["finalizers"] = ["kro.run/finalizer"]
        created = await server.create(widget, body)
        await server.delete(Key(CRDS, "", f"widgets.{GROUP}"))
        await until_answered(lambda: is_deleting(server, widget))
        deleting = await server.get(widget)
        assert deleting["metadata"]["generation"] == created["metadata"]["generation"] + 1
        await server.merge_patch(widget, {"metadata": {"finalizers": None}}, manager="m")
        await gone(server, Key(CRDS, "", f"widgets.{GROUP}"))
        # Create the kind again, because the end of this block deletes it.
        await server.create(*widget_kind())


async def test_owned_objects_go_with_their_owner(server: Client) -> None:
    owner_key, owner = configmap()
    created = await server.create(owner_key, owner)
    key, obj = configmap()
    reference = {"apiVersion": "v1", "kind": "ConfigMap", "name": owner_key.name, "uid": created["metadata"]["uid"]}
    obj["metadata"]["ownerReferences"] = [reference]
    await server.create(key, obj)
    await server.delete(owner_key)
    await gone(server, key)


async def dependent(server: Client, owner: Obj, *, blocks: bool, finalizers: tuple[str, ...]) -> Key:
    key, obj = configmap()
    meta = owner["metadata"]
    reference = {"apiVersion": "v1", "kind": "ConfigMap", "name": meta["name"], "uid": meta["uid"]}
    obj["metadata"]["ownerReferences"] = [{**reference, "blockOwnerDeletion": blocks}]
    obj["metadata"]["finalizers"] = list(finalizers)
    await server.create(key, obj)
    return key


async def test_a_foreground_deletion_waits_for_the_dependents_that_block_it(server: Client) -> None:
    key, obj = configmap(a="1")
    owner = await server.create(key, obj)
    held = await dependent(server, owner, blocks=True, finalizers=("example.com/hold",))
    loose = await dependent(server, owner, blocks=True, finalizers=())
    waiting = await server.delete(key, uid=owner["metadata"]["uid"], propagation="Foreground")
    assert waiting is not None
    assert waiting["metadata"]["finalizers"] == ["foregroundDeletion"]
    assert waiting["metadata"]["deletionTimestamp"]
    again = await server.delete(key, propagation="Foreground")
    assert again is not None
    assert version_of(again) == version_of(waiting)
    await gone(server, loose)
    await until_answered(lambda: is_deleting(server, held))
    # It still takes updates.
    assert (await server.apply(key, {**obj, "data": {"a": "2"}}, manager="kro", force=True))["data"] == {"a": "2"}
    await server.merge_patch(held, {"metadata": {"finalizers": None}}, manager="m")
    await gone(server, key)
    alone, obj = configmap()
    await server.create(alone, obj)
    assert await server.delete(alone, propagation="Foreground") is not None
    await gone(server, alone)


async def test_a_later_deletion_changes_how_dependents_are_treated(server: Client) -> None:
    key, obj = configmap()
    obj["metadata"]["finalizers"] = ["example.com/hold"]
    await server.create(key, obj)
    finalizers = []
    for propagation in ("Background", "Foreground", "Background"):
        waiting = await server.delete(key, propagation=propagation)
        assert waiting is not None
        finalizers.append(sorted(waiting["metadata"]["finalizers"]))
    hold = "example.com/hold"
    assert finalizers == [[hold], [hold, "foregroundDeletion"], [hold]]
    await server.merge_patch(key, {"metadata": {"finalizers": None}}, manager="m")
    await gone(server, key)


async def test_a_deletion_without_finalizers_is_answered_with_a_status(server: Client) -> None:
    key, obj = configmap()
    created = await server.create(key, obj)
    answer = await server.request("DELETE", path_of(key), body={"propagationPolicy": "Background"})
    told = {"name": key.name, "kind": "configmaps", "uid": created["metadata"]["uid"]}
    assert (answer["kind"], answer["status"], answer["details"]) == ("Status", "Success", told)


async def test_schemas_are_published(server: Client) -> None:
    documents = await openapi.index(server)
    document = await openapi.fetch(server, "apps/v1", document=documents["apps/v1"])
    assert document is not None
    kinds = {
        GVK(tag["group"], tag["version"], tag["kind"]).kind
        for schema in document["components"]["schemas"].values()
        for tag in schema.get("x-kubernetes-group-version-kind", ())
    }
    assert "Deployment" in kinds
