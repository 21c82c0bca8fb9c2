"""One look at a cluster: what is due by its schedules, and doing it.

Nothing is remembered between two looks but what saves work: the picture, the schedules as they were checked. A look may end anywhere.
"""

import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from typing import NamedTuple

from gpuctl.base import clock
from gpuctl.base.errors import GpuctlError
from gpuctl.clusters.kubernetes.surroundings import GPU_RESOURCES
from gpuctl.controllers.logs import Log, Once
from gpuctl.controllers.windows import observed, statuses
from gpuctl.controllers.windows.metrics import Metrics
from gpuctl.controllers.windows.nodes import Moved, NodeWriter
from gpuctl.controllers.windows.objects import WatchedNamespace, WatchedNode, WatchedSchedule
from gpuctl.controllers.windows.pods import Outcome, PodEnder
from gpuctl.controllers.windows.queues import Queues
from gpuctl.controllers.windows.sources import Picture, Source
from gpuctl.controllers.windows.telling import Teller
from gpuctl.kube.api import Api
from gpuctl.kube.errors import ApiFailure
from gpuctl.policy.windows import allotting, switching
from gpuctl.policy.windows.allotting import Moves
from gpuctl.policy.windows.marked import Close, End, MarkedNode, Offered, Own, Release, Step, SwitchPlan, Tell, Warn

AT_A_TIME = 16
"""Nodes and gangs that are worked on at once."""
BUDGET_S = 5.0
"""Seconds for the steps of one kind in one look. What is left waits for the next one, so that nodes that are free already need not wait for
the last of a thousand evictions."""


class Settings(NamedTuple):
    """What a controller is told about its cluster.

    Attributes:
        cluster: what schedules call it.
        gpu_resources: what GPUs are called there.
        webhook: gets every notification, None for none.
    """

    cluster: str
    gpu_resources: Sequence[str] = GPU_RESOURCES
    webhook: str | None = None


class Due(NamedTuple):
    """What a look found: the plan, the quotas to move, and the nodes it was decided on."""

    plan: SwitchPlan
    moves: Moves
    nodes: dict[str, WatchedNode]
    schedules: dict[str, WatchedSchedule]


