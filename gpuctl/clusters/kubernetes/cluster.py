"""One kubeconfig context behind the Cluster port: hands each call to the module that knows how.

Stateless: the objects in the cluster are the truth. What a listing does not need is imported where it is used.
"""

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from gpuctl.base import clock
from gpuctl.base.errors import ConflictError, GpuctlError, NotFoundError
from gpuctl.clusters.kubernetes import listing, names, options
from gpuctl.clusters.kubernetes.listing import Found
from gpuctl.clusters.kubernetes.observe import gather, translate
from gpuctl.clusters.kubernetes.observe.translate import Parts
from gpuctl.clusters.kubernetes.surroundings import Surroundings
from gpuctl.kube.api import Api, open_api
from gpuctl.kube.resources import JOB_SETS
from gpuctl.model.ask import Changed, ExecTarget, Forward, JobChange, JobQuery, Listing, LogQuery, Plan, Submission, Submitted
from gpuctl.model.job import FINAL, Job, State
from gpuctl.model.place import ClusterStatus, Footprint, Node, Sample, UsageRow, Volume, VolumeFile
from gpuctl.model.quota import Quota
from gpuctl.model.reason import Explanation
from gpuctl.model.schedule import ScheduleStatus
from gpuctl.model.spec import JobSpec
from gpuctl.port.capability import Capability
from gpuctl.port.cluster import Check
from gpuctl.port.stream import RankLog, Stop

if TYPE_CHECKING:
    from gpuctl.clusters.kubernetes.streams.target import PodTarget
    from gpuctl.clusters.kubernetes.volumes import KubernetesVolumes

ALWAYS = frozenset(
    {
        Capability.SIGNAL,
        Capability.HOLD,
        Capability.SNAPSHOT,
        Capability.EXEC,
        Capability.COPY,
        Capability.PORT_FORWARD,
        Capability.VOLUMES,
        Capability.QUOTA,
        Capability.USAGE,
        Capability.TOP,
    }
)


