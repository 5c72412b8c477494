"""An editor of a namespace that contains a definition can neither delete, nor delay, nor block the definition.

The definition is the administrator's ResourceGroup in the editor's namespace; a neighbour also uses its kind.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from tests.attacks.people import People, User
from tests.integration.cluster import APPLY, MERGE, Lab, Obj, RefusedError, condition, config, config_map, eventually

pytestmark = pytest.mark.integration

JSON_PATCH = "application/json-patch+json"
SECONDS = 15.0
LARGEST = 2**63 - 1


class Team:
    """A ResourceGroup in the lab's namespace, accepted, with an instance in the neighbour's."""

    def __init__(self, lab: Lab, elsewhere: Lab) -> None:
        self.lab, self.elsewhere = lab, elsewhere
        self.path = lab.cluster.path("ResourceGroup", lab.namespace, "team")
        self.define("1")
        elsewhere.instance("Team")
        elsewhere.await_state("Team")

    def define(self, value: str) -> Obj:
        """Write the definition, whose child has `value`, as the administrator, and wait until it is accepted."""
        definition = self.lab.definition("Team", [config("c", data={"v": value})], name="team")
        definition["kind"] = "ResourceGroup"
        definition["metadata"]["namespace"] = self.lab.namespace
        applied = self.lab.cluster.apply(definition, manager="admin")
        generation = applied["metadata"]["generation"]

        def is_accepted(obj: Obj) -> bool:
            return (
                obj["status"].get("state") == "Active"
                and condition(obj, "Ready").get("status") == "True"
                and condition(obj, "GraphAccepted")["observedGeneration"] >= generation
            )

        return eventually(
            self.read, lambda obj: "status" in obj and is_accepted(obj), what="the definition is accepted"
        )

    def read(self) -> Obj:
        return self.lab.cluster.read(self.path) or {}

    def is_whole(self) -> bool:
        """The definition and the neighbour's instance exist, and are not being deleted."""
        meta, child = self.read()["metadata"], self.elsewhere.child("ConfigMap", "one-c")
        foreign = [f for f in meta.get("finalizers", []) if "kro.run" not in f]
        return not (meta.get("ownerReferences") or foreign or "deletionTimestamp" in meta) and bool(child)


@pytest.fixture
def team(lab: Lab, neighbour: Callable[[str], Lab]) -> Team:
    return Team(lab, neighbour("bob"))


def owner(alice: User) -> list[Obj]:
    """An owner reference to a ConfigMap of the editor."""
    made = alice.create(config_map("owner", alice.home))
    return [{"apiVersion": "v1", "kind": "ConfigMap", "name": "owner", "uid": made["metadata"]["uid"]}]


def by_merge(alice: User, path: str, meta: Obj) -> bool:
    return alice.is_refused("PATCH", path, {"metadata": meta}, content_type=MERGE)


def by_json_patch(alice: User, path: str, meta: Obj) -> bool:
    changes = [{"op": "add", "path": f"/metadata/{field}", "value": value} for field, value in meta.items()]
    return alice.is_refused("PATCH", path, changes, content_type=JSON_PATCH)


def by_apply(alice: User, path: str, meta: Obj) -> bool:
    obj = {"apiVersion": "kro.run/v1alpha1", "kind": "ResourceGroup", "metadata": {"name": "team", **meta}}
    return alice.is_refused("PATCH", f"{path}?fieldManager=kro.run/labeller&force=true", obj, content_type=APPLY)


def by_update(alice: User, path: str, meta: Obj) -> bool:
    """Write the object at any version: a conflict is retried."""
    while True:
        obj = dict(alice.read(path) or {})
        obj["metadata"] = {**obj["metadata"], **meta}
        try:
            return alice.is_refused("PUT", path, obj)
        except RefusedError as error:
            if error.status != 409:
                raise


WAYS = [by_merge, by_json_patch, by_apply, by_update]


@pytest.mark.parametrize("way", WAYS)
def test_an_editor_makes_the_garbage_collector_delete_a_definition(
    team: Team, people: People, way: Callable[[User, str, Obj], bool]
) -> None:
    alice = people.editor(team.lab.namespace)
    assert way(alice, team.path, {"ownerReferences": owner(alice)})
    alice.delete(alice.path("ConfigMap", alice.home, "owner"))
    assert team.is_whole()


@pytest.mark.parametrize("way", WAYS)
def test_an_editor_holds_up_the_deletion_of_a_definition(
    team: Team, people: People, way: Callable[[User, str, Obj], bool]
) -> None:
    alice = people.editor(team.lab.namespace)
    kept = team.read()["metadata"].get("finalizers", [])
    assert way(alice, team.path, {"finalizers": [*kept, "example.com/hold"]})
    assert team.is_whole()


def test_an_editor_takes_the_finalizer_off_a_definition(team: Team, people: People) -> None:
    alice = people.editor(team.lab.namespace)
    assert by_merge(alice, team.path, {"finalizers": None})
    assert any("kro.run/finalizer" in f for f in team.read()["metadata"]["finalizers"])


