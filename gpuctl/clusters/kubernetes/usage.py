"""GPU-seconds by user, UTC day and state, from what the cluster still has: jobs' objects and their pods.

A pod holds its GPUs from the moment it is bound to a node until its containers have ended. Pods that are gone (a Job removes the others
when one rank fails) count from their job's start to its end. Instants are cut to whole seconds before anything is added up.
"""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta

import msgspec

from gpuctl.base import clock, duration
from gpuctl.clusters.kubernetes import amounts, listing, names
from gpuctl.clusters.kubernetes.observe import gather, translate
from gpuctl.clusters.kubernetes.observe.translate import Subject
from gpuctl.clusters.kubernetes.observe.translate_pods import Seen, Stage
from gpuctl.clusters.kubernetes.surroundings import Surroundings
from gpuctl.kube.errors import Forbidden
from gpuctl.kube.objects.meta import condition
from gpuctl.kube.objects.pods import Pod
from gpuctl.model.ask import JobQuery, Listing
from gpuctl.model.job import Job
from gpuctl.model.place import UsageRow

SLACK = timedelta(minutes=1)
"""Whoever asks for just as long as the cluster remembers asked a moment ago."""
Span = tuple[datetime, datetime, int]
"""From, until, and how many GPUs were held."""
_Key = tuple[str, str, str, str, str]


def rows(around: Surroundings, query: JobQuery) -> Listing[UsageRow]:
    """The rows of a query, by day, user and state. ``query.since`` begins the count at that instant; what runs counts until now.

    ``incomplete`` says what the cluster has forgotten, or may not be seen.
    """
    now = clock.now()
    query = msgspec.structs.replace(query, user=None) if query.user == "all" else query
    found = gather.roots(around, listing.selector_of(query))
    pods, hidden = _pods(around, [root.metadata.label(names.JOB_ID) for root in found.items])
    since = int(query.since.timestamp()) if query.since is not None else None
    sums: dict[_Key, int] = {}
    jobs: dict[_Key, set[str]] = {}
    for root in found.items:
        subject = Subject(root=root, pods=pods.get(root.metadata.label(names.JOB_ID)))
        job = translate.job(subject, around.place, whole=False)
        if not _meant(job, query):
            continue
        for begin, end, gpus in spans(job, translate.parts(subject).pods, now=now, gpu_resources=around.gpu_resources):
            first, last = int(begin.timestamp()), int(end.timestamp())
            if since is not None and last <= since:
                continue
            for day, seconds in clock.by_day(max(first, since) if since is not None else first, last):
                key = (day, job.user, job.state.value, job.team or "", job.tier or "")
                sums[key] = sums.get(key, 0) + seconds * gpus
                jobs.setdefault(key, set()).add(job.id)
    made = tuple(
        UsageRow(
            user=user,
            day=day,
            state=state,
            jobs=len(jobs[day, user, state, team, tier]),
            gpu_seconds=total,
            cluster=around.name,
            team=team or None,
            tier=tier or None,
        )
        for (day, user, state, team, tier), total in sorted(sums.items())
    )
    missing = [*_forgotten(around, query, now), *(error.message for error in found.unread[:1]), *hidden]
    return Listing(items=made, incomplete={around.name: "; ".join(missing)} if missing else {})


def _forgotten(around: Surroundings, query: JobQuery, now: datetime) -> Iterator[str]:
    kept = around.options.ttl_seconds
    if query.since is None or query.since < now - timedelta(seconds=kept) - SLACK:
        yield f"what jobs used that ended more than {duration.canonical(kept)} ago: the cluster has forgotten them"


def _pods(around: Surroundings, job_ids: Sequence[str]) -> tuple[Mapping[str, tuple[Pod, ...]], tuple[str, ...]]:
    """Pods by job; where they may not be listed none, and the sentence that says so."""
    try:
        found = gather.pods(around, [each for each in dict.fromkeys(job_ids) if each])
    except Forbidden as error:
        return {}, (f"{error.message}, so GPUs count from start to end of their jobs",)
    return {job_id: tuple(own) for job_id, own in found.items()}, ()


def _meant(job: Job, query: JobQuery) -> bool:
    return (
        query.user in (None, job.user)
        and query.team in (None, job.team)
        and (query.states is None or job.state in query.states)
        and query.labels.items() <= job.labels.items()
    )


def spans(job: Job, pods: Sequence[Seen], *, now: datetime, gpu_resources: Sequence[str]) -> Iterator[Span]:
    """When the job held how many GPUs.

    Args:
        job: as a list has it.
        pods: those that are there, of all attempts.
        now: until when a pod counts that has not ended.
        gpu_resources: what GPUs are called there.
    """
    over = job.ended_at if job.final else None
    for seen in pods:
        begin = bound(seen.pod)
        if seen.stage is Stage.WAITING or begin is None:
            continue
        end = seen.ended.finished_at if seen.ended is not None else None
        yield begin, max(begin, end or over or now), _gpus(seen.pod, gpu_resources)
    if job.spec.array is not None or job.started_at is None:  # which tasks ran for how long, their pods alone knew
        return
    last = max((seen.attempt for seen in pods), default=0)
    there = sum(1 for seen in pods if seen.attempt == last and _gpus(seen.pod, gpu_resources) > 0)
    gone = job.spec.nodes - there
    if gone > 0 and job.spec.gpus and (job.final or not pods):
        yield job.started_at, max(job.started_at, over or now), gone * job.spec.gpus


def bound(pod: Pod) -> datetime | None:
    """When it got its node, and with it its GPUs; None while it has none."""
    scheduled = condition(pod.status.conditions, "PodScheduled")
    if scheduled is not None and scheduled.status == "True" and scheduled.last_transition_time is not None:
        return scheduled.last_transition_time
    return pod.status.start_time


def _gpus(pod: Pod, gpu_resources: Sequence[str]) -> int:
    asked = [each.resources.requests or each.resources.limits or {} for each in pod.spec.containers or () if each.resources is not None]
    return sum(amounts.whole(amounts.of(each, resource)) for each in asked for resource in gpu_resources)
