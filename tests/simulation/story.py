"""A schedule as a list of timed steps: made from a seed, printed for people, and shrunk to the steps that matter."""

import random
from collections.abc import Callable
from dataclasses import dataclass, replace

from tests.simulation.family import (
    AWAY,
    HOME,
    OTHER,
    Place,
    Shape,
    Spec,
    instance_key,
    random_shape,
    random_spec,
    resource_of,
)

_ANSWERS = ("409", "410", "422", "429", "500", "500-leader", "503", "504-done")
_TRANSPORT = ("lost-request", "lost-answer", "slow", "timeout", "timeout-done")
FAULTS = (*_ANSWERS, *_TRANSPORT)
# The controller loses its permission for one kind, or for all kinds.
_FORBIDDEN = ("", "/configmaps", "/deployments", "/graphrevisions", "/customresourcedefinitions", "/widgets")
_METHODS = (
    frozenset({"GET"}),
    frozenset({"PATCH"}),
    frozenset({"POST", "PUT", "DELETE"}),
    frozenset({"GET", "POST", "PUT", "PATCH", "DELETE"}),
)
_WEIGHTS = {
    "update": 5,
    "delete": 3,
    "redefine": 1,
    "undefine": 1,
    "edit": 2,
    "kill": 2,
    "steal": 2,
    "copy": 1,
    "hold": 1,
    "external": 1,
    "scale": 2,
    "fight": 1,
    "recreate": 1,
    "suspend": 1,
    "namespace": 1,
    "crd": 1,
    "fault": 12,
    "forbid": 1,
    "unserve": 1,
    "stale": 1,
    "expire": 1,
    "cut": 2,
    "delay": 1,
    "repeat": 1,
    "refuse": 1,
    "mark": 1,
    "silence": 1,
    "compact": 1,
    "crash": 5,
    "restart": 1,
}


