"""GPU nodes that are not there: registered at a real control plane, with a kubelet played by a thread that runs pods as they say.

A pod says how it goes with annotations:

- ``fake/run-seconds``: how long it runs (default 1; ``-1``: until it is deleted).
- ``fake/exit-code``: what its containers end with (default 0); ``fake/reason``: the reason beside it (``OOMKilled``).
- ``fake/wait-reason``: stay waiting with this reason (``ImagePullBackOff``).
- ``fake/log``: what its containers print. Every line gets the instant it was asked for, as the kubelet's would.
- ``fake/ticks``, ``fake/ranks``: lines that keep coming while it runs, see :mod:`tests.integration.fake_kubelet`.

A pod without a node is not touched; what is deleted goes at once. Lines are served by :mod:`tests.integration.fake_kubelet`.
"""

import datetime as dt
import threading
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import TYPE_CHECKING, Any

from gpuctl.kube.api import Api
from gpuctl.kube.errors import AlreadyExists, ApiFailure, Conflict, NotFound
from gpuctl.kube.objects.meta import Object
from gpuctl.kube.objects.pods import Pod
from gpuctl.kube.resources import NODES, PODS
from tests.integration.fake_kubelet import FakeKubelet

if TYPE_CHECKING:
    from typing_extensions import Self

POLL_S = 0.15
HEARTBEAT_S = 8.0


