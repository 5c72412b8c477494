"""`python -m tests.fuzz --inputs 100000 [--seed 1] [--seconds 600]`: mutated inputs into every parser.

Each input is a corpus entry with random changes. A parser may return a value or a list of problems, or raise an error
of its own type. Any other result, or more than two seconds, fails the run, which prints the seed of the input. The seed
of an input is the seed of the run plus the input's number; `--only N` runs a single input.
"""

import argparse
import json
import random
import sys
import time
import traceback
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from kroasync.cel import CelError, Env, to_json
from kroasync.controller.child_store import ChildStore
from kroasync.controller.fights import contenders
from kroasync.controller.instance_store import InstanceStore
from kroasync.controller.revisions import RevisionStore, number_of
from kroasync.controller.watches import ChildSink, InstanceSink
from kroasync.engine.instance_status import compose
from kroasync.engine.offline import OfflineWorld
from kroasync.engine.teardown import plan_teardown
from kroasync.engine.walk import Walk
from kroasync.engine.yielding import agree, foreign_fields, foreign_text
from kroasync.graph.build import build
from kroasync.kube.api_errors import ApiError, error_of
from kroasync.kube.decoding import decoded, tidy
from kroasync.kube.watch import BadEventError, LineSplitter
from kroasync.model import names
from kroasync.model.definition import parse_definition
from kroasync.model.manifests import dump, load
from kroasync.model.policies import Conflicts, Policies
from kroasync.schema import simple
from kroasync.schema.catalog import bundled
from kroasync.schema.instance_checks import check_instance
from tests.samples import CONFIG_MAPS

ROOT = Path(__file__).parents[2]
SLOW_S = 2.0
SCRAPS = (
    *(
        "${",
        "}",
        "'",
        '"',
        "`",
        "\\",
        "(",
        ")",
        "[",
        "]",
        "{",
        "}",
        ".",
        "?",
        "|",
        "=",
        ",",
        ":",
        "\n",
        "\0",
        "é",
        "\U0001f600",
    ),
    *(
        "null",
        "true",
        "0",
        "-1",
        "1e400",
        "9223372036854775808",
        "schema",
        "each",
        "self",
        "omit()",
        "&anchor",
        "*anchor",
    ),
    *("map[string]", "[]", "default=", "required=true", "!!python/object:x", "---", "  ", "\t", "__class__", "a" * 300),
)


class Corpus:
    """The inputs to mutate: the expressions of the vectors, and the YAML of every example."""

    def __init__(self) -> None:
        vectors = (ROOT / "tests" / "data" / "cel-vectors.jsonl").read_text().splitlines()
        self.expressions = [json.loads(line)["expr"] for line in vectors]
        self.manifests = [path.read_text() for path in sorted((ROOT / "examples").rglob("*.yaml"))]
        objs = [d.obj for text in self.manifests for d in load(text) if not d.problems]
        self.definitions = [obj for obj in objs if parse_definition(obj)[0] is not None]
        self.instances = [obj for obj in objs if obj not in self.definitions]
        self.fields = [
            "string",
            "integer | default=1 minimum=0",
            '[]string | enum="a,b"',
            "map[string]map[string]integer",
        ]
        self.graphs = []
        for obj in self.definitions:
            definition, _ = parse_definition(obj)
            built = build(definition, bundled()) if definition else None
            if (
                definition is not None
                and built is not None
                and built.graph is not None
                and built.spec_schema is not None
            ):
                self.graphs.append((definition, built.graph, built.spec_schema))


def mutated_text(text: str, rng: random.Random) -> str:
    """One to eight random edits."""
    for _ in range(rng.randint(1, 8)):
        at = rng.randint(0, len(text))
        match rng.randint(0, 4):
            case 0:
                text = text[:at] + rng.choice(SCRAPS) + text[at:]
            case 1:
                text = text[:at] + text[at + rng.randint(1, 12) :]
            case 2:
                other = rng.randint(0, len(text))
                text = text[:at] + text[min(at, other) : max(at, other)] + text[at:]
            case 3:
                text = text[:at] + chr(rng.choice((rng.randint(0, 127), rng.randint(0, 0xD7FF)))) + text[at + 1 :]
            case _:
                text = text[:at] + text[at : at + 4] * rng.randint(2, 40) + text[at:]
    return text[:20_000]


