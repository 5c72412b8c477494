"""Runs kubectl or helm for one playground, with separate caches and settings."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence
from pathlib import Path

from kroasync.playground.plane_errors import CommandError


def run_client(
    program: Path,
    arguments: Sequence[str],
    *,
    kubeconfig: Path,
    scratch: Path,
    stdin: str | None,
    timeout_s: float,
) -> str:
    """The standard output of the program. Raises CommandError if it fails or does not finish in time."""
    own = {
        "KUBECONFIG": str(kubeconfig),
        "KUBECACHEDIR": str(scratch / "kubectl"),
        "HELM_CACHE_HOME": str(scratch / "helm-cache"),
        "HELM_CONFIG_HOME": str(scratch / "helm-config"),
        "HELM_DATA_HOME": str(scratch / "helm-data"),
    }
    command = [str(program), *arguments]
    shown = f"{program.name} {' '.join(command[1:])}"
    try:
        done = subprocess.run(
            command,
            input=stdin or "",
            capture_output=True,
            text=True,
            timeout=timeout_s,
            env=os.environ | own,
        )
    except subprocess.TimeoutExpired as error:
        raise CommandError(f"{shown}: did not finish within {timeout_s:.0f} s", returncode=-1, stderr="") from error
    if done.returncode != 0:
        raise CommandError(
            f"{shown}: {done.stderr.strip() or done.stdout.strip()}",
            returncode=done.returncode,
            stderr=done.stderr,
        )
    return done.stdout
