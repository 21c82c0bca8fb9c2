"""Decisions as pure functions: queue, placement, retry, price, explain, windows, quota.

Same input, same output: no I/O, no clock (``now`` is an argument), no randomness, no knowledge of Kubernetes or processes.
``queue.decide`` is the only scheduler; whoever keeps a queue calls it and applies its actions.
"""
