"""Finds free TCP ports of the loopback interface, below the range that the kernel uses for outgoing connections: when a
component restarts, its port must still be free."""

from __future__ import annotations

import random
import socket
from collections.abc import Iterable
from contextlib import ExitStack

from kroasync.playground.plane_errors import PlaygroundError

CANDIDATES = range(20000, 32000)


def free_ports(count: int, *, candidates: Iterable[int] | None = None) -> list[int]:
    """`count` different ports that nobody listens on. Raises PlaygroundError if there are fewer."""
    tried = random.sample(CANDIDATES, len(CANDIDATES)) if candidates is None else candidates
    found: list[int] = []
    with ExitStack() as held:
        for port in tried:
            if len(found) == count:
                break
            probe = held.enter_context(socket.socket())
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            found.append(port)
    if len(found) < count:
        raise PlaygroundError(f"expected {count} free TCP ports on 127.0.0.1, found {len(found)}")
    return found
