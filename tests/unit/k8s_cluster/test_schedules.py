"""Time windows of a cluster: which schedules are obeyed, whose the nodes are, and what that means for a job that is submitted."""

import functools
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler
from typing import Any

import msgspec
import pytest

from gpuctl.base.errors import NotKeptHere
from gpuctl.clusters.kubernetes import rbac
from gpuctl.clusters.kubernetes.cluster import KubernetesCluster
from gpuctl.model.ask import JobQuery, Submission
from gpuctl.model.spec import JobSpec
from gpuctl.policy.windows import view
from gpuctl.pool.direct import DirectPool
from gpuctl.pool.members import Member, Members
from tests.fakes.kube_api import ENGINES, KINDS, FakeApi, Refusal
from tests.fakes.kube_world import JOBS, NODES, node

SCHEDULES = "/apis/gpuctl.io/v1alpha1/poolschedules"
Make = Callable[..., Submission]


@functools.cache
def began() -> datetime:
    """The minute in which the test began."""
    return datetime.now(timezone.utc).replace(second=0, microsecond=0)


@pytest.fixture(autouse=True)
def _the_present() -> None:
    began.cache_clear()


def cron(hours: float) -> str:
    """Every day at the minute that is so many hours from now."""
    at = began() + timedelta(hours=hours)
    return f"{at.minute} {at.hour} * * *"


def schedule(name: str = "night", *, start: float = -1, end: float = 3, **spec: Any) -> dict[str, Any]:
    """team-a's from ``start`` to ``end`` hours from now, else the platform's."""
    window = {"name": "night", "owner": "team-a", "start": cron(start), "end": cron(end), **spec.pop("window", {})}
    return {
        "apiVersion": "gpuctl.io/v1alpha1",
        "kind": "PoolSchedule",
        "metadata": {"name": name, "generation": 1, "annotations": {"kubectl.kubernetes.io/last-applied-configuration": "{}"}},
        "spec": {"pool": {}, "timeZone": "UTC", "defaultOwner": "platform", "windows": [window], **spec},
    }


@pytest.fixture
def api(api: FakeApi) -> FakeApi:
    api.groups = {**KINDS, ("gpuctl.io", "v1alpha1"): [("poolschedules", "PoolSchedule", False)]}
    return api


def own(api: FakeApi, owner: str, *, lends: bool = False, closing: str | None = None, by: str | None = "night", only: str = "") -> None:
    """Mark nodes as a controller does."""
    for each in api.all(NODES):
        if only not in ("", each["metadata"]["name"]):
            continue
        each["metadata"]["labels"] |= {"gpuctl.io/owner-team": owner, **({"gpuctl.io/schedule": by} if by else {})}
        key = "gpuctl.io/lends" if lends else "gpuctl.io/owner"
        taints = [{"key": key, "value": owner, "effect": "NoSchedule"}]
        taints += [{"key": "gpuctl.io/window-closing", "value": closing, "effect": "NoSchedule"}] if closing else []
        each["spec"]["taints"] = taints
        api.put(NODES, each)


def pool(cluster: KubernetesCluster) -> DirectPool:
    return DirectPool(Members([Member(cluster=cluster, name="lab", kind="kubernetes")], deadline=30.0), user="anna")


def test_a_cluster_without_the_crd_has_none(api: FakeApi, cluster: KubernetesCluster) -> None:
    api.groups = dict(KINDS)
    assert (cluster.schedules().items, cluster.schedules().incomplete) == ((), {})


def test_its_nodes_are_those_that_a_controller_marked(api: FakeApi, cluster_of: Callable[..., KubernetesCluster]) -> None:
    api.put(SCHEDULES, schedule())
    own(api, "team-a", only="node-0")
    own(api, "team-a", only="node-1")
    (found,) = cluster_of(team="team-a").schedules().items
    assert (found.name, found.nodes, found.node_count, found.gpus, found.gpu_type) == ("night", ("node-0", "node-1"), 4, 16, "H100")
    assert (found.team, found.problems, found.notes) == ("team-a", (), ())


