"""What gpuctl talks about: jobs, attempts, clusters, nodes, devices, volumes, usage, reasons, evidence.

Frozen values (msgspec Structs) and the pure facts about them. No I/O, no clock, no decisions, no formatting for people. The same
types travel from a cluster through a pool to the terminal, the REST contract and a notebook.
"""
