"""The Cluster port: what a pool asks of one place.

Promises of every cluster, by number (``tests/contract`` names them):

    1. ``launch`` is all or nothing: an error leaves nothing behind, a return means the job survives the death of this process.
    2. ``launch`` with a request id that is known here and the same spec returns the job that exists; with another spec it raises
       ConflictError. Two at once make one job.
    3. ``jobs`` and ``job`` never show a state that goes back (a final state stays), and never invent one: what cannot be known is None.
    4. ``job`` with an unknown reference raises NotFoundError; with an ambiguous one ConflictError naming the candidates.
    5. ``stop`` is idempotent, and returns before the processes are gone; the job is final only when they are.
    6. ``logs`` of a job that has not started is an empty list; of one that ended, everything that was kept.
    7. Every call honours ``deadline`` where one is given, and raises UnavailableError past it.
    8. Errors are GpuctlErrors; no library's exception leaves a cluster.
    9. No capability that is not declared is half done: the call raises NotKeptHere and changes nothing.
    10. ``claim`` is create-only: of several calls for one request id, at once or years apart, all return what the first one named.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol

from gpuctl.model.ask import Changed, ExecTarget, Forward, JobChange, JobQuery, Listing, LogQuery, Plan, Submission, Submitted
from gpuctl.model.job import Job
from gpuctl.model.place import ClusterStatus, Node, Sample, UsageRow, Volume, VolumeFile
from gpuctl.model.quota import Quota
from gpuctl.model.reason import Explanation
from gpuctl.model.schedule import ScheduleStatus
from gpuctl.port.capability import Capability
from gpuctl.port.stream import RankLog, Stop


class Inventory(Protocol):
    """What is there, and how much of it is free."""

    def status(self) -> ClusterStatus:
        """One row of ``gpuctl clusters``; never raises for an unreachable place, the row says so."""
        ...

    def nodes(self) -> Listing[Node]:
        """Every node with its devices and holders."""
        ...

    def usage(self, query: JobQuery) -> Listing[UsageRow]:
        """GPU-seconds by user, day and state."""
        ...

    def top(self, ref: str | None) -> Listing[Sample]:
        """What running jobs (or each rank of one) use now."""
        ...

    def quota(self) -> Listing[Quota]:
        """What may be held by team, tier and GPU type; without quotas one row per GPU type with the devices as they are."""
        ...


class Schedules(Protocol):
    """Whose nodes are these, and when."""

    def schedules(self) -> Listing[ScheduleStatus]:
        """Every schedule that this place obeys; empty where nodes belong to everybody, always."""
        ...


class Jobs(Protocol):
    """Accept, observe and change jobs."""

    def launch(self, submission: Submission) -> Submitted:
        """Accept a job (promises 1 and 2).

        Raises:
            NotAllowedError: it can never run here (``never-fits``: what was asked and what is there).
            InvalidInput: a field that only this place can judge (a volume that is missing, an interpreter without torch).
        """
        ...

    def claim(self, request_id: str, *, digest: str, home: str) -> str:
        """Remember, unless that is remembered already, that the job of ``request_id`` belongs to the place ``home`` (a ``uid``).

        Called on the profile's first cluster before anything is created anywhere, so that one request id is one job over all of them.

        Args:
            request_id: as a person gave it.
            digest: what was asked for, in one word.
            home: the uid of the cluster that the caller would launch it on.

        Returns:
            The uid that the first claim named: launch it there, and nowhere else.

        Raises:
            ConflictError: ``request-id-used``, the first claim was for something else.
        """
        ...

    def plan(self, submission: Submission) -> Plan:
        """Where and when it would start, were it submitted now; changes nothing. Same errors as ``launch``."""
        ...

    def jobs(self, query: JobQuery) -> Listing[Job]:
        """Matching jobs, unfinished first, then newest first."""
        ...

    def job(self, ref: str) -> Job:
        """One job with all attempts and its timeline. ``ref``: name, base name (newest), unique id prefix, ``NAME_7`` for a task."""
        ...

    def explain(self, ref: str) -> Explanation:
        """Why it stands where it stands: evidence gathered here, judged by ``policy.explain``."""
        ...

    def stop(self, ref: str, *, grace_seconds: int | None = None) -> Changed:
        """Cancel (promise 5). A final job answers ``already``."""
        ...

    def update(self, ref: str, change: JobChange) -> Changed:
        """Change a live job. ConflictError when its state does not allow it."""
        ...

    def wait(self, refs: Sequence[str], *, stop: Stop, timeout: float | None) -> Iterable[Job]:
        """Yield each job once it is final, in the order in which they end; TimeoutReachedError after ``timeout`` seconds."""
        ...


class Streams(Protocol):
    """Logs, and ways into a running job."""

    def logs(self, ref: str, query: LogQuery) -> Sequence[RankLog]:
        """The logs that ``query`` selects by rank, node, task and attempt (promise 6). May be called again while following."""
        ...

    def exec(self, ref: str, target: ExecTarget, argv: Sequence[str], *, tty: bool) -> int:
        """Run a program in the job's environment and directory on this terminal's streams; its exit status (128 + n for signals)."""
        ...

    def copy_out(self, ref: str, path: str, destination: str) -> int:
        """Copy a file or directory out of the job's working directory; bytes written."""
        ...

    def forward(self, ref: str, *, remote: str, local_port: int | None, stop: Stop) -> Iterable[Forward]:
        """Yield once the forward is open, then keep it until ``stop``. ``remote``: a port number or dashboard, tensorboard, jupyter."""
        ...


