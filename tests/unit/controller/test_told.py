"""A message is not repeated, and the memory of messages is bounded."""

from kroasync.controller.told import Told
from tests.unit.controller.samples import app_key


def test_a_note_is_told_once_for_each_instance_until_that_is_gone() -> None:
    told = Told()
    assert told.is_new(app_key("a"), "x")
    assert not told.is_new(app_key("a"), "x")
    assert told.is_new(app_key("a"), "y")
    assert told.is_new(app_key("b"), "x")
    told.forget(app_key("a"))
    assert told.is_new(app_key("a"), "x")


def test_whoever_makes_much_to_tell_is_not_told_of_for_ever() -> None:
    told = Told()
    news = [told.is_new(app_key(), str(number)) for number in range(1000)]
    assert sum(news) == 256
    assert not any(told.is_new(app_key(), str(number)) for number in range(1000))
