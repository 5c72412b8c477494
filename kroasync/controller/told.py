"""What people were told of an instance, so that a pass that finds the same again does not repeat it."""

from dataclasses import dataclass, field

from kroasync.model.objects import Key

# Notes kept for one instance; of more, some are told twice.
_KEPT = 64


@dataclass(slots=True)
class Told:
    """Notes by instance, until it is gone."""

    _notes: dict[Key, dict[str, None]] = field(default_factory=dict)

    def is_new(self, instance: Key, note: str) -> bool:
        """Whether the note was not told yet; it counts as told from now on."""
        notes = self._notes.setdefault(instance, {})
        if note in notes:
            return False
        if len(notes) >= _KEPT:
            notes.clear()
        notes[note] = None
        return True

    def forget(self, instance: Key) -> None:
        self._notes.pop(instance, None)
