"""From what was read of one job to the job as a pool sees it, and to the evidence of why it stands so."""

import dataclasses
import re
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta

import msgspec

from gpuctl.clusters.kubernetes import names
from gpuctl.clusters.kubernetes import record as records
from gpuctl.clusters.kubernetes.observe import translate_container, translate_events, translate_pods, translate_queue, translate_root
from gpuctl.clusters.kubernetes.observe.objects import Root
from gpuctl.clusters.kubernetes.observe.translate_array import counts, task_attempts
from gpuctl.clusters.kubernetes.observe.translate_pods import Seen, Stage
from gpuctl.clusters.kubernetes.observe.translate_queue import Position
from gpuctl.clusters.kubernetes.observe.translate_root import Standing
from gpuctl.clusters.kubernetes.record import End, Record
from gpuctl.kube.objects.core import Event
from gpuctl.kube.objects.kueue import Workload
from gpuctl.kube.objects.meta import Condition, condition
from gpuctl.kube.objects.pods import Pod
from gpuctl.model.job import Attempt, Code, Exit, Job, State, TimelineEvent
from gpuctl.model.reason import Evidence
from gpuctl.model.spec import JobSpec

UNTOUCHED = timedelta(seconds=60)
"""How long a controller may take to notice an object before it counts as absent."""
CUT_TAKES = timedelta(minutes=30)
"""How long after a window began to end a job its object may say so: pods have their grace, and disruption budgets are asked again."""
_ENDS_OF_RAY = frozenset({"exit-code", "signal", "lost"})
"""What pods say that end because KubeRay removes them when the program has ended."""
_RAY_SETUP = re.compile(r"^gpuctl: setup ended with \d+ on (?P<node>\S+)", re.MULTILINE)
_RAY_CODE = re.compile(r"exit code (?P<code>\d+)")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Subject:
    """Everything that was read of one job.

    Attributes:
        root: its own object, or the tombstone that stands for it.
        pods: its pods, None when they were not read.
        events: warnings about it and its pods; empty when not asked for.
        workload: Kueue's, None when there is none or it was not read.
        position: its place in Kueue's line, where that could be read.
        queue: what its ClusterQueue says of itself, where that admits nobody.
        kueue_answers: whether Kueue could be asked.
    """

    root: Root
    pods: tuple[Pod, ...] | None = None
    events: tuple[Event, ...] = ()
    workload: Workload | None = None
    position: Position | None = None
    queue: Condition | None = None
    kueue_answers: bool = True

    @property
    def name(self) -> str:
        """The job's name."""
        return self.root.metadata.label(names.JOB) or self.root.metadata.name


@dataclasses.dataclass(frozen=True, kw_only=True)
class Place:
    """The cluster a job was read from."""

    cluster: str
    namespace: str
    gpu_resource: str = "nvidia.com/gpu"
    tier: str | None = None


@dataclasses.dataclass(frozen=True, kw_only=True)
class Parts:
    """A subject, read: the common ground of the job and its evidence. ``submitters`` None: nodes of the job speak for it themselves."""

    spec: JobSpec
    understood: bool
    record: Record
    standing: Standing
    pods: tuple[Seen, ...]
    state: State
    end: End | None
    submitters: tuple[Seen, ...] | None = None

    @property
    def by_ray(self) -> bool:
        """Whether KubeRay's Ray runs the program: then how a pod ends says nothing of how the program did."""
        return self.submitters is not None

    @property
    def current(self) -> tuple[Seen, ...]:
        """The pods of the last attempt, or of the last of each task."""
        return translate_pods.latest(self.pods, self.spec)


def parts(subject: Subject) -> Parts:
    """Read annotations, status and pods, and settle the state."""
    meta = subject.root.metadata
    spec, understood = records.read_spec(meta.annotation(names.SPEC))
    standing = translate_root.standing(subject.root, spec)
    pods = translate_pods.read(subject.pods, spec) if subject.pods is not None else ()
    end = records.read_end(meta.annotation(records.ENDED))
    return Parts(
        spec=spec,
        understood=understood,
        record=records.read_record(meta.annotation(records.RECORD)),
        standing=standing,
        pods=pods,
        state=end.state if end is not None else _state(subject, spec, standing, pods),
        end=end,
        submitters=translate_pods.submitters(subject.pods or (), spec) if subject.root.kind == "RayJob" else None,
    )


