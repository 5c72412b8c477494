"""The typed error of each answer of the API server."""

import orjson
import pytest

from kroasync.kube.api_errors import (
    MESSAGE_LIMIT,
    AlreadyExistsError,
    ApiError,
    ConflictError,
    ForbiddenError,
    GoneError,
    InvalidError,
    NotFoundError,
    ServerError,
    ThrottledError,
    TooBigError,
    UnauthorizedError,
    UnreachableError,
    error_of,
    error_of_status,
)


def status(reason: str = "", **more: object) -> bytes:
    return orjson.dumps({"kind": "Status", "apiVersion": "v1", "reason": reason, "message": "m", **more})


@pytest.mark.parametrize(
    ("code", "reason", "kind"),
    [
        (400, "BadRequest", InvalidError),
        (401, "Unauthorized", UnauthorizedError),
        (403, "Forbidden", ForbiddenError),
        (404, "NotFound", NotFoundError),
        (405, "MethodNotAllowed", ApiError),
        (409, "AlreadyExists", AlreadyExistsError),
        (409, "Conflict", ConflictError),
        (409, "", ConflictError),
        (410, "Gone", GoneError),
        (410, "Expired", GoneError),
        (400, "Expired", GoneError),
        (413, "RequestEntityTooLarge", TooBigError),
        (422, "Invalid", InvalidError),
        (429, "TooManyRequests", ThrottledError),
        (500, "InternalError", ServerError),
        (503, "ServiceUnavailable", ServerError),
        (504, "Timeout", ServerError),
        (302, "", ApiError),
    ],
)
def test_type_of_every_answer(code: int, reason: str, kind: type[ApiError]) -> None:
    error = error_of(code, status(reason), {})
    assert type(error) is kind
    assert (error.status, error.reason, error.message) == (code, reason, "m")


@pytest.mark.parametrize(
    ("message", "kind"),
    [
        ("etcdserver: request is too large", TooBigError),
        (
            "failed to create typed patch object (team/one; apps/v1, Kind=Deployment): errors:\n"
            '  .spec.template.spec.containers[0].env: duplicate entries for key [name="A"]',
            InvalidError,
        ),
        ('Internal error occurred: failed calling webhook "a.example.com": context deadline exceeded', ServerError),
        ("rpc error: code = ResourceExhausted desc = trying to send message larger than max (1 vs. 2)", TooBigError),
        ("etcdserver: leader changed", ServerError),
    ],
)
def test_the_limit_of_the_store_is_told_apart_from_its_failures(message: str, kind: type[ApiError]) -> None:
    """The API server answers 500 either way."""
    assert type(error_of(500, status("InternalError", message=message), {})) is kind


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"", "the API server answered 502 without a message"),
        (b"  <html>bad gateway</html>\n", "<html>bad gateway</html>"),
        (b'{"kind":"Status"}', '{"kind":"Status"}'),
        (b"[1]", "[1]"),
        (b"\xff\xfe", "��"),
        (b'{"kind":"Status","message":7,"details":[],"reason":null}', None),
    ],
)
def test_bodies_that_are_no_status(body: bytes, message: str | None) -> None:
    error = error_of(502, body, {})
    assert type(error) is ServerError
    assert message is None or error.message == message


def test_message_is_capped() -> None:
    error = error_of(500, status(message="x" * 5000), {})
    assert len(error.message) == MESSAGE_LIMIT
    assert error.message.endswith("…")


@pytest.mark.parametrize(
    ("headers", "details", "expected"),
    [
        ({"Retry-After": "3"}, {}, 3.0),
        ({}, {"retryAfterSeconds": 7}, 7.0),
        ({"Retry-After": "1"}, {"retryAfterSeconds": 7}, 1.0),
        ({}, {"retryAfterSeconds": 0}, None),
        ({"Retry-After": "Wed, 21 Oct 2026 07:28:00 GMT"}, {}, None),
        ({"Retry-After": "-1"}, {}, None),
        ({"Retry-After": "inf"}, {}, None),
        ({}, {}, None),
    ],
)
def test_retry_after(headers: dict[str, str], details: dict[str, int], expected: float | None) -> None:
    assert error_of(429, status("TooManyRequests", details=details), headers).retry_after_s == expected


def test_apply_conflict_names_managers_and_fields() -> None:
    causes = [
        {
            "reason": "FieldManagerConflict",
            "message": 'conflict with "kubectl" using apps/v1',
            "field": ".spec.replicas",
        },
        {
            "reason": "FieldManagerConflict",
            "message": 'conflict with "hpa" with subresource "scale" using apps/v1 at 2026-01-01T00:00:00Z',
            "field": ".spec.replicas",
        },
        {"reason": "FieldManagerConflict", "message": 'conflict with "a\\"b" using v1', "field": ".data.x"},
        "not an object",
    ]
    error = error_of(409, status("Conflict", details={"causes": causes}), {})
    assert isinstance(error, ConflictError)
    assert error.managers == ('a"b', "hpa", "kubectl")
    assert error.fields == (".spec.replicas", ".data.x")


def test_version_conflict_has_no_managers() -> None:
    error = error_of(409, status("Conflict", details={"name": "x"}), {})
    assert isinstance(error, ConflictError)
    assert (error.managers, error.fields) == ((), ())


def test_error_of_a_watch_event() -> None:
    error = error_of_status({"kind": "Status", "code": 410, "reason": "Expired", "message": "too old"})
    assert type(error) is GoneError
    assert str(error) == "too old (410 Expired)"


def test_unreachable_says_whether_something_may_have_happened() -> None:
    assert UnreachableError("x", maybe_done=True).maybe_done
    assert str(UnreachableError("refused")) == "refused"
    assert UnreachableError("refused").status == 0
