"""``gpuctl volumes``: a noun with verbs; what holds data asks for its name."""

import json
from typing import Any

import pytest

from gpuctl.model.place import Volume, VolumeFile
from gpuctl.model.reason import Evidence, Reason
from tests.cli.recorder import NOW, RecordingPool, ago

GI = 2**30
DATA = Volume(name="data", home="local", size=100 * GI, used=3 * GI, path="/vol/data", created_at=ago(days=2))
BUSY = Volume(name="busy", home="res-a", access="rwo", storage_class="nvme", mounted_by=("train-k3f9", "tune-b7b7"))
PENDING = Volume(
    name="new",
    home="res-a",
    phase="pending",
    storage_class="fast",
    reason=Reason(code="volume-unbound", sentence='storageclass.storage.k8s.io "fast" not found', what="escalate"),
    evidence=(
        Evidence(
            code="volume-unbound", text='ProvisioningFailed (3 times): storageclass.storage.k8s.io "fast" not found', source="event", at=NOW
        ),
    ),
)
TWIN = Volume(name="data", home="res-a")


def volumes(*found: Volume, **answers: Any) -> RecordingPool:
    return RecordingPool(volumes=found or (DATA, BUSY), **answers)


@pytest.mark.parametrize(
    "args", ["volumes", "volumes list -o wide", "volumes -o name", "volumes show data", "volumes show busy", "volumes files data"]
)
def test_looking(run: Any, snapshot: Any, args: str) -> None:
    files = (
        VolumeFile(path="a/b.pt", size=5 * GI, modified_at=ago(hours=1)),
        VolumeFile(path="a", size=0, modified_at=ago(hours=2), directory=True),
    )
    outcome = run(volumes(files=files), *args.split())
    assert (outcome.code, outcome.err) == (0, "")
    assert outcome.out == snapshot


def test_why_one_is_pending(run: Any) -> None:
    piped = run(volumes(PENDING), "volumes", "show", "new").out
    assert piped.startswith('volume/new  pending\n\n  why        storageclass.storage.k8s.io "fast" not found\n  home       res-a\n')
    assert piped.endswith(
        '\nEvidence\n  12:00:00 volume-unbound (event): ProvisioningFailed (3 times): storageclass.storage.k8s.io "fast" not found\n'
    )
    shown = run(volumes(PENDING), "volumes", "show", "new", tty=True).out
    assert max(map(len, shown.splitlines())) <= 80
    told = json.loads(run(volumes(PENDING), "volumes", "show", "new", "-o", "json").out)
    assert (told["reason"]["code"], len(told["evidence"])) == ("volume-unbound", 1)


def test_nothing_there(run: Any) -> None:
    outcome = run(RecordingPool(), "volumes")
    assert (outcome.code, outcome.out, outcome.err) == (0, "", "no volumes; gpuctl volumes create NAME makes one\n")
    missing = run(volumes(), "volumes", "show", "dat")
    assert (missing.code, missing.out) == (3, "")
    assert "hint: did you mean data?" in missing.err
    away = run(volumes(incomplete={"res-b": "timed out"}), "volumes", "show", "other")
    assert away.code == 7  # it may be there


def test_a_cluster_that_is_away_is_one_grey_row(run: Any) -> None:
    pool = volumes(incomplete={"res-b": "timed out"})
    outcome = run(pool, "volumes", tty=True, color=True)
    row = next(line for line in outcome.out.splitlines() if "res-b" in line)
    assert row.startswith("\x1b[2m?")
    assert (outcome.code, outcome.err) == (0, "note: res-b could not be read: timed out\n")
    assert "res-b" not in run(pool, "volumes", "-o", "name").out
    machine = json.loads(run(pool, "volumes", "-o", "json").out)
    assert (machine["incomplete"], "res-b" in str(machine["items"])) == (["res-b"], False)


