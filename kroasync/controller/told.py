"""What people were told of an instance, so that a pass that finds the same again does not repeat it."""

from dataclasses import dataclass, field

from kroasync.model.objects import Key

# Notes of one instance: more are told by its conditions only, or whoever makes many things to tell would fill the
# API server with Events.
_TOLD = 256


@dataclass(slots=True)
class Told:
    """Notes by instance, until it is gone."""

    _notes: dict[Key, dict[str, None]] = field(default_factory=dict)

    def is_new(self, instance: Key, note: str) -> bool:
        """Whether the note was not told yet; it counts as told from now on."""
        notes = self._notes.setdefault(instance, {})
        if note in notes or len(notes) >= _TOLD:
            return False
        notes[note] = None
        return True

    def forget(self, instance: Key) -> None:
        self._notes.pop(instance, None)
