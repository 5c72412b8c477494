"""Timestamps and durations: conversion between text and nanoseconds, and the parts of a date.

The text of a timestamp follows RFC 3339, that of a duration Go's time.ParseDuration. This module computes the calendar
itself, because a time zone can shift a timestamp of year 1 or 9999 out of the range of Python's datetime.
"""

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Final

from kroasync.cel.errors import RangeError, ValueError_
from kroasync.cel.meter import Meter
from kroasync.cel.values import INT_MAX, INT_MIN, Duration, Timestamp

SECOND: Final = 1_000_000_000
_MINUTE: Final = 60 * SECOND
_HOUR: Final = 60 * _MINUTE
_DAY_S: Final = 86_400
# 0001-01-01T00:00:00Z and 9999-12-31T23:59:59.999999999Z, the range of google.protobuf.Timestamp.
MIN_NS: Final = -62_135_596_800 * SECOND
MAX_NS: Final = 253_402_300_800 * SECOND - 1

_RFC3339: Final = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)T(\d\d):(\d\d):(\d\d)(?:\.(\d+))?(?:Z|([+-])(\d\d):(\d\d))", re.ASCII
)
_DATE: Final = re.compile(r"(\d{4})-(\d\d)-(\d\d)", re.ASCII)
_DURATION_PART: Final = re.compile(r"(\d*)(?:\.(\d*))?(ns|us|µs|μs|ms|s|m|h)", re.ASCII)
_UNITS: Final = {
    "ns": 1,
    "us": 1_000,
    "µs": 1_000,
    "μs": 1_000,
    "ms": 1_000_000,
    "s": SECOND,
    "m": _MINUTE,
    "h": _HOUR,
}
_OFFSET: Final = re.compile(r"([+-]?)(\d\d?):(\d\d)", re.ASCII)
# How much of a text a message shows.
_SHOWN: Final = 100
# Time zone names have at most this length.
_LONGEST_ZONE: Final = 64
# The cost of loading a time zone that the meter does not keep yet.
_ZONE_STEPS: Final = 1000
_MONTH_DAYS: Final = (31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)


@dataclass(frozen=True, slots=True)
class Civil:
    """The date and time of a moment in a time zone; month and day start at 1, weekday is 0 for Sunday."""

    year: int
    month: int
    day: int
    hour: int
    minute: int
    second: int
    ns: int
    weekday: int
    day_of_year: int


def checked_timestamp(ns: int) -> Timestamp:
    """A timestamp; raises RangeError if it is out of range."""
    if not MIN_NS <= ns <= MAX_NS:
        raise RangeError("timestamp out of range")
    return Timestamp(ns)


def checked_duration(ns: int) -> Duration:
    """A duration; raises RangeError if it is out of range."""
    if not INT_MIN <= ns <= INT_MAX:
        raise RangeError("duration out of range")
    return Duration(ns)


def parse_timestamp(text: str) -> Timestamp:
    """RFC 3339 with up to nanoseconds; raises ValueError_ or RangeError."""
    match = _RFC3339.fullmatch(text)
    if match is None:
        raise ValueError_(f"invalid timestamp {text[:_SHOWN]!r}", value=text)
    year, month, day, hour, minute, second = map(int, match.groups()[:6])
    if not _is_date(year, month, day) or hour > 23 or minute > 59 or second > 59:
        raise ValueError_(f"invalid timestamp {text[:_SHOWN]!r}", value=text)
    seconds = _days(year, month, day) * _DAY_S + hour * 3600 + minute * 60 + second
    sign, offset_h, offset_m = match.groups()[7:]
    if sign is not None:
        if int(offset_h) > 23 or int(offset_m) > 59:
            raise ValueError_(f"invalid timestamp {text[:_SHOWN]!r}", value=text)
        offset = int(offset_h) * 3600 + int(offset_m) * 60
        seconds += offset if sign == "-" else -offset
    return checked_timestamp(seconds * SECOND + _nanoseconds(match[7]))


def parse_date(text: str) -> Timestamp:
    """`2024-05-31` (format `date` of OpenAPI) as midnight UTC, or RFC 3339; raises ValueError_ or RangeError."""
    match = _DATE.fullmatch(text)
    if match is None:
        return parse_timestamp(text)
    year, month, day = map(int, match.groups())
    if not _is_date(year, month, day):
        raise ValueError_(f"invalid date {text[:_SHOWN]!r}", value=text)
    return checked_timestamp(_days(year, month, day) * _DAY_S * SECOND)


def _nanoseconds(fraction: str | None) -> int:
    return int(fraction[:9].ljust(9, "0")) if fraction else 0


def _is_date(year: int, month: int, day: int) -> bool:
    if not 1 <= month <= 12:
        return False
    leap = month == 2 and year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)
    return 1 <= day <= _MONTH_DAYS[month - 1] + leap


def _days(year: int, month: int, day: int) -> int:
    """Days since 1970-01-01 in the proleptic Gregorian calendar."""
    # Count years from March, so that the leap day is the last day of a year.
    year -= month <= 2
    era, of_era = divmod(year, 400)
    day_of_year = (153 * ((month + 9) % 12) + 2) // 5 + day - 1
    return era * 146_097 + of_era * 365 + of_era // 4 - of_era // 100 + day_of_year - 719_468


