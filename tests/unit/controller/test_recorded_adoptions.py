"""The Events about objects that are adopted, refused or recreated."""

from dataclasses import replace

from kroasync.controller.events import Recorder
from kroasync.controller.options import RuntimeOptions
from kroasync.controller.perform import Performer
from kroasync.controller.recording import Recording
from kroasync.engine.outcome import Outcome
from kroasync.engine.scope import Scope
from kroasync.metrics import Metrics
from tests.unit.controller.samples import NOW, StubClient, app, app_key, config_key

NOTHING = Outcome(instance=app(version=1), scope=Scope({}))


class Desk:
    """Records, and returns the Events as `kind: note`."""

    def __init__(self) -> None:
        self.client = StubClient({"create": [{}] * 6})
        self.recorder = Recorder(self.client, reporter="r", instance="i", now=lambda: NOW)  # type: ignore[arg-type]
        self.recording = Recording(self.recorder, Metrics(), RuntimeOptions())
        self.performer = Performer(*[None] * 7)  # type: ignore[arg-type]

    async def events(self) -> list[str]:
        self.client.asked.clear()
        await self.recorder.flush()
        return [f"{event['regarding']['kind']}: {event['note']}" for _, _, event in self.client.asked]


async def test_a_recreation_is_told_with_the_fields() -> None:
    desk = Desk()
    found = replace(NOTHING, recreated={config_key(): "data: field is immutable"})
    desk.recording.recreations(app(version=1), found)
    assert await desk.events() == [
        f"App: deleted {config_key()} to create it anew, as fields of it cannot be changed: data: field is immutable"
    ]


async def test_what_is_held_is_told_once_whatever_its_values_are_and_other_refusals_by_their_text() -> None:
    desk = Desk()

    async def told(text: str, *, held: bool) -> list[str]:
        keys = frozenset({config_key()} if held else ())
        found = replace(NOTHING, not_adopted={config_key(): text}, awaiting_fields=keys)
        desk.recording.adoptions(app_key(), app(version=1), found, desk.performer)
        return await desk.events()

    assert await told("is 2", held=True) == ["App: is 2"]
    assert await told("is 3", held=True) == []
    assert await told("belongs to Helm", held=False) == ["App: belongs to Helm"]
    assert await told("belongs to Flux", held=False) == ["App: belongs to Flux"]


async def test_an_object_that_nobody_managed_is_told_as_adopted() -> None:
    desk = Desk()
    desk.performer.taken_over[config_key()] = ()
    desk.performer.existed[config_key()] = app(version=1)
    desk.recording.adoptions(app_key(), app(version=1), NOTHING, desk.performer)
    first, second = await desk.events()
    assert first == f"App: adopted {config_key()}, which existed before; nobody managed its fields"
    kept = "and deleted with it unless its deletion policy is Orphaned"
    assert second == f"App: adopted by {app_key()}, {kept}; nobody managed its fields"
