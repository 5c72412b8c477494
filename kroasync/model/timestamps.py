"""Time stamps of objects in RFC 3339, always in UTC. The time is an argument: this floor reads no clock."""

from datetime import UTC, datetime


def seconds(moment: datetime) -> str:
    """The form of metav1.Time, as conditions have it."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def microseconds(moment: datetime) -> str:
    """The form of metav1.MicroTime, as Leases and Events have it."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def parse(stamp: str) -> datetime:
    """The moment of a time stamp of either form, in any time zone; raises ValueError for other text."""
    return datetime.fromisoformat(stamp)
