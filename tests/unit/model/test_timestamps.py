"""Time stamps as the API server writes them."""

from datetime import UTC, datetime, timedelta, timezone

import pytest

from kroasync.model import timestamps

ELSEWHERE = timezone(timedelta(hours=2))
MOMENT = datetime(2026, 1, 2, 5, 4, 5, 678, tzinfo=ELSEWHERE)


def test_stamps_are_in_utc() -> None:
    assert timestamps.seconds(MOMENT) == "2026-01-02T03:04:05Z"
    assert timestamps.microseconds(MOMENT) == "2026-01-02T03:04:05.000678Z"


@pytest.mark.parametrize(
    ("stamp", "moment"),
    [
        ("2026-01-02T03:04:05Z", datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)),
        ("2026-01-02T03:04:05.000678Z", MOMENT),
        ("2026-01-02T05:04:05.000678+02:00", MOMENT),
    ],
)
def test_stamps_are_read(stamp: str, moment: datetime) -> None:
    assert timestamps.parse(stamp) == moment


def test_other_text_is_no_stamp() -> None:
    with pytest.raises(ValueError, match="yesterday"):
        timestamps.parse("yesterday")
