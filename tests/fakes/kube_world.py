"""Controller, scheduler and kubelet over :class:`tests.fakes.kube_api.FakeApi`: Jobs become pods, pods become processes of this machine."""

import os
import signal
import subprocess
import threading
import time
from datetime import datetime, timezone
from typing import Any

from tests.fakes.kube_api import Document, FakeApi, now

JOBS, PODS, NODES = "/apis/batch/v1/jobs", "/api/v1/pods", "/api/v1/nodes"
INDEX = "batch.kubernetes.io/job-completion-index"
TICK = 0.02


class World:
    """Plays Kubernetes for as long as it is open. ``nodes``: names with their GPUs."""

    def __init__(self, api: FakeApi, nodes: dict[str, int], *, product: str = "NVIDIA-H100-80GB-HBM3") -> None:
        self.api = api
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        self.output: dict[str, list[bytes]] = {}
        self._readers: list[threading.Thread] = []
        api.logs = self._log
        api.deleting = self._deleting
        self._kill_at: dict[str, float] = {}
        for name, gpus in nodes.items():
            api.put(NODES, node(name, gpus, product))
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def close(self) -> None:
        """End every process."""
        self._stop.set()
        self._thread.join()
        for process in self.processes.values():
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        for reader in self._readers:
            reader.join()

    def _run(self) -> None:
        while not self._stop.is_set():
            with self.api.lock:
                for job in self.api.all(JOBS):
                    self._job(job)
                for pod in self.api.all(PODS):
                    self._pod(pod)
                self.api.finish_foreground()
            self._stop.wait(TICK)

    # -- the Job controller ---------------------------------------------------------------------------------------------------------

    def _job(self, job: Document) -> None:
        meta, spec, status = job["metadata"], job["spec"], job.setdefault("status", {})
        before = repr(status)
        if any(each["type"] in ("Complete", "Failed") for each in status.get("conditions", [])) or "deletionTimestamp" in meta:
            return
        pods = [pod for pod in self.api.all(PODS) if any(one["uid"] == meta["uid"] for one in pod["metadata"].get("ownerReferences", []))]
        active = [pod for pod in pods if pod["status"].get("phase") not in ("Succeeded", "Failed")]
        ended = {phase: [pod for pod in pods if pod["status"].get("phase") == phase] for phase in ("Succeeded", "Failed")}
        status |= {"active": len(active), "ready": sum(pod["status"].get("phase") == "Running" for pod in pods)}
        status |= {"succeeded": len(ended["Succeeded"]), "failed": len(ended["Failed"])}
        if spec.get("suspend"):
            status.pop("startTime", None)
            self._end_pods(active)
        else:
            status.setdefault("startTime", now())
            self._go_on(job, pods, active, ended)
        if repr(status) != before:
            self._write(JOBS, job)

    def _go_on(self, job: Document, pods: list[Document], active: list[Document], ended: dict[str, list[Document]]) -> None:
        spec, status = job["spec"], job["status"]
        wanted = spec.get("completions", 1)
        started = datetime.fromisoformat(status["startTime"].replace("Z", "+00:00"))
        limit = spec.get("activeDeadlineSeconds")
        late = limit is not None and (datetime.now(timezone.utc) - started).total_seconds() >= limit
        if late or ended["Failed"]:
            self._end_pods(active)
            if not active:
                reason = "DeadlineExceeded" if late else "BackoffLimitExceeded"
                self._conclude(job, "Failed", reason)
        elif len(ended["Succeeded"]) >= wanted:
            self._conclude(job, "Complete", "CompletionsReached")
            status["completionTime"] = now()
        else:
            there = {pod["metadata"]["labels"].get(INDEX) for pod in pods}
            for index in range(spec.get("parallelism", 1)):
                if str(index) not in there:
                    self._make_pod(job, index)

    def _conclude(self, job: Document, kind: str, reason: str) -> None:
        job["status"]["active"] = 0
        job["status"].setdefault("conditions", []).append(
            {"type": kind, "status": "True", "reason": reason, "message": reason, "lastTransitionTime": now()}
        )

    def _make_pod(self, job: Document, index: int) -> None:
        template, name = job["spec"]["template"], job["metadata"]["name"]
        labels = {**template.get("metadata", {}).get("labels", {}), INDEX: str(index)}
        owner = {"apiVersion": "batch/v1", "kind": "Job", "name": name, "uid": job["metadata"]["uid"], "controller": True}
        pod = {
            "metadata": {"name": f"{name}-{index}", "labels": labels, "annotations": {INDEX: str(index)}, "ownerReferences": [owner]},
            "spec": template["spec"],
            "status": {"phase": "Pending"},
        }
        self.api.put(PODS, pod, namespace=job["metadata"]["namespace"])

    def _end_pods(self, pods: list[Document]) -> None:
        for pod in pods:
            found = self.api.objects[PODS].get((pod["metadata"]["namespace"], pod["metadata"]["name"]))
            if found is not None and "deletionTimestamp" not in found["metadata"]:
                self.api.delete(PODS, found, propagation="Background", grace=None)

    # -- scheduler and kubelet ------------------------------------------------------------------------------------------------------

    def _pod(self, pod: Document) -> None:
        uid = pod["metadata"]["uid"]
        process = self.processes.get(uid)
        if process is None:
            if pod["status"]["phase"] == "Pending" and "deletionTimestamp" not in pod["metadata"]:
                self._place(pod)
            return
        if uid in self._kill_at and time.monotonic() > self._kill_at[uid] and process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        if process.poll() is None or pod["status"]["phase"] in ("Succeeded", "Failed"):
            return
        code = process.returncode if process.returncode >= 0 else 128 - process.returncode
        began = pod["status"]["containerStatuses"][0]["state"]["running"]["startedAt"]
        past = {"exitCode": code, "reason": "Completed" if code == 0 else "Error", "startedAt": began, "finishedAt": now()}
        pod["status"]["phase"] = "Succeeded" if code == 0 else "Failed"
        pod["status"]["containerStatuses"] = [{"name": pod["spec"]["containers"][0]["name"], "state": {"terminated": past}}]
        self._write(PODS, pod)
        if "deletionTimestamp" in pod["metadata"]:
            self.api.remove(PODS, (pod["metadata"]["namespace"], pod["metadata"]["name"]))

    def _place(self, pod: Document) -> None:
        asks = _gpus(pod)
        for each in self.api.all(NODES):
            name = each["metadata"]["name"]
            held = sum(
                _gpus(other)
                for other in self.api.all(PODS)
                if other["spec"].get("nodeName") == name and other["status"]["phase"] not in ("Succeeded", "Failed")
            )
            if int(each["status"]["allocatable"].get("nvidia.com/gpu", 0)) - held >= asks:
                self._start(pod, name)
                return
        message = f"0/{len(self.api.all(NODES))} nodes are available: {len(self.api.all(NODES))} Insufficient nvidia.com/gpu."
        told = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": message}
        if not pod["status"].get("conditions"):
            pod["status"]["conditions"] = [{**told, "lastTransitionTime": now()}]
            self._write(PODS, pod)

    def _start(self, pod: Document, name: str) -> None:
        container = pod["spec"]["containers"][0]
        words = container["command"]
        argv = words[words.index("run") + 2 :] if "run" in words else words  # behind ``run`` stands what kind of program it is
        env = {"PATH": os.environ["PATH"], **{each["name"]: each["value"] for each in container.get("env", []) if "value" in each}}
        argv = [word.replace("$$", "$") for word in argv]
        process = subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=env, start_new_session=True)
        uid = pod["metadata"]["uid"]
        self.processes[uid], self.output[uid] = process, []
        reader = threading.Thread(target=self._read, args=(uid, process), daemon=True)
        reader.start()
        self._readers.append(reader)
        pod["spec"]["nodeName"] = name
        bound = {"type": "PodScheduled", "status": "True", "lastTransitionTime": now()}
        pod["status"] = {
            "phase": "Running",
            "startTime": now(),
            "conditions": [bound],
            "containerStatuses": [{"name": container["name"], "ready": True, "state": {"running": {"startedAt": now()}}}],
        }
        self._write(PODS, pod)

    def _read(self, uid: str, process: "subprocess.Popen[bytes]") -> None:
        assert process.stdout is not None
        with process.stdout:
            for line in process.stdout:
                at = datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%S.%f000Z").encode()
                self.output[uid].append(at + b" " + line.rstrip(b"\n") + b"\n")

    def _log(self, container: str, pod: Document) -> bytes:
        if container not in ("", pod["spec"]["containers"][0]["name"]):
            return b""
        return b"".join(self.output.get(pod["metadata"]["uid"], []))

    def _deleting(self, pod: Document, grace: int | None) -> bool:
        """SIGTERM now, SIGKILL after the grace; whether the pod is gone at once."""
        process = self.processes.get(pod["metadata"]["uid"])
        if process is None or process.poll() is not None:
            return True
        seconds = grace if grace is not None else pod["spec"].get("terminationGracePeriodSeconds", 30)
        self._kill_at[pod["metadata"]["uid"]] = time.monotonic() + seconds
        os.killpg(process.pid, signal.SIGTERM)
        return False

    def _write(self, collection: str, changed: Document) -> None:
        """Write back, unless it was deleted meanwhile; metadata are not ours to change."""
        meta = changed["metadata"]
        found = self.api.objects[collection].get((meta.get("namespace"), meta["name"]))
        if found is not None and found["metadata"]["uid"] == meta["uid"]:
            self.api.put(
                collection, {**found, "spec": changed["spec"] if collection == PODS else found["spec"], "status": changed["status"]}
            )


def node(name: str, gpus: int, product: str, **labels: str) -> Document:
    """A ready node."""
    room = {"cpu": "64", "memory": "512Gi", "pods": "110", **({"nvidia.com/gpu": str(gpus)} if gpus else {})}
    return {
        "kind": "Node",
        "metadata": {"name": name, "labels": {"nvidia.com/gpu.product": product, **labels} if gpus else dict(labels)},
        "spec": {},
        "status": {
            "capacity": room,
            "allocatable": room,
            "conditions": [{"type": "Ready", "status": "True", "lastTransitionTime": now()}],
        },
    }


def _gpus(pod: Document) -> int:
    resources: Any = pod["spec"]["containers"][0].get("resources", {})
    return int(resources.get("limits", resources.get("requests", {})).get("nvidia.com/gpu", 0))
