"""All of a job's objects or none; one request, one job; what is not ours is left alone."""

import dataclasses
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import msgspec
import pytest

from gpuctl.base import clock
from gpuctl.base.errors import ConflictError, GpuctlError, InvalidInput, NotAllowedError, NotKeptHere, UnavailableError, UsageError
from gpuctl.clusters.kubernetes import inventory, launch, names, record
from gpuctl.clusters.kubernetes.cluster import KubernetesCluster
from gpuctl.model.ask import JobQuery, Submission
from gpuctl.model.job import State
from gpuctl.model.spec import JobSpec
from gpuctl.pool.direct import DirectPool
from gpuctl.pool.members import Member, Members
from gpuctl.port.capability import Capability
from tests.fakes.kube_api import ENGINES, Document, FakeApi, Refusal

JOBS, SECRETS, SERVICES = "/apis/batch/v1/jobs", "/api/v1/secrets", "/api/v1/services"
RAY_JOBS = "/apis/ray.io/v1/rayjobs"
Make = Callable[..., Submission]


def left(api: FakeApi) -> list[str]:
    return [each["metadata"]["name"] for kind in (JOBS, SECRETS, SERVICES) for each in api.all(kind)]


def test_everything_belongs_to_the_job_and_goes_with_it(api: FakeApi, cluster: KubernetesCluster, submission: Make) -> None:
    job = cluster.launch(submission(nodes=2, gpus=8, secrets=("TOKEN",), secret={"TOKEN": "hush"})).job
    (made,) = api.all(JOBS)
    assert made["spec"]["suspend"] is False
    assert record.LAUNCHING not in made["metadata"]["labels"]
    owned = [each for kind in (SECRETS, SERVICES) for each in api.all(kind)]
    assert len(owned) == 3
    assert {each["metadata"]["ownerReferences"][0]["uid"] for each in owned} == {made["metadata"]["uid"]}
    assert "hush" not in str(made)
    api.delete(JOBS, made, propagation="Background", grace=None)
    assert left(api) == []
    assert job.name not in left(api)


