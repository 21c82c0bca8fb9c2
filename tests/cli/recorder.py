"""Jobs to show, and a pool that answers from lists and writes down what it is asked: for tests of verbs."""

import io
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime, timedelta, timezone
from typing import Any

from gpuctl.base.errors import ConflictError, NotFoundError, TimeoutReachedError
from gpuctl.model.ask import Changed, ExecTarget, Forward, JobChange, JobQuery, Listing, LogQuery
from gpuctl.model.job import Exit, Job, State, TaskCounts
from gpuctl.model.place import ClusterStatus, Node, Sample, UsageRow, Volume, VolumeFile
from gpuctl.model.quota import Quota
from gpuctl.model.reason import Explanation, Reason
from gpuctl.model.schedule import ScheduleStatus
from gpuctl.model.spec import JobSpec

NOW = datetime(2026, 3, 1, 12, 0, 0, tzinfo=timezone.utc)


def ago(**parts: float) -> datetime:
    """An instant so long before the clock of the tests."""
    return NOW - timedelta(**parts)


def make_job(name: str = "train-k3f9", state: State = State.RUNNING, **fields: Any) -> Job:
    """A job with plausible facts, most of them replaceable."""
    known: dict[str, Any] = {
        "id": f"id-{name}",
        "name": name,
        "base_name": name.rsplit("-", 1)[0],
        "user": "anna",
        "spec": JobSpec(kind="pytorch", nodes=1, gpus=2, script="train.py"),
        "state": state,
        "submitted_at": ago(hours=2),
        "cluster": "local",
        "attempt_count": 1 if state is not State.QUEUED else 0,
    }
    if state is not State.QUEUED:
        known |= {"started_at": ago(hours=1), "where": "local:0,1"}
    if state.final:
        known |= {"ended_at": ago(minutes=10)}
    return Job(**{**known, **fields})


