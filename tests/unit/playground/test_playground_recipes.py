"""Each recipe agrees with the go.mod in its folder; the package contains both."""

from __future__ import annotations

import pytest

from kroasync.playground.recipes import RECIPE_OF, RECIPES, Recipe

by_name = pytest.mark.parametrize("recipe", RECIPES, ids=lambda recipe: recipe.name)


@by_name
def test_go_mod_names_each_package_as_a_tool(recipe: Recipe) -> None:
    """`go mod tidy` keeps only the sums of what go.mod names."""
    words = (recipe.source / "go.mod").read_text().split()
    assert all(package in words for package in recipe.packages)


@by_name
def test_go_sum_knows_the_module(recipe: Recipe) -> None:
    assert f"{recipe.module} {recipe.version} h1:" in (recipe.source / "go.sum").read_text()


def test_versions_are_read_from_go_mod() -> None:
    versions = {recipe.name: recipe.version for recipe in RECIPES}
    assert versions == {
        "etcd": "v3.6.16",
        "kubernetes": "v1.36.3",
        "kwok": "v0.8.0",
        "kubectl": "v1.36.3",
        "helm": "v3.22.0",
    }


def test_kubernetes_is_told_its_version() -> None:
    assert RECIPE_OF["kube-apiserver"].link_flags == (
        "-s -w -X k8s.io/component-base/version.gitVersion=v1.36.3"
        " -X k8s.io/component-base/version.gitMajor=1 -X k8s.io/component-base/version.gitMinor=36"
    )


def test_every_program_has_one_recipe() -> None:
    programs = [program for recipe in RECIPES for program in recipe.programs]
    assert sorted(programs) == sorted(RECIPE_OF)
