"""No function, operator, macro or literal takes too long for its price; see tests/benchmarks/pricing.py."""

import pytest

from tests.benchmarks.pricing import LIMIT_S, function_cases, operator_cases, worst


@pytest.mark.parametrize("cases", [function_cases, operator_cases], ids=["functions", "operators and macros"])
def test_nothing_takes_long_with_the_whole_budget_of_an_evaluation(cases) -> None:
    rows = worst(cases())
    assert [row for row in rows.values() if row.seconds > LIMIT_S] == []
