"""What running jobs use now: CPU and memory of their processes, utilisation and memory of their devices, how long they have been silent."""

import os
import time
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from gpuctl.clusters.local import processes
from gpuctl.clusters.local.paths import StatePaths
from gpuctl.clusters.local.processes import RankUsage
from gpuctl.clusters.local.store.launches import Launch
from gpuctl.model.place import Device, Sample
from gpuctl.model.spec import Kind

INTERVAL = 0.25
"""Seconds between the two looks that a rate of CPU is made of."""


class Running(NamedTuple):
    """One running job: its name, its kind and its launch."""

    name: str
    kind: Kind
    launch: Launch


def samples(
    paths: StatePaths, running: Sequence[Running], devices: Mapping[int, Device], *, node: str, by_rank: bool
) -> tuple[Sample, ...]:
    """One row per job, or per rank of each with ``by_rank``."""
    first = {each.launch.job: _usage(each) for each in running}
    began = time.monotonic()
    if any(first.values()):
        time.sleep(INTERVAL)
    result: list[Sample] = []
    for each in running:
        before = {(row.task, row.rank): row.cpu_seconds for row in first[each.launch.job]}
        now = _usage(each)
        seconds = max(time.monotonic() - began, 1e-3)
        silent = silent_for(paths.logs(each.launch.job))
        rates = [(row, 100 * max(0.0, row.cpu_seconds - before.get((row.task, row.rank), row.cpu_seconds)) / seconds) for row in now]
        held = [devices[lease.index] for slot in each.launch.slots for pod in slot.pods for lease in pod if lease.index in devices]
        if by_rank:
            # Agents are left out beside their ranks; a job that has no ranks (Ray's) is its processes.
            ranked = {row.task for row in now if row.rank is not None}
            shown = [(row, rate) for row, rate in rates if row.rank is not None or row.task not in ranked]
            result += [_of_rank(each.name, row, rate, held, node=node, silent=silent) for row, rate in shown]
            continue
        result.append(
            Sample(
                job=each.name,
                node=node,
                cpu=round(sum(rate for _, rate in rates), 1),
                memory=sum(row.rss for row in now),
                gpus=_gpus(held),
                gpu=_mean([device.utilisation for device in held]),
                gpu_memory=_sum([device.memory_used for device in held]),
                gpu_memory_total=_sum([device.memory_total for device in held]),
                processes=sum(len(row.pids) for row in now),
                silent_for=silent,
            )
        )
    return tuple(result)


def _usage(running: Running) -> tuple[RankUsage, ...]:
    launch = running.launch
    return processes.usage(launch.job, launch.number, kind=running.kind, group=launch.cgroup)


def _of_rank(name: str, row: RankUsage, rate: float, held: Sequence[Device], *, node: str, silent: float | None) -> Sample:
    device = held[row.rank] if row.task is None and row.rank is not None and row.rank < len(held) else None
    return Sample(
        job=name if row.task is None else f"{name}_{row.task}",
        rank=row.rank,
        node=node,
        device=device.index if device is not None else None,
        cpu=round(rate, 1),
        memory=row.rss,
        gpus=_gpus(held) if device is None else _gpus([device]),
        gpu=device.utilisation if device is not None else None,
        gpu_memory=device.memory_used if device is not None else None,
        gpu_memory_total=device.memory_total if device is not None else None,
        processes=len(row.pids),
        silent_for=silent,
    )


def _gpus(held: Sequence[Device]) -> int | None:
    """How many of them are GPUs; None when it is not known what is held."""
    return sum(1 for device in held if device.kind != "slot") if held else None


def silent_for(directory: str) -> float | None:
    """Seconds since anything was written below a job's logs; None before its first line."""
    try:
        with os.scandir(directory) as entries:
            last = max((entry.stat().st_mtime for entry in entries), default=None)
    except OSError:
        return None
    return None if last is None else max(0.0, time.time() - last)


def _sum(values: Sequence[int | None]) -> int | None:
    known = [value for value in values if value is not None]
    return sum(known) if known else None


def _mean(values: Sequence[int | None]) -> int | None:
    known = [value for value in values if value is not None]
    return round(sum(known) / len(known)) if known else None
