"""The errors of requests to the API server, as types.

    ApiError
      UnauthorizedError  401            ForbiddenError    403           NotFoundError   404
      AlreadyExistsError 409, reason AlreadyExists      ConflictError   409, any other reason
      GoneError          410, or reason Expired         InvalidError    400, 422, or a 5xx about the object
      TooBigError        413, or a 5xx about the limit of the store; an InvalidError
      ThrottledError     429            ServerError       5xx, or an answer that is not JSON
      UnreachableError   no answer                  FencedError       the request was not sent
      StaleListError     a list older than an earlier answer
      AnswerTooLongError an answer above the limit

Callers branch on the type, `status` and `reason`, never on the text.
"""

import re
from collections.abc import Mapping
from typing import Any, Final

import orjson

MESSAGE_LIMIT: Final = 1024
# A message of the API server's authorizer, which knows the path of the request but never its body.
_BY_ACCESS_CONTROL = re.compile(r'[a-z0-9.]+(?: "[^"]*")? is forbidden: User "[^"]*" cannot ')
# metav1.StatusReason
_REASONS: Final = frozenset(
    (
        *("Unauthorized", "Forbidden", "NotFound", "AlreadyExists", "Conflict", "Gone", "Invalid", "ServerTimeout"),
        *("StoreReadError", "Timeout", "TooManyRequests", "BadRequest", "MethodNotAllowed", "NotAcceptable"),
        *("RequestEntityTooLarge", "UnsupportedMediaType", "InternalError", "Expired", "ServiceUnavailable"),
    )
)
_MANAGER = re.compile(r'conflict with "((?:[^"\\]|\\.)*)"')


class ApiError(Exception):
    """A rejected or failed request. `status` is the HTTP status, or 0 if there was no answer.

    `reason` is the machine-readable reason of the API (`metav1.StatusReason`), `details` its
    `status.details`; `retry_after_s` is the delay that the server asked for, if it did.
    """

    def __init__(
        self,
        message: str,
        *,
        status: int = 0,
        reason: str = "",
        details: Mapping[str, Any] | None = None,
        retry_after_s: float | None = None,
    ) -> None:
        self.message = capped(message)
        self.status = status
        self.reason = reason
        self.details: dict[str, Any] = dict(details or {})
        self.retry_after_s = retry_after_s
        super().__init__(self.message)

    def __str__(self) -> str:
        return f"{self.message} ({self.status} {self.reason})" if self.status else self.message

    @property
    def causes(self) -> list[Mapping[str, Any]]:
        """`details.causes`, each with `reason`, `message` and `field` if the server set them."""
        causes = self.details.get("causes")
        return [c for c in causes if isinstance(c, dict)] if isinstance(causes, list) else []

    @property
    def fields(self) -> tuple[str, ...]:
        """The field paths that the causes name (`.spec.replicas`), in the server's order, without duplicates."""
        named = (str(c.get("field") or "") for c in self.causes)
        return tuple(dict.fromkeys(field for field in named if field))

    @property
    def known_reason(self) -> str:
        """The reason if the API defines it, otherwise the HTTP status: a webhook may answer any text."""
        return self.reason if self.reason in _REASONS else str(self.status)

    @property
    def is_of_object(self) -> bool:
        """Whether the error names one object. A 404 without a name is about the path: the kind is not served."""
        return bool(self.details.get("name"))

    @property
    def is_outage(self) -> bool:
        """Whether the error says that the API server serves nobody now. A 500 that it explains is no outage: it failed
        at this request, and may answer others.
        """
        return False

    @property
    def quotes_body(self) -> bool:
        """Whether the message may quote the object that was sent.

        It cannot if no server answered, if the path does not exist, or if access control refused the request.
        """
        return self.status not in (0, 401, 404) and not (self.status == 403 and _BY_ACCESS_CONTROL.match(self.message))


class UnauthorizedError(ApiError):
    """The credentials are missing, expired or wrong."""


class ForbiddenError(ApiError):
    """Access control or an admission plugin refused the request."""


class NotFoundError(ApiError):
    """The object or the kind does not exist."""


class AlreadyExistsError(ApiError):
    """An object with the name already exists."""


class ConflictError(ApiError):
    """The object changed since it was read, or another field manager owns what was applied."""

    @property
    def managers(self) -> tuple[str, ...]:
        """The field managers that a server-side apply conflicts with, sorted; empty for other conflicts."""
        found = (_MANAGER.search(str(c.get("message") or "")) for c in self.causes)
        return tuple(sorted({m.group(1).replace('\\"', '"') for m in found if m}))


class GoneError(ApiError):
    """The resourceVersion or continue token is too old: list again."""


