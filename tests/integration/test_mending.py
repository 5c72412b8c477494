"""Edited merge keys on the real control plane: what a server-side apply alone cannot repair."""

from __future__ import annotations

from typing import Any

import pytest

from tests.integration.cluster import Lab, Obj, eventually

pytestmark = pytest.mark.integration
JSON_PATCH = "application/json-patch+json"

SERVICE: Obj = {
    "id": "service",
    "template": {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "${schema.metadata.name}"},
        "spec": {"selector": {"a": "b"}, "ports": [{"name": "http", "port": 80}]},
    },
}
DEPLOYMENT: Obj = {
    "id": "deployment",
    "template": {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "${schema.metadata.name}"},
        "spec": {
            "replicas": 0,
            "selector": {"matchLabels": {"a": "b"}},
            "template": {
                "metadata": {"labels": {"a": "b"}},
                "spec": {
                    "containers": [
                        {
                            "name": "web",
                            "image": "nginx",
                            "ports": [{"name": "http", "containerPort": 8080}],
                            "env": [{"name": "MODE", "value": "x"}],
                        }
                    ]
                },
            },
        },
    },
}
CONTAINER = "/spec/template/spec/containers/0"


def ports(service: Obj) -> list[tuple[Any, ...]]:
    return [(p["name"], p["port"], p["protocol"]) for p in service["spec"]["ports"]]


def containers(deployment: Obj) -> list[Obj]:
    return [
        {"name": c["name"], "image": c["image"], "ports": c.get("ports"), "env": c.get("env")}
        for c in deployment["spec"]["template"]["spec"]["containers"]
    ]


def owners(obj: Obj) -> list[tuple[str, str]]:
    return [(e["manager"], e["operation"]) for e in obj["metadata"]["managedFields"] if not e.get("subresource")]


def edit(lab: Lab, kind: str, *operations: Obj) -> None:
    path = lab.cluster.path(kind, lab.namespace, "one")
    lab.cluster.call("PATCH", f"{path}?fieldManager=person", list(operations), content_type=JSON_PATCH)


def replace(path: str, value: Any) -> Obj:
    return {"op": "replace", "path": path, "value": value}


def test_an_edited_key_of_a_port_is_set_back(lab: Lab) -> None:
    """The protocol is not even declared, and the number of the node port is kept."""
    lab.define("Porty", [SERVICE])
    lab.instance("Porty")
    lab.await_state("Porty")
    edit(lab, "Service", replace("/spec/type", "NodePort"))
    node_port = lab.child("Service", "one")["spec"]["ports"][0]["nodePort"]
    for path, value in (("/spec/ports/0/protocol", "UDP"), ("/spec/ports/0/port", 81)):
        edit(lab, "Service", replace(path, value))
        healed = eventually(lambda: lab.child("Service", "one"), lambda obj: ports(obj) == [("http", 80, "TCP")])
        assert healed["spec"]["ports"][0]["nodePort"] == node_port
        # Or a port would stay that the definition no longer declares.
        eventually(
            lambda: owners(lab.child("Service", "one")), lambda found: ("kro.run/applyset", "Update") not in found
        )
    lab.await_state("Porty")


def test_an_added_port_with_the_name_of_a_declared_one_does_not_stand_in_the_way(lab: Lab) -> None:
    lab.define("Crowd", [SERVICE])
    lab.instance("Crowd")
    lab.await_state("Crowd")
    edit(
        lab,
        "Service",
        replace("/spec/ports/0/name", "other"),
        {"op": "add", "path": "/spec/ports/-", "value": {"name": "http", "port": 8080}},
    )
    eventually(lambda: lab.child("Service", "one"), lambda obj: ports(obj) == [("http", 80, "TCP")])
    lab.await_state("Crowd")


@pytest.mark.parametrize(
    "operations",
    [
        pytest.param([replace(f"{CONTAINER}/name", "web2")], id="container renamed"),
        pytest.param([replace(f"{CONTAINER}/ports/0/containerPort", 9090)], id="container port"),
        pytest.param([replace(f"{CONTAINER}/ports/0/protocol", "UDP")], id="protocol of a container port"),
        pytest.param([replace(f"{CONTAINER}/env/0/name", "OTHER")], id="variable renamed"),
        pytest.param(
            [
                replace(f"{CONTAINER}/name", "web2"),
                replace(f"{CONTAINER}/env/0/name", "OTHER"),
                replace(f"{CONTAINER}/ports/0/protocol", "UDP"),
            ],
            id="all at once",
        ),
    ],
)
def test_edited_keys_below_a_pod_template_are_set_back(lab: Lab, operations: list[Obj]) -> None:
    lab.define("Deploy", [DEPLOYMENT])
    lab.instance("Deploy")
    lab.await_state("Deploy")
    before = containers(lab.child("Deployment", "one"))
    edit(lab, "Deployment", *operations)
    eventually(lambda: containers(lab.child("Deployment", "one")), lambda found: found == before)
    lab.await_state("Deploy")


def test_what_the_definition_declares_no_more_goes_although_somebody_changed_it(lab: Lab) -> None:
    """By a new key in the template: the old element has fields of somebody else, which an apply leaves behind."""
    port = {"name": "http", "port": "${schema.spec.port}"}
    service = {**SERVICE, "template": {**SERVICE["template"], "spec": {"selector": {"a": "b"}, "ports": [port]}}}
    sidecar = {"name": "${schema.spec.sidecar}", "image": "busybox"}
    template = DEPLOYMENT["template"]["spec"]["template"]
    pod = {**template, "spec": {"containers": [*template["spec"]["containers"], sidecar]}}
    spec = {**DEPLOYMENT["template"]["spec"], "template": pod}
    deployment = {**DEPLOYMENT, "template": {**DEPLOYMENT["template"], "spec": spec}}
    fields = {"port": "integer | default=80", "sidecar": "string | default=one"}
    lab.define("Moving", [service, deployment], spec=fields)
    lab.instance("Moving")
    lab.await_state("Moving")
    edit(lab, "Service", {"op": "replace", "path": "/spec/ports/0/targetPort", "value": 8080})
    edit(lab, "Deployment", {"op": "add", "path": "/spec/template/spec/containers/1/workingDir", "value": "/tmp"})
    lab.edit("Moving", spec={"port": 81, "sidecar": "two"})
    eventually(lambda: lab.child("Service", "one"), lambda obj: ports(obj) == [("http", 81, "TCP")])
    eventually(
        lambda: [c["name"] for c in containers(lab.child("Deployment", "one"))], lambda found: found == ["web", "two"]
    )
    lab.await_state("Moving")
