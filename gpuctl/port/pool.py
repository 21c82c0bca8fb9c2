"""The Pool port: what a person asks for. The sum of small Protocols; a pool offers those that it implements.

Promises of every pool, beside those of :mod:`gpuctl.port.cluster` for the calls of the same name:

    1. A cluster that cannot be read never fails a list: its rows are missing, ``Listing.incomplete`` names it with the reason.
    2. A job on a cluster that cannot be reached is UnavailableError (7), never NotFoundError (3).
    3. ``submit`` refuses (NotKeptHere) what no cluster it may use could keep, naming who could; ``best_effort`` makes that a note.
    4. ``logs`` yields rendered bytes that end at a line's end, merged by time over all ranks. Only one log alone, without prefix, comes
       byte for byte as its rank wrote it: a prompt or a progress bar without its newline, too.
    5. ``ref`` may be None or ``-``: my latest job. The calls that end something have no default.
    6. A request id that a person gave is one job over all clusters: as long as one that may hold it cannot be read, ``submit`` is refused
       (UnavailableError) and nothing is created.
    7. ``history`` and ``job`` know what I submitted here also when its cluster has forgotten it.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Protocol

from gpuctl.model.ask import Changed, ExecTarget, Forward, JobChange, JobQuery, Listing, LogQuery, Plan, Submission, Submitted
from gpuctl.model.job import Job
from gpuctl.model.place import ClusterStatus, Node, Sample, UsageRow, Volume, VolumeFile
from gpuctl.model.quota import Quota
from gpuctl.model.reason import Explanation
from gpuctl.model.schedule import ScheduleStatus
from gpuctl.port.capability import Capability
from gpuctl.port.cluster import Check
from gpuctl.port.stream import Stop


class Jobs(Protocol):
    """Submit, see, explain, change."""

    def submit(self, submission: Submission) -> Submitted:
        """Accept a job on the best cluster, or raise with nothing left behind (promise 3)."""
        ...

    def plan(self, submission: Submission) -> Plan:
        """Where, when, cost; submits nothing."""
        ...

    def jobs(self, query: JobQuery) -> Listing[Job]:
        """Matching jobs of every cluster (promise 1)."""
        ...

    def job(self, ref: str | None) -> Job:
        """One job (promises 2 and 5)."""
        ...

    def explain(self, ref: str | None) -> Explanation:
        """Why it stands where it stands."""
        ...

    def cancel(self, ref: str, *, grace_seconds: int | None = None) -> Changed:
        """End it; idempotent."""
        ...

    def update(self, ref: str, change: JobChange) -> Changed:
        """Change a live job."""
        ...

    def wait(self, refs: Sequence[str | None], *, stop: Stop, timeout: float | None) -> Iterable[Job]:
        """Yield each job once it is final."""
        ...

    def history(self, query: JobQuery) -> Listing[Job]:
        """What I ran, from my own record, newest first."""
        ...


class Streams(Protocol):
    """Logs, and ways into a running job."""

    def logs(self, ref: str | None, query: LogQuery, *, stop: Stop) -> Iterator[bytes]:
        """Rendered lines (promise 4)."""
        ...

    def exec(self, ref: str | None, target: ExecTarget, argv: Sequence[str], *, tty: bool) -> int:
        """Run a program inside; its exit status."""
        ...

    def copy_out(self, ref: str | None, path: str, destination: str) -> int:
        """Copy out of the job's working directory; bytes written."""
        ...

    def forward(self, ref: str | None, *, remote: str, local_port: int | None, stop: Stop) -> Iterable[Forward]:
        """Open a port-forward and keep it until ``stop``."""
        ...


class Inventory(Protocol):
    """What is there."""

    def clusters(self) -> Listing[ClusterStatus]:
        """Every cluster of the profile."""
        ...

    def nodes(self) -> Listing[Node]:
        """Every node."""
        ...

    def top(self, ref: str | None) -> Listing[Sample]:
        """What runs now and what it uses: every job of mine, or each rank of one."""
        ...

    def schedules(self) -> Listing[ScheduleStatus]:
        """Every schedule that a cluster obeys: whose its nodes are, and when."""
        ...

    def checks(self) -> "Sequence[PoolCheck]":
        """What ``doctor`` shows."""
        ...

    def rbac(self) -> str:
        """What the clusters' administrators have to allow a scientist and an operator, as YAML; NotKeptHere where nobody has to."""
        ...


class Volumes(Protocol):
    """Named storage; ``cluster`` picks a home where a name has several."""

    def volumes(self) -> Listing[Volume]:
        """Every volume of every cluster."""
        ...

    def create_volume(self, name: str, *, cluster: str | None, size: int | None, access: str | None, storage_class: str | None) -> Volume:
        """Create one."""
        ...

    def delete_volume(self, name: str, *, cluster: str | None) -> Volume:
        """Delete it; what it was."""
        ...

    def volume_files(self, name: str, path: str, *, cluster: str | None) -> Listing[VolumeFile]:
        """What lies below ``path``."""
        ...

    def put_file(self, name: str, source: str, path: str, *, cluster: str | None) -> int:
        """Copy into it; bytes written."""
        ...

    def get_file(self, name: str, path: str, destination: str, *, cluster: str | None) -> int:
        """Copy out of it; bytes written."""
        ...


class Accounts(Protocol):
    """Who used what."""

    def usage(self, query: JobQuery) -> Listing[UsageRow]:
        """GPU-seconds by user, day and state."""
        ...

    def quota(self) -> Listing[Quota]:
        """What may be held, by cluster, team, tier and GPU type."""
        ...

    def me(self) -> str:
        """The user this pool takes me for."""
        ...


class Pool(Jobs, Streams, Inventory, Volumes, Accounts, Protocol):
    """Everything a person asks for, on one profile."""

    @property
    def capabilities(self) -> frozenset[Capability]:
        """What at least one of its clusters keeps."""
        ...

    def close(self) -> None:
        """Let go of connections; jobs go on."""
        ...


class PoolCheck(Check, Protocol):
    """One line of ``gpuctl doctor``, and the cluster that it is about."""

    @property
    def cluster(self) -> str:
        """Its name in the profile."""
        ...
