"""Probes that fail: gpuctl gives its pods none, but a pod patch may, and KubeRay does."""

from collections.abc import Iterator, Sequence

from gpuctl.kube.objects.core import Event
from gpuctl.kube.objects.meta import condition
from gpuctl.kube.objects.pods import Pod
from gpuctl.model.reason import Evidence

_DEADLY = ("Liveness", "Startup")
"""Probes for which the kubelet ends the container."""


def evidence(pod: Pod, events: Sequence[Event], *, rank: int | None, node: str, attempt: int, failed: bool) -> Iterator[Evidence]:
    """The newest word of each probe that keeps the pod from being ready, or that ended it.

    A probe that failed and then held is no news: programs take their time to come up.

    Args:
        pod: it.
        events: about it.
        rank: of the job, where it is one.
        node: where it runs.
        attempt: which it belongs to.
        failed: whether it ended badly.
    """
    ready = condition(pod.status.conditions, "Ready")
    if not failed and (pod.ended or ready is None or ready.status == "True"):
        return
    newest: dict[str, Event] = {}
    for event in events:
        probe = event.text.partition(" ")[0]
        if event.reason != "Unhealthy" or (failed and probe not in _DEADLY):
            continue
        best = newest.get(probe)
        if best is None or (event.at is not None and (best.at is None or event.at >= best.at)):
            newest[probe] = event
    for event in newest.values():
        data = {"times": str(event.times)}
        if event.since is not None:
            data["since"] = str(int(event.since.timestamp()))
        if failed:
            data["fatal"] = "yes"
        yield Evidence(
            code="unhealthy", text=event.text, at=event.at, rank=rank, node=node or None, attempt=attempt, data=data, source="event"
        )
