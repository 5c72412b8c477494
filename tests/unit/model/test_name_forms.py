"""Names and labels of every form, at the limits of their lengths."""

import re

import pytest

from kroasync.model.name_forms import DNS_LABEL, DNS_LABEL_1035, LABEL_TEXT, SUBDOMAIN, is_label_value

NAMES = ["a", "a-b", "a" * 63, "1", "1a", "a.b", "a..b", "A", "a_b", "-a", "a-", "", "a" * 64, "\u00e4", "a\n"]


@pytest.mark.parametrize(
    ("form", "matched"),
    [
        (DNS_LABEL, ["a", "a-b", "a" * 63, "1", "1a"]),
        (DNS_LABEL_1035, ["a", "a-b", "a" * 63]),
        (SUBDOMAIN, ["a", "a-b", "a" * 63, "1", "1a", "a.b", "a" * 64]),
        (LABEL_TEXT, ["a", "a-b", "a" * 63, "1", "1a", "a.b", "a..b", "A", "a_b"]),
    ],
)
def test_each_form_takes_its_names_only(form: re.Pattern[str], matched: list[str]) -> None:
    assert [name for name in NAMES if form.fullmatch(name)] == matched


def test_the_value_of_a_label_may_be_empty() -> None:
    assert [name for name in NAMES if is_label_value(name)] == [
        *("a", "a-b", "a" * 63, "1", "1a", "a.b", "a..b", "A", "a_b"),
        "",
    ]
