"""What can be known of a failure by the one who watched it: exits, the kernel's out-of-memory killer, and what the failing rank said."""

import os
import re
import signal
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence

import msgspec

from gpuctl.clusters.local import cgroup
from gpuctl.clusters.local.kinds import torchrun
from gpuctl.clusters.local.logs.layout import LogName
from gpuctl.clusters.local.supervisor.values import Found, Main
from gpuctl.model.spec import Kind
from gpuctl.policy import logerrors

_KERNEL_OOM = re.compile(r"Killed process (?P<pid>\d+) \((?P<process>.*?)\)(?:.*anon-rss:(?P<used>\d+)kB)?")
_KERNEL_CGROUP = re.compile(r"oom-kill:.*task_memcg=(?P<group>[^,]*),task=[^,]*,pid=(?P<pid>\d+)")
_MOST = 8


class RankStatus(msgspec.Struct, frozen=True, kw_only=True):
    """How one rank ended: its exit code, or minus a signal's number."""

    rank: int
    status: int
    pid: int | None = None


class Case(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that is known when a task has failed."""

    kind: Kind
    first: Main | None
    mains: Sequence[Main]
    tails: Mapping[LogName, bytes]
    started_at: float
    group: str | None

    def said(self, main: Main) -> bytes:
        """The end of what a main process said."""
        found = (tail for name, tail in self.tails.items() if (name.node, name.rank) == (main.start.node, main.start.rank))
        return next(found, b"")


def rank_ends(case: Case) -> list[RankStatus]:
    """The ranks that failed by themselves, the first one first. Empty when no rank did (a launcher failed, or nothing started)."""
    if case.kind == "pytorch":
        return _agents_report(case)
    if case.first is None or case.first.start.rank is None or case.first.status is None:
        return []
    first = case.first
    others = sorted(
        (main for main in case.mains if main is not first and main.status and main.ended_at <= first.ended_at + 1 and main.status > 0),
        key=lambda main: main.ended_at,
    )
    return [
        RankStatus(rank=main.start.rank, status=main.status, pid=main.process.pid)
        for main in (first, *others)
        if main.start.rank is not None and main.status is not None
    ]


def _agents_report(case: Case) -> list[RankStatus]:
    """What torch's agents reported, that of the agent that ended first before the others'."""
    ends: dict[int, RankStatus] = {}
    agents = sorted((main for main in case.mains if main.status), key=lambda main: (main is not case.first, main.ended_at))
    for main in agents:
        for failure in torchrun.failures(case.said(main)):
            if failure.status:
                ends.setdefault(failure.rank, RankStatus(rank=failure.rank, status=failure.status, pid=failure.pid))
    return list(ends.values())


def gather(case: Case, ends: Sequence[RankStatus]) -> list[Found]:
    """The evidence, what matters most first."""
    found = [*_out_of_memory(case, ends)]
    # A SIGTERM after the first failure came from torch's agent, which ends a node's other ranks: no cause of anything.
    told = [end for place, end in enumerate(ends) if place == 0 or end.status != -signal.SIGTERM]
    for end in told[:_MOST]:
        found.append(_with_last_line(of_exit(end.status, rank=end.rank), case, end.rank))
        found += _said(case, end.rank)
    if not ends and case.first is not None and case.first.status is not None:
        bare = of_exit(case.first.status, rank=case.first.start.rank, label=case.first.start.label)
        found.append(bare if case.first.step.is_setup else _with_last_line(bare, case, case.first.start.rank))
        if case.first.step.is_setup:
            found.insert(0, Found(code="setup-failed", text=f"setup {_how(case.first.status)}", data=_numbers(case.first.status)))
        found += _log_errors(case.said(case.first), rank=case.first.start.rank)
    return found


def of_exit(status: int, *, rank: int | None, label: str = "") -> Found:
    """Evidence of one process's end."""
    subject = label or (f"rank {rank}" if rank is not None else "the program")
    return Found(code="exit-code" if status >= 0 else "signal", text=f"{subject} {_how(status)}", rank=rank, data=_numbers(status))


def _with_last_line(found: Found, case: Case, rank: int | None) -> Found:
    """The same with the last line that the rank wrote: ``sys.exit("no data")`` and most programs say there what was wrong."""
    if found.code != "exit-code" or rank is None:
        return found
    tails = [tail for name, tail in case.tails.items() if name.rank == rank]
    line = logerrors.last_line(b"\n".join(tails))
    return msgspec.structs.replace(found, data={**found.data, "said": line}) if line is not None else found


def _how(status: int) -> str:
    if status >= 0:
        return f"exited with {status}"
    try:
        return f"died of signal {-status} ({signal.Signals(-status).name})"
    except ValueError:
        return f"died of signal {-status}"


def _numbers(status: int) -> dict[str, str]:
    return {"code": str(status)} if status >= 0 else {"signal": str(-status)}


def _said(case: Case, rank: int) -> list[Found]:
    return [found for name, tail in case.tails.items() if name.rank == rank for found in _log_errors(tail, rank=rank)]


def _log_errors(tail: bytes, *, rank: int | None) -> list[Found]:
    """Errors in the end of a log, the last one first: earlier ones were survived."""
    seen = logerrors.scan(tail, rank=rank)
    return [
        Found(code=one.code, text=one.text, source="log", rank=one.rank if one.rank is not None else rank, data=one.data)
        for one in reversed(seen[-_MOST:])
    ]


def _out_of_memory(case: Case, ends: Sequence[RankStatus]) -> list[Found]:
    """Whether the kernel killed something of this job for want of memory."""
    killed: dict[int, int | None] = {end.pid: end.rank for end in ends if end.status == -signal.SIGKILL and end.pid is not None}
    killed.update({main.process.pid: main.start.rank for main in case.mains if main.status == -signal.SIGKILL})
    name = os.path.basename(case.group) if case.group is not None else None
    found = []
    for kill in kernel_kills(_kernel_log(), since=case.started_at, boot=_boot_time()):
        if kill.pid in killed or (name is not None and name in kill.group):
            data = {"pid": str(kill.pid), "process": kill.process, **({"used": str(kill.used)} if kill.used is not None else {})}
            found.append(Found(code="oom-killed", text=kill.line, source="kernel", rank=killed.get(kill.pid), data=data))
    if not found and case.group is not None and (count := cgroup.oom_kills(case.group)):
        rank = next(iter(killed.values()), None)
        found.append(Found(code="oom-killed", text=f"the kernel killed {count} processes of the job's cgroup", source="cgroup", rank=rank))
    return found


class Kill(msgspec.Struct, frozen=True, kw_only=True):
    """One process that the kernel killed for want of memory: its line, its name, resident bytes, and the memory cgroup it was in."""

    line: str
    pid: int
    process: str
    used: int | None = None
    group: str = ""


def kernel_kills(records: Iterable[str], *, since: float, boot: float) -> list[Kill]:
    """Kills since a UNIX time among records of /dev/kmsg (``priority,number,microseconds since boot,flags;text``)."""
    groups: dict[int, str] = {}
    kills = []
    for record in records:
        head, _, text = record.partition(";")
        fields = head.split(",")
        if len(fields) < 3 or not fields[2].isdigit() or boot + int(fields[2]) / 1e6 < since - 1:
            continue
        line = text.split("\n", 1)[0]
        if match := _KERNEL_CGROUP.search(line):
            groups[int(match["pid"])] = match["group"]
        elif match := _KERNEL_OOM.search(line):
            pid, used = int(match["pid"]), match["used"]
            group = groups.get(pid, "")
            kills.append(Kill(line=line, pid=pid, process=match["process"], used=int(used) << 10 if used else None, group=group))
    return kills


def _kernel_log() -> Iterator[str]:
    """Every record that the kernel still has, if this user may read them."""
    try:
        descriptor = os.open("/dev/kmsg", os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return
    try:
        while True:
            try:
                yield os.read(descriptor, 1 << 14).decode("utf-8", "replace")
            except BrokenPipeError:
                continue  # records were overwritten while we read
            except OSError:
                return
    finally:
        os.close(descriptor)


def _boot_time() -> float:
    return time.time() - time.clock_gettime(time.CLOCK_BOOTTIME) if hasattr(time, "CLOCK_BOOTTIME") else 0.0
