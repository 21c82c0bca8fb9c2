"""Which living processes are whose: a task's own, their descendants, orphans that a launch adopted, and those that only look like it."""

import os
from typing import TYPE_CHECKING

from gpuctl.clusters.local import cgroup, processes
from gpuctl.clusters.local.processes import Process

if TYPE_CHECKING:
    from gpuctl.clusters.local.supervisor.taskrun import TaskRun


class Family:
    """The processes of a launch, of which this process is the root.

    Attributes:
        owners: tasks by their main processes.
        strangers: (pid, start) of processes below this one that belong to another launch, as of a job that submits a job.
    """

    def __init__(self, *, job_id: str, launch: int) -> None:
        self.owners: dict[int, TaskRun] = {}
        self.strangers: set[tuple[int, int]] = set()
        self._job_id = job_id
        self._launch = launch

    def of(self, run: "TaskRun") -> list[Process]:
        """Every living process of one task: its main processes, what descends from them, and orphans of theirs."""
        children = processes.own_children()
        unowned = [pid for pid in children if pid not in self.owners]
        mine = [pid for pid in children if self.owners.get(pid) is run]
        if not unowned and not mine:
            return []
        rows = processes.table()
        roots = mine + [pid for pid in unowned if pid in rows and not rows[pid].dead and self._orphan_of(run, rows[pid])]
        below = processes.descendants(roots, rows, skip=lambda pid: self._is_strange(rows[pid]))
        return [row for row in (*(rows[pid] for pid in roots if pid in rows), *below) if not row.dead]

    def left(self, group: str | None) -> list[Process]:
        """Every living process that this launch has started, by descent and by its cgroup."""
        rows = processes.table()
        known = {row.pid: row for row in processes.descendants([os.getpid()], rows, skip=lambda pid: self._is_strange(rows[pid]))}
        if group is not None:
            inside = (rows[pid] for pid in cgroup.members(group) if pid in rows and pid != os.getpid())
            known.update({row.pid: row for row in inside if row.pid in known or not self._is_strange(row)})
        return [row for row in known.values() if not row.dead]

    def _orphan_of(self, run: "TaskRun", orphan: Process) -> bool:
        if self._is_strange(orphan):
            return False
        if run.task.index is None or orphan.session in run.sessions:
            return True
        env = processes.environment(orphan.pid)
        return env.get("GPUCTL_ARRAY_INDEX") == str(run.task.index)

    def _is_strange(self, row: Process) -> bool:
        key = (row.pid, row.start)
        if key in self.strangers:
            return True
        if processes.is_foreign(row.pid, self._job_id, self._launch):
            self.strangers.add(key)
            return True
        return False
