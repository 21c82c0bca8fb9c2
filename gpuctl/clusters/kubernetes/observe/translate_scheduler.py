"""What the scheduler's sentence about a pod that fits nowhere says, in numbers.

``0/16 nodes are available: 3 Insufficient nvidia.com/gpu, 2 node(s) had untolerated taint(s), 11 node(s) didn't match Pod's node
affinity/selector. preemption: ...``. Source: k8s.io/kubernetes/pkg/scheduler/framework (``FitError``) and its plugins' messages; the
wording of taints changed in 1.32 (``taint {key: value}`` one by one, before and after).
"""

import re
from collections.abc import Iterator
from datetime import datetime
from typing import NamedTuple

from gpuctl.model.reason import Evidence

_NODES = re.compile(r"0/(?P<total>\d+) nodes are available:?\s*(?P<rest>.*)\Z", re.DOTALL)
_COUNTED = re.compile(r"(?P<count>\d+) (?P<what>.+)\Z", re.DOTALL)
_TAINT = re.compile(r"had (?:untolerated taint(?:\(s\))?|taint)(?: \{(?P<taint>[^}]*)\})?")
_CLAIM = re.compile(r'persistentvolumeclaim "(?P<name>[^"]+)" (?P<what>not found|is being deleted|bound to non-existent.*)')
_SICK = ("node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable", "node.kubernetes.io/network-unavailable")
_PRESSED = ("node.kubernetes.io/disk-pressure", "node.kubernetes.io/memory-pressure", "node.kubernetes.io/pid-pressure")


class Verdict(NamedTuple):
    """The sentence in parts. Counts are nodes; ``insufficient`` is by resource, ``taints`` by ``key: value``."""

    total: int
    insufficient: dict[str, int]
    taints: dict[str, int]
    not_ready: int
    cordoned: int
    mismatched: int
    volumes: int
    other: tuple[str, ...]


def parse(message: str) -> Verdict | None:
    """The parts of the sentence, None when it is another one."""
    match = _NODES.search(message)
    if not match:
        return None
    insufficient: dict[str, int] = {}
    taints: dict[str, int] = {}
    not_ready = cordoned = mismatched = volumes = 0
    other: list[str] = []
    for part in _parts(match["rest"]):
        counted = _COUNTED.match(part)
        if not counted:
            other.append(part)
            continue
        count, what = int(counted["count"]), counted["what"]
        taint = _TAINT.search(what)
        if what.startswith("Insufficient ") or what.startswith("Too many pods"):
            resource = what.removeprefix("Insufficient ") if what.startswith("Insufficient ") else "pods"
            insufficient[resource] = insufficient.get(resource, 0) + count
        elif taint:
            key = (taint["taint"] or "").strip().rstrip(":").strip()
            if key.split(":")[0] in _SICK:
                not_ready += count
            elif key.split(":")[0] == "node.kubernetes.io/unschedulable":
                cordoned += count
            else:
                taints[key] = taints.get(key, 0) + count
        elif "were unschedulable" in what:
            cordoned += count
        elif "were not ready" in what or "were out of" in what:
            not_ready += count
        elif "node affinity" in what or "node selector" in what or ("didn't match" in what and "affinity" in what):
            mismatched += count
        elif "volume" in what or "PersistentVolume" in what:
            volumes += count
            other.append(part)
        else:
            other.append(part)
    return Verdict(int(match["total"]), insufficient, taints, not_ready, cordoned, mismatched, volumes, tuple(other))


def _parts(text: str) -> Iterator[str]:
    """The comma-separated parts before ``preemption:``; commas inside ``{}`` and within messages of plugins do not divide."""
    text = re.split(r"\.?\s*(?:preemption|no new claims to deallocate)\b", text, maxsplit=1)[0]
    for part in re.split(r", (?=\d+ )|, (?=[a-z]+ \")", text):
        stripped = part.strip().rstrip(".").strip()
        if stripped:
            yield stripped


