"""Waiting for jobs to end: one small list for all of them, at growing intervals."""

import time
from collections.abc import Iterator, Sequence

import msgspec

from gpuctl.base import clock
from gpuctl.base.errors import TimeoutReachedError, UnavailableError
from gpuctl.clusters.kubernetes import names
from gpuctl.clusters.kubernetes.listing import Found, tasks_of
from gpuctl.clusters.kubernetes.observe import gather, translate
from gpuctl.clusters.kubernetes.surroundings import Surroundings, chunks
from gpuctl.model.job import Job, State
from gpuctl.model.reason import Reason
from gpuctl.port.stream import Stop

FIRST_NAP = 0.1
LONGEST_NAP = 3.0
UNREACHABLE_SECONDS = 600.0
"""How long an API server may be away while somebody waits."""


def final_ones(around: Surroundings, wanted: Sequence[Found], *, stop: Stop, timeout: float | None) -> Iterator[Job]:
    """Yield each once it is final, in the order in which they end; return early when asked to stop.

    An object that goes without a tombstone ends the waiting for it: cancelled when it was being deleted, else lost.

    Raises:
        TimeoutReachedError: some were not final within ``timeout`` seconds.
        UnavailableError: the cluster did not answer for ``UNREACHABLE_SECONDS``.
    """
    left = {found.root.metadata.label(names.JOB_ID): found for found in wanted}
    last: dict[str, Job] = {}
    leaving: set[str] = set()
    ends = None if timeout is None else time.monotonic() + timeout
    answered, nap = time.monotonic(), FIRST_NAP
    while left and not stop.is_set():
        try:
            seen = _look(around, left, leaving)
            answered = time.monotonic()
        except UnavailableError:
            if time.monotonic() - answered > UNREACHABLE_SECONDS:
                raise
            seen = {}
        else:
            gone = [job_id for job_id in left if job_id not in seen]
            seen |= {job_id: _vanished(around, left[job_id], last.get(job_id), cancelled=job_id in leaving) for job_id in gone}
        done = sorted((job for job in seen.values() if job.final), key=lambda job: (job.ended_at or job.submitted_at, job.id))
        if any(last.get(job_id, job).state is not job.state for job_id, job in seen.items()):
            nap = FIRST_NAP
        last |= seen
        for job in done:
            del left[job.id]
            yield job
        if not left:
            return
        if ends is not None and time.monotonic() >= ends:
            waits = ", ".join(last[job_id].name if job_id in last else job_id for job_id in left)
            raise TimeoutReachedError(f"{waits} did not end within {timeout:g} s", hint=f"gpuctl wait {waits.split(', ')[0]}")
        if stop.wait(nap if ends is None else min(nap, max(0.0, ends - time.monotonic()))):
            return
        nap = min(nap * 1.5, LONGEST_NAP)


def _look(around: Surroundings, left: dict[str, Found], leaving: set[str]) -> dict[str, Job]:
    found: dict[str, Job] = {}
    for part in chunks(left, gather.MOST_IN_SELECTOR):
        roots = gather.roots(around, f"{names.JOB_ID} in ({','.join(part)})").items
        leaving |= {root.metadata.label(names.JOB_ID) for root in roots if root.metadata.deletion_timestamp is not None}
        quick = {root.metadata.label(names.JOB_ID): translate.needs_pods(root) for root in roots}
        final = [key for key, needs in quick.items() if not needs]
        for subject in gather.subjects(around, roots, explain=final if len(final) <= MOST_WHOLE else ()):
            job = translate.job(subject, around.place, whole=subject.pods is not None)
            tasks = left[job.id].tasks
            if tasks is not None:
                states = [each for each in tasks_of(job, subject) if int(each.name.rpartition("_")[2]) in tasks]
                job = states[0] if len(states) == 1 else _worst(job, states)
            found[job.id] = job
    return found


MOST_WHOLE = 20


def _worst(job: Job, tasks: Sequence[Job]) -> Job:
    """Several tasks as one: final when all are, by the worst of them."""
    if any(not each.final for each in tasks):
        return next(each for each in tasks if not each.final)
    return next((each for each in tasks if each.state is not State.SUCCEEDED), tasks[0])


def _vanished(around: Surroundings, found: Found, last: Job | None, *, cancelled: bool) -> Job:
    job = last if last is not None else translate.job(translate.Subject(root=found.root), around.place, whole=False)
    if job.final:
        return job
    sentence = "its object was deleted by somebody else" if cancelled else "its object vanished from the cluster"
    return msgspec.structs.replace(
        job,
        state=State.CANCELLED if cancelled else State.LOST,
        ended_at=max(clock.now(), job.started_at or job.submitted_at),
        reason=Reason(
            code="cancelled" if cancelled else "lost", sentence=sentence, what="escalate", command=f"gpuctl history --name {job.name}"
        ),
    )
