"""Performing the engine's actions: the results for every answer of the server, including refusals."""

from dataclasses import replace
from typing import Any

import pytest

from kroasync.controller.child_store import ChildStore
from kroasync.controller.fights import Fights
from kroasync.controller.instance_store import InstanceStore
from kroasync.controller.perform import Performer, parent_patch
from kroasync.controller.refusals import refusal_of
from kroasync.engine.actions import (
    Action,
    Apply,
    Delete,
    Done,
    ForeignField,
    Need,
    PatchParent,
    Pause,
    Read,
    Refusal,
    Refused,
    Release,
    WatchExternal,
    Yielding,
)
from kroasync.kube.api_errors import (
    AlreadyExistsError,
    ApiError,
    ConflictError,
    ForbiddenError,
    InvalidError,
    NotFoundError,
    ServerError,
    ThrottledError,
    TooBigError,
    UnauthorizedError,
    UnreachableError,
    error_of,
)
from kroasync.model.kinds import SECRETS
from kroasync.model.names import (
    ANNOTATION_DELETION_POLICY,
    FINALIZER,
    LABEL_APPLYSET_PART_OF,
    MANAGER_CHILDREN,
    MANAGER_PARENT,
    POLICY_ORPHANED,
)
from kroasync.model.objects import Key, Obj, uid_of
from kroasync.model.policies import Adoption, Conflicts, Policies, Update
from tests.samples import CONFIG_MAPS
from tests.unit.controller.samples import APPS, StubClient, app, app_key, config, config_key, desired

WITHHELD = "(details withheld: the object holds values of a Secret)"
VALUE = "hunter2"
MINE, OTHER = {LABEL_APPLYSET_PART_OF: "set-1"}, {LABEL_APPLYSET_PART_OF: "set-2"}


def owned_by(manager: str) -> ConflictError:
    cause = {"reason": "FieldManagerConflict", "message": f'conflict with "{manager}"', "field": ".data.v"}
    return ConflictError("conflict", status=409, reason="Conflict", details={"causes": [cause]})


def refused_fields(*fields: str) -> InvalidError:
    """The API server's answer to wrong values of these fields, which quotes the values."""
    causes = [{"reason": "FieldValueInvalid", "message": f'Invalid value: "{VALUE}"', "field": f} for f in fields]
    return InvalidError(f'Invalid value: "{VALUE}"', status=422, reason="Invalid", details={"causes": causes})


def labelled(obj: Obj, labels: dict[str, str]) -> Obj:
    return {**obj, "metadata": {**obj["metadata"], "labels": labels}}


def apply(*, force: bool = False, key: Key | None = None) -> Apply:
    obj = labelled(desired({"v": "1"}), MINE)
    return Apply(node="config", index=None, key=key or config_key(), obj=obj, need=Need.CREATE, force=force)


class Bench:
    def __init__(self, **answers: list[Any]) -> None:
        self.client = StubClient(dict(answers))
        self.woken: list[str] = []
        self.children = ChildStore(self.woken.append, claims=lambda key, obj: True)
        self.instances = InstanceStore(APPS, lambda key: None, lambda key, obj: None)
        self.instances.put(app(version=1, finalizers=["theirs"]))
        self.watched: list[tuple[Key, WatchExternal]] = []
        self.paused: list[Key] = []
        self.performer = Performer(
            self.client,  # type: ignore[arg-type]
            self.children,
            self.instances,
            app_key(),
            self.watch,
            self.pause,
            Fights(lambda: 0.0),
        )

    async def watch(self, key: Key, action: WatchExternal) -> None:
        self.watched.append((key, action))

    async def pause(self, key: Key) -> None:
        self.paused.append(key)

    def asked(self) -> list[str]:
        return [call[0] for call in self.client.asked]


async def test_an_applied_object_is_known_at_once() -> None:
    answer = config(version=5, data={"v": "1"})
    bench = Bench(apply=[answer])
    action = apply()
    assert await bench.performer.perform(action) == Done(action=action, obj=answer, changed=True)
    assert bench.children.compare(action.key, action.obj) is None
    assert bench.performer.sent == 1


async def test_an_apply_that_changed_nothing_says_so() -> None:
    bench = Bench(apply=[config(version=5, data={"v": "1"})])
    bench.children.put(CONFIG_MAPS, config(version=5, data={"v": "1"}))
    result = await bench.performer.perform(apply(force=True))
    assert isinstance(result, Done)
    assert not result.changed


async def test_an_object_of_another_set_is_left_alone() -> None:
    bench = Bench(apply=[owned_by("other")], get=[labelled(config(version=4), OTHER)])
    action = apply()
    expected = Refused(action=action, refusal=Refusal.FOREIGN, message="set-2")
    assert await bench.performer.perform(action) == expected
    assert bench.asked() == ["apply", "get"]
    assert bench.performer.taken_over == {}


@pytest.mark.parametrize("labels", [{}, MINE])
async def test_an_object_of_nobody_is_taken_over_and_told(labels: dict[str, str]) -> None:
    found = labelled(config(version=4), labels)
    bench = Bench(apply=[owned_by("kubectl"), config(version=6, data={"v": "1"})], get=[found])
    result = await bench.performer.perform(apply())
    assert isinstance(result, Done)
    assert result.changed
    assert [call[2] for call in bench.client.asked if call[0] == "apply"] == [False, True]
    assert bench.performer.taken_over == {config_key(): ("kubectl",)}
    assert bench.performer.sent == 3


@pytest.mark.parametrize(
    ("entries", "managers"),
    [
        ([{"manager": MANAGER_CHILDREN}], ()),
        ([{"manager": MANAGER_CHILDREN}, {"manager": "kubectl"}, {"manager": "argo"}], ("argo", "kubectl")),
        # Its own controller wrote first.
        ([{"manager": MANAGER_CHILDREN}, {"manager": "deployment-controller", "subresource": "status"}], ()),
    ],
)
async def test_an_object_with_other_managers_existed_before(
    entries: list[dict[str, str]], managers: tuple[str, ...]
) -> None:
    bench = Bench(apply=[config(version=6, data={"v": "1"}, managedFields=entries)])
    result = await bench.performer.perform(apply())
    assert isinstance(result, Done)
    assert result.adopted is bool(managers)
    assert bench.performer.taken_over == ({config_key(): managers} if managers else {})


TAKEN = ConflictError("the object has been modified", status=409, reason="Conflict")
HELM = {"app.kubernetes.io/managed-by": "Helm"}