def test_where_nobody_marked_any_the_selection_counts_and_nobody_switches_them(api: FakeApi, cluster: KubernetesCluster) -> None:
    api.put(SCHEDULES, schedule(pool={"count": 2}))
    (found,) = cluster.schedules().items
    assert len(found.nodes) == 2
    assert found.notes[0].startswith("nobody switches 2 of its 2 nodes (node-")


def test_a_node_that_is_late_is_told_when_what_ran_there_had_its_time(api: FakeApi, cluster: KubernetesCluster) -> None:
    own(api, "platform")
    api.put(SCHEDULES, schedule(start=-1))
    (note,) = cluster.schedules().items[0].notes
    assert note.startswith("nobody has switched 4 of its 4 nodes (node-0, node-1, node-2 and 1 more): they should be team-a's since ")
    patient = {"name": "day", "owner": "platform", "start": cron(-5), "end": cron(-1), "drain": {"policy": "RunToCompletion"}}
    made = schedule(start=-1)
    made["spec"]["windows"].append(patient)
    api.put(SCHEDULES, made)
    assert cluster.schedules().items[0].notes == ()


def test_nonsense_by_hand_is_not_obeyed_and_the_rest_goes_on(api: FakeApi, cluster: KubernetesCluster) -> None:
    api.put(SCHEDULES, schedule("good", pool={"nodeSelector": {"kubernetes.io/hostname": "node-9"}}))
    broken = schedule("mars")
    broken["spec"] |= {"timeZone": "Mars/Olympus", "windows": [{"name": "night", "owner": "a", "start": "0 0 31 2 *"}], "colour": "red"}
    api.put(SCHEDULES, broken)
    api.put(SCHEDULES, {"metadata": {"name": "nothing"}, "spec": "nonsense", "status": ["what"]})
    api.put(SCHEDULES, {"metadata": {"name": "empty"}})
    found = {each.name: each for each in cluster.schedules().items}
    assert sorted(found) == ["empty", "good", "mars", "nothing"]
    assert (found["good"].problems, found["good"].obeyed is not None) == ((), True)
    text = "\n".join(found["mars"].problems)
    for part in ("spec.timeZone", "spec.windows[0].start", "spec.windows[0].end", "colour"):
        assert part in text
    assert found["nothing"].problems
    assert found["empty"].problems
    assert all(each.nodes == () for name, each in found.items() if name != "good")


def test_overlaps_are_found_unless_a_controller_has_looked_already(api: FakeApi, cluster: KubernetesCluster) -> None:
    made = schedule()
    made["spec"]["windows"].append({"name": "early", "owner": "team-b", "start": cron(1), "duration": "1h"})
    api.put(SCHEDULES, made)
    (problem,) = cluster.schedules().items[0].problems
    assert "overlap with equal priority" in problem


def test_a_refused_schedule_and_a_rival_are_ignored(api: FakeApi, cluster: KubernetesCluster) -> None:
    api.put(SCHEDULES, {**schedule("a"), "metadata": {"name": "a", "creationTimestamp": "2026-01-02T00:00:00Z"}})
    api.put(SCHEDULES, {**schedule("b"), "metadata": {"name": "b", "creationTimestamp": "2026-01-01T00:00:00Z"}})
    refused = {"conditions": [{"type": "Accepted", "status": "False", "reason": "Overlaps", "message": "selects nodes of b: node-0"}]}
    api.put(SCHEDULES, {**schedule("c"), "status": refused})
    found = {each.name: each for each in cluster.schedules().items}
    assert (len(found["b"].nodes), found["b"].problems) == (4, ())
    assert found["a"].problems == ("it selects nodes of b, which is older",)
    assert found["c"].problems == ("the window controller refuses it: selects nodes of b: node-0",)


@pytest.mark.parametrize("hidden", ["poolschedules", "nodes"])
def test_what_may_not_be_read_is_unknown_and_not_none(api: FakeApi, cluster: KubernetesCluster, hidden: str) -> None:
    api.put(SCHEDULES, schedule())

    def forbid(method: str, path: str) -> None:
        if path.split("?", maxsplit=1)[0].endswith(f"/{hidden}"):
            raise Refusal(403, "Forbidden", f'{hidden} is forbidden: User "anna" cannot list resource "{hidden}"')

    api.trouble = forbid
    listing = cluster.schedules()
    assert hidden in listing.incomplete["lab"]
    assert [each.node_count for each in listing.items] == ([] if hidden == "poolschedules" else [None])


