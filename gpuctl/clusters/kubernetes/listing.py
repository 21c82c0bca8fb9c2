"""Lists of jobs, and from what a person typed to a job: name, base name (the newest), unique id prefix, ``NAME_7`` for a task."""

import difflib
import fnmatch
import re
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from gpuctl.base import clock
from gpuctl.base.errors import ConflictError, NotFoundError
from gpuctl.clusters.kubernetes import names
from gpuctl.clusters.kubernetes.observe import gather, translate, translate_array
from gpuctl.clusters.kubernetes.observe.objects import Root
from gpuctl.clusters.kubernetes.observe.translate import Subject
from gpuctl.clusters.kubernetes.surroundings import Surroundings
from gpuctl.model.ask import JobQuery, Listing
from gpuctl.model.job import Attempt, Job, State, TimelineEvent
from gpuctl.policy import away

if TYPE_CHECKING:
    from gpuctl.clusters.kubernetes.windowed import Windows

_TASK = re.compile(r"(?P<name>.+)_(?P<first>\d{1,9})(?:-(?P<last>\d{1,9}))?\Z")
_SHORTEST_PREFIX = 3
_SHOWN = 5
MOST_EXPLAINED = 20
"""Failed jobs of one list whose pods are read for the reason."""


class Found(NamedTuple):
    """A job's object, and the tasks of it that were named (None: the job as a whole)."""

    root: Root
    tasks: tuple[int, ...] | None = None


def jobs(around: Surroundings, query: JobQuery) -> Listing[Job]:
    """Matching jobs, unfinished first, then newest first."""
    selector = selector_of(query)
    found = gather.roots(around, selector)
    now = clock.now()
    place = around.place
    quick = [(root, translate.job(Subject(root=root), place, whole=False)) for root in found.items]
    # What a root leaves open can only become more, so a final state is final already here.
    likely = [(root, job) for root, job in quick if _may_match(job, query, now=now)]
    failed = [root.metadata.label(names.JOB_ID) for root, job in likely if job.state in (State.FAILED, State.LOST, State.CUT)]
    windows = _windows(around, [job for _, job in likely])
    wanted = failed if len(failed) <= MOST_EXPLAINED else []
    if windows is not None:  # on which nodes a job runs, only its pods know
        wanted = wanted + [root.metadata.label(names.JOB_ID) for root, job in likely if job.state.active]
    subjects = gather.refused(around, gather.subjects(around, [root for root, _ in likely], explain=wanted))
    made = []
    for subject in subjects:
        job = with_reason(translate.job(subject, place, whole=False), subject, around, now=now)
        if windows is not None:
            from gpuctl.clusters.kubernetes import windowed

            job = windowed.told(job, windows)
        if _matches(job, query, now=now):
            made += tasks_of(job, subject, query) if query.tasks and job.spec.array is not None else [job]
    made.sort(key=_order)
    shown = tuple(made[: query.limit] if query.limit is not None else made)
    if not found.unread:
        return Listing(items=shown)
    error = found.unread[0]
    return Listing(items=shown, incomplete={around.name: error.message}, health={around.name: away.health(error)})


def _windows(around: Surroundings, likely: Sequence[Job]) -> "Windows | None":
    """The windows that concern some of these jobs. Where no schedule can be, what judges them is not even loaded."""
    if not around.discovery.has(names.POOL_SCHEDULES):
        return None
    from gpuctl.clusters.kubernetes import windowed

    return windowed.read(around) if windowed.concerned(likely) else None


def _order(job: Job) -> tuple[bool, float]:
    return job.final, -job.submitted_at.timestamp()


def selector_of(query: JobQuery) -> str:
    """What the server can sort out by labels; only values that a label holds as they are."""
    parts = []
    for key, value in ((names.USER, query.user), (names.TEAM, query.team)):
        if value and names.label_value(value) == value:
            parts.append(f"{key}={value}")
    return ",".join(parts)


def _may_match(job: Job, query: JobQuery, *, now: datetime) -> bool:
    """Whether it may be shown as far as is known before its pods are read."""
    return _matches(job, msgspec.structs.replace(query, states=None) if not job.final else query, now=now)


def _matches(job: Job, query: JobQuery, *, now: datetime) -> bool:
    recent = query.recent_seconds
    return not (
        (query.user is not None and job.user != query.user)
        or (query.team is not None and job.team != query.team)
        or (query.states is not None and job.state not in query.states and not (query.tasks and job.spec.array is not None))
        or (query.name is not None and not (fnmatch.fnmatchcase(job.name, query.name) or fnmatch.fnmatchcase(job.base_name, query.name)))
        or (query.since is not None and job.submitted_at < query.since)
        or not query.labels.items() <= job.labels.items()
        or (recent is not None and job.ended_at is not None and clock.elapsed(job.ended_at, now) > recent)
    )


def with_reason(job: Job, subject: Subject, around: Surroundings, *, now: datetime) -> Job:
    """The job with the sentence of why it waits or ended badly, as far as what was read tells."""
    if job.state in (State.RUNNING, State.SUCCEEDED):
        return job
    if subject.pods is None and job.state in (State.FAILED, State.LOST):
        return job
    seen = translate.evidence(subject, around.place, now=now)
    if not seen and job.state is not State.QUEUED:
        return job
    from gpuctl.policy.explain import explain  # of jobs that all run, nothing is explained

    return msgspec.structs.replace(job, reason=explain(job, seen, now).reason)


