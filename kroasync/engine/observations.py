"""Decide which observation of an object wins: a watch event, a list, or the answer to our own request.

Three channels report the same objects, and none waits for another:

- A watch reports every change, in order, but late. It also reports that an object (a UID) was deleted or left the
  selector.
- A list reports all objects at its version. It comes in pages, so an answer may report a later state before the list is
  complete. An object that the list lacks did not exist at the version of the list; it may exist at a later version.
- An answer reports the object right after our own request. The watch may be faster: it may already have reported the
  same state, a later state, the deletion of the object, or even another object of the same name.

So the last report to arrive does not always win. Its age decides: how the report relates to the known state of that
name. Versions of one kind are ordered numbers (KEP-5504); a version that is no number counts as newer if it differs. A
table for each cache maps the age to an effect. The cache of children remembers objects that were deleted lately, so no
late report brings them back. The cache of instances needs no such memory: an answer never adds an instance to it.
"""

from collections.abc import Mapping
from enum import StrEnum
from typing import Final, TypeAlias

from kroasync.model.objects import Obj, is_newer, is_older, uid_of, version_of

# UID and resourceVersion.
Sighting: TypeAlias = tuple[str, str]


def sighting_of(obj: Obj) -> Sighting:
    """What counts of an object for its age."""
    return uid_of(obj), version_of(obj)


class Origin(StrEnum):
    """The channel of a report."""

    # The watch, a list, or a read of the object.
    SEEN = "seen"
    # The answer to a write of ours.
    ANSWER = "answer"
    # The watch, or the answer to a request, reports that the object is gone.
    DELETED = "deleted"
    # A list lacks the object; the list has a version.
    ABSENT = "absent"


class Age(StrEnum):
    """How a report relates to the known state of that name."""

    # Nothing is known.
    UNKNOWN = "unknown"
    # Nothing is known, and a list that is at least as new lacks the object.
    MISSED = "missed"
    # The report is older than the deletion of the object.
    PAST = "past"
    OLDER = "older"
    SAME = "same"
    NEWER = "newer"
    # The report is about another object of that name, which is certainly older, or may be newer.
    PREDECESSOR = "predecessor"
    SUCCESSOR = "successor"


class Effect(StrEnum):
    """What the cache does with a report."""

    IGNORE = "ignore"
    # Replace the known state.
    TAKE = "take"
    # Keep the known state, and add fields from this report that were not kept.
    REFILL = "refill"
    # Keep the known state, and remember the hashes of the apply.
    LEARN = "learn"
    # Run a pass over the instance: the known state does not decide.
    ASK = "ask"
    # Remember that this object is gone.
    NOTE = "note"
    # Forget the known state, and remember that the object is gone.
    LOSE = "lose"
    # Forget the known state, but do not count the object as gone: a newer report may follow.
    DROP = "drop"


Table: TypeAlias = Mapping[Origin, Mapping[Age, Effect]]

# An object that a list lacks is gone, unless the known state is newer than the list.
_ABSENT: Final = {Age.OLDER: Effect.IGNORE, Age.SAME: Effect.DROP, Age.NEWER: Effect.DROP}

CHILDREN: Final[Table] = {
    Origin.SEEN: {
        Age.UNKNOWN: Effect.TAKE,
        Age.PAST: Effect.IGNORE,
        Age.OLDER: Effect.IGNORE,
        # Most events are of this age: they follow our own writes.
        Age.SAME: Effect.REFILL,
        Age.NEWER: Effect.TAKE,
        Age.PREDECESSOR: Effect.IGNORE,
        Age.SUCCESSOR: Effect.TAKE,
    },
    Origin.ANSWER: {
        Age.UNKNOWN: Effect.TAKE,
        # The object is gone, or its event is late.
        Age.MISSED: Effect.ASK,
        # The object was deleted before the answer arrived, when the cache did not know its instance.
        Age.PAST: Effect.ASK,
        Age.OLDER: Effect.LEARN,
        Age.SAME: Effect.REFILL,
        Age.NEWER: Effect.TAKE,
        # The object was deleted meanwhile, and a new object has its name.
        Age.PREDECESSOR: Effect.IGNORE,
        Age.SUCCESSOR: Effect.TAKE,
    },
    Origin.DELETED: {
        Age.UNKNOWN: Effect.NOTE,
        # The object left the selector, and a later answer brought it back.
        Age.OLDER: Effect.IGNORE,
        Age.SAME: Effect.LOSE,
        Age.NEWER: Effect.LOSE,
        Age.PREDECESSOR: Effect.NOTE,
        Age.SUCCESSOR: Effect.NOTE,
    },
    Origin.ABSENT: _ABSENT,
}

INSTANCES: Final[Table] = {
    Origin.SEEN: {
        Age.UNKNOWN: Effect.TAKE,
        Age.OLDER: Effect.IGNORE,
        Age.SAME: Effect.IGNORE,
        Age.NEWER: Effect.TAKE,
        # Only the watch reports new instances, and it reports them in order.
        Age.PREDECESSOR: Effect.TAKE,
        Age.SUCCESSOR: Effect.TAKE,
    },
    Origin.ANSWER: {
        # The object was deleted meanwhile.
        Age.UNKNOWN: Effect.IGNORE,
        Age.OLDER: Effect.IGNORE,
        Age.SAME: Effect.IGNORE,
        Age.NEWER: Effect.TAKE,
        Age.PREDECESSOR: Effect.IGNORE,
        Age.SUCCESSOR: Effect.IGNORE,
    },
    Origin.DELETED: {
        Age.UNKNOWN: Effect.IGNORE,
        # The object is gone for good: the watch of instances has no selector.
        Age.OLDER: Effect.DROP,
        Age.SAME: Effect.DROP,
        Age.NEWER: Effect.DROP,
        Age.PREDECESSOR: Effect.IGNORE,
        Age.SUCCESSOR: Effect.IGNORE,
    },
    Origin.ABSENT: _ABSENT,
}


def age(seen: Sighting, known: Sighting | None, *, gone: Sighting | None = None, lacked: str | None = None) -> Age:
    """How an observation relates to the known state of its name.

    `gone` is the last state of the most recently deleted object of that name. `lacked` is the version of a list that
    arrived since the request was sent.
    """
    if seen == known:
        return Age.SAME
    uid, version = seen
    if known is None and lacked is not None and not is_older(lacked, version):
        return Age.MISSED
    if gone is not None and gone[0] == uid and not is_newer(version, gone[1]):
        return Age.PAST
    if known is None:
        return Age.UNKNOWN
    if known[0] != uid:
        return Age.PREDECESSOR if is_older(version, known[1]) else Age.SUCCESSOR
    return Age.NEWER if is_newer(version, known[1]) else Age.OLDER