async def test_what_is_made_is_bound_to_no_object_being_there() -> None:
    bench = Bench(apply=[config(version=5), config(version=6)])
    await bench.performer.perform(apply())
    await bench.performer.perform(apply(force=True))
    assert bench.client.bound == ["1", None]


@pytest.mark.parametrize("first", [TAKEN, owned_by("helm")])
async def test_what_was_there_and_is_somebodys_is_not_touched(first: ConflictError) -> None:
    bench = Bench(apply=[first], get=[labelled(config(version=4), HELM)])
    action = apply()
    expected = Refused(action=action, refusal=Refusal.CLAIMED, message="belongs to Helm")
    assert await bench.performer.perform(action) == expected
    assert bench.asked() == ["apply", "get"]
    assert bench.performer.taken_over == {}
    assert uid_of(bench.performer.existed[config_key()]) == "u1"


async def test_forged_labels_do_not_hide_who_has_an_object() -> None:
    """The labels are copied, but we never applied the object."""
    found = config(version=4, managedFields=[{"manager": "helm"}])
    bench = Bench(apply=[TAKEN], get=[labelled(found, {**MINE, **HELM})])
    result = await bench.performer.perform(apply())
    assert isinstance(result, Refused)
    assert result.refusal is Refusal.CLAIMED


async def test_what_was_there_and_is_nobodys_is_taken_over_as_it_was_read() -> None:
    entries = [{"manager": MANAGER_CHILDREN}, {"manager": "kubectl"}]
    found = labelled(config(version=4, managedFields=[{"manager": "kubectl"}]), {})
    bench = Bench(apply=[TAKEN, config(version=6, managedFields=entries)], get=[found])
    result = await bench.performer.perform(apply())
    assert isinstance(result, Done)
    assert result.adopted
    assert bench.client.bound == ["1", "4"]
    assert [call[2] for call in bench.client.asked if call[0] == "apply"] == [False, False]
    assert bench.performer.taken_over == {config_key(): ("kubectl",)}


def under(adoption: Adoption, *, update: Update = Update.APPLY) -> Apply:
    return replace(apply(), policies=Policies(adoption=adoption, update=update))


def of_others(version: int = 4, **more: Any) -> Obj:
    """An object that existed before, whose fields `kubectl` manages."""
    fields = {"f:data": {"f:v": {}}}
    entry = {"manager": "kubectl", "operation": "Update", "fieldsV1": fields}
    return labelled(config(version=version, managedFields=[entry], **more), {})


async def test_a_patch_can_be_bound_to_a_version_of_the_instance() -> None:
    action = PatchParent(labels={}, annotations={"c": "d"}, version="7")
    meta = {"uid": "i1", "resourceVersion": "7", "annotations": {"c": "d"}}
    assert parent_patch(app(version=9), action) == {"metadata": meta}


@pytest.mark.parametrize("managed", [[], [{"manager": "kubectl"}]])
async def test_every_adoption_is_told_without_a_conflict_too(managed: list[Obj]) -> None:
    found = labelled(config(version=4, managedFields=managed), {})
    bench = Bench(apply=[TAKEN, config(version=6, managedFields=[{"manager": MANAGER_CHILDREN}])], get=[found])
    result = await bench.performer.perform(apply())
    assert isinstance(result, Done)
    assert result.adopted
    assert bench.performer.taken_over == {config_key(): tuple(entry["manager"] for entry in managed)}


async def test_never_adopted_is_read_and_not_written() -> None:
    bench = Bench(apply=[TAKEN], get=[of_others()])
    result = await bench.performer.perform(under(Adoption.NEVER))
    assert isinstance(result, Refused)
    assert result.refusal is Refusal.CLAIMED
    assert result.message == "is managed by kubectl, and its policy is adoption: Never"
    assert bench.asked() == ["apply", "get"]


@pytest.mark.parametrize("policy", list(Adoption))
async def test_a_create_whose_answer_was_lost_is_no_adoption(policy: Adoption) -> None:
    found = labelled(config(version=4, managedFields=[{"manager": MANAGER_CHILDREN}]), MINE)
    bench = Bench(apply=[TAKEN, config(version=4)], get=[found])
    result = await bench.performer.perform(under(policy))
    assert isinstance(result, Done)
    assert not result.adopted


async def test_always_takes_what_a_tool_marked() -> None:
    found = labelled(of_others(), HELM)
    bench = Bench(apply=[TAKEN, config(version=6)], get=[found])
    result = await bench.performer.perform(under(Adoption.ALWAYS))
    assert isinstance(result, Done)
    assert result.adopted


async def test_if_unowned_names_the_fields_of_others_and_their_values() -> None:
    bench = Bench(apply=[TAKEN], get=[of_others(data={"v": "2"})])
    result = await bench.performer.perform(under(Adoption.IF_UNOWNED))
    assert isinstance(result, Refused)
    assert result.refusal is Refusal.MANAGED
    assert result.message.endswith('IfUnowned: .data.v is "2" by manager "kubectl", declared is "1"')
    assert bench.asked() == ["apply", "get"]


async def test_if_unowned_adopts_equal_fields_by_an_apply_that_is_not_forced() -> None:
    bench = Bench(apply=[TAKEN, config(version=6, data={"v": "1"})], get=[of_others(data={"v": "1"})])
    result = await bench.performer.perform(under(Adoption.IF_UNOWNED))
    assert isinstance(result, Done)
    assert result.adopted
    assert bench.client.bound == ["1", "4"]
    assert [call[2] for call in bench.client.asked if call[0] == "apply"] == [False, False]


async def test_if_unowned_gives_way_to_a_conflict_that_only_the_api_server_sees() -> None:
    bench = Bench(apply=[TAKEN, owned_by("other")], get=[of_others(data={"v": "1"})])
    result = await bench.performer.perform(under(Adoption.IF_UNOWNED))
    assert isinstance(result, Refused)
    assert result.refusal is Refusal.MANAGED
    assert result.message.endswith("IfUnowned: .data.v by other")
    assert bench.performer.taken_over == {}


async def test_if_unowned_takes_a_child_back_by_force() -> None:
    found = labelled(of_others(data={"v": "2"}), MINE)
    found["metadata"]["managedFields"] += [{"manager": MANAGER_CHILDREN}]
    bench = Bench(apply=[owned_by("kubectl"), config(version=6, data={"v": "1"})], get=[found])
    assert isinstance(await bench.performer.perform(under(Adoption.IF_UNOWNED)), Done)