class KubernetesCluster:
    """One context. See :class:`gpuctl.port.cluster.Cluster` for what it promises."""

    def __init__(self, around: Surroundings) -> None:
        self._around = around

    # -- what it is ---------------------------------------------------------------------------------------------------------------

    @property
    def name(self) -> str:
        """The name under which the profile knows it."""
        return self._around.name

    @property
    def uid(self) -> str:
        """The UID of kube-system: two contexts of one cluster share it."""
        return self._around.uid

    @property
    def capabilities(self) -> frozenset[Capability]:
        """What it keeps with what is installed there; of a cluster that does not answer, what every one keeps."""
        try:
            found = set(ALWAYS)
            if self._around.discovery.has(JOB_SETS) and self._around.options.engine in ("auto", "jobset"):
                found |= {Capability.RETRIES, Capability.REQUEUE}
            if self._around.queues:
                found.add(Capability.WAIT_GANG)
            return frozenset(found)
        except GpuctlError:
            return ALWAYS

    def look_again(self) -> bool:
        """Whether what is installed there was asked anew: not when it was known of this very moment, nor when it does not answer."""
        try:
            return self._around.looked_again()
        except GpuctlError:
            return False

    def _engines(self) -> tuple[str, ...]:
        from gpuctl.clusters.kubernetes.manifests import ClusterFacts, available

        around = self._around
        served = frozenset(each.resource().api_version for each in around.discovery.offered)
        found = [engine.value for engine in available(ClusterFacts(name=around.name, namespace=around.namespace, served=served))]
        return (*found, *(("kueue",) if around.kueue("localqueues") is not None else ()))

    # -- inventory ----------------------------------------------------------------------------------------------------------------

    def configured(self) -> None:
        """See ``port.notes.Configured``: whether the kubeconfig and its files are there and name the context."""
        _ = self._around.api  # opens it

    def status(self) -> ClusterStatus:
        """This cluster's row."""
        from gpuctl.clusters.kubernetes import inventory

        try:
            return inventory.status(self._around, engines=self._engines())
        except GpuctlError as error:
            return inventory.unread(self.name, self._around.options.tier, error)

    def nodes(self) -> Listing[Node]:
        """Every node, and those that the cluster would add."""
        from gpuctl.clusters.kubernetes import inventory

        return inventory.listing(self._around)

    def quota(self) -> Listing[Quota]:
        """Who may hold how many GPUs here, and who does."""
        from gpuctl.clusters.kubernetes import quota

        return quota.rows(self._around)

    def usage(self, query: JobQuery) -> Listing[UsageRow]:
        """GPU-seconds of the jobs that the cluster still knows."""
        from gpuctl.clusters.kubernetes import usage

        return usage.rows(self._around, query)

    def top(self, ref: str | None) -> Listing[Sample]:
        """What my running jobs use, or each rank of one job: looked at inside of their pods."""
        from gpuctl.clusters.kubernetes import top

        return top.rows(self._around, listing.find(self._around, ref) if ref is not None else None)

    def schedules(self) -> Listing[ScheduleStatus]:
        """The PoolSchedules of the cluster; none where it knows no such objects."""
        from gpuctl.clusters.kubernetes import schedules

        return schedules.listing(self._around)

    def footprint(self, spec: JobSpec) -> Footprint:
        """What the job's pods take besides GPUs, and its Ray's head."""
        from gpuctl.clusters.kubernetes import judge

        return judge.footprint(self._around, spec)

    @property
    def team(self) -> str | None:
        """The profile's team, else the namespace's."""
        return self._around.owner_name

    def checks(self) -> Sequence[Check]:
        """What ``gpuctl doctor`` shows of this cluster."""
        from gpuctl.clusters.kubernetes import checks

        return checks.lines(self._around, engines=self._engines)

    def rbac(self) -> str:
        """The rules that a scientist and an operator need, as YAML."""
        from gpuctl.clusters.kubernetes import rbac

        return rbac.yaml(namespace=self._around.namespace)

    # -- jobs ---------------------------------------------------------------------------------------------------------------------

    def launch(self, submission: Submission) -> Submitted:
        """Create the job's objects, all or none."""
        from gpuctl.clusters.kubernetes.launch import Intake

        root, existed, notes = Intake(self._around).accept(submission)
        job = translate.job(translate.Subject(root=root), self._around.place, whole=True)
        return Submitted(job=job, existed=existed, sentence=_sentence(job, root.metadata.label(names.KUEUE_QUEUE)), notes=notes)

    def render(self, submission: Submission) -> Sequence[Mapping[str, Any]]:
        """The objects that ``launch`` would create."""
        from gpuctl.clusters.kubernetes.launch import Intake

        return Intake(self._around).render(submission)

    def claim(self, request_id: str, *, digest: str, home: str) -> str:
        """The place that the first claim of this request id named."""
        from gpuctl.clusters.kubernetes import claims

        return claims.claim(self._around, request_id, digest=digest, home=home)

    def plan(self, submission: Submission) -> Plan:
        """Whether it would start now; changes nothing."""
        from gpuctl.clusters.kubernetes import judge

        return judge.plan(self._around, submission, judge.judge(self._around, submission))

    def jobs(self, query: JobQuery) -> Listing[Job]:
        """Matching jobs."""
        return listing.jobs(self._around, query)

    def job(self, ref: str) -> Job:
        """One job with everything."""
        found = self._one(ref, what="show")
        return self._shown(found)

    def _one(self, ref: str, *, what: str) -> Found:
        found = listing.find(self._around, ref)
        if found.tasks is not None and len(found.tasks) != 1:
            name = listing.name_of(found.root)
            raise NotFoundError(f"cannot {what} {len(found.tasks)} tasks of {name} at once", code="one-task-wanted")
        return found

    def _shown(self, found: Found) -> Job:
        (subject,) = gather.refused(self._around, [gather.whole(self._around, found.root, with_events=False)])
        job = listing.with_reason(translate.job(subject, self._around.place, whole=True), subject, self._around, now=clock.now())
        if not job.final:
            from gpuctl.clusters.kubernetes import windowed

            windows = windowed.read(self._around)
            job = windowed.told(job, windows) if windows is not None else job
        return _task(job, subject, found)

    def explain(self, ref: str) -> Explanation:
        """Why it stands where it stands."""
        from gpuctl.clusters.kubernetes import explaining

        found = self._one(ref, what="explain")
        return explaining.explain(self._around, found)

    def stop(self, ref: str, *, grace_seconds: int | None = None) -> Changed:
        """Cancel."""
        from gpuctl.clusters.kubernetes import change

        found = listing.find(self._around, ref)
        name = listing.name_of(found.root)
        already = change.stop(self._around, found, grace_seconds=grace_seconds)
        job = self._again(found)
        what = "has ended already" if already else "cancelled" if job.final else "is being stopped"
        return Changed(job=job, already=already, sentence=f"{name} {what}")

    def _again(self, found: Found) -> Job:
        """The job as it is after a change; what is gone altogether is as it was last seen."""
        now = gather.by_label(self._around, names.JOB_ID, found.root.metadata.label(names.JOB_ID)).items
        return self._shown(Found(now[0] if now else found.root))

    def update(self, ref: str, changes: JobChange) -> Changed:
        """Change a live job."""
        from gpuctl.clusters.kubernetes import change

        found = listing.find(self._around, ref)
        done = change.update(self._around, found, changes)
        job = self._again(found)
        return Changed(job=job, sentence=f"{job.name}: {done}" if done else f"{job.name}: nothing to change")

    def wait(self, refs: Sequence[str], *, stop: Stop, timeout: float | None) -> Iterable[Job]:
        """Yield each job once it is final."""
        from gpuctl.clusters.kubernetes import waiting

        wanted = [listing.find(self._around, ref) for ref in refs]
        return waiting.final_ones(self._around, wanted, stop=stop, timeout=timeout)

    # -- streams ------------------------------------------------------------------------------------------------------------------

    def _parts(self, root_of: Found) -> Parts:
        return translate.parts(gather.whole(self._around, root_of.root, with_events=False))

    def logs(self, ref: str, query: LogQuery) -> Sequence[RankLog]:
        """The logs that the query selects."""
        from gpuctl.clusters.kubernetes import targets
        from gpuctl.clusters.kubernetes.streams.logs import logs_of

        found = listing.find(self._around, ref)
        parts = self._parts(found)
        if query.task is None and found.tasks is not None:
            query = msgspec.structs.replace(query, task=found.tasks[0])
        pods = targets.all_of(parts, namespace=self._around.namespace)
        if query.failed:
            among = parts.pods if parts.spec.array is None or query.attempt is not None else parts.current
            bad = {seen.pod.metadata.name for seen in among if seen.failed}
            if parts.state is State.FAILED:
                bad |= {seen.pod.metadata.name for seen in (parts.submitters or ())[-1:]}  # it ends well, however its program does
            pods = tuple(each for each in pods if each.name in bad)
        if not pods:
            return []
        selector = f"{names.JOB_ID}={found.root.metadata.label(names.JOB_ID)}"
        return list(logs_of(self._around.api, pods, query, selector=selector))

    def _running(self, ref: str, *, what: str) -> tuple[Job, "tuple[PodTarget, ...]"]:
        from gpuctl.clusters.kubernetes import targets

        found = listing.find(self._around, ref)
        subject = gather.whole(self._around, found.root, with_events=False)
        job = translate.job(subject, self._around.place, whole=False)
        task = found.tasks[0] if found.tasks is not None else None
        pods = targets.running(translate.parts(subject), namespace=self._around.namespace, task=task)
        if not pods:
            hint = f"gpuctl logs {job.name}" if job.final else f"gpuctl why {job.name}"
            raise ConflictError(f"cannot {what} {job.name}: it {job.state.told}", code="not-running", hint=hint)
        return job, pods

    def exec(self, ref: str, target: ExecTarget, argv: Sequence[str], *, tty: bool) -> int:
        """Run a program inside, on this terminal's streams."""
        from gpuctl.clusters.kubernetes.streams.exec import run

        job, pods = self._running(ref, what="enter")
        return run(self._around.api, pods, target, argv, job=job.name, tty=tty)

    def copy_out(self, ref: str, path: str, destination: str) -> int:
        """Copy out of the job's working directory; bytes written."""
        job, pods = self._running(ref, what="copy out of")
        from gpuctl.clusters.kubernetes.streams import copy

        return copy.copy_out(self._around.api, pods, path, destination, job=job.name)

    def forward(self, ref: str, *, remote: str, local_port: int | None, stop: Stop) -> Iterable[Forward]:
        """Yield the address, and keep it."""
        from gpuctl.clusters.kubernetes.streams import forward

        job, _ = self._running(ref, what="forward a port of")

        def find() -> "PodTarget | None":
            try:
                return self._running(ref, what="forward a port of")[1][0]
            except (ConflictError, NotFoundError):
                return None

        return forward.serve(self._around.api, find, job=job.name, kind=job.spec.kind, remote=remote, local_port=local_port, stop=stop)

    # -- volumes ------------------------------------------------------------------------------------------------------------------

    @property
    def _volumes(self) -> "KubernetesVolumes":
        from gpuctl.clusters.kubernetes.volumes import KubernetesVolumes

        return KubernetesVolumes(self._around, mounted=self._mounted)

    def _mounted(self) -> Mapping[str, tuple[str, ...]]:
        unfinished = listing.jobs(self._around, JobQuery(states=frozenset(State) - FINAL)).items
        users: dict[str, tuple[str, ...]] = {}
        for job in unfinished:
            spec = job.spec
            mounts = {each.name for each in spec.volumes} | ({spec.checkpoint.volume} if spec.checkpoint else set())
            mounts |= {spec.logs_to.partition(":")[0]} if spec.logs_to else set()
            mounts |= {spec.code_volume} if spec.code_volume else set()
            for volume in mounts:
                users[volume] = (*users.get(volume, ()), job.name)
        return users

    def volumes(self) -> Listing[Volume]:
        """Every claim of the namespace."""
        return self._volumes.list()

    def create_volume(self, name: str, *, size: int | None, access: str | None, storage_class: str | None) -> Volume:
        """Make a claim."""
        return self._volumes.create(name, size=size, access=access, storage_class=storage_class)

    def delete_volume(self, name: str) -> None:
        """Delete one of ours."""
        self._volumes.delete(name)

    def volume_files(self, name: str, path: str) -> Listing[VolumeFile]:
        """What lies below ``path``."""
        return self._volumes.files(name, path)

    def put_file(self, name: str, source: str, path: str) -> int:
        """Copy into one."""
        return self._volumes.put(name, source, path)

    def get_file(self, name: str, path: str, destination: str) -> int:
        """Copy out of one."""
        return self._volumes.get(name, path, destination)

    def close(self) -> None:
        """Close connections; jobs go on. Used again, it opens anew."""
        self._around.close()


