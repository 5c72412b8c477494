"""Access to the control plane: bearer tokens, kubeconfigs with them, and requests with them."""

from __future__ import annotations

import base64
import http.client
import json
import os
import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit


@dataclass(frozen=True, slots=True, kw_only=True)
class User:
    """A row of the API server's token file."""

    name: str
    token: str
    groups: tuple[str, ...] = ()

    @property
    def row(self) -> str:
        """token,user,uid,"groups": the format of --token-auth-file."""
        return f'{self.token},{self.name},{self.name},"{",".join(self.groups)}"\n'


def kubeconfig(*, server: str, certificate: bytes, token: str, context: str) -> str:
    """A kubeconfig for one token, as JSON (which YAML includes).

    `certificate` is the PEM of the trusted root.
    """
    authority = base64.b64encode(certificate).decode()
    return (
        json.dumps(
            {
                "apiVersion": "v1",
                "kind": "Config",
                "clusters": [{"name": context, "cluster": {"server": server, "certificate-authority-data": authority}}],
                "users": [{"name": context, "user": {"token": token}}],
                "contexts": [{"name": context, "context": {"cluster": context, "user": context}}],
                "current-context": context,
            },
            indent=2,
        )
        + "\n"
    )


def write_private(file: Path, text: str) -> None:
    """Replace the file in one step; only the user may read it."""
    aside = file.with_name(f".{file.name}.{os.getpid()}")
    descriptor = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
        stream.write(text)
    aside.replace(file)


def request(
    url: str,
    *,
    method: str = "GET",
    body: Any = None,
    token: str = "",
    certificate: Path | None = None,
    timeout_s: float = 5.0,
) -> tuple[int, bytes]:
    """Send a request without a proxy; returns status and body.

    Raises OSError (or http.client.HTTPException) if there is no answer.
    """
    parts = urlsplit(url)
    address = (parts.hostname or "", parts.port or 0)
    connection = (
        http.client.HTTPSConnection(
            *address, timeout=timeout_s, context=ssl.create_default_context(cafile=str(certificate))
        )
        if parts.scheme == "https"
        else http.client.HTTPConnection(*address, timeout=timeout_s)
    )
    headers = {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {token}"} if token else {})
    payload = None if body is None else json.dumps(body)
    try:
        connection.request(method, parts.path, body=payload, headers=headers)
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()
