"""What a look does to a cluster: marks, evictions, notifications, statuses, and what it leaves alone."""

import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from gpuctl.controllers.windows import pods as ending
from gpuctl.kube.api import Api
from tests.fakes.kube_api import FakeApi, Refusal
from tests.unit.controllers.conftest import NIGHT, NODES, PODS, SCHEDULES_PATH, SIX, TEN, Desk, marks, owned, pod, pool_schedule
from tests.unit.k8s_streams.container import Containers

EVENTS = "/api/v1/events"
JOBS = "/apis/batch/v1/jobs"
MINUTE = timedelta(minutes=1)


def changed(api: FakeApi, since: int) -> list[tuple[str, str]]:
    return [(method, path.partition("?")[0]) for method, path in api.requests[since:] if method != "GET"]


def until(what: Callable[[], bool]) -> None:
    ends = time.monotonic() + 30
    while not what():
        assert time.monotonic() < ends
        time.sleep(0.02)


def put_pod(api: FakeApi, body: dict[str, Any], *, namespace: str = "team-a") -> dict[str, Any]:
    return api.put(PODS, body, namespace=namespace)


def pods(api: FakeApi) -> list[str]:
    return [each["metadata"]["name"] for each in api.all(PODS)]


def test_nodes_go_from_team_to_team_and_foreign_marks_stay(api: FakeApi, desk: Desk) -> None:
    foreign = {"key": "example.com/x", "value": "y", "effect": "NoSchedule", "timeAdded": "2026-01-01T00:00:00Z"}
    found = next(each for each in api.all(NODES) if each["metadata"]["name"] == "n0")
    found["spec"] = {"unschedulable": True, "taints": [foreign, {"key": "gpuctl.io/owner", "value": "x", "effect": "NoExecute"}]}
    found["metadata"] |= {"annotations": {"note": "mine"}}
    api.put(NODES, found)
    api.put(SCHEDULES_PATH, pool_schedule())
    desk.settle(TEN)
    assert marks(api, "n1") == ("team-a", "pool", {"gpuctl.io/owner": "team-a"})
    assert marks(api, "cpu") == (None, None, {})  # a node without GPUs is nobody's
    after = next(each for each in api.all(NODES) if each["metadata"]["name"] == "n0")
    assert after["spec"]["unschedulable"]
    assert after["spec"]["taints"][:2] == [foreign, {"key": "gpuctl.io/owner", "value": "x", "effect": "NoExecute"}]
    assert after["metadata"]["annotations"] == {"note": "mine"}
    before = len(api.requests)
    desk.look(TEN + timedelta(hours=1))
    assert changed(api, before) == []
    desk.settle(SIX)
    assert {marks(api, name)[0] for name in ("n0", "n1", "n2")} == {"platform"}
    told = desk.lines.getvalue()
    assert told.count("not team-a's yet: is being closed") == told.count("not platform's yet: is being closed") == 3
    desk.settle(TEN + timedelta(days=1))
    assert desk.lines.getvalue().count("not team-a's yet: is being closed") == 6  # news again, as it was over in between


