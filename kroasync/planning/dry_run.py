"""A client whose writes are dry runs: the API server answers as it would, and stores nothing.

See "Dry-run" in the API concepts of Kubernetes. A DELETE with a body takes its options from the body alone, so the
option is set there, too.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from kroasync.kube.client import JSON, Client
from kroasync.model.objects import Obj

_ALL: Final = "All"


class DryRunClient(Client):
    """Every request of a pass goes through `raw`; no other method of it than GET leaves without `dryRun=All`."""

    async def raw(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        body: Obj | Sequence[Any] | bytes | None = None,
        content_type: str = JSON,
        accept: str = "",
        timeout_s: float = 30.0,
        most_bytes: int | None = None,
    ) -> bytes:
        if method != "GET":
            query = {**(query or {}), "dryRun": _ALL}
            if method == "DELETE":
                options: Obj = dict(body) if isinstance(body, dict) else {"apiVersion": "v1", "kind": "DeleteOptions"}
                body = {**options, "dryRun": [_ALL]}
        return await super().raw(
            method,
            path,
            query=query,
            body=body,
            content_type=content_type,
            accept=accept,
            timeout_s=timeout_s,
            most_bytes=most_bytes,
        )
