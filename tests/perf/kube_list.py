"""Ten thousand pods in a real API server, read by us and by ``kubectl get pods`` in turn: wall time, processor time, memory.

    GPUCTL_PERF_PODS=10000 python -m tests.perf kube_list

Needs a control plane's binaries (see tests/integration/control_plane.py) and kubectl; without them it says so and measures nothing.
"""

import dataclasses
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from gpuctl.kube.errors import AlreadyExists
from gpuctl.kube.objects.meta import Object
from gpuctl.kube.resources import PODS
from tests.integration.control_plane import ControlPlane, missing
from tests.perf.measure import line, title

COUNT = int(os.environ.get("GPUCTL_PERF_PODS", "10000"))
ROUNDS = int(os.environ.get("GPUCTL_PERF_ROUNDS", "3"))
OURS = """
import os, sys, time
from gpuctl.kube.api import open_api
from gpuctl.kube.objects.pods import Pod
api = open_api(None, env=os.environ)
began = time.thread_time()
count = sum(len(page.items) for page in api.pages("/api/v1/pods", Pod)) if sys.argv[1] == "pages" else len(api.list("/api/v1/pods", Pod))
print(count, time.thread_time() - began)
"""


@dataclasses.dataclass(frozen=True)
class Taken:
    """What one run cost: seconds of wall and of processor time, the most memory in MB, and what it printed."""

    wall: float
    cpu: float
    memory: float
    printed: str


def main() -> None:
    """Fill a control plane, then measure."""
    title(f"reading {COUNT} pods, in turn ({ROUNDS} rounds)")
    reason = missing() or (None if shutil.which("kubectl") else "no kubectl on PATH")
    if reason:
        line(f"not measured: {reason}")
        return
    with tempfile.TemporaryDirectory(prefix="gpuctl-perf-") as base:
        os.environ.update({"HOME": base, "XDG_CACHE_HOME": f"{base}/cache"})
        plane = ControlPlane("perf", Path(base) / "plane")
        try:
            plane.up(controllers=False)
            _fill(plane)
            _measure(plane)
        finally:
            plane.down()


def _fill(plane: ControlPlane) -> None:
    api = plane.api()
    with ThreadPoolExecutor(8) as several:
        list(several.map(lambda index: _create(api, index), range(COUNT)))


def _create(api: Any, index: int) -> None:
    try:
        api.create(PODS.path("default"), _pod(index), Object)
    except AlreadyExists:
        pass


def _pod(index: int) -> dict[str, Any]:
    """A rank of a job as gpuctl renders it, bound to a node."""
    job, rank = divmod(index, 8)
    labels = {
        f"gpuctl.io/{key}": value for key, value in {"job": f"train-{job}", "job-id": f"{job:032x}", "user": f"user-{job % 40}"}.items()
    }
    env = [{"name": f"PET_{name}", "value": "1"} for name in ("NNODES", "NPROC_PER_NODE", "NODE_RANK", "MASTER_ADDR", "MASTER_PORT")]
    gpus = {"nvidia.com/gpu": "8", "cpu": "32", "memory": "200Gi"}
    main = {
        "name": "main",
        "image": "registry.example/team/pytorch:2.9",
        "command": ["torchrun", "train.py", "--lr", "3e-4"],
        "env": env,
        "resources": {"limits": gpus, "requests": gpus},
        "volumeMounts": [{"name": "shm", "mountPath": "/dev/shm"}],
    }
    setup = {"name": "code", "image": "registry.example/team/pytorch:2.9", "command": ["tar", "xzf", "/code.tgz"]}
    spec = {
        "nodeName": f"node-{index % 2000}",
        "restartPolicy": "Never",
        "initContainers": [setup],
        "containers": [main],
        "volumes": [{"name": "shm", "emptyDir": {"medium": "Memory"}}],
    }
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": f"train-{job}-{rank}", "labels": labels}, "spec": spec}


def _measure(plane: ControlPlane) -> None:
    env = plane.env()
    arms: dict[str, Sequence[str]] = {
        "python -c pass": (sys.executable, "-c", "pass"),
        "kubectl get pods -A": ("kubectl", "get", "pods", "-A"),
        "our list, whole": (sys.executable, "-c", OURS, "list"),
        "our list, page by page": (sys.executable, "-c", OURS, "pages"),
    }
    costs: dict[str, list[Taken]] = {name: [] for name in arms}
    for _ in range(ROUNDS):
        for name, argv in arms.items():
            costs[name].append(taken(argv, env))
    line("", "wall", "cpu", "memory", "of kubectl", "work")
    base = statistics.median(each.wall for each in costs["kubectl get pods -A"])
    for name, runs in costs.items():
        wall = statistics.median(each.wall for each in runs)
        ours = name.startswith("our")
        if ours:
            assert all(int(each.printed.split()[0]) == COUNT for each in runs), "not every pod was read"
        work = f"{statistics.median(float(each.printed.split()[1]) for each in runs):.2f} s" if ours else ""
        cpu, memory = statistics.median(each.cpu for each in runs), max(each.memory for each in runs)
        line(name, f"{wall:.2f} s", f"{cpu:.2f} s", f"{memory:.0f} MB", f"{wall / base:.2f}", work)


def taken(argv: Sequence[str], env: dict[str, str]) -> Taken:
    """Run it at home in a process of its own below another one, whose children's figures are then this one's alone."""
    probe = (
        "import resource, subprocess, sys, time; began = time.perf_counter();"
        "done = subprocess.run(sys.argv[1:], capture_output=True, text=True); wall = time.perf_counter() - began;"
        "used = resource.getrusage(resource.RUSAGE_CHILDREN);"
        "assert done.returncode == 0, (done.returncode, done.stdout[-500:], done.stderr);"
        "print(wall, used.ru_utime + used.ru_stime, used.ru_maxrss); print(done.stdout[:200])"
    )
    done = subprocess.run([sys.executable, "-c", probe, *argv], env=env, cwd=env["HOME"], capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    figures, _, printed = done.stdout.partition("\n")
    wall, cpu, memory = (float(each) for each in figures.split())
    return Taken(wall, cpu, memory / 1024, printed)


if __name__ == "__main__":
    main()
