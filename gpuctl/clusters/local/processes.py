"""Finding and ending the processes of one launch, without ever touching another's.

Two views of the same processes:

* While a supervisor lives it is their subreaper: whatever a job starts, daemons included, stays among its descendants. Descent is the
  truth, needs no cooperation and costs one read of ``/proc/self/task/*/children``.
* When a supervisor was killed, its orphans belong to init. They are found by the launch's cgroup (if it had one) and by the marker that
  every process of a job carries in its environment, and then by descent from those.

A process that says it is another job's, or one of gpuctl's own residents (a job may submit jobs), is never one of ours, and neither is
what it started. Signals go through a pidfd that was opened before the last look, so a reused pid is never hit.
"""

import contextlib
import os
import signal
import time
from collections.abc import Callable, Collection, Iterable, Iterator
from typing import NamedTuple

from gpuctl.clusters.local import cgroup
from gpuctl.model.spec import Kind

JOB_ID = "GPUCTL_JOB_ID"
LAUNCH = "GPUCTL_LAUNCH"
RESIDENT = "GPUCTL_RESIDENT"
"""Set in the environment of keepers and supervisors themselves: started from within a job, they are no part of it."""

_RESIDENT_MODULES = (b"gpuctl.clusters.local.keeper", b"gpuctl.clusters.local.supervisor")
_TICKS = os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGE_SIZE")
_HAS_PROC = os.path.exists("/proc/self/stat")


class Process(NamedTuple):
    """One row of the process table. ``start`` is in clock ticks since boot and, with ``pid``, names a process for good."""

    pid: int
    ppid: int
    state: str
    session: int
    start: int
    cpu_ticks: int
    rss: int
    threads: int

    @property
    def cpu_seconds(self) -> float:
        """CPU time used so far, user and system, in seconds."""
        return self.cpu_ticks / _TICKS

    @property
    def dead(self) -> bool:
        """A zombie whose threads are all gone: it holds no memory, no file and no device any more."""
        return self.state in "ZX" and self.threads <= 1


def look(pid: int) -> Process | None:
    """The process with this pid now, None when there is none (or no /proc)."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            text = file.read()
    except OSError:
        return None
    fields = text[text.rfind(b")") + 2 :].split()
    return Process(
        pid=pid,
        ppid=int(fields[1]),
        state=fields[0].decode(),
        session=int(fields[3]),
        start=int(fields[19]),
        cpu_ticks=int(fields[11]) + int(fields[12]),
        rss=int(fields[21]) * _PAGE,
        threads=int(fields[17]),
    )


def table() -> dict[int, Process]:
    """Every process of the machine by pid."""
    if not _HAS_PROC:
        return _table_of_ps()
    rows = (look(int(name)) for name in os.listdir("/proc") if name.isdigit())
    return {row.pid: row for row in rows if row is not None}


def _table_of_ps() -> dict[int, Process]:
    """For systems without /proc (macOS): no start times there, and no environments, so descent alone tells whose a process is."""
    import subprocess

    done = subprocess.run(["ps", "-axo", "pid=,ppid=,pgid=,state=,rss="], capture_output=True, text=True, check=False)
    rows = {}
    for line in done.stdout.splitlines():
        pid, ppid, group, state, rss = line.split()[:5]
        rows[int(pid)] = Process(int(pid), int(ppid), state[0], int(group), 0, 0, int(rss) << 10, 1)
    return rows


def environment(pid: int) -> dict[str, str]:
    """The environment a process was started with; empty when it may not be read or was overwritten."""
    try:
        with open(f"/proc/{pid}/environ", "rb") as file:
            block = file.read()
    except OSError:
        return {}
    pairs = (item.partition(b"=") for item in block.split(b"\0") if b"=" in item)
    return {os.fsdecode(name): os.fsdecode(value) for name, _, value in pairs}


def _resident(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            words = file.read(4096).split(b"\0")
    except OSError:
        return False
    return b"-m" in words and any(word in _RESIDENT_MODULES for word in words)


def is_foreign(pid: int, job_id: str, launch: int) -> bool:
    """Whether a process that descends from a job says that it is none of its own: another launch's, or gpuctl's resident."""
    env = environment(pid)
    if env.get(RESIDENT) or _resident(pid):
        return True
    marked = env.get(JOB_ID)
    return marked is not None and (marked, env.get(LAUNCH)) != (job_id, str(launch))


def descendants(roots: Iterable[int], rows: dict[int, Process], *, skip: Callable[[int], bool]) -> list[Process]:
    """What descends from ``roots``, roots excluded, without what ``skip`` refuses and everything below that."""
    children: dict[int, list[int]] = {}
    for row in rows.values():
        children.setdefault(row.ppid, []).append(row.pid)
    found: list[Process] = []
    todo = list(roots)
    while todo:
        for pid in children.get(todo.pop(), ()):
            if not skip(pid):
                found.append(rows[pid])
                todo.append(pid)
    return found


def own_children() -> list[int]:
    """Pids of this process's direct children, adopted orphans and zombies included."""
    try:
        with open(f"/proc/self/task/{os.getpid()}/children", "rb") as file:
            return [int(word) for word in file.read().split()]
    except OSError:
        me = os.getpid()
        return [row.pid for row in table().values() if row.ppid == me]


