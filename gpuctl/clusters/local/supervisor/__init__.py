"""The supervisor of one launch: ``python -m gpuctl.clusters.local.supervisor PLAN.json``.

It starts a job's processes, writes down what they say and how they end, and leaves none behind. It never opens the store, and it imports
everything it may need when it starts, for it outlives upgrades of gpuctl. One thread, one selector, no polling but a look at the control
file every half second. The pieces: ``launch`` (slots, tasks waiting, requests), ``taskrun`` (one task from start to end), ``output``
(pipes to logs), ``timetable`` (when limits and windows are due), ``family`` (whose a process is), ``keepercall``, ``spawn``,
``environment``, ``evidence``.
"""
