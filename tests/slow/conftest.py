"""Tests that need seconds: an install, a fuzzer, the price of every function, the steps of large definitions."""

import pytest


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if "tests/slow/" in item.nodeid:
            item.add_marker(pytest.mark.slow)