def needs_pods(root: Root) -> bool:
    """Whether the root alone leaves its state open, so that a list has to read its pods."""
    if root.metadata.annotation(records.ENDED) != "":
        return False
    spec, _ = records.read_spec(root.metadata.annotation(names.SPEC))
    return not translate_root.standing(root, spec).sure


def lacks_pods(subject: Subject) -> bool:
    """Whether it waits for pods that nobody has made yet, though nothing keeps it from starting; False where its pods were not read."""
    if subject.pods is None:
        return False
    read = parts(subject)
    if read.state.final or read.state is State.RUNNING or read.standing.suspended:
        return False
    return len(read.current) < (1 if read.spec.array is not None else read.spec.nodes)


def _state(subject: Subject, spec: JobSpec, standing: Standing, pods: Sequence[Seen]) -> State:
    cancelled = subject.root.metadata.annotation(records.CANCELLED_BY) != ""
    if standing.state.final:
        if cancelled and standing.state is not State.SUCCEEDED:
            return State.CANCELLED
        if standing.state in (State.FAILED, State.LOST) and _window_cut(subject, spec, standing, pods) is not None:
            return State.CUT
        if standing.state is State.FAILED and not standing.sure:
            cut = any(each.pod.status.reason == "DeadlineExceeded" for each in pods)
            known = any(each.failed for each in pods)
            return State.CUT if cut or (not known and translate_root.cut_by_times(standing, spec)) else State.FAILED
        return standing.state
    if standing.suspended:
        return State.CANCELLED if cancelled and standing.state is State.QUEUED else standing.state
    if standing.sure and not cancelled:
        return standing.state
    by_pods = _by_pods(spec, pods)
    if subject.root.kind == "RayJob" and by_pods is State.RUNNING:
        by_pods = State.STARTING  # Ray runs, the program not yet
    return max(standing.state, by_pods, key=_ORDER.index)


def _window_cut(subject: Subject, spec: JobSpec, standing: Standing, pods: Sequence[Seen]) -> datetime | None:
    """Since when the end of a window ends the attempt that is there; None where it did not, or ended an earlier one."""
    at = _instant(subject.root.metadata.annotation(names.WINDOW_CUT))
    if at is None:
        return None
    begun = [each.started_at for each in translate_pods.latest(pods, spec) if each.started_at is not None]
    if begun and min(begun) > at:
        return None
    latest = at + timedelta(seconds=spec.grace_seconds) + CUT_TAKES
    early = at - timedelta(seconds=1)  # the server tells whole seconds
    return at if standing.ended_at is None or early <= standing.ended_at <= latest else None


_ORDER = [State.QUEUED, State.STARTING, State.RUNNING]


def _by_pods(spec: JobSpec, pods: Sequence[Seen]) -> State:
    now = translate_pods.latest(pods, spec)
    if any(each.stage is Stage.ENDED for each in now):
        return State.RUNNING  # and its end is not told yet
    begun = sum(each.stage is Stage.RUNNING for each in now)
    if begun and (spec.array is not None or begun >= spec.nodes):
        return State.RUNNING
    return State.STARTING if any(each.stage >= Stage.STARTING for each in now) else State.QUEUED


