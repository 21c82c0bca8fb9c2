"""Evidence for ``why``: objects, pods, events, the queue, and what the program's last lines say."""

import msgspec

from gpuctl.base import clock
from gpuctl.clusters.kubernetes import windowed
from gpuctl.clusters.kubernetes.listing import Found, tasks_of
from gpuctl.clusters.kubernetes.observe import gather, translate
from gpuctl.clusters.kubernetes.observe.translate import Parts
from gpuctl.clusters.kubernetes.surroundings import Surroundings
from gpuctl.model.job import State
from gpuctl.model.reason import Evidence, Explanation
from gpuctl.policy import logerrors
from gpuctl.policy.explain import explain as judge


def explain(around: Surroundings, found: Found) -> Explanation:
    """Why the job (or the named task) stands where it stands."""
    subject = gather.whole(around, found.root, with_events=True)
    now = clock.now()
    job = translate.job(subject, around.place, whole=True)
    windows = windowed.read(around) if not job.final else None
    job = windowed.told(job, windows) if windows is not None else job
    parts = translate.parts(subject)
    seen = [*translate.evidence(subject, around.place, now=now), *said(parts)]
    if found.tasks is not None:
        job = next(each for each in tasks_of(job, subject) if each.name == f"{job.name}_{found.tasks[0]}")
        # Its own pod's, and what holds for the whole array; of one task it need not be said which.
        seen = [msgspec.structs.replace(one, task=None) for one in seen if one.task in (None, found.tasks[0])]
    answer = judge(job, seen, now)
    note = windowed.note(job, windows) if windows is not None and job.state.active else None
    return answer if note is None else msgspec.structs.replace(answer, also=(note, *answer.also))


def said(parts: Parts) -> list[Evidence]:
    """What the last lines of pods that failed say; Kubernetes keeps them in the pod's status, also when its log is gone."""
    found: list[Evidence] = []
    if parts.by_ray:  # Ray tells KubeRay how its entrypoint ended, with its last lines
        if parts.state is not State.FAILED:
            return []
        told = logerrors.scan(parts.standing.message.encode("utf-8", "surrogateescape"), rank=0)
        return [msgspec.structs.replace(one, at=one.at or parts.standing.ended_at) for one in told]
    tasks = parts.spec.array.indices if parts.spec.array is not None else ()
    for seen in parts.current:
        if seen.ended is None or not seen.failed or not seen.ended.message:
            continue
        told = logerrors.scan(seen.ended.message.encode("utf-8", "surrogateescape"), rank=seen.rank)
        task = tasks[seen.node_index] if seen.node_index < len(tasks) else None
        where = {"node": seen.node or None, "attempt": seen.attempt, "task": task}
        found += [msgspec.structs.replace(one, at=one.at or seen.ended.finished_at, **where) for one in told]
    return found
