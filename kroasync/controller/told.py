"""Remember the notes that were reported about an instance, so that later passes do not repeat them."""

from dataclasses import dataclass, field

from kroasync.model.objects import Key

# How many notes are reported as Events for one instance; its conditions tell the rest. Otherwise one user could fill
# the API server with Events.
_TOLD = 256


@dataclass(slots=True)
class Told:
    """The reported notes by instance, until the instance is gone."""

    _notes: dict[Key, dict[str, None]] = field(default_factory=dict)

    def is_new(self, instance: Key, note: str) -> bool:
        """True the first time that the note is reported."""
        notes = self._notes.setdefault(instance, {})
        if note in notes or len(notes) >= _TOLD:
            return False
        notes[note] = None
        return True

    def forget(self, instance: Key) -> None:
        self._notes.pop(instance, None)
