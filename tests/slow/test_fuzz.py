"""A short run of the fuzzer; the long ones are `python -m tests.fuzz`."""

import runpy
from pathlib import Path

FUZZ = runpy.run_path(str(Path(__file__).parents[1] / "fuzz" / "__main__.py"))


def test_mutated_inputs_end_in_a_value_a_problem_or_a_typed_error() -> None:
    """
    No parser raises an untyped error or takes seconds, whatever it is given.
    """
    assert FUZZ["run"](seed=7, inputs=6000, seconds=60) == 0
