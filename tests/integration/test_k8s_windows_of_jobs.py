"""Time windows on a real control plane as a scientist meets them, with the controller that switches the nodes."""

import secrets
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import msgspec
import pytest

from gpuctl.clusters.kubernetes.cluster import KubernetesCluster, build
from gpuctl.clusters.kubernetes.names import POOL_SCHEDULES
from gpuctl.controllers.manifests.definition import definition
from gpuctl.kube.errors import NotFound
from gpuctl.kube.resources import Resource
from gpuctl.model.ask import JobQuery, Submission
from gpuctl.model.job import Code, Job, State
from gpuctl.model.spec import JobSpec
from gpuctl.pool.direct import DirectPool
from gpuctl.pool.members import Member, Members
from tests.integration.control_plane import ControlPlane
from tests.integration.fake_nodes import FakeNodes

pytest.importorskip("prometheus_client", reason="the extra controllers is not installed")

CRDS = Resource("apiextensions.k8s.io", "v1", "customresourcedefinitions", "CustomResourceDefinition", namespaced=False)
PATIENCE = 90.0
POOL = "windows-of-jobs"


def eventually(look: Callable[[], Any]) -> Any:
    """The first true answer."""
    ends = time.monotonic() + PATIENCE
    while not (answer := look()):
        assert time.monotonic() < ends, "waited in vain"
        time.sleep(0.2)
    return answer


@pytest.fixture
def plane(alpha: ControlPlane, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[ControlPlane]:
    for name in ("STATE", "CONFIG", "CACHE", "DATA"):
        monkeypatch.setenv(f"XDG_{name}_HOME", str(tmp_path / name.lower()))
    api, body = alpha.api(), definition()
    api.patch(CRDS.path(name=body["metadata"]["name"]), body, dict, kind="apply", force=True)

    def served() -> bool:
        try:
            api.list(POOL_SCHEDULES.path(), dict)
        except NotFound:
            return False
        return True

    eventually(served)
    with FakeNodes(api, POOL, 2, labels={"lab.example/pool": POOL}):
        yield alpha


class Lab:
    """Two teams' namespaces, a schedule, and the controller."""

    def __init__(self, plane: ControlPlane, tmp_path: Path) -> None:
        self.plane, self.tmp_path = plane, tmp_path
        self.clusters = {team: self._cluster(team) for team in ("team-a", "team-b")}
        self.log = tmp_path / "controller.log"
        (tmp_path / "work").mkdir()

    def _cluster(self, team: str) -> KubernetesCluster:
        namespace = self.plane.namespace(f"{POOL}-{team}")
        self.plane.kubectl("label", "namespace", namespace, f"gpuctl.io/team={team}", "--overwrite")
        options = {"ctx": self.plane.name, "kubeconfig": str(self.plane.kubeconfig), "namespace": namespace, "engine": "job"}
        return build("lab", options)

    def pool(self, team: str) -> DirectPool:
        return DirectPool(Members([Member(cluster=self.clusters[team], name="lab", kind="kubernetes")], deadline=60.0), user="anna")

    def schedule(self, *, ends_in: float) -> None:
        """team-a's since an hour ago, and for so many minutes; then team-b's."""
        now = datetime.now(timezone.utc)

        def cron(at: datetime) -> str:
            return f"{at.minute} {at.hour} * * *"

        drain = {"notify": "10m", "lead": "0s", "grace": "5s"}
        window = {"name": "day", "owner": "team-a", "start": cron(now - timedelta(hours=1)), "drain": drain}
        window["end"] = cron(now + timedelta(minutes=ends_in))
        spec = {"pool": {"nodeSelector": {"lab.example/pool": POOL}}, "timeZone": "UTC", "defaultOwner": "team-b", "windows": [window]}
        body = {"apiVersion": "gpuctl.io/v1alpha1", "kind": "PoolSchedule", "metadata": {"name": POOL}, "spec": spec}
        self.plane.api().patch(POOL_SCHEDULES.path(name=POOL), body, dict, kind="apply", force=True)

    def controller(self) -> "subprocess.Popen[bytes]":
        words = ["controller", "windows", "--context", self.plane.name, "--kubeconfig", str(self.plane.kubeconfig), "--listen", "none"]
        self.plane.namespace("gpuctl-system")
        with self.log.open("wb") as log:
            return subprocess.Popen([sys.executable, "-m", "gpuctl", *words], stdout=log, stderr=log)

    def submission(self, **spec: Any) -> Submission:
        patch = msgspec.json.encode({"metadata": {"annotations": {"fake/run-seconds": "-1"}}}).decode()
        return Submission(
            spec=JobSpec(kind="command", command=("true",), pod_patch=patch, **{"gpus": 8, "nodes": 1, **spec}),
            base_name="job",
            request_id=secrets.token_hex(8),
            environment={},
            code=Code(workdir=str(self.tmp_path / "work")),
        )

    def job(self, team: str, name: str) -> Job:
        return self.clusters[team].job(name)


@pytest.fixture
def lab(plane: ControlPlane, tmp_path: Path) -> Iterator[Lab]:
    made = Lab(plane, tmp_path)
    yield made
    for cluster in made.clusters.values():
        plane.kubectl("-n", cluster._around.namespace, "delete", "jobs", "--all", "--wait=false")
        cluster.close()
    plane.kubectl("delete", "poolschedules", "--all")


@pytest.mark.timeout(600)
def test_a_job_runs_in_its_window_is_cut_at_its_end_and_the_next_owners_starts(lab: Lab) -> None:
    lab.schedule(ends_in=90)
    (found,) = lab.clusters["team-a"].schedules().items
    assert len(found.nodes) == 2
    assert found.notes[0].startswith("nobody switches 2 of its 2 nodes")
    controller = lab.controller()
    try:
        eventually(lambda: all(node.owner == "team-a" for node in lab.clusters["team-a"].nodes().items if node.name.startswith(POOL)))
        (found,) = lab.clusters["team-a"].schedules().items
        assert (found.notes, found.problems) == ((), ())
        ours = lab.pool("team-a").submit(lab.submission())
        assert ours.notes[0].startswith("will be cut at ")
        assert ": the node goes to team-b; " in ours.notes[0]
        theirs = lab.pool("team-b").submit(lab.submission())
        assert "nodes belong to team-a, can start at " in theirs.sentence
        running = eventually(lambda: job if (job := lab.job("team-a", ours.job.name)).state is State.RUNNING else None)
        assert running.ends_by is not None
        (waiting,) = lab.clusters["team-b"].jobs(JobQuery()).items
        assert waiting.reason is not None
        assert waiting.reason.code == "window"

        lab.schedule(ends_in=-1)  # the window is made to end now
        cut = eventually(lambda: job if (job := lab.job("team-a", ours.job.name)).final else None)
        assert cut.state is State.CUT, lab.log.read_text()
        answer = lab.clusters["team-a"].explain(ours.job.name)
        assert answer.reason.code == "window"
        assert "its GPUs went to team-b" in str(answer.reason.sentence)
        (listed,) = lab.clusters["team-a"].jobs(JobQuery()).items
        assert listed.state is State.CUT
        eventually(lambda: lab.job("team-b", theirs.job.name).state is State.RUNNING)
    finally:
        controller.terminate()
        controller.wait()
