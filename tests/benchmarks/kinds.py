"""`python -m tests.benchmarks.kinds [-n 300] [--size 60]`: the cost of foreign CRDs in memory and at the start.

Clusters have hundreds of CRDs that have nothing to do with kroasync. The same controller starts with none of them, and
with `n` of them, each with a schema of about `size` kilobytes (typical of an operator's CRD).
"""

import argparse
import asyncio
import json
import socket
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import aiohttp

from kroasync.playground import Playground, reporting
from tests.benchmarks.__main__ import HERE
from tests.benchmarks.cluster import Api, Controller, prepare, until
from tests.samples import crd

CRDS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
_DESCRIPTION = "What this field is for, in a sentence or two, as operators generate it from the comments of a type. "
_REST_S = 5.0
_SETTLE_S = 20.0


def foreign(number: int, size_kb: float) -> dict[str, Any]:
    """A CRD with about `size_kb` kilobytes of schema."""
    count = max(1, round(size_kb * 1000 / 360))
    leaf = {"type": "string", "description": _DESCRIPTION, "maxLength": 253}
    groups: dict[str, Any] = {}
    for field in range(count):
        part = groups.setdefault(f"part{field // 20}", {"type": "object", "properties": {}})
        part["properties"][f"field{field}Of{number}"] = {**leaf, "description": f"{_DESCRIPTION * 2}({number}.{field})"}
    schema = {"type": "object", "properties": {"spec": {"type": "object", "properties": groups}}}
    return crd(f"Foreign{number}", plural=f"foreigns{number}", group=f"group{number % 30}.example.com", schema=schema)


async def start(playground: Playground, folder: Path) -> dict[str, float]:
    """The seconds until a new controller is ready, and its memory then and after a rest."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    flags = (f"--health-probe-bind-address=127.0.0.1:{port}",)
    async with aiohttp.ClientSession() as session:

        async def ready() -> bool:
            try:
                async with session.get(f"http://127.0.0.1:{port}/readyz") as answer:
                    return answer.status == 200
            except aiohttp.ClientError:
                return False

        with Controller(playground, folder / "controller.log", flags) as controller:
            took_s = await until(ready, within_s=120, every_s=0.05)
            await asyncio.sleep(_REST_S)
            return {
                "ready_s": took_s,
                "cpu_s": controller.cpu_s(),
                "memory_mb": controller.memory_mb(),
                "peak_memory_mb": controller.memory_mb("VmHWM"),
            }


async def measure(playground: Playground, count: int, size_kb: float, folder: Path) -> dict[str, Any]:
    without = await start(playground, folder)
    wanted = [foreign(number, size_kb) for number in range(count)]
    async with Api(playground.kubeconfig) as api:
        await api.all(api.send("POST", CRDS, body) for body in wanted)

        async def established() -> bool:
            items = (await api.send("GET", CRDS))["items"]
            found = [i for i in items if i["metadata"]["name"].startswith("foreigns")]
            conditions = [c for i in found for c in i.get("status", {}).get("conditions") or ()]
            return sum(c["type"] == "Established" and c["status"] == "True" for c in conditions) == count

        await until(established, within_s=300, every_s=1.0)
    # Afterwards, the API server continues to work: it merges the documents of all kinds.
    await asyncio.sleep(_SETTLE_S)
    return {
        "crds": count,
        "schema_kb": round(sum(len(json.dumps(body)) for body in wanted) / count / 1000, 1),
        "without": without,
        "with": await start(playground, folder),
    }


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.kinds", description=__doc__)
    parser.add_argument("-n", type=int, default=300, help="foreign CRDs")
    parser.add_argument("--size", type=float, default=60, help="kilobytes of schema of each")
    parser.add_argument("--json", type=Path, help="write the figures here")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as text:
        folder = Path(text)
        with reporting(sys.stderr):
            playground = Playground.up(name=f"kinds-{time.time_ns()}", directory=folder / "playground", audit=True)
        with playground:
            prepare(playground, HERE.parent.parent / "charts" / "kroasync")
            found = asyncio.run(measure(playground, arguments.n, arguments.size, folder))
    before, after = found["without"], found["with"]
    print(f"{found['crds']} foreign CRDs of {found['schema_kb']} kB")
    for name, unit in (("ready_s", "s"), ("cpu_s", "s"), ("memory_mb", "MB"), ("peak_memory_mb", "MB")):
        print(f"  {name:16} {before[name]:8.2f} -> {after[name]:8.2f} {unit}  (+{after[name] - before[name]:.2f})")
    if arguments.json:
        arguments.json.write_text(json.dumps(found, indent=2) + "\n")


if __name__ == "__main__":
    main()
