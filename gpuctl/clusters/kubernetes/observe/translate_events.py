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
        text = f"quota {quota['name']} is full: asks {quota['asked']}, in use {quota['used']} of {quota['limit']}"
        yield seen("quota", text, needs=_amount(quota["asked"]), total=_amount(quota["limit"]))
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


def _amount(text: str) -> str:
    """``8`` of ``requests.nvidia.com/gpu=8``; the text itself when it tells several."""
    return text.rpartition("=")[2] if text.count("=") == 1 else text


def _when(event: Event) -> float:
    return event.at.timestamp() if event.at is not None else 0.0
