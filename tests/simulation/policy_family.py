"""Definitions with policies, the instances that they serve, and the stories about them.

The model knows nothing of the code under test: `words` and `wanted` compute what holds in a few lines.
"""

import random
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from kroasync.model.objects import Key, Obj, Resource
from tests.samples import CONFIG_MAPS, DEPLOYMENTS
from tests.simulation.family import HOME, definition_key, kind_of
from tests.simulation.story import FAULTS, Step, Story

JOBS = Resource("batch", "v1", "Job", "jobs")
PODS = Resource("", "v1", "Pod", "pods")
CHILDREN: Final = (CONFIG_MAPS, DEPLOYMENTS, JOBS)
LISTED: Final = "outside"
WORDS: Final[Mapping[str, tuple[str, ...]]] = {
    "adoption": ("IfUnclaimed", "Always", "IfUnowned", "Never"),
    "deletion": ("Delete", "Orphan"),
    "update": ("Apply", "Once", "Recreate"),
    "conflicts": ("Force", "Yield", "Fail"),
}
SAFEST: Final = {"adoption": "Never", "deletion": "Orphan", "update": "Once", "conflicts": "Fail"}
NONSENSE: Final = "Nonsense"
# Who may have made an object of a declared name, and how it shows.
MARKS: Final = ("plain", "same", "other", "controller", "helm", "applyset")


