"""The two ports: Pool (what a person asks for) and Cluster (what a pool asks of one place), as Protocols with numbered promises.

Protocols, capabilities and the types of streams only; no implementation lives here. ``tests/contract`` holds one suite per port that
every cluster and every pool must pass.
"""
