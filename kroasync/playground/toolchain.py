"""Finds the user's Go on PATH, reads its version, and refuses it if it is too old for the sources.

Nothing is downloaded or installed here. A Go that can switch to a newer toolchain by itself (GOTOOLCHAIN) runs inside
the module, so that it reports the version that would really build.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from kroasync.playground.plane_errors import GoError

REQUIRED = (1, 26)

_ANSWER_TIMEOUT_S = 300.0  # Go may download a newer toolchain first
_VERSION = re.compile(r"\bgo(\d+)\.(\d+)")
_HINT = (
    f"install Go {REQUIRED[0]}.{REQUIRED[1]} or newer (see go.dev/doc/install, or your package "
    "manager) and put it on PATH, or point KUBEBUILDER_ASSETS to a directory with the binaries"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Go:
    """A Go that is new enough."""

    program: Path
    version: tuple[int, int]


def parse_version(text: str) -> tuple[int, int] | None:
    """Major and minor of `go1.26.8` or `go version go1.27-devel_x linux/amd64`; None if there is none."""
    found = _VERSION.search(text)
    return (int(found[1]), int(found[2])) if found else None


def environment() -> dict[str, str]:
    """The user's settings of Go (GOFLAGS, GOPROXY, ...), except settings that would build for another machine."""
    foreign = {"GOOS", "GOARCH"}
    kept = {key: value for key, value in os.environ.items() if key not in foreign}
    return {**kept, "CGO_ENABLED": "0", "GOWORK": "off", "GO111MODULE": "on"}


def find(*, module: Path, search_path: str | None = None) -> Go:
    """Find Go on `search_path` (PATH if None) that can build the module folder; GoError says what to install."""
    program = shutil.which("go", path=search_path)
    if program is None:
        raise GoError(f"the playground's programs are built with Go, but there is no `go` on PATH; {_HINT}")
    answer = _ask(program, module)
    version = parse_version(answer)
    if version is None or version < REQUIRED:
        raise GoError(f"{program} cannot build the playground's programs ({answer}); {_HINT}")
    return Go(program=Path(program), version=version)


def own_caches(go: Go) -> tuple[Path, ...]:
    """Go's build cache and module cache, which all Go projects of the user share."""
    return tuple(Path(line) for line in _run(go, "env", "GOCACHE", "GOMODCACHE").splitlines())


def clean_own_caches(go: Go) -> None:
    """Empty both caches. Raises GoError if Go refuses."""
    _run(go, "clean", "-cache", "-modcache")


def _run(go: Go, *arguments: str) -> str:
    try:
        return subprocess.run(
            [str(go.program), *arguments], env=environment(), capture_output=True, text=True, check=True
        ).stdout
    except subprocess.CalledProcessError as error:
        raise GoError(f"`go {' '.join(arguments)}` failed: {error.stderr.strip()}") from error


def _ask(program: str, module: Path) -> str:
    try:
        done = subprocess.run(
            [program, "env", "GOVERSION"],
            cwd=module,
            env=environment(),
            capture_output=True,
            text=True,
            timeout=_ANSWER_TIMEOUT_S,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return str(error)
    return (done.stdout.strip() or done.stderr.strip()) or f"exit status {done.returncode}"