def mutated(value: Any, rng: random.Random) -> Any:
    """A copy of a JSON value with some part replaced, removed or moved."""
    if rng.random() < 0.06:
        return rng.choice((None, True, 0, -1, 1.5, "", "x", [], {}, [None], {"": {}}, 2**70, "${", "${schema.spec}"))
    if isinstance(value, dict):
        found = {k: mutated(v, rng) for k, v in value.items() if rng.random() > 0.03}
        if rng.random() < 0.1:
            found[rng.choice(SCRAPS)] = rng.choice(list(value.values()) or [None])
        return found
    if isinstance(value, list):
        found_list = [mutated(v, rng) for v in value if rng.random() > 0.03]
        return found_list * 2 if rng.random() < 0.05 else found_list
    return mutated_text(value, rng) if isinstance(value, str) and rng.random() < 0.15 else value


class Targets:
    """The parsers. Each takes a random source, makes an input, and raises only forbidden errors."""

    def __init__(self, corpus: Corpus) -> None:
        self.corpus = corpus
        self._env = Env()
        self._data = {"schema": {"spec": {"name": "x", "count": 3, "list": [1, 2]}}, "a": {"b": 1}}

    def expression(self, rng: random.Random) -> None:
        text = mutated_text(rng.choice(self.corpus.expressions), rng)
        for check in (True, False):
            try:
                to_json(self._env.program(text, check=check).evaluate(self._data, budget=100_000))
            except CelError:
                continue

    def manifest(self, rng: random.Random) -> None:
        for document in load(mutated_text(rng.choice(self.corpus.manifests), rng)):
            if not document.problems:
                dump(document.obj)
                self._define(document.obj)

    def definition(self, rng: random.Random) -> None:
        self._define(mutated(rng.choice(self.corpus.definitions), rng))

    def _define(self, obj: Any) -> None:
        if not isinstance(obj, dict):
            return  # a manifest is an object, `load` has seen to that
        definition, _ = parse_definition(obj)
        if definition is not None:
            build(definition, bundled_kinds())

    def schema(self, rng: random.Random) -> None:
        simple.build({"a": mutated_text(rng.choice(self.corpus.fields), rng)}, {"T": rng.choice(self.corpus.fields)})

    def instance(self, rng: random.Random) -> None:
        definition, graph, schema = rng.choice(self.corpus.graphs)
        obj = mutated(rng.choice(self.corpus.instances), rng)
        if not isinstance(obj, dict):
            return
        check_instance(obj, definition, schema)
        meta = {"name": "x", "namespace": "default", "uid": "u", "generation": 1}
        spec = obj.get("spec")
        whole = {
            "apiVersion": graph.resource.api_version,
            "kind": graph.resource.kind,
            "metadata": meta,
            "spec": spec if isinstance(spec, dict) else {},
        }
        world = OfflineWorld(whole, (), bundled_kinds().resource)
        walk = Walk(graph, whole, world)
        while actions := walk.next_actions():
            walk.feed([world.perform(action) for action in actions])
        compose(walk.plan, walk.outcome, now="2026-01-01T00:00:00Z")

    def answer(self, rng: random.Random) -> None:
        status = {"kind": "Status", "code": 409, "reason": "Conflict", "details": {"causes": [{"field": "x"}]}}
        body = mutated_text(json.dumps(mutated(status, rng)), rng).encode("utf-8", "replace")
        error = error_of(
            rng.choice((400, 404, 409, 410, 422, 429, 500, 503)), body, {"Retry-After": rng.choice(SCRAPS)}
        )
        assert isinstance(error, ApiError)
        lines = LineSplitter(limit=1000)
        try:
            for cut in range(0, len(body), 7):
                lines.feed(body[cut : cut + 7])
        except BadEventError:
            return

    def told(self, rng: random.Random) -> None:
        """An object that a broken server or a proxy may answer: nulls and wrong types at every place."""
        instances = InstanceStore(CONFIG_MAPS, lambda key: None, lambda key, gone: None)
        children = ChildStore(lambda key: None, claims=lambda key, obj: True)
        sinks: tuple[Any, ...] = (
            InstanceSink(instances),
            ChildSink(children, CONFIG_MAPS),
            RevisionStore(lambda key: None),
        )
        for number in range(3):
            obj = decoded(json.dumps(mutated(_TOLD, rng)).encode("utf-8", "surrogatepass"))
            if not tidy(obj):
                continue
            obj["metadata"]["resourceVersion"] = str(number)
            obj.setdefault("apiVersion", "v1")
            obj.setdefault("kind", "ConfigMap")
            for sink in sinks:
                # Each one stores its argument.
                sink.event(rng.choice(("ADDED", "MODIFIED", "DELETED")), json.loads(json.dumps(obj)))
                sink.replace([sink.keep(json.loads(json.dumps(obj)))], str(number))
            number_of(obj)
            plan_teardown(obj, children.members(_TOLD_INSTANCE))
            self.shared(obj)

    def shared(self, live: Any) -> None:
        """What is left to other managers of an object, whoever wrote its managedFields."""
        data = {"a": [{"name": "b", "c": 1}], "d": {"e": 1}}
        declared: dict[str, Any] = {"metadata": {"name": "x", "labels": {"a": "b"}}, "data": data}
        contenders(live, declared, "us")
        for conflicts in Conflicts:
            terms = agree(live, declared, Policies(conflicts=conflicts), (("data", "d"),))
            assert terms.obj["metadata"]["name"] == "x"
            foreign_text(foreign_fields((*terms.yielded, *terms.refused), ()))

    def stored(self, rng: random.Random) -> None:
        """An object with our labels, as a user may write it: only the required strings are strings."""

        def text() -> str:
            digits = rng.choice("09\u0661") * rng.choice((1, 9, 4300, 5000))
            return rng.choice((digits, rng.choice(SCRAPS), "a.b," * rng.randint(0, 9), "applyset-x-v1"))

        labels = {name: text() for name in _LABELS if rng.random() < 0.8}
        notes = {name: text() for name in _ANNOTATIONS if rng.random() < 0.8}
        meta = {"name": "x", "namespace": "default", "uid": "u", "resourceVersion": str(rng.randint(1, 9))}
        levels = rng.choice((0, 1, 250, 300, 1100, 4000))
        deep = '{"a":[' * levels + json.dumps(mutated(self._data, rng)) + "]}" * levels
        head = json.dumps({**meta, "labels": labels, "annotations": notes, "finalizers": [names.FINALIZER]})
        line = f'{{"apiVersion":"v1","kind":"ConfigMap","metadata":{head},"data":{deep}}}'
        obj = decoded(line.encode("utf-8", "surrogatepass"))
        children = ChildStore(lambda key: None, claims=lambda key, obj: True)
        children.put(CONFIG_MAPS, obj)
        children.put(CONFIG_MAPS, {**obj, "metadata": {**obj["metadata"], "resourceVersion": "10"}})
        plan_teardown(obj, children.members(labels.get(names.LABEL_INSTANCE_ID, "")))
        self.shared(obj)
        instances = InstanceStore(CONFIG_MAPS, lambda key: None, lambda key, gone: None)
        instances.put(obj)
        instances.wrote({**obj, "metadata": {**obj["metadata"], "resourceVersion": "10", "annotations": {}}})


