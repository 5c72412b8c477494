"""A real local control plane (etcd, API server, controller manager, scheduler, kwok) for trying and testing.

No container engine is needed: the programs are built from Go modules once and run on loopback.
"""

from kroasync.playground.binaries import (
    CONTROL_PLANE,
    Binaries,
    cache_folder,
    ensure_binary,
    folder_size,
    needs_build,
    remove_cache,
)
from kroasync.playground.directories import default_directory
from kroasync.playground.plane import ComponentStatus, Playground
from kroasync.playground.plane_errors import (
    AlreadyUpError,
    BuildError,
    CommandError,
    ComponentError,
    GoError,
    NotUpError,
    PlaygroundError,
)
from kroasync.playground.progress import Progress, Step, reporting

__all__ = [
    "CONTROL_PLANE",
    "AlreadyUpError",
    "Binaries",
    "BuildError",
    "CommandError",
    "ComponentError",
    "ComponentStatus",
    "GoError",
    "NotUpError",
    "Playground",
    "PlaygroundError",
    "Progress",
    "Step",
    "cache_folder",
    "default_directory",
    "ensure_binary",
    "folder_size",
    "needs_build",
    "remove_cache",
    "reporting",
]
