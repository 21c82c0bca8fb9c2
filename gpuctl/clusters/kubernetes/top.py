"""What running jobs use now: CPU, memory and GPUs as their pods tell from inside, and as metrics.k8s.io does where it is served.

Nothing here is kept between two calls. What could not be read of one pod is unknown for its ranks, and for the sum of its job.
"""

import re
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from typing import NamedTuple

import msgspec

from gpuctl.base import clock
from gpuctl.base.errors import GpuctlError
from gpuctl.clusters.kubernetes import amounts, names, record, targets
from gpuctl.clusters.kubernetes.listing import Found
from gpuctl.clusters.kubernetes.observe import gather, translate
from gpuctl.clusters.kubernetes.observe.translate import Parts, Subject
from gpuctl.clusters.kubernetes.streams import inside
from gpuctl.clusters.kubernetes.streams.inside import Gpu, Inside, Rank
from gpuctl.clusters.kubernetes.streams.target import PodTarget
from gpuctl.clusters.kubernetes.surroundings import Surroundings
from gpuctl.kube.objects.meta import Meta, Quantities
from gpuctl.model.ask import Listing
from gpuctl.model.job import Job
from gpuctl.model.place import Sample

AT_A_TIME = 16
MOST_PODS = 128
"""Pods that one call looks into; those beyond are unknown."""
METRICS = "metrics.k8s.io"
_INSTANT = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(\.\d{1,6})?\d*(Z|[+-]\d\d:\d\d) ")


class _Container(msgspec.Struct, gc=False):
    name: str = ""
    usage: Quantities | None = None


class PodMetrics(msgspec.Struct, gc=False):
    """What a metrics server measured of a pod in the last half minute or so."""

    metadata: Meta = msgspec.field(default_factory=Meta)
    containers: list[_Container] | None = None


class Measured(NamedTuple):
    """CPU in percent of one core, memory in bytes."""

    cpu: float
    memory: int


class Look(NamedTuple):
    """What is known of one running pod; None: not known, ``why`` says why."""

    pod: PodTarget
    gpus: int
    inside: Inside | None
    measured: Measured | None
    silent: float | None
    why: str = ""


def rows(around: Surroundings, wanted: Found | None) -> Listing[Sample]:
    """One row for each of my running jobs; of a job that is named one for each of its ranks."""
    running = _running(around, wanted)
    pods = [(pod, _gpus(job)) for job, own in running for pod in own]
    measured = _measured(around, [job.id for job, _ in running])
    looked = _looks(around, pods[:MOST_PODS], measured)
    beyond = f"only {MOST_PODS} of {len(pods)} pods are looked into"
    looked += [Look(pod, gpus, None, measured.get(pod.name), None, beyond) for pod, gpus in pods[MOST_PODS:]]
    by_pod = {look.pod.name: look for look in looked}
    made: list[Sample] = []
    for job, own in running:
        looks = [by_pod[pod.name] for pod in own]
        made += _by_rank(job, looks) if wanted is not None else [_of_job(job, looks)]
    whys = [look.why for look in looked if look.why]
    more = f" (and {len(whys) - 1} more pods)" if len(whys) > 1 else ""
    return Listing(items=tuple(made), incomplete={around.name: f"{whys[0]}{more}"} if whys else {})


def _running(around: Surroundings, wanted: Found | None) -> list[tuple[Job, tuple[PodTarget, ...]]]:
    if wanted is not None:
        subjects: Sequence[Subject] = [gather.whole(around, wanted.root, with_events=False)]
    else:
        mine = gather.roots(around, f"{names.USER}={names.label_value(around.user)}").items
        open_ones = [root for root in mine if not translate.job(Subject(root=root), around.place, whole=False).final]
        found = gather.pods(around, [root.metadata.label(names.JOB_ID) for root in open_ones])
        subjects = [Subject(root=root, pods=tuple(found.get(root.metadata.label(names.JOB_ID), ()))) for root in open_ones]
    made = []
    for subject in subjects:
        job = translate.job(subject, around.place, whole=False)
        if wanted is None and job.user != around.user:
            continue
        own = _pods_of(translate.parts(subject), around.namespace, wanted)
        if own:
            made.append((job, own))
    return sorted(made, key=lambda one: one[0].submitted_at, reverse=True)


def _pods_of(parts: Parts, namespace: str, wanted: Found | None) -> tuple[PodTarget, ...]:
    found = targets.running(parts, namespace=namespace)
    if wanted is None or wanted.tasks is None:
        return found
    return tuple(pod for pod in found if pod.task in wanted.tasks)


def _gpus(job: Job) -> int:
    return job.spec.gpus


def _measured(around: Surroundings, job_ids: Sequence[str]) -> Mapping[str, Measured]:
    """By pod; empty where nobody measures, or it may not be read: then the pods themselves are asked."""
    kind = around.discovery.find(METRICS, "pods", versions=("v1beta1",)) if job_ids else None
    if kind is None:
        return {}
    few = len(job_ids) <= gather.MOST_IN_SELECTOR
    selector = f"{names.JOB_ID} in ({','.join(job_ids)})" if few else record.SELECTOR
    try:
        found = around.api.list(kind.path(around.namespace), PodMetrics, params={"labelSelector": selector})
    except GpuctlError:
        return {}
    return {each.metadata.name: _sum(each) for each in found}


def _sum(pod: PodMetrics) -> Measured:
    used = [each.usage or {} for each in pod.containers or ()]
    cpu = sum(float(amounts.number(amounts.of(each, "cpu"))) for each in used)
    return Measured(round(100 * cpu, 1), sum(amounts.whole(amounts.of(each, "memory")) for each in used))


