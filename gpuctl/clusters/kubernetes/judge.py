"""Whether and where a job can start on this cluster now; changes nothing."""

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

import msgspec

from gpuctl.base import clock
from gpuctl.base.errors import InvalidInput, NotAllowedError, UnavailableError, UsageError
from gpuctl.clusters.kubernetes import facts as looked_up
from gpuctl.clusters.kubernetes import manifests, options, schedules, volumes
from gpuctl.clusters.kubernetes.facts import Facts
from gpuctl.clusters.kubernetes.manifests.values import Engine, Settings
from gpuctl.clusters.kubernetes.surroundings import Surroundings
from gpuctl.model import gputype
from gpuctl.model.ask import Plan, PlanOption, Submission
from gpuctl.model.place import Footprint
from gpuctl.model.reason import Reason
from gpuctl.model.spec import JobSpec, Tier
from gpuctl.policy import described, placement
from gpuctl.policy.placement import Placement
from gpuctl.policy.values import NodeState, QueueJob, Snapshot
from gpuctl.policy.windows import edges
from gpuctl.policy.windows.opening import closed


class Judged(NamedTuple):
    """A job that may go here.

    Attributes:
        engine: which object it becomes.
        queue: the Kueue queue that will hold it, None without.
        placement: where it would start now; None when it would not, or nobody can say.
        reason: why not now.
        unknown: whether what is free could not be read.
        opens_at: when windows would let it start.
        headless: whether only its head, a Ray's, finds no room.
    """

    facts: Facts
    settings: Settings
    engine: Engine
    queue: str | None
    placement: Placement | None
    reason: Reason | None
    unknown: bool
    notes: tuple[str, ...]
    opens_at: datetime | None = None
    headless: bool = False


_INSTALLED = ("engine-missing", "queue-missing")
"""Refusals for want of what may have been installed since discovery was asked."""


def judge(around: Surroundings, submission: Submission) -> Judged:
    """Look at the cluster and judge.

    Raises:
        InvalidInput: ``volume-missing``.
        NotAllowedError: ``never-fits``.
        UsageError: an engine, queue or runtime that is not there.
    """
    spec = submission.spec
    wanted = _volumes(spec)
    facts = looked_up.read(around, volumes=bool(wanted), borrowing=spec.requeue)
    if facts.claims is not None:
        missing = [name for name in wanted if name not in facts.claims]
        if missing:
            problems = [volumes.missing_problem(name, facts.claims) for name in missing]
            hint = "    ".join(f"gpuctl volumes create {name} --cluster {around.name}" for name in missing)
            raise InvalidInput(f"cannot submit {submission.base_name} to {around.name}", problems, code="volume-missing", hint=hint)
    settings = looked_up.settings(around.options, gpu_resource=_gpu_resource(around, facts))
    try:
        engine = manifests.choose(spec.kind, facts.cluster, around.options.engine, array=spec.array is not None)
        queue = manifests.queue_of(spec, submission.base_name, facts.cluster, settings)
    except UsageError as error:
        if error.code in _INSTALLED and around.looked_again():
            return judge(around, submission)
        raise
    if engine is Engine.TRAINJOB and facts.cluster.preemptible_class is not None:
        # Its pods take no priority class, and without it the platform's admission policy lets none onto lent nodes.
        facts = facts._replace(cluster=msgspec.structs.replace(facts.cluster, lends=False))
    takes = manifests.footprint(spec, engine, settings)
    job = queue_job(submission, team=around.owner_name if facts.team is not None else None, footprint=takes)
    job = msgspec.structs.replace(job, preemptible=spec.requeue and facts.cluster.lends)
    nodes = schedules.described(around, facts.inventory, facts.schedules, now=around.now()) if facts.inventory is not None else ()
    if facts.inventory is not None:
        _possible(submission, job, nodes)
    unknown = facts.inventory is None or not facts.inventory.counted
    if spec.fit_window:
        facts = facts._replace(cluster=msgspec.structs.replace(facts.cluster, too_short=_too_short(job, nodes, facts)))
    outcome = placement.place(job, Snapshot(nodes=nodes)) if not unknown else None
    found = outcome if isinstance(outcome, Placement) else None
    refusal = placement.refusal_of(outcome) if outcome is not None and not isinstance(outcome, Placement) else None
    reason, opening = refusal.reason if refusal is not None else None, None
    if reason is not None and reason.code == "window":
        reason, opening = closed(job, nodes, around.now())
    notes = facts.notes
    if spec.priority and not settings.priority_classes:
        notes = (*notes, f"--priority {spec.priority} changes nothing on {around.name}: the profile names no priority-classes= for it")
    if engine is Engine.TRAINJOB:
        notes = (*notes, *_restarts(facts, settings))
        if spec.time is not None and found is None and queue is None:
            notes = (*notes, f"{around.name}: --time {spec.time} counts from now on, also while the job waits for room: it is a TrainJob")
    headless = refusal is not None and refusal.headless
    return Judged(facts, settings, engine, queue, found, reason, unknown, notes, opening, headless)


def _restarts(facts: Facts, settings: Settings) -> tuple[str, ...]:
    """What a TrainJob cannot change about its runtime."""
    try:
        runtime = manifests.runtime(facts.cluster, settings.runtime)
    except UsageError:
        return ()  # the submit says so
    if not runtime.restarts:
        return ()
    often = "once" if runtime.restarts == 1 else f"up to {runtime.restarts} times"
    return (f"{facts.cluster.name}: runtime {runtime.name} has a failed rank started again {often}, while the others wait for it",)


