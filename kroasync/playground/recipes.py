"""The programs and their Go modules: one table for the build, the cache and the command line.

Each folder under `modules/` has a go.mod and a go.sum, because kwok and helm need other versions of the Kubernetes
libraries than the server. These files are the only place with versions.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

MODULES = Path(__file__).parent / "modules"


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """One `go build`. `folder` is the module folder; `stamp` has the link variables that are set to the version."""

    name: str
    folder: str
    module: str
    packages: tuple[str, ...]
    programs: tuple[str, ...]
    stamp: tuple[str, ...] = ()
    data: str = ""  # a folder of the module that the program needs at run time; copied as `NAME-data`

    @property
    def source(self) -> Path:
        """The folder with go.mod and go.sum."""
        return MODULES / self.folder

    @property
    def version(self) -> str:
        """The version that go.mod requires, with its leading `v`."""
        text = (self.source / "go.mod").read_text(encoding="utf-8")
        found = re.search(rf"^(?:require)?\s*{re.escape(self.module)} (v\S+)", text, re.MULTILINE)
        if found is None:
            raise LookupError(f"{self.folder}/go.mod does not require {self.module}")
        return found[1]

    @property
    def link_flags(self) -> str:
        """Strip symbols, and set the version of the program (built as a dependency, it would report v0.0.0)."""
        major, minor = self.version[1:].split(".")[:2]
        values = {"": self.version, ":major": major, ":minor": minor}
        stamps = [name.partition(":") for name in self.stamp]
        return " ".join(["-s", "-w", *(f"-X {name}={values[colon + part]}" for name, colon, part in stamps)])


_KUBERNETES_STAMP = (
    "k8s.io/component-base/version.gitVersion",
    "k8s.io/component-base/version.gitMajor:major",
    "k8s.io/component-base/version.gitMinor:minor",
)

RECIPES = (
    Recipe(
        name="etcd",
        folder="etcd",
        module="go.etcd.io/etcd/server/v3",
        packages=("go.etcd.io/etcd/server/v3",),
        programs=("etcd",),
    ),
    Recipe(
        name="kubernetes",
        folder="kubernetes",
        module="k8s.io/kubernetes",
        packages=(
            "k8s.io/kubernetes/cmd/kube-apiserver",
            "k8s.io/kubernetes/cmd/kube-controller-manager",
            "k8s.io/kubernetes/cmd/kube-scheduler",
        ),
        programs=("kube-apiserver", "kube-controller-manager", "kube-scheduler"),
        stamp=_KUBERNETES_STAMP,
    ),
    Recipe(
        name="kwok",
        folder="kwok",
        module="sigs.k8s.io/kwok",
        packages=("sigs.k8s.io/kwok/cmd/kwok",),
        programs=("kwok",),
        stamp=("sigs.k8s.io/kwok/pkg/consts.Version",),
        data="kustomize/stage",
    ),
    Recipe(
        name="kubectl",
        folder="kubernetes",
        module="k8s.io/kubernetes",
        packages=("k8s.io/kubernetes/cmd/kubectl",),
        programs=("kubectl",),
        stamp=_KUBERNETES_STAMP,
    ),
    Recipe(
        name="helm",
        folder="helm",
        module="helm.sh/helm/v3",
        packages=("helm.sh/helm/v3/cmd/helm",),
        programs=("helm",),
        stamp=("helm.sh/helm/v3/internal/version.version",),
    ),
)

RECIPE_OF = {program: recipe for recipe in RECIPES for program in recipe.programs}