async def test_an_external_field_of_somebody_else_is_no_conflict() -> None:
    found = of_others(data={"v": "2"})
    bench = Bench(apply=[TAKEN, config(version=6, data={"v": "2"})], get=[found])
    action = replace(under(Adoption.IF_UNOWNED), external_fields=(("data", "v"),))
    result = await bench.performer.perform(action)
    assert isinstance(result, Done)
    assert result.adopted


@pytest.mark.parametrize("secrets", [(), (("data",),)])
async def test_values_of_a_secret_are_withheld_when_it_is_not_adopted(secrets: tuple[tuple[str, ...], ...]) -> None:
    key = Key(SECRETS, "default", "a")
    found = {**of_others(data={"v": VALUE}), "kind": "Secret"}
    declared = {**labelled(desired({}), MINE), "kind": "Secret", "stringData": {"v": "ours"}}
    bench = Bench(apply=[TAKEN], get=[found])
    result = await bench.performer.perform(replace(under(Adoption.IF_UNOWNED), key=key, obj=declared, secrets=secrets))
    assert isinstance(result, Refused)
    assert result.refusal is Refusal.MANAGED
    assert "kubectl" in result.message
    assert VALUE not in result.message
    assert "ours" not in result.message


IMMUTABLE = {
    "reason": "FieldValueInvalid",
    "message": f'Invalid value: "{VALUE}": field is immutable',
    "field": "data.v",
}


def refused_for(*causes: Obj) -> InvalidError:
    return InvalidError("no", status=422, reason="Invalid", details={"causes": list(causes)})


async def test_a_refusal_names_the_fields_that_cannot_be_changed() -> None:
    wrong = {**IMMUTABLE, "message": 'Invalid value: "x": must be a number'}
    for causes, expected in (([IMMUTABLE], ("data.v: field is immutable",)), ([IMMUTABLE, wrong], ())):
        bench = Bench(apply=[refused_for(*causes)])
        result = await bench.performer.perform(apply(force=True))
        assert isinstance(result, Refused)
        assert result.immutable == expected


async def test_of_an_object_with_values_of_secrets_it_names_only_the_places() -> None:
    bench = Bench(apply=[refused_for({**IMMUTABLE, "message": f'Invalid value: "a": {VALUE} is immutable'})])
    result = await bench.performer.perform(replace(apply(force=True), secrets=(("data",),)))
    assert isinstance(result, Refused)
    assert result.immutable == ("data",)


async def test_a_child_that_is_recreated_goes_after_its_dependents() -> None:
    bench = Bench(delete=[config(version=7, deletionTimestamp="2026-01-01T00:00:00Z")])
    bench.children.put(CONFIG_MAPS, config(version=5))
    await bench.performer.perform(Delete(node="config", key=config_key(), uid="u1", propagation="Foreground"))
    assert bench.client.propagations == ["Foreground"]
    found = bench.children.find(config_key())
    assert found is not None
    assert found.deleting


async def test_what_is_applied_once_is_adopted_by_its_marks_alone() -> None:
    answer = config(version=6)
    bench = Bench(apply=[TAKEN], get=[of_others()], merge_patch=[answer])
    action = under(Adoption.ALWAYS, update=Update.ONCE)
    result = await bench.performer.perform(action)
    assert result == Done(action=action, obj=answer, changed=True, adopted=True)
    assert bench.asked() == ["apply", "get", "merge_patch"]
    meta = {"uid": "u1", "resourceVersion": "4", "labels": MINE, "annotations": {}}
    assert bench.client.asked[-1][2] == {"metadata": meta}
    # If it is applied again one day, it is sent: what is there is not what is declared.
    assert bench.children.compare(config_key(), action.obj) is Need.UPDATE


async def test_a_child_that_is_applied_once_is_not_written_when_its_create_got_no_answer() -> None:
    found = labelled(config(version=4, managedFields=[{"manager": MANAGER_CHILDREN}]), MINE)
    bench = Bench(apply=[TAKEN], get=[found])
    result = await bench.performer.perform(under(Adoption.NEVER, update=Update.ONCE))
    assert isinstance(result, Done)
    assert not result.adopted
    assert not result.changed
    assert bench.asked() == ["apply", "get"]


async def test_a_child_that_must_not_be_sent_is_read() -> None:
    live = config(version=5, data={"v": "theirs"})
    bench = Bench(get=[live])
    action = Read(node="config", index=None, key=config_key())
    assert await bench.performer.perform(action) == Done(action=action, obj=live, changed=False)
    found = bench.children.find(config_key())
    assert found is not None
    assert found.uid == "u1"


async def test_a_child_that_is_gone_when_it_is_read_is_to_be_created() -> None:
    bench = Bench(get=[NotFoundError("gone", status=404, reason="NotFound", details={"name": "a"})])
    bench.children.put(CONFIG_MAPS, config(version=5))
    result = await bench.performer.perform(Read(node="config", index=None, key=config_key()))
    assert isinstance(result, Refused)
    assert result.refusal is Refusal.MISSING
    assert bench.children.find(config_key()) is None
    assert bench.woken


async def test_what_changed_while_it_was_looked_at_is_looked_at_again() -> None:
    bench = Bench(apply=[TAKEN, TAKEN], get=[labelled(config(version=4), {})])
    result = await bench.performer.perform(apply())
    assert isinstance(result, Refused)
    assert result.refusal is Refusal.CONFLICT


async def made_again(times: int, *, by_us: bool) -> tuple[Bench, Any]:
    """An object that is created and deleted repeatedly; returns the result of the last attempt."""
    versions = range(1, times + 1)
    answers = [config(version=2 * v, data={"v": "1"}, uid=f"u{v}") for v in versions]
    bench = Bench(apply=list(answers), delete=[{"kind": "Status"}] * times)
    result = None
    for answer in answers:
        result = await bench.performer.perform(apply())
        if by_us:
            await bench.performer.perform(Delete(node="config", key=config_key(), uid=answer["metadata"]["uid"]))
        else:
            bench.children.remove(CONFIG_MAPS, answer)
    return bench, result


