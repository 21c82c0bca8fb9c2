"""Evidence about one job, gathered from where this machine has it: the store, the ends of its ranks' logs, its code as it is now."""

import hashlib
import os
from collections.abc import Iterable, Sequence

import msgspec

from gpuctl.clusters.local.logs.reader import LocalRankLog
from gpuctl.clusters.local.logs.reader import logs as read_logs
from gpuctl.clusters.local.paths import StatePaths
from gpuctl.model.job import Attempt, Code, Job, State
from gpuctl.model.reason import Evidence
from gpuctl.policy import logerrors
from gpuctl.policy.explain.rule import Case
from gpuctl.port.stream import HEADER

TAIL_LINES = 400
MOST_RANKS = 8
"""Logs of at most so many ranks are read: the first to fail, then the others in the order of their ends."""
_LARGEST_FILE = 1 << 20
_LOOKED_AT = frozenset({State.FAILED, State.LOST, State.CUT, State.QUEUED})


def gather(paths: StatePaths, job: Job, stored: Sequence[Evidence], *, task: int | None) -> tuple[Evidence, ...]:
    """Everything that is known about why ``job`` stands where it stands."""
    found = list(stored)
    last = Case(job, job.submitted_at).attempt
    if last is not None and last.ended_at is not None and job.state in _LOOKED_AT:
        seen = from_logs(paths.logs(job.id), last, task=last.task if task is None else task)
        found.extend(msgspec.structs.replace(each, task=last.task) if task is None else each for each in seen)
    if job.code is not None:
        found.extend(_code_changed(job.code))
    return tuple(found)


def from_logs(directory: str, attempt: Attempt, *, task: int | None) -> Iterable[Evidence]:
    """What the last lines of the failing ranks' logs say; of every rank's if none is known to have failed."""
    failed = [end.rank for end in sorted(attempt.ranks, key=lambda end: end.at) if end.exit.status != 0][:MOST_RANKS]
    there = read_logs(directory, ended=lambda _: True, task=task, attempt=attempt.number)
    chosen = [each for each in there if each.rank is None or not failed or each.rank in failed][: MOST_RANKS + 1]
    for each in chosen:
        for seen in logerrors.scan(tail_text(each), rank=each.rank):
            yield msgspec.structs.replace(seen, attempt=attempt.number, at=seen.at or attempt.ended_at)


def tail_text(log: LocalRankLog) -> bytes:
    """The last lines of a log as the program wrote them; records that continue a long line are joined."""
    lines: list[bytes] = []
    whole = True
    for record in log.tail(TAIL_LINES).splitlines():
        if len(record) < HEADER or record[31:32] == b"g":
            continue
        text = record[HEADER:]
        if whole or not lines:
            lines.append(text)
        else:
            lines[-1] += text
        whole = record[32:33] == b"F"
    return b"\n".join(lines) + b"\n"


def _code_changed(code: Code) -> Iterable[Evidence]:
    if code.snapshot is not None:
        return
    files = [path for path, digest in sorted(code.fingerprint.items()) if _digest(os.path.join(code.workdir, path)) != digest]
    if files:
        names = ", ".join(files)
        yield Evidence(code="code-changed", text=f"code changed after submit: {names}", data={"files": names}, source="store")


def _digest(path: str) -> str | None:
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(fd, "rb") as file:
            return hashlib.sha256(file.read(_LARGEST_FILE + 1)).hexdigest()
    except OSError:
        return None
