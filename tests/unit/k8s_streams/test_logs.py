"""Logs of pods through an API server: shared streams, tails, following, and everything that goes wrong on the way."""

import math
import random
import threading
import time
from collections.abc import Callable

import msgspec
import pytest

from gpuctl.base.errors import UnavailableError
from gpuctl.clusters.kubernetes.streams.logs import logs_of
from gpuctl.kube.errors import Forbidden, Unavailable
from gpuctl.model.ask import LogQuery
from tests.unit.k8s_streams.kubelet import QUICK, Cluster, FakePod, Fault, at, by_rank, cluster, logs, read, target, texts, together
from tests.unit.kube.server import Request, api_of, serving, status

GANG = {"ranks": (0, 1, 2, 3), "prefixed": True}


def numbered(count: int) -> dict[int | None, list[int]]:
    """The numbers of a gang's lines, if they went round its ranks."""
    return {None: [], **{rank: list(range(rank, count, 4)) for rank in range(4)}}


def soon(condition: Callable[[], bool], within: float = 5.0) -> None:
    ends = time.monotonic() + within
    while not condition():
        assert time.monotonic() < ends
        time.sleep(0.01)


def test_the_ranks_of_a_pod_share_one_stream() -> None:
    pod = FakePod(state="ended")
    pod.say("starting", "[0] a", "[1] b", "[0] c", "done")
    with cluster(pod) as api:
        found = logs(api, pod, **GANG)
        assert [log.rank for log in found] == [None, 0, 1, 2, 3]
        got = [said for batch in together(found) for said in batch]
    assert got == [(None, "oF starting"), (0, "oF a"), (1, "oF b"), (0, "oF c"), (None, "oF done")]
    assert len(pod.asked) == 1


def test_some_ranks_of_a_pod_share_one_stream() -> None:
    pod = FakePod(state="ended")
    pod.say("starting", "[0] a", "[1] b", "[2] c", "[3] d", "[1] e")
    with cluster(pod) as api:
        found = [log for log in logs(api, pod, **GANG) if log.rank in (1, 3)]
        assert by_rank(together(found), found) == {1: ["oF b", "oF e"], 3: ["oF d"]}
        assert [said for batch in together(found, tail=2) for said in batch] == [(3, "oF d"), (1, "oF e")]


def test_only_what_was_asked_for_is_read() -> None:
    zero, one = FakePod("train-0", state="ended"), FakePod("train-1", state="ended")
    for pod in (zero, one):
        pod.say("[0] x", "[1] y", "[2] z")
    with cluster(zero, one) as api:
        targets = [target(zero, node=0, ranks=(0, 1), prefixed=True), target(one, node=1, ranks=(2, 3), prefixed=True)]
        found = logs_of(api, targets, LogQuery(ranks=frozenset({2})), pace=QUICK)
        assert [(log.node, log.rank) for log in found] == [(1, 2)]
        assert texts(read(found[0])) == ["oF z"]
        assert [(log.node, log.rank) for log in logs_of(api, targets, LogQuery(node=0))] == [(0, None), (0, 0), (0, 1)]
    assert zero.asked == []


def test_the_last_attempt_of_each_task_unless_one_is_named() -> None:
    pods = [FakePod(f"p{number}", state="ended") for number in range(3)]
    with cluster(*pods) as api:
        targets = [target(pods[0], task=1, attempt=1), target(pods[1], task=1, attempt=2), target(pods[2], task=0, attempt=1)]
        assert [(log.task, log.attempt) for log in logs_of(api, targets, LogQuery())] == [(0, 1), (1, 2)]
        assert [(log.task, log.attempt) for log in logs_of(api, targets, LogQuery(attempt=1))] == [(0, 1), (1, 1)]
        assert [(log.task, log.attempt) for log in logs_of(api, targets, LogQuery(task=0))] == [(0, 1)]


