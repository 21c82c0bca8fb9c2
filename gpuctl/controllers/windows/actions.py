"""What a look would do, or did, as rows for people and scripts."""

from collections.abc import Callable, Iterator

import msgspec

from gpuctl.base import clock
from gpuctl.controllers.windows.look import Due
from gpuctl.policy.windows.marked import Close, End, Own, Release, Tell, Warn


class WindowAction(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """One thing that is due.

    Attributes:
        cluster: where.
        action: close, own, release (nodes); tell, signal, evict, delete (pods); lower, raise (quotas); refuse (schedules); wait (nodes).
        about: the node, pod, queue or schedule.
        detail: a sentence.
    """

    cluster: str
    action: str
    about: str
    detail: str


def actions(cluster: str, due: Due) -> Iterator[WindowAction]:
    """Everything that is due, in the order in which it is done; then what is refused and what is waited for."""

    def row(action: str, about: str, detail: str) -> WindowAction:
        return WindowAction(cluster=cluster, action=action, about=about, detail=detail)

    for word, moved in (("lower", due.moves.lower), ("raise", due.moves.raised)):
        for each in moved:
            share = each.share
            yield row(word, share.queue, f"{share.resource} of {share.flavor} from {share.nominal} to {each.nominal}")
    for step in due.plan.steps:
        if isinstance(step, Close):
            yield row("close", step.node, f"nothing new starts: it goes to {step.next}")
        elif isinstance(step, Own):
            lends = ", lending idle GPUs" if step.lends else ""
            before = f" from {step.before}" if step.before not in (None, step.owner) else ""
            yield row("own", step.node, f"to {step.owner}{before} by {step.schedule}{lends}")
        elif isinstance(step, Release):
            yield row("release", step.node, "no schedule is about it any more")
        else:
            yield from _of_pods(row_of=row, step=step)
    for standing in due.plan.standings:
        if not standing.accepted:
            yield row("refuse", standing.name, standing.message)
        for node, text in sorted(standing.behind.items()):
            yield row("wait", node, text)


def _of_pods(*, row_of: Callable[[str, str, str], WindowAction], step: Tell | Warn | End) -> Iterator[WindowAction]:
    end = step.end
    window = f"window {end.window}" if end.window is not None else "its time here"
    action = step.how if isinstance(step, End) else "signal" if isinstance(step, Warn) else "tell"
    for pod in step.pods:
        detail = f"{window} ends at {clock.rfc3339(end.at)}, then {end.next}"
        if isinstance(step, Warn):
            detail = f"{step.signal}: {detail}"
        if isinstance(step, End):
            detail = f"within {step.grace.get(pod.uid, pod.grace)} s: {detail}"
        yield row_of(action, f"{pod.namespace}/{pod.name}", detail)
