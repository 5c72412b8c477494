"""Measurements, not tests: `python -m benchmarks` brings instances up beside the raw floor of the same machine."""
