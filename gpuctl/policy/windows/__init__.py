"""Time windows: whose nodes are these, when does that change, and what follows for a job.

Pure functions over a :class:`~gpuctl.model.schedule.PoolSchedule` and instants (UTC). ``cron`` finds the firings of cron expressions on the
wall clock of a zone, ``owners`` what follows from them, ``selection`` the nodes, ``review`` what is wrong with a schedule, ``view`` what
people are shown, ``edges`` what a scheduler needs. Only the first and what uses it loads cronsim and zoneinfo: a pool without a schedule
never does.
"""
