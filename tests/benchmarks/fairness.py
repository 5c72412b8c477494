"""`python -m tests.benchmarks.fairness [-n 100] [--rounds 4]`: how much one definition delays the others.

On a real control plane, the instances of an ordinary definition become active alone, then next to as many instances of
a definition that the API server always refuses, and next to as many of one whose passes compute for 50 ms. The three
runs take turns, so that other work of the machine affects all of them. The output has the times, and the controller's
CPU time meanwhile: the difference to the first run is the work for the other definition, however busy the machine is.
"""

import argparse
import asyncio
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import yaml

from kroasync.playground import Playground, reporting
from tests.benchmarks.__main__ import HERE, INSTANCES, instance
from tests.benchmarks.cluster import Api, Controller, prepare, until
from tests.samples import config_map, definition

DEFINITIONS = "/apis/kro.run/v1alpha1/resourcegraphdefinitions"
GOOD, FAILING, SLOW = "benchconfigs", "benchfailings", "benchslows"
KINDS = {GOOD: "BenchConfig", FAILING: "BenchFailing", SLOW: "BenchSlow"}
# How long the other instances work before the ordinary ones arrive: the failing ones back off, but the slow ones must
# still have work.
_HEAD_START_S = {FAILING: 15.0, SLOW: 1.0}
# Two loops of about 25 ms.
_LOOPS = "lists.range({0}).map(a, lists.range({0}).filter(b, a * b + {1} > a + b).size()).size()"


def holding(kind: str, data: dict[str, str], name: str) -> dict[str, Any]:
    """A definition of one ConfigMap with this data and name."""
    resources = [{"id": "config", "template": config_map(name, data=data)}]
    return definition(kind, resources, group="bench.kroasync.example", spec={"name": "string"})


def definitions() -> dict[str, dict[str, Any]]:
    """The definitions by the plural of their kinds."""
    loops = {f"loop{i}": "${string(" + _LOOPS.format(180, i) + ")}" for i in range(2)}
    return {
        GOOD: yaml.safe_load((HERE / "data" / "configs.yaml").read_text()),
        FAILING: holding(KINDS[FAILING], {"not a key!": "${schema.spec.name}"}, "${schema.spec.name}"),
        SLOW: holding(KINDS[SLOW], loops, "${schema.spec.name}-slow"),
    }


def _path(plural: str) -> str:
    return INSTANCES.format("default", plural)


async def _create(api: Api, plural: str, count: int) -> None:
    kind = KINDS[plural]
    await api.all(api.send("POST", _path(plural), instance(kind, f"{plural}-{i}")) for i in range(count))


async def _states(api: Api, plural: str) -> list[str]:
    items = (await api.send("GET", _path(plural)))["items"]
    return [i.get("status", {}).get("state", "") for i in items]


async def bring_up(api: Api, controller: Controller, beside: str, count: int) -> tuple[float, float]:
    """The seconds from the creation of the ordinary instances until all are ACTIVE, and the controller's CPU seconds.

    Everything is deleted afterwards.
    """
    if beside:
        await _create(api, beside, count)
        await asyncio.sleep(_HEAD_START_S[beside])
    cpu_s, started = controller.cpu_s(), time.monotonic()
    await _create(api, GOOD, count)
    await until(lambda: _all_active(api, count), within_s=300, every_s=0.03)
    took_s, cpu_s = time.monotonic() - started, controller.cpu_s() - cpu_s
    for plural in (GOOD, beside) if beside else (GOOD,):
        await api.all(api.send("DELETE", f"{_path(plural)}/{plural}-{i}") for i in range(count))
        await until(lambda plural=plural: _gone(api, plural), within_s=300)  # type: ignore[misc]
    return took_s, cpu_s


async def _all_active(api: Api, count: int) -> bool:
    return (await _states(api, GOOD)).count("ACTIVE") == count


async def _gone(api: Api, plural: str) -> bool:
    return not await _states(api, plural)


async def measure(
    playground: Playground, count: int, rounds: int, folder: Path
) -> dict[str, list[tuple[float, float]]]:
    took: dict[str, list[tuple[float, float]]] = {"": [], FAILING: [], SLOW: []}
    async with Api(playground.kubeconfig) as api:
        with Controller(playground, folder / "controller.log") as controller:
            made = definitions()
            for obj in made.values():
                await api.send("POST", DEFINITIONS, obj)
            for obj in made.values():
                path = f"{DEFINITIONS}/{obj['metadata']['name']}"
                await until(lambda path=path: _is_active(api, path), within_s=60)  # type: ignore[misc]
            await asyncio.sleep(2)
            await bring_up(api, controller, "", count)
            for number in range(rounds):
                modes = list(took)
                for beside in modes[number % 3 :] + modes[: number % 3]:
                    took[beside].append(await bring_up(api, controller, beside, count))
                    seconds, cpu_s = took[beside][-1]
                    print(f"  {beside or 'alone'}: {seconds:.2f} s, CPU {cpu_s:.2f} s", file=sys.stderr, flush=True)
    return took


async def _is_active(api: Api, path: str) -> bool:
    return bool((await api.send("GET", path)).get("status", {}).get("state") == "Active")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-n", type=int, default=100, help="instances of each definition")
    parser.add_argument("--rounds", type=int, default=4)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as text:
        folder = Path(text)
        with reporting(sys.stderr):
            playground = Playground.up(name=f"fairness-{time.time_ns()}", directory=folder / "playground", audit=True)
        with playground:
            prepare(playground, HERE.parent.parent / "charts" / "kroasync")
            took = asyncio.run(measure(playground, arguments.n, arguments.rounds, folder))
    alone = took.pop("")
    alone_s, alone_cpu_s = (statistics.median(column) for column in zip(*alone, strict=True))
    print(f"{arguments.n} instances alone: {_told([t for t, _ in alone])}; CPU {_told([cpu for _, cpu in alone])}")
    for beside, pairs in took.items():
        times, cpus = ([pair[place] for pair in pairs] for place in (0, 1))
        more = [(cpu - alone_cpu_s) / seconds for seconds, cpu in pairs]
        print(
            f"beside {arguments.n} of {beside}: {_told(times)}, {statistics.median(times) / alone_s:.2f} times;"
            f" CPU {_told(cpus)}; the others computed {statistics.median(more):.1%} of the time"
        )


def _told(values: list[float]) -> str:
    return f"{statistics.median(values):.2f} s ({min(values):.2f} to {max(values):.2f})"


if __name__ == "__main__":
    main()
