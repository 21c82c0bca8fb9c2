"""Journals into the store: what supervisors wrote becomes attempts, tasks, ranks' ends, evidence and the timeline.

The offset is advanced in the transaction that stores what was read, so any process may ingest at any time and reading twice changes
nothing. Instants come from the supervisor's clock; where that went back, an end is never before its beginning.
"""

import os
import sqlite3
from collections.abc import Sequence
from typing import Any

from gpuctl.base.clock import from_unix
from gpuctl.clusters.local import journal, settle
from gpuctl.clusters.local.launchplan import Lease, Slot
from gpuctl.clusters.local.paths import StatePaths
from gpuctl.clusters.local.store import Database, attempts, jobs, launches, tasks
from gpuctl.clusters.local.store.launches import Launch
from gpuctl.clusters.local.store.rows import NO_TASK, spec_of
from gpuctl.model.job import Exit, Pod, RankEnd, State
from gpuctl.model.reason import Evidence
from gpuctl.model.spec import JobSpec

_LAST_LINE = 256
_EARLIER = "coalesce(min(?, window_end), ?, window_end)"
"""A time limit's end (given twice) or the window's, whichever is there and comes first."""


def journal_path(paths: StatePaths, launch: Launch) -> str:
    """Where a launch's supervisor writes."""
    return f"{paths.launch(launch.job, launch.number)}/journal"


def has_news(paths: StatePaths, launch: Launch) -> bool:
    """Whether its journal is longer than what was ingested."""
    try:
        return os.stat(journal_path(paths, launch)).st_size > launch.position
    except FileNotFoundError:
        return False