def test_read_again_and_read_alone_have_streams_of_their_own() -> None:
    pod = FakePod()
    pod.say("[0] a", "[1] b")
    with cluster(pod) as api:
        zero, one = logs(api, pod, **GANG)[1:3]
        assert texts(read(zero)) == ["oF a"]
        pod.say("[0] later", "[1] later")
        assert texts(read(zero)) == ["oF a", "oF later"]
        assert texts(read(one)) == ["oF b", "oF later"]


def test_more_than_memory_holds_goes_to_a_file_and_comes_back() -> None:
    pod = FakePod(state="ended")
    pod.say(*[f"[{number % 4}] {number} {'x' * 300}" for number in range(4000)])
    with cluster(pod) as api:
        found = logs(api, pod, pace=msgspec.structs.replace(QUICK, memory=100_000), **GANG)
        batches = together(found)
        soon(lambda: not any(thread.name == "log-train-0" for thread in threading.enumerate()))  # all of it was read
        got = by_rank(batches, found)
    assert [len(said) for said in got.values()] == [0, 1000, 1000, 1000, 1000]
    assert [int(line.split()[1]) for line in got[3]] == list(range(3, 4000, 4))


@pytest.mark.parametrize("follow", [False, True])
def test_tail_is_exact_for_a_rank_that_is_read_alone(follow: bool) -> None:
    pod = FakePod(state="ended")
    pod.say("[3] early", "[3] also early", *[f"[0] {number}" for number in range(2000)])
    with cluster(pod) as api:
        by_rank = {log.rank: log for log in logs(api, pod, **GANG)}
        assert texts(read(by_rank[0], tail=3, follow=follow)) == ["oF 1997", "oF 1998", "oF 1999"]
        assert texts(read(by_rank[3], tail=1, follow=follow)) == ["oF also early"]
        assert texts(read(by_rank[1], tail=1, follow=follow)) == []
        assert by_rank[0].tail(1).endswith(b"oF 1999\n")
        assert by_rank[0].tail(0) == b""


def test_tail_of_a_program_that_runs_alone_costs_one_small_answer() -> None:
    pod = FakePod()
    pod.say(*map(str, range(50)))
    with cluster(pod) as api:
        (log,) = logs(api, pod)
        assert texts(log.tail(2)) == ["oF 48", "oF 49"]
    assert [asked["tailLines"] for asked in pod.asked] == ["2"]


def test_tail_zero_then_follow_brings_only_what_comes() -> None:
    pod = FakePod()
    pod.say("old", "older")
    with cluster(pod) as api:
        (log,) = logs(api, pod)
        blocks = log.blocks(since=None, follow=True, tail=0)
        soon(lambda: any(asked.get("follow") for asked in pod.asked))
        pod.say("new")
        pod.become("ended")
        assert texts(b"".join(blocks)) == ["oF new"]


def test_since_is_exact_to_the_nanosecond() -> None:
    pod = FakePod(state="ended")
    pod.say("a", "b", "c")
    with cluster(pod) as api:
        (log,) = logs(api, pod)
        assert texts(read(log, since=at(2_000_000))) == ["oF b", "oF c"]
        assert texts(read(log, since=at(2_000_001))) == ["oF c"]
    assert {asked["sinceTime"] for asked in pod.asked} == {"2026-03-01T12:00:00Z"}


def test_following_brings_lines_as_they_come_and_ends_with_the_container() -> None:
    pod = FakePod()
    pod.say("[0] first")
    with cluster(pod) as api:
        found = logs(api, pod, **GANG)
        batches = together(found, follow=True)
        assert next(batch for batch in batches if batch) == [(0, "oF first")]
        before = time.monotonic()
        assert next(batches) == []
        assert time.monotonic() - before < 0.2
        pod.say("[1] hello")
        assert next(batch for batch in batches if batch) == [(1, "oF hello")]
        pod.unfinished = f"{at(10**9)} [1] no newline".encode()
        pod.become("ended")
        assert [said for batch in batches for said in batch] == [(1, "oP no newline")]


