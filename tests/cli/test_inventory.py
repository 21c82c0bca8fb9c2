"""``gpuctl nodes``, ``clusters``, ``top``, ``usage`` and ``history``: what is there and who used it."""

import json
from datetime import timedelta
from typing import Any

import pytest

from gpuctl.model.job import Code, Exit, State
from gpuctl.model.place import ClusterStatus, Device, Holder, Node, Sample, UsageRow
from gpuctl.model.spec import JobSpec
from tests.cli.recorder import NOW, RecordingPool, ago, make_job

GI = 2**30
GPU = {"kind": "nvidia", "type": "NVIDIA H100", "memory_total": 80 * GI}
DEVICES = (
    Device(
        index=0, uuid="GPU-0", memory_used=40 * GI, utilisation=97, holder=Holder(user="anna", job="train-k3f9", since=ago(hours=1)), **GPU
    ),
    Device(index=1, uuid="GPU-1", memory_used=41 * GI, utilisation=3, holder=Holder(user="anna", job="train-k3f9"), **GPU),
    Device(index=2, uuid="GPU-2", memory_used=None, utilisation=None, holder=Holder(user="bert", pid=4242), **GPU),
    Device(index=3, uuid="GPU-3", memory_used=0, utilisation=0, **GPU),
)
NODES = (
    Node(name="ws", cluster="local", gpu_type="H100", gpus=4, gpus_free=1, cpu_millis=64000, memory=512 * GI, devices=DEVICES),
    Node(name="n1", cluster="res-a", tier="reserved", ready=False, why="kubelet stopped posting", gpu_type="H100", gpus=8),
    Node(
        name="laptop",
        cluster="local",
        gpus=8,
        gpus_free=8,
        cpu_millis=1500,
        memory=16 * GI,
        devices=(Device(index=0, uuid="slot-0", type="slot"),),
    ),
)
CLUSTERS = (
    ClusterStatus(name="local", kind="local", nodes=1, free={"h100": 1}, total={"h100": 4}, largest_shape="1x1", uid="m-1"),
    ClusterStatus(name="res-a", kind="kubernetes", tier="reserved", health="unreachable", total={"h100": 64}, error="connect timed out"),
    ClusterStatus(name="res-b", kind="kubernetes", tier="reserved", health="unauthorized", error="the credentials were refused"),
)
SAMPLES = (
    Sample(
        job="train-k3f9",
        rank=0,
        node="ws",
        device=0,
        cpu=398.7,
        memory=12 * GI,
        gpu=97,
        gpu_memory=40 * GI,
        gpu_memory_total=80 * GI,
        processes=9,
        silent_for=2.2,
    ),
    Sample(job="train-k3f9", rank=1, processes=1),
)
USAGE = (
    UsageRow(user="anna", day="2026-02-28", state="succeeded", jobs=2, gpu_seconds=5400, cluster="local"),
    UsageRow(user="bert", day="2026-02-28", state="failed", jobs=1, gpu_seconds=36, cluster="local"),
    UsageRow(user="anna", day="2026-03-01", state="running", jobs=1, gpu_seconds=7200, cluster="res-a"),
)


def test_without_gpus_there_is_nothing_to_read_of_them(run: Any) -> None:
    samples = [Sample(job=name, gpus=gpus, processes=1) for name, gpus in (("none", 0), ("unread", 1), ("unknown", None))]
    outcome = run(RecordingPool(samples=samples), "top", "-o", "columns=JOB,GPU%,GPUMEM", "--no-headers")
    assert [line.split() for line in outcome.out.splitlines()] == [["none", "-", "-"], ["unread", "?", "?"], ["unknown", "?", "?"]]


@pytest.mark.parametrize("width", [80, 120])
@pytest.mark.parametrize("args", ["nodes", "nodes --devices", "clusters", "top", "usage"])
def test_tables(run: Any, snapshot: Any, args: str, width: int) -> None:
    pool = RecordingPool(nodes=NODES, clusters=CLUSTERS, samples=SAMPLES, usage=USAGE)
    outcome = run(pool, *args.split(), width=width, tty=True)
    assert outcome.code == 0
    assert outcome.out == snapshot
    assert max(map(len, outcome.out.splitlines())) <= width


@pytest.mark.parametrize("args", ["nodes", "nodes --devices", "clusters", "top", "usage", "history"])
@pytest.mark.parametrize("form", ["wide", "name", "json"])
def test_every_format(run: Any, snapshot: Any, args: str, form: str) -> None:
    pool = RecordingPool([make_job()], nodes=NODES, clusters=CLUSTERS, samples=SAMPLES, usage=USAGE)
    outcome = run(pool, *args.split(), "-o", form)
    assert outcome.code == 0
    assert outcome.out == snapshot


@pytest.mark.parametrize("verb", ["nodes", "clusters", "top", "usage", "history"])
def test_empty(run: Any, verb: str) -> None:
    outcome = run(RecordingPool(), verb)
    assert (outcome.code, outcome.out) == (0, "")
    assert len(outcome.err.splitlines()) == 1
    assert json.loads(run(RecordingPool(), verb, "-o", "json").out)["items"] == []


@pytest.mark.parametrize("verb", ["nodes", "top", "usage", "history"])
def test_incomplete(run: Any, verb: str) -> None:
    pool = RecordingPool(incomplete={"res-a": "timed out"})
    told = run(pool, verb).err
    assert told.startswith("note: res-a could not be read: timed out\n")
    assert verb == "nodes" or told.splitlines()[1].startswith("as far as could be read: n")
    assert json.loads(run(pool, verb, "-o", "json").out)["incomplete"] == ["res-a"]


