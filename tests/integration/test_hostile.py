"""Hostile content that a user may write into an object harms only that object."""

import pytest

from tests.integration.cluster import Lab, Obj, condition, config, config_map, eventually

pytestmark = pytest.mark.integration


def test_an_object_with_our_labels_and_a_number_nobody_can_read(lab: Lab) -> None:
    """Python does not parse numbers of more than 4300 digits."""
    lab.define("Ordered", [config("c", data={"v": "1"})])
    lab.instance("Ordered")
    lab.await_state("Ordered")
    child = lab.child("ConfigMap", "one-c")
    labels, pid = child["metadata"]["labels"], lab.controller.pid
    endless = {"internal.kro.run/apply-order": "1" * 5000}
    lab.cluster.create(config_map("hostile", lab.namespace, labels=labels, annotations=endless))
    lab.cluster.delete(lab.child_path("ConfigMap", "one-c"))
    lab.await_child("ConfigMap", "one-c")
    assert lab.controller.pid == pid
    # The next process reads it again when it starts.
    lab.controller.kill()
    lab.controller.start()
    lab.controller.wait_ready()
    lab.cluster.delete(lab.cluster.path_of(child))
    lab.await_child("ConfigMap", "one-c")


@pytest.mark.parametrize("levels", [300, 1500])
def test_an_instance_nested_more_deeply_than_json_is_read_hides_no_other(lab: Lab, levels: int) -> None:
    """kubectl writes and reads it, because Python and the controller parse fewer levels than the API server."""
    lab.define("Deep", [config("c", data={"v": "1"})], spec={"values": "object"})
    lab.instance("Deep", "before")
    lab.await_state("Deep", "before")
    values = '{"a":' * levels + "1" + "}" * levels
    head = f'"apiVersion":"{lab.group}/v1alpha1","kind":"Deep","metadata":{{"name":"deep"}}'
    kubectl = lab.cluster.playground.kubectl
    here, deep = ("--namespace", lab.namespace), f"deeps.{lab.group}/deep"
    kubectl(*here, "create", "--filename=-", input=f'{{{head},"spec":{{"values":{values}}}}}')
    lab.instance("Deep", "after")
    lab.await_state("Deep", "after")
    shown = ("get", deep, "--output=jsonpath={.status.state} {.status.conditions}")
    told = eventually(lambda: kubectl(*here, *shown), lambda text: len(text) > 10, what="its state is told")
    # A field that no expression reads may be deep; beyond a depth, no expression can read it.
    assert told.startswith("ACTIVE") if levels == 300 else "nested more than" in told
    lab.controller.kill()
    lab.controller.start()
    lab.controller.wait_ready()
    lab.edit("Deep", "before", metadata={"labels": {"a": "b"}})
    lab.await_child("ConfigMap", "before-c", lambda obj: obj["metadata"]["labels"].get("a") == "b")
    kubectl(*here, "delete", deep, "--timeout=30s")


def test_a_list_in_the_status_waits_for_all_its_elements(lab: Lab) -> None:
    """The API server rejects null in a list of strings; the status must not lose state and conditions because of it."""
    status = {"names": ["${c.data.later}", "${c.metadata.name}"], "name": "${c.metadata.name}"}
    lab.define("Listing", [config("c", data={"v": "1"})], status=status)
    lab.instance("Listing")
    found = lab.await_state("Listing")["status"]
    assert found["name"] == "one-c"
    assert "names" not in found
    assert condition({"status": found}, "Error") == {} or condition({"status": found}, "Error")["status"] == "False"
    lab.cluster.merge(lab.child_path("ConfigMap", "one-c"), {"data": {"later": "x"}})
    lab.await_status("Listing", check=lambda status: status.get("names") == ["x", "one-c"])


def test_pods_of_a_job_go_with_it(lab: Lab) -> None:
    """The API server's default for Jobs would leave the Pods running."""
    template: Obj = {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": "${schema.metadata.name}-j"},
        "spec": {
            "template": {
                "spec": {"restartPolicy": "Never", "containers": [{"name": "main", "image": "busybox"}]},
            }
        },
    }
    lab.define("Working", [{"id": "job", "template": template}])
    lab.instance("Working")
    lab.await_state("Working")
    pods = f"/api/v1/namespaces/{lab.namespace}/pods"
    eventually(lambda: lab.cluster.list(pods), what="the Job has a Pod")
    lab.cluster.delete(lab.path("Working"))
    lab.await_gone(lab.path("Working"))
    eventually(lambda: lab.cluster.list(pods), lambda found: found == [], what="the Pods go")
