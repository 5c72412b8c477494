"""`python -m tests.benchmarks [-n 100] [--workload configs|webapp]`: bring up, rest, repair, update, delete.

The baseline is the same writes (create the instance, one metadata patch, three applies, one status patch), which a bare
aiohttp client sends over 20 connections to the same API server immediately before. Compare the ratios.
"""

import argparse
import asyncio
import json
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import yaml

from kroasync.playground import Playground, reporting
from tests.benchmarks.cluster import Api, Controller, prepare, until

HERE = Path(__file__).parent
APPLY = "application/apply-patch+yaml"
MERGE = "application/merge-patch+json"
PLURALS = {"configs": "benchconfigs", "webapp": "benchwebapps"}
INSTANCES = "/apis/bench.kroasync.example/v1alpha1/namespaces/{}/{}"


def instance(kind: str, name: str) -> dict[str, Any]:
    return {
        "apiVersion": "bench.kroasync.example/v1alpha1",
        "kind": kind,
        "metadata": {"name": name},
        "spec": {"name": name},
    }


def children(workload: str, name: str) -> list[tuple[str, dict[str, Any]]]:
    """The path and body of the three children that the baseline applies."""
    core, labels = "/api/v1/namespaces/floor", {"kro.run/owned": "false", "app": name}

    def body(kind: str, api: str, child: str, rest: dict[str, Any]) -> dict[str, Any]:
        return {"apiVersion": api, "kind": kind, "metadata": {"name": child, "labels": labels}, **rest}

    config = (f"{core}/configmaps/{name}", body("ConfigMap", "v1", name, {"data": {"value": "one"}}))
    if workload == "configs":
        secret, last = f"{name}-s", f"{name}-s-last"
        return [
            config,
            (f"{core}/secrets/{secret}", body("Secret", "v1", secret, {"stringData": {"user": "one"}})),
            (f"{core}/configmaps/{last}", body("ConfigMap", "v1", last, {"data": {"ref": secret}})),
        ]
    pod = {"metadata": {"labels": {"app": name}}, "spec": {"containers": [{"name": "web", "image": "nginx:latest"}]}}
    spec = {"replicas": 1, "selector": {"matchLabels": {"app": name}}, "template": pod}
    ports = {"selector": {"app": name}, "ports": [{"port": 80, "targetPort": 8080}]}
    return [
        config,
        (f"/apis/apps/v1/namespaces/floor/deployments/{name}", body("Deployment", "apps/v1", name, {"spec": spec})),
        (f"{core}/services/{name}", body("Service", "v1", name, {"spec": ports})),
    ]


async def floor(api: Api, workload: str, kind: str, count: int) -> float:
    """The seconds that the bare client needs for all writes of `count` instances."""
    path = INSTANCES.format("floor", PLURALS[workload])

    async def one(name: str) -> None:
        await api.send("POST", path, instance(kind, name))
        meta = {"metadata": {"labels": {"a": "b"}, "annotations": {"c": "d"}}}
        await api.send("PATCH", f"{path}/{name}", meta, content=MERGE)
        for child, body in children(workload, name):
            await api.send("PATCH", f"{child}?fieldManager=floor&force=true", body, content=APPLY)
        await api.send("PATCH", f"{path}/{name}/status", {"status": {"state": "ACTIVE"}}, content=MERGE)

    started = time.monotonic()
    await api.all(one(f"floor-{i}") for i in range(count))
    return time.monotonic() - started


async def measure(playground: Playground, workload: str, count: int, folder: Path) -> dict[str, Any]:
    definition = yaml.safe_load((HERE / "data" / f"{workload}.yaml").read_text())
    kind, plural = definition["spec"]["schema"]["kind"], PLURALS[workload]
    definitions = "/apis/kro.run/v1alpha1/resourcegraphdefinitions"
    name = definition["metadata"]["name"]
    path = INSTANCES.format("default", plural)
    found: dict[str, Any] = {"workload": workload, "instances": count}
    log = folder / "controller.log"

    async with Api(playground.kubeconfig) as api:

        async def active() -> bool:
            status = (await api.send("GET", f"{definitions}/{name}")).get("status", {})
            return bool(status.get("state") == "Active")

        async def all_active() -> bool:
            items = (await api.send("GET", path))["items"]
            return sum(i.get("status", {}).get("state") == "ACTIVE" for i in items) == count

        with Controller(playground, log) as controller:
            started = time.monotonic()
            await api.send("POST", definitions, definition)
            await until(active, within_s=60)
            found["definition_active_s"] = time.monotonic() - started
        found["floor_s"] = await floor(api, workload, kind, count)
        playground.kubectl("delete", "namespace", "floor", timeout_s=600)

        with Controller(playground, log) as controller:
            await until(active, within_s=60)
            await asyncio.sleep(2)
            cpu, before, started = controller.cpu_s(), len(controller.calls()), time.monotonic()
            await api.all(api.send("POST", path, instance(kind, f"app-{i}")) for i in range(count))
            found["created_s"] = time.monotonic() - started
            await until(all_active, within_s=600, every_s=0.2)
            found["active_s"] = time.monotonic() - started
            await asyncio.sleep(3)
            made = controller.calls()[before:]
            found["calls_per_instance"] = len(made) / count
            found["calls"] = _counted(made, count)
            found["cpu_ms_per_instance"] = (controller.cpu_s() - cpu) * 1e3 / count
            found["memory_mb"] = controller.memory_mb()

            versions = await _versions(api, path)
            cpu, before = controller.cpu_s(), len(controller.calls())
            await asyncio.sleep(10)
            resting = controller.calls()[before:]
            found["rest_calls"] = sum(1 for call in resting if "watch=true" not in call["requestURI"])
            found["rest_cpu_percent"] = (controller.cpu_s() - cpu) * 10
            found["rest_versions_moved"] = versions != await _versions(api, path)

            found["repair_ms"] = await _repairs(api, "configmaps", min(30, count))

            cpu, started = controller.cpu_s(), time.monotonic()
            change = {"spec": {"value": "two"}}
            await api.all(api.send("PATCH", f"{path}/app-{i}", change, content=MERGE) for i in range(count))
            await until(lambda: _carried(api, count, "two"), within_s=600, every_s=0.2)
            found["updated_s"] = time.monotonic() - started
            found["update_cpu_ms_per_instance"] = (controller.cpu_s() - cpu) * 1e3 / count

            cpu, started = controller.cpu_s(), time.monotonic()
            definition["spec"]["resources"][0]["template"]["data"]["value"] = "three"
            await api.send("PATCH", f"{definitions}/{name}", {"spec": definition["spec"]}, content=MERGE)
            await until(lambda: _carried(api, count, "three"), within_s=600, every_s=0.2)
            found["definition_change_s"] = time.monotonic() - started

            cpu, started = controller.cpu_s(), time.monotonic()
            await api.all(api.send("DELETE", f"{path}/app-{i}") for i in range(count))

            async def gone() -> bool:
                return not (await api.send("GET", path))["items"]

            await until(gone, within_s=600, every_s=0.2)
            found["deleted_s"] = time.monotonic() - started
            found["delete_cpu_ms_per_instance"] = (controller.cpu_s() - cpu) * 1e3 / count
            found["peak_memory_mb"] = controller.memory_mb("VmHWM")
    return found