def test_what_the_pool_has_looked_at_is_not_read_again_for_a_launch(
    api: FakeApi, cluster: KubernetesCluster, submission: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    def read() -> list[str]:
        paths = [target.partition("?")[0] for method, target in api.requests if method == "GET"]
        api.requests.clear()
        return sorted(path for path in paths if path in ("/api/v1/nodes", "/api/v1/pods"))

    monkeypatch.setattr(inventory, "FRESH_S", 1000.0)
    assert [node.gpus_free for node in cluster.nodes().items] == [8] * 4
    cluster.quota()
    cluster.launch(submission(nodes=2, gpus=8))
    assert read() == ["/api/v1/nodes", "/api/v1/pods"]
    cluster.launch(submission(nodes=2, gpus=8))
    assert read() == ["/api/v1/nodes", "/api/v1/pods"], "who comes next looks again"
    cluster.nodes()
    monkeypatch.setattr(inventory, "FRESH_S", -1.0)
    read()
    cluster.launch(submission(nodes=1, gpus=8))
    assert read() == ["/api/v1/nodes", "/api/v1/pods"], "too old"


@pytest.mark.parametrize("broken", ["POST /secrets", "POST /services", "PATCH /jobs"])
@pytest.mark.parametrize("status", [500, 403, 422])
def test_a_create_that_fails_leaves_nothing(api: FakeApi, cluster: KubernetesCluster, submission: Make, broken: str, status: int) -> None:
    method, part = broken.split()

    def trouble(asked: str, path: str) -> None:
        if asked == method and part in path:
            raise Refusal(status, {500: "InternalError", 403: "Forbidden", 422: "Invalid"}[status], "no")

    api.trouble = trouble
    with pytest.raises(GpuctlError):
        cluster.launch(submission(nodes=2, gpus=8))
    api.trouble = None
    assert left(api) == []


def test_a_create_whose_answer_is_lost_leaves_nothing(
    api: FakeApi, cluster: KubernetesCluster, submission: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    create = api._create

    def lost(path: Any, body: Any, *, dry: bool) -> Any:
        create(path, body, dry=dry)
        if not dry and path.collection == JOBS:
            raise Refusal(504, "Timeout", "etcd took too long")
        return body

    monkeypatch.setattr(api, "_create", lost)
    with pytest.raises(UnavailableError):
        cluster.launch(submission(nodes=2, gpus=8))
    assert left(api) == []


def test_a_job_that_may_leave_no_trace_is_ended_all_the_same(api: FakeApi, cluster: KubernetesCluster, submission: Make) -> None:
    job = cluster.launch(submission(hold=True)).job

    def trouble(asked: str, path: str) -> None:
        if asked == "POST" and "/jobs" in path:
            count = "requested: count/jobs.batch=1, used: count/jobs.batch=9, limited: count/jobs.batch=9"
            raise Refusal(403, "Forbidden", f'jobs.batch "x" is forbidden: exceeded quota: q, {count}')

    api.trouble = trouble
    assert not cluster.stop(job.id).already
    assert left(api) == []


def test_a_priority_that_nothing_there_knows_is_told(cluster_of: Callable[..., KubernetesCluster], submission: Make) -> None:
    (note,) = cluster_of().launch(submission(priority=3)).notes
    assert note == "--priority 3 changes nothing on lab: the profile names no priority-classes= for it"
    assert cluster_of(**{"priority-classes": "0:normal,5:urgent"}).launch(submission(priority=5)).notes == ()


def test_a_process_that_dies_half_way_leaves_nothing_that_runs_or_shows(api: FakeApi, cluster: KubernetesCluster, submission: Make) -> None:
    def trouble(asked: str, path: str) -> None:
        if (asked == "POST" and "/secrets" in path) or asked == "DELETE":
            raise Refusal(500, "InternalError", "the cluster died")

    api.trouble = trouble
    with pytest.raises(GpuctlError):
        cluster.launch(submission())
    api.trouble = None
    (half,) = api.all(JOBS)
    assert half["spec"]["suspend"] is True
    assert half["metadata"]["labels"][record.LAUNCHING] == "true"
    assert cluster.jobs(JobQuery()).items == ()


def test_the_next_submit_of_that_request_takes_its_place(
    api: FakeApi, cluster: KubernetesCluster, submission: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(launch, "PATIENCE_SECONDS", 0.2)
    asked = submission(request="mine")

    def trouble(method: str, path: str) -> None:
        if (method == "POST" and "/secrets" in path) or method == "DELETE":
            raise Refusal(500, "InternalError", "the cluster died")

    api.trouble = trouble
    with pytest.raises(GpuctlError):
        cluster.launch(asked)
    api.trouble = None
    (half,) = api.all(JOBS)
    made = cluster.launch(asked)
    (there,) = api.all(JOBS)
    assert not made.existed
    assert there["metadata"]["uid"] != half["metadata"]["uid"]
    assert there["spec"]["suspend"] is False


def test_what_died_long_ago_is_swept_and_nobody_elses(api: FakeApi, cluster: KubernetesCluster, submission: Make) -> None:
    name = cluster.launch(submission()).job.name
    (whole,) = api.all(JOBS)
    labels = {**whole["metadata"]["labels"], record.LAUNCHING: "true"}
    for half, user, at in (("old", None, "2020-01-01T00:00:00Z"), ("other", "somebody", "2020-01-01T00:00:00Z"), ("new", None, None)):
        meta = {"name": half, "labels": {**labels, **({names.USER: user} if user else {})}, **({"creationTimestamp": at} if at else {})}
        api.put(JOBS, {**whole, "metadata": meta}, namespace="ml")
    assert launch.Intake(cluster._around).sweep() == 1
    assert sorted(each["metadata"]["name"] for each in api.all(JOBS)) == sorted([name, "other", "new"])


def test_ended_jobs_go_at_last_where_no_operator_removes_them(api: FakeApi, cluster: KubernetesCluster, submission: Make) -> None:
    api.groups |= {("ray.io", "v1"): ENGINES["ray.io", "v1"]}
    cluster.launch(submission())
    (whole,) = api.all(JOBS)
    ended = {"jobDeploymentStatus": "Complete", "jobStatus": "SUCCEEDED", "endTime": "2020-01-01T00:00:00Z"}
    recent = {**ended, "endTime": clock.rfc3339(clock.now())}
    for name, user, status in (("old", None, ended), ("other", "somebody", ended), ("new", None, recent), ("lives", None, {})):
        labels = {**whole["metadata"]["labels"], **({names.USER: user} if user else {})}
        meta = {"name": name, "labels": labels, "creationTimestamp": "2019-12-31T00:00:00Z"}
        api.put(RAY_JOBS, {"metadata": meta, "spec": {}, "status": status}, namespace="ml")
    assert launch.Intake(cluster._around).sweep() == 1
    assert sorted(each["metadata"]["name"] for each in api.all(RAY_JOBS)) == ["lives", "new", "other"]


def test_a_name_taken_by_somebody_else_is_left_alone(api: FakeApi, cluster: KubernetesCluster, submission: Make) -> None:
    asked = submission(request="mine")
    taken = names.job_name("train", "mine")
    foreign = api.put(JOBS, {"metadata": {"name": taken, "labels": {"app": "theirs"}}, "spec": {}, "status": {}}, namespace="ml")
    job = cluster.launch(asked).job
    assert job.name == names.job_name("train", "mine", turn=1)
    assert foreign in api.all(JOBS)
    assert cluster.launch(asked).job.id == job.id
    for turn in range(launch.TURNS):
        name = names.job_name("other", "yours", turn=turn)
        api.put(JOBS, {"metadata": {"name": name}, "spec": {}, "status": {}}, namespace="ml")
    with pytest.raises(ConflictError) as caught:
        cluster.launch(submission(name="other", request="yours"))
    assert caught.value.code == "name-taken"


def test_a_service_taken_by_somebody_else_is_left_alone(api: FakeApi, cluster: KubernetesCluster, submission: Make) -> None:
    name = names.job_name("train", "mine")
    foreign = api.put(SERVICES, {"metadata": {"name": name}, "spec": {}}, namespace="ml")
    with pytest.raises(ConflictError):
        cluster.launch(submission(request="mine", nodes=2, gpus=8))
    assert api.all(SERVICES) == [foreign]
    assert api.all(JOBS) == []


def test_two_jobs_share_their_code_and_the_last_takes_it_along(api: FakeApi, cluster: KubernetesCluster, submission: Make) -> None:
    cluster.launch(submission())
    cluster.launch(submission())
    (code,) = api.all(SECRETS)
    assert len(code["metadata"]["ownerReferences"]) == 2
    first, second = api.all(JOBS)
    api.delete(JOBS, first, propagation="Background", grace=None)
    assert len(api.all(SECRETS)) == 1
    api.delete(JOBS, second, propagation="Background", grace=None)
    assert api.all(SECRETS) == []


def test_code_that_was_tampered_with_is_not_run(api: FakeApi, cluster: KubernetesCluster, submission: Make) -> None:
    cluster.launch(submission())
    (code,) = api.all(SECRETS)
    code["data"]["part"] = "dGFtcGVyZWQ="
    api.put(SECRETS, code)
    with pytest.raises(ConflictError) as caught:
        cluster.launch(submission())
    assert caught.value.code == "code-differs"
    assert len(api.all(JOBS)) == 1


def test_many_submits_of_one_request_at_once_make_one_job(
    api: FakeApi, cluster_of: Callable[..., KubernetesCluster], submission: Make
) -> None:
    asked = submission(request="mine", nodes=2, gpus=8)
    clusters = [cluster_of() for _ in range(6)]
    with ThreadPoolExecutor(6) as threads:
        done = list(threads.map(lambda cluster: cluster.launch(asked), clusters))
    assert len({each.job.id for each in done}) == 1
    assert sum(not each.existed for each in done) == 1
    assert len(api.all(JOBS)) == 1


def test_a_cancelled_jobs_request_is_not_run_again(api: FakeApi, cluster: KubernetesCluster, submission: Make) -> None:
    asked = submission(request="mine", hold=True)
    cluster.stop(cluster.launch(asked).job.name)
    again = cluster.launch(asked)
    assert again.existed
    assert again.job.state is State.CANCELLED


def test_a_ray_whose_head_alone_finds_no_room_is_refused_without_a_queue(
    api: FakeApi, cluster: KubernetesCluster, submission: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inventory, "FRESH_S", 0.0)
    api.groups |= {("ray.io", "v1"): ENGINES["ray.io", "v1"]}
    wanted = submission(nodes=1, gpus=1, cpus="0.5")
    asked = msgspec.structs.replace(wanted, spec=msgspec.structs.replace(wanted.spec, kind="ray"))
    for number in range(4):
        container = {"name": "c", "resources": {"requests": {"cpu": "63"}}}
        pod = {"metadata": {"name": f"theirs-{number}"}, "spec": {"nodeName": f"node-{number}", "containers": [container]}}
        api.put("/api/v1/pods", {**pod, "status": {"phase": "Running"}}, namespace="kube-system")
    with pytest.raises(UnavailableError) as caught:
        cluster.launch(asked)
    assert (caught.value.code, caught.value.cause) == ("no-room-now", "without a queue the job's node would hold its GPUs without starting")
    assert "2 cores and 8Gi memory for the head of its Ray beside its nodes, and no node has them free" in caught.value.message
    assert api.all(RAY_JOBS) == []
    api.remove("/api/v1/pods", ("kube-system", "theirs-0"))
    cluster.launch(asked)
    assert len(api.all(RAY_JOBS)) == 1


def test_a_gang_that_does_not_fit_now_is_refused_without_a_queue(api: FakeApi, cluster: KubernetesCluster, submission: Make) -> None:
    pod = {"metadata": {"name": "theirs"}, "spec": {"nodeName": "node-0", "containers": [asks(5)]}, "status": {"phase": "Pending"}}
    api.put("/api/v1/pods", pod, namespace="kube-system")
    with pytest.raises(UnavailableError) as caught:
        cluster.launch(submission(nodes=4, gpus=8))
    assert (caught.value.code, caught.value.message) == ("no-room-now", "cannot submit train to lab now: needs 32 of 32 GPUs, 27 free")
    assert "--wait-for-capacity" in str(caught.value.hint)
    assert left(api) == []
    assert cluster.launch(submission(nodes=3, gpus=8)).job.state is State.QUEUED
    assert cluster.launch(submission(nodes=1, gpus=8)).job.state is State.QUEUED


def asks(gpus: int) -> dict[str, object]:
    return {"name": "main", "resources": {"requests": {"nvidia.com/gpu": str(gpus)}}}


def test_a_queue_takes_what_does_not_fit(api: FakeApi, cluster: KubernetesCluster, submission: Make) -> None:
    api.groups |= ENGINES
    api.put("/apis/kueue.x-k8s.io/v1beta2/localqueues", {"metadata": {"name": "team"}, "spec": {"clusterQueue": "all"}}, namespace="ml")
    api.put(
        "/api/v1/pods",
        {"metadata": {"name": "x"}, "spec": {"nodeName": "node-0", "containers": [asks(8)]}, "status": {"phase": "Running"}},
        namespace="ml",
    )
    done = cluster.launch(submission(nodes=4, gpus=8))
    (made,) = api.all("/apis/jobset.x-k8s.io/v1alpha2/jobsets")
    assert made["spec"]["suspend"] is True
    assert made["metadata"]["labels"][names.KUEUE_QUEUE] == "team"
    assert done.sentence == "submitted to lab, queue team"
    creation = next(body for method, path, body in api.bodies if method == "POST" and path.endswith("/jobsets"))
    assert names.KUEUE_QUEUE not in creation["metadata"]["labels"]


def test_what_never_fits_says_what_is_there(cluster: KubernetesCluster, submission: Make) -> None:
    with pytest.raises(NotAllowedError) as caught:
        cluster.launch(submission(nodes=5, gpus=8))
    assert caught.value.code == "never-fits"
    assert "5x8 asks 40 GPUs" in caught.value.message


def test_a_cluster_that_grows_counts_what_it_may_become(cluster_of: Callable[..., KubernetesCluster], submission: Make) -> None:
    cluster = cluster_of(elastic="H100:64")
    assert cluster.launch(submission(nodes=8, gpus=8)).job.state is State.QUEUED
    with pytest.raises(NotAllowedError):
        cluster.launch(submission(nodes=9, gpus=8))


def test_a_missing_volume_is_named(cluster: KubernetesCluster, submission: Make) -> None:
    from gpuctl.model.spec import VolumeMount

    with pytest.raises(InvalidInput) as caught:
        cluster.launch(submission(volumes=(VolumeMount(name="data"),)))
    assert caught.value.code == "volume-missing"


def test_a_forbidden_view_of_others_pods_is_unknown_not_zero(api: FakeApi, cluster: KubernetesCluster, submission: Make) -> None:
    def trouble(method: str, path: str) -> None:
        if method == "GET" and path.startswith("/api/v1/pods"):
            raise Refusal(
                403, "Forbidden", 'pods is forbidden: User "anna" cannot list resource "pods" in API group "" at the cluster scope'
            )

    api.trouble = trouble
    assert {node.gpus_free for node in cluster.nodes().items} == {None}
    status = cluster.status()
    assert (status.total, status.free, status.largest_shape) == ({"H100": 32}, {}, None)
    done = cluster.launch(submission(nodes=2, gpus=8))
    assert any("unknown" in note for note in done.notes)


def test_waiting_ends_when_an_object_is_deleted_behind_our_back(api: FakeApi, cluster: KubernetesCluster, submission: Make) -> None:
    name = cluster.launch(submission()).job.name
    waiting = iter(cluster.wait([name], stop=threading.Event(), timeout=10))
    timer = threading.Timer(0.3, lambda: api.delete(JOBS, api.all(JOBS)[0], propagation="Background", grace=None))
    timer.start()
    job = next(iter(waiting))
    timer.join()
    assert job.state is State.LOST
    assert job.reason is not None
    assert job.reason.sentence == "its object vanished from the cluster"


def known_for_a_minute(cluster: KubernetesCluster) -> None:
    """Let it believe what the last command left on disk: what was installed a minute ago."""
    around = cluster._around
    around.__dict__["discovery"] = dataclasses.replace(around.discovery, at=around.discovery.at - 60)


JOBSET = ("jobset.x-k8s.io", "v1alpha2")
KUEUE = ("kueue.x-k8s.io", "v1beta2")


def looks(api: FakeApi) -> int:
    """How often it was asked what is installed since this was last asked."""
    count = sum(target.startswith("/apis") and target.strip("/") == "apis" for _, target in api.requests)
    api.requests.clear()
    return count


def test_an_operator_installed_since_is_found_before_it_is_refused(
    api: FakeApi, cluster_of: Callable[..., KubernetesCluster], submission: Make
) -> None:
    cluster = cluster_of(engine="jobset")
    known_for_a_minute(cluster)
    api.groups = {**api.groups, JOBSET: ENGINES[JOBSET]}
    looks(api)
    cluster.launch(submission(gpus=8))
    assert [each["kind"] for each in api.all("/apis/jobset.x-k8s.io/v1alpha2/jobsets")] == ["JobSet"]
    assert looks(api) == 1
    cluster.launch(submission(gpus=8))
    assert looks(api) == 0, "what is there needs no second look"


def test_what_is_really_missing_is_refused_after_one_more_look(
    api: FakeApi, cluster_of: Callable[..., KubernetesCluster], submission: Make
) -> None:
    cluster = cluster_of(engine="jobset")
    known_for_a_minute(cluster)
    looks(api)
    for more in (1, 0):
        with pytest.raises(UsageError) as caught:
            cluster.launch(submission(gpus=8))
        assert (caught.value.code, looks(api)) == ("engine-missing", more)


def test_a_queue_of_a_kueue_installed_since_is_found(api: FakeApi, cluster: KubernetesCluster, submission: Make) -> None:
    assert cluster.plan(submission(gpus=8)).options[0].now
    known_for_a_minute(cluster)
    api.groups = {**api.groups, KUEUE: ENGINES[KUEUE]}
    api.put("/apis/kueue.x-k8s.io/v1beta2/localqueues", {"metadata": {"name": "team"}}, namespace="ml")
    job = cluster.launch(submission(gpus=8, queue="team")).job
    (made,) = api.all(JOBS)
    assert (made["metadata"]["labels"]["kueue.x-k8s.io/queue-name"], job.state) == ("team", State.QUEUED)


def test_an_operator_removed_since_is_done_without(api: FakeApi, cluster_of: Callable[..., KubernetesCluster], submission: Make) -> None:
    plain = dict(api.groups)
    api.groups = {**plain, JOBSET: ENGINES[JOBSET]}
    cluster = cluster_of()
    known_for_a_minute(cluster)
    assert Capability.RETRIES in cluster.capabilities
    api.groups = plain
    cluster.launch(submission(gpus=8))
    assert [each["kind"] for each in api.all(JOBS)] == ["Job"]


def test_retries_are_kept_by_a_jobset_installed_since(api: FakeApi, cluster_of: Callable[..., KubernetesCluster], submission: Make) -> None:
    cluster = cluster_of()
    pool = DirectPool(Members([Member(cluster=cluster, name="lab", kind="kubernetes")], deadline=20.0), user="anna")
    asked = submission(gpus=8, retries=2)
    with pytest.raises(NotKeptHere):
        pool.submit(asked)
    known_for_a_minute(cluster)
    api.groups = {**api.groups, JOBSET: ENGINES[JOBSET]}
    pool.submit(asked)
    (made,) = api.all("/apis/jobset.x-k8s.io/v1alpha2/jobsets")
    assert made["spec"]["failurePolicy"]["maxRestarts"] == 2


def test_a_limit_that_counts_while_the_pods_wait_is_told(
    api: FakeApi, cluster_of: Callable[..., KubernetesCluster], submission: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inventory, "FRESH_S", 0.0)
    trainer = ("trainer.kubeflow.org", "v1alpha1")
    api.groups = {**api.groups, trainer: ENGINES[trainer], JOBSET: ENGINES[JOBSET]}
    meta = {"name": "torch-distributed", "labels": {"trainer.kubeflow.org/framework": "torch"}}
    job = {"name": "node", "template": {"spec": {"backoffLimit": 0}}}
    api.put(
        "/apis/trainer.kubeflow.org/v1alpha1/clustertrainingruntimes",
        {"metadata": meta, "spec": {"template": {"spec": {"replicatedJobs": [job]}}}},
    )

    def notes(engine: str, time: str | None) -> tuple[str, ...]:
        asked = msgspec.structs.replace(submission(), spec=JobSpec(kind="pytorch", script="train.py", gpus=8, time=time))
        return tuple(cluster_of(engine=engine).launch(asked).notes)

    assert notes("trainjob", "1h") == ()  # it starts at once
    for number in range(4):
        pod = {"metadata": {"name": f"theirs-{number}"}, "spec": {"nodeName": f"node-{number}", "containers": [asks(8)]}}
        api.put("/api/v1/pods", {**pod, "status": {"phase": "Running"}}, namespace="kube-system")
    assert notes("trainjob", "1h") == ("lab: --time 1h counts from now on, also while the job waits for room: it is a TrainJob",)
    assert notes("trainjob", None) == ()
    assert notes("jobset", "1h") == ()


@pytest.mark.parametrize(
    ("job", "said"),
    [
        ({"template": {"spec": {}}}, "started again up to 6 times"),
        ({"backoffLimit": 1}, "started again once"),
        ({"backoffLimit": 0}, None),
    ],
)
def test_a_runtime_that_starts_failed_ranks_again_is_told(
    api: FakeApi, cluster_of: Callable[..., KubernetesCluster], submission: Make, job: Document, said: str | None
) -> None:
    trainer = ("trainer.kubeflow.org", "v1alpha1")
    api.groups = {**api.groups, trainer: ENGINES[trainer]}
    template = {"spec": {"replicatedJobs": [{"name": "node", "template": {"spec": job}}]}}
    labels = {"trainer.kubeflow.org/framework": "torch"}
    api.put(
        "/apis/trainer.kubeflow.org/v1alpha1/clustertrainingruntimes",
        {"metadata": {"name": "torch-distributed", "labels": labels}, "spec": {"template": template}},
    )
    asked = msgspec.structs.replace(submission(), spec=JobSpec(kind="pytorch", script="train.py", gpus=8))
    notes = cluster_of(engine="trainjob").launch(asked).notes
    assert [said in note for note in notes] == [True] if said else notes == ()
