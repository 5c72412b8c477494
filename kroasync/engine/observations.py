"""Which observation of an object wins: what a watch, a list or the answer to a request of ours says.

Three channels tell of the same objects, and none waits for another:

- A watch tells every change, in order, but late. It also tells that an object (a UID) was deleted or left the selector.
- A list tells all that there was at its version. It comes in pages: meanwhile the answer to a request of ours may have
  told of something later. What a list lacks was not there at its version, which says nothing of later ones.
- An answer tells what there was right after our own request. The watch may be faster: with the same state, with a later
  one, with the deletion of the object, even with another object of that name.

So nothing is taken because it came last. What counts is its age: how it relates to what is known of that name. Versions
of one kind are ordered numbers (KEP-5504); those that are no numbers count as newer if they differ. A table for each
cache says what follows. Children that went lately are remembered, so that nothing late brings one back. Instances need
no such memory: an answer never makes an instance known.
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
    """Who says it."""

    # The watch, a list, or a read of the object.
    SEEN = "seen"
    # The answer to a write of ours.
    ANSWER = "answer"
    # The watch, or the answer to a request, says that the object is gone.
    DELETED = "deleted"
    # A list, which has a version, lacks the object.
    ABSENT = "absent"


class Age(StrEnum):
    """How what is said relates to what is known of that name."""

    # Nothing is known.
    UNKNOWN = "unknown"
    # Nothing is known, and a list that is not older lacks the object.
    MISSED = "missed"
    # It is a state from before the object went.
    PAST = "past"
    OLDER = "older"
    SAME = "same"
    NEWER = "newer"
    # It is of another object than the known one, and certainly older; or not.
    PREDECESSOR = "predecessor"
    SUCCESSOR = "successor"


class Effect(StrEnum):
    """What is to be done."""

    IGNORE = "ignore"
    # Know this from now on.
    TAKE = "take"
    # It is what is known: take fields of it that were not kept.
    REFILL = "refill"
    # Keep what is known, and learn what was applied.
    LEARN = "learn"
    # Have the instance looked at again: what is known does not tell.
    ASK = "ask"
    # Remember that this object went.
    NOTE = "note"
    # Remember that it went, and know it no more.
    LOSE = "lose"
    # Know it no more; what told of it may have been later.
    DROP = "drop"


Table: TypeAlias = Mapping[Origin, Mapping[Age, Effect]]

# What a list lacks is gone, unless it is known from later than the list.
_ABSENT: Final = {Age.OLDER: Effect.IGNORE, Age.SAME: Effect.DROP, Age.NEWER: Effect.DROP}

CHILDREN: Final[Table] = {
    Origin.SEEN: {
        Age.UNKNOWN: Effect.TAKE,
        Age.PAST: Effect.IGNORE,
        Age.OLDER: Effect.IGNORE,
        # As most events, which are of our own writes.
        Age.SAME: Effect.REFILL,
        Age.NEWER: Effect.TAKE,
        Age.PREDECESSOR: Effect.IGNORE,
        Age.SUCCESSOR: Effect.TAKE,
    },
    Origin.ANSWER: {
        Age.UNKNOWN: Effect.TAKE,
        # It is gone, or its event is still to come.
        Age.MISSED: Effect.ASK,
        # It was deleted before the answer came: nobody knew whose it was then.
        Age.PAST: Effect.ASK,
        Age.OLDER: Effect.LEARN,
        Age.SAME: Effect.REFILL,
        Age.NEWER: Effect.TAKE,
        # It was deleted meanwhile, and there is a new object of that name.
        Age.PREDECESSOR: Effect.IGNORE,
        Age.SUCCESSOR: Effect.TAKE,
    },
    Origin.DELETED: {
        Age.UNKNOWN: Effect.NOTE,
        # It left the selector, and an answer of later brought it back.
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
        # The watch alone tells of new objects, in order.
        Age.PREDECESSOR: Effect.TAKE,
        Age.SUCCESSOR: Effect.TAKE,
    },
    Origin.ANSWER: {
        # It went meanwhile.
        Age.UNKNOWN: Effect.IGNORE,
        Age.OLDER: Effect.IGNORE,
        Age.SAME: Effect.IGNORE,
        Age.NEWER: Effect.TAKE,
        Age.PREDECESSOR: Effect.IGNORE,
        Age.SUCCESSOR: Effect.IGNORE,
    },
    Origin.DELETED: {
        Age.UNKNOWN: Effect.IGNORE,
        # It has left for good: instances are watched without a selector.
        Age.OLDER: Effect.DROP,
        Age.SAME: Effect.DROP,
        Age.NEWER: Effect.DROP,
        Age.PREDECESSOR: Effect.IGNORE,
        Age.SUCCESSOR: Effect.IGNORE,
    },
    Origin.ABSENT: _ABSENT,
}


def age(seen: Sighting, known: Sighting | None, *, gone: Sighting | None = None, lacked: str | None = None) -> Age:
    """How an observation relates to what is known of its name.

    `gone` is the last state of the object of that name that went last, and `lacked` the version of a list of
    meanwhile.
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
