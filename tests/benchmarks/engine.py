"""Measures the CPU time of one pass over the web application example: `python -m tests.benchmarks.engine`.

The world answers from dicts, so this measures only the engine: a pass that creates three children, a pass that finds
nothing to do, and the status of each. Each figure is the best of several rounds, in microseconds.
"""

import time
from collections.abc import Callable

from kroasync.engine.actions import Action, Apply, Done, Need, Result
from kroasync.engine.drift import Applied, need
from kroasync.engine.instance_status import compose
from kroasync.engine.offline import OfflineWorld
from kroasync.engine.plan import Plan
from kroasync.engine.walk import Walk
from kroasync.graph.build import build
from kroasync.graph.nodes import Graph
from kroasync.model.definition import parse_definition
from kroasync.model.objects import Key, Obj
from kroasync.schema.catalog import bundled

DEFINITION: Obj = {
    "apiVersion": "kro.run/v1alpha1",
    "kind": "ResourceGraphDefinition",
    "metadata": {"name": "web"},
    "spec": {
        "schema": {
            "apiVersion": "v1alpha1",
            "kind": "Web",
            "spec": {
                "name": "string",
                "value": 'string | default="one"',
                "image": "string",
                "replicas": "integer | default=1",
            },
            "status": {"availableReplicas": "${deployment.status.availableReplicas}"},
        },
        "resources": [
            {
                "id": "config",
                "template": {
                    "apiVersion": "v1",
                    "kind": "ConfigMap",
                    "metadata": {"name": "${schema.spec.name}"},
                    "data": {"value": "${schema.spec.value}"},
                },
            },
            {
                "id": "deployment",
                "readyWhen": [
                    "${deployment.status.?availableReplicas.orValue(0) == deployment.spec.replicas}",
                ],
                "template": {
                    "apiVersion": "apps/v1",
                    "kind": "Deployment",
                    "metadata": {"name": "${schema.spec.name}"},
                    "spec": {
                        "replicas": "${schema.spec.replicas}",
                        "selector": {"matchLabels": {"app": "${schema.spec.name}"}},
                        "template": {
                            "metadata": {"labels": {"app": "${schema.spec.name}"}},
                            "spec": {
                                "containers": [
                                    {
                                        "name": "web",
                                        "image": "${schema.spec.image}",
                                        "env": [{"name": "CONFIG", "value": "${config.metadata.name}"}],
                                    }
                                ]
                            },
                        },
                    },
                },
            },
            {
                "id": "service",
                "template": {
                    "apiVersion": "v1",
                    "kind": "Service",
                    "metadata": {"name": "${deployment.metadata.name}"},
                    "spec": {
                        "selector": {"app": "${schema.spec.name}"},
                        "ports": [{"port": 80, "targetPort": 8080}],
                    },
                },
            },
        ],
    },
}
INSTANCE: Obj = {
    "apiVersion": "kro.run/v1alpha1",
    "kind": "Web",
    "metadata": {
        "name": "shop",
        "namespace": "team",
        "uid": "u-1",
        "generation": 1,
        "creationTimestamp": "2026-01-01T00:00:00Z",
    },
    "spec": {"name": "shop", "value": "one", "image": "nginx", "replicas": 1},
}
NOW = "2026-01-01T00:00:00Z"


class HashedWorld(OfflineWorld):
    """A world that compares hashes like the controller's caches, and makes every Deployment available at once."""

    def __init__(self) -> None:
        super().__init__(INSTANCE, (), lambda _gvk: None)
        self.applied: dict[Key, Applied] = {}

    def perform(self, action: Action) -> Result:
        result = super().perform(action)
        if not isinstance(action, Apply) or not isinstance(result, Done) or result.obj is None:
            return result
        answer = result.obj
        if action.key.resource.kind == "Deployment":
            answer = {**answer, "status": {"availableReplicas": answer["spec"]["replicas"]}}
            self.put(action.key, answer)
        self.applied[action.key] = Applied.of(action.obj, answer)
        return Done(action=action, obj=answer)

    def compare(self, key: Key, desired: Obj) -> Need | None:
        return need(self.applied.get(key), desired, self.get(key))


def one_pass(plan: Plan, world: OfflineWorld) -> Obj:
    walk = Walk(plan, world.instance, world)
    while actions := walk.next_actions():
        walk.feed([world.perform(action) for action in actions])
    return compose(plan, walk.outcome, now=NOW)


def microseconds(run: Callable[[], object], *, count: int = 300, rounds: int = 7) -> float:
    best = float("inf")
    for _ in range(rounds):
        started = time.process_time()
        for _ in range(count):
            run()
        best = min(best, time.process_time() - started)
    return best / count * 1e6


def web_graph() -> Graph:
    definition, problems = parse_definition(DEFINITION)
    assert definition is not None, problems
    built = build(definition, bundled())
    assert built.graph is not None, built.problems
    return built.graph


def main() -> None:
    plan = Plan.of(web_graph())
    world = HashedWorld()
    assert one_pass(plan, world)["state"] == "ACTIVE"
    world.instance = {**world.instance, "status": one_pass(plan, world)}
    assert one_pass(plan, world) is world.instance["status"]
    rows: list[tuple[str, Callable[[], object], int]] = [
        ("bring-up of three children, with status", lambda: one_pass(plan, HashedWorld()), 300),
        ("pass over an unchanged instance, with status", lambda: one_pass(plan, world), 300),
        ("  of it the walk", lambda: Walk(plan, world.instance, world).next_actions(), 300),
        ("preparing the plan", lambda: Plan.of(plan.graph), 30),
    ]
    for title, run, count in rows:
        print(f"{title:45}{microseconds(run, count=count):8.0f} us")


if __name__ == "__main__":
    main()
