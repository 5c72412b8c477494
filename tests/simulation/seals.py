"""All schedules run with seals."""

from typing import Final

from kroasync.engine.plan import Options

SEALED: Final = Options(seal_key=b"the key of the simulation, always the same")
