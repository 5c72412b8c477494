"""Faults on a real control plane: `python -m tests.faults SCENARIO`; each ends with 1 if a guarantee was broken.

Each module is a scenario. The pure module `checks` checks the guarantees, from the API server's audit log and from the
objects that are stored at the end.
"""
