"""A Cluster in memory that keeps the port's promises, moves only when told, and breaks on demand."""

import fnmatch
import time
import zlib
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime, timedelta, timezone
from typing import Any

import msgspec

from gpuctl.base import names
from gpuctl.base.errors import ConflictError, GpuctlError, NotAllowedError, NotFoundError, NotKeptHere, TimeoutReachedError
from gpuctl.model.ask import Changed, ExecTarget, Forward, JobChange, JobQuery, Listing, LogQuery, Plan, PlanOption, Submission, Submitted
from gpuctl.model.job import Attempt, Exit, Job, Pod, RankEnd, State
from gpuctl.model.place import ClusterStatus, Device, Holder, Node, Sample, UsageRow, Volume, VolumeFile
from gpuctl.model.quota import Quota
from gpuctl.model.reason import Explanation, Reason
from gpuctl.model.schedule import ScheduleStatus
from gpuctl.port.capability import Capability
from gpuctl.port.cluster import Check
from gpuctl.port.stream import RankLog, Stop

START = datetime(2026, 3, 1, 12, tzinfo=timezone.utc)


def record(text: str, *, at: float = 0.0, stream: str = "o") -> bytes:
    """One log record, ``at`` seconds after START."""
    stamp = START + timedelta(seconds=at)
    return f"{stamp:%Y-%m-%dT%H:%M:%S.%f}000Z {stream}F {text}\n".encode()


class FakeLog:
    """The log of one rank."""

    together = None

    def __init__(self, *, rank: int | None, node: int = 0, task: int | None = None, attempt: int = 1) -> None:
        self.rank = rank
        self.node = node
        self.task = task
        self.attempt = attempt
        self.content = b""
        self.ended = False

    def blocks(self, *, since: str | None, follow: bool, tail: int | None = None) -> Iterator[bytes]:
        lines = self.content.splitlines(keepends=True)
        lines = lines if tail is None else lines[len(lines) - min(tail, len(lines)) :]
        yield b"".join(line for line in lines if since is None or line[:30].decode() >= since)
        position = len(self.content)
        while follow and not (self.ended and position == len(self.content)):
            block, position = self.content[position:], len(self.content)
            yield block

    def tail(self, lines: int) -> bytes:
        return b"".join(self.content.splitlines(keepends=True)[-lines:])