def _too_short(job: QueueJob, nodes: Sequence[NodeState], facts: Facts) -> tuple[str, ...]:
    """The schedules on whose nodes the job would not end in time; its pods have to keep off them, also when they start a little later."""
    assert facts.inventory is not None or not nodes
    marked = {each.name: each.schedule for each in facts.cluster.nodes}
    found = {marked[node.name] for node in nodes if edges.barred(job, node) and marked.get(node.name) is not None}
    return tuple(sorted(name for name in found if name is not None))


def _volumes(spec: JobSpec) -> list[str]:
    wanted = [each.name for each in spec.volumes]
    if spec.checkpoint is not None:
        wanted.append(spec.checkpoint.volume)
    if spec.logs_to is not None:
        wanted.append(spec.logs_to.partition(":")[0])
    if spec.code_volume is not None:
        wanted.append(spec.code_volume)
    return list(dict.fromkeys(wanted))


def _gpu_resource(around: Surroundings, facts: Facts) -> str:
    """What GPUs are called here: the option's word, else the one that most of the nodes' GPUs have."""
    counts = facts.inventory.resources if facts.inventory is not None else {}
    return max(around.gpu_resources, key=lambda each: (counts.get(each, 0), -around.gpu_resources.index(each)))


def _possible(submission: Submission, job: QueueJob, nodes: tuple[NodeState, ...]) -> None:
    never = placement.fits_ever(job, nodes)
    if never is not None:
        raise NotAllowedError(
            f"cannot submit {submission.base_name}: {never.sentence}", code="never-fits", cause=never.advice, hint=never.command
        )


def queue_job(submission: Submission, *, team: str | None, footprint: Footprint) -> QueueJob:
    """The job for policy. A tier that a pool chose is the only one."""
    spec = submission.spec
    chosen = submission.placement[0].tier if submission.placement else None
    tier: Tier = spec.tier if chosen not in ("reserved", "on-demand") else chosen  # type: ignore[assignment]
    return described.queue_job(
        spec,
        job_id=submission.request_id,
        name=submission.base_name,
        submitted_at=clock.now(),
        team=team,
        tier=tier,
        footprint=footprint,
    )


def footprint(around: Surroundings, spec: JobSpec) -> Footprint:
    """What the job takes here besides GPUs, before anything is looked up but which operators are installed."""
    served = frozenset(each.resource().api_version for each in around.discovery.offered)
    engine = Engine.JOB
    if spec.kind == "ray":
        try:
            engine = manifests.choose("ray", manifests.ClusterFacts(name=around.name, namespace="", served=served), around.options.engine)
        except UsageError:
            pass  # the submit says so
    return manifests.footprint(spec, engine, Settings(pod=options.pod_patch(around.options)))


def refuse_gang(around: Surroundings, submission: Submission, judged: Judged) -> None:
    """A gang without a queue starts now or not at all: on its own it would take what is free and hold it without ever starting.

    Raises:
        UnavailableError: ``no-room-now``.
    """
    spec = submission.spec
    if judged.queue is not None or judged.placement is not None or judged.unknown or spec.hold or judged.reason is None:
        return
    if spec.nodes <= 1 and not judged.headless:
        return
    held = "a job of several nodes would hold a part of them" if spec.nodes > 1 else "the job's node would hold its GPUs"
    raise UnavailableError(
        f"cannot submit {submission.base_name} to {around.name} now: {judged.reason.sentence}",
        code="no-room-now",
        cause=f"without a queue {held} without starting",
        hint="gpuctl submit --wait-for-capacity ...    keeps trying",
    )


def plan(around: Surroundings, submission: Submission, judged: Judged) -> Plan:
    """What ``--plan`` says of this cluster."""
    refuse_gang(around, submission, judged)
    found = judged.placement
    option = PlanOption(
        cluster=around.name,
        tier=found.tier if found is not None else around.options.tier,
        now=found is not None,
        at=judged.opens_at,
        where=_where(found) if found is not None else None,
        cost_per_hour=cost_per_hour(around, submission.spec, judged),
        reason=None if found is not None else _reason(judged),
    )
    return Plan(options=(option,), notes=judged.notes)


def _reason(judged: Judged) -> Reason | None:
    if judged.unknown:
        return Reason(code="queued", sentence="what is free there may not be seen; it starts when there is room", what="wait")
    if judged.queue is not None and judged.reason is not None:
        return msgspec.structs.replace(judged.reason, sentence=f"{judged.reason.sentence}; waits in queue {judged.queue}")
    return judged.reason


def _where(found: Placement) -> str:
    nodes = list(dict.fromkeys(pod.node for pod in found.pods))
    return ", ".join(nodes[:3]) + (f" and {len(nodes) - 3} more" if len(nodes) > 3 else "")


def cost_per_hour(around: Surroundings, spec: JobSpec, judged: Judged) -> float | None:
    """The price of the gang per hour, None without a price of its GPU type."""
    if not around.options.price or not spec.total_gpus:
        return None
    kinds = {each.gpu_type for each in judged.facts.cluster.nodes if each.gpu_type}
    if judged.placement is not None:
        used = {pod.node for pod in judged.placement.pods}
        kinds = {each.gpu_type for each in judged.facts.cluster.nodes if each.name in used and each.gpu_type}
    wanted = spec.gpu_type or (next(iter(kinds)) if len(kinds) == 1 else None)
    if wanted is None:
        return None
    price = next(
        (each for kind, each in around.options.price.items() if gputype.matches(kind, wanted) or gputype.matches(wanted, kind)), None
    )
    return price * spec.total_gpus if price is not None else None
