"""DirectPool: the Pool port over the clusters of a profile, with nothing resident in between."""

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property
from typing import TYPE_CHECKING, Any

from gpuctl.base.errors import NotFoundError, NotKeptHere
from gpuctl.model.ask import Changed, ExecTarget, Forward, JobChange, JobQuery, Listing, LogQuery, Plan, Submission, Submitted
from gpuctl.model.job import Job
from gpuctl.model.place import ClusterStatus, Node, Sample, UsageRow, Volume, VolumeFile
from gpuctl.model.quota import Quota
from gpuctl.model.reason import Explanation
from gpuctl.model.schedule import ScheduleStatus
from gpuctl.pool import listings, resolve
from gpuctl.pool.members import Members, is_missing
from gpuctl.port.capability import Capability
from gpuctl.port.cluster import Cluster
from gpuctl.port.notes import Noting
from gpuctl.port.rendering import Rendering
from gpuctl.port.stream import Stop

if TYPE_CHECKING:
    from gpuctl.pool.checks import Checked
    from gpuctl.pool.record import Record


class DirectPool:
    """The pool of a profile. See :mod:`gpuctl.port.pool` for its promises.

    What one verb alone needs is imported in it: ``gpuctl jobs`` shall not pay for placement, logs and waiting.

    Args:
        members: the clusters, in the profile's order.
        user: whose jobs are mine.
        profile: the profile's name, for messages.
        record_at: the directory of my own record, for clusters that forget; None keeps none.
    """

    def __init__(self, members: Members, *, user: str, profile: str = "", record_at: str | None = None) -> None:
        self.members = members
        self.profile = profile
        self._user = user
        self._record_at = record_at

    def __repr__(self) -> str:
        """Profile and clusters."""
        return f"<DirectPool {self.profile}: {', '.join(member.name for member in self.members.all)}>"

    @property
    def capabilities(self) -> frozenset[Capability]:
        """What at least one of its clusters keeps."""
        return frozenset().union(*(member.cluster.capabilities for member in self.members.all))

    def close(self) -> None:
        """Let go of connections; jobs go on."""
        self.members.close()

    def notes(self) -> tuple[str, ...]:
        """What its clusters have to tell beside their answers (``port.notes``)."""
        return tuple(note for member in self.members.all if isinstance(member.cluster, Noting) for note in member.cluster.notes())

    def me(self) -> str:
        """The user this pool takes me for."""
        return self._user

    # Jobs

    def submit(self, submission: Submission) -> Submitted:
        """Accept a job on the best cluster, or raise with nothing left behind."""
        from gpuctl.pool import submitting

        return submitting.submit(self.members, submission, user=self._user, record=self._record)

    def plan(self, submission: Submission) -> Plan:
        """Where, when, cost; submits nothing."""
        from gpuctl.pool import planning, submit

        return planning.plan(self.members, submit.choose(self.members, submission, user=self._user))

    def render(self, submission: Submission) -> Sequence[Mapping[str, Any]]:
        """The objects that ``submit`` would create on the cluster it would choose."""
        from gpuctl.pool import submit

        choice = submit.insist(submit.choose(self.members, submission, user=self._user))
        cluster = choice.member.cluster
        if not isinstance(cluster, Rendering):
            raise NotKeptHere(
                f"cannot render the job: on {choice.member.name} a job is a process, there are no objects to show",
                cause="--render shows what a Kubernetes cluster of the profile would be sent",
                hint="gpuctl submit --dry-run -o yaml ...",
            )
        return cluster.render(choice.submission)

    def jobs(self, query: JobQuery) -> Listing[Job]:
        """Matching jobs of every cluster, unfinished first, then newest first; of those that do not answer what my own record knows."""
        listing = self._saw(listings.jobs(self.members, query))
        record = self._record
        if record is None:
            return listing
        from gpuctl.pool import remembering

        listing = remembering.vanished(self.members, listing, query, user=self._user, record=record)
        return remembering.greyed(listing, query, record) if listing.incomplete else listing

    def history(self, query: JobQuery) -> Listing[Job]:
        """What I ran, newest first."""
        from gpuctl.pool import remembering

        return remembering.history(self.members, query, user=self._user, record=self._record)

    def job(self, ref: str | None) -> Job:
        """One job with all attempts and its timeline."""
        record = self._record
        try:
            located = resolve.locate(self.members, ref, user=self._user)
            job = located.job if located.job is not None else located.member.cluster.job(located.ref)
        except NotFoundError as error:
            return self._forgotten(ref, error)
        if record is None:
            return job
        record.saw([job])
        return job

    def explain(self, ref: str | None) -> Explanation:
        """Why it stands where it stands."""
        try:
            cluster, name = self._find(ref)
            return cluster.explain(name)
        except NotFoundError as error:
            job = self._forgotten(ref, error)
        from gpuctl.pool import remembering

        return remembering.explained(job)

    def cancel(self, ref: str, *, grace_seconds: int | None = None) -> Changed:
        """End it; idempotent."""
        try:
            cluster, name = self._find(resolve.plain(ref), sure=True)
            return cluster.stop(name, grace_seconds=grace_seconds)
        except NotFoundError as error:
            job = self._forgotten(ref, error)
            return Changed(job=job, already=True)

    def update(self, ref: str, change: JobChange) -> Changed:
        """Change a live job."""
        with self._there(ref, "update"):
            cluster, name = self._find(ref, sure=True)
            return cluster.update(name, change)

    def wait(self, refs: Sequence[str | None], *, stop: Stop, timeout: float | None) -> Iterable[Job]:
        """Yield each job once it is final, over all clusters in the order in which they end."""
        from gpuctl.pool import waiting

        gone: list[Job] = []
        try:
            ended = waiting.wait(self.members, refs, user=self._user, stop=stop, timeout=timeout)
        except NotFoundError as error:
            gone, left = self._gone(refs, error)
            ended = waiting.wait(self.members, left, user=self._user, stop=stop, timeout=timeout) if left else ()
        record = self._record
        return ended if record is None else itertools.chain(gone, _watched(ended, record))

    # Streams

    def logs(self, ref: str | None, query: LogQuery, *, stop: Stop) -> Iterator[bytes]:
        """Rendered lines of all selected ranks, merged by time."""
        from gpuctl.pool import following

        try:
            cluster, name = self._find(ref)
            return following.stream(cluster, name, query, stop=stop)
        except NotFoundError as error:
            job = self._forgotten(ref, error)
        from gpuctl.pool import remembering

        raise remembering.log_gone(job)

    def exec(self, ref: str | None, target: ExecTarget, argv: Sequence[str], *, tty: bool) -> int:
        """Run a program inside; its exit status."""
        with self._there(ref, "enter"):
            cluster, name = self._find(ref)
            return cluster.exec(name, target, argv, tty=tty)

    def copy_out(self, ref: str | None, path: str, destination: str) -> int:
        """Copy out of the job's working directory; bytes written."""
        with self._there(ref, "copy out of"):
            cluster, name = self._find(ref)
            return cluster.copy_out(name, path, destination)

    def forward(self, ref: str | None, *, remote: str, local_port: int | None, stop: Stop) -> Iterable[Forward]:
        """Open a port-forward and keep it until ``stop``."""
        with self._there(ref, "forward a port of"):
            cluster, name = self._find(ref)
            return cluster.forward(name, remote=remote, local_port=local_port, stop=stop)

    # Inventory and accounts

    def clusters(self) -> Listing[ClusterStatus]:
        """Every cluster of the profile, also those that do not answer."""
        return listings.clusters(self.members)

    def nodes(self) -> Listing[Node]:
        """Every node."""
        return listings.nodes(self.members)

    def top(self, ref: str | None) -> Listing[Sample]:
        """What runs now and what it uses: every job of mine, or each rank of one."""
        if ref is None:
            return listings.flat(self.members, lambda cluster: cluster.top(None))
        with self._there(ref, "look into"):
            cluster, name = self._find(ref)
            return cluster.top(name)

    def usage(self, query: JobQuery) -> Listing[UsageRow]:
        """GPU-seconds by user, day and state."""
        return listings.once(self.members, lambda cluster: cluster.usage(query))

    def quota(self) -> Listing[Quota]:
        """What may be held, by cluster, team, tier and GPU type."""
        from gpuctl.pool import quotas

        return quotas.rows(self.members)

    def schedules(self) -> Listing[ScheduleStatus]:
        """Every schedule that a cluster obeys."""
        return listings.once(self.members, lambda cluster: cluster.schedules())

    def checks(self) -> "Sequence[Checked]":
        """What ``doctor`` shows."""
        from gpuctl.pool import checks

        return checks.checks(self.members)

    def rbac(self) -> str:
        """What the clusters' administrators have to allow, for ``doctor --rbac``."""
        from gpuctl.pool import checks

        return checks.rbac(self.members)

    # Volumes

    def volumes(self) -> Listing[Volume]:
        """Every volume of every cluster."""
        return listings.once(self.members, lambda cluster: cluster.volumes())

    def create_volume(self, name: str, *, cluster: str | None, size: int | None, access: str | None, storage_class: str | None) -> Volume:
        """Create one, on the first cluster that keeps volumes unless one is named."""
        from gpuctl.pool import volumes

        return volumes.for_new(self.members, cluster).create_volume(name, size=size, access=access, storage_class=storage_class)

    def delete_volume(self, name: str, *, cluster: str | None) -> Volume:
        """Delete it; what it was."""
        from gpuctl.pool import volumes

        home, volume = volumes.read(self.members, name, cluster)
        home.delete_volume(name)
        return volume

    def volume_files(self, name: str, path: str, *, cluster: str | None) -> Listing[VolumeFile]:
        """What lies below ``path``."""
        from gpuctl.pool import volumes

        return volumes.home(self.members, name, cluster).volume_files(name, path)

    def put_file(self, name: str, source: str, path: str, *, cluster: str | None) -> int:
        """Copy into it; bytes written."""
        from gpuctl.pool import volumes

        return volumes.home(self.members, name, cluster).put_file(name, source, path)

    def get_file(self, name: str, path: str, destination: str, *, cluster: str | None) -> int:
        """Copy out of it; bytes written."""
        from gpuctl.pool import volumes

        return volumes.home(self.members, name, cluster).get_file(name, path, destination)

    @cached_property
    def _record(self) -> "Record | None":
        """My own record, where a cluster forgets: a machine's own store needs no second one."""
        if self._record_at is None or not any(member.forgets for member in self.members.all):
            return None
        from gpuctl.pool.record import Record

        return Record(self._record_at)

    def _saw(self, listing: Listing[Job]) -> Listing[Job]:
        if self._record is not None:
            self._record.saw(listing.items)
        return listing

    def _forgotten(self, ref: str | None, error: NotFoundError) -> Job:
        """The job that no cluster knows, as my own record has it; ``error`` where that does not know it either."""
        if self._record is None or not (is_missing(error) or error.code == "no-jobs"):
            raise error
        from gpuctl.pool import remembering

        return remembering.forgotten(self.members, ref, self._record, error)

    @contextmanager
    def _there(self, ref: str | None, what: str) -> Iterator[None]:
        """Do ``what`` to a job; where no cluster knows it say that it has ended or is lost, if the record knows."""
        try:
            yield
        except NotFoundError as error:
            job = self._forgotten(ref, error)
            if not job.final:  # on a cluster that the profile does not name any more
                raise
            from gpuctl.pool import remembering

            raise remembering.not_there(job, what) from None

    def _gone(self, refs: Sequence[str | None], error: NotFoundError) -> tuple[list[Job], list[str | None]]:
        """The jobs among ``refs`` that only my own record knows, and the references that clusters know; ``error`` where there are none."""
        gone: dict[str, Job] = {}
        left: list[str | None] = []
        for ref in refs:
            try:
                located = resolve.locate(self.members, ref, user=self._user)
                if located.job is None:
                    located.member.cluster.job(located.ref)
                left.append(ref)
            except NotFoundError as missing:
                job = self._forgotten(ref, missing)
                if not job.final:  # on a cluster that the profile does not name any more
                    raise missing from None
                gone[job.id] = job
        if not gone:
            raise error
        return list(gone.values()), left

    def _find(self, ref: str | None, *, sure: bool = False) -> tuple[Cluster, str]:
        located = resolve.locate(self.members, ref, user=self._user, sure=sure)
        return located.member.cluster, located.ref


def _watched(ended: Iterable[Job], record: "Record") -> Iterator[Job]:
    """The jobs as they end, each settled in the record."""
    for job in ended:
        record.saw([job])
        yield job