class RecordingPool:
    """A pool that answers from lists and writes down what was asked for, in order.

    ``changes`` maps a job's name to the jobs that later reads of it return, one after another; the last stays.
    """

    def __init__(self, jobs: Iterable[Job] = (), **answers: Any) -> None:
        self.known = {job.name: job for job in jobs}
        self.calls: list[tuple[Any, ...]] = []
        self.incomplete: dict[str, str] = answers.pop("incomplete", {})
        self.changes: dict[str, list[Job]] = answers.pop("changes", {})
        self.answers = answers
        self.closed = False
        self.capabilities = frozenset()

    def asked(self, call: str) -> list[tuple[Any, ...]]:
        """The arguments of every call of that name."""
        return [entry[1:] for entry in self.calls if entry[0] == call]

    def _note(self, *call: Any) -> None:
        self.calls.append(call)
        error = self.answers.get("errors", {}).get(call[0])
        if error is not None:
            raise error

    def _listing(self, kind: str) -> Listing[Any]:
        return Listing(items=tuple(self.answers.get(kind, ())), incomplete=self.incomplete)

    def me(self) -> str:
        return "anna"

    def close(self) -> None:
        self.closed = True

    def jobs(self, query: JobQuery) -> Listing[Job]:
        self._note("jobs", query)
        found = [job for job in self.known.values() if query.states is None or job.state in query.states]
        return Listing(items=tuple(found[: query.limit]), incomplete=self.incomplete)

    def history(self, query: JobQuery) -> Listing[Job]:
        self._note("history", query)
        return Listing(items=tuple(self.known.values()), incomplete=self.incomplete)

    def job(self, ref: str | None) -> Job:
        self._note("job", ref)
        if ref in (None, "-"):
            return self.job(next(iter(self.known)))
        found = self.known.get(ref.removeprefix("job/"))
        if found is None:
            raise NotFoundError(f"no job {ref}", code="no-such-job")
        later = self.changes.get(found.name)
        if later:
            self.known[found.name] = later.pop(0)
        return found

    def explain(self, ref: str | None) -> Explanation:
        self._note("explain", ref)
        return self.answers["explanation"]

    def cancel(self, ref: str, *, grace_seconds: int | None = None) -> Changed:
        self._note("cancel", ref, grace_seconds)
        job = self.known.get(ref)
        if job is None:
            raise NotFoundError(f"no job {ref}", code="no-such-job")
        return Changed(job=job, already=job.final)

    def update(self, ref: str, change: JobChange) -> Changed:
        self._note("update", ref, change)
        job = self.known[ref]
        if job.final:
            raise ConflictError(f"cannot update {ref}: it has ended", code="job-ended")
        return Changed(job=job, sentence=f"job/{job.name} was changed")

    def wait(self, refs: Sequence[str | None], *, stop: Any, timeout: float | None) -> Iterator[Job]:
        self._note("wait", tuple(refs), timeout)
        for ref in refs:
            job = self.known[ref or ""]
            if not job.final:
                raise TimeoutReachedError("the time passed")
            yield job

    def logs(self, ref: str | None, query: LogQuery, *, stop: Any) -> Iterator[bytes]:
        self._note("logs", ref, query)
        yield from self.answers.get("logs", ())

    def exec(self, ref: str | None, target: ExecTarget, argv: Sequence[str], *, tty: bool) -> int:
        self._note("exec", ref, target, tuple(argv), tty)
        return int(self.answers.get("status", 0))

    def copy_out(self, ref: str | None, path: str, destination: str) -> int:
        self._note("copy_out", ref, path, destination)
        return 2048

    def forward(self, ref: str | None, *, remote: str, local_port: int | None, stop: Any) -> Iterator[Forward]:
        self._note("forward", ref, remote, local_port)
        yield Forward(
            host="127.0.0.1", local_port=local_port or 40001, remote_port=6006, name=None if remote.isdigit() else remote, job="train-k3f9"
        )

    def clusters(self) -> Listing[ClusterStatus]:
        self._note("clusters")
        return self._listing("clusters")

    def nodes(self) -> Listing[Node]:
        self._note("nodes")
        return self._listing("nodes")

    def top(self, ref: str | None) -> Listing[Sample]:
        self._note("top", ref)
        return self._listing("samples")

    def schedules(self) -> Listing[ScheduleStatus]:
        self._note("schedules")
        return self._listing("schedules")

    def usage(self, query: JobQuery) -> Listing[UsageRow]:
        self._note("usage", query)
        return self._listing("usage")

    def quota(self) -> Listing[Quota]:
        self._note("quota")
        return self._listing("quota")

    def volumes(self) -> Listing[Volume]:
        self._note("volumes")
        return self._listing("volumes")

    def create_volume(self, name: str, **settings: Any) -> Volume:
        self._note("create_volume", name, settings)
        return Volume(name=name, home="local", size=settings["size"])

    def delete_volume(self, name: str, *, cluster: str | None) -> Volume:
        self._note("delete_volume", name, cluster)
        return next(volume for volume in self.answers["volumes"] if volume.name == name)

    def volume_files(self, name: str, path: str, *, cluster: str | None) -> Listing[VolumeFile]:
        self._note("volume_files", name, path, cluster)
        return self._listing("files")

    def put_file(self, name: str, source: str, path: str, *, cluster: str | None) -> int:
        self._note("put_file", name, source, path, cluster)
        return 10

    def get_file(self, name: str, path: str, destination: str, *, cluster: str | None) -> int:
        self._note("get_file", name, path, destination, cluster)
        return 10


WIDE = JobSpec(kind="pytorch", nodes=4, gpus=8, script="train.py", args=("--lr", "3e-4"), time="6h")


def one_of_each() -> list[Job]:
    """Jobs of every look: waiting for a reason, waiting for none, running with a limit, an array, starting, ended in every way."""
    return [
        make_job("llama-k3f9", State.QUEUED, spec=WIDE, reason=Reason(code="capacity", sentence="32 GPUs asked, 8 are there")),
        make_job("prep-x2k9", State.QUEUED),
        make_job("tune-b7b7", State.RUNNING, spec=WIDE, ends_by=NOW + timedelta(hours=5), where="res-a:n1,n2"),
        make_job("sweep-h5h5", State.RUNNING, where=None, tasks=TaskCounts(queued=60, running=8, succeeded=30, failed=2)),
        make_job("eval-c8c8", State.STARTING, started_at=None, where=None),
        make_job("bad-d9d9", State.FAILED, exit=Exit(code=3)),
        make_job("shot-s6s6", State.FAILED, exit=Exit(signal=9), reason=Reason(code="oom-killed", sentence="rank 1 was killed")),
        make_job("done-f2f2", State.SUCCEEDED, exit=Exit(code=0)),
        make_job("gone-g4g4", State.LOST, ended_at=None, verified=False, user="bert"),
    ]


class _Gone(io.RawIOBase):
    """A pipe whose reader has left: the first write fails, what the interpreter still flushes at the end is swallowed."""

    def __init__(self) -> None:
        self.told = False

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        if not self.told:
            self.told = True
            raise BrokenPipeError
        return len(data)


def reader_that_left() -> io.TextIOWrapper:
    """A stdout that nobody reads any more."""
    return io.TextIOWrapper(_Gone(), encoding="utf-8", write_through=True)  # type: ignore[type-var]