_TOLD_INSTANCE = "i"
_OTHERS: dict[str, Any] = {
    "f:data": {".": {}, "f:a": {'k:{"name":"b"}': {".": {}, "f:name": {}, "f:c": {}}, "i:0": {}}, "f:d": {"f:e": {}}},
    "f:metadata": {"f:name": {}, "f:labels": {"f:a": {}}},
}
_TOLD: dict[str, Any] = {
    "apiVersion": "v1",
    "kind": "ConfigMap",
    "metadata": {
        "name": "x",
        "namespace": "default",
        "uid": "u",
        "resourceVersion": "1",
        "generation": 1,
        "deletionTimestamp": "2026-01-01T00:00:00Z",
        "labels": {names.LABEL_OWNED: "true", names.LABEL_INSTANCE_ID: _TOLD_INSTANCE},
        "annotations": {names.ANNOTATION_APPLY_ORDER: "1"},
        "finalizers": [names.FINALIZER],
        "ownerReferences": [{"kind": "x", "uid": "u", "controller": True}],
        "managedFields": [
            {"manager": names.MANAGER_CHILDREN, "operation": "Apply", "fieldsV1": {"f:data": {}}},
            {"manager": "other", "operation": "Update", "fieldsV1": _OTHERS},
        ],
    },
    "spec": {"revision": 1, "snapshot": {"name": "x", "spec": {}}},
    "status": {"conditions": [{"type": "Ready", "status": "True"}]},
    "data": {"a": "b"},
}
_LABELS = (names.LABEL_OWNED, names.LABEL_INSTANCE_ID, names.LABEL_NODE_ID, names.LABEL_APPLYSET_PART_OF)
_ANNOTATIONS = (
    *(names.ANNOTATION_APPLY_ORDER, names.ANNOTATION_INVENTORY_HASH, names.ANNOTATION_RECONCILE),
    *(names.ANNOTATION_APPLYSET_GROUP_KINDS, names.ANNOTATION_APPLYSET_NAMESPACES),
)
_KINDS: dict[str, Any] = {}


