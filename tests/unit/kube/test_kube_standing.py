"""Readiness rests on what the API server answers anyway: refusals that last, of what every controller needs."""

import pytest

from kroasync.kube.errors import ApiError, error_of
from kroasync.kube.standing import Standing

STATUS = "/apis/kro.run/v1alpha1/resourcegraphdefinitions/app/status"
CHILD = "/api/v1/namespaces/default/configmaps/a"
REVOKED = error_of(401, b'{"kind":"Status","message":"Unauthorized"}', {})
NO_RIGHT = error_of(403, b'{"kind":"Status","message":"x.kro.run \\"a\\" is forbidden: User \\"u\\" cannot patch"}', {})
QUOTA = error_of(403, b'{"kind":"Status","message":"x \\"a\\" is forbidden: exceeded quota"}', {})
BUSY = error_of(503, b"", {})


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def after(*answers: tuple[str, str, ApiError | None], every_s: float = 6.0) -> str | None:
    clock = Clock()
    standing = Standing(clock)
    for method, path, error in answers:
        standing.answered(method, path, error)
        clock.now += every_s
    return standing.problem()


@pytest.mark.parametrize("path", [STATUS, CHILD])
def test_a_credential_that_is_refused_for_long_stops_everything(path: str) -> None:
    assert "refused for 18 s: Unauthorized" in str(after(*[("PATCH", path, REVOKED)] * 3))


@pytest.mark.parametrize(
    "answers",
    [
        [("PATCH", STATUS, NO_RIGHT)] * 3,
        [("GET", STATUS, NO_RIGHT)] * 3,
        [("PATCH", STATUS, NO_RIGHT), ("GET", STATUS, None)] * 3,
    ],
    ids=["write", "read", "read-only"],
)
def test_a_right_every_controller_needs_is_missed(answers: list[tuple[str, str, ApiError | None]]) -> None:
    assert "cannot patch" in str(after(*answers))


@pytest.mark.parametrize(
    "answers",
    [
        [("PATCH", STATUS, NO_RIGHT)] * 2,
        [*[("PATCH", STATUS, NO_RIGHT)] * 3, ("PATCH", STATUS, None)],
        [*[("PATCH", CHILD, REVOKED)] * 3, ("GET", CHILD, None)],
        [*[("PATCH", CHILD, REVOKED)] * 3, ("PATCH", CHILD, NO_RIGHT)],
        [("PATCH", CHILD, NO_RIGHT)] * 9,
        [("PATCH", STATUS, QUOTA)] * 9,
        [("PATCH", STATUS, BUSY)] * 9,
    ],
    ids=["few", "right-given", "credential-renewed", "credential-good", "one-kind", "admission", "busy"],
)
def test_what_keeps_nobody_from_working(answers: list[tuple[str, str, ApiError | None]]) -> None:
    assert after(*answers) is None


def test_a_server_in_trouble_says_nothing_of_the_credential() -> None:
    assert after(*[("PATCH", CHILD, REVOKED)] * 3, ("GET", CHILD, BUSY)) is not None


def test_a_moment_is_not_long() -> None:
    assert after(*[("PATCH", CHILD, REVOKED)] * 9, every_s=0.5) is None