def tasks_of(job: Job, subject: Subject, query: JobQuery | None = None) -> list[Job]:
    """Each task of an array as a job of its own."""
    read = translate.parts(subject)
    made = []
    for index, state in translate_array.states(subject.root, job.spec, job.state, read.current).items():
        if query is not None and query.states is not None and state not in query.states:
            continue
        attempts = tuple(each for each in job.attempts if each.task == index)
        last = attempts[-1] if attempts else None
        made.append(
            msgspec.structs.replace(
                job,
                name=f"{job.name}_{index}",
                state=state,
                tasks=None,
                attempts=attempts,
                timeline=_timeline(job, attempts),
                attempt_count=last.number if last is not None else 0,
                started_at=last.started_at if last is not None else None,
                ended_at=(last.ended_at if last is not None else None) or (job.ended_at if state.final else None),
                exit=last.exit if last is not None else None,
                where=job.where if state.active else None,
                reason=job.reason if state is State.QUEUED else None,
            )
        )
    return made


def _timeline(job: Job, attempts: Sequence[Attempt]) -> tuple[TimelineEvent, ...]:
    """The array's own until a task's pod is there, then what happened to that."""
    if not job.timeline:
        return ()
    told = [job.timeline[0]]
    for each in attempts:
        if each.started_at is not None:
            told.append(TimelineEvent(at=each.started_at, what="running", attempt=each.number))
        if each.ended_at is not None:
            told.append(TimelineEvent(at=each.ended_at, what="ended", attempt=each.number))
    return tuple(told)


def find(around: Surroundings, ref: str) -> Found:
    """The job that ``ref`` names. ``-`` is the latest one.

    Raises:
        NotFoundError: ``job-not-found``; ``task-not-found`` when the array has no such task.
        ConflictError: ``job-ambiguous``, with the candidates.
    """
    wanted = ref.removeprefix("job/")
    if wanted not in ("-", ""):
        exact = gather.by_label(around, names.JOB, wanted).items
        if exact:
            return Found(exact[0])
    every = gather.roots(around)
    root = _among(every.items, wanted)
    if root is not None:
        return Found(root)
    match = _TASK.match(wanted)
    if match:
        root = _among(every.items, match["name"])
        if root is not None:
            first = int(match["first"])
            return Found(root, _tasks(root, first, int(match["last"] or first)))
    if every.unread:  # it may be among what we may not see
        raise every.unread[0]
    raise NotFoundError(
        f"no job {wanted if len(wanted) <= 80 else wanted[:77] + '...'} on {around.name}",
        code="job-not-found",
        cause=_nearest(every.items, wanted),
        hint="gpuctl jobs -u all    or: gpuctl history",
    )


def name_of(root: Root) -> str:
    """The job's name."""
    return root.metadata.label(names.JOB) or root.metadata.name


def _among(roots: Sequence[Root], wanted: str) -> Root | None:
    newest = sorted(roots, key=_age, reverse=True)
    if wanted in ("-", ""):
        return newest[0] if newest else None
    for root in newest:
        if wanted in (name_of(root), root.metadata.label(names.JOB_ID)):
            return root
    for root in newest:
        if root.metadata.annotation(names.BASE_NAME) == wanted:
            return root
    if len(wanted) < _SHORTEST_PREFIX or not re.fullmatch(r"[0-9a-f]+", wanted):
        return None
    found = [root for root in newest if root.metadata.label(names.JOB_ID).startswith(wanted)]
    if len(found) > 1:
        shown = ", ".join(f"{root.metadata.label(names.JOB_ID)} ({name_of(root)})" for root in found[:_SHOWN])
        raise ConflictError(
            f"job id {wanted} is ambiguous", code="job-ambiguous", cause=f"it begins {shown}", hint=f"gpuctl job {name_of(found[0])}"
        )
    return found[0] if found else None


def _age(root: Root) -> tuple[float, float]:
    """Server's seconds first, then our own instant, which has more digits."""
    from gpuctl.clusters.kubernetes.record import RECORD, read_record

    created, ours = root.metadata.creation_timestamp, read_record(root.metadata.annotation(RECORD)).submitted_at
    return created.timestamp() if created is not None else 0.0, ours.timestamp() if ours is not None else 0.0


def _tasks(root: Root, first: int, last: int) -> tuple[int, ...]:
    spec = translate.parts(Subject(root=root)).spec
    name = name_of(root)
    if spec.array is None:
        raise NotFoundError(f"no task {first} in {name}: it is no array", code="task-not-found", hint=f"gpuctl job {name}")
    there = tuple(index for index in spec.array.indices if first <= index <= last)
    if not there:
        raise NotFoundError(
            f"no task {first} in {name}: its tasks are {spec.array.indices[0]}-{spec.array.indices[-1]}",
            code="task-not-found",
            hint=f"gpuctl job {name}",
        )
    return there


def _nearest(roots: Iterable[Root], wanted: str) -> str | None:
    if len(wanted) > 200:
        return None
    known = {word for root in roots for word in (name_of(root), root.metadata.annotation(names.BASE_NAME)) if word}
    close = difflib.get_close_matches(wanted, sorted(known), n=1, cutoff=0.6)
    return f"the nearest name is {close[0]}" if close else None
