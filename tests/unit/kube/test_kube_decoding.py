"""Objects that are nested too deeply for orjson do not prevent reading the other objects of the list."""

import json

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kroasync.kube.decoding import decoded

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


def nested(levels: int, inside: str = "1") -> str:
    return '{"a]":[' * (levels // 2) + inside + "]}" * (levels // 2)


@given(JSON)
def test_data_of_usual_depth_is_as_it_was(data: object) -> None:
    assert decoded(json.dumps(data).encode()) == data


@given(JSON)
def test_what_is_beside_something_too_deep_is_as_it_was(data: object) -> None:
    text = f'[{json.dumps(data)}, {nested(5000)}, "[{{", {json.dumps(data)}]'
    first, _, third, last = decoded(text.encode())
    assert (first, third, last) == (data, "[{", data)


def test_the_cut_is_at_a_thousand_levels() -> None:
    found, levels = decoded(nested(3000).encode()), 0
    while found is not None:
        found = found["a]"] if isinstance(found, dict) else found[0]
        levels += 1
    assert levels == 1000


@pytest.mark.parametrize("text", ["", "{", "nonsense", "[" * 5000, nested(5000)[:-1], nested(5000) + "]"])
def test_what_is_no_json_is_refused(text: str) -> None:
    with pytest.raises(orjson.JSONDecodeError):
        decoded(text.encode())