@dataclass(frozen=True, slots=True, kw_only=True)
class Policed:
    """A resource with policies.

    `kind` is ConfigMap, Sealed (an immutable ConfigMap), Deployment or Job. `each` makes one per item of the spec, or
    per object of the external list. Policies in `computed` are expressions over the instance. `left` lists the field
    that others change in `externalFields`. With `counts`, the object has the length of the external list, too.
    """

    id: str
    kind: str = "ConfigMap"
    needs: str = ""
    each: str = ""
    toggled: bool = False
    words: tuple[tuple[str, str], ...] = ()
    computed: tuple[str, ...] = ()
    max_prune: str = ""
    left: bool = False
    counts: bool = False

    def __str__(self) -> str:
        told = [f"{self.id}:{self.kind}", *(f"{name}={word}" for name, word in self.words)]
        told += [f"{name}=${{}}" for name in self.computed]
        told += [f"<-{self.needs}"] * bool(self.needs) + [f"each {self.each}"] * bool(self.each)
        told += (
            ["toggled"] * self.toggled + ["left"] * self.left + [f"maxPrune={self.max_prune}"] * bool(self.max_prune)
        )
        return "/".join(told)

    @property
    def resource(self) -> Resource:
        return {"Deployment": DEPLOYMENTS, "Job": JOBS}.get(self.kind, CONFIG_MAPS)


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """A definition; `words` are its policies for all resources."""

    nodes: tuple[Policed, ...]
    words: tuple[tuple[str, str], ...] = ()

    def __str__(self) -> str:
        default = ["/".join(f"{name}={word}" for name, word in self.words)] if self.words else []
        return " ".join([*default, *map(str, self.nodes)])

    def node(self, id_: str) -> Policed | None:
        return next((node for node in self.nodes if node.id == id_), None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """The spec of an instance; `words` feed the policies that are expressions."""

    value: str = "a"
    replicas: int = 2
    on: bool = True
    items: tuple[str, ...] = ("x", "y")
    words: tuple[str, ...] = ("IfUnclaimed", "Delete", "Apply", "Force")

    def __str__(self) -> str:
        on = "on" if self.on else "off"
        return f"{self.value} {self.replicas} {on} [{','.join(self.items)}] {','.join(self.words)}"

    def manifest(self) -> Obj:
        fixed: Obj = {"value": self.value, "replicas": self.replicas, "on": self.on, "items": list(self.items)}
        return fixed | dict(zip(WORDS, self.words, strict=True))


def wish_of(spec: Obj) -> Wish:
    """The wish that an instance has as its spec."""
    return Wish(
        value=spec["value"],
        replicas=spec["replicas"],
        on=spec["on"],
        items=tuple(spec.get("items") or ()),
        words=tuple(spec[name] for name in WORDS),
    )


def words(plan: Plan, node: Policed, wish: Wish) -> tuple[dict[str, str], list[str]]:
    """The policies that hold for a node of an instance, and the names of those that yield no known word."""
    found = {name: known[0] for name, known in WORDS.items()} | dict(plan.words) | dict(node.words)
    faulty = []
    for name, word in zip(WORDS, wish.words, strict=True):
        if name in node.computed:
            found[name] = word if word in WORDS[name] else SAFEST[name]
            faulty += [name] * (word not in WORDS[name])
    return found, faulty


def excluded(plan: Plan, wish: Wish) -> set[str]:
    """The nodes that the instance leaves out."""
    out: set[str] = set()
    for node in plan.nodes:
        if (node.toggled and not wish.on) or node.needs in out:
            out.add(node.id)
    return out


def names_of(node: Policed, instance: str, wish: Wish, listed: frozenset[str]) -> list[str]:
    """The names of the objects of a node that is not left out."""
    base = f"{instance}-{kind_of(0).lower()}-{node.id}"
    if not node.each:
        return [base]
    return [f"{base}-{letter}" for letter in (wish.items if node.each == "items" else sorted(listed))]


def contested_paths(node: Policed) -> dict[tuple[str, ...], str]:
    """The paths that others change, as field managers own them, each with the name of its field in the spec."""
    if node.kind == "Deployment":
        image = ("f:spec", "f:template", "f:spec", "f:containers", 'k:{"name":"main"}', "f:image")
        return {("f:spec", "f:replicas"): "replicas", image: "value"}
    if node.kind == "Job":
        return {("f:spec", "f:template", "f:spec", "f:containers", 'k:{"name":"main"}', "f:image"): "value"}
    return {("f:data", "f:value"): "value"}


def external_path(node: Policed) -> tuple[str, ...] | None:
    """The path in `externalFields`."""
    return next(iter(contested_paths(node))) if node.left else None


def declared_value(node: Policed, field: str, wish: Wish) -> object:
    if field == "replicas":
        return wish.replicas
    return wish.value if node.resource == CONFIG_MAPS else f"app:{wish.value}"


def live_values(obj: Obj) -> dict[str, object]:
    """The fields of an object that an instance declares, by the name of the field in the spec."""
    if obj["kind"] == "ConfigMap":
        return {"value": (obj.get("data") or {}).get("value")}
    spec = obj.get("spec") or {}
    containers = ((spec.get("template") or {}).get("spec") or {}).get("containers") or ({},)
    return {"value": containers[0].get("image"), "replicas": spec.get("replicas")}


def manifest(plan: Plan) -> Obj:
    kind, key = kind_of(0), definition_key(0)
    fields = {"value": "string", "replicas": "integer", "on": "boolean", "items": "[]string"}
    spec: Obj = {
        "schema": {"apiVersion": "v1alpha1", "kind": kind, "spec": fields | dict.fromkeys(WORDS, "string")},
        "resources": [_written(plan, node) for node in plan.nodes],
    }
    if any(node.each == LISTED or node.counts for node in plan.nodes):
        selector = {"selector": {"matchLabels": {"list": "yes"}}, "namespace": HOME}
        reference = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": selector}
        spec["resources"].insert(0, {"id": LISTED, "externalRef": reference})
    if plan.words:
        spec["policy"] = dict(plan.words)
    resource = key.resource
    return {"apiVersion": resource.api_version, "kind": resource.kind, "metadata": {"name": key.name}, "spec": spec}


def _written(plan: Plan, node: Policed) -> Obj:
    name = f"${{schema.metadata.name}}-{kind_of(0).lower()}-{node.id}" + ("-${letter}" if node.each else "")
    resource: Obj = {"id": node.id, "template": _template(plan, node, name)}
    if node.each:
        listed = "${outside.map(o, o.data.letter)}" if node.each == LISTED else "${schema.spec.items}"
        resource["forEach"] = [{"letter": listed}]
    if node.toggled:
        resource["includeWhen"] = ["${schema.spec.on}"]
    policy: Obj = dict(node.words) | {name: f"${{schema.spec.{name}}}" for name in node.computed}
    if node.max_prune:
        policy["maxPrune"] = int(node.max_prune) if node.max_prune.isdecimal() else node.max_prune
    if policy:
        resource["policy"] = policy
    if node.left:
        resource["externalFields"] = ["spec.replicas" if node.kind == "Deployment" else "data.value"]
    return resource


def _template(plan: Plan, node: Policed, name: str) -> Obj:
    needed = plan.node(node.needs)
    reads = "none"
    if needed is not None:
        reads = f"${{string(size({needed.id}))}}" if needed.each else f"${{{needed.id}.metadata.name}}"
    meta: Obj = {"name": name, "annotations": {"reads": reads}}
    if node.resource == CONFIG_MAPS:
        template: Obj = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta}
        template["data"] = {"value": "${schema.spec.value}", "fixed": "yes"}
        if node.counts:
            template["data"]["count"] = f"${{string(size({LISTED}))}}"
        return template | ({"immutable": True} if node.kind == "Sealed" else {})
    pod: Obj = {"spec": {"containers": [{"name": "main", "image": "app:${schema.spec.value}"}]}}
    if node.kind == "Job":
        pod["spec"]["restartPolicy"] = "Never"
        return {"apiVersion": "batch/v1", "kind": "Job", "metadata": meta, "spec": {"template": pod}}
    labels = {"app": node.id}
    pod["metadata"] = {"labels": labels}
    spec = {"replicas": "${schema.spec.replicas}", "selector": {"matchLabels": labels}, "template": pod}
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": meta, "spec": spec}