def _looks(around: Surroundings, pods: Sequence[tuple[PodTarget, int]], measured: Mapping[str, Measured]) -> list[Look]:
    if not pods:
        return []

    def one(asked: tuple[PodTarget, int]) -> Look:
        pod, gpus = asked
        seen, why = None, ""
        try:
            seen = inside.look(around.api, pod, gpus=gpus > 0)
            why = f"GPUs of {pod.name}: {seen.why}" if gpus and seen.why else ""
            if gpus and len(seen.gpus) > gpus:
                why = f"GPUs of {pod.name}: its container sees {len(seen.gpus)} and holds {gpus}"
                seen = seen._replace(gpus=())
        except GpuctlError as error:
            why = f"{error.message} ({error.cause})" if error.cause else error.message
        return Look(pod, gpus, seen, measured.get(pod.name), _silent_for(around, pod), why)

    with ThreadPoolExecutor(min(len(pods), AT_A_TIME)) as pool:
        return list(pool.map(one, pods))


def _silent_for(around: Surroundings, pod: PodTarget) -> float | None:
    """Seconds since its last line of log; None before the first, or where logs may not be read."""
    try:
        text = around.api.text(f"{pod.path}/log", params={"container": pod.container, "tailLines": 1, "timestamps": True})
    except GpuctlError:
        return None
    match = _INSTANT.match(text)
    if match is None:
        return None
    # The kubelet writes nine digits and leaves zeros out; Python before 3.11 reads six or none.
    fraction = match[2].ljust(7, "0") if match[2] else ""
    at = datetime.fromisoformat(f"{match[1]}{fraction}{match[3].replace('Z', '+00:00')}")
    return clock.elapsed(at, clock.now())


def _of_job(job: Job, looks: Sequence[Look]) -> Sample:
    processes = [_sum_of(look.inside.ranks) if look.inside is not None else None for look in looks]
    used = [look.measured or _as_measured(own) for look, own in zip(looks, processes, strict=True)]
    gpus = [gpu for look in looks if look.inside is not None for gpu in look.inside.gpus]
    whole = len(gpus) == len(looks) * job.spec.gpus
    hosts = list(dict.fromkeys(look.pod.host or "?" for look in looks))
    silent = [look.silent for look in looks if look.silent is not None]
    return Sample(
        job=job.name,
        node=hosts[0] if len(hosts) == 1 else f"{hosts[0]} and {len(hosts) - 1} more",
        cpu=_total([each.cpu if each is not None else None for each in used]),
        memory=_whole([each.memory if each is not None else None for each in used]),
        gpus=len(looks) * job.spec.gpus,
        gpu=_mean([gpu.busy for gpu in gpus]) if whole else None,
        gpu_memory=_whole([gpu.used for gpu in gpus]) if whole and gpus else None,
        gpu_memory_total=_whole([gpu.total for gpu in gpus]) if whole and gpus else None,
        processes=_whole([own.processes if own is not None else None for own in processes]),
        silent_for=round(min(silent), 1) if silent else None,
    )


def _by_rank(job: Job, looks: Sequence[Look]) -> list[Sample]:
    return [_of_rank(job, look, rank) for look in looks for rank in look.pod.ranks or (0,)]


def _of_rank(job: Job, look: Look, rank: int) -> Sample:
    ranks = look.pod.ranks or (0,)
    alone = len(ranks) == 1
    own = _own(look.inside, rank, alone=alone) if look.inside is not None else None
    used = look.measured if alone and look.measured is not None else _as_measured(own)
    held = _held(look, ranks.index(rank) if rank in ranks else 0, count=len(ranks))
    return Sample(
        job=job.name if look.pod.task is None else f"{job.name}_{look.pod.task}",
        rank=rank,
        node=look.pod.host,
        device=held[0].number if len(held) == 1 else None,
        cpu=used.cpu if used is not None else None,
        memory=used.memory if used is not None else None,
        gpus=look.gpus if alone else 1 if look.gpus >= len(ranks) else None if look.gpus else 0,
        gpu=_mean([gpu.busy for gpu in held]),
        gpu_memory=_whole([gpu.used for gpu in held]) if held else None,
        gpu_memory_total=_whole([gpu.total for gpu in held]) if held else None,
        processes=own.processes if own is not None else None,
        silent_for=round(look.silent, 1) if look.silent is not None else None,
    )


def _own(seen: Inside, rank: int, *, alone: bool) -> Rank | None:
    """The processes of a rank; of a pod that is one rank all of them, but for a launcher beside it."""
    found = next((each for each in seen.ranks if each.rank == rank), None)
    return found if found is not None or not alone else _sum_of(seen.ranks)


def _held(look: Look, position: int, *, count: int) -> tuple[Gpu, ...]:
    """The GPUs of one rank: all of its pod's where it is alone there, the one of its own number where there is one for each."""
    gpus = look.inside.gpus if look.inside is not None else ()
    if len(gpus) != look.gpus:
        return ()
    if count == 1:
        return gpus
    return (gpus[position],) if len(gpus) == count else ()


def _as_measured(own: Rank | None) -> Measured | None:
    return Measured(own.cpu, own.memory) if own is not None else None


def _sum_of(ranks: Sequence[Rank]) -> Rank | None:
    if not ranks:
        return None
    return Rank(None, round(sum(each.cpu for each in ranks), 1), sum(each.memory for each in ranks), sum(each.processes for each in ranks))


def _total(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return round(sum(known), 1) if known and len(known) == len(values) else None


def _whole(values: Sequence[int | None]) -> int | None:
    known = [value for value in values if value is not None]
    return sum(known) if known and len(known) == len(values) else None


def _mean(values: Sequence[int | None]) -> int | None:
    known = [value for value in values if value is not None]
    return round(sum(known) / len(known)) if known and len(known) == len(values) else None