def _counted(calls: list[dict[str, Any]], count: int) -> dict[str, float]:
    found: dict[str, float] = {}
    for call in calls:
        ref = call.get("objectRef", {})
        what = f"{call['verb']} {ref.get('resource')}" + (f"/{ref['subresource']}" if "subresource" in ref else "")
        found[what] = found.get(what, 0) + 1 / count
    return {what: round(n, 2) for what, n in sorted(found.items()) if n >= 0.01}


async def _versions(api: Api, path: str) -> list[str]:
    found = []
    for where in (path, "/api/v1/namespaces/default/configmaps"):
        found += [i["metadata"]["resourceVersion"] for i in (await api.send("GET", where))["items"]]
    return found


async def _repairs(api: Api, plural: str, count: int) -> dict[str, float]:
    """The milliseconds from the answer to a delete until the object exists again."""
    took = []
    for i in range(count):
        path = f"/api/v1/namespaces/default/{plural}/app-{i}"
        uid = (await api.send("GET", path))["metadata"]["uid"]
        await api.send("DELETE", path)
        started = time.monotonic()

        async def back(path: str = path, uid: str = uid) -> bool:
            found = await api.send("GET", path, ok=(404,))
            return found.get("metadata", {}).get("uid", uid) != uid

        await until(back, within_s=60, every_s=0.002)
        took.append((time.monotonic() - started) * 1e3)
    return {"median": round(statistics.median(took), 1), "max": round(max(took), 1)}


async def _carried(api: Api, count: int, value: str) -> bool:
    items = (await api.send("GET", "/api/v1/namespaces/default/configmaps"))["items"]
    return sum(item.get("data", {}).get("value") == value for item in items) == count


def _print(found: dict[str, Any]) -> None:
    rows = [
        ("floor (bare client, same writes)", f"{found['floor_s']:.2f} s"),
        ("to ACTIVE", f"{found['active_s']:.2f} s = {found['active_s'] / found['floor_s']:.2f} x floor"),
        ("API calls an instance", f"{found['calls_per_instance']:.2f}  {found['calls']}"),
        ("controller CPU an instance", f"{found['cpu_ms_per_instance']:.2f} ms"),
        ("memory (peak)", f"{found['memory_mb']:.0f} MB ({found['peak_memory_mb']:.0f} MB)"),
        (
            "10 s of rest",
            f"{found['rest_calls']} calls, {found['rest_cpu_percent']:.1f} % CPU, "
            f"resourceVersions moved: {'yes' if found['rest_versions_moved'] else 'no'}",
        ),
        ("deleted child is back", f"median {found['repair_ms']['median']} ms, max {found['repair_ms']['max']} ms"),
        ("changed instances carried", f"{found['updated_s']:.2f} s"),
        (
            "changed definition carried",
            f"{found['definition_change_s']:.2f} s = {found['definition_change_s'] / found['floor_s']:.2f} x floor",
        ),
        ("deleted", f"{found['deleted_s']:.2f} s = {found['deleted_s'] / found['floor_s']:.2f} x floor"),
        ("definition to Active", f"{found['definition_active_s']:.2f} s"),
    ]
    print(f"{found['instances']} instances of three children, workload {found['workload']}")
    for name, text in rows:
        print(f"  {name:34} {text}")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__)
    parser.add_argument("-n", type=int, default=100, help="instances")
    parser.add_argument("--workload", choices=sorted(PLURALS), default="configs")
    parser.add_argument("--json", type=Path, help="write the figures here")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as text:
        folder = Path(text)
        with reporting(sys.stderr):
            playground = Playground.up(name=f"bench-{time.time_ns()}", directory=folder / "playground", audit=True)
        with playground:
            prepare(playground, HERE.parent.parent / "charts" / "kroasync")
            playground.kubectl("create", "namespace", "floor")
            found = asyncio.run(measure(playground, arguments.workload, arguments.n, folder))
    _print(found)
    if arguments.json:
        arguments.json.write_text(json.dumps(found, indent=2) + "\n")


if __name__ == "__main__":
    main()
