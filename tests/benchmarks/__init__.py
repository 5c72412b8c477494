"""Measurements, not tests: `python -m tests.benchmarks` compares instances with the same writes of a bare client."""
