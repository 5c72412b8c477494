"""Is what is planned what happens? Edits chosen by a seed are planned, applied and compared on a real control plane.

    python -m tests.planning --seed 1 --edits 40 --instances 200

`edits` has a definition with every kind of policy, and what may be done to it; `comparing` compares a forecast with the
states of all objects before and after it, and with the writes in the audit log; `rounds` plays.
"""
