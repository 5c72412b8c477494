"""Readiness depends on answers to ordinary requests: lasting refusals of the credential, and missing permissions."""

from kroasync.kube.api_errors import ApiError, error_of
from kroasync.kube.standing import Standing

REVOKED = error_of(401, b'{"kind":"Status","message":"Unauthorized"}', {})
NO_RIGHT = error_of(403, b'{"kind":"Status","message":"x.kro.run \\"a\\" is forbidden: User \\"u\\" cannot patch"}', {})
QUOTA = error_of(403, b'{"kind":"Status","message":"x \\"a\\" is forbidden: exceeded quota"}', {})
BUSY = error_of(503, b"", {})


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def after(*answers: ApiError | None, every_s: float = 6.0) -> Standing:
    clock = Clock()
    standing = Standing(clock)
    for error in answers:
        standing.answered(error)
        clock.now += every_s
    return standing


def test_a_credential_that_is_refused_for_long_stops_everything() -> None:
    assert "refused for 18 s: Unauthorized" in str(after(*[REVOKED] * 3).problem())


def test_any_other_answer_shows_that_the_credential_is_good() -> None:
    assert after(*[REVOKED] * 3, None).problem() is None
    assert after(*[REVOKED] * 3, NO_RIGHT).problem() is None
    assert after(*[REVOKED] * 2).problem() is None


def test_a_server_in_trouble_says_nothing_of_the_credential() -> None:
    assert after(*[REVOKED] * 3, BUSY).problem() is not None


def test_a_moment_is_not_long() -> None:
    assert after(*[REVOKED] * 9, every_s=0.5).problem() is None


def test_what_access_control_refuses_is_passed_on_and_what_admission_does_is_not() -> None:
    assert after(NO_RIGHT).refused.is_set()
    assert not after(QUOTA, BUSY, None, REVOKED).refused.is_set()