async def test_what_somebody_deletes_again_and_again_is_made_later() -> None:
    bench, result = await made_again(7, by_us=False)
    assert isinstance(result, Refused)
    assert result.refusal is Refusal.CONFLICT
    assert "keeps deleting it" in result.message
    assert bench.performer.deferred == {config_key(): 1.0}
    assert set(bench.performer.contested) == {config_key()}
    assert bench.asked() == ["apply"] * 6


async def test_what_we_deleted_ourselves_is_made_at_once() -> None:
    bench, result = await made_again(7, by_us=True)
    assert isinstance(result, Done)
    assert bench.performer.deferred == {}
    assert bench.asked() == ["apply", "delete"] * 7


async def test_what_is_put_back_is_not_adopted() -> None:
    entries = [{"manager": MANAGER_CHILDREN}, {"manager": "hpa"}]
    bench = Bench(apply=[config(version=6, managedFields=entries)])
    result = await bench.performer.perform(replace(apply(force=True), need=Need.HEAL))
    assert isinstance(result, Done)
    assert not result.adopted


async def test_taking_over_what_is_already_so_is_no_change() -> None:
    found = labelled(config(version=4), MINE)
    bench = Bench(apply=[owned_by("kubectl"), config(version=4)], get=[found])
    result = await bench.performer.perform(apply())
    assert isinstance(result, Done)
    assert not result.changed


def listed(version: int, *names: str) -> Obj:
    """A live object with a keyed list whose elements somebody wrote."""
    elements = {f'k:{{"name":"{name}"}}': {".": {}, "f:name": {}, "f:value": {}} for name in names}
    entry = {"manager": "person", "operation": "Update", "fieldsV1": {"f:items": elements}}
    live = labelled(config(version=version, managedFields=[entry]), MINE)
    return {**live, "items": [{"name": name, "value": "x"} for name in names]}


def with_items() -> Apply:
    action = apply(force=True)
    return replace(action, obj={**action.obj, "items": [{"name": "web", "value": "x"}]}, need=Need.HEAL)


async def test_an_edited_key_is_set_back_before_the_apply() -> None:
    bench = Bench(json_patch=[listed(6, "web")], apply=[config(version=8)])
    bench.children.put(CONFIG_MAPS, listed(5, "web2"))
    assert isinstance(await bench.performer.perform(with_items()), Done)
    assert bench.asked() == ["json_patch", "apply"]
    (_, _, operations, manager) = bench.client.asked[0]
    assert manager == MANAGER_CHILDREN
    assert operations == [
        {"op": "replace", "path": "/metadata/resourceVersion", "value": "5"},
        {"op": "add", "path": "/items/0/name", "value": "web"},
    ]
    assert bench.performer.sent == 2


async def test_what_a_repair_made_ours_is_disowned() -> None:
    mended = listed(6, "web")
    mended["metadata"]["managedFields"].append({"manager": MANAGER_CHILDREN, "operation": "Update", "fieldsV1": {}})
    bench = Bench(json_patch=[mended, listed(7, "web")], apply=[config(version=8)])
    bench.children.put(CONFIG_MAPS, listed(5, "web2"))
    assert isinstance(await bench.performer.perform(with_items()), Done)
    assert bench.asked() == ["json_patch", "json_patch", "apply"]
    [version, owners] = bench.client.asked[1][2]
    assert (version["value"], [entry["manager"] for entry in owners["value"]]) == ("6", ["person"])


async def test_what_an_apply_leaves_behind_is_removed() -> None:
    answer = listed(6, "web", "old")
    answer["metadata"]["managedFields"][0]["fieldsV1"]["f:items"]['k:{"name":"old"}'] = {"f:value": {}}
    bench = Bench(apply=[answer], json_patch=[listed(7, "web")])
    result = await bench.performer.perform(replace(with_items(), need=Need.UPDATE))
    assert isinstance(result, Done)
    assert result.obj == listed(7, "web")
    assert bench.client.asked[1][2][1:] == [{"op": "remove", "path": "/items/1"}]


def refused_twice(field: str) -> InvalidError:
    causes = [{"reason": "FieldValueDuplicate", "message": 'Duplicate value: "x"', "field": field}]
    return InvalidError("twice", status=422, reason="Invalid", details={"causes": causes})


async def test_an_element_in_the_way_is_removed_after_the_refusal() -> None:
    live = listed(5, "web", "other")
    bench = Bench(apply=[refused_twice("items[1].value"), config(version=8)], get=[live], json_patch=[live, live])
    assert isinstance(await bench.performer.perform(with_items()), Done)
    assert bench.asked() == ["apply", "get", "json_patch", "apply"]
    assert bench.client.asked[2][2][1:] == [{"op": "remove", "path": "/items/1"}]


async def test_an_element_in_the_way_that_somebody_applies_is_told() -> None:
    live = listed(5, "web", "other")
    live["metadata"]["managedFields"][0]["operation"] = "Apply"
    bench = Bench(apply=[refused_twice("items[1].value")], get=[live])
    result = await bench.performer.perform(with_items())
    assert isinstance(result, Refused)
    assert result.refusal is Refusal.INVALID
    assert result.message == (
        'twice; items has another element with the same value, which manager "person" applies: remove it there'
    )


async def test_a_value_that_is_declared_twice_is_only_refused() -> None:
    bench = Bench(apply=[refused_twice("items[1].value")], get=[listed(5, "web")])
    result = await bench.performer.perform(with_items())
    assert isinstance(result, Refused)
    assert result.message == "twice"


async def test_a_conflict_despite_force_is_a_refusal() -> None:
    bench = Bench(apply=[owned_by("x")])
    result = await bench.performer.perform(apply(force=True))
    assert isinstance(result, Refused)
    assert result.refusal is Refusal.CONFLICT


async def test_an_object_that_vanished_during_the_take_over_is_a_refusal() -> None:
    bench = Bench(apply=[owned_by("x")], get=[NotFoundError("gone", status=404)])
    result = await bench.performer.perform(apply())
    assert isinstance(result, Refused)
    assert result.refusal is Refusal.MISSING


async def test_the_message_about_a_secret_names_fields_not_values() -> None:
    cause = {"field": "data[key]", "message": 'Invalid value: "hunter2"'}
    error = InvalidError(
        'Secret "s": Invalid value: "hunter2"', status=422, reason="Invalid", details={"causes": [cause]}
    )
    bench = Bench(apply=[error])
    action = replace(apply(force=True, key=Key(SECRETS, "default", "s")), secrets=(("data",), ("stringData",)))
    result = await bench.performer.perform(action)
    assert isinstance(result, Refused)
    assert result.message == f"Invalid in data {WITHHELD}"