def test_a_container_that_has_not_started_says_nothing_until_it_does() -> None:
    pod = FakePod(state="waiting")
    with cluster(pod) as api:
        (log,) = logs(api, pod)
        assert read(log) == b""
        assert log.tail(5) == b""
        blocks = log.blocks(since=None, follow=True)
        assert next(blocks) == b""
        pod.say("at last")
        pod.become("running")
        assert texts(next(block for block in blocks if block)) == ["oF at last"]
        pod.become("ended")
        assert b"".join(blocks) == b""


def test_setup_is_the_agents_and_comes_first() -> None:
    pod = FakePod(state="ended")
    pod.init = {"gpuctl-code": [f"{at(1)} unpacked".encode()]}
    pod.say("trained")
    with cluster(pod) as api:
        agent, zero = logs(api, pod, before=("gpuctl-code",))
        assert agent.rank is None
        assert texts(read(agent)) == ["oF unpacked"]
        assert texts(read(zero, follow=True)) == ["oF trained"]
        assert texts(read(agent, follow=True)) == ["oF unpacked"]
        assert texts(agent.tail(3)) == ["oF unpacked"]


def test_what_a_pod_without_ranks_says_is_its_agents() -> None:
    pod = FakePod(state="ended")
    pod.init = {"gpuctl-code": [f"{at(1)} unpacked".encode()]}
    pod.say("the head of Ray did not come up")
    with cluster(pod) as api:
        (agent,) = logs(api, pod, ranks=(), before=("gpuctl-code",))
        assert agent.rank is None
        assert texts(read(agent)) == ["oF unpacked", "oF the head of Ray did not come up"]


def test_the_container_before_a_restart() -> None:
    pod = FakePod()
    pod.say("first life")
    with cluster(pod) as api:
        (log,) = logs(api, pod, previous=True)
        assert read(log) == b""
        pod.restart()
        pod.say("second life")
        assert texts(read(log)) == ["oF first life"]
        assert texts(read(logs(api, pod, previous=True)[0], follow=True, tail=1)) == ["oF first life"]


# -- bad luck -----------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("follow", [False, True])
def test_connections_cut_anywhere_lose_and_repeat_nothing(seed: int, follow: bool) -> None:
    chance = random.Random(seed)
    pod = FakePod(state="ended")
    for number in range(300):
        pod.say(f"[{number % 4}] line {number} {'y' * chance.randrange(90)}", gap_ns=chance.choice([0, 0, 1, 999_999_999]))
    size = sum(len(line) + 1 for line in pod.lines)
    pod.faults.extend(Fault(cut_after=chance.randrange(size)) for _ in range(8))
    with cluster(pod) as api:
        found = logs(api, pod, pace=msgspec.structs.replace(QUICK, farewell_s=20.0), **GANG)
        got = by_rank(together(found, follow=follow), found)
    assert {rank: [int(line.split()[2]) for line in said] for rank, said in got.items()} == numbered(300)


def test_cuts_while_the_log_grows() -> None:
    chance = random.Random(7)
    pod = FakePod()
    pod.faults.extend(Fault(cut_after=chance.randrange(2500)) for _ in range(30))

    def grow() -> None:
        for number in range(400):
            pod.say(f"[{number % 4}] line {number}", gap_ns=chance.choice([0, 1000, 3_000_000]))
            if number % 10 == 0:
                time.sleep(0.005)
        pod.become("ended")

    with cluster(pod) as api:
        pace = msgspec.structs.replace(QUICK, farewell_s=20.0)
        found = logs(api, pod, pace=pace, **GANG)
        batches = together(found, follow=True)
        threading.Thread(target=grow).start()
        got = by_rank(batches, found)
    assert {rank: [int(line.split()[2]) for line in said] for rank, said in got.items()} == numbered(400)


