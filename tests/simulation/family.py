"""The definitions of the schedules, and the objects that a correct controller creates for their instances.

The model knows nothing of the code under test: `expected` computes the result of CEL, graph and apply in a few lines.
"""

import random
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from kroasync.model.kinds import CRDS, GRAPH_DEFINITIONS, GROUPS
from kroasync.model.objects import Key, Obj, Resource
from tests.samples import CONFIG_MAPS

HOME, OTHER = "default", "other"
EXTERNAL = Key(CONFIG_MAPS, HOME, "outside")
EXTERNAL_TOKEN = "token"


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """One resource of a definition: `each` makes one per item, `toggled` obeys `spec.on`, `renamed` has the value
    in its name, `elsewhere` is in another namespace, `scaled` leaves its replicas to an autoscaler.
    """

    id: str
    needs: tuple[str, ...] = ()
    kind: str = "ConfigMap"
    each: bool = False
    toggled: bool = False
    renamed: bool = False
    elsewhere: bool = False
    scaled: bool = False

    def __str__(self) -> str:
        marks = [name for name in ("each", "toggled", "renamed", "elsewhere", "scaled") if getattr(self, name)]
        needs = f"<-{'+'.join(self.needs)}" if self.needs else ""
        return f"{self.id}:{self.kind}{needs}" + "".join(f"/{mark}" for mark in marks)


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """A definition. With `external`, the first node reads an object nobody manages."""

    nodes: tuple[Node, ...]
    external: bool = False

    def __str__(self) -> str:
        return " ".join(["outside"] * self.external + [str(node) for node in self.nodes])

    def node(self, id_: str) -> Node | None:
        return next((n for n in self.nodes if n.id == id_), None)

    def dependents(self, id_: str) -> set[str]:
        """Every node that needs this one, directly or not."""
        found: set[str] = set()
        for node in self.nodes:
            if id_ in node.needs or found.intersection(node.needs):
                found.add(node.id)
        return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Spec:
    """What a user asks for in an instance."""

    value: str = "a"
    replicas: int = 1
    on: bool = True
    items: tuple[str, ...] = ("x",)

    def __str__(self) -> str:
        return f"{self.value} {self.replicas} {'on' if self.on else 'off'} [{','.join(self.items)}]"

    def manifest(self) -> Obj:
        return {"value": self.value, "replicas": self.replicas, "on": self.on, "items": list(self.items)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """The place and kind of a definition: a ResourceGroup in `namespace`, or cluster-scoped without a namespace."""

    kind: int
    name: int
    namespace: str = ""

    @property
    def key(self) -> Key:
        return Key(GROUPS if self.namespace else GRAPH_DEFINITIONS, self.namespace, kind_of(self.name).lower())

    def __str__(self) -> str:
        return f"{self.key} for {kind_of(self.kind)}"


def kind_of(kind: int) -> str:
    return ("Widget", "Gadget", "Gizmo")[kind]


def resource_of(kind: int) -> Resource:
    name = kind_of(kind)
    return Resource("kro.run", "v1alpha1", name, name.lower() + "s")


def definition_key(definition: int) -> Key:
    """The place of a definition that alone generates its kind."""
    return Place(kind=definition, name=definition).key


def crd_of(kind: int) -> Key:
    resource = resource_of(kind)
    return Key(CRDS, "", f"{resource.plural}.{resource.group}")


AWAY = -1
"""The number of the instance that is in the other namespace."""


def instance_key(kind: int, instance: int) -> Key:
    if instance == AWAY:
        return Key(resource_of(kind), OTHER, "away")
    return Key(resource_of(kind), HOME, f"i{instance}")


def random_shape(rng: random.Random) -> Shape:
    """A chain, a diamond, a fan or any small graph."""
    count = rng.randint(1, 4)
    form = rng.choice(("chain", "diamond", "fan", "any"))
    nodes: list[Node] = []
    for number in range(count):
        before = [n.id for n in nodes]
        if form == "chain":
            needs = before[-1:]
        elif form == "diamond":
            needs = before[1:3] if number == 3 else before[:1]
        elif form == "fan":
            needs = before[:1]
        else:
            needs = rng.sample(before, rng.randint(0, len(before)))
        each = rng.random() < 0.2
        kind = rng.choice(("ConfigMap", "ConfigMap", "Deployment")) if not each else "ConfigMap"
        nodes.append(
            Node(
                id="abcd"[number],
                needs=tuple(sorted(needs)),
                kind=kind,
                scaled=kind == "Deployment" and rng.random() < 0.3,
                each=each,
                toggled=number > 0 and rng.random() < 0.25,
                renamed=rng.random() < 0.2,
                elsewhere=rng.random() < 0.15,
            )
        )
    return Shape(nodes=tuple(nodes), external=rng.random() < 0.2)


def random_spec(rng: random.Random) -> Spec:
    return Spec(
        value=rng.choice("abc"),
        replicas=rng.randint(1, 2),
        on=rng.random() < 0.7,
        items=tuple(rng.sample("xyz", rng.randint(0, 3))),
    )


def manifest(definition: int, shape: Shape, place: Place | None = None) -> Obj:
    """The definition of a shape: a ResourceGraphDefinition, or a ResourceGroup if its place is in a namespace."""
    place = place or Place(kind=definition, name=definition)
    kind, key = kind_of(place.kind), place.key
    meta = {"name": key.name, **({"namespace": key.namespace} if key.namespace else {})}
    resources = [_resource(kind.lower(), shape, node) for node in shape.nodes]
    if shape.external:
        reference = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": EXTERNAL.name, "namespace": HOME}}
        resources.insert(0, {"id": "outside", "externalRef": reference})
    fields = {
        "value": "string | default=a",
        "replicas": "integer | default=1",
        "on": "boolean | default=true",
        "items": "[]string",
    }
    return {
        "apiVersion": key.resource.api_version,
        "kind": key.resource.kind,
        "metadata": meta,
        "spec": {"schema": {"apiVersion": "v1alpha1", "kind": kind, "spec": fields}, "resources": resources},
    }


def _resource(prefix: str, shape: Shape, node: Node) -> Obj:
    name = f"${{schema.metadata.name}}-{prefix}-{node.id}"
    if node.renamed:
        name += "-${schema.spec.value}"
    if node.each:
        name += "-${letter}"
    reads = {f"from-{needed}": _reading(shape, needed) for needed in node.needs}
    if shape.external and node is shape.nodes[0]:
        reads["from-outside"] = "${outside.data.token}"
    meta: Obj = {"name": name}
    if node.elsewhere:
        meta["namespace"] = OTHER
    if node.kind == "ConfigMap":
        template: Obj = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta}
        template["data"] = {"value": "${schema.spec.value}", **reads}
    else:
        meta["annotations"] = {"value": "${schema.spec.value}", **reads}
        labels = {"app": "${schema.metadata.name}"}
        template = {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": meta,
            "spec": {
                **({} if node.scaled else {"replicas": "${schema.spec.replicas}"}),
                "selector": {"matchLabels": labels},
                "template": {
                    "metadata": {"labels": labels},
                    "spec": {"containers": [{"name": "main", "image": "app:${schema.spec.value}"}]},
                },
            },
        }
    resource: Obj = {"id": node.id, "template": template}
    if node.kind == "Deployment":
        resource["readyWhen"] = [f"${{{node.id}.status.availableReplicas == {node.id}.spec.replicas}}"]
    if node.each:
        resource["forEach"] = [{"letter": "${schema.spec.items}"}]
    if node.toggled:
        resource["includeWhen"] = ["${schema.spec.on}"]
    return resource