def test_a_job_is_told_evicted_and_at_last_deleted(api: FakeApi, desk: Desk) -> None:
    api.put(SCHEDULES_PATH, pool_schedule())
    for name in ("n0", "n1", "n2"):
        owned(api, name, "team-a")
    desk.look(TEN)
    labels = {"gpuctl.io/job-id": "abc", "gpuctl.io/attempt": "1", "gpuctl.io/team": "team-a"}
    job = {"kind": "Job", "metadata": {"name": "train", "labels": labels, "annotations": {"gpuctl.io/spec": "{}"}}}
    api.put(JOBS, job, namespace="team-a")
    put_pod(api, pod("train-0", labels=labels))
    put_pod(api, pod("train-1", "cpu", gpus=0, labels=labels))  # the gang's own, without GPUs
    api.protected = {"train-0"}
    desk.look(SIX - 45 * MINUTE)
    (event,) = api.all(EVENTS)
    assert (event["reason"], event["involvedObject"]["name"]) == ("WindowEnds", "train")
    assert event["message"] == (
        "window night ends at 2026-03-04T06:00:00Z, the nodes go to platform then; what runs is cut at 2026-03-04T06:00:00Z"
    )
    (job,) = api.all(JOBS)
    assert job["metadata"]["annotations"]["gpuctl.io/window-ends"] == "2026-03-04T06:00:00Z"
    before = len(api.requests)
    desk.look(SIX - 44 * MINUTE)
    assert changed(api, before) == []  # once
    desk.look(SIX - 30 * MINUTE)
    assert marks(api, "n0")[2] == {"gpuctl.io/owner": "team-a", "gpuctl.io/window-closing": "platform"}
    desk.look(SIX - timedelta(seconds=30))
    assert pods(api) == ["train-0"]
    (job,) = api.all(JOBS)
    cut = {key.removeprefix("gpuctl.io/"): value for key, value in job["metadata"]["annotations"].items()}
    assert cut | {"spec": ""} == {
        "spec": "",
        "window": "night",
        "window-ends": "2026-03-04T06:00:00Z",
        "window-cut": "2026-03-04T05:59:30Z",
        "window-next-owner": "platform",
    }
    (left,) = api.all(PODS)
    assert left["metadata"]["annotations"]["gpuctl.io/window-cut"] == "2026-03-04T05:59:30Z"
    before = len(api.requests)
    desk.look(SIX - timedelta(seconds=10))
    assert pods(api) == ["train-0"]
    assert [path.rpartition("/")[2].partition("?")[0] for _, path in changed(api, before)] == ["eviction"]
    assert desk.lines.getvalue().count("a disruption budget protects the pod") == 1
    desk.look(SIX)
    assert pods(api) == []
    (deletion,) = [body for method, _, body in api.bodies if method == "DELETE"]
    assert deletion["gracePeriodSeconds"] == 30
    assert deletion["preconditions"]["uid"]
    desk.look(SIX + timedelta(seconds=1))
    assert marks(api, "n0")[0] == "platform"
    assert sorted(each["reason"] for each in api.all(EVENTS)) == ["WindowCut", "WindowEnds"]


def test_a_pod_of_the_platform_is_never_touched(api: FakeApi, desk: Desk) -> None:
    api.put(SCHEDULES_PATH, pool_schedule())
    api.put("/api/v1/namespaces", {"kind": "Namespace", "metadata": {"name": "ops", "labels": {"gpuctl.io/exempt": "true"}}})
    owned(api, "n0", "team-a")
    put_pod(api, pod("probe"), namespace="ops")
    put_pod(api, pod("plugin"), namespace="kube-system")
    daemon = {"apiVersion": "apps/v1", "kind": "DaemonSet", "name": "d", "uid": "1", "controller": True}
    put_pod(api, pod("agent", gpus=0, ownerReferences=[daemon]))
    put_pod(api, pod("static", gpus=0, annotations={"kubernetes.io/config.mirror": "x"}))
    desk.settle(SIX)
    assert len(pods(api)) == 4
    assert marks(api, "n0")[0] == "platform"


def test_nobody_keeps_gpus_by_what_a_pod_says_of_itself(api: FakeApi, desk: Desk) -> None:
    api.put(SCHEDULES_PATH, pool_schedule())
    daemon = {"apiVersion": "nobody.example/v1", "kind": "DaemonSet", "name": "d", "uid": "1", "controller": True}
    owned(api, "n0", "team-a", closing="platform", since=SIX - 30 * MINUTE)
    owned(api, "n1", "team-a", closing="platform", since=SIX - 30 * MINUTE)
    owned(api, "n2", "team-a", closing="platform", since=SIX - 30 * MINUTE)
    put_pod(api, pod("sly", ownerReferences=[daemon]))
    put_pod(api, pod("mirror", "n1", annotations={"kubernetes.io/config.mirror": "x"}))
    put_pod(api, pod("guest", "n2", labels={"gpuctl.io/preemptible": "true"}))  # its priority is everybody's
    desk.look(SIX)
    assert pods(api) == []


@pytest.mark.parametrize("status", [403, 422, 500])
def test_who_cannot_be_told_is_ended_all_the_same(api: FakeApi, desk: Desk, status: int) -> None:
    api.put(SCHEDULES_PATH, pool_schedule())
    owned(api, "n0", "team-a", closing="platform", since=SIX - 30 * MINUTE)
    put_pod(api, pod("p", labels={"gpuctl.io/job-id": "abc"}))

    def trouble(method: str, path: str) -> None:
        told = method == "PATCH" and path.startswith(PODS.replace("/pods", "/namespaces")) and "eviction" not in path
        if told or "pytorchjobs" in path or (method == "POST" and "/events" in path):
            raise Refusal(status, "Invalid", "metadata.annotations: Too long: may not be more than 262144 bytes")

    api.trouble = trouble
    desk.look(SIX)
    assert pods(api) == []
    assert "cannot be told" in desk.lines.getvalue()