@pytest.mark.parametrize("code", [500, 503, 429, 410])
@pytest.mark.parametrize("follow", [False, True])
def test_a_server_in_trouble_for_a_while(code: int, follow: bool) -> None:
    pod = FakePod(state="ended")
    pod.say("a", "b")
    pod.faults.extend([Fault(code=code)] * 5)
    with cluster(pod) as api:
        # However slow this machine is, the trouble is over before patience is.
        (log,) = logs(api, pod, pace=msgspec.structs.replace(QUICK, patience_s=math.inf, farewell_s=math.inf))
        assert texts(read(log, follow=follow, within=math.inf)) == ["oF a", "oF b"]


def test_a_server_that_stops_answering() -> None:
    pod = FakePod()
    pod.say("a")
    pod.faults.append(Fault(hang=True))
    with cluster(pod) as api:
        blocks = logs(api, pod, pace=msgspec.structs.replace(QUICK, silence_s=0.2))[0].blocks(since=None, follow=True)
        assert texts(next(block for block in blocks if block)) == ["oF a"]
        pod.become("ended")
        assert b"".join(blocks) == b""


def test_a_silent_connection_is_opened_anew_and_nothing_comes_twice() -> None:
    pod = FakePod()
    pod.say("a")
    with cluster(pod) as api:
        blocks = logs(api, pod, pace=msgspec.structs.replace(QUICK, silence_s=0.15))[0].blocks(since=None, follow=True)
        got = [next(block for block in blocks if block)]
        soon(lambda: len(pod.asked) > 3)
        pod.say("b")
        pod.become("ended")
        got += blocks
    assert texts(b"".join(got)) == ["oF a", "oF b"]


def test_a_node_that_does_not_hand_its_log_over_concerns_its_pod_alone() -> None:
    ill, well = FakePod("ill", state="ended"), FakePod("well", state="ended")
    ill.faults.extend([Fault(code=500, message="dial tcp 10.0.0.7:10250: i/o timeout")] * 500)
    well.say("fine")
    with cluster(ill, well) as api:
        found = logs_of(api, [target(ill, node=0, ranks=(0,)), target(well, node=1, ranks=(1,))], LogQuery(), pace=QUICK)
        open_ = [log.blocks(since=None, follow=False) for log in found]
        first, second = (texts(b"".join(blocks)) for blocks in open_)
    assert second == ["oF fine"]
    assert first == ["gF the log of pod ill on node-7 cannot be read (dial tcp 10.0.0.7:10250: i/o timeout)"]


def test_a_node_that_is_away_at_the_end() -> None:
    pod = FakePod(state="ended")
    pod.faults.extend([Fault(code=500, message="no route")] * 500)
    with cluster(pod) as api:
        assert texts(read(logs(api, pod)[0], follow=True)) == ["gF the log of pod train-0 on node-7 cannot be read (no route)"]


def test_no_right_to_read_logs_is_told_at_once() -> None:
    pod = FakePod()
    words = 'pods "train-0" is forbidden: User "alice" cannot get resource "pods/log" in API group "" in the namespace "team-a"'
    for follow in (False, True):
        pod.faults.append(Fault(code=403, message=words))
        with cluster(pod) as api, pytest.raises(Forbidden):
            read(logs(api, pod)[0], follow=follow)


def test_an_api_server_that_is_gone_for_good() -> None:
    pod = FakePod()
    with serving(Cluster(pod)) as server:
        url = server.url
    with api_of(url) as api:
        with pytest.raises(Unavailable):
            read(logs(api, pod)[0])
        with pytest.raises(UnavailableError):
            read(logs(api, pod)[0], follow=True)


def test_an_api_server_that_is_restarted_while_we_follow() -> None:
    pod = FakePod()
    pod.say("before")
    answers = Cluster(pod)
    down = threading.Event()

    def script(request: Request) -> None:
        if down.is_set():
            request.answer(503, status(503, "ServiceUnavailable", "starting"))
        else:
            answers(request)

    with serving(script) as server, api_of(server) as api:
        blocks = logs(api, pod)[0].blocks(since=None, follow=True)
        got = [next(block for block in blocks if block)]
        down.set()
        for connection in list(server._open):
            connection.shutdown(2)
        pod.say("during")
        got += [next(blocks) for _ in range(3)]
        time.sleep(0.2)
        down.clear()
        pod.say("after")
        pod.become("ended")
        got += blocks
    assert texts(b"".join(got)) == ["oF before", "oF during", "oF after"]