def _task(job: Job, subject: translate.Subject, found: Found) -> Job:
    if found.tasks is None:
        return job
    name = f"{job.name}_{found.tasks[0]}"
    return next(each for each in listing.tasks_of(job, subject) if each.name == name)


def _sentence(job: Job, queue: str) -> str:
    where = f"{job.cluster}, {job.tier}" if job.tier else str(job.cluster)
    if job.final:
        return f"{job.name} {job.state.value}"
    if job.spec.hold and job.state is State.QUEUED:
        return f"submitted to {where}, on hold"
    return f"submitted to {where}" + (f", queue {queue}" if queue else "")


def build(name: str, given: Mapping[str, str], *, opener: Callable[[], Api] | None = None) -> KubernetesCluster:
    """A kubeconfig context as a cluster called ``name``; talks to nobody yet. Options: see :class:`.options.Options`.

    Args:
        name: in the profile.
        given: the options; ``ctx`` names the context.
        opener: makes the door to the API, for tests.

    Raises:
        InvalidInput: an option is unknown or wrong.
    """
    chosen = options.read(name, given)

    def door() -> Api:
        import sys

        terminal = sys.stdin is not None and sys.stdin.isatty()
        return open_api(chosen.ctx, env=os.environ, namespace=chosen.namespace, kubeconfig=chosen.kubeconfig, interactive=terminal)

    return KubernetesCluster(Surroundings(name, chosen, open_api=opener or door, user=_user()))


def _user() -> str:
    """The login name of the user this process runs as."""
    import pwd

    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return f"uid-{os.geteuid()}"
