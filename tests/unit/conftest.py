"""Unit tests are short. A test that needs longer belongs in `tests/slow`, which `make test` also runs."""

import os
from collections.abc import Generator
from typing import Any

import pytest

# CPU time, including subprocesses: it depends little on other work of the machine. No test took more than 3 s.
LIMIT_S = 5.0


def cpu_s() -> float:
    return sum(os.times()[:4])


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, Any, Any]:
    """Fail a test that takes longer, except under coverage, which makes all tests slower."""
    began = cpu_s()
    result = yield
    took_s = cpu_s() - began
    if took_s > LIMIT_S and not item.config.pluginmanager.hasplugin("_cov"):
        pytest.fail(f"took {took_s:.1f} s of CPU, expected at most {LIMIT_S:g} s: shrink it or move it to tests/slow")
    return result