def test_a_node_without_gpus_has_none_of_an_unknown_type(run: Any) -> None:
    cpu = Node(name="cpu-0", cluster="res-a", ready=True, gpus=0, gpus_free=0)
    unread = Node(name="new-0", cluster="res-a", ready=True, gpus=8, gpus_free=8)
    assert run(RecordingPool(nodes=[cpu, unread]), "nodes", "-o", "columns=NAME,TYPE", "--no-headers").out.split() == [
        "cpu-0",
        "-",
        "new-0",
        "?",
    ]


def test_a_cluster_that_is_away_has_its_row_and_is_named(run: Any) -> None:
    pool = RecordingPool(clusters=CLUSTERS, incomplete={"res-a": "connect timed out"})
    outcome = run(pool, "clusters")
    assert (outcome.code, outcome.err) == (0, "note: res-a could not be read: connect timed out\n")
    assert "connect timed out" in outcome.out
    assert json.loads(run(pool, "clusters", "-o", "json").out)["incomplete"] == ["res-a"]


def test_what_a_cluster_may_not_tell_of_its_nodes_is_unknown(run: Any) -> None:
    closed = ClusterStatus(name="res-a", kind="kubernetes", error="cannot list nodes")
    assert run(RecordingPool(clusters=[closed]), "clusters", "-o", "columns=NODES,FREE,FITS", "--no-headers").out.split() == ["?", "?", "?"]


def test_a_cluster_without_nodes_to_show_is_one_grey_row(run: Any) -> None:
    pool = RecordingPool(nodes=NODES[:1], incomplete={"res-a": "timed out"})
    outcome = run(pool, "nodes", tty=True, color=True)
    row = next(line for line in outcome.out.splitlines() if "res-a" in line)
    assert row.startswith("\x1b[2m?")
    assert "timed out" in row
    assert outcome.err == "note: res-a could not be read: timed out\n"
    assert run(pool, "nodes", "-o", "name").out == "node/ws\n"
    assert len(json.loads(run(pool, "nodes", "-o", "json").out)["items"]) == 1


def test_a_second_context_of_one_cluster_says_so(run: Any) -> None:
    second = ClusterStatus(name="res-b", kind="kubernetes", tier="reserved", same_as="res-a")
    outcome = run(RecordingPool(clusters=[second]), "clusters")
    assert "the same place as res-a, counted there" in outcome.out


@pytest.mark.parametrize(
    "args", ["nodes --sort nam", "clusters --sort nam", "top --sort jb", "usage --sort jbs", "usage --by usr", "history --sort nam"]
)
def test_wrong_words_are_told_before_anything_is_read(run: Any, args: str) -> None:
    pool = RecordingPool()
    outcome = run(pool, *args.split())
    assert (outcome.code, outcome.out) == (2, "")
    assert "did you mean" in outcome.err
    assert pool.calls == []


def test_nodes_of_one_cluster(run: Any) -> None:
    assert run(RecordingPool(nodes=NODES), "nodes", "--cluster", "res-a", "-o", "name").out == "node/n1\n"


def test_top_of_one_job(run: Any) -> None:
    pool = RecordingPool(samples=SAMPLES)
    run(pool, "top", "train-k3f9")
    run(pool, "top")
    assert pool.asked("top") == [("train-k3f9",), (None,)]


def test_usage_sums_up_and_keeps_integers_for_programs(run: Any) -> None:
    pool = RecordingPool(usage=USAGE)
    table = run(pool, "usage", "--by", "user", "--sort", "-gpu-hours")
    assert table.out == "USER  JOBS  GPU-HOURS\nanna     3       3.50\nbert     1       0.01\n"
    assert table.err == "3.51 GPU-hours in the last 30d\n"
    items = json.loads(run(pool, "usage", "--by", "user,cluster", "-o", "json").out)["items"]
    head = {"apiVersion": "gpuctl.io/v1", "kind": "Usage"}
    assert items == [
        {**head, "jobs": 2, "gpuSeconds": 5400, "user": "anna", "cluster": "local"},
        {**head, "jobs": 1, "gpuSeconds": 7200, "user": "anna", "cluster": "res-a"},
        {**head, "jobs": 1, "gpuSeconds": 36, "user": "bert", "cluster": "local"},
    ]


def test_usage_asks_for_everybody_of_the_last_month(run: Any) -> None:
    pool = RecordingPool(usage=USAGE)
    run(pool, "usage")
    run(pool, "usage", "-u", "bert", "--since", "1d")
    first, second = (call[0] for call in pool.asked("usage"))
    assert (first.user, first.since) == (None, NOW - timedelta(days=30))
    assert (second.user, second.since) == ("bert", NOW - timedelta(days=1))


def test_history(run: Any) -> None:
    job = make_job(
        state=State.FAILED,
        exit=Exit(signal=9),
        spec=JobSpec(gpus=0, command=("python", "-c", "print(1)")),
        code=Code(workdir="/home/anna/proj", commit="3f9a01c7d2e4", dirty=True),
    )
    pool = RecordingPool([job])
    outcome = run(pool, "history", "--limit", "5", "--since", "1d", "-o", "columns=name,exit,program,commit")
    assert outcome.out.splitlines()[1] == "train-k3f9  signal 9  python -c 'print(1)'  3f9a01c7d2+"
    query = pool.asked("history")[0][0]
    assert (query.limit, query.since) == (5, NOW - timedelta(days=1))
