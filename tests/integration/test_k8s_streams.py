"""Logs, programs, ports and files of pods that really run.

Needs a cluster with a real node and an image with sh, tar and a web server (busybox will do) that the node has already:
``GPUCTL_TEST_NODE_KUBECONFIG`` and ``GPUCTL_TEST_NODE_IMAGE`` name them. Without them these tests are skipped.
"""

import contextlib
import functools
import hashlib
import os
import threading
import time
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from gpuctl.base.errors import GpuctlError, UnavailableError
from gpuctl.clusters.kubernetes.streams import exec as programs
from gpuctl.clusters.kubernetes.streams import forward, volumepod
from gpuctl.clusters.kubernetes.streams.copy import Remote
from gpuctl.clusters.kubernetes.streams.logs import PodLog, logs_of
from gpuctl.clusters.kubernetes.streams.target import PodTarget
from gpuctl.clusters.kubernetes.streams.terminal import Terminal
from gpuctl.kube.api import Api, open_api
from gpuctl.kube.objects.meta import Object
from gpuctl.kube.objects.pods import Pod
from gpuctl.kube.resources import PODS
from gpuctl.model.ask import ExecTarget, LogQuery
from gpuctl.port.stream import HEADER

KUBECONFIG = os.environ.get("GPUCTL_TEST_NODE_KUBECONFIG")
IMAGE = os.environ.get("GPUCTL_TEST_NODE_IMAGE")
"""Both read before tests get a clean environment."""
pytestmark = pytest.mark.skipif(not (KUBECONFIG and IMAGE), reason="no real node (GPUCTL_TEST_NODE_KUBECONFIG, GPUCTL_TEST_NODE_IMAGE)")
NAMESPACE = "default"


@pytest.fixture
def api() -> Iterator[Api]:
    """The cluster with the real node."""
    opened = open_api(None, env=dict(os.environ), kubeconfig=KUBECONFIG, namespace=NAMESPACE)
    yield opened
    opened.close()


