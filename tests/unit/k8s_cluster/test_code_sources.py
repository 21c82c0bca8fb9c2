"""Code that does not travel with the job: by a volume, whose pod is a shell of this machine, and from a repository."""

import hashlib
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import msgspec
import pytest

from gpuctl.base.errors import ConflictError, GpuctlError, InvalidInput, NotFoundError, UnavailableError, UsageError
from gpuctl.clusters.kubernetes import names
from gpuctl.clusters.kubernetes.cluster import KubernetesCluster
from gpuctl.clusters.kubernetes.code import onvolume
from gpuctl.clusters.kubernetes.manifests.render import GIT_IMAGE
from gpuctl.clusters.kubernetes.streams import copy, volumepod
from gpuctl.model.ask import Submission
from gpuctl.model.job import Code
from gpuctl.model.spec import ArraySpec, GitSource
from tests.fakes.kube_api import ENGINES, FakeApi, Refusal
from tests.unit.k8s_streams.container import Containers, pod

JOBS, PODS, SECRETS, CLAIMS = "/apis/batch/v1/jobs", "/api/v1/pods", "/api/v1/secrets", "/api/v1/persistentvolumeclaims"
Make = Callable[..., Submission]
HOUR = 3600


class VolumePods:
    """Pods of volumes run at once; ``opened`` counts them."""

    def __init__(self, api: FakeApi) -> None:
        self.api = api
        self.opened = 0

    def __call__(self, method: str, path: str) -> None:
        name = path.rpartition("/")[2]
        if method == "GET" and name.startswith("gpuctl-files-"):
            for pod in self.api.all(PODS):
                if pod["metadata"]["name"] == name and pod.get("status", {}).get("phase") != "Running":
                    self.opened += 1
                    self.api.put(PODS, {**pod, "status": {"phase": "Running"}})


@pytest.fixture
def containers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Containers:
    """Programs that are to run in the volume's pod run here."""
    (tmp_path / "pod").mkdir()
    made = Containers(tmp_path / "pod")
    monkeypatch.setattr(copy, "exec_", made.start)
    return made


