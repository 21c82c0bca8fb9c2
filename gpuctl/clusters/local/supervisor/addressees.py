"""Whom a signal is meant for, among the processes of a task."""

from collections.abc import Iterable

from gpuctl.clusters.local import processes
from gpuctl.clusters.local.processes import Process

_SHELLS = frozenset({"sh", "bash", "dash", "zsh", "ksh", "mksh", "ash", "fish", "busybox"})


def of_the_end(main: Process) -> list[Process]:
    """A main process; where it is a shell, also what it has started, for a shell tells its children nothing.

    Not every process: data-loader workers that die of the SIGTERM would break the checkpoint that their parent is writing, and torch's
    agent passes it on to its ranks by itself.
    """
    found = [main]
    if _name(main.pid) not in _SHELLS:
        return found
    rows = processes.table()
    todo = [main.pid]
    while todo:
        above = todo.pop()
        for row in rows.values():
            if row.ppid == above:
                found.append(row)
                if _name(row.pid) in _SHELLS:
                    todo.append(row.pid)
    return found


def of_the_warning(mains: Iterable[Process], everything: Iterable[Process]) -> list[Process]:
    """For ``--signal``: the ranks, where a launcher has started some (not what these have started), else the main processes."""
    rows = {process.pid: process for process in everything}
    ranked = {pid for pid in rows if "LOCAL_RANK" in processes.environment(pid)}
    return [rows[pid] for pid in ranked if rows[pid].ppid not in ranked] or list(mains)


def _name(pid: int) -> str:
    try:
        with open(f"/proc/{pid}/comm", encoding="utf-8", errors="replace") as file:
            return file.read().rstrip("\n")
    except OSError:
        return ""