class Volumes(Protocol):
    """Named storage that jobs mount."""

    def volumes(self) -> Listing[Volume]:
        """Every volume."""
        ...

    def create_volume(self, name: str, *, size: int | None, access: str | None, storage_class: str | None) -> Volume:
        """Create one; ConflictError if the name is taken."""
        ...

    def delete_volume(self, name: str) -> None:
        """Delete it with what it holds; ConflictError while an unfinished job mounts it."""
        ...

    def volume_files(self, name: str, path: str) -> Listing[VolumeFile]:
        """What lies below ``path``, which must stay inside the volume."""
        ...

    def put_file(self, name: str, source: str, path: str) -> int:
        """Copy a local file or directory into it; bytes written."""
        ...

    def get_file(self, name: str, path: str, destination: str) -> int:
        """Copy out of it; bytes written."""
        ...


class Cluster(Inventory, Schedules, Jobs, Streams, Volumes, Protocol):
    """One place where jobs run. See the module for its promises."""

    @property
    def name(self) -> str:
        """The name under which the profile knows it."""
        ...

    @property
    def uid(self) -> str:
        """Identity of the place itself: two profiles' names for one place share it."""
        ...

    @property
    def capabilities(self) -> frozenset[Capability]:
        """What it keeps."""
        ...

    @property
    def team(self) -> str | None:
        """The team whose jobs this place takes mine for, as owners of nodes are spelt; None: no team's, or nobody says."""
        ...

    def checks(self) -> "Sequence[Check]":
        """What ``gpuctl doctor`` shows of it."""
        ...

    def close(self) -> None:
        """Let go of connections and files; jobs go on."""
        ...


class Check(Protocol):
    """One line of ``gpuctl doctor``."""

    @property
    def name(self) -> str:
        """What was looked at."""
        ...

    @property
    def verdict(self) -> str:
        """``ok``, ``note``, ``problem``."""
        ...

    @property
    def text(self) -> str:
        """What was found."""
        ...

    @property
    def fix(self) -> str | None:
        """A command that mends it."""
        ...


class ClusterFactory(Protocol):
    """An entry of the ``gpuctl.clusters`` entry-point group: builds a cluster from its options in the profile."""

    def __call__(self, name: str, options: Mapping[str, str]) -> Cluster:
        """Build it without talking to anything yet.

        Raises:
            InvalidInput: an option is unknown or wrong.
        """
        ...
