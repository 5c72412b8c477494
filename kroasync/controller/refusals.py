"""What an error of the API server means for the engine, and what may be told of it.

A message may quote the object that was sent. Of an object with values of Secrets only the parts are told that cannot.
"""

import re
from collections.abc import Iterable, Sequence

from kroasync.engine.actions import Action, Apply, Refusal, Release
from kroasync.engine.recreation import unchangeable
from kroasync.kube.api_errors import (
    AlreadyExistsError,
    ApiError,
    ConflictError,
    ForbiddenError,
    InvalidError,
    NotFoundError,
    TooBigError,
    UnauthorizedError,
)
from kroasync.model.kinds import SECRETS
from kroasync.model.objects import Key


class ManagedError(ApiError):
    """Other managers have fields of an object that is adopted only if nobody does."""


class ContestedError(ApiError):
    """Other managers have fields of the object, and its policy is to change nothing then."""


def unserved(key: Key) -> str:
    """The message about a kind that the API server does not serve: its own answer is "404 page not found"."""
    return f"kind {key.resource.kind} ({key.resource.api_version}) is not served: its CRD or aggregated API is gone"


def message_of(action: Action, error: ApiError) -> str:
    """The server's message; for an object with values of Secrets, only the parts that cannot quote them."""
    if isinstance(action, Release) and action.key.resource == SECRETS and error.quotes_body:
        return f"{error.known_reason} (details withheld: the object is a Secret)"
    if not isinstance(action, Apply) or not action.secrets or not error.quotes_body:
        return error.message
    fields = unique(sorted(quotable_field(field, action.secrets) for field in error.fields))
    where = f" in {', '.join(fields)}" if any(fields) else ""
    return f"{error.known_reason}{where} (details withheld: the object holds values of a Secret)"


def immutable_fields(action: Action, error: ApiError) -> tuple[str, ...]:
    """The fields that cannot be changed, if that is all that is wrong with an apply, and what the server says of them;
    of an object with values of Secrets, only where they are.
    """
    if not isinstance(action, Apply) or not isinstance(error, InvalidError):
        return ()
    found = unchangeable(error.causes)
    if action.secrets or action.key.resource == SECRETS:
        return tuple(unique(quotable_field(field, action.secrets) or "a field" for field, _ in found))
    return tuple(unique(f"{field}: {said}" if field else said for field, said in found))


def quotable_field(field: str, secrets: Sequence[tuple[str | int, ...]]) -> str:
    """A field path of the server, cut so that it quotes no value: it ends where a value of a Secret begins, or before
    a key in brackets.
    """
    dot = "." if field.startswith(".") else ""
    shown = re.split(r"\[(?![0-9]*\])", field.removeprefix(dot))[0]
    for path in secrets:
        begin = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path).removeprefix(".")
        if shown.startswith((f"{begin}.", f"{begin}[")):
            shown = begin
    return dot + shown


def explained(error: InvalidError, obstacle: str) -> InvalidError:
    """The error with a text about who must act."""
    text = f"{error.message}; {obstacle}" if obstacle else error.message
    return type(error)(text, status=error.status, reason=error.reason, details=error.details)


def unique(texts: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(text for text in texts if text))


_REFUSALS: tuple[tuple[type[ApiError], Refusal], ...] = (
    (ManagedError, Refusal.MANAGED),
    (ContestedError, Refusal.CONTESTED),
    (AlreadyExistsError, Refusal.CONFLICT),
    (ConflictError, Refusal.CONFLICT),
    (NotFoundError, Refusal.MISSING),
    (TooBigError, Refusal.TOO_BIG),
    (InvalidError, Refusal.INVALID),
    (ForbiddenError, Refusal.FORBIDDEN),
    (UnauthorizedError, Refusal.FORBIDDEN),
)


def refusal_of(error: ApiError) -> Refusal:
    """The kind of refusal that an API error means for the engine."""
    for kind, refusal in _REFUSALS:
        if isinstance(error, kind):
            return refusal
    return Refusal.UNAVAILABLE
