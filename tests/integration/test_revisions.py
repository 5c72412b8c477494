"""GraphRevisions (runtime.md 1.3, 1.5, 1.7): every accepted spec is kept, and instances use the last valid one."""

from __future__ import annotations

import pytest

from tests.integration.cluster import Lab, Obj, RefusedError, condition, config, eventually, is_true

pytestmark = pytest.mark.integration


def revisions(lab: Lab, name: str) -> dict[int, Obj]:
    found = lab.cluster.list(lab.cluster.path("GraphRevision"))
    return {obj["spec"]["revision"]: obj for obj in found if obj["spec"]["snapshot"]["name"] == name}


def at(lab: Lab, value: str) -> Obj:
    return lab.definition("Revised", [config("a", data={"x": value})])


def test_every_accepted_spec_is_recorded_and_the_newest_five_are_kept(lab: Lab) -> None:
    name = lab.definition_name("Revised")
    obj = lab.define_object(at(lab, "1"))
    (first,) = revisions(lab, name).values()
    assert first["metadata"]["name"] == f"{name}-r00001"
    (owner,) = first["metadata"]["ownerReferences"]
    assert (owner["kind"], owner["uid"], owner["controller"]) == (
        "ResourceGraphDefinition",
        obj["metadata"]["uid"],
        True,
    )
    labels = first["metadata"]["labels"]
    assert labels["kro.run/owned"] == "true"
    assert labels["kro.run/resource-graph-definition-name"] == name
    assert labels["kro.run/graph-revision-hash"]
    assert first["spec"]["snapshot"]["generation"] == 1
    assert first["spec"]["snapshot"]["spec"]["resources"] == at(lab, "1")["spec"]["resources"]
    verified = eventually(lambda: revisions(lab, name)[1], lambda found: is_true(found, "Ready"))
    assert condition(verified, "GraphVerified")["message"] == "graph revision compiled and verified"
    assert verified["status"]["topologicalOrder"] == ["a"]

    for number in range(2, 8):
        obj = lab.define_object(at(lab, str(number)))
        assert obj["status"]["lastIssuedRevision"] == number
    eventually(lambda: sorted(revisions(lab, name)), lambda found: found == [3, 4, 5, 6, 7])
    lab.cluster.delete(lab.cluster.path_of(obj))
    eventually(lambda: revisions(lab, name), lambda found: found == {})


def test_the_order_of_resources_is_no_new_revision_and_going_back_is(lab: Lab) -> None:
    name = lab.definition_name("Revised")
    both = [config("a"), config("b")]
    lab.define("Revised", both)
    lab.define("Revised", both[::-1])
    assert sorted(revisions(lab, name)) == [1]
    lab.define("Revised", [config("a")])
    lab.define("Revised", both)
    assert sorted(revisions(lab, name)) == [1, 2, 3]


def test_a_revision_cannot_be_edited(lab: Lab) -> None:
    lab.define_object(at(lab, "1"))
    (revision,) = revisions(lab, lab.definition_name("Revised")).values()
    with pytest.raises(RefusedError, match="spec is immutable"):
        lab.cluster.merge(lab.cluster.path_of(revision), {"spec": {"revision": 9}})


def test_a_bad_update_keeps_the_last_good_revision_serving_also_over_a_restart(lab: Lab) -> None:
    name = lab.definition_name("Revised")
    lab.define_object(at(lab, "1"))
    lab.instance("Revised", "before")
    lab.await_state("Revised", "before")
    lab.submit(at(lab, "${nothing.metadata.name}"))
    obj = lab.await_definition(name, "Inactive", message="nothing")
    told = {c["type"]: (c["status"], c["observedGeneration"]) for c in obj["status"]["conditions"]}
    assert told["GraphAccepted"] == ("False", 2)
    assert told["GraphRevisionsResolved"] == ("True", 2)
    assert told["KindReady"] == told["ControllerReady"] == ("True", 1)
    assert told["Ready"] == ("False", 2)
    assert obj["status"]["lastIssuedRevision"] == 1
    assert sorted(revisions(lab, name)) == [1]
    lab.instance("Revised", "during")
    lab.await_state("Revised", "during")

    lab.controller.stop()
    lab.controller.start()
    lab.controller.wait_ready()
    lab.instance("Revised", "after")
    lab.await_state("Revised", "after")
    lab.cluster.delete(lab.child_path("ConfigMap", "before-a"))
    lab.await_child("ConfigMap", "before-a", lambda obj: obj.get("data") == {"x": "1"})

    lab.define_object(at(lab, "2"))
    assert sorted(revisions(lab, name)) == [1, 2]
    for child in ("before-a", "during-a", "after-a"):
        lab.await_child("ConfigMap", child, lambda obj: obj["data"] == {"x": "2"})


def test_revisions_deleted_by_hand_do_not_stop_anything(lab: Lab) -> None:
    name = lab.definition_name("Revised")
    lab.define_object(at(lab, "1"))
    (revision,) = revisions(lab, name).values()
    lab.cluster.delete(lab.cluster.path_of(revision))
    eventually(
        lambda: revisions(lab, name).get(1, {}).get("metadata", {}).get("uid"),
        lambda uid: uid != revision["metadata"]["uid"],
    )
    lab.instance("Revised")
    lab.await_state("Revised")
    obj = lab.define_object(at(lab, "2"))
    assert obj["status"]["lastIssuedRevision"] == 2 or obj["status"]["lastIssuedRevision"] == 3


def test_groups_of_one_name_in_two_namespaces_keep_their_revisions_apart(lab: Lab) -> None:
    """A ResourceGroup is namespaced, but its revisions are not; no owner reference can delete them."""
    other = f"{lab.namespace}-other"
    lab.cluster.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": other}})
    made = []
    for kind, namespace in (("Here", lab.namespace), ("There", other)):
        obj = lab.definition(kind, [config("a")], name="same")
        obj["kind"], obj["metadata"]["namespace"] = "ResourceGroup", namespace
        made.append(lab.cluster.path_of(lab.cluster.apply(obj)))
    for path in made:
        eventually(lambda path=path: lab.cluster.read(path) or {}, lambda obj: is_true(obj, "Ready"))  # type: ignore[misc]
    assert sorted(revisions(lab, f"{lab.namespace}/same")) == sorted(revisions(lab, f"{other}/same")) == [1]
    lab.cluster.delete(made[0])
    lab.await_gone(made[0])
    eventually(lambda: revisions(lab, f"{lab.namespace}/same"), lambda found: found == {})
    assert sorted(revisions(lab, f"{other}/same")) == [1]
    lab.instance("There")
    lab.await_state("There")
    lab.cluster.delete(lab.path("There"))
    lab.await_gone(lab.path("There"))
    lab.cluster.delete(made[1])
    lab.cluster.delete(lab.cluster.path("Namespace", "", other))