def test_a_job_that_could_not_be_marked_is_marked_by_the_next_look(
    api: FakeApi, opened: Api, posted: tuple[str, list[dict[str, Any]]]
) -> None:
    url, bodies = posted
    api.put(SCHEDULES_PATH, pool_schedule())
    owned(api, "n0", "team-a", closing="platform", since=SIX - 30 * MINUTE)
    labels = {"gpuctl.io/job-id": "abc", "gpuctl.io/attempt": "1"}
    job = {"kind": "Job", "metadata": {"name": "train", "labels": labels, "annotations": {"gpuctl.io/spec": "{}"}}}
    api.put(JOBS, job, namespace="team-a")
    put_pod(api, pod("p", labels=labels, annotations={"gpuctl.io/window-ends": "2026-03-04T06:00:00Z"}))
    api.protected = {"p"}

    def trouble(method: str, path: str) -> None:
        if method == "PATCH" and "/jobs/" in path:
            raise Refusal(500, "InternalError", "etcd is away")

    api.trouble = trouble
    desk = Desk(opened, webhook=url)
    desk.look(SIX - timedelta(seconds=20))
    (job,) = api.all(JOBS)
    assert "gpuctl.io/window-cut" not in job["metadata"]["annotations"]
    api.trouble = None
    desk.look(SIX - timedelta(seconds=15))
    (job,) = api.all(JOBS)
    assert job["metadata"]["annotations"]["gpuctl.io/window-cut"] == "2026-03-04T05:59:45Z"
    desk.looker.close()
    assert [each["kind"] for each in bodies] == ["WindowCut"]


def test_an_end_at_the_instant_says_whose_fault_it_was_not(api: FakeApi, desk: Desk) -> None:
    api.put(SCHEDULES_PATH, pool_schedule())
    owned(api, "n0", "team-a", closing="platform", since=SIX - 30 * MINUTE)
    put_pod(api, pod("p"))
    api.deleting = lambda *_: False
    desk.look(SIX)
    (found,) = api.all(PODS)
    (condition,) = found["status"]["conditions"]
    assert (condition["type"], condition["status"], condition["reason"]) == ("DisruptionTarget", "True", "WindowEnded")


def test_a_pod_that_came_unheard_keeps_the_node_where_it_is(api: FakeApi, desk: Desk) -> None:
    api.put(SCHEDULES_PATH, pool_schedule())
    owned(api, "n0", "team-a", closing="platform", since=SIX - 30 * MINUTE)
    due = desk.looker.due(SIX)
    put_pod(api, pod("late"))
    desk.looker.carry_out(due, SIX)
    assert marks(api, "n0")[0] == "team-a"
    assert "team-a/late is on n0 after all" in desk.lines.getvalue()


def test_somebody_elses_marks_are_not_written_over(api: FakeApi, desk: Desk) -> None:
    api.put(SCHEDULES_PATH, pool_schedule())
    owned(api, "n0", "team-a", closing="platform", since=SIX - 30 * MINUTE)
    due = desk.looker.due(SIX)
    Desk(desk.looker._api).look(SIX)  # another replica was quicker
    desk.look(SIX + MINUTE)
    version = [each["metadata"]["resourceVersion"] for each in api.all(NODES) if each["metadata"]["name"] == "n0"]
    desk.looker.carry_out(due, SIX)
    assert "somebody else has changed the marks of n0" in desk.lines.getvalue()
    assert version == [each["metadata"]["resourceVersion"] for each in api.all(NODES) if each["metadata"]["name"] == "n0"]


def test_a_node_that_changed_otherwise_is_written_all_the_same(api: FakeApi, desk: Desk) -> None:
    api.put(SCHEDULES_PATH, pool_schedule())
    owned(api, "n0", "team-a", closing="platform", since=SIX - 30 * MINUTE)
    due = desk.looker.due(SIX)
    found = next(each for each in api.all(NODES) if each["metadata"]["name"] == "n0")
    found["status"]["conditions"][0]["lastTransitionTime"] = "2026-03-04T05:59:59Z"
    found["spec"]["taints"].append({"key": "node.kubernetes.io/unreachable", "effect": "NoSchedule"})
    api.put(NODES, found)
    desk.looker.carry_out(due, SIX)
    assert marks(api, "n0") == ("platform", "pool", {"node.kubernetes.io/unreachable": "", "gpuctl.io/owner": "platform"})


