"""Warnings about a job's own objects: pods that could not be created, since a quota is full or somebody refuses them."""

import re
from collections.abc import Iterable, Iterator

from gpuctl.kube.objects.core import Event
from gpuctl.model.reason import Evidence

_QUOTA = re.compile(r"exceeded quota: (?P<name>[^,]+), requested: (?P<asked>.+?), used: (?P<used>.+?), limited: (?P<limit>.+)\Z", re.DOTALL)
_WEBHOOK = re.compile(r'admission webhook "(?P<by>[^"]+)" denied the request(?: without explanation)?:?\s*(?P<why>.*)\Z', re.DOTALL)
_POLICY = re.compile(r"ValidatingAdmissionPolicy '(?P<by>[^']+)'.*?denied request: (?P<why>.*)\Z", re.DOTALL)
_SECURITY = re.compile(r'violates PodSecurity "(?P<by>[^"]+)": (?P<why>.*)\Z', re.DOTALL)
_UNREACHABLE = re.compile(r'failed calling webhook "(?P<by>[^"]+)": (?P<why>.*)\Z', re.DOTALL)
_FORBIDDEN = re.compile(r"is forbidden: (?P<why>.*)\Z", re.DOTALL)
_INVALID = re.compile(r"is invalid: (?P<why>.*)\Z", re.DOTALL)
_MISSING_ACCOUNT = re.compile(r"error looking up service account (?P<why>.*)\Z", re.DOTALL)
_UNITS = {"cpu": "CPUs", "memory": "memory", "pods": "pods", "count/pods": "pods", "count/jobs.batch": "jobs"}
"""What quotas count, as a person says it; of anything else the name in the quota stays."""
_CREATING = frozenset(
    {
        "FailedCreate",
        "FailedCreatePod",
        "FailedServiceCreation",
        "FailedToCreateHeadPod",
        "FailedToCreatePod",
        "FailedToCreateRayCluster",
        "FailedToCreateRayJobSubmitter",
        "FailedToCreateWorkerPod",
        "JobCreationFailed",
    }
)


def evidence(events: Iterable[Event]) -> tuple[Evidence, ...]:
    """What warnings about the job's objects (not its pods) say, the newest of each kind."""
    found: dict[str, Evidence] = {}
    for event in sorted(events, key=_when):
        if event.type == "Warning":
            for one in _read(event):
                found[one.code] = one
    return tuple(found.values())


def _read(event: Event) -> Iterator[Evidence]:
    def seen(code: str, text: str, **data: str) -> Evidence:
        return Evidence(code=code, text=" ".join(text.split()), at=event.at, data=data, source="event")

    if event.reason not in _CREATING:
        return
    message = event.text
    if message.endswith("already exists"):
        return  # an operator that looked at an old state of things and tries again
    quota = _QUOTA.search(message)
    if quota:
        asked, used, limit = _amounts(quota["asked"]), _amounts(quota["used"]), _amounts(quota["limit"])
        short = sorted(asked.keys() & used.keys() & limit.keys(), key=lambda name: (not _counts_gpus(name), name))
        told = {"told": f"quota {quota['name']}: {'; '.join(_share(name, asked, used, limit) for name in short)}"} if short else {}
        numbers = {"needs": asked[short[0]], "total": limit[short[0]]} if len(short) == 1 else {}
        yield seen("quota", quota[0], **told, **numbers)
        return
    for pattern, by in ((_WEBHOOK, None), (_POLICY, None), (_SECURITY, "Pod Security")):
        match = pattern.search(message)
        if match:
            yield seen("admission-refused", match["why"] or "without a word", by=by or match["by"])
            return
    for pattern, by in (
        (_UNREACHABLE, "a webhook that does not answer"),
        (_MISSING_ACCOUNT, "the cluster"),
        (_FORBIDDEN, "the cluster"),
        (_INVALID, "the API server"),
    ):
        match = pattern.search(message)
        if match:
            yield seen("admission-refused", match["why"], by=by)
            return
    yield seen("note", f"{event.reason}: {message}")


def _amounts(text: str) -> dict[str, str]:
    """What a quota says of each resource: ``requests.nvidia.com/gpu=8,pods=1``."""
    return {name.strip(): amount.strip() for name, equals, amount in (part.partition("=") for part in text.split(",")) if equals}


def _counts_gpus(name: str) -> bool:
    return name.endswith("/gpu")


def _share(name: str, asked: dict[str, str], used: dict[str, str], limit: dict[str, str]) -> str:
    """``4 of 4 GPUs used, 8 asked for``."""
    of = _UNITS.get(name.removeprefix("requests."), name)
    if _counts_gpus(name):
        of = "GPU" if limit[name] == "1" else "GPUs"
    return f"{used[name]} of {limit[name]} {of} used, {asked[name]} asked for"


def _when(event: Event) -> float:
    return event.at.timestamp() if event.at is not None else 0.0