def job(subject: Subject, place: Place, *, whole: bool) -> Job:
    """The job. ``whole`` adds every attempt and the timeline, for which pods should have been read."""
    meta = subject.root.metadata
    read = parts(subject)
    spec, standing, state = read.spec, read.standing, read.state
    submitted = _submitted(subject, read)
    started = _started(read, state, submitted)
    ended = _ended(subject, read, state, started, submitted)
    number = 1 + standing.restarts
    attempts = _attempts(subject, read, place, number=number, started=started, ended=ended)
    count = max((each.number for each in attempts), default=0)
    tier = meta.annotation(names.TIER_CHOSEN) or place.tier
    return Job(
        id=meta.label(names.JOB_ID) or meta.uid[:12],
        name=subject.name,
        base_name=meta.annotation(names.BASE_NAME) or subject.name.rpartition("-")[0] or subject.name,
        user=meta.annotation(names.USER_NAME) or meta.label(names.USER) or "unknown",
        spec=spec,
        state=state,
        submitted_at=submitted,
        team=meta.label(names.TEAM) or None,
        verified=False,
        labels=read.record.labels,
        request_id=meta.annotation(names.REQUEST_ID) or None,
        cluster=place.cluster,
        tier=tier,
        where=_where(read, place),
        started_at=started,
        ended_at=ended,
        ends_by=_ends_by(read, state, started),
        exit=_exit(read, state),
        tasks=counts(subject.root, spec, state, read.current) if spec.array is not None else None,
        attempts=attempts if whole else attempts[-1:] if spec.array is None else (),
        attempt_count=read.end.attempts if read.end is not None else count,
        timeline=tuple(_timeline(subject, read, submitted, started, ended)) if whole else (),
        code=_code(read, spec),
        placement=read.record.placement if whole else (),
        interpreter=read.record.interpreter,
        ran_same_as=read.record.rerun_of or meta.annotation(names.RERUN_OF) or None,
    )


def _code(read: Parts, spec: JobSpec) -> Code | None:
    """What it runs; the commit of a repository that the submitter could not read is what the first pod says that it fetched."""
    code = read.record.code
    if code is None or code.commit is not None or spec.git is None:
        return code
    commit = next((found for each in read.pods if (found := translate_container.commit(each.pod)) is not None), None)
    return msgspec.structs.replace(code, commit=commit) if commit is not None else code


def _submitted(subject: Subject, read: Parts) -> datetime:
    """The server's instant, which has whole seconds; with ours where that falls into the same second, so that order is kept."""
    if read.end is not None and read.end.submitted_at is not None:
        return read.end.submitted_at
    created = subject.root.metadata.creation_timestamp
    ours = read.record.submitted_at
    if created is None:
        return ours or datetime.fromisoformat("1970-01-01T00:00:00+00:00")
    return ours if ours is not None and timedelta(0) <= ours - created < timedelta(seconds=1) else created


def _started(read: Parts, state: State, submitted: datetime) -> datetime | None:
    if read.end is not None:
        return read.end.started_at
    if state is State.QUEUED:
        return None
    begun = [each.started_at for each in read.pods if each.started_at is not None]
    if read.standing.restarts and read.standing.started_at is not None and all(each.attempt > 1 for each in read.pods):
        begun.append(read.standing.started_at)  # a JobSet removes the pods of earlier attempts
    if read.by_ray and read.standing.started_at is not None:
        begun = [read.standing.started_at]  # pods come and go: the operator replaces them, and removes all at the end
    if begun:
        return max(min(begun), submitted)
    if state is State.STARTING or read.standing.started_at is None or (state is State.CANCELLED and read.standing.suspended):
        return None
    return max(read.standing.started_at, submitted)


def _ended(subject: Subject, read: Parts, state: State, started: datetime | None, submitted: datetime) -> datetime | None:
    if not state.final:
        return None
    at = read.end.at if read.end is not None else read.standing.ended_at
    if at is None:
        at = _instant(subject.root.metadata.annotation(records.CANCELLED_AT))
    finished = [each.ended.finished_at for each in read.current if each.ended is not None and each.ended.finished_at is not None]
    if at is None and finished:
        at = max(finished)
    return max(at or submitted, started or submitted)


def _instant(text: str) -> datetime | None:
    try:
        return datetime.fromisoformat(text.replace("Z", "+00:00")) if text else None
    except ValueError:
        return None


def _ends_by(read: Parts, state: State, started: datetime | None) -> datetime | None:
    if state is not State.RUNNING:
        return None
    limits = [
        each.pod.status.start_time + timedelta(seconds=each.pod.spec.active_deadline_seconds)
        for each in read.current
        if each.pod.status.start_time is not None and each.pod.spec.active_deadline_seconds is not None
    ]
    if limits and read.spec.array is None:
        return min(limits)
    limit = read.spec.time_seconds
    started = read.standing.earliest or started
    return started + timedelta(seconds=limit) if limit is not None and started is not None and read.spec.array is None else None


