"""Decide whether a refused change makes a child be recreated (policy `update: Recreate`), and remember that it was.

Some fields cannot be changed: the template of a Job, the selector of a Deployment, what a rule of a CRD compares with
`oldSelf`. If that alone is why the API server refuses an apply, the child is deleted and created anew.

This happens at most once for a generation of the instance and a revision of the definition. So an annotation of the
instance lists the children before they are deleted, each with the UID of the object that goes: after a crash the object
that is listed with its own UID is deleted, and one with another UID is the new one.

The messages of the API server quote values, which anybody may have chosen: what is said after the value decides.
"""

import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from kroasync.model import names
from kroasync.model.objects import Key, Obj, annotations_of, metadata
from kroasync.model.policies import NEVER_RECREATED, Deletion, Policies

# How many children one generation recreates: the annotation has 26 bytes for each.
MOST: Final = 2000
_DIGITS: Final = 12
_REASONS: Final = ("FieldValueForbidden", "FieldValueInvalid")
_HEADS: Final = ("Forbidden: ", "Invalid value: ")
_IMMUTABLE: Final = re.compile(
    r"\b(?:is|are) immutable\b|\bimmutable field"
    r"|\bcannot be (?:set once created|cleared once set|modified once set)\b"
    r"|\bmay not be changed\b|\bcannot be changed\b|\bmay not change once set\b|\bcannot change roleRef\b"
    r"|^updates to .+ are forbidden\b|^pod updates may not (?:change fields other than|add or remove)\b",
    re.IGNORECASE,
)
_TRANSITION: Final = re.compile(r"^failed rule: .*(?:==\s*oldSelf\b|\boldSelf[\w.]*\s*==)")
_TEXT: Final = re.compile(r'"(?:[^"\\]|\\.)*"')
_JSON: Final = json.JSONDecoder()


def unchangeable(causes: Iterable[Mapping[str, Any]]) -> tuple[tuple[str, str], ...]:
    """The fields that cannot be changed, each with what the API server says about it, if that is all that it refuses;
    otherwise none. `causes` are those of its answer to an apply.
    """
    found: list[tuple[str, str]] = []
    for cause in causes:
        said = _said(cause)
        if not (_IMMUTABLE.search(said) or _TRANSITION.match(said)):
            return ()
        found.append((str(cause.get("field") or ""), said))
    return tuple(found)


def _said(cause: Mapping[str, Any]) -> str:
    """What a cause says about the field: the first line, without the value; empty if that cannot be told apart."""
    message = str(cause.get("message") or "")
    if cause.get("reason") not in _REASONS:
        return ""
    head = next((head for head in _HEADS if message.startswith(head)), "")
    text = message.removeprefix(head)
    if head == "Invalid value: ":
        text = _after_value(text)
    return text.partition("\n")[0]


def _after_value(text: str) -> str:
    """The rest of `<value>: <rest>`. The value is a quoted text, JSON, or a Go value."""
    quoted = _TEXT.match(text)
    try:
        end = quoted.end() if quoted else _JSON.raw_decode(text)[1]
    except (ValueError, RecursionError):
        rest = text.rpartition(": ")[2]
        return "" if set(rest) & set('"`{}[]') else rest
    return text[end:].removeprefix(": ") if text[end:].startswith(": ") else ""


@dataclass(frozen=True, slots=True)
class Recreated:
    """The children that were recreated for a generation of the instance, as its annotation lists them."""

    token: str
    # Digests of the keys, and of the UIDs of the objects that went.
    children: Mapping[str, str]

    @staticmethod
    def of(instance: Obj, graph_hash: str) -> "Recreated":
        """What is listed for the present generation and graph; entries of others are dropped."""
        token = f"{metadata(instance).get('generation', 0)}-{graph_hash[:_DIGITS]}"
        written, _, listed = str(annotations_of(instance).get(names.ANNOTATION_RECREATED, "")).partition(" ")
        entries = (entry.partition("=") for entry in listed.split(",")) if written == token else ()
        return Recreated(token, {key: uid for key, _, uid in entries if key and uid})

    def is_due(self, key: Key, uid: str) -> bool:
        """Whether this very object is listed: it is to be deleted, and a crash may have prevented that."""
        return self.children.get(_digest(str(key))) == _digest(uid)

    def was(self, key: Key, uid: str) -> bool:
        """Whether the child was recreated: another object of its name is listed."""
        return self.children.get(_digest(str(key)), _digest(uid)) != _digest(uid)

    def adding(self, key: Key, uid: str) -> "Recreated":
        return replace(self, children={**self.children, _digest(str(key)): _digest(uid)})

    @property
    def annotation(self) -> str:
        return f"{self.token} " + ",".join(f"{key}={uid}" for key, uid in self.children.items())


def obstacle(key: Key, policies: Policies, recreated: Recreated, uid: str, *, is_orphaned: bool) -> str | None:
    """Why a child is not recreated; None if it is. `is_orphaned` is what the live object says."""
    if key.resource.group_kind in NEVER_RECREATED:
        return f"objects of the kind {key.resource.kind} are never recreated"
    if is_orphaned or policies.deletion is Deletion.ORPHAN:
        return f"its deletion policy is {names.POLICY_ORPHANED}, so it is not deleted to be recreated"
    if recreated.was(key, uid):
        return "it was recreated for this generation already"
    if not recreated.is_due(key, uid) and len(recreated.children) >= MOST:
        return f"{MOST} objects were recreated for this generation already"
    return None


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:_DIGITS]