def test_marks_of_nodes(api: FakeApi, cluster: KubernetesCluster) -> None:
    own(api, "team-a", only="node-0")
    own(api, "team-a", lends=True, only="node-1")
    own(api, "team-a", closing="platform", only="node-2")
    found = {each.name: each for each in cluster.nodes().items}
    assert [(each.owner, each.lends, each.closing, each.schedule, each.ready) for each in found.values()] == [
        ("team-a", False, None, "night", True),
        ("team-a", True, None, "night", True),
        ("team-a", False, "platform", "night", True),
        (None, False, None, None, True),
    ]


def test_a_job_that_will_be_cut_says_so(api: FakeApi, cluster_of: Callable[..., KubernetesCluster], submission: Make) -> None:
    own(api, "team-a")
    api.put(SCHEDULES, schedule(end=3))
    submitted = pool(cluster_of(team="team-a")).submit(submission(gpus=8))
    (note,) = submitted.notes
    assert note.startswith("will be cut at ")
    assert " UTC, in 2h5" in note or " UTC, in 3h" in note
    assert ": the node goes to platform; --time 2h5" in note
    assert note.endswith("; --requeue puts it back in line then")
    assert pool(cluster_of(team="team-a")).submit(submission(gpus=8, time="1h")).notes == ()


def test_anothers_nodes_are_told_with_the_instant_they_open(
    api: FakeApi, cluster_of: Callable[..., KubernetesCluster], submission: Make
) -> None:
    own(api, "platform")
    api.put(SCHEDULES, schedule(start=3, end=8))
    lab = pool(cluster_of(team="team-a"))
    (option,) = lab.plan(submission(gpus=8)).options
    assert (option.now, option.at) == (False, began() + timedelta(hours=3))
    assert option.reason is not None
    assert option.reason.code == "window"
    assert option.reason.sentence == f"needs 1x8, 4 of 4 nodes belong to platform, can start at {_clock(3)}"
    submitted = lab.submit(submission(gpus=8))
    assert submitted.sentence.startswith(f"queued on lab: needs 1x8, 4 of 4 nodes belong to platform, can start at {_clock(3)}, in ")


def _clock(hours: float) -> str:
    at = began() + timedelta(hours=hours)
    day = "" if at.date() == datetime.now(timezone.utc).date() else f"{at:%a} "
    return f"{day}{at:%H:%M} UTC"


def test_a_closing_node_names_the_next_owner(api: FakeApi, cluster_of: Callable[..., KubernetesCluster], submission: Make) -> None:
    own(api, "team-a", closing="platform")
    api.put(SCHEDULES, schedule(start=-1, end=0.25))
    (option,) = pool(cluster_of(team="team-a")).plan(submission(gpus=8)).options
    assert option.reason is not None
    assert f"4 of 4 nodes are closed: they go to platform at {_clock(0.25)}, can start at " in str(option.reason.sentence)
    (theirs,) = pool(cluster_of(team="platform")).plan(submission(gpus=8)).options
    assert (theirs.now, theirs.at) == (False, began() + timedelta(minutes=15))


def test_idle_nodes_are_lent_to_jobs_that_can_be_stopped(
    api: FakeApi, cluster_of: Callable[..., KubernetesCluster], submission: Make
) -> None:
    api.groups = {**api.groups, ("jobset.x-k8s.io", "v1alpha2"): [("jobsets", "JobSet", True)]}
    own(api, "team-a", lends=True)
    api.put(SCHEDULES, schedule(window={"borrow": {"idle": True}}))
    lab = pool(cluster_of(team="team-b"))
    assert not lab.plan(submission(gpus=8)).options[0].now
    assert lab.plan(submission(gpus=8, requeue=True)).options[0].now