def _exit(read: Parts, state: State) -> Exit | None:
    if state is State.SUCCEEDED:
        return Exit(code=0)
    if state not in (State.FAILED, State.CUT, State.LOST):
        return None
    told = translate_pods.exit_of(read.current) if not read.by_ray else None
    if told is not None and told != Exit(code=0):
        return told
    code = _RAY_CODE.search(read.standing.message)
    return Exit(code=int(code["code"])) if code and state is not State.CUT else None


def _where(read: Parts, place: Place) -> str | None:
    if read.end is not None:
        return read.end.where or place.cluster
    nodes = sorted({each.node for each in read.current if each.node})
    if not nodes:
        return place.cluster
    return f"{place.cluster}:{nodes[0]}" + (f"+{len(nodes) - 1}" if len(nodes) > 1 else "")


def _attempts(
    subject: Subject, read: Parts, place: Place, *, number: int, started: datetime | None, ended: datetime | None
) -> tuple[Attempt, ...]:
    if read.spec.array is not None:
        return task_attempts(subject.root, read.spec, read.pods, cluster=place.cluster, tier=place.tier)
    if (read.state is State.QUEUED and not read.current) or (started is None and read.state is not State.STARTING):
        return ()
    numbers = range(1, max((each.attempt for each in read.pods), default=number) + 1)
    # A restart that counts towards no maximum (the field is left out at 0) followed an eviction.
    taken = read.spec.requeue and not subject.root.status.restarts_count_towards_max
    earlier = State.LOST if taken else State.FAILED
    made = []
    for each in numbers:
        pods = [seen for seen in read.pods if seen.attempt == each]
        last = each == numbers[-1]
        gone = subject.pods is not None and (not last or (read.state.final and read.state is not State.SUCCEEDED))
        if last and read.submitters:  # KubeRay removes Ray as it should, and the program's output is kept: nothing vanished
            gone = False
        begun = min((seen.started_at for seen in pods if seen.started_at is not None), default=None)
        made.append(
            Attempt(
                number=each,
                cluster=place.cluster,
                state=read.state if last else earlier,
                tier=subject.root.metadata.annotation(names.TIER_CHOSEN) or place.tier,
                started_at=(begun if len(numbers) > 1 else None) or started if last else begun,
                ended_at=ended if last else max((at for at in map(_finished_at, pods) if at is not None), default=None),
                exit=_exit(read, read.state) if last else translate_pods.exit_of(pods),
                pods=translate_pods.shares(pods, read.spec, gone=gone),
                ranks=translate_pods.rank_ends(pods) if not read.by_ray else (),
            )
        )
    return tuple(made)


def _finished_at(seen: Seen) -> datetime | None:
    return seen.ended.finished_at if seen.ended is not None else None


def _timeline(
    subject: Subject, read: Parts, submitted: datetime, started: datetime | None, ended: datetime | None
) -> Iterator[TimelineEvent]:
    """In order. Instants of nodes and of the server differ by a little; nothing comes before what led to it."""
    told: list[TimelineEvent] = []
    workload = subject.workload
    admitted = condition(workload.status.conditions, "Admitted") if workload is not None else None
    if admitted is not None and admitted.status == "True" and admitted.last_transition_time is not None:
        told.append(TimelineEvent(at=admitted.last_transition_time, what="admitted", text="admitted by Kueue"))
    evicted = translate_queue.eviction(workload) if workload is not None else None
    if evicted is not None and evicted[1].last_transition_time is not None:
        told.append(TimelineEvent(at=evicted[1].last_transition_time, what="evicted", text=evicted[0]))
    for number in sorted({each.attempt for each in read.pods}):
        pods = [each for each in read.pods if each.attempt == number]
        bound = [
            found.last_transition_time
            for each in pods
            if (found := condition(each.pod.status.conditions, "PodScheduled")) is not None and found.status == "True"
        ]
        placed = [at for at in bound if at is not None]
        if placed:
            told.append(TimelineEvent(at=min(placed), what="starting", text=_nodes(pods), attempt=number))
        begun = [each.started_at for each in pods if each.started_at is not None]
        if read.by_ray:
            continue
        if begun:
            told.append(TimelineEvent(at=min(begun), what="running", attempt=number))
        told += _ends(pods, read.spec, number)
    if started is not None and (not read.pods or (read.by_ray and read.standing.started_at is not None)):
        told.append(TimelineEvent(at=started, what="running"))
    yield TimelineEvent(at=submitted, what="submitted")
    for event in sorted(told, key=lambda each: each.at):
        at = max(event.at, submitted)
        yield TimelineEvent(at=min(at, ended) if ended is not None else at, what=event.what, text=event.text, attempt=event.attempt)
    if ended is not None:
        by = subject.root.metadata.annotation(records.CANCELLED_BY) or (read.end.by if read.end is not None else None)
        what = read.state.value if read.state in (State.CANCELLED, State.CUT) else "ended"
        yield TimelineEvent(at=ended, what=what, text=f"by {by}" if by and read.state is State.CANCELLED else "")


