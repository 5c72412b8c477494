"""A canary: the values of a Secret are used, misused and refused in every known way, and then searched for everywhere.

Everywhere means: every object of the cluster except those that get the values on purpose, every Event, the log at its
most verbose level, metrics, health pages, and the output of the command line.
"""

from __future__ import annotations

import base64
import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.integration.cluster import Lab, Obj, condition, config, config_map, eventually, node
from tests.integration.process import ROOT, ControllerProcess

pytestmark = pytest.mark.integration

WORD = "kanarie7f3a9c21e5d84b06"
NUMBER = "7390148265"
# A message about this key ends with a word of the expression that reads the key.
COLON = f"{WORD}: data"
VALUES = {
    "word": WORD,
    "number": NUMBER,
    "colon": COLON,
    "json": json.dumps({"key": WORD, "list": [WORD]}),
    "text": json.dumps(WORD),
    "pattern": f"({WORD}",
    "bad": f"{WORD}!!",
    "port": WORD[-15:],
}
SOURCE = {"id": "source", "externalRef": {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "source"}}}
GOES = "string(source.data.word)"
# The names of the objects that contain the values on purpose.
HOLDERS = ("source", "-copy", "-plain", "-shared", "-deployment", "-twice", "-secret")


def fragments() -> set[str]:
    """The forbidden fragments: pieces of the values, as text, and as base64 at each of its three alignments."""
    word = WORD.removeprefix("kanarie")
    found = {word[at : at + 8] for at in range(len(word) - 7)} | {"kanarie", NUMBER}
    for text in (WORD, NUMBER, COLON):
        for shift in range(3):
            encoded = base64.b64encode(b"x" * shift + text.encode()).decode().rstrip("=")[4:-2]
            found |= {encoded[at : at + 10] for at in range(max(1, len(encoded) - 9))}
    return found


FRAGMENTS = fragments()


def leaks(text: str) -> list[str]:
    """The surroundings of every fragment in a text."""
    lowered = text.lower()
    places = sorted(at for fragment in FRAGMENTS if (at := lowered.find(fragment.lower())) >= 0)
    return [text[max(0, at - 200) : at + 60] for at in places[:3]]


def test_the_search_finds_what_it_is_to_find() -> None:
    for value in VALUES.values():
        assert leaks(f"a message: {value}!")
        assert leaks(f"x{base64.b64encode(value.encode()).decode()}")
    assert leaks(f"cut{WORD[9:18]}")
    assert leaks(f"no port {NUMBER}")
    assert not leaks("nothing of it, and 73901482 is another number")


def template(api_version: str, kind: str, id_: str, **content: Any) -> Obj:
    """A resource named after instance and id; `meta` goes into its metadata."""
    meta = {"name": f"${{schema.metadata.name}}-{id_}", **content.pop("meta", {})}
    return node(id_, {"apiVersion": api_version, "kind": kind, "metadata": meta, **content})


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Misuse:
    """A definition that fails on a value, and the message of its instance."""

    kind: str
    resources: list[Obj]
    told: str
    options: dict[str, Any]

    @property
    def name(self) -> str:
        """The name of the instance; children use it, so that each definition has its own children."""
        return self.kind.lower()


def misuse(kind: str, told: str, *resources: Obj, **options: Any) -> Misuse:
    return Misuse(kind=kind, resources=[SOURCE, *resources], told=told, options=options)


def computed(kind: str, expression: str, told: str = "details withheld") -> Misuse:
    return misuse(kind, told, config("out", data={"x": f"${{{expression}}}"}))


SERVICE = {"selector": {"a": "b"}, "ports": [{"port": "${int(string(source.data.number))}"}]}
DEPLOYMENT = {
    "replicas": 0,
    "selector": {"matchLabels": {"a": "b"}},
    "template": {
        "metadata": {"labels": {"a": "b"}},
        "spec": {"containers": [{"name": "c", "image": "x", "env": [{"name": "E", "value": f"${{{GOES}}}"}]}]},
    },
}


