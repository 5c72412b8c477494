"""Finds the programs of the playground: in KUBEBUILDER_ASSETS, the user's kubectl, or built once into the user's cache,
with one folder for each recipe and content of its go.mod and go.sum.

A folder in the cache is always complete, because it is built elsewhere and then renamed. A lock file prevents two
processes from building the same recipe at the same time.
"""

from __future__ import annotations

import hashlib
import os
import platform
import shutil
import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from kroasync.playground.go_build import build
from kroasync.playground.locks import lock
from kroasync.playground.plane_errors import BuildError, PlaygroundError
from kroasync.playground.progress import Progress, Step, silent
from kroasync.playground.recipes import RECIPE_OF, Recipe

_OTHER_BUILD_TIMEOUT_S = 3600.0

CONTROL_PLANE = ("etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "kwok", "kubectl")


def cache_folder() -> Path:
    """Where built programs are kept: `$XDG_CACHE_HOME/kroasync/playground`, or below ~/.cache."""
    home = os.environ.get("XDG_CACHE_HOME", "")
    return (Path(home) if os.path.isabs(home) else Path.home() / ".cache") / "kroasync" / "playground"


@dataclass(frozen=True, slots=True)
class Binaries:
    """Programs by name. A missing program is built on first use."""

    _paths: dict[str, Path] = field(default_factory=dict)
    _progress: Progress = silent

    @classmethod
    def ensure(cls, names: Iterable[str] = CONTROL_PLANE, *, progress: Progress = silent) -> Binaries:
        """All of `names`; missing programs are built.

        Raises GoError, BuildError, or PlaygroundError for an unknown name.
        """
        binaries = cls({}, progress)
        for name in names:
            binaries.path(name)
        return binaries

    def path(self, name: str) -> Path:
        """The program's file."""
        if name not in self._paths:
            self._paths[name] = ensure_binary(name, progress=self._progress)
        return self._paths[name]

    def kwok_stages(self) -> tuple[Path, ...]:
        """The files of kwok that define how nodes and pods behave."""
        data = self.path("kwok").parent / "kwok-data"
        folders = ("node/fast", "pod/fast", "node/heartbeat-with-lease")
        return tuple(
            file
            for folder in folders
            for file in sorted((data / folder).glob("*.yaml"))
            if file.name != "kustomization.yaml"
        )


def ensure_binary(name: str, *, progress: Progress = silent) -> Path:
    """The file of one program: a ready one, a cached one, or a newly built one."""
    recipe = RECIPE_OF.get(name)
    if recipe is None:
        raise PlaygroundError(f"unknown program {name!r}; known: {', '.join(sorted(RECIPE_OF))}")
    return ready_binary(name) or _cached(recipe, progress=progress) / name


def needs_build(name: str) -> bool:
    """Whether `ensure_binary` would have to build the known program."""
    return ready_binary(name) is None and not (cache_folder() / cache_key(RECIPE_OF[name])).is_dir()


def ready_binary(name: str) -> Path | None:
    """A program that needs no build: in KUBEBUILDER_ASSETS, or the user's own kubectl."""
    assets = os.environ.get("KUBEBUILDER_ASSETS", "")
    if assets:
        file = Path(assets) / name
        complete = not RECIPE_OF[name].data or (Path(assets) / f"{name}-data").is_dir()
        if complete and os.access(file, os.X_OK) and file.is_file():
            return file.absolute()
    if name == "kubectl" and (own := shutil.which("kubectl")):
        return Path(own)
    return None


def cache_key(recipe: Recipe) -> str:
    """Folder name in the cache; changes with version, sums, link flags and machine."""
    digest = hashlib.sha256(recipe.link_flags.encode())
    for name in ("go.mod", "go.sum"):
        digest.update((recipe.source / name).read_bytes())
    machine = f"{platform.system()}-{platform.machine()}".lower()
    return f"{recipe.name}-{recipe.version}-{machine}-{digest.hexdigest()[:12]}"


def remove_cache() -> int:
    """Remove all built programs; returns how many bytes that frees. Running playgrounds stay up."""
    freed = folder_size(cache_folder())
    if cache_folder().exists():
        shutil.rmtree(cache_folder())
    return freed


def folder_size(folder: Path) -> int:
    """Bytes in all files below `folder`."""
    return sum(file.lstat().st_size for file in folder.rglob("*") if not file.is_dir())


def _cached(recipe: Recipe, *, progress: Progress) -> Path:
    folder = cache_folder() / cache_key(recipe)
    if folder.is_dir():
        return folder
    cache_folder().mkdir(parents=True, exist_ok=True)
    with _locked(folder.with_name(f"{folder.name}.lock"), recipe=recipe, progress=progress):
        if not folder.is_dir():  # no other process finished it meanwhile
            _build_into(folder, recipe=recipe, progress=progress)
    return folder


def _build_into(folder: Path, *, recipe: Recipe, progress: Progress) -> None:
    for aborted in folder.parent.glob(f"{folder.name}.*"):
        if aborted.is_dir():  # left by a build that was killed; the lock proves that nobody uses it
            shutil.rmtree(aborted)
    with tempfile.TemporaryDirectory(prefix=f"{folder.name}.", dir=folder.parent) as aside:
        workspace, programs = Path(aside) / "module", Path(aside) / "programs"
        workspace.mkdir()
        programs.mkdir()
        build(recipe, into=programs, workspace=workspace, progress=progress)
        programs.rename(folder)


@contextmanager
def _locked(file: Path, *, recipe: Recipe, progress: Progress) -> Iterator[None]:
    """Hold the lock file, reporting while another process holds it.

    The kernel releases it when its holder ends.
    """
    started = time.monotonic()
    what = f"{recipe.name} {recipe.version}"
    with file.open("w") as opened:
        if not lock(
            opened.fileno(),
            timeout_s=_OTHER_BUILD_TIMEOUT_S,
            waiting=lambda: progress(Step(what=what, phase="waiting", elapsed_s=time.monotonic() - started)),
        ):
            raise BuildError(f"another process has been building {what} for an hour; end it ({file})")
        yield