def _ends(pods: Sequence[Seen], spec: JobSpec, attempt: int) -> Iterator[TimelineEvent]:
    """The ends of ranks; of an array only the tasks that failed, for there may be thousands."""
    if spec.array is None:
        for end in translate_pods.rank_ends(pods):
            yield TimelineEvent(at=end.at, what="rank-ended", text=f"rank {end.rank} ended with {_how(end.exit)}", attempt=attempt)
        return
    tasks = spec.array.indices
    for seen in pods:
        if seen.failed and seen.ended is not None and seen.ended.finished_at is not None and seen.node_index < len(tasks):
            text = f"task {tasks[seen.node_index]} ended with {_how(translate_container.exit_of(seen.ended))}"
            yield TimelineEvent(at=seen.ended.finished_at, what="task-ended", text=text, attempt=attempt)


def _how(end: Exit) -> str:
    return f"signal {end.signal}" if end.signal is not None else f"code {end.code}"


def _nodes(pods: Sequence[Seen]) -> str:
    nodes = sorted({each.node for each in pods if each.node})
    return f"on {', '.join(nodes[:4])}" + (f" and {len(nodes) - 4} more" if len(nodes) > 4 else "") if nodes else ""


def evidence(subject: Subject, place: Place, *, now: datetime) -> tuple[Evidence, ...]:
    """Why the job stands where it stands, unjudged."""
    read = parts(subject)
    found: list[Evidence] = list(_of_root(subject, read, now=now))
    waits = not read.state.final
    if read.pods and not read.standing.suspended:
        said = translate_pods.evidence(
            (
                *(read.pods if read.spec.array is None else read.current),
                *(each for each in read.submitters or () if waits and each.ended is None),
            ),
            spec=read.spec,
            events=subject.events,
            namespace=place.namespace,
            gpu_resource=place.gpu_resource,
            waits=waits,
        )
        found += [one for one in said if waits or not read.by_ray or one.code not in _ENDS_OF_RAY]
    if subject.workload is not None and waits and read.standing.suspended and not subject.root.metadata.annotation(names.HELD):
        found += translate_queue.evidence(subject.workload, position=subject.position, queue=subject.queue)
    pods = {pod.metadata.uid for pod in subject.pods or ()}
    found += translate_events.evidence(event for event in subject.events if event.about.uid not in pods)
    if any(one.code == "window-end" for one in found):
        found = [one for one in found if one.code not in ("evicted", "lost")]  # the same end, in other words
    if read.state in (State.FAILED, State.LOST) and not any(one.code != "note" for one in found):
        found.append(_unexplained(read))
    return tuple(found)