def two_ports(name: str) -> Obj:
    """A Deployment's spec of two containers whose ports have the same name."""
    containers = [
        {"name": f"c{number}", "image": "x", "ports": [{"name": name, "containerPort": 8000 + number}]}
        for number in (1, 2)
    ]
    pod = {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": containers}}
    return {**DEPLOYMENT, "template": pod}


MISUSES = (
    # Errors of expressions that quote a value.
    computed("Integer", f"string(int({GOES}))"),
    computed("Double", f"string(double({GOES}))"),
    computed("Boolean", f"string(bool({GOES}))"),
    computed("Time", f"string(timestamp({GOES}))"),
    computed("Span", f"string(duration({GOES}))"),
    computed("Amount", f"string(quantity({GOES}).asInteger())"),
    computed("Address", f"url({GOES}).getHost()"),
    computed("Network", f"string(ip({GOES}))"),
    computed("Json", f"json.unmarshal({GOES}).x"),
    computed("JsonKey", "{'a': 'b'}[json.unmarshal(string(source.data.json)).key]"),
    computed("JsonField", "string(json.unmarshal(string(source.data.text)).key)", "no such key: key"),
    computed("Place", "['a'][int(string(source.data.number))]"),
    computed("Key", f"{{'a': 'b'}}[{GOES}]"),
    computed("KeyColon", "{'data': 'b'}[string(source.data.colon)]"),
    computed("Pattern", "string('a'.matches(string(source.data.pattern)))"),
    computed("Decoding", f"string(base64.decode({GOES} + '!'))"),
    computed("Formatting", f"'%d'.format([dyn({GOES})])"),
    computed("Missing", "string(source.data.nope)", "no such key: nope"),
    misuse(
        "Through",
        "details withheld",
        config("plain", data={"w": f"${{{GOES}}}"}),
        config("out", data={"x": "${string(int(plain.data.w))}"}),
    ),
    misuse(
        "Iterated",
        "details withheld",
        config(
            "out",
            name="iterated-${string(size(part))}",
            data={"x": "${string(int(part))}"},
            forEach=[{"part": f"${{[{GOES}]}}"}],
        ),
    ),
    misuse("Included", "details withheld", config("out", includeWhen=[f"${{bool({GOES})}}"])),
    misuse(
        "Unready",
        'characters> == "open" is false',
        {**SOURCE, "id": "other", "readyWhen": ["${string(other.data.word) == 'open'}"]},
    ),
    misuse(
        "UnreadyChild",
        "is false",
        {**config("plain", data={"w": f"${{{GOES}}}"}), "readyWhen": ["${plain.data.w == 'open'}"]},
    ),
    misuse(
        "UnreadySecret",
        "is false",
        {
            **template("v1", "Secret", "secret", stringData={"w": f"${{{GOES}}}"}),
            "readyWhen": ["${string(secret.data.w) == 'open'}"],
        },
    ),
    misuse(
        "Selected",
        "details withheld",
        {
            "id": "found",
            "externalRef": {
                "apiVersion": "v1",
                "kind": "ConfigMap",
                "metadata": {"selector": {"matchLabels": {"a": "${string(source.data.bad)}"}}},
            },
        },
    ),
    # Objects that the API server refuses, with a message that quotes them.
    misuse(
        "Label",
        "Invalid in metadata.labels (details",
        config("out", metadata={"labels": {"a": "${string(source.data.bad)}"}}),
    ),
    misuse(
        "LabelMap",
        "metadata.labels must be a map",
        template("v1", "ConfigMap", "out", meta={"labels": "${json.unmarshal(string(source.data.text))}"}),
    ),
    misuse(
        "Annotated",
        "Invalid in metadata.annotations (details",
        config("out", metadata={"annotations": "${{string(source.data.bad): 'x'}}"}),
    ),
    misuse(
        "Port",
        "Invalid in spec.ports[0].port, spec.ports[0].targetPort (details",
        template("v1", "Service", "out", spec=SERVICE),
    ),
    misuse(
        "DataKey",
        "Invalid in data (details",
        template("v1", "ConfigMap", "out", data="${{string(source.data.bad): 'x'}}"),
    ),
    misuse(
        "Secretive",
        "Invalid in data (details",
        template("v1", "Secret", "out", stringData="${{string(source.data.bad): 'x'}}"),
    ),
    misuse(
        "Typed",
        "details withheld",
        template("v1", "Service", "out", spec={**SERVICE, "ports": "${json.unmarshal(string(source.data.json)).list}"}),
    ),
    misuse(
        "Named",
        "Invalid in spec.template.spec.containers[0].env[0].name (details",
        template(
            "apps/v1",
            "Deployment",
            "out",
            spec={
                **DEPLOYMENT,
                "template": {
                    "metadata": {"labels": {"a": "b"}},
                    "spec": {
                        "containers": [
                            {"name": "c", "image": "x", "env": [{"name": "${'=' + string(source.data.word)}"}]}
                        ]
                    },
                },
            },
        ),
    ),
    # The instance's own status.
    misuse("Status", "", config("out"), status={"n": f"${{int({GOES})}}"}),
)


@pytest.fixture
def talkative(
    lab: Lab, controller: ControllerProcess, controller_kubeconfig: Path, tmp_path: Path
) -> Iterator[ControllerProcess]:
    """A controller with the most verbose log, in place of the session's."""
    controller.stop()
    process = ControllerProcess(
        kubeconfig=controller_kubeconfig,
        log=tmp_path / "talkative.log",
        arguments=(
            *("--allow-crd-deletion", "--zap-log-level=10", "--zap-stacktrace-level=info"),
            "--feature-gates=InstanceConditionEvents=true,InstanceConditionMetrics=true",
        ),
    )
    process.start()
    try:
        process.wait_ready()
        yield process
    finally:
        process.stop()
        controller.start()
        controller.wait_ready()


def secret(lab: Lab, name: str, values: dict[str, str]) -> Obj:
    meta = {"name": name, "namespace": lab.namespace}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": meta, "stringData": values}


def objects_of(lab: Lab) -> Iterator[tuple[str, Obj]]:
    """Every object of the cluster that must not contain a value, with its path."""
    call = lab.cluster.call
    versions = ["v1", *(group["preferredVersion"]["groupVersion"] for group in call("GET", "/apis")["groups"])]
    for version in versions:
        prefix = f"/apis/{version}" if "/" in version else f"/api/{version}"
        for served in call("GET", prefix)["resources"]:
            if "/" in served["name"] or "list" not in served["verbs"]:
                continue
            path = f"{prefix}/{served['name']}"
            for obj in call("GET", path)["items"]:
                meta = obj["metadata"]
                if (
                    meta.get("namespace") != lab.namespace
                    or served["kind"] == "Event"
                    or not _holds(served["kind"], meta["name"])
                ):
                    yield f"{path} {meta.get('namespace', '')}/{meta['name']}", obj


def leaking_objects(lab: Lab) -> dict[str, list[str]]:
    """The places of the cluster that contain a fragment."""
    found = {path: leaks(json.dumps(obj)) for path, obj in objects_of(lab)}
    assert len(found) > 100, "the cluster was not looked at"
    return {path: places for path, places in found.items() if places}


def _holds(kind: str, name: str) -> bool:
    """Whether an object, or the object that it was made from, contains a value on purpose."""
    return kind in ("Secret", "ConfigMap", "Deployment", "ReplicaSet") and any(holder in name for holder in HOLDERS)


def untold(lab: Lab) -> dict[str, list[str]]:
    """The misuses whose instance does not have the expected message yet, with its current message."""
    said = {
        case: [str(c.get("message")) for c in lab.read(case.kind, case.name).get("status", {}).get("conditions", ())]
        for case in MISUSES
    }
    return {case.kind: messages for case, messages in said.items() if not any(case.told in m for m in messages)}


def shown_by_tree(lab: Lab, kind: str, name: str) -> str:
    command = [sys.executable, "-m", "kroasync", "tree", f"{kind}/{name}", "--owners", "--namespace", lab.namespace]
    kubeconfig = f"--kubeconfig={lab.cluster.playground.kubeconfig}"
    texts = []
    for output in ("text", "json"):
        done = subprocess.run(
            [*command, kubeconfig, "-o", output], capture_output=True, text=True, cwd=ROOT, check=False
        )
        assert done.returncode == 0, done.stderr
        texts.append(done.stdout + done.stderr)
    return "\n".join(texts)


def use_well(lab: Lab) -> None:
    """Values reach their targets: Secrets, a ConfigMap, the environment of a container; also with drift and fights."""
    resources = [
        SOURCE,
        {
            **template(
                "v1", "Secret", "copy", data={"a": "${source.data.word}"}, stringData={"b": f"${{'x-' + {GOES}}}"}
            ),
            "readyWhen": ["${size(copy.data.a) > 3}"],
        },
        config("plain", data={"w": "${string(copy.data.b)}", "n": "1"}),
        template("apps/v1", "Deployment", "deployment", spec=DEPLOYMENT),
        # The API server warns about a duplicate name, and quotes it.
        template("apps/v1", "Deployment", "twice", spec=two_ports("${string(source.data.port)}")),
        template("apps/v1", "Deployment", "warned", spec=two_ports("openly")),
        config("shared", name="one-shared", data={"w": f"${{{GOES}}}"}),
    ]
    lab.cluster.create(config_map("one-shared", lab.namespace, {"w": "somebody's"}))
    lab.define("Good", resources, status={"length": f"${{size({GOES})}}"})
    lab.instance("Good")
    lab.await_state("Good", timeout_s=60)
    assert lab.child("ConfigMap", "one-plain")["data"] == {"w": f"x-{WORD}", "n": "1"}
    # Drift is repaired, then becomes a fight that is reported.
    path = lab.child_path("ConfigMap", "one-plain")
    for turn in range(8):
        lab.cluster.apply(config_map("one-plain", lab.namespace, {"w": f"{WORD}-{turn}"}), manager="rival")
        if lab.events(reason="Contested"):
            break
        eventually(
            lambda: (lab.cluster.read(path) or {})["data"]["w"] == f"x-{WORD}" or lab.events(reason="Contested"),
            what="healed",
        )
    eventually(lambda: lab.events(reason="Contested"), what="told as contested")
    assert lab.events(reason="Adopted")


def test_values_of_secrets_are_found_nowhere(lab: Lab, talkative: ControllerProcess) -> None:
    lab.cluster.create(secret(lab, "source", VALUES))
    use_well(lab)
    for case in MISUSES:
        lab.define(case.kind, case.resources, **case.options)
        lab.instance(case.kind, case.name)
    eventually(lambda: untold(lab), lambda missing: not missing, timeout_s=60, what="every instance says why it fails")
    obj = lab.await_status(
        "Status",
        "status",
        check=lambda s: any(c["reason"] == "StatusExpressionFailed" for c in s.get("conditions", ())),
    )
    assert "details withheld" in condition(obj, "Error")["message"]
    # Other values, so that the stored values of the first pass are compared, reported and forgotten.
    lab.cluster.merge(lab.child_path("Secret", "source"), {"stringData": {"number": NUMBER[::-1], "word": WORD}})
    lab.await_state("Good", state="ACTIVE", timeout_s=60)

    assert leaking_objects(lab) == {}
    for kind, name in (("Good", "one"), *((case.kind, case.name) for case in MISUSES[::12])):
        assert leaks(shown_by_tree(lab, kind, name)) == []
    for page in ("/metrics", "/healthz?verbose", "/readyz?verbose"):
        status, text = talkative.get(page)
        assert status == 200
        assert len(text) > 20
        assert leaks(text) == []
    for case in MISUSES:
        lab.cluster.delete(lab.path(case.kind, case.name))
        lab.await_gone(lab.path(case.kind, case.name), timeout_s=60)
    log = talkative.log.read_text(encoding="utf-8")
    assert '"level":"debug"' in log
    # The server warned about this name, which is not secret, as about the other one, which is.
    assert "duplicate port name" in log
    assert "openly" in log
    assert leaks(log) == []
    assert leaking_objects(lab) == {}
