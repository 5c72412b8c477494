"""Suggestions for mistyped words."""

import pytest

from kroasync.model.suggest import did_you_mean


@pytest.mark.parametrize(
    ("word", "candidates", "expected"),
    [
        ("templte", ["template", "externalRef"], "template"),
        ("readywhen", ["readyWhen", "includeWhen"], "readyWhen"),
        ("stirng", ["string", "integer"], "string"),
        ("kind", ["kind"], None),
        ("zzz", ["template"], None),
        ("ab", ["ac", "ad"], "ac"),
        ("", ["a"], None),
        ("a" * 1000, ["a" * 999], None),
    ],
)
def test_the_closest_candidate_is_suggested(word: str, candidates: list[str], expected: str | None) -> None:
    assert did_you_mean(word, candidates) == expected
