"""Builds one recipe with Go: counts the packages, compiles them, and reports the progress.

The module folder is copied first, so that a read-only installation can build, too, and Go never edits our go.mod.
"""

from __future__ import annotations

import os
import selectors
import shutil
import subprocess
import time
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from kroasync.playground import toolchain
from kroasync.playground.plane_errors import BuildError
from kroasync.playground.progress import Progress, Step
from kroasync.playground.recipes import Recipe

_TAIL_LINES = 30
_TICK_S = 1.0
_OPTIONS = ("-mod=readonly", "-trimpath", "-buildvcs=false")


def build(recipe: Recipe, *, into: Path, workspace: Path, progress: Progress) -> None:
    """Build the programs into the existing folder `into`; `workspace` is an empty folder for the module's
    copy.

    Raises GoError when Go is missing or too old, BuildError with the tail of the output when a step fails.
    """
    for name in ("go.mod", "go.sum"):
        shutil.copyfile(recipe.source / name, workspace / name)
    go = toolchain.find(module=workspace)
    run = _Run(recipe=recipe, go=str(go.program), workspace=workspace, progress=progress)
    total = run.count_packages()
    run.compile(into=into, total=total)
    if recipe.data:
        data = into / f"{recipe.name}-data"
        shutil.copytree(run.module_folder() / recipe.data, data, copy_function=_copy_plain)
        _make_writable(data)


class _Run:
    """The build of one recipe, with the data that every step needs."""

    def __init__(self, *, recipe: Recipe, go: str, workspace: Path, progress: Progress) -> None:
        self._recipe = recipe
        self._go = go
        self._workspace = workspace
        self._progress = progress
        self._started = time.monotonic()

    def count_packages(self) -> int:
        """The number of packages of the programs; downloads modules that are missing."""
        downloaded, packages = 0, 0
        self._report("downloading", 0, None)
        for line in self._lines("list", "-deps", *_OPTIONS, *self._recipe.packages):
            if line is not None:
                downloaded += line.startswith("go: downloading ")
                packages += " " not in line
            self._report("downloading", downloaded, None)
        return packages

    def compile(self, *, into: Path, total: int) -> None:
        """Compile and link; `-v` names each package that is not in Go's build cache."""
        recipe = self._recipe
        # A file for one program (etcd's package has the name server), a folder for several.
        target = str(into / recipe.programs[0]) if len(recipe.programs) == 1 else f"{into}{os.sep}"
        compiled = 0
        self._report("compiling", 0, total)
        flags = ["build", "-v", *_OPTIONS, "-ldflags", recipe.link_flags, "-o", target]
        for line in self._lines(*flags, *recipe.packages):
            compiled += line is not None and " " not in line
            self._report("compiling" if compiled < total else "linking", compiled, total)
        self._report("done", compiled, total)

    def module_folder(self) -> Path:
        """Where Go keeps the module's sources."""
        listed = self._lines("list", "-m", "-mod=readonly", "-f", "{{.Dir}}", self._recipe.module)
        return Path([line for line in listed if line][-1])

    def _report(self, phase: str, done: int, total: int | None) -> None:
        self._progress(
            Step(
                what=f"{self._recipe.name} {self._recipe.version}",
                phase=phase,
                done=done,
                total=total,
                elapsed_s=time.monotonic() - self._started,
            )
        )

    def _lines(self, *arguments: str) -> Iterator[str | None]:
        """Lines of `go ...`, and None after each second without one; raises BuildError if it fails."""
        tail: deque[str] = deque(maxlen=_TAIL_LINES)
        with _running([self._go, *arguments], self._workspace) as process:
            for line in _output(process):
                if line and (" " in line or arguments[0] != "build"):
                    tail.append(line)
                yield line
            if process.wait() != 0:
                raise BuildError(
                    f"building {self._recipe.name} {self._recipe.version} failed: "
                    f"`go {arguments[0]}` ended with status {process.returncode}\n" + "\n".join(tail)
                )


@contextmanager
def _running(command: Sequence[str], folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    """The process, which ends with the block, so that an interrupted build leaves no compiler behind."""
    process = subprocess.Popen(
        command,
        cwd=folder,
        env=toolchain.environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    try:
        yield process
    finally:
        if process.poll() is None:
            process.terminate()  # Go forwards the signal to its compilers
            process.wait()
        if process.stdout is not None:
            process.stdout.close()


def _output(process: subprocess.Popen[bytes]) -> Iterator[str | None]:
    assert process.stdout is not None
    descriptor = process.stdout.fileno()
    rest = b""
    with selectors.DefaultSelector() as selector:
        selector.register(descriptor, selectors.EVENT_READ)
        while True:
            if not selector.select(_TICK_S):
                yield None
                continue
            chunk = os.read(descriptor, 65536)
            if not chunk:
                break
            *lines, rest = (rest + chunk).split(b"\n")
            for line in lines:
                yield line.decode(errors="replace").rstrip()
    if rest:
        yield rest.decode(errors="replace").rstrip()


def _copy_plain(source: str, target: str) -> str:
    """Copy only the content: files in Go's module cache are read-only, but the copy must be removable."""
    return str(shutil.copyfile(source, target))


def _make_writable(folder: Path) -> None:
    for path in [folder, *folder.rglob("*")]:
        if path.is_dir():
            path.chmod(0o755)