def send(process: Process, number: int) -> bool:
    """Send a signal to exactly this process; False when it is gone already or is not ours to signal."""
    try:
        handle = os.pidfd_open(process.pid)
    except AttributeError:
        return _send_unsafely(process, number)
    except OSError as error:
        return False if isinstance(error, ProcessLookupError) else _send_unsafely(process, number)
    try:
        now = look(process.pid)
        if now is None or now.start != process.start:
            return False
        signal.pidfd_send_signal(handle, number)
    except OSError:
        return False
    finally:
        os.close(handle)
    return True


def _send_unsafely(process: Process, number: int) -> bool:
    """For systems without pidfds (macOS, Linux before 5.3): look, then kill."""
    now = look(process.pid)
    if now is not None and now.start != process.start:
        return False
    try:
        os.kill(process.pid, number)
    except OSError:
        return False
    return True


def _marked(job_id: str, launch: int, rows: dict[int, Process]) -> Iterator[int]:
    needle_job = f"{JOB_ID}={job_id}".encode()
    needle_launch = f"{LAUNCH}={launch}".encode()
    me = os.getuid()
    for pid in rows:
        try:
            if os.stat(f"/proc/{pid}").st_uid != me:
                continue
            with open(f"/proc/{pid}/environ", "rb") as file:
                block = file.read()
        except OSError:
            continue
        if needle_job in block:
            words = block.split(b"\0")
            if needle_job in words and needle_launch in words:
                yield pid


def alive_processes(job_id: str, launch: int, *, group: str | None = None) -> tuple[Process, ...]:
    """Living processes of a launch, whoever their parent is now; ``group`` is the directory of its cgroup, if it had one.

    Only processes of the calling user are looked at; supervisors and keepers are left out.
    """
    rows = table()
    known: dict[str, bool] = {}

    def foreign(pid: int) -> bool:
        key = str(pid)
        if key not in known:
            known[key] = is_foreign(pid, job_id, launch)
        return known[key]

    seeds = [pid for pid in _marked(job_id, launch, rows) if not foreign(pid)]
    if group is not None:
        seeds += [pid for pid in cgroup.members(group) if pid in rows and not foreign(pid)]
    everything = {pid: rows[pid] for pid in seeds}
    everything.update({row.pid: row for row in descendants(list(everything), rows, skip=foreign)})
    everything.pop(os.getpid(), None)
    return tuple(row for row in everything.values() if not row.dead)


def reap(job_id: str, launch: int, *, group: str | None = None, timeout: float = 10.0) -> int:
    """Kill (SIGKILL) every process left of a launch whose supervisor is dead, and wait until none is left.

    The caller holds the launch's ``alive`` lock, so that no supervisor of it lives. Also removes the cgroup (``group``: its directory).

    Returns:
        How many processes were killed.

    Raises:
        TimeoutError: some could not be killed within ``timeout`` seconds (stuck in the kernel); the message names their pids.
    """
    group = group or cgroup.existing(job_id, launch)
    killed: set[tuple[int, int]] = set()
    deadline = time.monotonic() + timeout
    pause = 0.002
    while True:
        left = alive_processes(job_id, launch, group=group)
        if not left:
            break
        for process in left:
            if send(process, signal.SIGKILL):
                killed.add((process.pid, process.start))
        if time.monotonic() > deadline:
            raise TimeoutError("still there after SIGKILL: " + ", ".join(str(process.pid) for process in left))
        time.sleep(pause)
        pause = min(pause * 2, 0.1)
    if group is not None:
        cgroup.remove(group)
    return len(killed)


class RankUsage(NamedTuple):
    """What one rank of a running launch uses: cumulative CPU seconds, resident bytes, and its processes' pids, the oldest first."""

    task: int | None
    rank: int | None
    cpu_seconds: float
    rss: int
    pids: tuple[int, ...]


def usage(job_id: str, launch: int, *, kind: Kind, group: str | None = None) -> tuple[RankUsage, ...]:
    """CPU and memory per rank (``rank`` None: agents and other processes of no rank). For a rate, ask twice and divide."""
    sums: dict[tuple[int | None, int | None], list[Process]] = {}
    for process in alive_processes(job_id, launch, group=group):
        env = environment(process.pid)
        # A command's copies have no RANK unless there is one per GPU: one copy a node is the rank of its node.
        rank = env.get("RANK", env.get("GPUCTL_NODE_RANK") if kind == "command" else None)
        sums.setdefault((_number(env.get("GPUCTL_ARRAY_INDEX")), _number(rank)), []).append(process)
    rows = []
    for (task, number), members in sorted(sums.items(), key=lambda item: tuple(-1 if part is None else part for part in item[0])):
        pids = tuple(process.pid for process in sorted(members, key=lambda process: process.start))
        cpu = sum(process.cpu_seconds for process in members)
        rows.append(RankUsage(task, number, cpu, sum(process.rss for process in members), pids))
    return tuple(rows)


def _number(text: str | None) -> int | None:
    return int(text) if text is not None and text.isdigit() else None


def become_subreaper() -> bool:
    """Make this process the parent of every orphan among its descendants (Linux); False where the system cannot."""
    with contextlib.suppress(OSError, ImportError, AttributeError):
        import ctypes

        set_child_subreaper = 36
        libc = ctypes.CDLL(None, use_errno=True)
        return bool(libc.prctl(set_child_subreaper, 1, 0, 0, 0) == 0)
    return False


def wait_gone(processes: Collection[Process], *, timeout: float) -> bool:
    """Wait until none of these processes is alive; whether that happened within ``timeout`` seconds."""
    deadline = time.monotonic() + timeout
    while True:
        if all((now := look(process.pid)) is None or now.start != process.start or now.dead for process in processes):
            return True
        if time.monotonic() >= deadline:
            return False
        time.sleep(0.01)
