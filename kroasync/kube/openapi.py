"""The server's OpenAPI v3 documents, one per group-version.

Nothing is cached here: the documents have megabytes, and the caller knows which few types it needs.
The index has a hash of each document. While the hash is the same, so is the document.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import parse_qs, urlsplit

from kroasync.kube.api_errors import NotFoundError
from kroasync.kube.client import Client
from kroasync.model.objects import Obj


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupVersionDocument:
    """The path of a group-version's document; `hash` changes with its content, and is empty if the server has none."""

    path: str
    hash: str


async def index(client: Client) -> dict[str, GroupVersionDocument]:
    """The documents by apiVersion (`v1`, `apps/v1`); raises ApiError."""
    answer = await client.request("GET", "/openapi/v3")
    paths = answer.get("paths")
    found: dict[str, GroupVersionDocument] = {}
    for name, entry in paths.items() if isinstance(paths, dict) else ():
        prefix, _, api_version = str(name).partition("/")
        if prefix not in ("api", "apis") or not api_version or not isinstance(entry, Mapping):
            continue
        if prefix == "apis" and "/" not in api_version:
            # `apis/apps` describes the group's discovery, not its types.
            continue
        path = str(entry.get("serverRelativeURL") or "")
        if path.startswith("/"):
            found[api_version] = GroupVersionDocument(
                path=path, hash=parse_qs(urlsplit(path).query).get("hash", [""])[0]
            )
    return found


async def fetch(client: Client, api_version: str, *, document: GroupVersionDocument | None = None) -> Obj | None:
    """The parsed document of a group-version, None if the server has none; raises ApiError.

    `document` is an entry of the index, if the caller has just read it. This always reads the current document, even
    if it has changed since: a path with an outdated hash would only redirect to it.
    """
    if document is None:
        document = (await index(client)).get(api_version)
        if document is None:
            return None
    try:
        return await client.request("GET", urlsplit(document.path).path, timeout_s=60.0)
    except NotFoundError:
        return None
