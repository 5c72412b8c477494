"""Forbidden changes of definitions and instances: users with real rights try each of them on the real API server."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from operator import eq
from typing import Any

import pytest

from kroasync.playground import Playground
from tests.integration.cluster import (
    APPLY,
    MERGE,
    Cluster,
    Lab,
    Obj,
    RefusedError,
    condition,
    config,
    config_map,
    eventually,
    for_a_while,
    is_true,
)

pytestmark = pytest.mark.integration

JSON_PATCH = "application/json-patch+json"
HUGE = 2**63 - 1
DEFINITIONS = {"apiGroups": ["kro.run"], "resources": ["resourcegraphdefinitions", "resourcegroups"]}


class User(Cluster):
    """The API server with the rights of a ServiceAccount of the lab's namespace."""

    def __init__(self, playground: Playground, token: str) -> None:
        super().__init__(playground)
        self._token = token


@dataclass(frozen=True, slots=True)
class People:
    """Creates users with exactly the rights of a role, in the lab's namespace or everywhere."""

    lab: Lab
    made: list[User]

    def editor(self) -> User:
        """A user with the role `edit` in the lab's namespace."""
        return self._bound("editor", {"kind": "ClusterRole", "name": "edit"}, everywhere=False)

    def with_rules(self, name: str, rules: Sequence[Obj], *, everywhere: bool = False) -> User:
        role = self._name(name)
        self.lab.cluster.apply({**self._rbac("ClusterRole", role, everywhere=True), "rules": list(rules)})
        return self._bound(name, {"kind": "ClusterRole", "name": role}, everywhere=everywhere)

    def _bound(self, name: str, role: Obj, *, everywhere: bool) -> User:
        lab, here = self.lab, self.lab.namespace
        lab.cluster.apply({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": name, "namespace": here}})
        binding = self._rbac("ClusterRoleBinding" if everywhere else "RoleBinding", self._name(name), everywhere)
        subject = {"kind": "ServiceAccount", "name": name, "namespace": here}
        role = {"apiGroup": "rbac.authorization.k8s.io", **role}
        lab.cluster.apply({**binding, "roleRef": role, "subjects": [subject]})
        path = f"{lab.cluster.path('ServiceAccount', here, name)}/token"
        asked = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {}}
        user = User(lab.cluster.playground, lab.cluster.call("POST", path, asked)["status"]["token"])
        self.made.append(user)
        return user

    def _name(self, name: str) -> str:
        return f"{self.lab.namespace}-{name}"

    def _rbac(self, kind: str, name: str, everywhere: bool) -> Obj:
        meta = {"name": name} | ({} if everywhere else {"namespace": self.lab.namespace})
        return {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": kind, "metadata": meta}


@pytest.fixture
def people(lab: Lab) -> Iterator[People]:
    people = People(lab, [])
    yield people
    for user in people.made:
        user.close()


def refusal(call: Callable[..., Any], *arguments: Any, **options: Any) -> str:
    """The API server's message if RBAC or a policy refuses the request; empty if the request succeeds."""
    try:
        call(*arguments, **options)
    except RefusedError as error:
        if error.status != 403:
            raise
        return error.message
    return ""


def by_policy(call: Callable[..., Any], *arguments: Any, **options: Any) -> None:
    """The admission policy refuses it. Aggregated roles and policies take effect with some delay."""
    eventually(
        lambda: refusal(call, *arguments, **options),
        lambda text: "rbac.protectDefinitions" in text,
        what=f"refused by the policy: {arguments} {options}",
    )


def group_of(lab: Lab) -> Obj:
    """The administrator's ResourceGroup in the lab's namespace, Active."""
    obj = lab.definition("Team", [config("a", data={"v": "1"})], name="team")
    obj["kind"], obj["metadata"]["namespace"] = "ResourceGroup", lab.namespace
    path = lab.cluster.path_of(lab.cluster.apply(obj))
    return eventually(lambda: lab.cluster.read(path) or {}, lambda found: is_true(found, "Ready"))


def owned_by(owner: Obj) -> list[Obj]:
    meta = owner["metadata"]
    return [{"apiVersion": "v1", "kind": "ConfigMap", "name": meta["name"], "uid": meta["uid"]}]


def test_edit_in_its_namespace_is_no_way_to_end_or_forge_a_definition(lab: Lab, people: People) -> None:
    """By owner references, finalizers, labels, the status or deletions of any sort (issue of the garbage collector)."""
    group = group_of(lab)
    alice, path = people.editor(), lab.cluster.path_of(group)
    owner = eventually(lambda: _made(alice, config_map("owner", lab.namespace)))
    assert owner is not None
    identity = {key: group[key] for key in ("apiVersion", "kind")}
    names = {key: group["metadata"][key] for key in ("name", "namespace")}
    owners, finalizers = {"ownerReferences": owned_by(owner)}, {"finalizers": ["example.com/mine"]}
    labels = [{"kro.run/owned": "true"}, {"applyset.kubernetes.io/part-of": "x"}, {"internal.kro.run/x": "y"}]
    forged = {"lastIssuedRevision": HUGE, "state": "Active"}

    for meta in (owners, finalizers, {"finalizers": None}, {"finalizers": []}, *({"labels": it} for it in labels)):
        by_policy(alice.merge, path, {"metadata": meta})
    for key, value in (*owners.items(), *finalizers.items()):
        patch = [{"op": "add", "path": f"/metadata/{key}", "value": value}]
        by_policy(alice.call, "PATCH", path, patch, content_type=JSON_PATCH)
    for meta in (owners, finalizers):
        applied = {**identity, "metadata": {**names, **meta}}
        by_policy(alice.apply, applied)
        current = lab.cluster.read(path) or {}
        replaced = {**current, "metadata": {**current["metadata"], **meta}}
        by_policy(alice.call, "PUT", path, replaced)
    by_policy(alice.call, "PATCH", f"{path}/status", {"status": forged}, content_type=MERGE)
    by_policy(alice.call, "PATCH", f"{path}/status", {"status": None}, content_type=MERGE)
    by_policy(alice.call, "PUT", f"{path}/status", {**(lab.cluster.read(path) or {}), "status": forged})
    status = {**identity, "metadata": names, "status": {"state": "Inactive"}}
    apply = f"{path}/status?fieldManager=kro.run/status&force=true"
    by_policy(alice.call, "PATCH", apply, status, content_type=APPLY)
    new = {**identity, "metadata": {"name": "new", "namespace": lab.namespace, **owners}, "spec": group["spec"]}
    by_policy(alice.create, new)
    for options in (None, {"propagationPolicy": "Foreground"}, {"propagationPolicy": "Orphan"}):
        by_policy(alice.call, "DELETE", path, options)
    by_policy(alice.call, "DELETE", path.rsplit("/", 1)[0])

    alice.delete(alice.path_of(owner))
    for found in for_a_while(lambda: lab.cluster.read(path) or {}):
        assert {key: value for key, value in found["metadata"].items() if key != "managedFields"} == {
            key: value for key, value in group["metadata"].items() if key != "managedFields"
        }
        assert found["status"] == group["status"]
    # Users keep their rights to their own fields.
    alice.merge(path, {"metadata": {"labels": {"team": "a"}, "annotations": {"note": "b"}}})
    instance = {"apiVersion": f"{lab.group}/v1alpha1", "kind": "Team", "metadata": {"name": "one"}, "spec": {}}
    alice.apply({**instance, "metadata": {"name": "one", "namespace": lab.namespace}})
    lab.await_state("Team")


def _made(user: User, obj: Obj) -> Obj | None:
    try:
        return user.create(obj)
    except RefusedError:
        return None


def test_what_an_administrator_lets_the_garbage_collector_delete_it_deletes(lab: Lab) -> None:
    """The policies block neither the deletion nor the controller, which removes its finalizer."""
    group = group_of(lab)
    owner = lab.cluster.create(config_map("owner", lab.namespace))
    path = lab.cluster.path_of(group)
    lab.cluster.merge(path, {"metadata": {"ownerReferences": owned_by(owner)}})
    lab.cluster.delete(lab.cluster.path_of(owner))
    # It looks for new kinds every 30 s.
    lab.await_gone(path, timeout_s=90)


def test_who_may_not_delete_definitions_may_not_have_them_deleted(lab: Lab, people: People) -> None:
    lab.define("Kept", [config("a")])
    group = group_of(lab)
    owner = lab.cluster.create(config_map("owner", lab.namespace))
    user = people.with_rules("patcher", [{**DEFINITIONS, "verbs": ["get", "patch", "update"]}], everywhere=True)
    for path in (
        lab.cluster.path("ResourceGraphDefinition", "", lab.definition_name("Kept")),
        lab.cluster.path_of(group),
    ):
        for meta in ({"ownerReferences": owned_by(owner)}, {"finalizers": ["example.com/mine"]}, {"finalizers": None}):
            by_policy(user.merge, path, {"metadata": meta})
        status = {"status": {"lastIssuedRevision": HUGE}}
        # The user has no right to it.
        assert refusal(user.call, "PATCH", f"{path}/status", status, content_type=MERGE)
        user.merge(path, {"metadata": {"annotations": {"kro.run/allow-breaking-changes": "false"}}})


def test_instances_are_deleted_by_who_may_and_their_status_is_the_controllers(lab: Lab, people: People) -> None:
    lab.define("Guarded", [config("a")])
    lab.instance("Guarded")
    before = lab.await_state("Guarded")
    path = lab.path("Guarded")
    owner = lab.cluster.create(config_map("owner", lab.namespace))
    mine = {"apiGroups": [lab.group], "resources": ["*"]}
    patcher = people.with_rules("patcher", [{**mine, "verbs": ["get", "patch", "update"]}])
    for meta in ({"ownerReferences": owned_by(owner)}, {"finalizers": []}, {"finalizers": ["example.com/mine"]}):
        by_policy(patcher.merge, path, {"metadata": meta})
    alice = people.editor()
    for forged in ({"state": "FAILED"}, None):
        for user in (patcher, alice):
            by_policy(user.call, "PATCH", f"{path}/status", {"status": forged}, content_type=MERGE)
    assert lab.read("Guarded")["status"] == before["status"]
    # A user who may delete it may also delete it in this way.
    alice.merge(path, {"metadata": {"ownerReferences": owned_by(owner)}})
    alice.delete(path)
    lab.await_gone(path)
    lab.await_configs(set())


def test_a_right_to_revisions_is_no_right_to_definitions(lab: Lab, people: People) -> None:
    """The controller would use a forged revision as soon as the definition is not valid."""
    name = lab.definition_name("Recorded")
    lab.define("Recorded", [config("a")])
    (issued,) = (r for r in lab.cluster.list(lab.cluster.path("GraphRevision")) if _is_of(r, name))
    path = lab.cluster.path_of(issued)
    everything = {"apiGroups": ["internal.kro.run"], "resources": ["*"], "verbs": ["*"]}
    user = people.with_rules("historian", [everything], everywhere=True)
    meta = {"name": f"{name}-r00002", "labels": issued["metadata"]["labels"]}
    by_policy(user.create, {**issued, "metadata": meta, "spec": {**issued["spec"], "revision": HUGE}})
    by_policy(user.merge, path, {"metadata": {"labels": {"kro.run/graph-revision-hash": "0"}}})
    by_policy(user.merge, path, {"metadata": {"labels": None}})
    by_policy(user.call, "DELETE", path)
    assert user.call("GET", path)["metadata"]["uid"] == issued["metadata"]["uid"]


def _is_of(revision: Obj, name: str) -> bool:
    return bool(revision["spec"]["snapshot"]["name"] == name)


FORGED = [{"lastIssuedRevision": HUGE}, {"lastIssuedRevision": -1, "state": None}, {"conditions": []}, None]


@pytest.mark.parametrize("manager", ["kubectl-edit", "kro.run/status"])
def test_a_forged_status_is_put_back_by_its_event(lab: Lab, manager: str) -> None:
    """No policy protects it from this user, who may do everything. Even the time of its transitions is restored."""
    name = lab.definition_name("Forged")
    lab.define("Forged", [config("a", data={"v": "1"})], status={"version": "${a.metadata.resourceVersion}"})
    lab.instance("Forged")
    lab.await_state("Forged")
    definition = lab.cluster.path("ResourceGraphDefinition", "", name)
    cases = [(definition, forged) for forged in FORGED]
    cases += [(lab.path("Forged"), it) for it in ({"state": "FAILED", "version": "0"}, {"conditions": []}, None)]
    for path, forged in cases:
        before = (lab.cluster.read(path) or {})["status"]
        where = f"{path}/status?fieldManager={manager}"
        assert lab.cluster.call("PATCH", where, {"status": forged}, content_type=MERGE).get("status") != before
        back = partial(lambda path: (lab.cluster.read(path) or {}).get("status"), path)
        eventually(back, partial(eq, before), timeout_s=5, what=f"{json.dumps(before)} after {forged}")


def test_a_forged_number_stops_no_definition(lab: Lab) -> None:
    """Not even an instance that exists when the controller starts."""
    name = lab.definition_name("Counted")
    lab.define("Counted", [config("a", data={"v": "1"})])
    path = lab.cluster.path("ResourceGraphDefinition", "", name)
    lab.controller.stop()
    forged = {"status": {"lastIssuedRevision": HUGE}}
    lab.cluster.call("PATCH", f"{path}/status", forged, content_type=MERGE)
    lab.controller.start()
    lab.controller.wait_ready()
    for number in (2, 3):
        obj = lab.define("Counted", [config("a", data={"v": str(number)})])
        assert obj["status"]["lastIssuedRevision"] == number
        lab.cluster.call("PATCH", f"{path}/status", forged, content_type=MERGE)


def test_a_name_too_long_for_the_label_of_a_revision_is_said_in_the_conditions(lab: Lab) -> None:
    name = f"{'long-' * 13}{lab.group}"
    lab.submit(lab.definition("LongNamed", [config("a")], name=name))
    obj = lab.await_definition(name, "Inactive", message="63")
    for type_ in ("Ready", "GraphAccepted", "GraphRevisionsResolved"):
        assert condition(obj, type_)["status"] == "False"
        assert "must be no more than 63" in condition(obj, type_)["message"]
