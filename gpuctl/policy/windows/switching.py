"""Which nodes change hands now, and how: from marks, pods and schedules to the steps that are due.

Pure and without memory: the marks on a node say how far its switch is, so every step may be lost, repeated or done by somebody else. A
node goes from owner to owner in steps that each leave it with at most one: it is closed (nothing new starts), what may not stay ends, and
one write swaps label and taint. Nodes that no schedule had before are closed and waited for: what runs there began without a window, and is
not ended by one.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

import msgspec

from gpuctl.model.schedule import PoolSchedule
from gpuctl.policy.values import OwnerSpan
from gpuctl.policy.windows import accepting, draining, spans
from gpuctl.policy.windows.accepting import Accepted
from gpuctl.policy.windows.draining import Drained, Ending, Timeline
from gpuctl.policy.windows.marked import Close, Holding, MarkedNode, Offered, Own, Release, Standing, Step, SwitchPlan

SETTLE = timedelta(seconds=6)
"""So long a node stays closed before it changes hands: a scheduler that has not seen the taint yet may still bind a pod. The mark tells
whole seconds, so it is five at least."""

EARLY = timedelta(seconds=10)
"""A node that already is whose it will be so soon was handed over by a clock ahead of ours; it is not taken back for a moment."""

_SHOWN = 3


class _Verdict(NamedTuple):
    """What is due for one node; ``behind`` says what a hand-over waits for."""

    steps: tuple[Step, ...] = ()
    wake_at: datetime | None = None
    behind: str | None = None


def plan(
    offered: Sequence[Offered], nodes: Sequence[MarkedNode], pods: Sequence[Holding], now: datetime, *, cluster: str = ""
) -> SwitchPlan:
    """The steps that are due.

    Args:
        offered: every schedule of the cluster.
        nodes: every node of the cluster.
        pods: every pod that is bound to a node, has not ended, and holds GPUs or belongs to a gang that does; without those that no
            switch may touch (an administrator's).
        now: the present instant.
        cluster: what schedules call the cluster.
    """
    accepted = accepting.accept(offered, nodes, cluster=cluster)
    nodes = [_known(node, now) for node in nodes]
    owners = {name: {node.owner for node in nodes if node.schedule == name and node.owner is not None} for name in accepted.schedules}
    lines = {name: _timeline(each, now, owners=owners[name]) for name, each in accepted.schedules.items()}
    held: dict[str, list[Holding]] = {}
    for pod in pods:
        if pod.gpus:
            held.setdefault(pod.node, []).append(pod)
    endings: dict[str, list[Ending]] = {}
    verdicts: dict[str, _Verdict] = {}
    for node in nodes:
        if node.name in accepted.frozen:
            continue
        name = accepted.nodes.get(node.name)
        if name is None:
            verdicts[node.name] = _Verdict((Release(node=node.name),) if node.schedule is not None else ())
            continue
        if _early(node, name, lines[name]):
            verdicts[node.name] = _Verdict()
            continue
        own = held.get(node.name, [])
        verdicts[node.name] = _node(node, name, lines[name], own)
        if node.schedule == name:
            for pod in own:
                end = draining.ending(pod, lines[name], owner=node.owner, since=node.closing_since)
                if end is not None:
                    endings.setdefault(pod.gang, []).append(end)
    drained = _drains(pods, endings, now)
    found = list(verdicts.values())
    wakes = [each.wake_at for each in found] + [each.wake_at for each in drained] + [line.spans[0].until for line in lines.values()]
    closing = [step for each in found for step in each.steps if isinstance(step, Close)]
    others = [step for each in found for step in each.steps if not isinstance(step, Close)]
    return SwitchPlan(
        steps=(*closing, *(step for each in drained for step in each.steps), *others),
        standings=tuple(_standings(accepted, lines, verdicts)),
        wake_at=min((each for each in wakes if each is not None and each > now), default=None),
        busy=any(each.busy for each in drained) or any(each.behind is not None for each in found),
    )


def _timeline(schedule: PoolSchedule, now: datetime, *, owners: set[str]) -> Timeline:
    ahead = spans.spans(schedule, now)
    return Timeline(now, ahead, spans.history(schedule, now, owners=owners - {ahead[0].owner}))


def _known(node: MarkedNode, now: datetime) -> MarkedNode:
    """The node without a mark that says it was closed in the future: somebody has written that by hand."""
    since = node.closing_since
    return msgspec.structs.replace(node, closing_since=None) if since is not None and since > now + EARLY else node


def _early(node: MarkedNode, schedule: str, line: Timeline) -> bool:
    following = line.following()
    if following is None or node.schedule != schedule or node.owner == line.present.owner:
        return False
    after = following[1]
    return node.owner == after.owner and after.start - line.now <= EARLY


def _node(node: MarkedNode, schedule: str, line: Timeline, pods: Sequence[Holding]) -> _Verdict:
    present = line.present
    if node.schedule != schedule or node.owner != present.owner:
        return _hand_over(node, schedule, line, pods)
    following = line.following()
    wakes: list[datetime] = []
    closing: str | None = None
    if following is not None:
        before, after = following
        shuts = after.start - timedelta(seconds=max(before.lead, before.grace)) if _cuts(before) else after.start
        wakes.append(shuts)
        if line.now >= shuts:
            closing = after.owner
    lends = present.lends and closing is None and not _lending_ends(line, wakes)
    wake = min((each for each in wakes if each > line.now), default=None)
    if closing is not None:
        shut = node.closing == closing
        return _Verdict(() if shut else (Close(node=node.name, next=closing, window=present.window),), wake)
    if node.closing is None and _marked(node, present.owner, lends=lends):
        return _Verdict((), wake)
    return _Verdict((_own(node, schedule, line, lends=lends),), wake)


def _cuts(span: OwnerSpan) -> bool:
    return span.policy in ("Evict", "CheckpointThenEvict")


def _lending_ends(line: Timeline, wakes: list[datetime]) -> bool:
    """Whether the owner keeps the nodes but soon lends them no longer, so that no borrower should start."""
    before = line.present
    for after in line.spans[1:]:
        if after.owner != before.owner:
            return False
        if not after.lends:
            shuts = after.start - timedelta(seconds=max(before.lead, before.grace))
            wakes.append(shuts)
            return line.now >= shuts
        before = after
    return False


def _marked(node: MarkedNode, owner: str, *, lends: bool) -> bool:
    taints = (None, owner) if lends else (owner, None)
    return node.owner == owner and (node.taints_owner, node.taints_lender) == taints


def _hand_over(node: MarkedNode, schedule: str, line: Timeline, pods: Sequence[Holding]) -> _Verdict:
    to = line.present.owner
    if node.closing != to or node.closing_since is None:
        return _Verdict((Close(node=node.name, next=to, window=line.present.window),), line.now + SETTLE, "is being closed")
    staying = [pod for pod in pods if not draining.admits(pod, line.present)]
    if staying:
        return _Verdict((), None, _waits_for(staying, adopted=node.schedule != schedule))
    if line.now < node.closing_since + SETTLE:
        return _Verdict((), node.closing_since + SETTLE, "was closed a moment ago")
    lends = line.present.lends and not _lending_ends(line, [])
    return _Verdict((_own(node, schedule, line, lends=lends),))


def _own(node: MarkedNode, schedule: str, line: Timeline, *, lends: bool) -> Own:
    present, since = line.present, line.present.start
    for before in line.past:
        if before.owner != present.owner:
            break
        since = before.start
    return Own(node=node.name, schedule=schedule, owner=present.owner, lends=lends, before=node.owner, since=since)


def _waits_for(pods: Sequence[Holding], *, adopted: bool) -> str:
    shown = ", ".join(f"{pod.namespace}/{pod.name}" for pod in pods[:_SHOWN])
    more = f" and {len(pods) - _SHOWN} more" if len(pods) > _SHOWN else ""
    since = ", there before the schedule was" if adopted else ""
    return f"waits for {shown}{more}{since}"


def _drains(pods: Sequence[Holding], endings: Mapping[str, Sequence[Ending]], now: datetime) -> Sequence[Drained]:
    members = draining.gangs(pod for pod in pods if pod.gang in endings)
    return [draining.drain(gang, members[gang], draining.earliest(endings[gang]), now) for gang in sorted(endings)]


def _standings(accepted: Accepted, lines: Mapping[str, Timeline], verdicts: Mapping[str, _Verdict]) -> Iterable[Standing]:
    for name in sorted({*accepted.schedules, *accepted.refused}):
        refusal = accepted.refused.get(name)
        if refusal is not None:
            yield Standing(name=name, accepted=False, reason=refusal.reason, message=refusal.message)
            continue
        following = lines[name].following()
        nodes = tuple(sorted(node for node, by in accepted.nodes.items() if by == name))
        behind = {node: text for node in nodes if (text := verdicts[node].behind) is not None}
        yield Standing(
            name=name,
            accepted=True,
            nodes=nodes,
            owner=lines[name].present.owner,
            next_owner=following[1].owner if following is not None else None,
            next_change=following[1].start if following is not None else None,
            behind=behind,
        )
