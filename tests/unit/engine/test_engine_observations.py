"""Which observation wins: the ages of observations, and their consequences for each cache."""

import pytest

from kroasync.engine.observations import CHILDREN, INSTANCES, Age, Effect, Origin, Sighting, age

# UIDs. Versions are numbers, except where a row has another form.
A, B = "a", "b"


@pytest.mark.parametrize(
    ("seen", "known", "gone", "lacked", "expected"),
    [
        ((A, "5"), None, None, None, Age.UNKNOWN),
        ((A, "5"), (A, "5"), None, None, Age.SAME),
        ((A, "5"), (A, "6"), None, None, Age.OLDER),
        ((A, "6"), (A, "5"), None, None, Age.NEWER),
        # Versions compare as numbers, not as texts.
        ((A, "10"), (A, "9"), None, None, Age.NEWER),
        ((A, "9"), (A, "10"), None, None, Age.OLDER),
        # Another object with the same name.
        ((B, "6"), (A, "5"), None, None, Age.SUCCESSOR),
        ((B, "4"), (A, "5"), None, None, Age.PREDECESSOR),
        # Versions without an order.
        ((A, "x"), (A, "y"), None, None, Age.NEWER),
        ((A, "x"), (A, "x"), None, None, Age.SAME),
        ((B, "x"), (A, "y"), None, None, Age.SUCCESSOR),
        ((A, ""), (A, "5"), None, None, Age.NEWER),
        # After a deletion: a late observation, the same object again, a new object.
        ((A, "5"), None, (A, "6"), None, Age.PAST),
        ((A, "6"), None, (A, "6"), None, Age.PAST),
        ((A, "7"), None, (A, "6"), None, Age.UNKNOWN),
        ((A, "5"), (B, "7"), (A, "6"), None, Age.PAST),
        ((B, "5"), None, (A, "6"), None, Age.UNKNOWN),
        # A later list lacks the object: observations of the same version or later, of an earlier one, and known ones.
        ((A, "5"), None, None, "5", Age.MISSED),
        ((A, "5"), None, None, "6", Age.MISSED),
        ((A, "5"), None, None, "", Age.MISSED),
        ((A, "5"), None, None, "4", Age.UNKNOWN),
        ((A, "5"), (A, "5"), None, "6", Age.SAME),
    ],
)
def test_the_age_of_an_observation(
    seen: Sighting, known: Sighting | None, gone: Sighting | None, lacked: str | None, expected: Age
) -> None:
    assert age(seen, known, gone=gone, lacked=lacked) is expected


# One column for each age, one letter for each effect; `?` cannot be.
AGES = (Age.UNKNOWN, Age.MISSED, Age.PAST, Age.OLDER, Age.SAME, Age.NEWER, Age.PREDECESSOR, Age.SUCCESSOR)
LETTERS = {
    "T": Effect.TAKE,
    "R": Effect.REFILL,
    "L": Effect.LEARN,
    "A": Effect.ASK,
    "N": Effect.NOTE,
    "-": Effect.IGNORE,
    "X": Effect.LOSE,
    "D": Effect.DROP,
    "?": None,
}


@pytest.mark.parametrize(
    ("table", "origin", "row"),
    [
        # unknown, missed, past, older, same, newer, predecessor, successor
        (CHILDREN, Origin.SEEN, "T?--RT-T"),
        (CHILDREN, Origin.ANSWER, "TAALRT-T"),
        (CHILDREN, Origin.DELETED, "N??-XXNN"),
        (CHILDREN, Origin.ABSENT, "???-DD??"),
        (INSTANCES, Origin.SEEN, "T??--TTT"),
        (INSTANCES, Origin.ANSWER, "-??--T--"),
        (INSTANCES, Origin.DELETED, "-??DDD--"),
        (INSTANCES, Origin.ABSENT, "???-DD??"),
    ],
)
def test_what_follows(table: dict[Origin, dict[Age, Effect]], origin: Origin, row: str) -> None:
    assert [table[origin].get(column) for column in AGES] == [LETTERS[letter] for letter in row]
