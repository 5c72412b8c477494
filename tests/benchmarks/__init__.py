"""Measurements, not tests: `python -m tests.benchmarks` brings instances up beside the raw floor of the machine."""
