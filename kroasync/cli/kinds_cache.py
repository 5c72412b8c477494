"""What files of CRDs and definitions say, kept between calls in the user's cache folder: to parse hundreds of CRDs
takes seconds.

An entry is named after the text and the version of kroasync, and starts with a digest of its content, so an entry that
is damaged or incomplete is read as if it were absent. It is written elsewhere and then renamed, so processes can share
the folder. Without a folder to write to, nothing is kept. Texts with errors are not kept.
"""

import hashlib
import os
import tempfile
import time
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import orjson

from kroasync import __version__
from kroasync.model.definition import is_definition
from kroasync.model.manifests import Document, Positions, Text, load_objects
from kroasync.model.problems import has_errors
from kroasync.schema.crd import CRD_KIND

# Changes with the form of an entry, and with what a text is read as.
_FORM: Final = 2
# Entries that are not used any more are deleted after a month. One use a day is noted.
_KEPT_S: Final = 30 * 86_400.0
_NOTED_S: Final = 86_400.0


def cache_folder() -> Path | None:
    """`$XDG_CACHE_HOME/kroasync/kinds`, or below ~/.cache; None for a user without a home."""
    home = os.environ.get("XDG_CACHE_HOME", "")
    try:
        return (Path(home) if os.path.isabs(home) else Path.home() / ".cache") / "kroasync" / "kinds"
    except RuntimeError:
        return None


@dataclass(frozen=True, slots=True, kw_only=True)
class KindsOfText:
    """What makes kinds known in one text: CRDs, definitions, and whatever cannot be read."""

    documents: list[Document]
    # Whether the text has nothing but CRDs.
    only_crds: bool


def load_kinds(texts: Iterable[Text]) -> list[KindsOfText]:
    """The CRDs and definitions of some texts."""
    folder = cache_folder()
    found = []
    is_changed = False
    for text in texts:
        kept = None if folder is None or text.fault is not None else _read(folder / _name(text.text), text.source)
        if kept is None:
            kept = _parsed(text)
            if folder is not None and not any(map(_has_faults, kept.documents)):
                _write(folder / _name(text.text), kept)
                is_changed = True
        found.append(kept)
    if folder is not None and is_changed:
        _delete_old(folder)
    return found


def _parsed(text: Text) -> KindsOfText:
    documents = load_objects([text])
    kinds = [one for one in documents if _has_faults(one) or makes_kinds(one.obj)]
    only_crds = bool(documents) and all(one.obj.get("kind") == CRD_KIND for one in documents)
    return KindsOfText(documents=kinds, only_crds=only_crds)


def _has_faults(document: Document) -> bool:
    """Whether the object cannot be read as a whole; warnings about an object do not matter here."""
    return not document.obj or has_errors(document.problems)


def makes_kinds(obj: dict[str, Any]) -> bool:
    """Whether an object is a CRD or a definition."""
    return obj.get("kind") == CRD_KIND or is_definition(obj)


def _name(text: str) -> str:
    content = text.encode("utf-8", errors="surrogateescape")
    return hashlib.sha256(f"{_FORM} {__version__}\n".encode() + content).hexdigest()


def _read(entry: Path, source: str) -> KindsOfText | None:
    try:
        digest, _, content = entry.read_bytes().partition(b"\n")
        if digest != _digest(content):
            return None
        if time.time() - entry.stat().st_mtime > _NOTED_S:
            os.utime(entry)
    except OSError:
        return None
    only_crds, found = orjson.loads(content)
    documents = [Document(obj=obj, positions=Positions(), source=source, line=line) for line, obj in found]
    return KindsOfText(documents=documents, only_crds=only_crds)


def _write(entry: Path, kinds: KindsOfText) -> None:
    try:
        content = orjson.dumps((kinds.only_crds, [(one.line, one.obj) for one in kinds.documents]))
        entry.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=entry.parent, prefix=".", delete=False) as file:
            file.write(_digest(content) + b"\n" + content)
        os.replace(file.name, entry)
    except (OSError, TypeError):  # no such folder can be made, or a text is no JSON: parse again next time
        return


def _digest(content: bytes) -> bytes:
    return hashlib.sha256(content).hexdigest().encode()


def _delete_old(folder: Path) -> None:
    """Delete entries that nobody used for a month, and what a process that was killed left behind."""
    with suppress(OSError):
        for path in folder.iterdir():
            if time.time() - path.stat().st_mtime > _KEPT_S:
                path.unlink(missing_ok=True)
