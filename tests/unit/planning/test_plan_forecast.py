"""Instances with the same steps are one group."""

from kroasync.planning.forecast import Forecast, InstanceForecast, PlannedStep, Verb
from tests.unit.planning.samples import create, step, update, web


def instance(name: str, *steps: PlannedStep, namespace: str = "team", **more: str) -> InstanceForecast:
    return InstanceForecast(key=web(name, namespace), steps=steps, **more)  # type: ignore[arg-type]


def sizes(*instances: InstanceForecast) -> list[int]:
    return [len(group.keys) for group in Forecast(instances=instances).groups()]


def test_steps_that_differ_only_in_the_names_of_their_instances_are_the_same() -> None:
    assert sizes(*(instance(name, update(name), create(name)) for name in ("a", "b", "c"))) == [3]


def test_other_values_verbs_and_reasons_are_other_groups() -> None:
    assert sizes(instance("a", update("a", new="x")), instance("b", update("b", new="y"))) == [1, 1]
    assert sizes(instance("a", update("a")), instance("b", update("b", why="because"))) == [1, 1]
    assert sizes(instance("a", create("a")), instance("b", step(Verb.UNKNOWN, "b"))) == [1, 1]
    assert sizes(instance("a"), instance("b", error="gone")) == [1]


def test_the_largest_group_is_the_first() -> None:
    groups = Forecast(
        instances=(instance("z", create("z")), *(instance(name, update(name)) for name in ("b", "a")))
    ).groups()
    assert [[key.name for key in group.keys] for group in groups] == [["b", "a"], ["z"]]


def test_a_name_that_is_part_of_a_word_is_no_name() -> None:
    # An instance called "a" does not make one text of "a cat" and "b cbt".
    assert sizes(instance("a", update("a", why="a cat")), instance("b", update("b", why="b cbt"))) == [1, 1]
    assert sizes(instance("a", update("a", why="a cat")), instance("b", update("b", why="b cat"))) == [2]


def test_counts_leave_drift_apart() -> None:
    found = Forecast(instances=(InstanceForecast(key=web(), edit=update(), steps=(create(),), drift=(update(),)),))
    assert found.counts() == {Verb.UPDATE: 1, Verb.CREATE: 1}
    assert found.drift_counts() == {Verb.UPDATE: 1}
    assert found.has_changes
    assert not Forecast(instances=(InstanceForecast(key=web(), drift=(update(),)),)).has_changes
