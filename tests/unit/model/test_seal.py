"""A seal is valid for one instance, one object and one key."""

import pytest

from kroasync.model.objects import Key, Resource
from kroasync.model.seal import is_sealed, seal
from tests.samples import CONFIG_MAPS

KEY = b"k" * 32
CHILD = Key(CONFIG_MAPS, "team", "a")


def test_the_seal_of_a_child_is_known_again() -> None:
    made = seal(KEY, "uid", CHILD)
    assert made.startswith("v1-")
    assert len(made) <= 63
    assert is_sealed(KEY, "uid", CHILD, made)
    assert is_sealed(KEY, "uid", Key(Resource("", "v2", "ConfigMap", "configmaps"), "team", "a"), made)


@pytest.mark.parametrize(
    ("key", "uid", "child"),
    [
        (b"x" * 32, "uid", CHILD),
        (KEY, "other", CHILD),
        (KEY, "uid", Key(CONFIG_MAPS, "team", "b")),
        (KEY, "uid", Key(CONFIG_MAPS, "victim", "a")),
        (KEY, "uid", Key(CONFIG_MAPS, "", "a")),
        (KEY, "uid", Key(Resource("", "v1", "Secret", "secrets"), "team", "a")),
        (KEY, "uid", Key(Resource("example.com", "v1", "ConfigMap", "configmaps"), "team", "a")),
    ],
)
def test_copied_to_anything_else_it_is_void(key: bytes, uid: str, child: Key) -> None:
    assert not is_sealed(key, uid, child, seal(KEY, "uid", CHILD))


@pytest.mark.parametrize("found", ["", "v1-", "v2-" + seal(KEY, "uid", CHILD)[3:], "\ud800", "ü"])
def test_what_is_no_seal_is_none(found: str) -> None:
    assert not is_sealed(KEY, "uid", CHILD, found)