# Stories


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyStep(Step):
    """A step about policies; `mark` says how a foreign object shows, and `letters` is the new external list."""

    plan: Plan | None = None
    wish: Wish | None = None
    mark: str = ""
    letters: tuple[str, ...] = ()

    def __str__(self) -> str:
        told = [Step.__str__(self), *(str(value) for value in (self.plan, self.wish) if value is not None)]
        told += [self.mark] * bool(self.mark) + [f"[{','.join(self.letters)}]"] * (self.kind in ("list", "blink"))
        return "  ".join(told)


_WEIGHTS = {
    "change": 6,
    "remove": 2,
    "again": 2,
    "replan": 2,
    "unplan": 1,
    "exist": 4,
    "edit": 4,
    "take": 4,
    "free": 3,
    "scale": 4,
    "share": 3,
    "kill": 2,
    "hold": 1,
    "suspend": 1,
    "list": 2,
    "blink": 3,
    "allow": 4,
    "fault": 8,
    "stale": 1,
    "cut": 1,
    "delay": 2,
    "repeat": 1,
    "silence": 1,
    "compact": 1,
    "crash": 6,
    "restart": 1,
}
_LETTERS = "uvwxyz"
_METHODS = (frozenset({"GET"}), frozenset({"PATCH"}), frozenset({"DELETE"}), frozenset({"GET", "PATCH", "DELETE"}))