def test_create(run: Any) -> None:
    pool = volumes()
    outcome = run(pool, "volumes", "create", "new", "--size", "100Gi", "--access", "rwo", "--storage-class", "nvme", "--cluster", "res-a")
    assert (outcome.code, outcome.out) == (0, "volume/new\n")
    assert pool.asked("create_volume") == [("new", {"cluster": "res-a", "size": 100 * GI, "access": "rwo", "storage_class": "nvme"})]
    assert json.loads(run(pool, "volumes", "create", "new", "-o", "json").out)["kind"] == "Volume"


@pytest.mark.parametrize(
    ("args", "expected"),
    [
        (["My Data"], "did you mean my-data?"),
        (["x" * 41], "is 41 characters long"),
        (["a/b"], "did you mean a-b?"),
        (["ok", "--size", "lots"], "--size"),
        (["ok", "--access", "rw"], "did you mean rwx?"),
    ],
)
def test_create_refuses(run: Any, args: list[str], expected: str) -> None:
    pool = volumes()
    outcome = run(pool, "volumes", "create", *args)
    assert (outcome.code, outcome.out) == (2, "")
    assert expected in outcome.err
    assert pool.calls == []


def test_delete_asks_for_the_name(run: Any) -> None:
    pool = volumes()
    outcome = run(pool, "volumes", "delete", "data", tty=True, stdin="data\n")
    assert (outcome.code, outcome.out) == (0, "volume/data\n")
    assert "volume data on local and all it holds (3Gi) will be gone\nType data to delete it: " in outcome.err
    assert pool.asked("delete_volume") == [("data", None)]


@pytest.mark.parametrize(
    ("args", "facts", "code"),
    [
        ([], {"tty": True, "stdin": "y\n"}, 1),
        ([], {"tty": True, "stdin": ""}, 1),
        ([], {"stdin": "data\n"}, 2),
        (["--confirm=dat"], {"tty": True, "stdin": "data\n"}, 2),
    ],
)
def test_delete_without_the_name_deletes_nothing(run: Any, args: list[str], facts: dict[str, Any], code: int) -> None:
    pool = volumes()
    outcome = run(pool, "volumes", "delete", "data", *args, **facts)
    assert (outcome.code, outcome.out) == (code, "")
    assert pool.asked("delete_volume") == []


def test_delete_in_a_script(run: Any) -> None:
    pool = volumes()
    assert run(pool, "volumes", "delete", "data", "--confirm=data").out == "volume/data\n"
    assert pool.asked("delete_volume") == [("data", None)]


def test_what_is_mounted_stays(run: Any) -> None:
    pool = volumes()
    outcome = run(pool, "volumes", "delete", "busy", "--confirm=busy")
    assert (outcome.code, outcome.out) == (6, "")
    assert "cannot delete volume busy: 2 unfinished jobs mount it" in outcome.err
    assert "cause: job/train-k3f9, job/tune-b7b7" in outcome.err
    assert pool.asked("delete_volume") == []


def test_a_name_on_two_clusters(run: Any) -> None:
    pool = volumes(DATA, TWIN)
    refused = run(pool, "volumes", "show", "data")
    assert refused.code == 2
    assert "hint: --cluster local" in refused.err
    assert "res-a" in run(pool, "volumes", "show", "data", "--cluster", "res-a").out


def test_put_and_get(run: Any, tmp_path: Any) -> None:
    (tmp_path / "corpus").mkdir()
    pool = volumes()
    assert run(pool, "volumes", "put", "data", "corpus", "in/corpus").code == 0
    assert run(pool, "volumes", "get", "data", "out/model.pt").err == "copied out/model.pt of volume data to .: 10B\n"
    assert pool.asked("put_file") == [("data", "corpus", "in/corpus", None)]
    assert pool.asked("get_file") == [("data", "out/model.pt", ".", None)]
    missing = run(pool, "volumes", "put", "data", "nothere")
    assert missing.code == 3
    assert len(pool.asked("put_file")) == 1