def test_an_editor_reaches_a_definitions_metadata_by_its_status(team: Team, people: People) -> None:
    alice = people.editor(team.lab.namespace)
    meta = {"ownerReferences": owner(alice), "finalizers": ["example.com/hold"]}
    # The server does not change metadata here: it may answer with success and change nothing.
    by_merge(alice, f"{team.path}/status", meta)
    by_update(alice, f"{team.path}/status", meta)
    assert team.is_whole()


def test_an_editor_deletes_all_definitions_of_a_namespace(team: Team, people: People) -> None:
    alice = people.editor(team.lab.namespace)
    everything = alice.path("ResourceGroup", alice.home)
    assert alice.is_refused("DELETE", everything)
    assert alice.is_refused("DELETE", everything, {"propagationPolicy": "Background"})
    assert team.is_whole()


def test_an_editor_makes_a_definition_that_is_owned(team: Team, people: People) -> None:
    alice = people.editor(team.lab.namespace)
    meta = {"name": "hers", "namespace": alice.home, "ownerReferences": owner(alice)}
    made = {"apiVersion": "kro.run/v1alpha1", "kind": "ResourceGroup", "metadata": meta}
    assert alice.is_refused("POST", alice.path("ResourceGroup", alice.home), made)


def test_what_an_editor_may_do_to_a_definition_she_still_may(team: Team, people: People) -> None:
    """The policy does not forbid everything: the editor may set a label."""
    alice = people.editor(team.lab.namespace)
    assert not by_merge(alice, team.path, {"labels": {"team": "a"}})
    assert team.is_whole()


def forge(alice: User, path: str, status: Any) -> bool:
    """Write a status; True if the API server accepted it."""
    try:
        alice.call("PATCH", f"{path}/status", {"status": status}, content_type=MERGE)
    except RefusedError as error:
        if error.status not in (400, 403, 422):
            raise
        return False
    return True


NUMBERS = [LARGEST, LARGEST - 1, 10**15, 2**63, 1e300, -5, -(2**63), "9223372036854775807", {"a": 1}, [1], 1.5, True]


def test_a_forged_revision_number_wedges_no_definition(team: Team, people: People) -> None:
    """Numbers follow from the existing revisions: the next one is small, whatever the status says."""
    alice = people.editor(team.lab.namespace)
    issued = team.read()["status"]["lastIssuedRevision"]
    taken = 0
    for turn, number in enumerate(NUMBERS, start=2):
        taken += forge(alice, team.path, {"lastIssuedRevision": number})
        found = team.define(str(turn))["status"]["lastIssuedRevision"]
        assert found == issued + 1, f"after {number!r}"
        issued = found
        team.elsewhere.await_child("ConfigMap", "one-c", lambda obj, turn=turn: obj["data"]["v"] == str(turn))  # type: ignore[misc]
    assert taken or forge(alice, team.path, {"state": "x"}) is False, "some of them reach the controller"


FORGED_DEFINITION = {
    "state": "Inactive",
    "lastIssuedRevision": 77,
    "topologicalOrder": ["x"],
    "conditions": [
        {
            "type": "Ready",
            "status": "False",
            "reason": "Hacked",
            "message": "call 0900",
            "lastTransitionTime": "2020-01-01T00:00:00Z",
            "observedGeneration": 1,
        }
    ],
}


def test_a_forged_status_of_a_definition_is_repaired_at_once(team: Team, people: People) -> None:
    alice = people.editor(team.lab.namespace)
    before = team.read()["status"]
    if forge(alice, team.path, FORGED_DEFINITION):
        found = eventually(
            team.read,
            lambda obj: obj["status"].get("state") == "Active" and condition(obj, "Ready").get("status") == "True",
            timeout_s=SECONDS,
            what="the status is ours again",
        )["status"]
        assert found["lastIssuedRevision"] == before["lastIssuedRevision"]
        assert found.get("topologicalOrder") == before.get("topologicalOrder")
        assert "Hacked" not in json.dumps(found)


@pytest.mark.parametrize("value", [{"state": "ERROR", "synced": False}, {"conditions": None}, None], ids=str)
def test_a_forged_status_of_an_instance_is_repaired_at_once(team: Team, people: People, value: Any) -> None:
    """An editor of the namespace may not write it at all; an administrator may, and the controller restores it."""
    path = team.elsewhere.path("Team")
    assert not forge(people.editor(team.elsewhere.namespace), path, value)
    team.lab.cluster.call("PATCH", f"{path}/status", {"status": value}, content_type=MERGE)
    team.elsewhere.await_status(
        "Team",
        check=lambda status: (
            status.get("state") == "ACTIVE" and status.get("synced") is True and bool(status.get("conditions"))
        ),
        timeout_s=SECONDS,
    )