def policy_story_of(seed: int) -> Story:
    """The story of a seed: always the same."""
    rng = random.Random(f"policies {seed}")
    plan = _plan(rng)
    steps: list[Step] = [PolicyStep(at_s=rng.uniform(0, 2), kind="plan", plan=plan)]
    steps.append(PolicyStep(at_s=rng.uniform(0, 2), kind="list", letters=_some(rng)))
    for instance in range(rng.randint(1, 2)):
        steps.append(PolicyStep(at_s=rng.uniform(1, 4), kind="change", instance=instance, wish=_wish(rng)))
        if rng.random() < 0.4:
            step = PolicyStep(at_s=rng.uniform(0, 1), kind="exist", instance=instance, pick=rng.randrange(100))
            steps.append(replace(step, mark=rng.choice(MARKS)))
    kinds = rng.choices(list(_WEIGHTS), list(_WEIGHTS.values()), k=rng.randint(1, 14))
    steps += [_step(rng, kind, plan) for kind in kinds]
    for _ in range(rng.randint(0, 2)):
        steps += _scene(rng)
    return Story(
        seed=seed,
        steps=tuple(sorted(steps, key=lambda step: step.at_s)),
        deployment_s=rng.choice((0.1, 0.5)),
        deletes_crds=rng.random() < 0.3,
        page=rng.choice((2, 500)),
    )


def _plan(rng: random.Random) -> Plan:
    nodes: list[Policed] = []
    for number in range(rng.randint(1, 3)):
        kind = rng.choice(("ConfigMap", "ConfigMap", "Sealed", "Deployment", "Deployment", "Job"))
        each = rng.choice(("", "items", LISTED)) if kind in ("ConfigMap", "Sealed") else ""
        node = Policed(
            id="abc"[number],
            kind=kind,
            each=each,
            needs=rng.choice(("", nodes[-1].id)) if nodes else "",
            toggled=number > 0 and rng.random() < 0.3,
            words=_chosen(rng, kind, 0.5),
            max_prune=rng.choice(("", "0", "1", "2", "20%", "50%", "50%")) if each else "",
            left=kind in ("ConfigMap", "Deployment") and rng.random() < 0.25,
            counts=kind == "Sealed" and rng.random() < 0.4,
        )
        if rng.random() < 0.3:
            computed = rng.sample(list(WORDS), rng.randint(1, 2))
            fixed = tuple((name, word) for name, word in node.words if name not in computed)
            node = replace(node, computed=tuple(computed), words=fixed)
        nodes.append(node)
    return _consistent(Plan(nodes=tuple(nodes), words=_chosen(rng, "", 0.2)))


def _consistent(plan: Plan) -> Plan:
    """The plan without a resource that would be recreated and never deleted, which is a problem of the definition."""
    contradiction = {"update": "Recreate", "deletion": "Orphan"}
    default = {name: word for name, word in plan.words if not contradiction.items() <= dict(plan.words).items()}
    nodes = []
    for node in plan.nodes:
        said = default | dict(node.words)
        if contradiction.items() <= said.items() and not {"update", "deletion"} & set(node.computed):
            node = replace(node, words=tuple({**dict(node.words), "update": "Apply"}.items()))
        nodes.append(node)
    return replace(plan, nodes=tuple(nodes), words=tuple(default.items()))


def _chosen(rng: random.Random, kind: str, rate: float) -> tuple[tuple[str, str], ...]:
    """Some policies; those that cannot change a kind otherwise are recreated more often."""
    found = [(name, rng.choice(known)) for name, known in WORDS.items() if rng.random() < rate]
    if kind in ("Sealed", "Job") and rng.random() < 0.6:
        found = [(name, word) for name, word in found if name != "update"] + [("update", "Recreate")]
    return tuple(found)


def _wish(rng: random.Random) -> Wish:
    return Wish(
        value=rng.choice("abc"),
        replicas=rng.randint(1, 3),
        on=rng.random() < 0.75,
        items=_some(rng),
        words=tuple(NONSENSE if rng.random() < 0.03 else rng.choice(known) for known in WORDS.values()),
    )


def _some(rng: random.Random) -> tuple[str, ...]:
    return tuple(sorted(rng.sample(_LETTERS, rng.choice((0, 1, 2, 4, 6)))))