def _reading(shape: Shape, needed: str) -> str:
    node = shape.node(needed)
    assert node is not None
    return f"${{string(size({needed}))}}" if node.each else f"${{{needed}.metadata.name}}"


Child = tuple[str, str, str]
"""Kind, namespace and name."""


def expected(kind: int, shape: Shape, instance: int, spec: Spec) -> dict[Child, tuple[str, Obj]]:
    """The node and the significant fields of every child that an instance must have."""
    prefix, owner = kind_of(kind).lower(), instance_key(kind, instance)
    found: dict[Child, tuple[str, Obj]] = {}
    left_out: set[str] = set()
    names: dict[str, list[str]] = {}
    for node in shape.nodes:
        if (node.toggled and not spec.on) or left_out.intersection(node.needs):
            left_out.add(node.id)
            continue
        name = f"{owner.name}-{prefix}-{node.id}" + (f"-{spec.value}" if node.renamed else "")
        names[node.id] = [f"{name}-{item}" for item in spec.items] if node.each else [name]
        fields = {"value": spec.value}
        for needed in node.needs:
            needed_node = shape.node(needed)
            assert needed_node is not None
            fields[f"from-{needed}"] = str(len(names[needed])) if needed_node.each else names[needed][0]
        if shape.external and node is shape.nodes[0]:
            fields["from-outside"] = EXTERNAL_TOKEN
        content: Obj = {"fields": fields}
        if node.kind == "Deployment":
            if not node.scaled:
                content["replicas"] = spec.replicas
            content["image"] = f"app:{spec.value}"
        for child in names[node.id]:
            found[node.kind, OTHER if node.elsewhere else owner.namespace, child] = (node.id, content)
    return found


def telling(obj: Mapping[str, Any]) -> Obj:
    """The values of an object's fields that `expected` computes."""
    if obj["kind"] == "ConfigMap":
        return {"fields": obj.get("data", {})}
    fields = {
        k: v for k, v in (obj["metadata"].get("annotations") or {}).items() if k == "value" or k.startswith("from-")
    }
    image = obj["spec"]["template"]["spec"]["containers"][0]["image"]
    return {"fields": fields, "replicas": obj["spec"]["replicas"], "image": image}