@pytest.fixture
def volume(api: FakeApi, containers: Containers, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The directory that is the volume ``data``."""
    claim("data", "ReadWriteMany", api)
    api.trouble = VolumePods(api)
    monkeypatch.setattr(volumepod, "_POLL_S", 0.005)
    containers.change = lambda argv: [str(containers.work) if word == volumepod.ROOT else word for word in argv]
    return containers.work


def claim(name: str, mode: str, api: FakeApi) -> None:
    api.put(
        CLAIMS,
        {"metadata": {"name": name}, "spec": {"accessModes": [mode]}, "status": {"phase": "Bound", "accessModes": [mode]}},
        namespace="ml",
    )


def archives(volume: Path) -> list[str]:
    directory = volume / ".gpuctl" / "code"
    return sorted(each.name for each in directory.iterdir()) if directory.exists() else []


def large(submission: Submission) -> Submission:
    """The same, with more code than goes with a job."""
    (Path(submission.code.workdir) / "weights").write_bytes(os.urandom(8 << 20))
    return submission


def unpacking(job: dict[str, Any]) -> dict[str, Any]:
    return job["spec"]["template"]["spec"]["initContainers"][0]


def test_large_code_is_refused_with_both_ways_and_goes_by_a_volume(
    api: FakeApi, cluster: KubernetesCluster, submission: Make, volume: Path
) -> None:
    with pytest.raises(UsageError) as caught:
        cluster.launch(large(submission()))
    assert caught.value.code == "code-too-large"
    assert "--code-volume NAME" in (caught.value.hint or "")
    assert "--git URL@REF" in (caught.value.hint or "")
    submitted = cluster.launch(submission(code_volume="data"))
    (name,) = archives(volume)
    assert name == hashlib.sha256((volume / ".gpuctl" / "code" / name).read_bytes()).hexdigest() + ".tar.gz"
    assert submitted.notes[-1].startswith("code: 2 files, 8")
    (made,) = api.all(JOBS)
    env = {each["name"]: each["value"] for each in unpacking(made)["env"]}
    assert env == {"GPUCTL_POD_CODE": name.removesuffix(".tar.gz"), "GPUCTL_POD_ARCHIVE": name}
    (mount,) = [each for each in unpacking(made)["volumeMounts"] if each["name"] == "volume-data"]
    assert mount == {"name": "volume-data", "mountPath": "/gpuctl/code-volume", "subPath": ".gpuctl/code", "readOnly": True}
    assert api.all(PODS) == [], "the pod that took the upload is gone"
    with pytest.raises(ConflictError) as mounted:
        cluster.delete_volume("data")
    assert mounted.value.code in ("volume-mounted", "volume-not-ours")
    assert cluster.volumes().items[0].mounted_by == (submitted.job.name,)


def test_it_is_sent_once_and_verified_each_time(cluster: KubernetesCluster, submission: Make, volume: Path) -> None:
    cluster.launch(large(submission(code_volume="data")))
    (name,) = archives(volume)
    archive = volume / ".gpuctl" / "code" / name
    os.utime(archive, (HOUR, HOUR))
    inode = archive.stat().st_ino
    again = cluster.launch(submission(code_volume="data"))
    assert again.notes[-1] == "code: 2 files, on volume data already"
    assert archive.stat().st_ino == inode
    assert archive.stat().st_mtime > HOUR, "it is in use"
    content = archive.read_bytes()
    archive.write_bytes(content[:-1] + b"x")  # damaged there
    repaired = cluster.launch(submission(code_volume="data"))
    assert "sent to volume data" in repaired.notes[-1]
    assert archive.read_bytes() == content
    assert archives(volume) == [name]


DAY = 24 * HOUR


def aged(volume: Path, name: str, days: float) -> str:
    """A file among the archives that was last used so many days ago."""
    path = volume / ".gpuctl" / "code" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"code")
    when = time.time() - days * DAY
    os.utime(path, (when, when))
    return name


def used_archive(api: FakeApi, job: str) -> str:
    (made,) = [each for each in api.all(JOBS) if each["metadata"]["labels"]["gpuctl.io/job"] == job]
    return str(made["metadata"]["annotations"]["gpuctl.io/code-archive"])


def test_archives_that_nobody_uses_any_more_go_with_a_later_submit(
    api: FakeApi, cluster: KubernetesCluster, submission: Make, volume: Path
) -> None:
    first = cluster.launch(submission(code_volume="data"))
    waiting = used_archive(api, first.job.name)
    assert archives(volume) == [waiting]
    aged(volume, waiting, 90)  # its job is still there: it may have waited all the time
    old, young = aged(volume, f"{'a' * 64}.tar.gz", 32), aged(volume, f"{'b' * 64}.tar.gz", 29)
    broken, under_way = aged(volume, ".part-0123456789ab", 3), aged(volume, ".part-ba9876543210", 0.5)
    foreign, left = aged(volume, "notes.txt", 400), aged(volume, f".old-{'c' * 64}.tar.gz", 1)
    submitted = cluster.launch(large(submission(code_volume="data")))
    newest = used_archive(api, submitted.job.name)
    assert f"code: removed 1 archive from volume data, unused for {onvolume.UNUSED_DAYS} days" in submitted.notes
    assert set(archives(volume)) == {waiting, young, under_way, foreign, left.removeprefix(".old-"), newest}
    assert {old, broken} & set(archives(volume)) == set()


def test_nothing_is_removed_where_not_every_job_may_be_seen(
    api: FakeApi, cluster_of: Callable[..., KubernetesCluster], submission: Make, volume: Path
) -> None:
    jobsets = ("jobset.x-k8s.io", "v1alpha2")
    api.groups = {**api.groups, jobsets: ENGINES[jobsets]}
    pods = api.trouble
    assert pods is not None

    def trouble(method: str, path: str) -> None:
        if method == "GET" and "/jobsets" in path:
            raise Refusal(403, "Forbidden", 'User "anna" cannot list resource "jobsets" in API group "jobset.x-k8s.io"')
        pods(method, path)

    api.trouble = trouble
    old = aged(volume, f"{'a' * 64}.tar.gz", 365)
    cluster_of(engine="job").launch(submission(code_volume="data"))
    assert old in archives(volume)


def test_an_archive_that_is_taken_into_use_while_others_are_cleared_stays(volume: Path, containers: Containers) -> None:
    name = aged(volume, f"{'a' * 64}.tar.gz", 365)
    gone = aged(volume, f"{'b' * 64}.tar.gz", 365)
    there = containers.change
    # Between the first look and the second another submit marks it.
    touched = f'mv -f "$each" ".old-$each" && {{ [ "$each" != {name} ] || touch ".old-$each"; }}'
    containers.change = lambda argv: [word.replace('mv -f "$each" ".old-$each"', touched) for word in there(argv)]
    remote = copy.Remote(cast("Any", None), pod("gpuctl-files-1"), what="volume data", root=volumepod.ROOT)
    assert remote.prune(".gpuctl/code", days=30, used=[]) == [gone]
    assert archives(volume) == [name]
    assert not remote.touch(f".gpuctl/code/{gone}")
    assert remote.touch(f".gpuctl/code/{name}")


def test_an_upload_that_breaks_leaves_no_job_and_no_archive(
    api: FakeApi, cluster: KubernetesCluster, submission: Make, volume: Path, containers: Containers
) -> None:
    there = containers.change
    containers.change = lambda argv: ["false"] if any("tar -xf" in word for word in argv) else there(argv)
    with pytest.raises(GpuctlError) as caught:
        cluster.launch(large(submission(code_volume="data")))
    assert caught.value.code == "copy-failed"
    # What arrives is not what was sent.
    damage = "tar -xf - && for each in .part-*; do echo x >>$each; done"
    containers.change = lambda argv: [word.replace("tar -xf -", damage) for word in there(argv)]
    with pytest.raises(GpuctlError) as caught:
        cluster.launch(submission(code_volume="data"))
    assert (caught.value.code, archives(volume)) == ("code-not-stored", [])
    assert [each for kind in (JOBS, SECRETS, PODS) for each in api.all(kind)] == []


def test_a_job_that_cannot_be_made_after_the_upload_leaves_nothing_but_the_archive(
    api: FakeApi, cluster: KubernetesCluster, submission: Make, volume: Path
) -> None:
    pods = api.trouble
    assert pods is not None

    def trouble(method: str, path: str) -> None:
        if method == "POST" and "/secrets" in path:
            raise Refusal(403, "Forbidden", "no")
        pods(method, path)

    api.trouble = trouble
    with pytest.raises(GpuctlError):
        cluster.launch(submission(code_volume="data"))
    assert [each for kind in (JOBS, SECRETS, PODS) for each in api.all(kind)] == []
    assert len(archives(volume)) == 1


def test_a_volume_that_cannot_take_it_is_told_before_anything_is_sent(
    api: FakeApi, cluster: KubernetesCluster, submission: Make, volume: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    claim("disk", "ReadWriteOnce", api)
    for spec in ({"nodes": 2, "gpus": 8}, {"array": ArraySpec(last=3)}):
        with pytest.raises(UsageError) as caught:
            cluster.launch(submission(code_volume="disk", **spec))
        assert caught.value.code == "code-volume-single"
    with pytest.raises(InvalidInput) as missing:
        cluster.launch(submission(code_volume="dta"))
    assert (missing.value.code, missing.value.problems[0].nearest) == ("volume-missing", "data")
    api.trouble = None  # its pod never runs
    monkeypatch.setitem(volumepod.mounted.__wrapped__.__kwdefaults__, "within", 0.05)  # type: ignore[attr-defined]
    with pytest.raises((UnavailableError, NotFoundError)):
        cluster.launch(submission(code_volume="data"))
    assert api.all(JOBS) == api.all(PODS) == []
    assert cluster.launch(submission()).job.spec.code_volume is None


def test_showing_the_objects_sends_nothing(cluster: KubernetesCluster, submission: Make, volume: Path) -> None:
    objects = cluster.render(submission(code_volume="data"))
    assert unpacking(dict(objects[-1]))["name"] == "gpuctl-code"
    assert archives(volume) == []


COMMIT = "0123456789" * 4


def of_repository(submission: Submission, commit: str | None) -> Submission:
    spec = msgspec.structs.replace(submission.spec, git=GitSource(url="https://git.example/team/code", ref="main"), workdir="sub")
    return msgspec.structs.replace(submission, spec=spec, code=Code(workdir="", commit=commit, branch="main"))


def test_a_repository_is_fetched_by_the_pod(api: FakeApi, cluster: KubernetesCluster, submission: Make) -> None:
    submitted = cluster.launch(of_repository(submission(), COMMIT))
    (made,) = api.all(JOBS)
    fetching = unpacking(made)
    env = {each["name"]: each["value"] for each in fetching["env"]}
    told = {"GPUCTL_POD_GIT": "https://git.example/team/code", "GPUCTL_POD_REF": "main", "GPUCTL_POD_COMMIT": COMMIT}
    assert env == {**told, "GPUCTL_POD_SHARED": "1"}
    assert fetching["image"] == GIT_IMAGE  # the default image has no git
    (secret,) = api.all(SECRETS)
    assert set(secret["data"]) == {"entry.sh", "fetch.sh"}
    assert submitted.notes == ()
    shown = cluster.job(submitted.job.name)
    assert shown.code is not None
    assert (shown.code.commit, shown.spec.git and shown.spec.git.ref, shown.spec.workdir) == (COMMIT, "main", "sub")


def test_a_ray_job_brings_the_part_about_ray_however_its_code_comes(
    api: FakeApi, cluster: KubernetesCluster, submission: Make, volume: Path
) -> None:
    def ray(**spec: Any) -> Submission:
        made = submission(**spec)
        return msgspec.structs.replace(made, spec=msgspec.structs.replace(made.spec, kind="ray"))

    asked = [
        (ray(), {"entry.sh", "ray.sh", "part"}),
        (ray(code_volume="data"), {"entry.sh", "ray.sh"}),
        (of_repository(ray(), COMMIT), {"entry.sh", "fetch.sh", "ray.sh"}),
        (msgspec.structs.replace(ray(), code=Code(workdir="")), {"entry.sh", "ray.sh"}),
    ]
    for each, programs in asked:
        before = {secret["metadata"]["name"] for secret in api.all(SECRETS)}
        cluster.launch(each)
        fresh = [secret for secret in api.all(SECRETS) if secret["metadata"]["name"] not in before]
        assert [set(secret["data"]) for secret in fresh if names.CODE in secret["metadata"]["labels"]] == [programs]


def test_a_commit_that_only_the_pod_knows_is_shown_once_it_has_it(api: FakeApi, cluster: KubernetesCluster, submission: Make) -> None:
    submitted = cluster.launch(of_repository(submission(), None))
    assert submitted.notes == ("https://git.example/team/code cannot be read from here: each node takes what main is when it starts",)
    (job,) = api.all(JOBS)
    template = job["spec"]["template"]
    state = {"terminated": {"exitCode": 0, "reason": "Completed", "message": f"code-commit: {COMMIT}\n"}}
    pod = {
        "metadata": {
            "name": f"{submitted.job.name}-0",
            "labels": template["metadata"]["labels"],
            "ownerReferences": [
                {"apiVersion": "batch/v1", "kind": "Job", "name": submitted.job.name, "uid": job["metadata"]["uid"], "controller": True}
            ],
        },
        "spec": {**template["spec"], "nodeName": "node-0"},
        "status": {
            "phase": "Running",
            "initContainerStatuses": [{"name": "gpuctl-code", "state": state}],
            "containerStatuses": [{"name": "main", "ready": True, "state": {"running": {"startedAt": "2026-03-01T12:00:00Z"}}}],
        },
    }
    assert cluster.job(submitted.job.name).code == Code(workdir="", branch="main")
    api.put(PODS, pod, namespace="ml")
    shown = cluster.job(submitted.job.name).code
    assert shown is not None
    assert shown.commit == COMMIT


def test_a_repository_that_the_pod_cannot_fetch_is_why(api: FakeApi, cluster: KubernetesCluster, submission: Make) -> None:
    submitted = cluster.launch(of_repository(submission(), COMMIT))
    (job,) = api.all(JOBS)
    template = job["spec"]["template"]
    said = "the image has no git to fetch https://git.example/team/code with: use an image with git, or --code-volume"
    past = {"exitCode": 74, "reason": "Error", "message": f"code-unfetched: {said}\n", "finishedAt": "2026-03-01T12:00:00Z"}
    owner = {"apiVersion": "batch/v1", "kind": "Job", "name": submitted.job.name, "uid": job["metadata"]["uid"], "controller": True}
    pod = {
        "metadata": {"name": f"{submitted.job.name}-0", "labels": template["metadata"]["labels"], "ownerReferences": [owner]},
        "spec": {**template["spec"], "nodeName": "node-0"},
        "status": {"phase": "Failed", "initContainerStatuses": [{"name": "gpuctl-code", "state": {"terminated": past}}]},
    }
    api.put(PODS, pod, namespace="ml")
    failed = {"type": "Failed", "status": "True", "reason": "PodFailurePolicy", "lastTransitionTime": "2026-03-01T12:00:01Z"}
    api.put(JOBS, {**job, "status": {"failed": 1, "conditions": [failed]}})
    reason = cluster.explain(submitted.job.name).reason
    assert reason.code == "start-failed"
    assert reason.sentence == f"its code did not get to where it runs: {said}"
    assert reason.command == f"gpuctl rerun {submitted.job.name}"