class InvalidError(ApiError):
    """The server can never accept the request or the object as it is."""

    @property
    def is_about_elements(self) -> bool:
        """Whether elements of a list may be at fault: a value that occurs twice, or an element that lacks a field."""
        return any(c.get("reason") in ("FieldValueDuplicate", "FieldValueRequired") for c in self.causes)

    @property
    def fields_twice(self) -> frozenset[str]:
        """The names of the fields whose values occur twice in a list where each may occur once."""
        paths = (str(c.get("field") or "") for c in self.causes if c.get("reason") == "FieldValueDuplicate")
        return frozenset(path.rpartition(".")[2].partition("[")[0] for path in paths) - {""}


class TooBigError(InvalidError):
    """The request, or the resulting object, is larger than the API server or its store accepts."""


class StaleListError(ApiError):
    """A list is older than an earlier answer of the server."""


class AnswerTooLongError(ApiError):
    """The answer has more bytes than the limit, and was not read."""


class ThrottledError(ApiError):
    """The server is overloaded and asks for a later retry."""

    @property
    def is_outage(self) -> bool:
        return True


class ServerError(ApiError):
    """The server failed, or a proxy answered instead of it."""

    @property
    def is_outage(self) -> bool:
        return self.status != 500 or not self.reason


class UnreachableError(ApiError):
    """No answer: the connection was refused or lost, the TLS handshake failed, or a deadline passed.

    `maybe_done` is True when the request may have reached the server and changed something.
    """

    def __init__(self, message: str, *, reason: str = "Unreachable", maybe_done: bool = False) -> None:
        super().__init__(message, reason=reason)
        self.maybe_done = maybe_done

    @property
    def is_outage(self) -> bool:
        return True


class FencedError(ApiError):
    """A write that was not sent, because this process may not write: it does not lead, or it is ending."""

    def __init__(self, message: str) -> None:
        super().__init__(message, reason="Fenced")


_BY_STATUS: Final[Mapping[int, type[ApiError]]] = {
    400: InvalidError,
    401: UnauthorizedError,
    403: ForbiddenError,
    404: NotFoundError,
    409: ConflictError,
    410: GoneError,
    413: TooBigError,
    422: InvalidError,
    429: ThrottledError,
}
# The messages of etcd, and of its client in the API server, for a request that is too large; the status is 500.
_TOO_BIG: Final = ("etcdserver: request is too large", "trying to send message larger than max")
# Messages of server-side apply about an object that can never be applied: two elements of a list with the same key, or
# a value of the wrong type. The API server answers 500 to some of them.
_MALFORMED: Final = ("failed to create typed patch object", "duplicate entries for key")
_BY_REASON: Final[Mapping[str, type[ApiError]]] = {"AlreadyExists": AlreadyExistsError, "Expired": GoneError}


def error_of(status: int, body: bytes, headers: Mapping[str, str]) -> ApiError:
    """The typed error of an unsuccessful answer; `body` need not be a Status, nor JSON."""
    answer = _status_of(body)
    reason = str(answer.get("reason") or "")
    details = answer.get("details")
    details = details if isinstance(details, dict) else {}
    message = answer.get("message")
    if not isinstance(message, str) or not message:
        text = body[: MESSAGE_LIMIT * 4].decode(errors="replace").strip()
        message = text or f"the API server answered {status} without a message"
    kind = _BY_REASON.get(reason) or _BY_STATUS.get(status) or (ServerError if status >= 500 else ApiError)
    if kind is ServerError and any(text in message for text in _TOO_BIG):
        kind = TooBigError
    elif kind is ServerError and any(text in message for text in _MALFORMED):
        kind = InvalidError
    retry_after_s = _seconds(headers.get("Retry-After"))
    if retry_after_s is None:
        retry_after_s = _seconds(details.get("retryAfterSeconds") or None)
    return kind(message, status=status, reason=reason, details=details, retry_after_s=retry_after_s)


def error_of_status(answer: Mapping[str, Any]) -> ApiError:
    """The typed error of a `Status` object, as an ERROR event of a watch carries it."""
    code = answer.get("code")
    return error_of(code if isinstance(code, int) else 500, orjson.dumps(answer), {})


def is_failure(answer: Mapping[str, Any]) -> bool:
    """Whether an answer is a `Status` that says that the request failed, whatever its HTTP status."""
    is_status = answer.get("kind") == "Status" and answer.get("apiVersion") in ("v1", None)
    return is_status and answer.get("status") == "Failure"


def capped(text: str) -> str:
    """At most `MESSAGE_LIMIT` characters of the text, with an ellipsis if it was cut."""
    return text if len(text) <= MESSAGE_LIMIT else text[: MESSAGE_LIMIT - 1] + "…"


def _status_of(body: bytes) -> Mapping[str, Any]:
    try:
        answer = orjson.loads(body)
    except orjson.JSONDecodeError:
        return {}
    return answer if isinstance(answer, dict) and answer.get("kind") == "Status" else {}


def _seconds(text: object) -> float | None:
    """A delay in seconds; the date form of Retry-After is not used by the API server and counts as absent."""
    try:
        value = float(str(text))
    except ValueError:
        return None
    return value if 0 <= value < float("inf") else None
