"""No value of a Secret in what a forecast or a log shows."""

from typing import Any

import pytest

from kroasync.engine.difference import difference
from kroasync.engine.withholding import places, withheld, without_secrets
from kroasync.model.kinds import SECRETS
from kroasync.model.objects import Key, Obj
from tests.samples import CONFIG_MAPS

HIDDEN = "hunter2"


def thing(spec: Any, **more: Any) -> Obj:
    return {"apiVersion": "v1", "kind": "Thing", "metadata": {"name": "a"}, "spec": spec, **more}


CASES: list[tuple[tuple[str | int, ...], Any, Any]] = [
    (("spec", "a"), {"a": HIDDEN}, {"a": "other"}),
    (("spec", "a"), {}, {"a": HIDDEN}),
    (("spec", "a"), {"a": HIDDEN}, {}),
    # What is set as a whole has secret names, too.
    (("spec",), {HIDDEN: 1}, {HIDDEN: 2}),
    (("spec", "a"), {"a": {HIDDEN: 1}}, {"a": {}}),
    # Above the place.
    (("spec", "a", "b"), {"a": {"b": HIDDEN}}, {}),
    # An element elsewhere in the list, and elements without names.
    (
        ("spec", "l", 0, "v"),
        {"l": [{"name": "x", "v": "1"}, {"name": "y", "v": HIDDEN}]},
        {"l": [{"name": "x", "v": "1"}]},
    ),
    (("spec", "l", 0), {"l": [HIDDEN]}, {"l": ["other"]}),
    # The key of an element is the value.
    (("spec", "l", 0, "name"), {"l": [{"name": HIDDEN, "v": 1}]}, {"l": [{"name": HIDDEN, "v": 2}]}),
    (("spec", "l", 3), {"l": [{"name": HIDDEN, "v": 1}]}, {"l": [{"name": HIDDEN, "v": 2}]}),
    (("spec", "l"), {"l": [{"name": HIDDEN, "v": 1}]}, {"l": [{"name": HIDDEN, "v": 2}]}),
]


@pytest.mark.parametrize(("path", "before", "after"), CASES)
def test_no_value_is_shown(path: tuple[str | int, ...], before: Any, after: Any) -> None:
    for one, other in ((before, after), (after, before)):
        changes = [withheld(change, (path,)) for change in difference(thing(one), thing(other))]
        assert changes
        assert HIDDEN not in repr([(c.route, c.path, c.before, c.after) for c in changes])
        assert HIDDEN not in repr(without_secrets(thing(one), (path,)))


def test_what_is_beside_a_secret_value_is_shown() -> None:
    path = ("spec", "l", 0, "v")
    before, after = ({"l": [{"name": "x", "v": HIDDEN, "w": w}]} for w in ("1", "2"))
    (change,) = difference(thing(before), thing(after))
    assert withheld(change, (path,)) == change
    assert without_secrets(thing(after), (path,))["spec"]["l"][0]["w"] == "2"


def test_the_content_of_a_secret_is_withheld_whoever_wrote_it() -> None:
    secret = Key(SECRETS, "n", "s")
    before = {"metadata": {"name": "s"}, "data": {"token": HIDDEN, "x": "1"}, "type": "Opaque"}
    after = {**before, "data": {"token": "other", "x": "1"}}
    (change,) = (withheld(one, places(secret, ())) for one in difference(before, after))
    assert change.path == "data.token"
    assert HIDDEN not in repr(change)
    shown = without_secrets(before, places(secret, ()))
    assert list(shown["data"]) == ["token", "x"]
    assert HIDDEN not in repr(shown)
    assert places(Key(CONFIG_MAPS, "n", "c"), ()) == ()
