"""Forecasts by hand."""

from typing import Any

from kroasync.engine.difference import difference
from kroasync.model.objects import Key, Obj, Resource
from kroasync.planning.forecast import (
    DefinitionForecast,
    Forecast,
    InstanceForecast,
    PlannedStep,
    SchemaStep,
    UnfitInstance,
    Verb,
)

WEB = Resource("kro.run", "v1alpha1", "WebApplication", "webapplications")
DEPLOYMENT = Resource("apps", "v1", "Deployment", "deployments")
CONFIG_MAP = Resource("", "v1", "ConfigMap", "configmaps")


def deployment(name: str, image: str, replicas: int = 1) -> Obj:
    containers = [{"name": "web", "image": image}, {"name": "log", "image": "log:1"}]
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "namespace": "team"},
        "spec": {"replicas": replicas, "template": {"spec": {"containers": containers}}},
    }


def config_map(name: str, **data: str) -> Obj:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "namespace": "team"}, "data": data}


def web(name: str = "a", namespace: str = "team") -> Key:
    return Key(WEB, namespace, name)


def update(name: str = "a", old: str = "web:1", new: str = "web:2", **more: Any) -> PlannedStep:
    before, after = deployment(name, old), deployment(name, new)
    fields = difference(before, after)
    key = Key(DEPLOYMENT, "team", name)
    return PlannedStep(verb=Verb.UPDATE, node="deployment", key=key, fields=fields, before=before, after=after, **more)


def create(name: str = "a", **more: Any) -> PlannedStep:
    key = Key(CONFIG_MAP, "team", name)
    return PlannedStep(verb=Verb.CREATE, node="config", key=key, after=config_map(name, size="1"), **more)


def delete(name: str = "a", **more: Any) -> PlannedStep:
    key = Key(CONFIG_MAP, "team", name)
    return PlannedStep(verb=Verb.DELETE, node="old", key=key, before=config_map(name, size="1"), **more)


def step(verb: Verb, name: str = "a", **more: Any) -> PlannedStep:
    return PlannedStep(verb=verb, node=more.pop("node", "config"), key=Key(CONFIG_MAP, "team", name), **more)


def instance(name: str = "a", *steps: PlannedStep, **more: Any) -> InstanceForecast:
    return InstanceForecast(key=web(name), steps=steps, **more)


def definition(name: str = "webapplication", **more: Any) -> DefinitionForecast:
    more.setdefault("verb", Verb.UPDATE)
    return DefinitionForecast(name=name, kind="WebApplication", crd="webapplications.kro.run", **more)


def misfit(name: str) -> UnfitInstance:
    return UnfitInstance(key=web(name), problems=("spec.replicas: expected integer, found string",))


def large() -> Forecast:
    """Of everything more than fits a screen."""
    schema = tuple(SchemaStep(path=f"spec.field{n}", text="removed", breaking=n % 2 == 0) for n in range(40))
    misfits = tuple(misfit(f"w{n}") for n in range(9))
    definitions = tuple(definition(f"d{n}", schema=schema, misfits=misfits, instances=200) for n in range(12))
    same = [instance(f"web{n}", update(f"web{n}"), create(f"web{n}")) for n in range(200)]
    different = [instance(f"other{n}", update(f"other{n}", new=f"web:{n}-x")) for n in range(20)]
    drifting = [instance("drifting", drift=(update("drifting"),))]
    broken = [InstanceForecast(key=web(f"broken{n}"), error=f"forbidden number {n}") for n in range(9)]
    return Forecast(definitions=definitions, instances=(*same, *different, *drifting, *broken), dry_run="none")
