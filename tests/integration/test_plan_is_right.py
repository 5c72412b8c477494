"""Plans on the real control plane: what is planned is what happens, nothing is written, no value of a Secret is shown.

The whole of the first test is `python -m tests.planning`.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from random import Random
from typing import Any

import pytest

from kroasync.kube.client import Client
from kroasync.kube.config import connect
from kroasync.model.manifests import Text
from kroasync.planning.forecast import Forecast, InstanceForecast, Verb
from kroasync.planning.planner import forecast
from kroasync.planning.request import Request
from kroasync.playground import Playground
from tests.conftest import Release
from tests.integration.cluster import Lab, Obj, audited, config, eventually, node
from tests.planning.edits import Wanted
from tests.planning.rounds import Rounds

pytestmark = pytest.mark.integration

ROUNDS = (
    "rename",
    "freeze",
    "grow",
    "change a default",
    "a rival",
    "names are taken",
    "empty a collection",
    "be refused",
)
TOKEN = "correct-horse-battery-staple"
SPEC = {"value": "string | default=one", "items": '[]string | default=["a","b"]', "extra": "boolean | default=true"}


def test_what_is_planned_is_what_happens(lab: Lab, chart: Release) -> None:
    wanted = Wanted(lab, ["i0", "i1", "i2", "i3"])
    rounds = Rounds(lab, chart.user, wanted, Random(1), print)
    rounds.play(ROUNDS)
    assert rounds.broken == []
    assert rounds.steps > 40


Planner = Callable[..., Forecast]


@pytest.fixture
def account(playground: Playground, lab: Lab, tmp_path: Path) -> Iterator[Callable[..., tuple[str, Path]]]:
    """account(name, rules): a ServiceAccount of the lab's namespace with these rules there, and `everywhere`."""
    made: list[str] = []

    def make(name: str, rules: Sequence[Obj], everywhere: Sequence[Obj] = ()) -> tuple[str, Path]:
        space, api = lab.namespace, "/apis/rbac.authorization.k8s.io/v1"
        playground.kubectl("create", "serviceaccount", name, "-n", space)
        subject = {"kind": "ServiceAccount", "name": name, "namespace": space}
        for kind, place, granted in (
            ("Role", f"{api}/namespaces/{space}/", rules),
            ("ClusterRole", f"{api}/", everywhere),
        ):
            role = f"{space}-{name}"
            meta = {"name": role}
            body = {"apiVersion": "rbac.authorization.k8s.io/v1", "metadata": meta}
            lab.cluster.call("POST", f"{place}{kind.lower()}s", {**body, "kind": kind, "rules": list(granted)})
            ref = {"apiGroup": "rbac.authorization.k8s.io", "kind": kind, "name": role}
            bound = {**body, "kind": f"{kind}Binding", "roleRef": ref, "subjects": [subject]}
            lab.cluster.call("POST", f"{place}{kind.lower()}bindings", bound)
            made.append(f"{place}{kind.lower()}bindings/{role}")
        token = playground.kubectl("create", "token", name, "-n", space).strip()
        return f"system:serviceaccount:{space}:{name}", playground.kubeconfig_for_token(token, tmp_path / name)

    yield make
    for path in made:
        lab.cluster.delete(path)


@pytest.fixture
def plan(kubeconfig: Path) -> Planner:
    """plan(files, ...): the forecast, read by the administrator or by the account of a kubeconfig."""

    def planned(
        *files: Obj, by: Path = kubeconfig, progress: Callable[[int, int, str], None] = lambda *_: None, **request: Any
    ) -> Forecast:
        async def run() -> Forecast:
            connection = await connect(kubeconfig=str(by))
            try:
                texts = [Text("files.yaml", "\n---\n".join(map(json.dumps, files)))] if files else []
                return await forecast(Client(connection), Request(texts=texts, **request), progress)
            finally:
                await connection.close()

        return asyncio.run(run())

    return planned


def only(found: Forecast) -> InstanceForecast:
    (one,) = found.instances
    return one


def steps(one: InstanceForecast) -> dict[str, Verb]:
    return {step.key.name if step.key else step.node: step.verb for step in one.steps}


