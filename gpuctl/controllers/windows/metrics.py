"""What the window controller counts, in Prometheus' terms."""

from collections.abc import Iterable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from gpuctl.policy.windows.marked import Standing

_DELAYS = (1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1800, 3600, 14400)


class Metrics:
    """All metrics of one process; every one is told by cluster."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()

        def gauge(name: str, text: str, *labels: str) -> Gauge:
            return Gauge(f"gpuctl_windows_{name}", text, ("cluster", *labels), registry=self.registry)

        def counter(name: str, text: str, *labels: str) -> Counter:
            return Counter(f"gpuctl_windows_{name}", text, ("cluster", *labels), registry=self.registry)

        self.leader = gauge("leader", "1 in the replica that acts")
        self.last_pass = gauge("last_pass_timestamp_seconds", "When the cluster was last looked at to the end")
        self.skew = gauge("clock_skew_seconds", "Seconds that the API server's clock is ahead of this machine's")
        self.nodes = gauge("nodes", "Nodes of a schedule", "schedule")
        self.behind = gauge("nodes_behind", "Nodes that are not their owner's yet", "schedule")
        self.accepted = gauge("schedule_accepted", "1 when the schedule is obeyed", "schedule")
        self.passes = counter("passes_total", "Looks at the cluster", "result")
        self.switches = counter("switches_total", "Nodes that changed hands", "schedule", "owner")
        self.ends = counter("ended_pods_total", "Pods that were asked to end", "how", "result")
        self.told = counter("notifications_total", "Jobs that were told of the end of their window")
        self.moves = counter("quota_moves_total", "Quotas that were moved", "direction", "result")
        self.delay = Histogram(
            "gpuctl_windows_switch_delay_seconds",
            "From the instant of a change until the node had changed hands",
            ("cluster", "schedule"),
            registry=self.registry,
            buckets=_DELAYS,
        )
        self.seconds = Histogram("gpuctl_windows_pass_seconds", "How long a look took", ("cluster",), registry=self.registry)
        self._schedules: dict[str, set[str]] = {}

    def standing(self, cluster: str, standings: Iterable[Standing]) -> None:
        """Set the gauges of schedules; those of schedules that are gone go too."""
        seen: set[str] = set()
        for each in standings:
            seen.add(each.name)
            self.nodes.labels(cluster, each.name).set(len(each.nodes))
            self.behind.labels(cluster, each.name).set(len(each.behind))
            self.accepted.labels(cluster, each.name).set(int(each.accepted))
        for name in self._schedules.get(cluster, set()) - seen:
            for gauge in (self.nodes, self.behind, self.accepted):
                gauge.remove(cluster, name)
        self._schedules[cluster] = seen