class FakeNodes:
    """``count`` Ready nodes called ``PREFIX-0``, ``PREFIX-1``...; a context manager that plays their kubelets meanwhile.

    Args:
        gpus: of each node; 0 is a node without devices.
        resource: how the cluster calls a GPU.
        product: what ``nvidia.com/gpu.product`` says.
        labels: further labels of every node.
        cores: of each node.
        memory: of each node, as Kubernetes writes it.
        taints: such as ``{"key": "gpuctl.io/owner", "value": "team-a", "effect": "NoSchedule"}``.
    """

    def __init__(
        self,
        api: Api,
        prefix: str,
        count: int,
        *,
        gpus: int = 8,
        resource: str = "nvidia.com/gpu",
        product: str = "NVIDIA-H100-80GB-HBM3",
        labels: dict[str, str] | None = None,
        cores: int = 96,
        memory: str = "1000Gi",
        taints: Iterable[dict[str, str]] = (),
    ) -> None:
        self.names = [f"{prefix}-{index}" for index in range(count)]
        self._api = api
        self._labels = {"kubernetes.io/os": "linux", "kubernetes.io/arch": "amd64"} | (labels or {})
        if gpus and resource == "nvidia.com/gpu":
            self._labels |= {"nvidia.com/gpu.product": product, "nvidia.com/gpu.count": str(gpus)}
        self._taints = list(taints)
        self._resources = {"cpu": str(cores), "memory": memory, "pods": "110", "ephemeral-storage": "2000Gi"}
        if gpus:
            self._resources[resource] = str(gpus)
        self._stopping = threading.Event()
        self._silent: set[str] = set()
        self._kubelet = FakeKubelet()
        self._player = threading.Thread(target=self._play, name=f"fake-nodes-{prefix}", daemon=True)

    def __enter__(self) -> "Self":
        self._kubelet.start()
        with ThreadPoolExecutor(8) as several:
            list(several.map(self._register, self.names))
        self._player.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._stopping.set()
        self._player.join(10)
        self._kubelet.stop()
        for name in self.names:
            try:
                self._api.delete(NODES.path(name=name))
            except ApiFailure:
                pass  # the plane may be down, or the test deleted it

    def lose(self, name: str) -> None:
        """Stop playing this node: no heartbeat, its pods stand still. Its Ready turns Unknown after the controllers' grace period."""
        self._silent.add(name)

    def find(self, name: str) -> None:
        """Play it again."""
        self._silent.discard(name)

    def set_ready(self, name: str, ready: bool, *, reason: str = "KubeletReady") -> None:
        """Say at once whether a node is Ready; lasts only while the node is lost, or until its next heartbeat."""
        self._api.patch(NODES.path(name=name, sub="status"), {"status": self._status(ready, reason)}, Object, kind="strategic")

    def _register(self, name: str) -> None:
        labels = self._labels | {"kubernetes.io/hostname": name}
        spec = {"taints": self._taints} if self._taints else {}
        body = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": name, "labels": labels}, "spec": spec}
        try:
            self._api.create(NODES.path(), body, Object)
        except AlreadyExists:
            pass
        self.set_ready(name, True)

    def _status(self, ready: bool, reason: str) -> dict[str, Any]:
        condition = {"type": "Ready", "status": str(ready), "reason": reason, "lastHeartbeatTime": _now()}
        return {
            "capacity": self._resources,
            "allocatable": self._resources,
            "conditions": [condition],
            "addresses": [{"type": "InternalIP", "address": "127.0.0.1"}],
            "daemonEndpoints": {"kubeletEndpoint": {"Port": self._kubelet.port}},
            "nodeInfo": {"kubeletVersion": "v1.0.0-fake"},
        }

    def _play(self) -> None:
        mine = set(self.names)
        beat = time.monotonic()
        with ThreadPoolExecutor(4) as several:
            while not self._stopping.wait(POLL_S):
                try:
                    pods = self._api.list(PODS.path(), Pod, params={"fieldSelector": "spec.nodeName!="})
                except ApiFailure:
                    continue  # the plane is away; its nodes go on when it is back
                played = [pod for pod in pods if pod.spec.node_name in mine - self._silent]
                self._kubelet.know(played)
                list(several.map(_quietly(self._step), played))
                if time.monotonic() - beat > HEARTBEAT_S:
                    beat = time.monotonic()
                    list(several.map(_quietly(lambda name: self.set_ready(name, True)), mine - self._silent))

    def _step(self, pod: Pod) -> None:
        meta = pod.metadata
        path = PODS.path(meta.namespace, meta.name)
        if meta.deletion_timestamp is not None:
            if pod.status.phase == "Running":  # what is left of a pod goes when its containers have ended
                began = next(
                    (one.state.running.started_at for one in pod.status.container_statuses or () if one.state and one.state.running), None
                )
                began_at = began.strftime("%Y-%m-%dT%H:%M:%SZ") if began is not None else _now()
                ended = {"exitCode": 143, "reason": "Error", "startedAt": began_at, "finishedAt": _now()}
                self._tell(pod, "Failed", {"terminated": ended})
            self._api.delete(path, uid=meta.uid, grace_s=0)
        elif pod.status.phase == "Pending":
            reason = meta.annotation("fake/wait-reason")
            if not reason:
                self._tell(pod, "Running", {"running": {"startedAt": _now()}})
            elif not pod.status.container_statuses:
                self._tell(pod, "Pending", {"waiting": {"reason": reason, "message": f"fake {reason}"}})
        elif pod.status.phase == "Running":
            self._maybe_end(pod)

    def _maybe_end(self, pod: Pod) -> None:
        seconds = float(pod.metadata.annotation("fake/run-seconds") or 1)
        statuses = pod.status.container_statuses or []
        state = statuses[0].state if statuses else None
        if state is None or state.running is None or state.running.started_at is None or seconds < 0:
            return
        began = state.running.started_at
        if (dt.datetime.now(dt.timezone.utc) - began).total_seconds() < seconds:
            return
        code = int(pod.metadata.annotation("fake/exit-code") or 0)
        ended = {
            "exitCode": code,
            "reason": pod.metadata.annotation("fake/reason") or ("Error" if code else "Completed"),
            "startedAt": began.strftime("%Y-%m-%dT%H:%M:%SZ"),
            "finishedAt": _now(),
        }
        self._tell(pod, "Failed" if code else "Succeeded", {"terminated": ended})

    def _tell(self, pod: Pod, phase: str, state: dict[str, Any]) -> None:
        running = "running" in state

        def rows(containers: "list[Any] | None", its: dict[str, Any]) -> list[dict[str, Any]]:
            return [
                {"name": each.name, "image": each.image, "imageID": "", "ready": running, "restartCount": 0, "state": its}
                for each in containers or ()
            ]

        done = {"terminated": {"exitCode": 0, "reason": "Completed", "startedAt": _now(), "finishedAt": _now()}}
        status = {
            "phase": phase,
            "containerStatuses": rows(pod.spec.containers, state),
            "podIP": "10.255.0.1",
            "hostIP": "127.0.0.1",
            "startTime": _now() if pod.status.start_time is None else pod.status.start_time.strftime("%Y-%m-%dT%H:%M:%SZ"),
            "conditions": [{"type": "Ready", "status": str(running), "lastTransitionTime": _now()}],
        }
        if pod.spec.init_containers and phase != "Pending":
            status["initContainerStatuses"] = rows(pod.spec.init_containers, done)
        self._api.patch(PODS.path(pod.metadata.namespace, pod.metadata.name, "status"), {"status": status}, Object, kind="strategic")


def _quietly(work: Callable[[Any], None]) -> Callable[[Any], None]:
    """``work`` without the errors of a world that has moved on meanwhile."""

    def tried(item: Any) -> None:
        try:
            work(item)
        except (NotFound, Conflict):
            pass
        except ApiFailure as error:
            if error.exit_code != 7:
                raise

    return tried


def _now() -> str:
    return dt.datetime.now(dt.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
