"""This machine as a Cluster: store, keeper, supervisors, devices, logs, volumes.

May import ``policy``, ``config``, ``port``, ``model`` and ``base``; never another cluster. Who may touch what:

* the store (SQLite) is opened by commands and by the keeper, never by a supervisor;
* a supervisor runs the processes of one job and appends to its attempt's journal, nothing else;
* whoever holds the keeper's lock ingests journals, heals, asks ``policy.queue`` and applies its actions.
"""