def test_who_leads_no_longer_writes_nothing(api: FakeApi, opened: Api) -> None:
    api.put(SCHEDULES_PATH, pool_schedule())
    owned(api, "n0", "team-a")
    put_pod(api, pod("p"))
    before = len(api.requests)
    Desk(opened, may=lambda: False).look(SIX)
    assert changed(api, before) == []


def test_statuses_tell_how_schedules_stand(api: FakeApi, desk: Desk) -> None:
    api.put(SCHEDULES_PATH, pool_schedule())
    second = pool_schedule("second")
    second["metadata"]["creationTimestamp"] = "2030-01-01T00:00:00Z"
    api.put(SCHEDULES_PATH, second)
    api.put(SCHEDULES_PATH, pool_schedule("nonsense", timeZone="Mars/Olympus", windows=[{**NIGHT, "start": "99 * * * *"}]))
    owned(api, "n0", "team-a")
    put_pod(api, pod("p"))
    desk.look(TEN)
    told = {each["metadata"]["name"]: each["status"] for each in api.all(SCHEDULES_PATH)}
    first = told["pool"]
    assert (first["owner"], first["nextOwner"], first["nextChange"], first["nodes"]) == ("team-a", "platform", "2026-03-04T06:00:00Z", 3)
    accepted, switched = first["conditions"]
    assert (accepted["type"], accepted["status"], accepted["observedGeneration"]) == ("Accepted", "True", 1)
    assert (switched["status"], switched["reason"]) == ("False", "Waiting")
    (refused,) = told["second"]["conditions"]
    assert (refused["status"], refused["reason"], refused["message"]) == ("False", "Overlaps", "selects nodes of pool: n0, n1, n2")
    (broken,) = told["nonsense"]["conditions"]
    assert (broken["reason"], broken["status"]) == ("Invalid", "False")
    assert "spec.timeZone" in broken["message"]
    assert "spec.windows[0].start" in broken["message"]
    desk.settle(TEN + MINUTE)
    (_, switched) = next(each["status"]["conditions"] for each in api.all(SCHEDULES_PATH) if each["metadata"]["name"] == "pool")
    assert (switched["status"], switched["message"]) == ("True", "")


def test_a_schedule_that_is_taken_away_releases_its_nodes(api: FakeApi, desk: Desk) -> None:
    owned(api, "n0", "team-a", closing="platform", since=TEN)
    desk.look(TEN)
    assert marks(api, "n0") == (None, None, {})


def test_the_definition_gone_or_forbidden_changes_nothing(api: FakeApi, desk: Desk) -> None:
    from gpuctl.kube.errors import ApiFailure

    owned(api, "n0", "team-a")
    del api.groups["gpuctl.io", "v1alpha1"]
    with pytest.raises(ApiFailure):
        desk.look(TEN)
    assert marks(api, "n0")[0] == "team-a"


def test_one_node_that_cannot_be_written_keeps_no_other(api: FakeApi, desk: Desk) -> None:
    api.put(SCHEDULES_PATH, pool_schedule())

    def trouble(method: str, path: str) -> None:
        if method == "PATCH" and path.startswith(f"{NODES}/n1"):
            raise Refusal(403, "Forbidden", 'nodes "n1" is forbidden: User "x" cannot patch resource "nodes"')

    api.trouble = trouble
    desk.settle(TEN)
    assert [marks(api, name)[0] for name in ("n0", "n1", "n2")] == ["team-a", None, "team-a"]
    assert "ERROR" in desk.lines.getvalue()
    assert "about=n1" in desk.lines.getvalue()


@pytest.fixture
def posted() -> Iterator[tuple[str, list[dict[str, Any]]]]:
    bodies: list[dict[str, Any]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            bodies.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            return

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}/hook", bodies
    server.shutdown()
    server.server_close()
    thread.join()


