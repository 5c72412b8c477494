"""Coroutines at the same time."""

import asyncio

import pytest

from kroasync.planning.together import together


async def answer(value: int, *, after: int = 0) -> int:
    for _ in range(after):
        await asyncio.sleep(0)
    if value < 0:
        raise ValueError(value)
    return value


async def test_results_are_in_order() -> None:
    assert await together(answer(value, after=3 - value) for value in (1, 2, 3)) == [1, 2, 3]
    assert await together([]) == []


async def test_an_exception_is_raised_as_it_is() -> None:
    with pytest.raises(ValueError, match="-1"):
        await together([answer(1, after=9), together([answer(-1)])])