def test_a_pod_that_is_deleted_while_we_follow() -> None:
    pod = FakePod()
    pod.say("[0] said")
    with cluster(pod) as api:
        found = logs(api, pod, **GANG)
        batches = together(found, follow=True)
        soon(lambda: bool(pod.asked))
        pod.faults.append(Fault(cut_after=0))
        pod.become("gone")
        got = [said for batch in batches for said in batch]
    assert got == [(0, "oF said")]  # its stream ended as streams of ended containers do: nothing is lost


def test_a_pod_that_is_gone_with_lines_that_nobody_read() -> None:
    pod = FakePod()
    pod.say("a" * 200, "b")
    pod.faults.append(Fault(cut_after=240))
    with cluster(pod) as api:
        blocks = logs(api, pod)[0].blocks(since=None, follow=True)
        first = next(block for block in blocks if block)
        pod.become("gone")
        rest = texts(first + b"".join(blocks))
        assert rest == ["oF " + "a" * 200, f"gF pod train-0 on node-7 is gone; what it said after {at(1_000_000)} was lost"]
        for follow in (False, True):
            assert texts(read(logs(api, pod)[0], follow=follow)) == ["gF pod train-0 on node-7 is gone; what it said was lost"]


def test_a_pod_that_vanishes_while_its_log_is_read() -> None:
    pod = FakePod()
    pod.say("a", "b" * 50, "c")
    pod.faults.append(Fault(cut_after=len(pod.lines[0]) + len(pod.lines[1]) + 5))
    pod.faults.append(Fault(code=404, message='pods "train-0" not found'))
    with cluster(pod) as api:
        got = texts(read(logs(api, pod)[0]))
    assert got == ["oF a", "oF " + "b" * 50, f"gF pod train-0 on node-7 is gone; what it said after {at(2_000_000)} was lost"]


def test_another_pod_of_the_same_name_is_not_ours() -> None:
    pod = FakePod()
    pod.say("ours", "and more")
    pod.faults.append(Fault(cut_after=40))
    with cluster(pod) as api:
        ours = target(pod)
        pod.uid = "somebody-else"
        (log,) = logs_of(api, [ours], LogQuery(), pace=QUICK)
        assert texts(read(log, follow=True)) == ["gF pod train-0 on node-7 is gone; what it said was lost"]
    assert pod.asked == []


def test_a_container_that_is_restarted_between_two_connections() -> None:
    pod = FakePod()
    pod.restart_policy = "OnFailure"
    pod.say("one", "two")
    pod.faults.append(Fault(cut_after=len(pod.lines[0]) + 3))
    with cluster(pod) as api:
        pace = msgspec.structs.replace(QUICK, first_wait_s=0.3, longest_wait_s=0.3)
        blocks = logs(api, pod, pace=pace)[0].blocks(since=None, follow=True)
        got = [next(block for block in blocks if block)]
        pod.say("three")
        pod.restart()
        pod.say("four")
        pod.become("ended")
        got += blocks
    assert texts(b"".join(got)) == ["oF one", "oF two", "oF three", "oF four"]


def test_a_container_that_is_restarted_twice_loses_what_lay_between() -> None:
    pod = FakePod()
    pod.restart_policy = "OnFailure"
    pod.say("one", "two")
    pod.faults.append(Fault(cut_after=len(pod.lines[0]) + 3))
    with cluster(pod) as api:
        pace = msgspec.structs.replace(QUICK, first_wait_s=0.3, longest_wait_s=0.3)
        blocks = logs(api, pod, pace=pace)[0].blocks(since=None, follow=True)
        got = [next(block for block in blocks if block)]
        pod.restart()
        pod.restart()
        pod.say("four")
        pod.become("ended")
        got += blocks
    expected = ["oF one", "gF main in pod train-0 on node-7 was started again; lines before that were lost", "oF four"]
    assert texts(b"".join(got)) == expected