def _of_root(subject: Subject, read: Parts, *, now: datetime) -> Iterator[Evidence]:
    meta, standing = subject.root.metadata, read.standing
    by = meta.annotation(records.CANCELLED_BY) or (read.end.by if read.end is not None and read.state is State.CANCELLED else None)
    if by:
        at = _instant(meta.annotation(records.CANCELLED_AT)) or (read.end.at if read.end is not None else None)
        yield Evidence(code="cancelled", text=f"cancelled by {by}", at=at, data={"by": by}, source="annotation")
    if meta.annotation(names.HELD) and not read.state.final:
        yield Evidence(code="held", source="annotation")
    if not read.understood:
        yield Evidence(
            code="note", text="its spec was written by another version of gpuctl and is not wholly understood", source="annotation"
        )
    if meta.deletion_timestamp is not None and not read.state.final:
        yield Evidence(code="note", text="its object is being deleted", at=meta.deletion_timestamp, source="object")
    created = meta.creation_timestamp
    if created is not None and now - created > UNTOUCHED and not read.state.final and not meta.annotation(names.HELD):
        kind = subject.root.kind
        queue = meta.label(names.KUEUE_QUEUE)
        if standing.untouched and kind in translate_root.OPERATORS and not (queue and standing.suspended):
            data = {"kind": kind, "operator": translate_root.OPERATORS[kind]}
            yield Evidence(code="operator-missing", data=data, source="object")
        elif queue and standing.suspended and subject.workload is None and subject.kueue_answers:
            yield Evidence(code="operator-missing", data={"kind": f"queue {queue}", "operator": "Kueue"}, source="object")
    yield from _cut(subject, read)
    if subject.root.kind == "RayJob" and read.state is State.FAILED:
        yield from _ray(read)


def _cut(subject: Subject, read: Parts) -> Iterator[Evidence]:
    """What ended it before its time: its window, or its limit."""
    at = _window_cut(subject, read.spec, read.standing, read.pods)
    if at is not None and read.state is State.CUT:
        yield _window_end(subject.root, at)
    elif at is not None and read.state is State.QUEUED:
        text = f"{_window_end(subject.root, at).text}, it is in line again"
        yield Evidence(code="retrying", text=text, at=at, source="annotation")
    elif read.state is State.CUT and not any(each.pod.status.reason == "DeadlineExceeded" for each in read.pods):
        limit = {"limit": str(read.spec.time_seconds)} if read.spec.time_seconds is not None else {}
        yield Evidence(code="time-limit", at=read.standing.ended_at, data=limit, source="condition")


def _window_end(root: Root, cut: datetime) -> Evidence:
    """What the window controller wrote on the job's object before it ended the first of its pods."""
    meta = root.metadata
    window, owner = meta.annotation(names.WINDOW), meta.annotation(names.WINDOW_NEXT)
    ends = _instant(meta.annotation(names.WINDOW_ENDS)) or cut
    data = {"at": str(int(ends.timestamp())), "owner": owner, "window": window}
    text = f"was cut at the end of {f'window {window}' if window else 'its window'}"
    return Evidence(code="window-end", text=text, at=cut, data={key: value for key, value in data.items() if value}, source="annotation")


def _ray(read: Parts) -> Iterator[Evidence]:
    standing = read.standing
    code, setup = _RAY_CODE.search(standing.message), _RAY_SETUP.search(standing.message)
    if code and setup:
        yield Evidence(code="setup-failed", at=standing.ended_at, node=setup["node"], data={"code": code["code"]}, source="condition")
    elif code:
        yield Evidence(code="exit-code", at=standing.ended_at, rank=0, data={"code": code["code"]}, source="condition")
    elif standing.started_at is not None:
        text = f"Ray was gone before the program had ended; KubeRay says: {standing.message or standing.reason}"
        yield Evidence(code="lost", text=text, at=standing.ended_at, source="condition")
    else:
        said = [each.ended.message.strip() for each in read.submitters or () if each.ended is not None and each.ended.message.strip()]
        text = said[-1].splitlines()[-1] if said else standing.message or standing.reason
        yield Evidence(code="start-failed", text=text, at=standing.ended_at, source="condition")


def _unexplained(read: Parts) -> Evidence:
    """It failed, and no pod is left to say why; the controller's word is all there is."""
    standing = read.standing
    if read.state is State.LOST:
        return Evidence(code="evicted", text=standing.message, at=standing.ended_at, source="condition")
    told = f"its pods are gone; the controller says {standing.message or standing.reason}" if standing.message or standing.reason else ""
    return Evidence(code="lost", text=told or "its pods are gone", at=standing.ended_at, source="condition")