def resources(**changes: Any) -> list[Obj]:
    """A chain, a collection, a condition, a released object and a Secret, whose value a ConfigMap copies."""
    secret = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "${schema.metadata.name}-secret"},
        "stringData": {"token": changes.get("token", TOKEN)},
    }
    frozen = config("frozen", data={"v": changes.get("frozen", "1")}, policy={"update": "Recreate"})
    frozen["template"]["immutable"] = True
    copied = {"copy": "${string(secret.data.token)}"} if changes.get("copies", True) else {"none": "-"}
    name = "${schema.metadata.name}-${x}"
    return [
        config("config", data={"value": "${schema.spec.value}", "c": changes.get("constant", "1")}),
        node("secret", secret),
        config("copy", data=copied),
        frozen,
        config("many", name, {"x": "${x}"}, forEach=[{"x": "${schema.spec.items}"}]),
        config("extra", data={"a": "b"}, includeWhen=["${schema.spec.extra}"]),
        *([] if changes.get("drops") else [config("kept", data={"k": "v"}, policy={"deletion": "Orphan"})]),
    ]


def versions(lab: Lab) -> dict[str, str]:
    """The resourceVersion of everything that a plan of the lab could touch."""
    cluster, space = lab.cluster, lab.namespace
    paths = [cluster.path(kind, space) for kind in ("ConfigMap", "Secret", "ServiceAccount")]
    paths += [cluster.path("ResourceGraphDefinition"), cluster.path("GraphRevision"), cluster.path("Namespace")]
    paths += [cluster.path("CustomResourceDefinition"), f"/apis/{lab.group}/v1alpha1/namespaces/{space}/shops"]
    return {
        f"{path} {obj['metadata']['name']}": obj["metadata"]["resourceVersion"]
        for path in paths
        for obj in cluster.list(path)
        if lab.group in obj["metadata"]["name"] or space in path
    }


