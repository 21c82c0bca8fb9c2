"""The window controller: it hands nodes from team to team as the PoolSchedules of a cluster say.

Level-triggered and without memory: ``sources`` give a picture of the cluster, ``observed`` turns it into marked nodes and pods,
``policy.windows.switching`` decides, ``look`` carries that out through ``nodes``, ``pods``, ``queues``, ``telling`` and ``statuses``, and
``controller`` looks again whenever something has changed or the clock says so. It touches its own marks and no others.
"""