@pytest.mark.parametrize(
    ("error", "told"),
    [
        # A label, a port, a field of a map whose keys are values, a key in brackets.
        (refused_fields("metadata.labels"), f"Invalid in metadata.labels {WITHHELD}"),
        (refused_fields("spec.ports[0].port", "spec.type"), f"Invalid in spec.ports[0].port, spec.type {WITHHELD}"),
        (refused_fields(f"spec.map.{VALUE}"), f"Invalid in spec.map {WITHHELD}"),
        (refused_fields(f'.spec.items[name="{VALUE}"].x'), f"Invalid in .spec.items {WITHHELD}"),
        (refused_fields(), f"Invalid {WITHHELD}"),
        (
            ForbiddenError(f'admission webhook "w" denied: {VALUE}', status=403, reason="Forbidden"),
            f"Forbidden {WITHHELD}",
        ),
        (ForbiddenError("no", status=403, reason=f"because of {VALUE}"), f"403 {WITHHELD}"),
        (ServerError(f"webhook failed: {VALUE}", status=500, reason="InternalError"), f"InternalError {WITHHELD}"),
        # These contain nothing of the object.
        (UnreachableError("no answer"), "no answer"),
        (NotFoundError('namespaces "x" not found', status=404, details={"name": "x"}), 'namespaces "x" not found'),
        (
            ForbiddenError('secrets "x" is forbidden: User "me" cannot patch resource', status=403, reason="Forbidden"),
            'secrets "x" is forbidden: User "me" cannot patch resource',
        ),
    ],
)
async def test_what_the_server_says_of_an_object_with_values_of_secrets(error: ApiError, told: str) -> None:
    action = replace(
        apply(force=True), secrets=(("metadata", "labels", "v"), ("spec", "map"), ("spec", "ports", 0, "port"))
    )
    result = await Bench(apply=[error]).performer.perform(action)
    assert isinstance(result, Refused)
    assert result.message == told


async def test_objects_with_values_of_secrets_are_sent_as_confidential() -> None:
    bench = Bench(apply=[config(version=1), config(version=2)])
    await bench.performer.perform(replace(apply(force=True), secrets=(("data",),)))
    await bench.performer.perform(apply(force=True))
    assert bench.client.confidential == [True, False]


DELETE = Delete(node="config", key=config_key(), uid="u1")
GONE = NotFoundError('configmaps "a" not found', status=404, details={"name": "a", "kind": "configmaps"})


@pytest.mark.parametrize(
    ("answer", "remains"),
    [
        (GONE, False),
        ({"kind": "Status", "status": "Success"}, False),
        (config(version=9, uid="u2"), False),
        (config(version=6, deletionTimestamp="2026-01-01T00:00:00Z", finalizers=["slow"]), True),
    ],
)
async def test_what_the_answer_to_a_delete_says_of_the_object(answer: Any, remains: bool) -> None:
    bench = Bench(delete=[answer])
    bench.children.put(CONFIG_MAPS, config(version=5))
    assert await bench.performer.perform(DELETE) == Done(action=DELETE)
    assert bench.client.asked == [("delete", config_key(), "u1")]
    found = bench.children.find(config_key())
    assert (found is not None and found.deleting) is remains


async def test_a_kind_that_is_not_served_does_not_tell_that_the_object_is_gone() -> None:
    message = "the server could not find the requested resource"
    bench = Bench(delete=[NotFoundError(message, status=404)])
    bench.children.put(CONFIG_MAPS, config(version=5))
    result = await bench.performer.perform(DELETE)
    text = "kind ConfigMap (v1) is not served: its CRD or aggregated API is gone"
    assert result == Refused(action=DELETE, refusal=Refusal.UNAVAILABLE, message=text)
    assert bench.children.find(config_key()) is not None


async def test_an_apply_of_a_kind_that_is_gone_names_the_kind() -> None:
    bench = Bench(apply=[error_of(404, b"404 page not found\n", {})])
    result = await bench.performer.perform(apply(force=True))
    assert isinstance(result, Refused)
    assert result.refusal is Refusal.MISSING
    assert result.message == "kind ConfigMap (v1) is not served: its CRD or aggregated API is gone"


async def test_an_apply_into_a_namespace_that_is_missing_names_the_namespace() -> None:
    message = 'namespaces "x" not found'
    error = NotFoundError(message, status=404, reason="NotFound", details={"name": "x", "kind": "namespaces"})
    result = await Bench(apply=[error]).performer.perform(apply(force=True))
    assert isinstance(result, Refused)
    assert result.message == message


CHANGED = ConflictError("the object has been modified", status=409)


async def test_a_delete_is_bound_to_the_version_that_was_seen() -> None:
    """If only something else changed since, the same pass deletes the object."""
    bench = Bench(delete=[CHANGED, GONE], get=[config(version=6, data={"v": "2"})])
    bench.children.put(CONFIG_MAPS, config(version=5))
    assert await bench.performer.perform(DELETE) == Done(action=DELETE)
    assert bench.client.bound == ["5", "6"]
    assert bench.children.find(config_key()) is None
    assert bench.performer.sent == 3


@pytest.mark.parametrize(
    ("found", "left"),
    [
        pytest.param(config(version=6, annotations={ANNOTATION_DELETION_POLICY: POLICY_ORPHANED}), 1, id="kept"),
        pytest.param(config(version=6, labels={LABEL_APPLYSET_PART_OF: "set-2"}), 0, id="nobody's, or another's"),
        pytest.param(config(version=6, uid="u2"), 1, id="another object"),
    ],
)
async def test_a_delete_is_decided_again_if_what_decides_it_changed(found: Obj, left: int) -> None:
    """The policy was set a moment ago, and the watch has not reported it yet."""
    bench = Bench(delete=[CHANGED], get=[found])
    bench.children.put(CONFIG_MAPS, config(version=5))
    result = await bench.performer.perform(DELETE)
    assert result == Refused(action=DELETE, refusal=Refusal.CONFLICT, message=CHANGED.message)
    assert bench.asked() == ["delete", "get"]
    seen = bench.children.members("instance-1")
    assert [member.key for member in seen] == [config_key()] * left
    assert not any(member.uid == "u1" and not member.orphaned for member in seen)


