"""The version of Go is checked; if Go is missing or too old, the message says what to install."""

from __future__ import annotations

from pathlib import Path

import pytest

from kroasync.playground import toolchain
from kroasync.playground.plane_errors import GoError


def fake_go(folder: Path, script: str) -> Path:
    folder.mkdir(exist_ok=True)
    program = folder / "go"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    return program


@pytest.mark.parametrize(
    ("text", "version"),
    [
        ("go1.26.8", (1, 26)),
        ("go1.26", (1, 26)),
        ("go1.27rc1", (1, 27)),
        ("go version go1.26.0 linux/amd64", (1, 26)),
        ("go version devel go1.28-3f1a2b Tue Jan 6 linux/arm64", (1, 28)),
        ("go2.0", (2, 0)),
        ("go: go.mod requires go >= 1.26.0 (running go 1.25.1; GOTOOLCHAIN=local)", None),
        ("", None),
    ],
)
def test_version_is_major_and_minor(text: str, version: tuple[int, int] | None) -> None:
    assert toolchain.parse_version(text) == version


def test_missing_go_says_what_to_install(tmp_path: Path) -> None:
    with pytest.raises(GoError, match=r"no `go` on PATH; install Go 1\.26 or newer .*KUBEBUILDER_ASSETS"):
        toolchain.find(module=tmp_path, search_path=str(tmp_path))


@pytest.mark.parametrize(
    ("script", "shown"),
    [
        ("echo go1.25.4", "go1.25.4"),
        ("echo 'go: go.mod requires go >= 1.26.0 (running go 1.25.1)' >&2; exit 1", "requires go >= 1.26.0"),
        ("exit 7", "exit status 7"),
    ],
    ids=["old", "refuses", "broken"],
)
def test_go_that_cannot_build_is_refused_with_its_answer(tmp_path: Path, script: str, shown: str) -> None:
    fake_go(tmp_path / "bin", script)
    with pytest.raises(GoError) as refused:
        toolchain.find(module=tmp_path, search_path=str(tmp_path / "bin"))
    assert shown in str(refused.value)
    assert "install Go 1.26 or newer" in str(refused.value)


def test_new_enough_go_is_taken(tmp_path: Path) -> None:
    program = fake_go(tmp_path / "bin", "echo go1.26.0")
    found = toolchain.find(module=tmp_path, search_path=str(tmp_path / "bin"))
    assert found == toolchain.Go(program=program, version=(1, 26))


def test_environment_keeps_the_users_settings_but_builds_for_this_machine(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("GOFLAGS", "-p=1")
    monkeypatch.setenv("GOOS", "plan9")
    monkeypatch.setenv("CGO_ENABLED", "1")
    environment = toolchain.environment()
    assert (environment["GOFLAGS"], environment["CGO_ENABLED"]) == ("-p=1", "0")
    assert "GOOS" not in environment