class Looker:
    """Looks at one cluster.

    Args:
        api: the cluster.
        source: gives its picture.
        settings: see there.
        log: is told what was done and what is held up.
        metrics: are counted.
        may: whether this process may act now.
        now: the present instant, for what is written down while a look goes on.
    """

    def __init__(
        self,
        api: Api,
        source: Source,
        settings: Settings,
        *,
        log: Log,
        metrics: Metrics,
        may: Callable[[], bool],
        now: Callable[[], datetime],
    ) -> None:
        self._api = api
        self._source = source
        self._settings = settings
        self._log = log
        self._metrics = metrics
        self._once = Once()
        self._checked: dict[str, tuple[tuple[str, int, int], Offered]] = {}
        self._namespaces: Sequence[WatchedNamespace] = ()
        self._nodes = NodeWriter(api, gpu_resources=settings.gpu_resources, namespaces=lambda: self._namespaces, may=may, now=now)
        self._pods = PodEnder(api, may=may)
        self._queues = Queues(api, gpu_resources=settings.gpu_resources)
        self._teller = Teller(api, cluster=settings.cluster, webhook=settings.webhook, report=self._report)
        self._may = may

    def close(self) -> None:
        """Wait for signals and messages that are under way."""
        self._pods.close()
        self._teller.close()

    def due(self, now: datetime) -> Due:
        """What is due at ``now``; changes nothing.

        Raises:
            ApiFailure: the cluster cannot be read.
        """
        picture = self._source.picture()
        self._namespaces = picture.namespaces
        marked = observed.nodes(picture.nodes, self._settings.gpu_resources)
        pods = observed.pods(picture.pods, picture.namespaces, self._settings.gpu_resources)
        plan = switching.plan(self._offered(picture, now), marked, pods, now, cluster=self._settings.cluster)
        nodes = {each.metadata.name: each for each in picture.nodes}
        schedules = {each.metadata.name: each for each in picture.schedules}
        return Due(plan, self._moves(marked), nodes, schedules)

    def carry_out(self, due: Due, now: datetime) -> bool:
        """Do it: quotas that sink, quotas that rise, then nodes and pods; whether nothing stood in the way.

        A quota rises for nodes whose marks are there already, so what this look hands over counts in the next one. Steps of one kind are
        done at once, in the order of the plan: a pod is told before it is ended, and ended before its node goes.
        """
        well = self._move(due.moves.lower, "lower")
        if well and self._may():
            well = self._move(due.moves.raised, "raise")
        with ThreadPoolExecutor(AT_A_TIME, thread_name_prefix="steps") as several:
            for kind in (Close, Tell, Warn, End, Own, Release):
                steps = [step for step in due.plan.steps if isinstance(step, kind)]
                ends = time.monotonic() + BUDGET_S
                well = all(list(several.map(lambda step, ends=ends: self._step(step, due, now, ends), steps))) and well
        failed = statuses.write(self._api, due.plan.standings, due.schedules, now) if self._may() else []
        self._complain("statuses", failed)
        self._metrics.standing(self._settings.cluster, due.plan.standings)
        for each in due.plan.standings:
            refused = None if each.accepted else f"schedule {each.name} is not obeyed: {each.message}"
            self._once.changed(f"schedule {each.name}", refused, self._log.error)
            for node in each.nodes:
                text = f"node not {each.owner}'s yet: {each.behind[node]}" if node in each.behind else None
                self._once.changed(f"behind {node}", text, self._log.info, node=node, schedule=each.name)
        return well and not failed

    def _offered(self, picture: Picture, now: datetime) -> list[Offered]:
        """The schedules, each checked once for every change of it and every day: looking 400 days ahead takes a while."""
        found = []
        known, self._checked = self._checked, {}
        for each in picture.schedules:
            meta = each.metadata
            key = (meta.uid, meta.generation, now.toordinal())
            before = known.get(meta.name)
            offer = before[1] if before is not None and before[0] == key else observed.offered(each, now)
            self._checked[meta.name] = (key, offer)
            found.append(offer)
        return found

    def _moves(self, marked: Iterable[MarkedNode]) -> Moves:
        try:
            shares = self._queues.shares()
        except ApiFailure as error:
            self._once.changed("quotas", f"quotas are not moved: {error.message}", self._log.warning)
            return Moves()
        self._once.changed("quotas", None, self._log.warning)
        found = allotting.moves(shares, list(marked))
        unclear = (
            f"quotas of {', '.join(found.unclear)} are not moved: several of one team's are for the same nodes" if found.unclear else None
        )
        self._once.changed("unclear quotas", unclear, self._log.error)
        return found

    def _move(self, moved: Sequence[allotting.Move], direction: str) -> bool:
        if not moved or not self._may():
            return True
        failed = self._queues.write(moved)
        self._metrics.moves.labels(self._settings.cluster, direction, "failed" if failed else "done").inc(len(moved))
        self._complain(f"quota {direction}", failed)
        if not failed:
            for each in moved:
                share = each.share
                self._log.info("quota moved", queue=share.queue, flavor=share.flavor, before=share.nominal, after=each.nominal)
        return not failed

    def _step(self, step: Step, due: Due, now: datetime, ends: float) -> bool:
        """One step; whether it was done. What goes wrong with one must not keep the others from being done."""
        if not self._may() or time.monotonic() > ends:
            return False
        try:
            return self._do(step, due, now)
        except Moved as moved:
            self._log.info("left for the next look", why=str(moved))
        except GpuctlError as error:
            self._log.error("a step failed", step=type(step).__name__.lower(), about=_about(step), why=error.message, cause=error.cause)
        return False

    def _do(self, step: Step, due: Due, now: datetime) -> bool:
        cluster = self._settings.cluster
        if isinstance(step, Close):
            self._nodes.close(step, due.nodes[step.node])
            self._log.info("node closed", node=step.node, next=step.next)
        elif isinstance(step, Own):
            self._nodes.own(step, due.nodes[step.node])
            if step.before != step.owner:
                self._log.info("node changed hands", node=step.node, schedule=step.schedule, owner=step.owner, before=step.before)
                self._metrics.switches.labels(cluster, step.schedule, step.owner).inc()
                if step.since is not None and step.before is not None:
                    self._metrics.delay.labels(cluster, step.schedule).observe(max(0.0, (now - step.since).total_seconds()))
            else:
                self._log.info("node marked", node=step.node, schedule=step.schedule, owner=step.owner, lends=step.lends)
        elif isinstance(step, Release):
            self._nodes.release(step, due.nodes[step.node])
            self._log.info("node released", node=step.node)
        elif isinstance(step, Tell):
            self._teller.tell(step, now=now)
            self._metrics.told.labels(cluster).inc()
            self._log.info("job told", gang=step.end.gang, window=step.end.window, at=clock.rfc3339(step.end.at), next=step.end.next)
        elif isinstance(step, Warn):
            self._pods.warn(step, lambda outcome: self._outcome(outcome, step.signal.lower(), step.end.gang))
        else:
            self._teller.cut(step, now=now)
            outcomes = self._pods.end(step)
            for each in outcomes:
                self._outcome(each, step.how, step.end.gang)
            return not any(each.failed for each in outcomes)
        return True

    def _outcome(self, outcome: Outcome, how: str, gang: str) -> None:
        """Count and tell how a pod took it."""
        result = "failed" if outcome.failed else "protected" if outcome.protected else "done" if outcome.done else "gone"
        self._metrics.ends.labels(self._settings.cluster, how, result).inc()
        pod, uid = f"{outcome.pod.namespace}/{outcome.pod.name}", outcome.pod.uid
        if outcome.failed is not None:
            text = f"a pod could not be asked to end: {outcome.failed.message}"
            self._once.changed(f"failed {how} {uid}", text, self._log.error, pod=pod, how=how, cause=outcome.failed.cause)
        elif outcome.protected:
            self._once.changed(f"protected {uid}", "a disruption budget protects the pod", self._log.info, pod=pod)
        elif outcome.done:
            self._log.info("pod asked to end" if how in ("evict", "delete") else "pod signalled", pod=pod, how=how, gang=gang)

    def _report(self, text: str) -> None:
        """Something that could not be told to a job or a webhook: said once, and counted by whoever reads logs."""
        self._once.changed(f"report {text}", text, self._log.warning)

    def _complain(self, subject: str, failed: Sequence[ApiFailure]) -> None:
        cause = failed[0].cause if failed else None
        self._once.changed(subject, failed[0].message if failed else None, self._log.error, cause=cause)


def _about(step: Step) -> str:
    return step.end.gang if isinstance(step, Tell | Warn | End) else step.node