async def test_a_refused_delete_keeps_the_object() -> None:
    bench = Bench(delete=[CHANGED, CHANGED], get=[config(version=6)])
    bench.children.put(CONFIG_MAPS, config(version=5))
    result = await bench.performer.perform(DELETE)
    assert result == Refused(action=DELETE, refusal=Refusal.CONFLICT, message=CHANGED.message)
    assert bench.children.find(config_key()) is not None


async def test_the_instances_own_metadata_is_patched_and_known() -> None:
    answer = app(version=2, finalizers=["theirs", FINALIZER])
    bench = Bench(merge_patch=[answer])
    action = PatchParent(labels={"a": "b"}, annotations={}, add_finalizer=True)
    assert await bench.performer.perform(action) == Done(action=action, obj=answer)
    [(_, key, body, manager, subresource)] = bench.client.asked
    assert (key, manager, subresource) == (app_key(), MANAGER_PARENT, "")
    assert body == parent_patch(app(version=1, finalizers=["theirs"]), action)
    assert bench.instances.get(app_key()) == answer


async def test_an_instance_that_is_gone_is_not_patched() -> None:
    bench = Bench()
    bench.instances.remove(app(version=2))
    result = await bench.performer.perform(PatchParent(labels={}, annotations={}))
    assert isinstance(result, Refused)
    assert result.refusal is Refusal.MISSING
    assert bench.client.asked == []


def test_a_patch_that_adds_the_finalizer_is_bound_to_the_version_seen() -> None:
    action = PatchParent(labels={"a": "b"}, annotations={"c": "d"}, add_finalizer=True)
    meta = {
        "uid": "i1",
        "resourceVersion": "7",
        "finalizers": ["theirs", FINALIZER],
        "labels": {"a": "b"},
        "annotations": {"c": "d"},
    }
    assert parent_patch(app(version=7, finalizers=["theirs"]), action) == {"metadata": meta}


def test_a_patch_of_annotations_alone_is_bound_to_the_object_only() -> None:
    """No field that it sets depends on the version, and a conflict would cost a pass."""
    # None removes one.
    given: dict[str, str | None] = {"c": "d", "e": None}
    action = PatchParent(labels={}, annotations=given)
    assert parent_patch(app(version=7), action) == {"metadata": {"uid": "i1", "annotations": given}}


async def test_an_external_reference_is_watched_for_the_instance() -> None:
    bench = Bench()
    action = WatchExternal(node="ext", resource=CONFIG_MAPS, namespace="default", name="a")
    assert await bench.performer.perform(action) == Done(action=action)
    assert bench.watched == [(app_key(), action)]


async def test_results_come_in_the_order_of_the_actions() -> None:
    bench = Bench(delete=[GONE], apply=[config(version=1)])
    actions: list[Action] = [DELETE, apply(force=True)]
    results = await bench.performer.perform_all(actions)
    assert [result.action for result in results] == actions


@pytest.mark.parametrize(
    ("error", "refusal"),
    [
        (AlreadyExistsError, Refusal.CONFLICT),
        (ConflictError, Refusal.CONFLICT),
        (NotFoundError, Refusal.MISSING),
        (InvalidError, Refusal.INVALID),
        (ForbiddenError, Refusal.FORBIDDEN),
        (UnauthorizedError, Refusal.FORBIDDEN),
        (ThrottledError, Refusal.UNAVAILABLE),
        (ServerError, Refusal.UNAVAILABLE),
        (UnreachableError, Refusal.UNAVAILABLE),
    ],
)
def test_what_an_error_means_to_the_engine(error: type[ApiError], refusal: Refusal) -> None:
    assert refusal_of(error("x")) is refusal


async def test_an_object_at_which_alone_the_server_fails_is_refused() -> None:
    error = ServerError("Internal error occurred: oops", status=500, reason="InternalError")
    bench = Bench(apply=[*[error] * 6, config(version=9), error])
    told = []
    for _ in range(8):
        result = await bench.performer.perform(apply(force=True))
        told.append((result.refusal, result.message) if isinstance(result, Refused) else None)
        bench.performer.stumbles.wrote()
    alone = f"{error.message} (the API server fails at this object again and again, and takes other writes)"
    away = (Refusal.UNAVAILABLE, error.message)
    assert told == [away] * 4 + [(Refusal.FAULT, alone)] * 2 + [None, away]


async def test_failures_of_long_ago_do_not_count_against_an_instance() -> None:
    error = ServerError("Internal error occurred: oops", status=500, reason="InternalError")
    bench = Bench(merge_patch=[*[error] * 4, app(version=2), error])
    told = []
    for _ in range(6):
        result = await bench.performer.perform(PatchParent(labels={}, annotations={"a": "b"}))
        told.append(result.refusal if isinstance(result, Refused) else None)
        bench.performer.stumbles.wrote()
    assert told == [Refusal.UNAVAILABLE] * 4 + [None, Refusal.UNAVAILABLE]


async def test_a_pause_is_left_to_who_shares_out_the_time() -> None:
    bench = Bench()
    action = Pause()
    assert await bench.performer.perform(action) == Done(action=action)
    assert (bench.paused, bench.asked()) == ([app_key()], [])


async def test_what_is_too_big_is_told_apart_from_what_is_invalid() -> None:
    error = TooBigError("etcdserver: request is too large", status=500, reason="InternalError")
    assert refusal_of(error) is Refusal.TOO_BIG
    assert refusal_of(InvalidError("no", status=422)) is Refusal.INVALID


ORPHANED: dict[str, Any] = {"annotations": {ANNOTATION_DELETION_POLICY: POLICY_ORPHANED, "note": "x"}}
RELEASE = Release(node="config", key=config_key(), uid="u1", part_of="set-1")


def labels_and_note(version: int) -> Obj:
    """The object as it is left."""
    meta = {"name": "a", "namespace": "default", "uid": "u1", "resourceVersion": str(version)}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {**meta, "annotations": {"note": "x"}}, "data": {}}