class FakeCluster:
    """See the module.

    Attributes:
        trouble: raised by every call while set (a dead or forbidding cluster).
        delay: seconds that every call takes first (a slow one).
        busy: by node, how many devices strangers hold.
        sick: by node, why it cannot be used.
        tiers: by node, a tier of its own.
        hidden: what is free must not be read (a 403).
        marks: by node, what it says of its owner (fields of a Node).
        schedules_of: the schedules it obeys.
        my_team: the team it takes jobs for.
        quotas: what ``quota`` answers; the devices as they are by default.
        claims: by request id, the digest and home of its claim.
        place: its uid.
        calls: the names of the methods that were called.
    """

    def __init__(
        self,
        name: str = "local",
        *,
        gpus: int = 8,
        nodes: int = 1,
        gpu_type: str = "H100",
        tier: str | None = None,
        user: str = "anna",
        capabilities: Iterable[Capability] = tuple(Capability),
    ) -> None:
        self._name = name
        self._capabilities = frozenset(capabilities)
        self.tier = tier
        self.user = user
        self.gpu_type = gpu_type
        self.gpus = gpus
        self.node_names = [f"{name}-{number}" for number in range(nodes)]
        self.trouble: GpuctlError | None = None
        self.delay = 0.0
        self.calls: list[str] = []
        self.jobs_by_id: dict[str, Job] = {}
        self.submissions: dict[str, Submission] = {}
        self.log_of: dict[str, list[FakeLog]] = {}
        self.volume_of: dict[str, dict[str, bytes]] = {}
        self.ticks = 0
        self.closed = False
        self.quotas: tuple[Quota, ...] | None = None
        self.claims: dict[str, tuple[str, str]] = {}
        self.busy: dict[str, int] = {}
        self.sick: dict[str, str] = {}
        self.tiers: dict[str, str] = {}
        self.hidden = False
        self.marks: dict[str, dict[str, Any]] = {}
        self.schedules_of: tuple[ScheduleStatus, ...] = ()
        self.my_team: str | None = None
        self.place = f"uid-{name}"

    # What a test does to it

    def start(self, ref: str) -> Job:
        """The job runs, a rank per GPU on consecutive devices, with an empty log each."""
        job = self._found(ref)
        ranks = range(job.spec.nodes * job.spec.procs_per_node)
        pods = tuple(
            Pod(node=self.node_names[0], ranks=tuple(ranks[number * job.spec.procs_per_node : (number + 1) * job.spec.procs_per_node]))
            for number in range(job.spec.nodes)
        )
        attempt = Attempt(number=job.attempt_count + 1, cluster=self._name, state=State.RUNNING, started_at=self._tick(), pods=pods)
        self.log_of.setdefault(job.id, []).extend(
            FakeLog(rank=rank, node=number, attempt=attempt.number) for number, pod in enumerate(pods) for rank in pod.ranks
        )
        return self._keep(
            msgspec.structs.replace(
                job,
                state=State.RUNNING,
                started_at=attempt.started_at,
                attempts=(*job.attempts, attempt),
                attempt_count=attempt.number,
            )
        )

    def prints(self, ref: str, rank: int, text: str, *, at: float = 0.0) -> None:
        """The rank of the last attempt writes a line."""
        job = self._found(ref)
        log = next(log for log in self.log_of[job.id] if log.rank == rank and log.attempt == job.attempt_count)
        log.content += record(text, at=at)

    def finish(self, ref: str, codes: dict[int, int] | None = None, *, state: State | None = None, retry: bool = False) -> Job:
        """The attempt ends with these codes by rank (all 0 by default); with ``retry`` the job is queued again."""
        job = self._found(ref)
        last = job.attempts[-1]
        at = self._tick()
        given = {rank: 0 for pod in last.pods for rank in pod.ranks} if codes is None else codes
        ends = tuple(RankEnd(rank=rank, exit=Exit(code=code), at=at + timedelta(seconds=rank)) for rank, code in given.items())
        worst = max(given.values(), default=0)
        final = state or (State.FAILED if worst else State.SUCCEEDED)
        attempt = msgspec.structs.replace(last, state=final, ended_at=at, exit=Exit(code=worst), ranks=ends)
        for log in self.log_of[job.id]:
            log.ended = True
        changed = msgspec.structs.replace(job, attempts=(*job.attempts[:-1], attempt), state=State.QUEUED)
        if not retry:
            changed = msgspec.structs.replace(changed, state=final, ended_at=at, exit=Exit(code=worst))
        return self._keep(changed)

    # Port: identity

    @property
    def name(self) -> str:
        return self._name

    @property
    def uid(self) -> str:
        return self.place

    @property
    def capabilities(self) -> frozenset[Capability]:
        return self._capabilities

    @property
    def team(self) -> str | None:
        return self.my_team

    def close(self) -> None:
        self.closed = True

    # Port: inventory

    def status(self) -> ClusterStatus:
        self._gate("status")
        free = sum(node.gpus_free or 0 for node in self._nodes())
        total = self.gpus * len(self.node_names)
        return ClusterStatus(
            name=self._name,
            kind="fake",
            tier=self.tier,
            nodes=len(self.node_names),
            free={self.gpu_type: free},
            total={self.gpu_type: total},
            uid=self.place,
        )

    def nodes(self) -> Listing[Node]:
        self._gate("nodes")
        if self.hidden:
            raise NotAllowedError(f"cannot list the nodes of {self._name}", cause="nodes is forbidden: the verb list is missing")
        return Listing(items=self._nodes())

    def usage(self, query: JobQuery) -> Listing[UsageRow]:
        self._gate("usage")
        rows = [UsageRow(user=job.user, day="2026-03-01", state=job.state.value, jobs=1, gpu_seconds=0) for job in self._matching(query)]
        return Listing(items=tuple(rows))

    def top(self, ref: str | None) -> Listing[Sample]:
        self._gate("top")
        chosen = [self._found(ref)] if ref is not None else [job for job in self.jobs_by_id.values() if job.state.active]
        return Listing(items=tuple(Sample(job=job.name) for job in chosen))

    def quota(self) -> Listing[Quota]:
        self._gate("quota")
        if self.quotas is not None:
            return Listing(items=self.quotas)
        total, free = self.gpus * len(self.node_names), sum(node.gpus_free or 0 for node in self._nodes())
        row = Quota(
            cluster=self._name, name="devices", source="devices", gpu_type=self.gpu_type, nominal=total, used=total - free, free=free
        )
        return Listing(items=(row,))

    def schedules(self) -> Listing[ScheduleStatus]:
        self._gate("schedules")
        return Listing(items=self.schedules_of)

    def checks(self) -> Sequence[Check]:
        self._gate("checks")
        return ()

    # Port: jobs

    def launch(self, submission: Submission) -> Submitted:
        self._gate("launch")
        for job_id, known in self.submissions.items():
            if known.request_id == submission.request_id:
                if known.spec != submission.spec:
                    raise ConflictError(f"request id {submission.request_id} was used with another spec", code="request-id-used")
                return Submitted(job=self.jobs_by_id[job_id], existed=True)
        self._judge(submission)
        self.ticks += 1
        job_id = f"{self.ticks:04x}{zlib.crc32(self._name.encode()):08x}"
        job = Job(
            id=job_id,
            name=f"{submission.base_name}-{names.tail_of(submission.request_id)}",
            base_name=submission.base_name,
            user=self.user,
            spec=submission.spec,
            state=State.QUEUED,
            submitted_at=self._tick(),
            labels=submission.labels,
            request_id=submission.request_id,
            cluster=self._name,
            tier=submission.placement[0].tier if submission.placement else self.tier,
            placement=submission.placement,
            code=submission.code,
        )
        self.submissions[job_id] = submission
        return Submitted(job=self._keep(job), sentence=f"queued on {self._name}")

    def claim(self, request_id: str, *, digest: str, home: str) -> str:
        self._gate("claim")
        known = self.claims.setdefault(request_id, (digest, home))
        if known[0] != digest:
            raise ConflictError(f"request id {request_id} was used for something else", code="request-id-used")
        return known[1]

    def plan(self, submission: Submission) -> Plan:
        self._gate("plan")
        self._judge(submission)
        return Plan(options=(PlanOption(cluster=self._name, tier=self.tier, now=True),))

    def jobs(self, query: JobQuery) -> Listing[Job]:
        self._gate("jobs")
        ordered = sorted(self._matching(query), key=lambda job: (job.final, -job.submitted_at.timestamp()))
        return Listing(items=tuple(ordered[: query.limit]))

    def job(self, ref: str) -> Job:
        self._gate("job")
        return self._found(ref)

    def explain(self, ref: str) -> Explanation:
        self._gate("explain")
        return Explanation(reason=Reason(code=self._found(ref).state.value))

    def stop(self, ref: str, *, grace_seconds: int | None = None) -> Changed:
        self._gate("stop")
        job = self._found(ref)
        if job.final:
            return Changed(job=job, already=True)
        return Changed(job=self._keep(msgspec.structs.replace(job, state=State.CANCELLED, ended_at=self._tick())))

    def update(self, ref: str, change: JobChange) -> Changed:
        self._gate("update")
        job = self._found(ref)
        if job.final:
            raise ConflictError(f"cannot update {job.name}: it has ended", code="ended")
        return Changed(job=self._keep(msgspec.structs.replace(job, spec=msgspec.structs.replace(job.spec, priority=change.priority or 0))))

    def wait(self, refs: Sequence[str], *, stop: Stop, timeout: float | None) -> Iterable[Job]:
        self._gate("wait")
        return self._ending([self._found(ref).id for ref in refs], stop=stop, timeout=timeout)

    def _ending(self, waiting: list[str], *, stop: Stop, timeout: float | None) -> Iterator[Job]:
        ends = None if timeout is None else time.monotonic() + timeout
        while waiting and not stop.is_set():
            for job_id in [job_id for job_id in waiting if self.jobs_by_id[job_id].final]:
                waiting.remove(job_id)
                yield self.jobs_by_id[job_id]
            if waiting:
                if ends is not None and time.monotonic() > ends:
                    raise TimeoutReachedError(f"{len(waiting)} jobs have not ended")
                stop.wait(0.005)

    # Port: streams

    def logs(self, ref: str, query: LogQuery) -> Sequence[RankLog]:
        self._gate("logs")
        job = self._found(ref)
        attempt = query.attempt or job.attempt_count
        return [
            log
            for log in self.log_of.get(job.id, [])
            if log.attempt == attempt and (query.ranks is None or log.rank in query.ranks) and query.node in (None, log.node)
        ]

    def exec(self, ref: str, target: ExecTarget, argv: Sequence[str], *, tty: bool) -> int:
        self._gate("exec")
        self._found(ref)
        return 0

    def copy_out(self, ref: str, path: str, destination: str) -> int:
        self._gate("copy_out")
        self._found(ref)
        return 0

    def forward(self, ref: str, *, remote: str, local_port: int | None, stop: Stop) -> Iterable[Forward]:
        self._gate("forward")
        self._found(ref)
        yield Forward(host="127.0.0.1", local_port=local_port or 1, remote_port=int(remote))

    # Port: volumes

    def volumes(self) -> Listing[Volume]:
        self._gate("volumes")
        return Listing(items=tuple(Volume(name=name, home=self._name) for name in self.volume_of))

    def create_volume(self, name: str, *, size: int | None, access: str | None, storage_class: str | None) -> Volume:
        self._gate("create_volume")
        if Capability.VOLUMES not in self._capabilities:
            raise NotKeptHere(f"cannot create volume {name} on {self._name}")
        if name in self.volume_of:
            raise ConflictError(f"volume {name} exists")
        self.volume_of[name] = {}
        return Volume(name=name, home=self._name, size=size)

    def delete_volume(self, name: str) -> None:
        self._gate("delete_volume")
        self._volume(name)
        del self.volume_of[name]

    def volume_files(self, name: str, path: str) -> Listing[VolumeFile]:
        self._gate("volume_files")
        files = self._volume(name)
        return Listing(items=tuple(VolumeFile(path=each, size=len(content), modified_at=START) for each, content in files.items()))

    def put_file(self, name: str, source: str, path: str) -> int:
        self._gate("put_file")
        with open(source, "rb") as file:
            self._volume(name)[path] = file.read()
        return len(self._volume(name)[path])

    def get_file(self, name: str, path: str, destination: str) -> int:
        self._gate("get_file")
        with open(destination, "wb") as file:
            return file.write(self._volume(name)[path])

    def _volume(self, name: str) -> dict[str, bytes]:
        if name not in self.volume_of:
            raise NotFoundError(f"there is no volume {name}")
        return self.volume_of[name]

    def _gate(self, method: str) -> None:
        self.calls.append(method)
        if self.delay:
            time.sleep(self.delay)
        if self.trouble is not None:
            raise self.trouble

    def _tick(self) -> datetime:
        self.ticks += 1
        return START + timedelta(seconds=self.ticks)

    def _keep(self, job: Job) -> Job:
        self.jobs_by_id[job.id] = job
        return job

    def _judge(self, submission: Submission) -> None:
        if submission.spec.gpus > self.gpus or submission.spec.nodes > len(self.node_names) * (self.gpus // max(1, submission.spec.gpus)):
            raise NotAllowedError(f"cannot submit {submission.base_name}: it never fits {self._name}", code="never-fits")

    def _matching(self, query: JobQuery) -> list[Job]:
        return [
            job
            for job in self.jobs_by_id.values()
            if query.user in (None, job.user)
            and (query.states is None or job.state in query.states)
            and (query.name is None or fnmatch.fnmatch(job.name, query.name))
            and (query.since is None or job.submitted_at >= query.since)
            and query.labels.items() <= job.labels.items()
        ]

    def _found(self, ref: str) -> Job:
        everything = sorted(self.jobs_by_id.values(), key=lambda job: job.submitted_at, reverse=True)
        for rule in (lambda job: ref in (job.name, job.id), lambda job: job.base_name == ref):
            for job in everything:
                if rule(job):
                    return job
        prefixed = [job for job in everything if job.id.startswith(ref)]
        if len(prefixed) > 1:
            raise ConflictError(f"{ref} is ambiguous: {', '.join(job.name for job in prefixed)}", code="job-ambiguous")
        if prefixed:
            return prefixed[0]
        raise NotFoundError(f"there is no job {ref} on {self._name}", code="job-not-found")

    def _nodes(self) -> tuple[Node, ...]:
        held = sum(job.spec.total_gpus for job in self.jobs_by_id.values() if job.state.active)
        nodes = []
        for name in self.node_names:
            ours = min(held, self.gpus - self.busy.get(name, 0))
            held -= ours
            busy = ours + self.busy.get(name, 0)
            devices = tuple(
                Device(index=index, uuid=f"{name}/{index}", type=self.gpu_type, holder=Holder(user=self.user) if index < busy else None)
                for index in range(self.gpus)
            )
            nodes.append(
                Node(
                    name=name,
                    cluster=self._name,
                    tier=self.tiers.get(name, self.tier),
                    gpu_type=self.gpu_type,
                    gpus=self.gpus,
                    gpus_free=self.gpus - busy,
                    devices=devices,
                    ready=name not in self.sick,
                    why=self.sick.get(name),
                    **self.marks.get(name, {}),
                )
            )
        return tuple(nodes)
