"""Why a place does not take a gang, in the few words that stand behind its name: ``res-a: 24 of 32 H100 free, but in pieces of 4``."""

from collections.abc import Sequence

import msgspec

from gpuctl.model import gputype
from gpuctl.model.reason import Reason
from gpuctl.policy import footprint, placement
from gpuctl.policy.space import Room
from gpuctl.policy.values import NodeState, QueueJob
from gpuctl.policy.wording import SLOT_TYPES, devices_word, plural, shape


def brief(job: QueueJob, nodes: Sequence[NodeState], reason: Reason, *, headless: bool = False) -> Reason:
    """The same reason with a sentence that leaves out where it is and what was asked for: both stand beside it.

    Args:
        job: the gang.
        nodes: of one cluster and tier.
        reason: what ``policy.placement`` said about them.
        headless: whether only the gang's head finds no room.
    """
    typed = [node for node in nodes if placement.barred(job, node) != "no-such-gpu"]
    sentence = _sentence(job, nodes, typed, reason.code, headless=headless)
    return msgspec.structs.replace(reason, sentence=sentence) if sentence is not None else reason


def _sentence(job: QueueJob, nodes: Sequence[NodeState], typed: Sequence[NodeState], code: str, *, headless: bool) -> str | None:
    kind = _kind(job, typed)
    counting = [Room.now(node) for node in typed if placement.barred(job, node) is None]
    there = sum(Room.empty(node).free for node in typed)
    free = sum(room.free for room in counting)
    if not nodes:
        return "no node is there"
    if code == "no-such-gpu":
        types = sorted({gputype.short(node.gpu_type) for node in nodes if node.gpu_type not in SLOT_TYPES and node.gpu_type})
        return f"no {job.gpu_type}" + (f", only {', '.join(types)}" if types else "")
    if code == "never-fits" and job.devices and not any(node.devices for node in typed):
        return "its GPUs have no indices: --devices is for this machine"
    if code == "never-fits":
        return _never(job, typed, kind, there)
    if code == "fragmented" or (code == "capacity" and job.pods * job.gpus > free):
        largest = max((room.free for room in counting), default=0)
        broken = code == "fragmented" or 0 < largest < job.gpus
        return f"{free} of {there} {kind} free" + (f", but in pieces of {largest}" if broken else "")
    if code == "capacity" and headless:
        return f"{free} of {there} {kind} free, but not {footprint.head_words(job)} beside {shape(job)}"
    if code == "capacity":
        return f"{free} of {there} {kind} free, but not the CPU or memory for {shape(job)}{_head(job)}"
    if code == "not-ready":
        sick = [node for node in typed if not node.ready]
        first = f": {sick[0].why}" if sick and sick[0].why else ""
        return f"{len(typed) - len(sick)} of {plural(len(typed), 'node')} ready ({sick[0].name}{first})" if sick else None
    if code == "window":
        owners = sorted({node.owner for node in typed if node.owner is not None and placement.barred(job, node) == "window"})
        until = sorted(node.owner_until for node in typed if node.owner_until is not None)
        return f"owned by {', '.join(owners)}" + (f" until {until[0]:%a %H:%M} UTC" if until else "")
    return None


def _never(job: QueueJob, typed: Sequence[NodeState], kind: str, there: int) -> str:
    largest = max((Room.empty(node).free for node in typed), default=0)
    if job.pods * job.gpus > there:
        return f"has {there} {kind} in all"
    if job.gpus > largest:
        return f"at most {largest} {kind} on one node"
    return f"no {plural(job.pods, 'node')} as large as {shape(job)}{_head(job)} asks"


def _head(job: QueueJob) -> str:
    return " with the head of its Ray" if footprint.has_head(job) else ""


def _kind(job: QueueJob, nodes: Sequence[NodeState]) -> str:
    """What the devices are called: their one type, else GPUs."""
    types = {gputype.short(node.gpu_type) for node in nodes if node.gpu_type is not None and node.gpu_type not in SLOT_TYPES}
    return types.pop() if len(types) == 1 else devices_word(nodes)