async def test_a_release_is_bound_to_what_was_read_and_leaves_the_cache() -> None:
    bench = Bench(get=[config(version=6, **ORPHANED)], merge_patch=[labels_and_note(7)])
    bench.children.put(CONFIG_MAPS, config(version=5, **ORPHANED))
    assert isinstance(await bench.performer.perform(RELEASE), Done)
    (_, (_, key, patch, manager, _)) = bench.client.asked
    assert (key, manager) == (config_key(), MANAGER_CHILDREN)
    assert (patch["metadata"]["uid"], patch["metadata"]["resourceVersion"]) == ("u1", "6")
    assert patch["metadata"]["annotations"] == {ANNOTATION_DELETION_POLICY: None}
    assert bench.children.members("instance-1") == []
    assert list(bench.performer.released) == [config_key()]
    assert bench.performer.sent == 2
    # A late event of the time before brings nothing back, and a later adoption counts.
    bench.children.put(CONFIG_MAPS, config(version=6, **ORPHANED))
    assert bench.children.members("instance-1") == []
    bench.children.put(CONFIG_MAPS, config(version=8, instance="instance-2"))
    assert len(bench.children.members("instance-2")) == 1


async def test_a_policy_that_was_seen_after_the_decision_is_not_overlooked() -> None:
    bench = Bench()
    bench.children.put(CONFIG_MAPS, config(version=5, **ORPHANED))
    result = await bench.performer.perform(DELETE)
    assert isinstance(result, Refused)
    assert result.refusal is Refusal.CONFLICT
    assert bench.asked() == []


@pytest.mark.parametrize(
    "found",
    [
        pytest.param(config(version=6), id="the policy is another"),
        pytest.param(config(version=6, instance="instance-2", labels={LABEL_APPLYSET_PART_OF: "set-2"}), id="adopted"),
        pytest.param(config(version=6, uid="u2", **ORPHANED), id="another object"),
        pytest.param(labels_and_note(6), id="released already"),
    ],
)
async def test_what_is_not_the_object_any_more_is_not_released(found: Obj) -> None:
    bench = Bench(get=[found])
    bench.children.put(CONFIG_MAPS, config(version=5, **ORPHANED))
    result = await bench.performer.perform(RELEASE)
    assert isinstance(result, Refused)
    assert result.refusal is Refusal.CONFLICT
    assert bench.asked() == ["get"]
    # The next decision sees what is there.
    seen = bench.children.members("instance-1")
    assert not any(member.orphaned and member.uid == "u1" for member in seen)


async def test_a_release_that_loses_a_race_is_a_conflict() -> None:
    bench = Bench(get=[config(version=6, **ORPHANED)], merge_patch=[TAKEN])
    result = await bench.performer.perform(RELEASE)
    assert isinstance(result, Refused)
    assert result.refusal is Refusal.CONFLICT
    assert bench.performer.released == {}


async def test_an_object_that_is_gone_needs_no_release() -> None:
    missing = NotFoundError("gone", status=404, reason="NotFound", details={"name": "a"})
    bench = Bench(get=[missing])
    bench.children.put(CONFIG_MAPS, config(version=5, **ORPHANED))
    result = await bench.performer.perform(RELEASE)
    assert isinstance(result, Refused)
    assert result.refusal is Refusal.MISSING
    assert bench.children.members("instance-1") == []


async def test_of_a_kind_that_is_not_served_nothing_is_known() -> None:
    bench = Bench(get=[NotFoundError("404 page not found", status=404)])
    bench.children.put(CONFIG_MAPS, config(version=5, **ORPHANED))
    result = await bench.performer.perform(RELEASE)
    assert isinstance(result, Refused)
    assert result.refusal is Refusal.UNAVAILABLE
    assert len(bench.children.members("instance-1")) == 1


async def test_a_refused_release_of_a_secret_quotes_nothing() -> None:
    key = Key(SECRETS, "default", "a")
    secret = {**config(version=6, **ORPHANED), "kind": "Secret"}
    bench = Bench(get=[secret], merge_patch=[refused_fields("data.password")])
    result = await bench.performer.perform(replace(RELEASE, key=key))
    assert isinstance(result, Refused)
    assert VALUE not in result.message


async def test_a_released_object_is_adopted_and_told_so() -> None:
    """All its fields still are those of our manager."""
    entries = [{"manager": MANAGER_CHILDREN}]
    found = {**labels_and_note(7), "metadata": {**labels_and_note(7)["metadata"], "managedFields": entries}}
    bench = Bench(apply=[TAKEN, config(version=8, data={"v": "1"})], get=[found])
    result = await bench.performer.perform(apply())
    assert isinstance(result, Done)
    assert result.adopted
    assert bench.performer.taken_over == {config_key(): (MANAGER_CHILDREN,)}


# Fields of other managers

OTHERS_ENTRY = [{"manager": "other", "operation": "Update", "fieldsV1": {"f:data": {"f:v": {}}}}]
EDITED, DECLARED = {"v": "2", "w": "1"}, {"v": "1", "w": "1"}
MODIFIED = ConflictError("the object has been modified", status=409, reason="Conflict")


def child(conflicts: Conflicts, *, force: bool = True, external: tuple[tuple[str, ...], ...] = ()) -> Apply:
    return replace(
        apply(force=force),
        obj=labelled(desired(DECLARED), MINE),
        need=Need.UPDATE,
        policies=Policies(conflicts=conflicts),
        external_fields=external,
    )


def sent(bench: Bench) -> list[tuple[Any, ...]]:
    """The data, force and version of each apply."""
    calls = [call for call in bench.client.asked if call[0] == "apply"]
    objects = bench.client.applied
    return [
        (obj["data"], call[2], obj["metadata"].get("resourceVersion", ""))
        for call, obj in zip(calls, objects, strict=True)
    ]


def taken(version: int = 6) -> Obj:
    return labelled(config(version=version, data=EDITED, managedFields=OTHERS_ENTRY), MINE)


async def test_under_yield_exactly_the_fields_in_conflict_are_left_out() -> None:
    bench = Bench(apply=[owned_by("other"), taken(7)], get=[taken()])
    bench.children.put(CONFIG_MAPS, config(version=5, data=DECLARED))
    action = child(Conflicts.YIELD)
    result = await bench.performer.perform(action)
    assert isinstance(result, Done)
    assert result.yielded == Yielding("u1", (ForeignField(".data.v", "other", '"1"', '"2"'),))
    assert sent(bench) == [(DECLARED, False, ""), ({"w": "1"}, False, "")]
    assert bench.performer.sent == 3
    # What was really sent is in force: the next pass, which sees the other manager, needs nothing.
    assert bench.children.compare(action.key, labelled(desired({"w": "1"}), MINE)) is None


async def test_without_a_conflict_one_call_is_enough() -> None:
    bench = Bench(apply=[config(version=6, data=DECLARED)])
    bench.children.put(CONFIG_MAPS, config(version=5, data=DECLARED))
    result = await bench.performer.perform(child(Conflicts.YIELD))
    assert isinstance(result, Done)
    assert result.yielded is None
    assert sent(bench) == [(DECLARED, False, "")]


