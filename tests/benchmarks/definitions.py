"""Measures the time to check and compile a definition: `python -m tests.benchmarks.definitions`.

Schemas are warm. Every definition is a chain of ConfigMaps and Deployments with six expressions each; half of the
expressions occur only once.
"""

import time

from kroasync.graph.build import build
from kroasync.model.definition import Definition, parse_definition
from kroasync.schema.catalog import Catalog, bundled
from tests.samples import definition

SIZES = (50, 100, 200, 500)
REPEATS = 5


def parsed(size: int) -> Definition:
    """`size` resources, each of which depends on the previous one."""
    resources = []
    for i in range(size):
        before = f"app{i - 1}.metadata.name" if i else "schema.metadata.name"
        template = {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {"name": f"${{schema.spec.name}}-{i}", "labels": {"after": f"${{{before}}}"}},
            "spec": {
                "replicas": f"${{schema.spec.replicas > {i} ? schema.spec.replicas : 1}}",
                "selector": {"matchLabels": {"app": "${schema.spec.name}"}},
                "template": {
                    "metadata": {"labels": {"app": "${schema.spec.name}"}},
                    "spec": {"containers": [{"name": "main", "image": f"${{schema.spec.image}}:{i}"}]},
                },
            },
        }
        resources.append({"id": f"app{i}", "template": template})
    obj = definition(
        "Bench",
        resources,
        spec={"name": "string", "image": "string", "replicas": "integer | default=1"},
        status={"ready": "${app0.status.readyReplicas}"},
    )
    found, problems = parse_definition(obj)
    assert found is not None, problems
    return found


def measure(size: int, kinds: Catalog) -> tuple[float, int]:
    """The seconds of the fastest build, and the number of expressions."""
    subject = parsed(size)
    times = []
    expressions = 0
    for _ in range(REPEATS):
        start = time.perf_counter()
        built = build(subject, kinds)
        times.append(time.perf_counter() - start)
        assert built.graph is not None, built.problems
        expressions = sum(len(node.fields) for node in built.graph.nodes.values())
    return min(times), expressions


def main() -> None:
    """Prints one line per size."""
    kinds = bundled()
    measure(2, kinds)
    print(f"{'resources':>9} {'expressions':>11} {'ms':>8} {'ms/resource':>11}")
    for size in SIZES:
        seconds, expressions = measure(size, kinds)
        print(f"{size:>9} {expressions:>11} {seconds * 1e3:>8.1f} {seconds * 1e3 / size:>11.2f}")


if __name__ == "__main__":
    main()