def bundled_kinds() -> Any:
    """One catalog for the whole run: schemas are inlined once."""
    if "bundled" not in _KINDS:
        _KINDS["bundled"] = bundled()
    return _KINDS["bundled"]


def run(*, seed: int, inputs: int, seconds: float, only: int | None = None) -> int:
    """The number of inputs with a forbidden result."""
    corpus = Corpus()
    targets = Targets(corpus)
    parsers = ("expression", "schema", "answer", "stored", "told", "manifest", "definition", "instance")
    weights = (8, 4, 4, 4, 4, 2, 2, 2)
    counts: Counter[str] = Counter()
    failures = 0
    slowest = ("", 0.0)
    started = time.monotonic()
    for number in range(inputs) if only is None else (only,):
        if time.monotonic() - started > seconds:
            break
        rng = random.Random(seed + number)
        name = rng.choices(parsers, weights)[0]
        target: Callable[[random.Random], None] = getattr(targets, name)
        began = time.monotonic()
        try:
            target(rng)
        except Exception:
            failures += 1
            print(f"input {number} ({name}) raised:\n{traceback.format_exc(limit=-4)}", file=sys.stderr)
        took = time.monotonic() - began
        if took > SLOW_S:
            failures += 1
            print(f"input {number} ({name}) took {took:.1f} s", file=sys.stderr)
        slowest = max(slowest, (name, took), key=lambda entry: entry[1])
        counts[name] += 1
    total = sum(counts.values())
    print(f"{total} inputs in {time.monotonic() - started:.0f} s: {dict(counts)}")
    print(f"slowest {slowest[1]:.2f} s ({slowest[0]}); {failures} failures")
    return failures


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--inputs", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=float("inf"), help="stop after this time")
    parser.add_argument("--only", type=int, help="this input alone")
    arguments = parser.parse_args()
    failures = run(seed=arguments.seed, inputs=arguments.inputs, seconds=arguments.seconds, only=arguments.only)
    raise SystemExit(1 if failures else 0)


if __name__ == "__main__":
    main()