_PICKING = frozenset({"edit", "kill", "steal", "copy", "hold", "scale", "fight", "cut", "delay", "repeat", "refuse"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """An event at `at_s` after the start. Its `kind` determines which fields matter."""

    at_s: float
    kind: str
    definition: int = 0
    instance: int = 0
    shape: Shape | None = None
    spec: Spec | None = None
    pick: int = 0
    seconds: float = 0.0
    rate: float = 0.0
    fault: str = ""
    methods: frozenset[str] = frozenset()
    path: str = ""

    def __str__(self) -> str:
        told = [f"{self.at_s:6.2f} s  {self.kind}"]
        if self.kind in ("create", "update", "delete", "recreate", "suspend"):
            told.append(f"instance {self.definition}/{instance_key(self.definition, self.instance).name}")
        if self.kind in ("define", "redefine", "undefine", "crd"):
            told.append(f"definition {self.definition}")
        told += [str(value) for value in (self.shape, self.spec) if value is not None]
        if self.kind in _PICKING:
            told.append(f"object #{self.pick}")
        if self.fault:
            where = f" {self.path}" if self.path else ""
            told.append(f"{self.fault} of {'/'.join(sorted(self.methods))}{where} at {self.rate:.0%}")
        if self.seconds:
            told.append(f"for {self.seconds:.2f} s")
        return "  ".join(told)


@dataclass(frozen=True, slots=True, kw_only=True)
class Story:
    """A schedule. `seed` also feeds latencies and the draws of the faults.

    Definition n is at `places[n]`, by default a cluster-scoped one of kind n. A webhook always refuses node `refused`.
    """

    seed: int
    steps: tuple[Step, ...]
    places: tuple[Place, ...] = ()
    deployment_s: float = 0.5
    deletes_crds: bool = False
    external_missing: bool = False
    page: int = 500
    refused: str = ""

    def place(self, definition: int) -> Place:
        return self.places[definition] if self.places else Place(kind=definition, name=definition)

    def __str__(self) -> str:
        options = f"Deployments ready after {self.deployment_s:.2f} s"
        options += ", CRDs are deleted" if self.deletes_crds else ""
        options += ", the external object stays away" if self.external_missing else ""
        options += f", pages of {self.page}" if self.page < 500 else ""
        options += f", node {self.refused} is never let in" if self.refused else ""
        places = [f"  definition {n} is {place}" for n, place in enumerate(self.places)]
        return "\n".join([f"seed {self.seed}: {options}", *places, *(f"  {step}" for step in self.steps)])


def story_of(seed: int) -> Story:
    """The schedule of a seed: always the same."""
    rng = random.Random(f"story {seed}")
    places = _places(rng)
    definitions = len(places)
    steps = [
        Step(at_s=rng.uniform(0, 2), kind="define", definition=d, shape=random_shape(rng)) for d in range(definitions)
    ]
    steps += [
        Step(at_s=rng.uniform(0, 4), kind="create", definition=d, instance=i, spec=random_spec(rng))
        for d in range(definitions)
        for i in range(rng.randint(1, 2))
    ]
    if any(step.shape is not None and step.shape.external for step in steps) and rng.random() < 0.8:
        steps.append(Step(at_s=rng.uniform(0, 15), kind="external"))
    kinds = rng.choices(list(_WEIGHTS), list(_WEIGHTS.values()), k=rng.randint(1, 12))
    steps += [_step(rng, kind, definitions) for kind in kinds]
    return Story(
        seed=seed,
        steps=tuple(sorted(steps, key=lambda step: step.at_s)),
        places=places,
        deployment_s=rng.choice((0.1, 0.5, 3.0)),
        deletes_crds=rng.random() < 0.3,
        external_missing=rng.random() < 0.15,
        page=rng.choice((2, 500)),
        refused=rng.choice("abcd") if rng.random() < 0.08 else "",
    )


def _places(rng: random.Random) -> tuple[Place, ...]:
    """One definition or two, cluster-scoped or not; two definitions may have the same kind, or the same name."""

    def namespace() -> str:
        return rng.choice(("", "", HOME, OTHER))

    first = Place(kind=0, name=0, namespace=namespace())
    if rng.random() < 0.6:
        return (first,)
    form = rng.choice(("apart", "apart", "rivals", "namesakes"))
    if form == "apart":
        return first, Place(kind=1, name=1, namespace=namespace())
    if form == "rivals":
        return first, Place(kind=0, name=1, namespace=namespace())
    kind = rng.choice((0, 1))
    return Place(kind=0, name=0, namespace=HOME), Place(kind=kind, name=0, namespace=rng.choice(("", OTHER)))


def _step(rng: random.Random, kind: str, definitions: int) -> Step:
    step = Step(
        at_s=rng.choice((rng.uniform(0, 2), rng.uniform(0, 6), rng.uniform(0, 20))),
        kind=kind,
        definition=rng.randrange(definitions),
        instance=rng.choice((0, 0, 0, 1, 1, 1, AWAY)),
        pick=rng.randrange(100),
    )
    if kind in ("update", "recreate"):
        return replace(step, spec=random_spec(rng))
    if kind == "redefine":
        return replace(step, shape=random_shape(rng))
    if kind == "fault":
        return replace(
            step,
            fault=rng.choice(FAULTS),
            seconds=rng.choice((0.5, 5.0, 30.0)),
            rate=rng.choice((0.1, 0.3, 0.6, 1.0)),
            methods=rng.choice(_METHODS),
        )
    if kind in _SPECIAL:
        return _special(rng, step)
    if kind in ("hold", "silence", "crash", "external", "delay", "namespace", "fight", "suspend"):
        return replace(step, seconds=rng.choice((0.01, 1.0, 8.0)))
    return step


_SPECIAL = frozenset({"forbid", "unserve", "stale", "expire"})


def _special(rng: random.Random, step: Step) -> Step:
    """Faults of some requests only."""
    seconds, rate = rng.choice((0.5, 5.0, 30.0)), rng.choice((0.5, 1.0))
    step = replace(step, seconds=seconds, rate=rate, methods=frozenset({"GET"}))
    if step.kind == "forbid":
        return replace(step, fault="403", path=rng.choice(_FORBIDDEN), methods=rng.choice(_METHODS))
    if step.kind == "unserve":
        # A server that does not serve the kind yet, or no longer serves it.
        path = resource_of(step.definition).path()
        return replace(step, fault="404", path=f"{path}?", seconds=min(seconds, 5.0))
    if step.kind == "stale":
        return replace(step, fault="stale", path="limit=")
    return replace(step, fault="410", path="continue=")


def shrunk(story: Story, fails: Callable[[Story], bool], *, attempts: int = 400) -> Story:
    """A shorter story that still fails: steps are removed while it fails."""
    size = max(1, len(story.steps) // 2)
    while attempts > 0:
        for start in range(0, len(story.steps), size):
            shorter = replace(story, steps=story.steps[:start] + story.steps[start + size :])
            attempts -= 1
            if shorter.steps and fails(shorter):
                story = shorter
                break
            if attempts <= 0:
                break
        else:
            if size == 1:
                break
            size = max(1, size // 2)
    return story
