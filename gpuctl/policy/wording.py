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
    """What the devices of these nodes are called: ``slots`` where there are some and none of them is a GPU."""
    types = {node.gpu_type for node in nodes if node.gpus or node.devices or node.devices_free}
    return "slots" if types and types <= set(SLOT_TYPES) else "GPUs"


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