@contextlib.contextmanager
def running(api: Api, name: str, script: str, *, phase: str = "Running", policy: str = "Never", **target: Any) -> Iterator[PodTarget]:
    """A pod that runs a script, once it is in a phase."""
    container = {
        "name": "main",
        "image": IMAGE,
        "imagePullPolicy": "Never",
        "command": ["/bin/sh", "-c", script],
        "env": [{"name": "GPUCTL_POD_ROLE", "value": "node"}, {"name": "GPUCTL_JOB", "value": name}],
    }
    spec = {"restartPolicy": policy, "terminationGracePeriodSeconds": 1, "automountServiceAccountToken": False, "containers": [container]}
    with contextlib.suppress(GpuctlError):
        api.delete(PODS.path(NAMESPACE, name), grace_s=0)
        time.sleep(1.0)
    made = api.create(PODS.path(NAMESPACE), {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": spec}, Pod)
    try:
        wait(lambda: api.get(PODS.path(NAMESPACE, name), Pod).status.phase == phase)
        yield PodTarget(namespace=NAMESPACE, name=name, uid=made.metadata.uid, container="main", host="real-1", **target)
    finally:
        with contextlib.suppress(GpuctlError):
            api.delete(PODS.path(NAMESPACE, name), grace_s=0)


def wait(condition: Any, within: float = 60.0) -> None:
    ends = time.monotonic() + within
    while not condition():
        assert time.monotonic() < ends
        time.sleep(0.1)


def texts(log: PodLog, **how: Any) -> list[str]:
    blocks = log.blocks(since=how.get("since"), follow=how.get("follow", False), tail=how.get("tail"))
    return [record[HEADER:].decode() for block in blocks for record in block.splitlines()]


RANKS: dict[str, Any] = {"ranks": (0, 1, 2), "prefixed": True}


def test_every_line_of_every_rank_once_while_it_is_written(api: Api) -> None:
    script = (
        'i=0; while [ $i -lt 3000 ]; do echo "[$((i%3))] line $i"; [ $((i%100)) -gt 0 ] || sleep 0.1; i=$((i+1)); done; printf "no end"'
    )
    with running(api, "streams-many", script, **RANKS) as pod:
        agent, *ranks = logs_of(api, [pod], LogQuery())
        with ThreadPoolExecutor(4) as pool:
            got = list(pool.map(lambda log: texts(log, follow=True), [agent, *ranks]))
        assert got[0] == ["no end"]
        assert got[1:] == [[f"line {number}" for number in range(rank, 3000, 3)] for rank in range(3)]
        assert [texts(log, tail=1) for log in ranks] == [["line 2997"], ["line 2998"], ["line 2999"]]


def test_a_long_line_stays_one_and_stderr_is_there(api: Api) -> None:
    # Not at the same time: a kubelet glues what stderr says into a line of stdout that is longer than 16 KiB.
    script = 'head -c 50000 /dev/zero | tr "\\0" x; echo; sleep 0.5; echo err >&2'
    with running(api, "streams-long", script, phase="Succeeded") as pod:
        (log,) = logs_of(api, [pod], LogQuery())
        assert sorted(texts(log), key=len) == ["err", "x" * 50000]


def test_a_container_that_was_restarted(api: Api) -> None:
    script = 'echo "life"; sleep 1; exit 1'
    with running(api, "streams-again", script, policy="OnFailure") as pod:
        states = lambda: api.get(PODS.path(NAMESPACE, "streams-again"), Pod).status.container_statuses or []  # noqa: E731
        wait(lambda: any(each.restart_count for each in states()))
        (log,) = logs_of(api, [PodTarget(namespace=NAMESPACE, name=pod.name, container="main", previous=True)], LogQuery())
        assert texts(log) == ["life"] or "says:" in texts(log)[0]  # the node may have forgotten it already


def test_a_pod_that_is_deleted_while_it_is_followed(api: Api) -> None:
    with running(api, "streams-gone", 'trap "echo bye; exit 0" TERM; echo up; while :; do sleep 0.1; done') as pod:
        (log,) = logs_of(api, [pod], LogQuery())
        got: list[str] = []
        thread = threading.Thread(target=lambda: got.extend(texts(log, follow=True)))
        thread.start()
        time.sleep(1.0)
        api.delete(PODS.path(NAMESPACE, "streams-gone"))
        thread.join(30)
        assert got == ["up", "bye"]


def test_programs_in_the_jobs_environment(api: Api, tmp_path: Path) -> None:
    script = "mkdir -p /tmp/w; cd /tmp/w; unset GPUCTL_POD_ROLE; (export RANK=1 LOCAL_RANK=1 X='a  b'; exec sleep 1000) & exec sleep 1000"
    with running(api, "streams-exec", script, **RANKS) as pod, open(tmp_path / "out", "w+b") as out, open(tmp_path / "in", "w+b") as typed:
        typed.write(b"typed" * 100_000)
        typed.seek(0)
        terminal = Terminal(typed.fileno(), out.fileno(), out.fileno())
        words = ["sh", "-c", 'pwd; echo "$RANK $X ${GPUCTL_POD_ROLE-none}"; md5sum; exit 9']
        assert programs.run(api, [pod], ExecTarget(rank=1), words, job="j", tty=False, terminal=terminal) == 9
        out.seek(0)
        digest = hashlib.md5(b"typed" * 100_000).hexdigest()
        assert out.read().decode() == f"/tmp/w\n1 a  b none\n{digest}  -\n"
        assert programs.run(api, [pod], ExecTarget(), ["no-such-program"], job="j", tty=False, terminal=terminal) == 127
        assert programs.run(api, [pod], ExecTarget(), ["sh", "-c", "kill -9 $$"], job="j", tty=False, terminal=terminal) == 137


def test_a_port_for_many_at_once(api: Api) -> None:
    script = "mkdir -p /tmp/w; head -c 2000000 /dev/urandom >/tmp/w/big; exec httpd -f -p 6006 -h /tmp/w"
    with running(api, "streams-port", script) as pod:
        stop = threading.Event()
        wait(lambda: _listens(api, pod))
        for opened in forward.serve(api, lambda: pod, job="j", kind="pytorch", remote="tensorboard", local_port=None, stop=stop):
            with ThreadPoolExecutor(6) as pool:
                sizes = set(pool.map(_fetched, [f"http://127.0.0.1:{opened.local_port}/big"] * 18))
            assert sizes == {2_000_000}
            stop.set()
        with pytest.raises(UnavailableError) as caught:
            next(iter(forward.serve(api, lambda: pod, job="j", kind="ray", remote="7", local_port=None, stop=threading.Event())))
        assert caught.value.code == "not-listening"


def _fetched(address: str) -> int:
    with urllib.request.urlopen(address, timeout=20) as answer:
        return len(answer.read())


def _listens(api: Api, pod: PodTarget) -> bool:
    with programs.session(api, pod, ["sh", "-c", "netstat -ltn | grep -q 6006"]) as asked:
        while asked.read(5.0) is not None:
            pass
        return asked.exit_code == 0


def test_files_out_of_a_job(api: Api, tmp_path: Path) -> None:
    with running(
        api, "streams-cp", "mkdir -p /tmp/w/a; cd /tmp/w; unset GPUCTL_POD_ROLE; echo 1 >a/one; ln -s a/one l; exec sleep 1000"
    ) as pod:
        assert Remote(api, pod, what="j").get("a", str(tmp_path)) == 2
        assert (tmp_path / "a/one").read_text() == "1\n"
        assert Remote(api, pod, what="j").get("l", str(tmp_path / "file")) == 2
        with pytest.raises(GpuctlError):
            Remote(api, pod, what="j").get("nope", str(tmp_path))


def test_files_of_a_volume(api: Api, tmp_path: Path) -> None:
    claim = {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": "streams-data"},
        "spec": {
            "accessModes": ["ReadWriteOnce"],
            "storageClassName": "",
            "volumeName": "streams-data",
            "resources": {"requests": {"storage": "1Gi"}},
        },
    }
    held = {
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": {"name": "streams-data"},
        "spec": {
            "capacity": {"storage": "1Gi"},
            "accessModes": ["ReadWriteOnce"],
            "storageClassName": "",
            "hostPath": {"path": str(tmp_path / "disk"), "type": "DirectoryOrCreate"},
            "claimRef": {"namespace": NAMESPACE, "name": "streams-data"},
        },
    }
    claims, volumes = f"/api/v1/namespaces/{NAMESPACE}/persistentvolumeclaims", "/api/v1/persistentvolumes"
    api.create(volumes, held, Object)
    api.create(claims, claim, Object)
    try:
        source = tmp_path / "src"
        (source / "sub").mkdir(parents=True)
        (source / "sub/data").write_bytes(os.urandom(3_000_000))
        built = functools.partial(volumepod.spec, namespace=NAMESPACE, claim="streams-data", image=IMAGE or "")
        with volumepod.mounted(api, built, volume="data") as volume:
            assert volume.put(str(source), "in") == 3_000_000
            assert [row.path for row in volumepod.files(volume, "").items] == ["in", "in/sub", "in/sub/data"]
            assert volume.get("in", str(tmp_path / "back")) == 3_000_000
            assert volume.get("in/sub/data", str(tmp_path / "one")) == 3_000_000
        assert (tmp_path / "back/sub/data").read_bytes() == (source / "sub/data").read_bytes()
        assert not [pod for pod in api.list(PODS.path(NAMESPACE), Pod) if _ours(pod)]
    finally:
        api.delete(f"{claims}/streams-data")
        api.delete(f"{volumes}/streams-data")


def _ours(pod: Pod) -> bool:
    return pod.metadata.name.startswith("gpuctl-files-") and pod.metadata.deletion_timestamp is None