def test_a_rotated_log_says_what_may_be_missing() -> None:
    pod = FakePod()
    pod.say("one", "two")
    pod.faults.append(Fault(cut_after=len(pod.lines[0]) + 3))
    with cluster(pod) as api:
        pace = msgspec.structs.replace(QUICK, first_wait_s=0.3, longest_wait_s=0.3)
        blocks = logs(api, pod, pace=pace)[0].blocks(since=None, follow=True)
        got = [next(block for block in blocks if block)]
        pod.lines = []
        pod.say("nine")
        pod.become("ended")
        got += blocks
    note = f"gF lines between {at(1_000_000)} and {at(3_000_000)} may be missing: the node rotated the log of pod train-0 on node-7"
    assert texts(b"".join(got)) == ["oF one", note, "oF nine"]


def test_the_kubelets_own_words_are_told_once() -> None:
    pod = FakePod(state="ended")
    pod.faults.extend([Fault(body=b"unable to retrieve container logs for containerd://b19188b6704b")] * 2)
    with cluster(pod) as api:
        words = "gF the node of pod train-0 on node-7 says: unable to retrieve container logs for containerd://b19188b6704b"
        assert texts(read(logs(api, pod)[0])) == [words]
        assert texts(read(logs(api, pod)[0], follow=True)) == [words]


def test_a_kubelet_out_of_watches_is_asked_again() -> None:
    pod = FakePod()
    pod.say("a")
    pod.faults.append(Fault(body=pod.lines[0] + b"\nfailed to create fsnotify watcher: too many open files"))
    with cluster(pod) as api:
        blocks = logs(api, pod)[0].blocks(since=None, follow=True)
        soon(lambda: len(pod.asked) > 1)
        pod.say("b")
        pod.become("ended")
        got = texts(b"".join(blocks))
    assert [line for line in got if line[0] == "o"] == ["oF a", "oF b"]
    assert len(got) == 3


def test_many_pods_are_looked_at_together() -> None:
    pods = [FakePod(f"p{number}", state="waiting") for number in range(12)]
    answers = Cluster(*pods)
    with serving(answers) as server, api_of(server) as api:
        targets = [target(pod, node=number, ranks=(number,)) for number, pod in enumerate(pods)]
        open_ = [log.blocks(since=None, follow=True) for log in logs_of(api, targets, LogQuery(), selector="a=b", pace=QUICK)]
        assert [next(blocks) for blocks in open_] == [b""] * 12
        before, asked = answers.lists, len(server.requests)
        time.sleep(0.3)
        looks = len(server.requests) - asked
        assert looks == answers.lists - before
        assert looks < 60
        for pod in pods:
            pod.say("up")
            pod.become("ended")
        assert [texts(b"".join(blocks)) for blocks in open_] == [["oF up"]] * 12


def test_who_goes_away_ends_the_stream() -> None:
    pod = FakePod()
    pod.say("a")
    with cluster(pod) as api:
        blocks = logs(api, pod, pace=msgspec.structs.replace(QUICK, silence_s=0.2))[0].blocks(since=None, follow=True)
        del blocks
        soon(lambda: not any(thread.name == "log-train-0" for thread in threading.enumerate()))


def test_nobody_reads_and_reading_stops_until_somebody_does() -> None:
    pod = FakePod()
    pod.say(*[f"{number} {'z' * 1000}" for number in range(3000)])
    with cluster(pod) as api:
        pace = msgspec.structs.replace(QUICK, most=200_000, memory=100_000)
        blocks = logs(api, pod, pace=pace)[0].blocks(since=None, follow=True)
        time.sleep(0.3)
        pod.become("ended")
        assert len(texts(b"".join(blocks))) == 3000
