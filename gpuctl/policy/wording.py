"""How decisions put numbers, shapes and instants into sentences."""

from collections.abc import Iterable
from datetime import datetime, timedelta

from gpuctl.policy.values import NodeState, QueueJob, Running

SLOT_TYPES = (None, "", "slot", "cpu")
"""GPU types of nodes whose devices are process slots."""


def plural(count: int, word: str) -> str:
    """``1 job``, ``3 jobs``."""
    return f"{count} {word}" if count == 1 else f"{count} {word}s"


def shape(job: QueueJob | Running) -> str:
    """``4x8``: as it is typed after ``-j``."""
    return f"{job.pods}x{job.gpus}"


def devices_word(nodes: Iterable[NodeState]) -> str:
    """What the devices of these nodes are called: ``slots`` where none of them has GPUs."""
    return "slots" if all(node.gpu_type in SLOT_TYPES for node in nodes) else "GPUs"


def instant(at: datetime, now: datetime) -> str:
    """An instant in the zone of ``now``: ``14:20 UTC`` today, ``Tue 06:00 UTC`` within a week, else with its date."""
    local = at.astimezone(now.tzinfo)
    zone = local.tzname() or ""
    if local.date() == now.date():
        text = f"{local:%H:%M}"
    elif timedelta(0) <= local - now < timedelta(days=6):
        text = f"{_DAYS[local.weekday()]} {local:%H:%M}"
    else:
        text = f"{local:%Y-%m-%d %H:%M}"
    return f"{text} {zone}".rstrip()


_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
