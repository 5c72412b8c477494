"""A short notation for definitions, and the kinds that they may use."""

from pathlib import Path

import pytest

from kroasync.graph.build import build
from kroasync.model.definition import parse_definition
from kroasync.model.manifests import load
from kroasync.schema.catalog import bundled

DATA = Path(__file__).parents[2] / "data" / "graph"


@pytest.fixture(scope="session")
def kinds():
    """The kinds of Kubernetes and of tests/data/graph/crds.yaml."""
    crds = [document.obj for document in load((DATA / "crds.yaml").read_text())]
    return bundled().with_crds(crds)


@pytest.fixture(scope="session")
def define():
    """(resources as YAML text, parts of the schema) -> Definition."""

    def define(resources="[]", *, spec="{}", status="{}", types="{}", kind="Thing", scope="Namespaced", **more):
        def value(text):
            return load(f"value: {text}" if "\n" not in text else "value:\n" + _indented(text))[0].obj["value"]

        obj = {
            "apiVersion": "kro.run/v1alpha1",
            "kind": "ResourceGraphDefinition",
            "metadata": {"name": "thing"},
            "spec": {
                "schema": {
                    "apiVersion": "v1alpha1",
                    "kind": kind,
                    "scope": scope,
                    "spec": value(spec),
                    "types": value(types),
                    "status": value(status),
                    **more,
                },
                "resources": value(resources),
            },
        }
        definition, problems = parse_definition(obj)
        assert definition is not None, problems
        return definition

    return define


@pytest.fixture(scope="session")
def compile(define, kinds):
    """(as `define`) -> Built."""

    def compile(*args, features=frozenset(), **kwargs):
        return build(define(*args, **kwargs), kinds, features=frozenset(features))

    return compile


def _indented(text):
    return "\n".join(f"  {line}" for line in text.splitlines())
