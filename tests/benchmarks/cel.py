"""Compares the speed of the expression language with cel-python and Google's cel-expr-python, in one run.

    python -m tests.benchmarks.cel

Eleven typical expressions of definitions run on two sets of data: SMALL has three pods, BIG has a Deployment of about
15 KB and thirty pods. Absolute figures depend on the machine; the ratios to the other engines depend on it less.
"""

import statistics
import time
from collections.abc import Callable
from typing import Any

from kroasync.cel import Env
from kroasync.cel.types import DYN

EXPRESSIONS = {
    "select": "schema.spec.name",
    "compare": "deployment.status.availableReplicas >= schema.spec.replicas",
    "optional": "deployment.status.?availableReplicas.orValue(0) > 0",
    "text": '"http://" + schema.spec.name + "." + schema.metadata.namespace + ".svc:" + string(schema.spec.port)',
    "exists": 'deployment.status.conditions.exists(c, c.type == "Available" && c.status == "True")',
    "filter": 'pods.filter(p, p.status.phase == "Running").size() == schema.spec.replicas',
    "all": "pods.all(p, p.status.containerStatuses.all(c, c.ready))",
    "has": 'has(deployment.status.availableReplicas) && deployment.status.availableReplicas > 0 ? "up" : "none"',
    "join": 'pods.map(p, p.status.podIP).filter(ip, ip != "").join(",")',
    "map": '{"name": schema.spec.name, "image": schema.spec.?image.orValue("nginx"), "port": string(schema.spec.port)}',
    "mixed": 'a.list.filter(x, x > 1).size() > 1 && a.b == 2 ? "x" + string(a.b) : "no"',
}
VARIABLES = ("schema", "deployment", "pods", "a")
BUDGET_S = 0.1


def data(pods: int, padding: int) -> dict[str, Any]:
    """An instance, a Deployment padded with annotations, pods, and a bit of plain data."""
    return {
        "schema": {
            "metadata": {"name": "app", "namespace": "default"},
            "spec": {"name": "web", "replicas": pods, "port": 8080},
        },
        "deployment": {
            "metadata": {"name": "web", "annotations": {f"example.org/note-{i}": "x" * 80 for i in range(padding)}},
            "status": {
                "availableReplicas": pods,
                "conditions": [
                    {"type": "Progressing", "status": "True", "reason": "NewReplicaSetAvailable"},
                    {"type": "Available", "status": "True", "reason": "MinimumReplicasAvailable"},
                ],
            },
        },
        "pods": [
            {
                "metadata": {"name": f"web-{i}", "labels": {f"label-{k}": "x" * 40 for k in range(20)}},
                "status": {
                    "phase": "Running",
                    "podIP": f"10.0.0.{i}",
                    "containerStatuses": [{"name": "web", "ready": True}, {"name": "proxy", "ready": True}],
                },
            }
            for i in range(pods)
        ],
        "a": {"b": 2, "list": [1, 2, 3]},
    }


SMALL = data(3, 2)
BIG = data(30, 140)


def median_us(call: Callable[[], Any]) -> float:
    """The median time of a call in microseconds, over rounds that take BUDGET_S."""
    call()
    start = time.perf_counter()
    call()
    once = max(time.perf_counter() - start, 1e-7)
    batch = max(1, int(0.005 / once))
    rounds = []
    end = time.perf_counter() + BUDGET_S
    while len(rounds) < 5 or time.perf_counter() < end:
        start = time.perf_counter()
        for _ in range(batch):
            call()
        rounds.append((time.perf_counter() - start) / batch)
    return statistics.median(rounds) * 1e6


def ours(values: dict[str, Any]) -> Callable[[str], Callable[[], Any]]:
    env = Env(variables=dict.fromkeys(VARIABLES, DYN))

    def prepare(text: str) -> Callable[[], Any]:
        program = env.program(text)
        return lambda: program.evaluate(values)

    return prepare


