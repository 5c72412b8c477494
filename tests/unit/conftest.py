"""Unit tests are short. A test that needs longer belongs in `tests/slow`, which `make test` also runs."""

import os
from collections.abc import Generator
from typing import Any

import pytest

# Of CPU, subprocesses included: it depends little on what else the machine does. None took more than 3 s.
LIMIT_S = 5.0


def cpu_s() -> float:
    return sum(os.times()[:4])


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, Any, Any]:
    """Fails a test that takes longer. Under coverage everything does."""
    began = cpu_s()
    result = yield
    took_s = cpu_s() - began
    if took_s > LIMIT_S and not item.config.pluginmanager.hasplugin("_cov"):
        pytest.fail(f"took {took_s:.1f} s of CPU, expected at most {LIMIT_S:g} s: shrink it or move it to tests/slow")
    return result