def _date(days: int) -> tuple[int, int, int]:
    """The year, month and day of a number of days since 1970-01-01."""
    era, of_era = divmod(days + 719_468, 146_097)
    year = (of_era - of_era // 1460 + of_era // 36_524 - of_era // 146_096) // 365
    day_of_year = of_era - (365 * year + year // 4 - year // 100)
    shifted = (5 * day_of_year + 2) // 153
    month = shifted + 3 if shifted < 10 else shifted - 9
    return year + era * 400 + (month <= 2), month, day_of_year - (153 * shifted + 2) // 5 + 1


def civil(timestamp: Timestamp, zone: str = "UTC", budget: Meter | None = None) -> Civil:
    """The date and time in a time zone: `UTC`, an IANA name or an offset such as `+01:30`; raises ValueError_."""
    seconds, ns = divmod(timestamp.ns, SECOND)
    days, clock = divmod(seconds + _offset_s(zone, seconds, budget), _DAY_S)
    year, month, day = _date(days)
    return Civil(
        year=year,
        month=month,
        day=day,
        hour=clock // 3600,
        minute=clock // 60 % 60,
        second=clock % 60,
        ns=ns,
        weekday=(days + 4) % 7,
        day_of_year=days - _days(year, 1, 1),
    )


def _offset_s(zone: str, seconds: int, budget: Meter | None) -> int:
    """The offset of a time zone from UTC at a moment, in seconds to the east."""
    if zone in ("", "UTC"):
        return 0
    match = _OFFSET.fullmatch(zone)
    if match is not None:
        hours, minutes = int(match[2]), int(match[3])
        if hours > 23 or minutes > 59:
            raise ValueError_(f"invalid timezone: {zone[:_SHOWN]}", value=zone)
        return (hours * 3600 + minutes * 60) * (-1 if match[1] == "-" else 1)
    info = _zone(zone, budget)
    # Near the first and last day of datetime's range, use the offset of the nearest day in the range.
    inside = min(max(seconds, MIN_NS // SECOND + 2 * _DAY_S), MAX_NS // SECOND - 2 * _DAY_S)
    moment = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=inside)
    offset = moment.astimezone(info).utcoffset()
    return int(offset.total_seconds()) if offset is not None else 0


def _zone(name: str, budget: Meter | None) -> tzinfo:
    """A time zone by its IANA name; raises ValueError_."""
    key = ("zone", name)
    found: tzinfo | None = None if budget is None else budget.take(key)
    if found is not None:
        return found
    if budget is not None:
        budget.spend(_ZONE_STEPS)
    if len(name) > _LONGEST_ZONE:
        raise ValueError_(f"unknown time zone {name[:_SHOWN]}", value=name)
    # Import here: the import of zoneinfo takes five milliseconds, and few expressions name a zone.
    from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

    try:
        found = ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise ValueError_(f"unknown time zone {name}", value=name) from error
    if budget is not None:
        budget.keep(key, found)
    return found


def format_timestamp(timestamp: Timestamp, *, fraction: bool = True) -> str:
    """RFC 3339 in UTC; with `fraction`, with as many digits as needed."""
    at = civil(timestamp)
    digits = f".{at.ns:09d}".rstrip("0").rstrip(".") if fraction else ""
    date = f"{at.year:04d}-{at.month:02d}-{at.day:02d}"
    return f"{date}T{at.hour:02d}:{at.minute:02d}:{at.second:02d}{digits}Z"


def parse_duration(text: str) -> Duration:
    """Go's ParseDuration: `1h30m`, `-1.5s`, `0`; raises ValueError_ or RangeError."""
    body = text[1:] if text[:1] in ("-", "+") else text
    total = 0
    offset = 0
    if body != "0":
        while offset < len(body) or not body:
            match = _DURATION_PART.match(body, offset)
            # Reject more digits than int64 can hold before Python converts them.
            digits = "" if match is None else match[1].lstrip("0")
            if match is None or not (match[1] or match[2]) or len(digits) > 19:
                raise ValueError_(f"invalid duration {text[:_SHOWN]!r}", value=text)
            unit = _UNITS[match[3]]
            fraction = (match[2] or "")[:20]
            total += int(digits or "0") * unit + int(fraction or "0") * unit // 10 ** len(fraction)
            offset = match.end()
    return checked_duration(-total if text.startswith("-") else total)


def format_seconds(duration: Duration) -> str:
    """The decimal seconds of a duration, as in `string(duration)`: `5400s`, `0.5s`."""
    sign = "-" if duration.ns < 0 else ""
    seconds, ns = divmod(abs(duration.ns), SECOND)
    return f"{sign}{seconds}" + f".{ns:09d}".rstrip("0").rstrip(".") + "s"


def format_duration(duration: Duration) -> str:
    """Go's Duration.String: `1h30m0s`, `1.5s`, `300ms`, `0s`."""
    ns = abs(duration.ns)
    sign = "-" if duration.ns < 0 else ""
    if ns < SECOND:
        for unit, size in (("ms", 1_000_000), ("µs", 1_000)):
            if ns >= size:
                return f"{sign}{_decimal(ns, size)}{unit}"
        return f"{sign}{ns}ns" if ns else "0s"
    hours, rest = divmod(ns, _HOUR)
    minutes, rest = divmod(rest, _MINUTE)
    text = f"{_decimal(rest, SECOND)}s"
    if hours or minutes:
        text = f"{minutes}m{text}"
    return f"{sign}{hours}h{text}" if hours else sign + text


def _decimal(value: int, unit: int) -> str:
    whole, rest = divmod(value, unit)
    digits = len(str(unit)) - 1
    return f"{whole}.{rest:0{digits}d}".rstrip("0").rstrip(".")