def cel_python(values: dict[str, Any]) -> Callable[[str], Callable[[], Any]]:
    """The interpreter of cel-python, with data that is converted before the measurement."""
    import celpy

    env = celpy.Environment()
    converted = {name: celpy.json_to_cel(value) for name, value in values.items()}  # type: ignore[attr-defined]

    def prepare(text: str) -> Callable[[], Any]:
        program = env.program(env.compile(text))
        return lambda: program.evaluate(converted)

    return prepare


def cel_expr(values: dict[str, Any]) -> Callable[[str], Callable[[], Any]]:
    """Google's C++ engine, with plain data."""
    from cel_expr_python import cel

    config = cel.NewEnvConfigFromYaml("extensions: [{name: optional}, {name: strings}, {name: lists}]")
    env = cel.NewEnv(config=config, variables=dict.fromkeys(VARIABLES, cel.Type.DYN))

    def prepare(text: str) -> Callable[[], Any]:
        expression = env.compile(text)
        return lambda: expression.eval(data=values).value()

    return prepare


def measure(prepare: Callable[[str], Callable[[], Any]], text: str) -> float | None:
    """The microseconds of an evaluation; None if the engine does not support the expression."""
    try:
        return median_us(prepare(text))
    except Exception:
        # The other engines raise errors of many classes for unsupported features.
        return None


def cell(value: float | None, base: float | None = None) -> str:
    if value is None:
        return f"{'-':>9}"
    return f"{value:9.2f}" if base is None else f"{value / base:8.1f}x"


def evaluation() -> None:
    for label, values in (("SMALL", SMALL), ("BIG", BIG)):
        engines = {"cel-python": cel_python(values), "cel-expr": cel_expr(values)}
        mine = ours(values)
        print(f"\nevaluation, {label}: microseconds, and how many times that the others take")
        print(f"{'':10}{'kroasync':>10}" + "".join(f"{name:>12}" for name in engines))
        times: list[float] = []
        ratios: dict[str, list[float]] = {name: [] for name in engines}
        for name, text in EXPRESSIONS.items():
            own = median_us(mine(text))
            times.append(own)
            row = f"{name:10}{cell(own):>10}"
            for engine, prepare in engines.items():
                other = measure(prepare, text)
                if other is not None:
                    ratios[engine].append(other / own)
                row += f"{cell(other, own):>12}"
            print(row)
        medians = "".join(f"{cell(statistics.median(values), 1.0):>12}" for values in ratios.values())
        print(f"{'median':10}{cell(statistics.median(times)):>10}{medians}")
        print(f"{'sum':10}{cell(sum(times)):>10}")


def compilation() -> None:
    env = Env(variables=dict.fromkeys(VARIABLES, DYN))
    engines = {"cel-python": cel_python(SMALL), "cel-expr": cel_expr(SMALL)}
    print("\nparse, check and compile: microseconds, and how many times that the others take")
    print(f"{'':10}{'parse':>10}{'check':>10}{'compile':>10}{'all':>10}" + "".join(f"{name:>12}" for name in engines))
    totals = []
    for name, text in EXPRESSIONS.items():
        ast = env.parse(text)
        checked = env.check(ast)
        parts = (
            median_us(lambda text=text: env.parse(text)),  # type: ignore[misc]
            median_us(lambda ast=ast: env.check(ast)),  # type: ignore[misc]
            median_us(lambda checked=checked: env.program(checked)),  # type: ignore[misc]
        )
        totals.append(sum(parts))
        row = f"{name:10}" + "".join(f"{cell(part):>10}" for part in (*parts, sum(parts)))
        for prepare in engines.values():
            other = measure(lambda text, prepare=prepare: lambda: prepare(text), text)  # type: ignore[misc]
            row += f"{cell(other, sum(parts)):>12}"
        print(row)
    print(f"{'median':40}{cell(statistics.median(totals)):>10}")


def main() -> None:
    evaluation()
    compilation()


if __name__ == "__main__":
    main()
