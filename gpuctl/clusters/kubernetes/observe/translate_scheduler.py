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
    verdict = Verdict(int(match["total"]), {}, {}, 0, 0, 0, 0, ())
    for part in _parts(match["rest"]):
        verdict = _counted(verdict, part)
    return verdict


def _counted(verdict: Verdict, part: str) -> Verdict:
    counted = _COUNTED.match(part)
    if not counted:
        return verdict._replace(other=(*verdict.other, part))
    count, what = int(counted["count"]), counted["what"]
    if what.startswith(("Insufficient ", "Too many pods")):
        resource = what.removeprefix("Insufficient ") if what.startswith("Insufficient ") else "pods"
        return verdict._replace(insufficient=_more(verdict.insufficient, resource, count))
    taint = _TAINT.search(what)
    if taint:
        key = (taint["taint"] or "").strip().rstrip(":").strip()
        name = key.split(":")[0]
        if name in _SICK:
            return verdict._replace(not_ready=verdict.not_ready + count)
        if name == "node.kubernetes.io/unschedulable":
            return verdict._replace(cordoned=verdict.cordoned + count)
        return verdict._replace(taints=_more(verdict.taints, key, count))
    if "were unschedulable" in what:
        return verdict._replace(cordoned=verdict.cordoned + count)
    if "were not ready" in what:
        return verdict._replace(not_ready=verdict.not_ready + count)
    if "volume" in what or "PersistentVolume" in what:
        return verdict._replace(volumes=verdict.volumes + count, other=(*verdict.other, part))
    if "node affinity" in what or "node selector" in what:
        return verdict._replace(mismatched=verdict.mismatched + count)
    return verdict._replace(other=(*verdict.other, part))


def _more(counts: dict[str, int], key: str, count: int) -> dict[str, int]:
    return {**counts, key: counts.get(key, 0) + count}


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
    if verdict is None or verdict.total == 0:
        text = _clean(message) if verdict is None else "the cluster has no node"
        return (seen("capacity", text),) if text else ()
    found = [seen(code, text, **data) for code, text, data in _reasons(verdict, gpu_type=gpu_type, gpu_resource=gpu_resource, needs=needs)]
    return tuple(found) or (seen("capacity", _clean(message), total=str(verdict.total)),)


def _reasons(verdict: Verdict, *, gpu_type: str | None, gpu_resource: str, needs: int) -> Iterator[tuple[str, str, dict[str, str]]]:
    """Code, sentence and data of each reason, the nearest to a start first."""
    total = {"total": str(verdict.total)}
    rest = _rest(verdict)
    tail = f", {rest}" if rest else ""
    if gpu_resource in verdict.insufficient:
        short = verdict.insufficient[gpu_resource]
        word = "GPU" if needs == 1 else "GPUs"
        yield (
            "capacity",
            f"needs {needs} free {word} on one node; {short} of {verdict.total} nodes have too few{tail}",
            {"needs": str(needs), **total},
        )
    elif verdict.insufficient:
        short_of = ", ".join(f"{count} with too little {resource}" for resource, count in sorted(verdict.insufficient.items()))
        yield "capacity", f"of {verdict.total} nodes {short_of}{tail}", total
    if verdict.mismatched == verdict.total:
        if gpu_type is not None:
            yield "no-such-gpu", f"none of {verdict.total} nodes has {gpu_type}", total
        else:
            yield "capacity", f"none of {verdict.total} nodes answers to the job's selectors", total
    if verdict.not_ready or verdict.cordoned:
        parts = [f"{verdict.not_ready} not ready"] if verdict.not_ready else []
        parts += [f"{verdict.cordoned} closed for maintenance"] if verdict.cordoned else []
        yield "not-ready", f"of {verdict.total} nodes {', '.join(parts)}", total
    if verdict.taints:
        words = ", ".join(taint for taint in sorted(verdict.taints) if taint)
        yield "taints", "", {"taints": words, "nodes": str(sum(verdict.taints.values()))}
    if verdict.volumes:
        yield "volume-unbound", "; ".join(part for part in verdict.other if "olume" in part), {}


def _rest(verdict: Verdict) -> str:
    parts = [f"{verdict.mismatched} of another kind"] if verdict.mismatched else []
    parts += [f"{verdict.not_ready} not ready"] if verdict.not_ready else []
    parts += [f"{verdict.cordoned} closed for maintenance"] if verdict.cordoned else []
    closed = sum(verdict.taints.values())
    return ", ".join(parts + ([f"{closed} closed by taints"] if closed else []))


def _clean(message: str) -> str:
    """The sentence without what preemption would not help either."""
    return re.split(r"\s*preemption:", message, maxsplit=1)[0].strip().removesuffix(". not found").rstrip(".")