def evidence(
    message: str,
    *,
    at: datetime | None,
    gpu_type: str | None,
    gpu_resource: str,
    needs: int,
    rank: int | None = None,
) -> tuple[Evidence, ...]:
    """What keeps the pod from a node, the nearest reason first.

    Args:
        message: the scheduler's, from the pod's condition ``PodScheduled`` or an event.
        at: when it said so.
        gpu_type: the type that the job asks for.
        gpu_resource: what GPUs are called here.
        needs: GPUs of the pod.
        rank: first rank of the pod.
    """

    def seen(code: str, text: str = "", **data: str) -> Evidence:
        return Evidence(code=code, text=text, at=at, rank=rank, data=data, source="condition")

    claim = _CLAIM.search(message)
    if claim:
        return (seen("volume-unbound", claim["name"] + " " + claim["what"], volume=claim["name"]),)
    if "unbound immediate PersistentVolumeClaims" in message:
        return (seen("volume-unbound", _clean(message)),)
    verdict = parse(message)
    if verdict is None:
        return (seen("capacity", _clean(message)),) if message else ()
    if verdict.total == 0:
        return (seen("capacity", "the cluster has no node", total="0"),)
    found: list[Evidence] = []
    if gpu_resource in verdict.insufficient or (not verdict.insufficient and not found and needs and _all_full(verdict)):
        short = verdict.insufficient.get(gpu_resource, 0)
        sentence = f"needs {needs} free {'GPU' if needs == 1 else 'GPUs'} on one node; {short} of {verdict.total} nodes have too few"
        rest = _rest(verdict)
        found.append(seen("capacity", sentence + (f", {rest}" if rest else ""), needs=str(needs), total=str(verdict.total)))
    elif verdict.insufficient:
        names = ", ".join(f"{count} with too little {resource}" for resource, count in sorted(verdict.insufficient.items()))
        rest = _rest(verdict)
        found.append(seen("capacity", f"of {verdict.total} nodes {names}" + (f", {rest}" if rest else ""), total=str(verdict.total)))
    if verdict.mismatched == verdict.total and gpu_type is not None:
        found.append(seen("no-such-gpu", f"none of {verdict.total} nodes has {gpu_type}", total=str(verdict.total)))
    elif verdict.mismatched == verdict.total:
        found.append(seen("capacity", f"none of {verdict.total} nodes answers to the job's selectors", total=str(verdict.total)))
    sick = verdict.not_ready + verdict.cordoned
    if sick:
        parts = [f"{verdict.not_ready} not ready"] if verdict.not_ready else []
        parts += [f"{verdict.cordoned} closed for maintenance"] if verdict.cordoned else []
        found.append(seen("not-ready", f"of {verdict.total} nodes {', '.join(parts)}", total=str(verdict.total)))
    if verdict.taints:
        words = ", ".join(taint for taint in sorted(verdict.taints) if taint)
        found.append(seen("taints", _clean(message), taints=words, nodes=str(sum(verdict.taints.values()))))
    if verdict.volumes:
        found.append(seen("volume-unbound", "; ".join(part for part in verdict.other if "olume" in part)))
    if not found:
        found.append(seen("capacity", _clean(message), total=str(verdict.total)))
    return tuple(found)


def _all_full(verdict: Verdict) -> bool:
    return bool(verdict.other) and all("gpu" in part.lower() for part in verdict.other)


def _rest(verdict: Verdict) -> str:
    parts = [f"{verdict.mismatched} of another kind"] if verdict.mismatched else []
    parts += [f"{verdict.not_ready} not ready"] if verdict.not_ready else []
    parts += [f"{verdict.cordoned} closed for maintenance"] if verdict.cordoned else []
    closed = sum(verdict.taints.values())
    return ", ".join(parts + ([f"{closed} closed by taints"] if closed else []))


def _clean(message: str) -> str:
    """The sentence without what preemption would not help either."""
    return re.split(r"\s*preemption:", message, maxsplit=1)[0].strip().rstrip(".")