def test_fit_window_starts_where_it_ends_in_time_and_nowhere_else(
    api: FakeApi, cluster_of: Callable[..., KubernetesCluster], submission: Make
) -> None:
    own(api, "team-a")
    api.put(SCHEDULES, schedule(end=3))
    lab = pool(cluster_of(team="team-a"))
    assert lab.submit(submission(gpus=8, time="2h", fit_window=True)).notes == ()
    with pytest.raises(NotKeptHere) as caught:
        lab.submit(submission(gpus=8, time="6h", fit_window=True))
    assert caught.value.code == "not-kept-here"
    assert "too soon for 6h" in str(caught.value.cause)
    loose = lab.submit(
        Submission(
            **{
                **{name: getattr(submission(gpus=8, time="6h", fit_window=True), name) for name in Submission.__struct_fields__},
                "best_effort": True,
            }
        )
    )
    assert any("--fit-window is dropped" in note for note in loose.notes)


def test_a_job_that_has_to_fit_keeps_off_nodes_that_are_cut_earlier(
    api: FakeApi, cluster_of: Callable[..., KubernetesCluster], submission: Make
) -> None:
    for number in range(4):
        own(api, "team-a", by="short" if number else "long", only=f"node-{number}")
    api.put(SCHEDULES, schedule("short", end=1))
    api.put(SCHEDULES, schedule("long", end=9))
    lab = pool(cluster_of(team="team-a"))
    lab.submit(submission(gpus=8, time="4h", fit_window=True))
    lab.submit(submission(name="free", gpus=8, time="4h"))
    fitting, free = sorted(api.all(JOBS), key=lambda job: "affinity" not in job["spec"]["template"]["spec"])
    terms = fitting["spec"]["template"]["spec"]["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
    assert terms["nodeSelectorTerms"][0]["matchExpressions"] == [{"key": "gpuctl.io/schedule", "operator": "NotIn", "values": ["short"]}]
    assert "affinity" not in free["spec"]["template"]["spec"]


def test_schedules_that_may_not_be_read_leave_the_marks_of_the_nodes(
    api: FakeApi, cluster_of: Callable[..., KubernetesCluster], submission: Make
) -> None:
    own(api, "platform")
    api.put(SCHEDULES, schedule())

    def forbid(method: str, path: str) -> None:
        if path.startswith(SCHEDULES):
            raise Refusal(403, "Forbidden", "poolschedules is forbidden")

    api.trouble = forbid
    plan = pool(cluster_of(team="team-a")).plan(submission(gpus=8))
    assert plan.options[0].reason is not None
    assert str(plan.options[0].reason.sentence).endswith("4 of 4 nodes belong to platform, nobody says until when")
    assert any(note.startswith("time windows of lab are unknown: ") for note in plan.notes)


def test_doctor_says_what_is_not_obeyed_and_who_switches_nobody(api: FakeApi, cluster: KubernetesCluster) -> None:
    api.put(SCHEDULES, schedule("night"))
    api.put(SCHEDULES, {"metadata": {"name": "odd"}, "spec": {}})
    lines = [line for line in cluster.checks() if line.name == "schedules"]
    assert all(line.verdict == "problem" and line.fix for line in lines)
    assert any(line.text.startswith("odd is not obeyed: ") for line in lines)
    assert any(line.text.startswith("night: nobody switches ") for line in lines)


def test_a_scientist_may_read_schedules() -> None:
    viewer = next(each for each in rbac.documents(namespace="ml") if each["metadata"]["name"] == "gpuctl-viewer")
    assert {"apiGroups": ["gpuctl.io"], "resources": ["poolschedules"], "verbs": ["get", "list"]} in viewer["rules"]


def test_a_new_node_of_a_type_that_is_not_there_yet(api: FakeApi, cluster: KubernetesCluster) -> None:
    """A node without GPUs is nobody's to switch."""
    api.put(NODES, node("login", 0, ""))
    api.put(SCHEDULES, schedule())
    assert "login" not in cluster.schedules().items[0].nodes


def test_a_job_that_borrows_ranks_below_everybody_where_nodes_are_lent_and_nowhere_else(
    api: FakeApi, cluster_of: Callable[..., KubernetesCluster], submission: Make
) -> None:
    jobsets, classes = ("jobset.x-k8s.io", "v1alpha2"), ("scheduling.k8s.io", "v1")
    api.groups = {**api.groups, jobsets: [("jobsets", "JobSet", True)], classes: [("priorityclasses", "PriorityClass", False)]}
    api.put("/apis/scheduling.k8s.io/v1/priorityclasses", {"metadata": {"name": "gpuctl-preemptible"}, "value": -1000})
    lab = cluster_of(team="team-b", priority_classes="0:batch")

    def pod() -> dict[str, Any]:
        root = lab.render(submission(gpus=8, requeue=True))[-1]
        found: dict[str, Any] = root["spec"]["replicatedJobs"][0]["template"]["spec"]["template"]
        return found

    def lends(found: dict[str, Any]) -> list[dict[str, str]]:
        return [each for each in found["spec"]["tolerations"] if each["key"] == "gpuctl.io/lends"]

    plain = pod()
    assert (plain["spec"]["priorityClassName"], lends(plain)[0]["value"]) == ("batch", "team-b")
    assert "gpuctl.io/preemptible" not in plain["metadata"]["labels"]
    api.put(SCHEDULES, schedule(window={"borrow": {"idle": True}}))
    borrower = pod()
    assert borrower["spec"]["priorityClassName"] == "gpuctl-preemptible"
    assert lends(borrower) == [{"key": "gpuctl.io/lends", "operator": "Exists", "effect": "NoSchedule"}]
    assert borrower["metadata"]["labels"]["gpuctl.io/preemptible"] == "true"


def test_a_job_that_may_not_see_the_class_of_borrowers_stays_with_its_own_nodes(
    api: FakeApi, cluster_of: Callable[..., KubernetesCluster], submission: Make
) -> None:
    def hides(method: str, path: str) -> None:
        if "/priorityclasses" in path:
            raise Refusal(403, "Forbidden", 'User "anna" cannot get resource "priorityclasses" in API group "scheduling.k8s.io"')

    own(api, "team-a", lends=True)
    cluster = cluster_of(team="team-b")
    assert cluster.plan(submission(gpus=8, requeue=True)).options[0].now
    api.trouble = hides
    assert not cluster.plan(submission(gpus=8, requeue=True)).options[0].now
    template = cluster.render(submission(gpus=8, requeue=True))[-1]["spec"]["template"]
    assert "gpuctl.io/preemptible" not in template["metadata"]["labels"]
    assert [each["value"] for each in template["spec"]["tolerations"] if each["key"] == "gpuctl.io/lends"] == ["team-b"]


def test_a_train_job_does_not_borrow_where_borrowers_need_a_class(
    api: FakeApi, cluster_of: Callable[..., KubernetesCluster], submission: Make
) -> None:
    trainer, classes = ("trainer.kubeflow.org", "v1alpha1"), ("scheduling.k8s.io", "v1")
    api.groups = {**api.groups, trainer: ENGINES[trainer], classes: [("priorityclasses", "PriorityClass", False)]}
    api.put("/apis/trainer.kubeflow.org/v1alpha1/clustertrainingruntimes", {"metadata": {"name": "torch-distributed"}})
    own(api, "team-a", lends=True)
    cluster = cluster_of(team="team-b", engine="trainjob")
    asked = msgspec.structs.replace(submission(), spec=JobSpec(kind="pytorch", script="train.py", gpus=8, requeue=True))
    assert cluster.plan(asked).options[0].now
    api.put("/apis/scheduling.k8s.io/v1/priorityclasses", {"metadata": {"name": "gpuctl-preemptible"}, "value": -1000})
    assert not cluster.plan(asked).options[0].now


def test_jobs_and_why_say_what_a_job_waits_for_and_when_one_is_cut(
    api: FakeApi, cluster_of: Callable[..., KubernetesCluster], submission: Make
) -> None:
    own(api, "platform")
    api.put(SCHEDULES, schedule(start=3, end=8))
    lab = cluster_of(team="team-a")
    waiting = lab.launch(submission(gpus=8)).job.name
    sentence = f"needs 1x8, 4 of 4 nodes belong to platform, can start at {_clock(3)}"
    (listed,) = lab.jobs(JobQuery()).items
    assert listed.reason is not None
    assert (listed.reason.code, listed.reason.sentence, listed.expected_start) == ("window", sentence, began() + timedelta(hours=3))
    assert lab.explain(waiting).reason == listed.reason
    own(api, "team-a")
    api.put(SCHEDULES, schedule(start=-1, end=3))
    (job,) = api.all(JOBS)
    pod = {
        "metadata": {"name": "p", "labels": {**job["metadata"]["labels"], "batch.kubernetes.io/job-completion-index": "0"}},
        "spec": {"nodeName": "node-2", "containers": [{"name": "main"}]},
        "status": {
            "phase": "Running",
            "containerStatuses": [{"name": "main", "state": {"running": {"startedAt": began().strftime("%Y-%m-%dT%H:%M:%SZ")}}}],
        },
    }
    api.put("/api/v1/pods", pod, namespace="ml")
    api.put(JOBS, {**job, "status": {"active": 1, "ready": 1, "startTime": began().strftime("%Y-%m-%dT%H:%M:%SZ")}})
    (running,) = lab.jobs(JobQuery()).items
    assert (running.state.value, running.ends_by, running.reason) == ("running", began() + timedelta(hours=3), None)
    assert lab.job(waiting).ends_by == running.ends_by
    (note, *_) = lab.explain(waiting).also
    assert str(note.sentence).startswith(f"will be cut at {_clock(3)}, in ")


def test_a_cluster_without_schedules_is_not_asked_for_nodes_by_a_list(api: FakeApi, cluster: KubernetesCluster, submission: Make) -> None:
    cluster.launch(submission(gpus=1))
    api.requests.clear()
    cluster.jobs(JobQuery())
    assert not any("/nodes" in target for _, target in api.requests)


def test_quota_says_what_a_window_adds(api: FakeApi, cluster_of: Callable[..., KubernetesCluster]) -> None:
    own(api, "team-a", only="node-0")
    own(api, "platform", by=None, only="node-1")
    api.put(SCHEDULES, schedule(end=3))
    lab = pool(cluster_of(team="team-a"))
    found = {row.team: row for row in lab.quota().items}
    assert set(found) == {None, "team-a", "platform"}
    assert (found["team-a"].nominal, found["team-a"].window, found["team-a"].until) == (8, 8, began() + timedelta(hours=3))
    hard = {"status": {"hard": {"requests.nvidia.com/gpu": "24"}, "used": {"requests.nvidia.com/gpu": "0"}}}
    api.put("/api/v1/resourcequotas", {"metadata": {"name": "limits"}, **hard}, namespace="ml")
    (limits,) = lab.quota().items
    assert (limits.name, limits.team, limits.nominal, limits.window) == ("limits", "team-a", 24, 8)
    assert limits.usable == {"8": 3, "4": 6, "2": 12, "1": 24}


def test_a_machine_whose_clock_is_wrong_goes_by_the_api_servers(
    api: FakeApi, cluster_of: Callable[..., KubernetesCluster], submission: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    own(api, "platform")
    api.put(SCHEDULES, schedule(start=-1, end=3))  # by our clock it is team-a's

    def four_hours_later(_: BaseHTTPRequestHandler, __: float | None = None) -> str:
        return format_datetime(datetime.now(timezone.utc) + timedelta(hours=4), usegmt=True)

    monkeypatch.setattr(BaseHTTPRequestHandler, "date_time_string", four_hours_later)
    lab = cluster_of(team="platform")
    (found,) = lab.schedules().items
    assert found.notes == ()
    assert found.clock_ahead == pytest.approx(4 * 3600, abs=60)
    shown = view.view(found, began(), since=began(), until=began() + timedelta(days=1))
    assert (shown.owner, shown.next and shown.next.at) == ("platform", began() + timedelta(hours=23))
    (option,) = pool(lab).plan(submission(gpus=8)).options
    assert option.now
    assert option.reason is not None
    assert f"{began() + timedelta(hours=23):%H:%M} UTC, in 1" in str(option.reason.sentence)  # of 23 hours four have passed there
