"""The budget of an evaluation bounds its memory, wherever the evaluation makes values."""

import tracemalloc

import pytest

from kroasync.cel import BudgetError, ConversionError, Env, EvalError, to_json
from kroasync.cel.meter import Meter
from kroasync.cel.types import DOUBLE, DYN, list_of
from kroasync.engine.allowance import EVALUATION_STEPS

# The limit in docs/operations.md.
LIMIT_MB = 128
TEXT = "a" * 1_400_000


def doubled(depth: int) -> str:
    """`cel.bind`s that share one list; every read of the list's element lifts, and so copies, the element."""
    body = "[z][0]"
    for _ in range(depth):
        body = f"cel.bind(z, [z][0] + [z][0], {body})"
    return body


@pytest.mark.parametrize(
    ("text", "value", "kind"),
    [
        (doubled(7), [1.0] * 10_000, list_of(DOUBLE)),
        ("lists.range(60000).map(i, [z][0])", [1.0] * 10_000, list_of(DOUBLE)),
        ("lists.range(500000)", None, DYN),
        ("lists.range(90000).map(x, {'a': x})", None, DYN),
        ("lists.range(90000).map(x, [[]])", None, DYN),
        ("lists.range(90000).transformMap(i, x, {})", None, DYN),
        ("lists.range(1000).map(i, z.transformMap(k, x, x))", list(range(1000)), DYN),
        ("lists.range(10000).map(i, [z].transformMapEntry(i, x, x))", {str(i): i for i in range(50_000)}, DYN),
        ("lists.range(1000).map(i, z.merge(z))", {str(i): i for i in range(10_000)}, DYN),
        ("lists.range(1000).map(i, z.reverse())", list(range(150_000)), DYN),
        ("lists.range(1000).map(i, z + z)", list(range(150_000)), DYN),
        ("lists.range(1000).map(i, z + z)", "\U0001f600" * 300_000, DYN),
        (" + ".join(["z"] * 500), TEXT, DYN),
        ("lists.range(1000).map(i, z.replace('a', 'bbbb'))", TEXT, DYN),
        ("lists.range(1000).map(i, [z, z, z].join(z))", TEXT, DYN),
        ("lists.range(1000).map(i, '%s%x'.format([z, z]))", TEXT, DYN),
        ("lists.range(1000).map(i, base64.encode(bytes(z)))", TEXT, DYN),
        ("z.split('')", "\u20ac" * 500_000, DYN),
        ("json.unmarshal(z)", "[" + ",".join(["{}"] * 390_000) + "]", DYN),
        ("json.marshal(z)", [TEXT] * 100, DYN),
        ("url(z).getQuery()", "/?" + "a&b&" * 100_000, DYN),
    ],
)
def test_no_evaluation_makes_more_than_the_stated_memory(text, value, kind) -> None:
    program = Env(variables={"z": kind}).program(text)
    tracemalloc.start()
    try:
        program.evaluate({"z": value}, budget=EVALUATION_STEPS)
    except EvalError as error:
        assert isinstance(error, BudgetError)  # noqa: PT017 - the other outcome is a value
    finally:
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert peak < LIMIT_MB * 1e6


def test_lists_that_are_lifted_are_paid_for() -> None:
    program = Env(variables={"z": list_of(DOUBLE)}).program("lists.range(1000).map(i, [z][0])")
    with pytest.raises(BudgetError):
        program.evaluate({"z": [1.0] * 10_000}, budget=EVALUATION_STEPS)


def test_text_that_stands_in_a_result_many_times_counts_as_often_as_it_is_written() -> None:
    with pytest.raises(ConversionError, match="more than 8000000 characters of text"):
        to_json([TEXT] * 20)
    with pytest.raises(BudgetError):
        to_json([["a" * 1000] * 100] * 200, Meter(100_000))


def test_the_first_term_of_a_sum_is_evaluated_once() -> None:
    """Each level used to double the time."""
    text = "1 + 1 + 1"
    for _ in range(40):
        text = f"[{text}][0] + 1 + 1"
    assert Env().program(text).evaluate({}) == 83
