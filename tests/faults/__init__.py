"""Faults on a real control plane: `python -m tests.faults SCENARIO`; each ends with 1 if a guarantee was broken.

One module a scenario. What was promised is checked by `checks`, which is pure, from the API server's audit log and from
what is stored afterwards.
"""
