"""What a verdict becomes when something else has to be looked at sooner."""

import pytest

from kroasync.controller.outcomes import Done, RetryAfter, Verdict, no_later


@pytest.mark.parametrize(
    ("verdict", "expected"),
    [
        (Done(), RetryAfter(delay_s=8, reason="why")),
        (RetryAfter(delay_s=600, reason="x"), RetryAfter(delay_s=8, reason="x")),
        (RetryAfter(delay_s=2, reason="x"), RetryAfter(delay_s=2, reason="x")),
        (RetryAfter(reason="x"), RetryAfter(at_most_s=8, reason="x")),
        (RetryAfter(at_most_s=5, reason="x"), RetryAfter(at_most_s=5, reason="x")),
        (RetryAfter(at_most_s=50, reason="x"), RetryAfter(at_most_s=8, reason="x")),
    ],
)
def test_after_a_delay_at_the_latest(verdict: Verdict, expected: Verdict) -> None:
    assert no_later(verdict, 8, "why") == expected