def test_a_plan_writes_nothing_and_shows_no_value_of_a_secret(lab: Lab, plan: Planner, account: Any) -> None:
    lab.define("Shop", resources(), spec=SPEC)
    lab.instance("Shop")
    lab.await_state("Shop")
    everything = [{"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]}]
    user, kubeconfig = account("planner", everything, everything)
    before, mark = versions(lab), lab.cluster.playground.audit_log.stat().st_size
    edited = resources(constant="2", frozen="2", token=f"{TOKEN}-2", drops=True)
    definition = lab.definition("Shop", edited, spec={**SPEC, "more": "string | default=x"})
    instance = {**lab.read("Shop"), "spec": {"value": "two", "items": ["b", "c"], "extra": False}}
    instance = {key: instance[key] for key in ("apiVersion", "kind", "spec")}
    instance["metadata"] = {"name": "one", "namespace": lab.namespace}
    found = plan(definition, instance, by=kubeconfig)
    assert steps(only(found)) == {
        "one-config": Verb.UPDATE,
        "one-secret": Verb.UPDATE,
        "one-copy": Verb.UPDATE,
        "one-frozen": Verb.RECREATE,
        # Another index.
        "one-b": Verb.UPDATE,
        "one-c": Verb.CREATE,
        "one-a": Verb.DELETE,
        "one-extra": Verb.DELETE,
        "one-kept": Verb.RELEASE,
    }
    shown = repr(found)
    # What an earlier declaration took from a Secret is withheld, too.
    shown += repr(plan(lab.definition("Shop", resources(copies=False, drops=True), spec=SPEC), by=kubeconfig))
    encoded = "Y29ycmVjdC1ob3JzZS1iYXR0ZXJ5LXN0YXBsZ"
    assert TOKEN not in shown
    assert encoded not in shown
    assert "(withheld" in shown
    assert versions(lab) == before
    asked = audited(lab.cluster.playground, user=user, since=mark)
    assert asked
    written = [one for one in asked if one["verb"] not in ("get", "list")]
    assert {one["verb"] for one in written} >= {"patch", "delete"}
    assert [one["requestURI"] for one in written if "dryRun=All" not in one["requestURI"]] == []


def test_what_may_not_be_read_is_an_error_and_what_may_not_be_written_is_predicted(
    lab: Lab, plan: Planner, account: Any
) -> None:
    lab.define("Shop", resources(), spec=SPEC)
    lab.instance("Shop")
    lab.await_state("Shop")
    read = ["get", "list"]
    here = [{"apiGroups": ["", lab.group], "resources": ["configmaps", "shops"], "verbs": read}]
    definitions = ["resourcegraphdefinitions", "resourcegroups", "graphrevisions"]
    base = [{"apiGroups": ["kro.run", "internal.kro.run"], "resources": definitions, "verbs": read}]
    definition = lab.definition("Shop", resources(constant="2"), spec=SPEC)
    _, blind = account("blind", here, base)
    found = plan(definition, by=blind, namespace=lab.namespace)
    one = only(found)
    assert one.steps == ()
    assert "secrets" in one.error
    assert any("customresourcedefinitions" in text for text in found.unread)
    here[0]["resources"].append("secrets")
    _, reader = account("reader", here, base)
    one = only(plan(definition, by=reader, namespace=lab.namespace))
    assert one.error == ""
    assert steps(one) == {"one-config": Verb.UPDATE}
    assert any("one-config is predicted, since you may not write it" in note for note in one.notes)


def test_odd_instances_are_said(lab: Lab, plan: Planner) -> None:
    """Being deleted, without children, changed while it is planned, and another definition in between."""
    lab.define("Shop", resources(), spec=SPEC)
    for name in ("going", "bare", "moving"):
        lab.instance("Shop", name)
    for name in ("going", "bare", "moving"):
        lab.await_state("Shop", name)
    lab.controller.stop()
    try:
        lab.cluster.delete(lab.path("Shop", "going"))
        for obj in lab.configs():
            if obj.startswith("bare-"):
                lab.cluster.delete(lab.child_path("ConfigMap", obj))
        seen: list[str] = []

        def meddle(_done: int, _all: int, what: str) -> None:
            if what.endswith("/moving") and not seen:
                seen.append(what)
                lab.cluster.merge(
                    lab.child_path("ConfigMap", "moving-config"), {"data": {"c": "meddled", "value": "x"}}
                )

        definition = lab.definition("Shop", resources(constant="2"), spec=SPEC)
        found = {one.key.name: one for one in plan(definition, progress=meddle).instances}
    finally:
        lab.controller.start()
        lab.controller.wait_ready()
    assert found["going"].steps == ()
    assert found["going"].notes == ("it is being deleted",)
    assert steps(found["bare"]) == {"bare-config": Verb.UPDATE}
    assert {step.verb for step in found["bare"].drift} == {Verb.CREATE}
    (step,) = found["moving"].steps
    # It was read again: what somebody wrote meanwhile is drift.
    assert [(change.path, change.before, change.after) for change in step.fields] == [("data.c", "1", "2")]
    assert [change.path for change in found["moving"].drift[0].fields] == ["data.c", "data.value"]


def test_definitions_that_use_each_other(lab: Lab, plan: Planner) -> None:
    inner = [config("leaf", data={"size": "${schema.spec.size}"})]
    lab.define("Inner", inner, spec={"size": "string"})

    def outer(size: str) -> list[Obj]:
        meta = {"name": "${schema.metadata.name}"}
        template = {"apiVersion": f"{lab.group}/v1alpha1", "kind": "Inner", "metadata": meta, "spec": {"size": size}}
        return [node("inner", template)]

    lab.define("Outer", outer("s"), spec={})
    lab.instance("Outer")
    lab.await_state("Outer")
    # An edit of the outer definition shows in the resources of the inner instance.
    found = plan(lab.definition("Outer", outer("m"), spec={}))
    by_kind = {one.key.resource.kind: one for one in found.instances}
    assert steps(by_kind["Outer"]) == {"one": Verb.UPDATE}
    assert steps(by_kind["Inner"]) == {"one-leaf": Verb.UPDATE}
    assert by_kind["Inner"].drift == ()
    # An edit of the inner one, too; and a new outer instance has everything below it.
    inner[0]["template"]["data"]["more"] = "x"
    new = {
        "apiVersion": f"{lab.group}/v1alpha1",
        "kind": "Outer",
        "metadata": {"name": "two", "namespace": lab.namespace},
    }
    found = plan(lab.definition("Inner", inner, spec={"size": "string"}), {**new, "spec": {}})
    told = {f"{one.key.resource.kind} {one.key.name}": steps(one) for one in found.instances}
    assert told["Inner one"] == {"one-leaf": Verb.UPDATE}
    assert told["Outer two"] == {"two": Verb.CREATE}
    assert told["Inner two"] == {"two-leaf": Verb.CREATE}


def test_a_refused_definition_is_planned_by_the_graph_that_it_has(lab: Lab, plan: Planner) -> None:
    lab.define("Shop", resources(), spec=SPEC)
    lab.instance("Shop")
    lab.await_state("Shop")
    broken = lab.definition("Shop", [config("config", data={"value": "${schema.spec.nothing}"})], spec=SPEC)
    lab.submit(broken)
    eventually(
        lambda: lab.read_definition(lab.definition_name("Shop")),
        lambda obj: any("nothing" in c.get("message", "") for c in obj["status"]["conditions"]),
        what="the definition is refused",
    )
    one = only(plan(lab.definition("Shop", resources(constant="2"), spec=SPEC)))
    assert steps(one) == {"one-config": Verb.UPDATE}
    assert one.drift == ()