@pytest.mark.parametrize("second", [owned_by("third"), MODIFIED])
async def test_a_second_conflict_is_tried_again_later(second: ConflictError) -> None:
    bench = Bench(apply=[owned_by("other"), second], get=[taken()])
    result = await bench.performer.perform(child(Conflicts.YIELD))
    assert isinstance(result, Refused)
    assert result.refusal is Refusal.CONFLICT


async def test_a_conflict_that_managed_fields_do_not_explain_is_tried_again_later() -> None:
    bench = Bench(apply=[owned_by("other")], get=[config(version=6, data=EDITED)])
    result = await bench.performer.perform(child(Conflicts.YIELD))
    assert isinstance(result, Refused)
    assert (result.refusal, result.message) == (Refusal.CONFLICT, "conflict")


async def test_under_fail_nothing_changes_and_both_values_are_told() -> None:
    bench = Bench(apply=[owned_by("other")], get=[taken()])
    result = await bench.performer.perform(child(Conflicts.FAIL))
    assert isinstance(result, Refused)
    assert result.refusal is Refusal.CONTESTED
    assert result.message.endswith('.data.v is "2" by manager "other", declared is "1"')
    assert sent(bench) == [(DECLARED, False, "")]


async def test_values_of_secrets_are_not_told() -> None:
    bench = Bench(apply=[owned_by("other")], get=[taken()])
    result = await bench.performer.perform(replace(child(Conflicts.FAIL), secrets=(("data", "v"),)))
    assert isinstance(result, Refused)
    assert '"1"' not in result.message
    assert '"2"' not in result.message


@pytest.mark.parametrize("conflicts", [Conflicts.YIELD, Conflicts.FAIL])
async def test_a_child_that_became_another_sets_is_not_taken_back(conflicts: Conflicts) -> None:
    label = {"f:metadata": {"f:labels": {f"f:{LABEL_APPLYSET_PART_OF}": {}}}}
    stolen = labelled(config(version=6, managedFields=[{"manager": "other", "fieldsV1": label}]), OTHER)
    cause = {"message": 'conflict with "other"', "field": f".metadata.labels.{LABEL_APPLYSET_PART_OF}"}
    conflict = ConflictError("conflict", status=409, reason="Conflict", details={"causes": [cause]})
    bench = Bench(apply=[conflict], get=[stolen])
    result = await bench.performer.perform(child(conflicts))
    assert isinstance(result, Refused)
    assert result.refusal is Refusal.CONFLICT
    assert len(sent(bench)) == 1


async def test_an_external_field_that_was_taken_meanwhile_is_not_taken_back() -> None:
    bench = Bench(apply=[MODIFIED, taken(7)], get=[taken()])
    bench.children.put(CONFIG_MAPS, config(version=5, data=DECLARED))
    result = await bench.performer.perform(child(Conflicts.FORCE, external=(("data", "v"),)))
    assert isinstance(result, Done)
    assert result.yielded is not None
    assert sent(bench) == [(DECLARED, True, "5"), ({"w": "1"}, True, "6")]


@pytest.mark.parametrize(
    ("conflicts", "external", "applies"),
    [
        (Conflicts.YIELD, (), [(DECLARED, False, "1"), ({"w": "1"}, False, "4")]),
        (Conflicts.FORCE, (("data", "v"),), [(DECLARED, False, "1"), ({"w": "1"}, True, "4")]),
    ],
)
@pytest.mark.parametrize("first", [owned_by("other"), MODIFIED])
async def test_fields_of_an_adopted_object_are_left_to_their_managers(
    first: ConflictError, conflicts: Conflicts, external: tuple[tuple[str, ...], ...], applies: list[Any]
) -> None:
    is_asked_twice = first is MODIFIED and conflicts is Conflicts.YIELD
    more: list[Any] = [owned_by("other")] if is_asked_twice else []
    found = labelled(config(version=4, data=EDITED, managedFields=OTHERS_ENTRY), {})
    bench = Bench(apply=[first, *more, taken(7)], get=[found])
    result = await bench.performer.perform(child(conflicts, force=False, external=external))
    assert isinstance(result, Done)
    assert result.adopted
    assert result.yielded is not None
    assert sent(bench) == ([applies[0], (DECLARED, False, "4"), applies[1]] if is_asked_twice else applies)


async def test_an_object_is_not_adopted_under_fail_while_others_have_its_fields() -> None:
    found = labelled(config(version=4, data=EDITED, managedFields=OTHERS_ENTRY), {})
    bench = Bench(apply=[MODIFIED, owned_by("other")], get=[found])
    result = await bench.performer.perform(child(Conflicts.FAIL, force=False))
    assert isinstance(result, Refused)
    assert result.refusal is Refusal.MANAGED
    assert result.message.endswith('policy.conflicts is Fail: .data.v is "2" by manager "other", declared is "1"')
    assert bench.performer.taken_over == {}


async def test_at_debug_level_the_log_names_what_an_apply_changes(caplog: pytest.LogCaptureFixture) -> None:
    bench = Bench(get=[config(version=5, data={"v": "1", "p": VALUE})], apply=[config(version=6, data={"v": "2"})] * 2)
    action = replace(apply(force=True), need=Need.UPDATE, secrets=(("data", "p"),))
    with caplog.at_level("DEBUG", logger="kroasync.children"):
        await bench.performer.perform(action)
    (line,) = caplog.records
    assert (line.message, line.__dict__["fields"]) == ("child updated", ["data.v", "data.p"])
    assert VALUE not in repr(line.__dict__)
    assert bench.asked() == ["get", "apply"]
    with caplog.at_level("INFO", logger="kroasync.children"):
        await bench.performer.perform(action)
    assert bench.asked() == ["get", "apply", "apply"]


async def test_a_read_for_the_log_that_is_refused_changes_nothing(caplog: pytest.LogCaptureFixture) -> None:
    refused = NotFoundError("gone", status=404, reason="NotFound")
    bench = Bench(get=[refused], apply=[config(version=6, data={"v": "2"})])
    with caplog.at_level("DEBUG", logger="kroasync.children"):
        result = await bench.performer.perform(replace(apply(force=True), need=Need.UPDATE))
    assert isinstance(result, Done)
    assert caplog.records == []
