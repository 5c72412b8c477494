"""`python -m tests.benchmarks.shapes`: one big collection, one long chain, and a start with many live instances.

For a collection of 1000 ConfigMaps: the seconds to ACTIVE, and the API calls when the value of one item changes. For a
chain of ten dependents: the number of status writes (one, because a single pass suffices). For a start with N live
instances: the seconds to ready, and the API calls of the first ten seconds.
"""

import argparse
import asyncio
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from kroasync.playground import Playground, reporting
from tests.benchmarks.cluster import Api, Controller, prepare, until
from tests.samples import config_map, definition

HERE = Path(__file__).parent
MERGE = "application/merge-patch+json"
DEFINITIONS = "/apis/kro.run/v1alpha1/resourcegraphdefinitions"
GROUP = "shapes.kroasync.example"

COLLECTION = definition(
    "Many",
    group=GROUP,
    spec={"items": "[]Item"},
    resources=[
        {
            "id": "config",
            "forEach": [{"entry": "${schema.spec.items}"}],
            "template": config_map("${schema.metadata.name}-${entry.name}", data={"value": "${entry.value}"}),
        }
    ],
)
COLLECTION["spec"]["schema"]["types"] = {"Item": {"name": "string", "value": "string"}}
CHAIN = definition(
    "Chain",
    group=GROUP,
    spec={"name": "string"},
    resources=[{"id": "c0", "template": config_map("${schema.spec.name}-0", data={"v": "x"})}]
    + [
        {"id": f"c{i}", "template": config_map(f"${{schema.spec.name}}-{i}", data={"v": f"${{c{i - 1}.metadata.uid}}"})}
        for i in range(1, 10)
    ],
)
SMALL = definition(
    "Small",
    group=GROUP,
    spec={"name": "string"},
    resources=[
        {"id": f"c{i}", "template": config_map(f"${{schema.spec.name}}-{i}", data={"v": "x"})} for i in range(3)
    ],
)


async def settled(api: Api, path: str, generation: int) -> None:
    """Wait until the instance is ACTIVE for this generation."""

    async def holds() -> bool:
        status = (await api.send("GET", path)).get("status", {})
        return status.get("state") == "ACTIVE" and status.get("observedGeneration") == generation

    await until(holds, within_s=120, every_s=0.02)


async def declare(api: Api, body: dict[str, Any]) -> str:
    """Apply a definition and wait until it is Active; returns the path of its instances."""
    await api.send("POST", DEFINITIONS, body)
    name = body["metadata"]["name"]

    async def active() -> bool:
        return bool((await api.send("GET", f"{DEFINITIONS}/{name}")).get("status", {}).get("state") == "Active")

    await until(active, within_s=60, every_s=0.05)
    # The API server delays the first write to a new kind for two seconds.
    await asyncio.sleep(3)
    resources = (await api.send("GET", f"/apis/{GROUP}/v1alpha1"))["resources"]
    plural = next(r["name"] for r in resources if r["kind"] == body["spec"]["schema"]["kind"])
    return f"/apis/{GROUP}/v1alpha1/namespaces/default/{plural}"


def instance(kind: str, name: str, spec: dict[str, Any]) -> dict[str, Any]:
    return {"apiVersion": f"{GROUP}/v1alpha1", "kind": kind, "metadata": {"name": name}, "spec": spec}


def writes(calls: list[dict[str, Any]]) -> list[str]:
    """The writes, without Events."""
    found = []
    for call in calls:
        ref = call.get("objectRef", {})
        if call["verb"] in ("patch", "create", "update", "delete") and ref.get("resource") != "events":
            found.append(
                f"{ref.get('resource')}/{ref['subresource']}" if "subresource" in ref else str(ref.get("resource"))
            )
    return found


async def measure(playground: Playground, folder: Path, count: int) -> None:
    log = folder / "controller.log"
    async with Api(playground.kubeconfig) as api:
        with Controller(playground, log) as controller:
            path = await declare(api, COLLECTION)
            items = [{"name": f"i{i}", "value": "one"} for i in range(1000)]
            started, before = time.monotonic(), len(controller.calls())
            await api.send("POST", path, instance("Many", "many", {"items": items}))
            await settled(api, f"{path}/many", 1)
            print(f"collection of 1000 items: ACTIVE after {time.monotonic() - started:.2f} s")
            await asyncio.sleep(2)
            made = writes(controller.calls()[before:])
            print(f"  writes: {len(made)}")
            items[500]["value"] = "two"
            started, before = time.monotonic(), len(controller.calls())
            await api.send("PATCH", f"{path}/many", {"spec": {"items": items}}, content=MERGE)
            await settled(api, f"{path}/many", 2)
            took = time.monotonic() - started
            await asyncio.sleep(1)
            print(f"  one changed item: {took:.2f} s, writes {writes(controller.calls()[before:])}")

            path = await declare(api, CHAIN)
            started, before = time.monotonic(), len(controller.calls())
            await api.send("POST", path, instance("Chain", "chain", {"name": "chain"}))
            await settled(api, f"{path}/chain", 1)
            took = time.monotonic() - started
            await asyncio.sleep(1)
            made = writes(controller.calls()[before:])
            print(f"chain of 10: ACTIVE after {took * 1e3:.0f} ms, status writes {sum('status' in m for m in made)}")

            path = await declare(api, SMALL)
            await api.all(api.send("POST", path, instance("Small", f"s{i}", {"name": f"s{i}"})) for i in range(count))

            async def all_active() -> bool:
                found = (await api.send("GET", path))["items"]
                return all(i.get("status", {}).get("state") == "ACTIVE" for i in found)

            await until(all_active, within_s=600, every_s=0.5)
            await asyncio.sleep(2)

        started = time.monotonic()
        with Controller(playground, log) as controller:
            before = len(controller.calls())
            await until(controller.is_ready, within_s=120, every_s=0.05)
            took = time.monotonic() - started
            await asyncio.sleep(10)
            made = writes(controller.calls()[before:])
            print(
                f"start with {count} live instances of three children: ready after {took:.1f} s, "
                f"writes in the next 10 s: {len(made)}, "
                f"CPU {controller.cpu_s():.1f} s, memory {controller.memory_mb():.0f} MB"
            )


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.shapes", description=__doc__)
    parser.add_argument("-n", type=int, default=1000, help="live instances at the start")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as text:
        folder = Path(text)
        with reporting(sys.stderr):
            playground = Playground.up(name=f"shapes-{time.time_ns()}", directory=folder / "playground", audit=True)
        with playground:
            prepare(playground, HERE.parent.parent / "charts" / "kroasync")
            asyncio.run(measure(playground, folder, arguments.n))


if __name__ == "__main__":
    main()
