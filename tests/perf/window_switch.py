"""A thousand GPU nodes that change hands at one instant, each with a job on it: how long after the instant the last one has.

    GPUCTL_PERF_NODES=1000 python -m tests.perf window_switch

Needs a control plane's binaries (see tests/integration/control_plane.py). Kubelets are played by a thread that removes pods that are to go.
"""

import collections
import io
import os
import re
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

from gpuctl.controllers.logs import Log
from gpuctl.controllers.manifests.definition import definition
from gpuctl.controllers.windows.controller import Controller, Election
from gpuctl.controllers.windows.look import Settings
from gpuctl.controllers.windows.metrics import Metrics
from gpuctl.controllers.windows.objects import WatchedNode, WatchedPod
from gpuctl.controllers.windows.service import TIMEOUTS
from gpuctl.kube.api import Api, open_api
from gpuctl.kube.errors import ApiFailure
from gpuctl.kube.objects.meta import Object
from gpuctl.kube.resources import NODES, PODS, Resource
from tests.integration.control_plane import ControlPlane, missing
from tests.perf.measure import line, title

COUNT = int(os.environ.get("GPUCTL_PERF_NODES", "1000"))
LEAD_S = int(os.environ.get("GPUCTL_PERF_LEAD", "90"))
"""Seconds between the start of the controller and the instant: closing a thousand nodes has to fit in."""
OWNER = "gpuctl.io/owner-team"
DEFINITIONS = Resource("apiextensions.k8s.io", "v1", "customresourcedefinitions", "CustomResourceDefinition", namespaced=False)
SCHEDULES = Resource("gpuctl.io", "v1alpha1", "poolschedules", "PoolSchedule", namespaced=False)
PATIENCE_S = 600


def main() -> None:
    """Fill a control plane, then let the window end."""
    title(f"{COUNT} nodes with a job each change hands")
    reason = missing()
    if reason:
        line(f"not measured: {reason}")
        return
    with tempfile.TemporaryDirectory(prefix="gpuctl-perf-") as base:
        plane = ControlPlane("perf", Path(base) / "plane")
        try:
            plane.up(controllers=False)
            _measure(plane)
        finally:
            plane.down()


def _measure(plane: ControlPlane) -> None:
    api = plane.api()
    _fill(api)
    calls: collections.Counter[str] = collections.Counter()
    traced = open_api(None, env=plane.env(), timeouts=TIMEOUTS, trace=lambda text: _count(calls, text))
    stop = threading.Event()
    switched: dict[str, datetime] = {}
    threads = [threading.Thread(target=_reap, args=(plane.api(), stop)), threading.Thread(target=_see, args=(plane.api(), stop, switched))]
    for thread in threads:
        thread.start()
    log = io.StringIO()
    election = Election(namespace="default", identity="perf")
    controller = Controller(traced, Settings("perf"), election, Log("text", out=log), metrics=Metrics())
    running = threading.Thread(target=controller.run)
    instant = _schedule(api)
    running.start()
    began = time.process_time()
    ends = time.monotonic() + LEAD_S + PATIENCE_S
    while len(switched) < COUNT and time.monotonic() < ends:
        time.sleep(0.5)
    spent = time.process_time() - began
    controller.stop()
    running.join()
    stop.set()
    for thread in threads:
        thread.join()
    if len(switched) < COUNT:
        line(f"only {len(switched)} of {COUNT} nodes changed hands:\n{log.getvalue()[-2000:]}")
        return
    delays = sorted((each - instant).total_seconds() for each in switched.values())
    line(f"the last node {delays[-1]:.1f} s after the instant, the median {delays[len(delays) // 2]:.1f} s (wanted: 60 s)")
    shown = ", ".join(f"{key} {count / COUNT:.2f}" for key, count in calls.most_common(6))
    line(f"calls for a node and its job: {sum(calls.values()) / COUNT:.1f} ({shown})")
    line(f"processor time of this process, with the watches that measure: {spent:.0f} s over {LEAD_S + delays[-1]:.0f} s")


def _fill(api: Api) -> None:
    api.create(DEFINITIONS.path(), definition(), Object)
    api.create("/api/v1/namespaces", {"kind": "Namespace", "metadata": {"name": "team-a", "labels": {"gpuctl.io/team": "team-a"}}}, Object)
    room = {"cpu": "96", "memory": "1000Gi", "pods": "110", "nvidia.com/gpu": "8"}

    def one(number: int) -> None:
        name = f"n-{number:04}"
        labels = {OWNER: "team-a", "gpuctl.io/schedule": "pool"}
        taints = [{"key": "gpuctl.io/owner", "value": "team-a", "effect": "NoSchedule"}]
        body = {"kind": "Node", "metadata": {"name": name, "labels": labels}, "spec": {"taints": taints}}
        api.create(NODES.path(), body, Object)
        api.patch(NODES.path(name=name, sub="status"), {"status": {"capacity": room, "allocatable": room}}, Object)
        container = {"name": "main", "image": "none", "resources": {"limits": {"nvidia.com/gpu": 8}}}
        spec = {"nodeName": name, "containers": [container], "terminationGracePeriodSeconds": 30}
        api.create(PODS.path("team-a"), {"kind": "Pod", "metadata": {"name": name}, "spec": spec}, Object)

    with ThreadPoolExecutor(16) as several:
        list(several.map(one, range(COUNT)))


def _schedule(api: Api) -> datetime:
    now = datetime.now(timezone.utc)
    start = now.replace(second=0, microsecond=0) - timedelta(minutes=1)
    instant = now.replace(microsecond=0) + timedelta(seconds=LEAD_S)
    drain = {"notify": f"{LEAD_S - 10}s", "lead": f"{LEAD_S - 20}s", "grace": "30s"}
    length = int((instant - start).total_seconds())
    window = {"name": "w", "owner": "team-a", "start": f"{start.minute} {start.hour} * * *", "duration": f"{length}s", "drain": drain}
    spec = {"pool": {}, "timeZone": "UTC", "defaultOwner": "team-b", "windows": [window]}
    body: dict[str, Any] = {"apiVersion": SCHEDULES.api_version, "kind": SCHEDULES.kind, "metadata": {"name": "pool"}, "spec": spec}
    ends = time.monotonic() + 30
    while True:
        try:
            api.create(SCHEDULES.path(), body, Object)
            return instant
        except ApiFailure:
            assert time.monotonic() < ends, "the definition was not established"
            time.sleep(0.2)


def _count(calls: "collections.Counter[str]", text: str) -> None:
    found = re.search(r": (GET|POST|PUT|PATCH|DELETE) (\S+): \d+ after", text)
    if found is not None:
        path = re.sub(r"/n-\d+|/namespaces/[^/]+", "", found[2].partition("?")[0]).rpartition("/")[2]
        calls[f"{found[1]} {path}"] += 1


def _reap(api: Api, stop: threading.Event) -> None:
    """Kubelets: what is to go is gone soon."""
    with ThreadPoolExecutor(8) as several:
        for change in api.watch(PODS.path(), WatchedPod, resource_version="", stop=stop.is_set):
            if change.kind == "MODIFIED" and change.object is not None and change.object.metadata.deletion_timestamp is not None:
                several.submit(api.delete, PODS.path("team-a", change.object.metadata.name), grace_s=0)


def _see(api: Api, stop: threading.Event, switched: dict[str, datetime]) -> None:
    for change in api.watch(NODES.path(), WatchedNode, resource_version="", stop=stop.is_set):
        for each in change.listing or [change.object]:
            if each is not None and each.metadata.label(OWNER) == "team-b":
                switched.setdefault(each.metadata.name, datetime.now(timezone.utc))
