"""A little cluster for the switch of nodes: carries steps out, schedules and ends pods, and sees to it that no rule is broken."""

from dataclasses import dataclass, field
from datetime import datetime, timedelta

import msgspec

from gpuctl.model.schedule import PoolSchedule
from gpuctl.policy.windows.marked import Close, End, Holding, MarkedNode, Offered, Own, Release, Step, SwitchPlan, Tell, Warn
from gpuctl.policy.windows.switching import plan

CREATED = datetime.fromisoformat("2026-01-01T00:00:00+00:00")


def offer(schedule: PoolSchedule, *, created: datetime = CREATED) -> Offered:
    return Offered(name=schedule.metadata.name, created=created, schedule=schedule)


def node(name: str = "n1", **marks: object) -> MarkedNode:
    return MarkedNode(name=name, devices={"nvidia.com/gpu": 8}, **marks)  # type: ignore[arg-type]


def pod(name: str, team: str, on: str = "n1", **more: object) -> Holding:
    given = {"namespace": team, "name": name, "uid": name, "node": on, "gang": name, "gpus": 8, "team": team}
    return Holding(**{**given, **more})  # type: ignore[arg-type]


@dataclass
class World:
    """What the API server holds. ``log`` is everything that happened, with its instant."""

    offered: list[Offered]
    nodes: dict[str, MarkedNode]
    pods: dict[str, Holding] = field(default_factory=dict)
    log: list[tuple[datetime, Step]] = field(default_factory=list)
    owners: list[tuple[datetime, str, str | None, str]] = field(default_factory=list)
    protected: set[str] = field(default_factory=set)
    stubborn: set[str] = field(default_factory=set)
    """Pods that need all of their grace."""

    def look(self, now: datetime, *, crash_after: int | None = None) -> SwitchPlan:
        """One look; with ``crash_after`` only so many steps of it are done."""
        found = plan(self.offered, list(self.nodes.values()), list(self.pods.values()), now)
        for step in found.steps[:crash_after]:
            self.do(step, now)
        return found

    def do(self, step: Step, now: datetime) -> None:
        self.log.append((now, step))
        if isinstance(step, Close):
            self._mark(step.node, closing=step.next, closing_since=now)
        elif isinstance(step, Own):
            before = self.nodes[step.node]
            staying = [each for each in self.pods.values() if each.node == step.node and each.gpus]
            assert all(each.team == step.owner or (step.lends and each.preemptible) for each in staying) or before.owner == step.owner
            if before.owner != step.owner:
                self.owners.append((now, step.node, before.owner, step.owner))
            taints = (None, step.owner) if step.lends else (step.owner, None)
            marks = {"schedule": step.schedule, "owner": step.owner, "taints_owner": taints[0], "taints_lender": taints[1]}
            self._mark(step.node, closing=None, closing_since=None, **marks)
        elif isinstance(step, Release):
            empty = dict.fromkeys(("schedule", "owner", "taints_owner", "taints_lender", "closing", "closing_since"))
            self._mark(step.node, **empty)
        elif isinstance(step, Tell):
            self._each(step.pods, told=step.end.at)
        elif isinstance(step, Warn):
            self._each(step.pods, signalled=step.end.at)
        else:
            self._end(step, now)

    def tick(self, now: datetime) -> None:
        """Kubelets: what was asked to end is gone, at the end of its grace at the latest."""
        for each in list(self.pods.values()):
            if each.ends_at is not None and (each.uid not in self.stubborn or each.ends_at <= now):
                del self.pods[each.uid]

    def start(self, wish: Holding) -> bool:
        """The scheduler: starts the pod if the node's taints let it, and it has room; whether it did."""
        on = self.nodes[wish.node]
        free = on.gpus - sum(each.gpus for each in self.pods.values() if each.node == wish.node)
        lets = on.taints_owner in (None, wish.team) and (on.taints_lender in (None, wish.team) or wish.preemptible)
        if on.closing is not None or not lets or free < wish.gpus:
            return False
        if on.owner == wish.team:
            others = [each for each in self.pods.values() if each.node == wish.node and each.gpus and each.team != wish.team]
            assert all(each.preemptible or on.schedule is None for each in others), "an owner met somebody else's pod"
        self.pods[wish.uid] = wish
        return True

    def _end(self, step: End, now: datetime) -> None:
        for each in step.pods:
            if each.uid in self.pods and not (step.how == "evict" and each.uid in self.protected):
                self._each((each,), ends_at=now + timedelta(seconds=step.grace[each.uid]))

    def _each(self, pods: tuple[Holding, ...], **fields: object) -> None:
        for each in pods:
            if each.uid in self.pods:
                self.pods[each.uid] = msgspec.structs.replace(self.pods[each.uid], **fields)

    def _mark(self, name: str, **fields: object) -> None:
        self.nodes[name] = msgspec.structs.replace(self.nodes[name], **fields)
