"""A schedule as a list of timed steps: made from a seed, told to people, and shrunk to those that matter."""

import random
from collections.abc import Callable
from dataclasses import dataclass, replace

from tests.simulation.family import Shape, Spec, random_shape, random_spec

FAULTS = ("409", "410", "422", "429", "500", "503", "lost-request", "lost-answer", "slow", "timeout", "timeout-done")
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
    "fault": 12,
    "cut": 2,
    "silence": 1,
    "compact": 1,
    "crash": 5,
    "restart": 1,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """Something that happens `at_s` after the start. Which fields matter depends on `kind`."""

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

    def __str__(self) -> str:
        told = [f"{self.at_s:6.2f} s  {self.kind}"]
        if self.kind in ("create", "update", "delete"):
            told.append(f"instance {self.definition}/i{self.instance}")
        if self.kind in ("define", "redefine", "undefine"):
            told.append(f"definition {self.definition}")
        told += [str(value) for value in (self.shape, self.spec) if value is not None]
        if self.kind in ("edit", "kill", "steal", "copy", "hold", "cut"):
            told.append(f"object #{self.pick}")
        if self.fault:
            told.append(f"{self.fault} of {'/'.join(sorted(self.methods))} at {self.rate:.0%}")
        if self.seconds:
            told.append(f"for {self.seconds:.2f} s")
        return "  ".join(told)


@dataclass(frozen=True, slots=True, kw_only=True)
class Story:
    """A schedule. `seed` also feeds latencies and the draws of the faults."""

    seed: int
    steps: tuple[Step, ...]
    deployment_s: float = 0.5
    deletes_crds: bool = False
    external_missing: bool = False

    def __str__(self) -> str:
        options = f"Deployments ready after {self.deployment_s:.2f} s"
        options += ", CRDs are deleted" if self.deletes_crds else ""
        options += ", the external object stays away" if self.external_missing else ""
        return "\n".join([f"seed {self.seed}: {options}", *(f"  {step}" for step in self.steps)])


def story_of(seed: int) -> Story:
    """The schedule of a seed: always the same."""
    rng = random.Random(f"story {seed}")
    definitions = rng.choice((1, 1, 2))
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
        deployment_s=rng.choice((0.1, 0.5, 3.0)),
        deletes_crds=rng.random() < 0.3,
        external_missing=rng.random() < 0.15,
    )


def _step(rng: random.Random, kind: str, definitions: int) -> Step:
    step = Step(
        at_s=rng.choice((rng.uniform(0, 2), rng.uniform(0, 6), rng.uniform(0, 20))),
        kind=kind,
        definition=rng.randrange(definitions),
        instance=rng.randrange(2),
        pick=rng.randrange(100),
    )
    if kind == "update":
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
    if kind in ("hold", "silence", "crash", "external"):
        return replace(step, seconds=rng.choice((0.01, 1.0, 8.0)))
    return step


def shrunk(story: Story, fails: Callable[[Story], bool], *, attempts: int = 400) -> Story:
    """A shorter story that still fails: steps are left out as long as it does."""
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
