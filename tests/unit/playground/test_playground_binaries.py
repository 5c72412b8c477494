"""The sources of programs: installed ones first, then the cache, then Go (here a script that acts as Go)."""

from __future__ import annotations

import os
import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from kroasync.playground.binaries import (
    Binaries,
    cache_folder,
    cache_key,
    ensure_binary,
    needs_build,
    remove_cache,
)
from kroasync.playground.plane_errors import BuildError, PlaygroundError
from kroasync.playground.progress import Step
from kroasync.playground.recipes import RECIPE_OF

_GO = """#!/bin/sh
case "$1 $2" in
  "env GOVERSION") echo go1.26.0;;
  "list -m") echo "$FAKE_MODULE";;
  "list -deps") echo "go: downloading example.test/x v1.0.0" >&2; echo a/x; echo a/y; echo a/z;;
  build*)
    echo built >> "$FAKE_LOG"
    if [ -n "$FAKE_FAILURE" ]; then
      echo a/x; echo '# a/y'; echo "y.go:1:2: $FAKE_FAILURE"; exit 1
    fi
    echo a/x; echo a/y
    while [ "$1" != -o ]; do shift; done
    echo program > "$2"; /bin/chmod +x "$2";;
esac
"""


@pytest.fixture
def builds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine with that Go, an empty cache, and no installed program; the file has a line for each build."""
    program = tmp_path / "bin" / "go"
    program.parent.mkdir()
    program.write_text(_GO)
    program.chmod(0o755)
    stage = tmp_path / "module" / "kustomize" / "stage" / "pod" / "fast"
    stage.mkdir(parents=True)
    (stage / "pod-ready.yaml").write_text("kind: Stage\n")
    (stage / "kustomization.yaml").write_text("kind: Kustomization\n")
    for file in (stage / "pod-ready.yaml", stage):
        file.chmod(0o555)  # as in Go's module cache
    monkeypatch.setenv("PATH", str(program.parent))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("FAKE_LOG", str(tmp_path / "builds"))
    monkeypatch.setenv("FAKE_MODULE", str(tmp_path / "module"))
    monkeypatch.delenv("KUBEBUILDER_ASSETS", raising=False)
    return tmp_path / "builds"


def test_program_is_built_once_and_then_cached(builds: Path) -> None:
    assert needs_build("etcd")
    first = ensure_binary("etcd")
    assert not needs_build("etcd")
    assert first.parent == cache_folder() / cache_key(RECIPE_OF["etcd"])
    assert os.access(first, os.X_OK)
    assert ensure_binary("etcd") == first
    assert builds.read_text() == "built\n"


def test_progress_tells_what_is_fetched_and_compiled(builds: Path) -> None:
    steps: list[Step] = []
    ensure_binary("etcd", progress=steps.append)
    assert {step.what for step in steps} == {"etcd v3.6.16"}
    seen = list(dict.fromkeys((step.phase, step.done, step.total) for step in steps))
    assert seen == [
        ("downloading", 0, None),
        ("downloading", 1, None),
        ("compiling", 0, 3),
        ("compiling", 1, 3),
        ("compiling", 2, 3),
        ("done", 2, 3),
    ]


def test_failed_build_shows_the_compilers_words_and_caches_nothing(
    builds: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAKE_FAILURE", "undefined: y")
    with pytest.raises(BuildError) as failure:
        ensure_binary("etcd")
    assert str(failure.value) == (
        "building etcd v3.6.16 failed: `go build` ended with status 1\n# a/y\ny.go:1:2: undefined: y"
    )
    assert [entry.suffix for entry in cache_folder().iterdir()] == [".lock"]


def test_concurrent_builds_of_one_program_are_one_build(builds: Path) -> None:
    with ThreadPoolExecutor(4) as pool:
        paths = set(pool.map(lambda _: ensure_binary("etcd"), range(4)))
    assert len(paths) == 1
    assert builds.read_text() == "built\n"


def test_leftovers_of_a_killed_build_are_removed(builds: Path) -> None:
    leftover = cache_folder() / f"{cache_key(RECIPE_OF['etcd'])}.killed"
    leftover.mkdir(parents=True)
    ensure_binary("etcd")
    assert not leftover.exists()


def test_kwok_is_cached_with_its_stages(builds: Path) -> None:
    stages = Binaries.ensure(["kwok"]).kwok_stages()
    assert [stage.name for stage in stages] == ["pod-ready.yaml"]
    assert stages[0].is_relative_to(cache_folder())
    assert remove_cache() > 0
    assert not cache_folder().exists()


def test_ready_programs_are_taken_one_by_one(builds: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assets = tmp_path / "assets"
    assets.mkdir()
    for name in ("etcd", "kwok"):
        (assets / name).write_text("")
        (assets / name).chmod(0o755)
    (assets / "helm").write_text("")  # not executable
    monkeypatch.setenv("KUBEBUILDER_ASSETS", str(assets))
    assert ensure_binary("etcd") == assets / "etcd"
    assert ensure_binary("helm").is_relative_to(cache_folder())
    assert ensure_binary("kwok").is_relative_to(cache_folder())  # its stages are missing
    (assets / "kwok-data").mkdir()
    assert ensure_binary("kwok") == assets / "kwok"


def test_kubectl_of_the_user_is_preferred(builds: Path, tmp_path: Path) -> None:
    assert ensure_binary("kubectl").is_relative_to(cache_folder())
    own = tmp_path / "bin" / "kubectl"
    own.write_text("")
    own.chmod(0o755)
    assert ensure_binary("kubectl") == own


def test_unknown_program_is_answered_with_the_known_ones() -> None:
    with pytest.raises(PlaygroundError, match="unknown program 'docker'; known: etcd, helm, kube-apiserver"):
        ensure_binary("docker")


@pytest.mark.parametrize("cache_home", ["", "relative"])
def test_cache_is_below_home_unless_the_variable_is_an_absolute_path(
    cache_home: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", cache_home)
    assert cache_folder() == tmp_path / ".cache" / "kroasync" / "playground"


def test_cache_key_has_version_and_machine_and_differs_by_recipe() -> None:
    keys = {cache_key(recipe) for recipe in RECIPE_OF.values()}
    assert len(keys) == 5
    assert all(re.fullmatch(r"[a-z]+-v[0-9.]+-[a-z]+-\w+-[0-9a-f]{12}", key) for key in keys)