def _step(rng: random.Random, kind: str, plan: Plan) -> PolicyStep:
    step = PolicyStep(
        at_s=rng.choice((rng.uniform(0, 4), rng.uniform(2, 10), rng.uniform(4, 30))),
        kind=kind,
        instance=rng.choice((0, 0, 1)),
        pick=rng.randrange(100),
    )
    match kind:
        case "change" | "again":
            return replace(step, wish=_wish(rng))
        case "replan":
            return replace(step, plan=_edited(rng, plan))
        case "exist":
            return replace(step, mark=rng.choice(MARKS))
        case "list":
            return replace(step, letters=_some(rng))
        case "blink":
            return replace(step, seconds=rng.choice((0.05, 1.0, 5.0)), letters=rng.choice(((), (), _some(rng))))
        case "fault" | "stale":
            fault = "stale" if kind == "stale" else rng.choice(FAULTS)
            methods = frozenset({"GET"}) if kind == "stale" else rng.choice(_METHODS)
            path = "limit=" if kind == "stale" else ""
            seconds, rate = rng.choice((0.5, 5.0, 20.0)), rng.choice((0.1, 0.3, 1.0))
            return replace(step, fault=fault, seconds=seconds, rate=rate, methods=methods, path=path)
        case "delay" | "silence" | "crash" | "hold" | "suspend":
            return replace(step, seconds=rng.choice((0.01, 1.0, 8.0)))
    return step


def _scene(rng: random.Random) -> list[PolicyStep]:
    """A few steps in an order that matters, often with a crash just after the last one."""
    begin_s, instance = rng.uniform(3, 25), rng.choice((0, 0, 1))
    wish = replace(_wish(rng), items=tuple(_LETTERS))

    def then(after_s: float, kind: str, **more: Any) -> PolicyStep:
        # An `allow` of this pick is for the present generation.
        return PolicyStep(at_s=begin_s + after_s, kind=kind, instance=instance, **{"pick": 1, **more})

    pick = rng.randrange(100)
    scenes = {
        "shrinks": [
            then(0, "change", wish=wish),
            then(3, "change", wish=replace(wish, items=("u",))),
            then(rng.choice((3, 5)), "allow"),
        ],
        "is emptied": [
            then(0, "list", letters=tuple(_LETTERS)),
            then(3, "blink", letters=(), seconds=4.0),
            then(rng.choice((3, 5)), "allow"),
        ],
        "is overtaken": [
            then(0, "hush", seconds=4.0),
            then(1, rng.choice(("scale", "take", "share", "edit", "kill")), pick=pick),
            then(rng.choice((1.02, 2)), "change", wish=wish),
        ],
        "is recreated": [then(0, "change", wish=replace(wish, value="a")), then(3, "change", wish=wish)],
        "is scaled": [
            then(0, "scale", pick=pick),
            then(rng.choice((0.01, 2)), "change", wish=wish),
            then(4, "take", pick=pick),
            then(rng.choice((4.02, 6)), "free", pick=pick),
        ],
        "is kept": [then(0, "change", wish=wish), then(3, "again", wish=_wish(rng))],
    }
    steps = scenes[rng.choice(sorted(scenes))]
    if rng.random() < 0.5:
        crash = then(0, "crash", seconds=rng.choice((0.01, 1.0)))
        steps.append(replace(crash, at_s=steps[-1].at_s + rng.uniform(0, 0.3)))
    return steps


def _edited(rng: random.Random, plan: Plan) -> Plan:
    """The definition without one of its resources, or with other policies for all of them."""
    if len(plan.nodes) > 1 and rng.random() < 0.6:
        gone = rng.choice(plan.nodes).id
        kept = (node for node in plan.nodes if node.id != gone)
        return replace(plan, nodes=tuple(replace(n, needs="" if n.needs == gone else n.needs) for n in kept))
    return _consistent(replace(plan, words=_chosen(rng, "", 0.4)))


def instance_of(number: int) -> str:
    return f"i{number}"


def child_key(node: Policed, name: str) -> Key:
    return Key(node.resource, HOME, name)