def has_ended(paths: StatePaths, launch: Launch) -> bool:
    """Whether its journal says that the supervisor is done; only the last line is read."""
    try:
        with open(journal_path(paths, launch), "rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - _LAST_LINE))
            return b'"what":"ended"' in file.read().rstrip(b"\n").rsplit(b"\n", 1)[-1]
    except FileNotFoundError:
        return False


def ingest(database: Database, *, node: str) -> bool:
    """Ingest the journals of all open launches; whether there was anything new."""
    with database.read() as connection:
        waiting = [launch for launch in launches.opened(connection) if has_news(database.paths, launch)]
    for launch in waiting:
        ingest_one(database, launch, node=node)
    return bool(waiting)


def ingest_one(database: Database, launch: Launch, *, node: str) -> None:
    """Ingest one journal up to its present end."""
    path = journal_path(database.paths, launch)
    with database.write() as connection:
        present = launches.get(connection, launch.job, launch.number)
        if present is None:
            return
        entries = list(journal.read(path, present.position))
        if entries:
            row = connection.execute("SELECT spec, submitted_at FROM jobs WHERE id = ?", (launch.job,)).fetchone()
            _Reader(connection, present, spec=spec_of(row[0]), submitted_at=row[1], node=node).take(entries)


class _Reader:
    """Applies the entries of one journal inside one transaction."""

    def __init__(self, connection: sqlite3.Connection, launch: Launch, *, spec: JobSpec, submitted_at: float, node: str) -> None:
        self._connection = connection
        self._launch = launch
        self._job = launch.job
        self._spec = spec
        self._earliest = submitted_at
        self._node = node

    def take(self, entries: Sequence[tuple[journal.Entry, int]]) -> None:
        for entry, _ in entries:
            getattr(self, "_on_" + entry.what.replace("-", "_"))(entry, max(entry.at, self._earliest))
        launches.advance(self._connection, self._launch._replace(position=entries[-1][1]))

    def _on_supervisor(self, entry: journal.Entry, at: float) -> None:
        self._launch = self._launch._replace(pid=_number(entry.data.get("pid")), cgroup=_text(entry.data.get("cgroup")))

    def _on_task_started(self, entry: journal.Entry, at: float) -> None:
        task, number = self._who(entry)
        self._launch = self._launch._replace(started=True)
        pods = self._pods(entry.data.get("devices"))
        attempts.begin(self._connection, self._job, task, number, launch=self._launch.number, pods=pods, at=at)
        limit = self._spec.time_seconds
        if task == NO_TASK:
            began, ends = "?", at + limit if limit is not None else None
        else:
            tasks.running(self._connection, self._job, task, attempt=number, at=at)
            began, ends = "coalesce(started_at, ?)", None
        changed = self._connection.execute(
            f"UPDATE jobs SET state = ?, started_at = {began}, ends_by = {_EARLIER}, reason = NULL, expected_start = NULL"
            " WHERE id = ? AND ended_at IS NULL",
            (State.RUNNING.value, at, ends, ends, self._job),
        ).rowcount
        if changed and task == NO_TASK:
            jobs.event(self._connection, self._job, "running", at=at, attempt=number)

    def _on_rank_ended(self, entry: journal.Entry, at: float) -> None:
        task, number = self._who(entry)
        if entry.rank is not None:
            end = RankEnd(rank=entry.rank, exit=_exit(entry.data) or Exit(), at=from_unix(at), node=self._node)
            attempts.rank_ended(self._connection, self._job, task, number, end)

    def _on_evidence(self, entry: journal.Entry, at: float) -> None:
        task, number = self._who(entry)
        data = {name: str(value) for name, value in entry.data.get("data", {}).items() if value is not None}
        seen = Evidence(
            code=str(entry.data.get("code", "note")),
            text=str(entry.data.get("text", "")),
            source=str(entry.data.get("source", "journal")),
            at=from_unix(at),
            rank=entry.rank,
            node=self._node,
            attempt=number,
            data=data,
        )
        attempts.evidence(self._connection, self._job, task, number, seen)

    def _on_task_ended(self, entry: journal.Entry, at: float) -> None:
        task, number = self._who(entry)
        state, how = State(entry.data["state"]), _exit(entry.data)
        if not self._exists(task, number):
            attempts.begin(self._connection, self._job, task, number, launch=self._launch.number, pods=self._pods(None), at=None)
        changed = attempts.end(self._connection, self._job, task, number, state=state, at=at, how=how)
        if changed and task != NO_TASK and state in (State.SUCCEEDED, State.CANCELLED):
            # Nothing is left to decide about these two; everything else waits for policy (retries).
            attempts.judge(self._connection, self._job, task, number, reason=None)
            tasks.finish(self._connection, self._job, [task], state, at=at, how=how, reason=None)

    def _on_stopping(self, entry: journal.Entry, at: float) -> None:
        if entry.task is None:
            jobs.event(self._connection, self._job, "stopping", at=at, text=str(entry.data.get("why", "")), attempt=entry.attempt)

    def _on_time_limit(self, entry: journal.Entry, at: float) -> None:
        limit = _number(entry.data.get("time_limit"))
        self._connection.execute(
            "UPDATE jobs SET ends_by = min(started_at + ?, coalesce(window_end, started_at + ?))"
            " WHERE id = ? AND ended_at IS NULL AND tasks IS NULL",
            (limit, limit, self._job),
        )

    def _on_grown(self, entry: journal.Entry, at: float) -> None:
        """Nothing to do: who asked for it has noted the slots with the request."""

    def _on_shrunk(self, entry: journal.Entry, at: float) -> None:
        gone = {int(index) for index in entry.data.get("devices", ())}
        slots = self._launch.slots
        left = tuple(slot for slot in slots if not gone & _devices(slot)) if gone else slots[: _number(entry.data.get("slots"))]
        given_back = len(slots) - len(left)
        self._launch = self._launch._replace(slots=left, shrinking=max(0, self._launch.shrinking - given_back))

    def _on_note(self, entry: journal.Entry, at: float) -> None:
        jobs.event(self._connection, self._job, "note", at=at, text=str(entry.data.get("text", "")))

    def _on_ended(self, entry: journal.Entry, at: float) -> None:
        for task, number, started in attempts.unfinished(self._connection, self._job, self._launch.number):
            end_without_word(self._connection, self._job, task, number, started=started, at=at)
        asked = self._connection.execute("SELECT stop_asked FROM jobs WHERE id = ?", (self._job,)).fetchone()[0]
        if asked:
            settle.close_tasks(self._connection, self._job, at=at)
        launches.close(self._connection, self._job, self._launch.number)

    def _who(self, entry: journal.Entry) -> tuple[int, int]:
        if entry.task is not None:
            return entry.task, entry.attempt or 1
        if entry.attempt is not None:
            return NO_TASK, entry.attempt
        row = self._connection.execute(
            "SELECT max(number) FROM attempts WHERE job = ? AND launch = ?", (self._job, self._launch.number)
        ).fetchone()
        return NO_TASK, row[0] or 1

    def _exists(self, task: int, number: int) -> bool:
        query = "SELECT 1 FROM attempts WHERE job = ? AND task = ? AND number = ?"
        return self._connection.execute(query, (self._job, task, number)).fetchone() is not None

    def _pods(self, devices: object) -> tuple[Pod, ...]:
        """The pods on the slot with exactly these devices; on the only slot there is if they are not told."""
        slots = self._launch.slots
        if isinstance(devices, list):
            slots = tuple(slot for slot in slots if _devices(slot) == {_number(each) for each in devices}) or slots
        return pods_of(self._spec, slots[0], node=self._node) if slots else ()


def end_without_word(connection: sqlite3.Connection, job_id: str, task: int, number: int, *, started: float | None, at: float) -> None:
    """End an attempt whose supervisor was done without saying how it ended: cancelled if that was asked for, else lost."""
    asked = connection.execute("SELECT stop_asked FROM jobs WHERE id = ?", (job_id,)).fetchone()[0]
    if asked:
        attempts.end(connection, job_id, task, number, state=State.CANCELLED, at=at, how=None)
    else:
        attempts.end(connection, job_id, task, number, state=State.LOST, at=at, how=None, infrastructure=True)
        seen = Evidence(
            code="supervisor-died", text="the supervisor ended without a word about this attempt", source="journal", attempt=number
        )
        attempts.evidence(connection, job_id, task, number, seen)


def pods_of(spec: JobSpec, slot: Slot, *, node: str) -> tuple[Pod, ...]:
    """The pods of one gang on this machine, with the global ranks of each."""
    width = spec.procs_per_node
    return tuple(
        Pod(node=node, devices=_indices(pod), uuids=tuple(lease.uuid for lease in pod), ranks=tuple(range(at * width, (at + 1) * width)))
        for at, pod in enumerate(slot.pods)
    )


def place_of(slots: Sequence[Slot], *, cluster: str) -> str:
    """The WHERE column: the cluster, and the devices held by all slots."""
    devices = sorted(index for slot in slots for pod in slot.pods for index in _indices(pod))
    return place_name(cluster, devices)


def place_name(cluster: str, devices: Sequence[int]) -> str:
    """``local:0,1`` or ``local:0-3``; the cluster alone without devices."""
    return f"{cluster}:{_ranges(devices)}" if devices else cluster


def _ranges(numbers: Sequence[int]) -> str:
    parts: list[str] = []
    start = 0
    for at in range(1, len(numbers) + 1):
        if at == len(numbers) or numbers[at] != numbers[at - 1] + 1:
            run = numbers[start:at]
            parts.append(",".join(map(str, run)) if len(run) < 3 else f"{run[0]}-{run[-1]}")
            start = at
    return ",".join(parts)


def _devices(slot: Slot) -> set[int | None]:
    return {index for pod in slot.pods for index in _indices(pod)}


def _indices(pod: Sequence[Lease]) -> tuple[int, ...]:
    return tuple(lease.index for lease in pod)


def _exit(data: dict[str, Any]) -> Exit | None:
    code, signal = _number(data.get("code")), _number(data.get("signal"))
    return None if code is None and signal is None else Exit(code=code, signal=signal)


def _number(value: object) -> int | None:
    return int(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else None


def _text(value: object) -> str | None:
    return value if isinstance(value, str) and value else None
