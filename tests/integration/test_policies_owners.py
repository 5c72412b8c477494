"""`kroasync tree --owners` of an instance whose fields an autoscaler and people share (issue 14)."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.integration.cluster import Lab, config, node

pytestmark = pytest.mark.integration

ROOT = Path(__file__).parents[2]
PASSWORD = "correct-horse-battery"
DEPLOYMENT: dict[str, Any] = {
    "apiVersion": "apps/v1",
    "kind": "Deployment",
    "metadata": {"name": "one-web"},
    "spec": {
        "replicas": 2,
        "selector": {"matchLabels": {"app": "web"}},
        "template": {
            "metadata": {"labels": {"app": "web"}},
            "spec": {"containers": [{"name": "web", "image": "${schema.spec.image}"}]},
        },
    },
}
SECRET = {
    "apiVersion": "v1",
    "kind": "Secret",
    "metadata": {"name": "one-login"},
    "stringData": {"password": PASSWORD},
}


def tree(lab: Lab, *options: str) -> str:
    command = [sys.executable, "-m", "kroasync", "tree", "shared/one", "--owners", "--namespace", lab.namespace]
    kubeconfig = f"--kubeconfig={lab.cluster.playground.kubeconfig}"
    done = subprocess.run([*command, kubeconfig, *options], capture_output=True, text=True, cwd=ROOT, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def test_the_tree_says_who_manages_which_field(lab: Lab) -> None:
    resources = [
        node("web", DEPLOYMENT, policy={"conflicts": "Yield"}),
        node("login", SECRET, policy={"update": "Once"}),
        config("settings", data={"mine": "1", "theirs": "1", "both": "1"}, externalFields=["data.theirs"]),
    ]
    lab.define("Shared", resources, spec={"image": "string | default=nginx:1"})
    lab.instance("Shared")
    lab.await_state("Shared")
    assert tree(lab).splitlines()[-1] == "No other field manager has a declared field."

    scale = f"{lab.child_path('Deployment', 'one-web')}/scale?fieldManager=scaler"
    lab.cluster.merge(scale, {"spec": {"replicas": 4}})
    settings = f"{lab.child_path('ConfigMap', 'one-settings')}?fieldManager=person"
    lab.cluster.merge(settings, {"data": {"theirs": "2", "extra": "x"}})
    shared = {"apiVersion": "v1", "kind": "ConfigMap", "data": {"both": "1"}}
    lab.cluster.apply({**shared, "metadata": {"name": "one-settings", "namespace": lab.namespace}}, manager="friend")
    other = "c3dvcmRmaXNoLXRyb21ib25l"
    lab.cluster.merge(f"{lab.child_path('Secret', 'one-login')}?fieldManager=person", {"data": {"password": other}})
    # The controller has seen all of it once it has rolled out another image.
    lab.edit("Shared", spec={"image": "nginx:2"})
    lab.await_child(
        "Deployment", "one-web", lambda d: d["spec"]["template"]["spec"]["containers"][0]["image"] == "nginx:2"
    )
    lab.await_state("Shared")
    assert lab.child("Deployment", "one-web")["spec"]["replicas"] == 4

    text = tree(lab)
    for row in (
        r"\.spec\.replicas +2 +4 +scaler \(Update of scale\) +yielded",
        r'\.data\.theirs +"1" +"2" +person \(Update\) +external',
        r'\.data\.both +"1" +"1" +friend \(Apply\) +shared',
        r"\.data +a value that is withheld +a value that is withheld +person \(Update\) +kept",
    ):
        assert re.search(f"{row}$", text, re.M), (row, text)
    assert "undeclared fields: person 1" in text
    assert ".data.mine" not in text
    found = json.loads(tree(lab, "-o", "json"))
    fields = [one for n in found["nodes"] for obj in n["objects"] for one in obj["owners"]["fields"]]
    assert sorted(one["treatment"] for one in fields) == ["external", "kept", "shared", "yielded"]
    for leaked in (PASSWORD, other):
        assert leaked not in text + json.dumps(found)