def test_a_webhook_gets_what_jobs_are_told(api: FakeApi, opened: Api, posted: tuple[str, list[dict[str, Any]]]) -> None:
    url, bodies = posted
    api.put(SCHEDULES_PATH, pool_schedule())
    owned(api, "n0", "team-a")
    put_pod(api, pod("p"))
    desk = Desk(opened, webhook=url)
    desk.look(SIX - 40 * MINUTE)
    desk.look(SIX - 39 * MINUTE)
    desk.looker.close()
    (body,) = bodies
    assert body["kind"] == "WindowEnds"
    assert body["cluster"] == "lab"
    assert (body["window"], body["at"], body["nextOwner"], body["team"]) == ("night", "2026-03-04T06:00:00Z", "platform", "team-a")
    assert body["pods"] == ["team-a/p"]


def test_a_webhook_that_is_not_there_holds_up_nothing(api: FakeApi, opened: Api) -> None:
    api.put(SCHEDULES_PATH, pool_schedule())
    owned(api, "n0", "team-a")
    put_pod(api, pod("p"))
    desk = Desk(opened, webhook="http://127.0.0.1:9/")
    desk.look(SIX - 40 * MINUTE)
    desk.looker.close()
    assert "the webhook was not reached" in desk.lines.getvalue()
    (event,) = api.all(EVENTS)
    assert event["involvedObject"]["kind"] == "Pod"


def test_a_signal_reaches_the_first_process_once(api: FakeApi, desk: Desk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    window = {**NIGHT, "drain": {"policy": "CheckpointThenEvict", "signal": "USR1", "grace": "5m"}}
    api.put(SCHEDULES_PATH, pool_schedule(windows=[window]))
    for name in ("n0", "n1", "n2"):
        owned(api, name, "team-a", closing="platform", since=SIX - 30 * MINUTE)
    put_pod(api, pod("p", annotations={"gpuctl.io/window-ends": "2026-03-04T06:00:00Z"}))
    put_pod(api, pod("own", "n1", annotations={"gpuctl.io/window-ends": "2026-03-04T06:00:00Z", "gpuctl.io/signal": "USR2@60"}))
    put_pod(api, pod("odd", "n2", annotations={"gpuctl.io/window-ends": "2026-03-04T06:00:00Z", "gpuctl.io/signal": "USR2; rm -rf /@1"}))
    script = "import signal, sys; signal.signal(signal.SIGUSR1, lambda *_: sys.exit(7)); print(flush=True); signal.pause()"
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE) as first:
        assert first.stdout is not None
        first.stdout.readline()
        made = Containers(tmp_path)
        made.change = lambda argv: [*argv[:-1], argv[-1].replace(" 1", f" {first.pid}")] if made.asked[-1][0] == "p" else ["true"]
        monkeypatch.setattr(ending, "exec_", made.start)
        desk.look(SIX - 5 * MINUTE)
        assert first.wait(30) == 7
        until(lambda: desk.lines.getvalue().count("pod signalled") == 2)
    told = {name: (list(argv), more) for name, argv, more in made.asked}
    where = {"namespace": "team-a", "container": "main"}
    assert told == {name: (["/bin/sh", "-c", "kill -s USR1 1"], where) for name in ("p", "odd")}
    desk.look(SIX - 4 * MINUTE)
    assert len(made.asked) == 2
    desk.look(SIX - MINUTE)
    desk.looker.close()
    assert made.asked[-1][:2] == ("own", ["/bin/sh", "-c", "kill -s USR2 1"])


def test_a_shell_that_never_answers_is_given_up(api: FakeApi, desk: Desk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    window = {**NIGHT, "drain": {"policy": "CheckpointThenEvict", "signal": "USR1", "grace": "5m"}}
    api.put(SCHEDULES_PATH, pool_schedule(windows=[window]))
    for name in ("n0", "n1", "n2"):
        owned(api, name, "team-a", closing="platform", since=SIX - 30 * MINUTE)
    put_pod(api, pod("deaf", annotations={"gpuctl.io/window-ends": "2026-03-04T06:00:00Z"}))
    made = Containers(tmp_path)
    made.change = lambda _: ["sleep", "600"]
    monkeypatch.setattr(ending, "exec_", made.start)
    monkeypatch.setattr(ending, "EXEC_S", 0.2)
    desk.look(SIX - 5 * MINUTE)
    desk.looker.close()  # waits for signals: it would for ten minutes
    (session,) = made.sessions
    assert session.exit_code is None
    assert "pod signalled" not in desk.lines.getvalue()
