"""How nodes and their devices look in a list."""

import msgspec

from gpuctl.cli.out.columns import cells
from gpuctl.cli.result import Column, Context
from gpuctl.model.place import Device, Holder, Node


class NodeDevice(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """One device and where it is: an item of ``nodes --devices``."""

    node: str
    cluster: str
    device: Device


def name(node: Node) -> str:
    """The ``-o name`` form."""
    return f"node/{node.name}"


def device_name(item: NodeDevice) -> str:
    """The ``-o name`` form of a device: its node and index."""
    return f"device/{item.node}:{item.device.index}"


def holder(found: Holder | None) -> str:
    """``held by anna, pid 4242``; ``free``."""
    if found is None:
        return "free"
    who = f"held by {found.user or 'somebody'}"
    if found.job is not None:
        return f"{who}, job/{found.job}"
    return f"{who}, pid {found.pid}" if found.pid is not None else who


def _type(node: Node) -> str:
    if node.gpus == 0:
        return cells.ABSENT
    return cells.known(node.gpu_type or ", ".join(sorted({device.type for device in node.devices})) or None)


def unread(cluster: str, reason: str) -> Node:
    """The one row of a cluster whose nodes could not be read."""
    return Node(name=cells.UNKNOWN, cluster=cluster, ready=False, why=reason)


def _grey(node: Node) -> str | None:
    return "faint" if node.name == cells.UNKNOWN else None


def _state_style(node: Node) -> str:
    return _grey(node) or ("good" if _state(node) == "ready" else "bad")


def _state(node: Node) -> str:
    if node.name == cells.UNKNOWN:
        return cells.UNKNOWN
    return "ready" if node.ready and node.why is None else "unusable"


def _holders(node: Node) -> str:
    """Each holder once, with the indices it holds: ``train-k3f9:0-3, pid 4242 (anna):5``."""
    held: dict[str, list[int]] = {}
    for device in node.devices:
        if device.holder is not None:
            found = device.holder
            who = found.job or (f"pid {found.pid} ({found.user or '?'})" if found.pid is not None else found.user or "?")
            held.setdefault(who, []).append(device.index)
    return ", ".join(f"{who}:{ranges(indices)}" for who, indices in held.items()) or cells.ABSENT


def ranges(numbers: list[int]) -> str:
    """``0-3,5``."""
    parts: list[str] = []
    start = previous = None
    for number in [*sorted(numbers), None]:
        if previous is not None and number == previous + 1:
            previous = number
            continue
        if start is not None:
            parts.append(f"{start}" if start == previous else f"{start}-{previous}")
        start = previous = number
    return ",".join(parts)


def _gpus_key(node: Node, _: Context) -> int | None:
    return node.gpus


COLUMNS = (
    Column(name="NAME", cell=lambda node, _: node.name, style=_grey),
    Column(name="CLUSTER", cell=lambda node, _: node.cluster, style=_grey),
    Column(name="STATE", cell=lambda node, _: _state(node), style=_state_style),
    Column(name="TYPE", cell=lambda node, _: _type(node), style=_grey),
    Column(name="GPUS", cell=lambda node, _: cells.known(node.gpus), right=True, key=_gpus_key),
    Column(name="FREE", cell=lambda node, _: cells.known(node.gpus_free), right=True, key=lambda node, _: node.gpus_free),
    Column(name="CPU", cell=lambda node, _: cells.cores(node.cpu_millis), right=True, key=lambda node, _: node.cpu_millis),
    Column(name="MEMORY", cell=lambda node, _: cells.memory(node.memory), right=True, key=lambda node, _: node.memory),
    Column(name="NOTE", cell=lambda node, _: node.why or _holders(node), shrink=True, style=_grey),
    Column(name="TIER", cell=lambda node, _: cells.present(node.tier), wide=True),
    Column(name="OWNER", cell=lambda node, _: cells.present(node.owner), wide=True),
    Column(
        name="CPUFREE",
        cell=lambda node, _: cells.cores(node.cpu_millis_free),
        right=True,
        key=lambda node, _: node.cpu_millis_free,
        wide=True,
    ),
    Column(
        name="MEMFREE", cell=lambda node, _: cells.memory(node.memory_free), right=True, key=lambda node, _: node.memory_free, wide=True
    ),
    Column(name="DEVICES", cell=lambda node, _: ranges([device.index for device in node.devices]) or cells.ABSENT, wide=True),
    Column(name="TAINTS", cell=lambda node, _: ",".join(node.taints) or cells.ABSENT, wide=True),
    Column(name="CONDITIONS", cell=lambda node, _: ",".join(node.conditions) or cells.ABSENT, wide=True),
)
"""``gpuctl nodes``."""

_UNMEASURED = "slot"


def _used(item: NodeDevice) -> str:
    return cells.ABSENT if item.device.kind == _UNMEASURED else cells.part(item.device.memory_used, item.device.memory_total)


def _utilisation(item: NodeDevice) -> str:
    return cells.ABSENT if item.device.kind == _UNMEASURED else cells.percent(item.device.utilisation)


DEVICES = (
    Column(name="NODE", cell=lambda item, _: item.node),
    Column(name="INDEX", cell=lambda item, _: str(item.device.index), right=True, key=lambda item, _: item.device.index),
    Column(name="TYPE", cell=lambda item, _: item.device.type),
    Column(name="GPU%", cell=lambda item, _: _utilisation(item), right=True, key=lambda item, _: item.device.utilisation),
    Column(name="MEMORY", cell=lambda item, _: _used(item), right=True, key=lambda item, _: item.device.memory_used),
    Column(
        name="HOLDER",
        cell=lambda item, _: holder(item.device.holder),
        style=lambda item: "good" if item.device.free else None,
        shrink=True,
    ),
    Column(name="CLUSTER", cell=lambda item, _: item.cluster, wide=True),
    Column(name="KIND", cell=lambda item, _: item.device.kind, wide=True),
    Column(name="UUID", cell=lambda item, _: item.device.uuid, wide=True),
    Column(name="SERIAL", cell=lambda item, _: cells.present(item.device.serial), wide=True),
    Column(
        name="SINCE",
        cell=lambda item, context: cells.instant(item.device.holder.since if item.device.holder else None, context),
        key=lambda item, _: item.device.holder.since if item.device.holder else None,
        wide=True,
    ),
)
"""``gpuctl nodes --devices``."""
