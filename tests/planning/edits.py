"""A definition with every kind of node and policy, its instances, and edits of them that a seed chooses."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from random import Random
from typing import Any, Final

from kroasync.model.names import ANNOTATION_ALLOW_PRUNE
from kroasync.model.objects import Obj
from tests.integration.cluster import Cluster, Lab, config, config_map, node

KIND: Final = "Planned"
SHARED: Final = {"labels": {"shared": "yes"}}
_RIVAL: Final = "rival"


@dataclass(slots=True)
class Wanted:
    """What the files say. Each edit changes something of it."""

    lab: Lab
    names: list[str]
    specs: dict[str, Obj] = field(default_factory=dict)
    constant: str = "first"
    suffix: str = ""
    default: str = "one"
    gate: str = "true"
    added: list[str] = field(default_factory=list)
    more_status: bool = False
    had_status: bool = False
    frozen: str = "cold"
    update: str = "Recreate"
    conflicts: str = "Force"
    deletion: str = "Delete"
    has_kept: bool = True
    limit: int | str = "50%"
    is_refused: bool = False
    occupied: str = ""
    # By instance: the generation for which a held prune is allowed.
    allowed: dict[str, str] = field(default_factory=dict)
    count: int = 0

    def definition(self) -> Obj:
        data = {"constant": self.constant, "value": "${schema.spec.value}"}
        if self.is_refused:
            data["forbidden"] = "yes"
        secret = {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": "${schema.metadata.name}-secret"},
            "stringData": {"token": f"{self.constant}-token"},
        }
        frozen = config("frozen", data={"value": self.frozen}, policy={"update": self.update})
        frozen["template"]["immutable"] = True
        limit = {"policy": {"maxPrune": self.limit}} if self.limit else {}
        shared = {
            "id": "shared",
            "externalRef": {
                "apiVersion": "v1",
                "kind": "ConfigMap",
                "metadata": {"namespace": self.lab.namespace, "selector": {"matchLabels": {"shared": "yes"}}},
            },
        }
        name = "${schema.metadata.name}"
        resources = [
            config("config", f"{name}-config{self.suffix}", data=data),
            node("secret", secret),
            frozen,
            config("after", data={"of": "${frozen.metadata.uid}", "value": "${config.data.value}"}),
            config("pieces", f"{name}-item-${{x}}", {"x": "${x}"}, forEach=[{"x": "${schema.spec.items}"}], **limit),
            config("extra", data={"a": "b"}, includeWhen=[f"${{schema.spec.extra && {self.gate}}}"]),
            config("scaled", data={"shared": self.constant}, policy={"conflicts": self.conflicts}),
            config("once", data={"value": "${schema.spec.value}"}, policy={"update": "Once"}),
            shared,
            config("copies", f"{name}-of-${{y.metadata.name}}", {"y": "1"}, forEach=[{"y": "${shared}"}], **limit),
            *(config(one, data={"added": "${config.metadata.name}"}) for one in self.added),
        ]
        if self.has_kept:
            resources.append(config("kept", data={"k": self.constant}, policy={"deletion": self.deletion}))
        status = {
            "config": "${config.metadata.name}",
            **({"more": "${secret.metadata.name}"} if self.more_status else {}),
        }
        spec = {
            "value": f'string | default="{self.default}"',
            "items": '[]string | default=["a","b","c"]',
            "extra": "boolean | default=true",
        }
        return self.lab.definition(KIND, resources, spec=spec, status=status)

    def instance(self, name: str) -> Obj:
        notes = {"annotations": {ANNOTATION_ALLOW_PRUNE: self.allowed[name]}} if name in self.allowed else {}
        return {
            "apiVersion": f"{self.lab.group}/v1alpha1",
            "kind": KIND,
            "metadata": {"name": name, "namespace": self.lab.namespace, **notes},
            "spec": self.specs.get(name, {}),
        }

    def some(self, chance: Random) -> list[str]:
        """A few instances, at most ten."""
        return chance.sample(self.names, k=min(len(self.names), chance.randint(1, 10)))

    def put(self, chance: Random, **spec: Any) -> None:
        for name in self.some(chance):
            self.specs[name] = {**self.specs.get(name, {}), **spec}

    def recover(self) -> bool:
        """Undo what keeps everything else from happening; True if there was something."""
        before = repr((self.definition(), self.specs, self.allowed))
        self.is_refused, self.update, self.more_status = False, "Recreate", self.had_status
        if self.occupied in self.added:
            self.added.remove(self.occupied)
        self.allowed = {}
        for spec in self.specs.values():
            if spec.get("items") == []:
                del spec["items"]
        return before != repr((self.definition(), self.specs, self.allowed))

    def fresh(self) -> str:
        """A word that was not used yet."""
        self.count += 1
        return f"w{self.count}"


Change = Callable[[Wanted, Random], None]


def _value(wanted: Wanted, _: Random) -> None:
    wanted.constant = wanted.fresh()


def _add(wanted: Wanted, _: Random) -> None:
    wanted.added.append(f"added{wanted.fresh()}")


def _drop(wanted: Wanted, chance: Random) -> None:
    if wanted.added:
        wanted.added.remove(chance.choice(wanted.added))
    else:
        wanted.has_kept = not wanted.has_kept


def _rename(wanted: Wanted, _: Random) -> None:
    wanted.suffix = f"-{wanted.fresh()}"


def _grow(wanted: Wanted, chance: Random) -> None:
    wanted.put(chance, items=["a", "b", "c", "d", wanted.fresh()])


def _shrink(wanted: Wanted, chance: Random) -> None:
    wanted.put(chance, items=["a", "b"])


def _empty(wanted: Wanted, chance: Random) -> None:
    """More than `maxPrune` allows, if it is set."""
    wanted.put(chance, items=[])


def _refill(wanted: Wanted, _: Random) -> None:
    for spec in wanted.specs.values():
        spec.pop("items", None)


def _toggle(wanted: Wanted, chance: Random) -> None:
    wanted.put(chance, extra=chance.random() < 0.5)


def _gate(wanted: Wanted, _: Random) -> None:
    wanted.gate = "false" if wanted.gate == "true" else "true"


def _default(wanted: Wanted, _: Random) -> None:
    wanted.default = wanted.fresh()


def _status(wanted: Wanted, _: Random) -> None:
    """A new field; if there is one, without it, which the controller refuses."""
    wanted.more_status = not wanted.more_status
    wanted.had_status = True


def _spec(wanted: Wanted, chance: Random) -> None:
    wanted.put(chance, value=wanted.fresh())


def _policies(wanted: Wanted, chance: Random) -> None:
    wanted.conflicts = chance.choice(["Force", "Yield", "Fail"])
    wanted.deletion = chance.choice(["Delete", "Orphan"])
    wanted.limit = ("50%", "", 1)[chance.randrange(3)]


def _freeze(wanted: Wanted, chance: Random) -> None:
    wanted.frozen = wanted.fresh()
    wanted.update = chance.choice(["Recreate", "Recreate", "Apply"])


def _refuse(wanted: Wanted, _: Random) -> None:
    """What the admission policy of `guard` denies."""
    wanted.is_refused = True


def _new(wanted: Wanted, _: Random) -> None:
    wanted.names.append(wanted.fresh())


def _nothing(wanted: Wanted, _: Random) -> None:
    """The files change nothing; what happens is drift."""


Stir = Callable[[Wanted, Random, Cluster], None]


def _rival(wanted: Wanted, chance: Random, cluster: Cluster) -> None:
    """Another manager takes a field of some children."""
    for name in wanted.some(chance):
        cluster.apply(config_map(f"{name}-scaled", wanted.lab.namespace, {"shared": wanted.fresh()}), manager=_RIVAL)


def _yielding(wanted: Wanted, chance: Random, cluster: Cluster) -> None:
    """The rival gives up all its fields."""
    for name in wanted.names:
        cluster.apply(config_map(f"{name}-scaled", wanted.lab.namespace, {}), manager=_RIVAL)


def _vanish(wanted: Wanted, chance: Random, cluster: Cluster) -> None:
    """The objects of the external reference vanish, or come back."""
    path = cluster.path("ConfigMap", wanted.lab.namespace)
    if cluster.list(path, "shared=yes"):
        for name in ("s1", "s2"):
            cluster.delete(f"{path}/{name}")
    else:
        share(wanted.lab)


def _remove(wanted: Wanted, chance: Random, cluster: Cluster) -> None:
    """Somebody deletes children."""
    for name in wanted.some(chance):
        cluster.delete(wanted.lab.child_path("ConfigMap", f"{name}-after"))


def _allow(wanted: Wanted, chance: Random, cluster: Cluster) -> None:
    """Held prunes are allowed for the present generation."""
    for name in wanted.names:
        wanted.allowed[name] = str(wanted.lab.read(KIND, name)["metadata"]["generation"])


def _occupy(wanted: Wanted, chance: Random, cluster: Cluster) -> None:
    """Somebody has an object of a name that the next edit declares."""
    names = wanted.some(chance)
    word = wanted.fresh()
    wanted.occupied = f"added{word}"
    wanted.added.append(wanted.occupied)
    for index, name in enumerate(names):
        marks = {"annotations": {"meta.helm.sh/release-name": "other"}} if index % 2 else {}
        cluster.apply(config_map(f"{name}-added{word}", wanted.lab.namespace, {"added": "before"}, **marks))


EDITS: Final[Mapping[str, Change]] = {
    "change a value": _value,
    "freeze": _freeze,
    "grow": _grow,
    "add a resource": _add,
    "shrink": _shrink,
    "rename": _rename,
    "empty a collection": _empty,
    "toggle": _toggle,
    "refill": _refill,
    "be refused": _refuse,
    "drop a resource": _drop,
    "edit instances": _spec,
    "change a default": _default,
    "gate": _gate,
    "change the status": _status,
    "change policies": _policies,
    "create an instance": _new,
}
STIRS: Final[Mapping[str, Stir]] = {
    "a rival": _rival,
    "no rival": _yielding,
    "external objects vanish or come": _vanish,
    "children vanish": _remove,
    "names are taken": _occupy,
    "allow prunes": _allow,
}


def share(lab: Lab) -> None:
    for name in ("s1", "s2"):
        lab.cluster.apply(config_map(name, lab.namespace, {"s": name}, **SHARED))


def guard(lab: Lab) -> None:
    """Let the API server deny ConfigMaps of the lab with the key `forbidden`."""
    api = "admissionregistration.k8s.io/v1"
    name = f"planned-{lab.namespace}"
    rule = {"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE", "UPDATE"], "resources": ["configmaps"]}
    policy = {
        "apiVersion": api,
        "kind": "ValidatingAdmissionPolicy",
        "metadata": {"name": name},
        "spec": {
            "matchConstraints": {"resourceRules": [rule]},
            "validations": [
                {"expression": "!has(object.data) || !('forbidden' in object.data)", "message": "no such key"}
            ],
        },
    }
    selector = {"matchLabels": {"kubernetes.io/metadata.name": lab.namespace}}
    binding = {
        "apiVersion": api,
        "kind": "ValidatingAdmissionPolicyBinding",
        "metadata": {"name": name},
        "spec": {
            "policyName": name,
            "validationActions": ["Deny"],
            "matchResources": {"namespaceSelector": selector},
        },
    }
    for kind, obj in (("validatingadmissionpolicies", policy), ("validatingadmissionpolicybindings", binding)):
        lab.cluster.call(
            "PATCH",
            f"/apis/{api}/{kind}/{name}?fieldManager=test&force=true",
            obj,
            content_type="application/apply-patch+yaml",
        )


def unguard(lab: Lab) -> None:
    for kind in ("validatingadmissionpolicies", "validatingadmissionpolicybindings"):
        lab.cluster.delete(f"/apis/admissionregistration.k8s.io/v1/{kind}/planned-{lab.namespace}")
