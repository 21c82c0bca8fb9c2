"""Volumes, snapshots and copies: nothing leads outside, nothing ignored is copied."""

import os
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from gpuctl.base.errors import ConflictError, GpuctlError, InvalidInput, NotFoundError, UsageError
from gpuctl.clusters.local import snapshotcopy
from gpuctl.model.ask import LogQuery
from gpuctl.model.spec import Checkpoint, VolumeMount
from gpuctl.port.stream import HEADER
from tests.fakes.machine import LocalPlace, files_below, submission


@pytest.fixture
def place(home: Path) -> Iterator[LocalPlace]:
    made = LocalPlace()
    yield made
    made.close()


def make_volume(place: LocalPlace, name: str = "data") -> Path:
    path = place.cluster.create_volume(name, size=None, access=None, storage_class=None).path
    assert path is not None
    return Path(path)


def test_a_volume_comes_and_goes(place: LocalPlace, tmp_path: Path) -> None:
    make_volume(place)
    (tmp_path / "tree" / "deep").mkdir(parents=True)
    (tmp_path / "tree" / "deep" / "a.txt").write_text("hello")
    assert place.cluster.put_file("data", str(tmp_path / "tree"), "/") == 5
    assert [(file.path, file.size, file.directory) for file in place.cluster.volume_files("data", "/").items] == [
        ("tree", 0, True),
        ("tree/deep", 0, True),
        ("tree/deep/a.txt", 5, False),
    ]
    assert place.cluster.get_file("data", "tree/deep/a.txt", str(tmp_path / "back")) == 5
    assert (tmp_path / "back").read_text() == "hello"
    place.cluster.delete_volume("data")
    assert place.cluster.volumes().items == ()
    with pytest.raises(NotFoundError):
        place.cluster.delete_volume("data")


@pytest.mark.parametrize("name", ["", "a b", "../x", "UPPER", "x" * 300, "ü"])
def test_names_that_no_volume_can_have(place: LocalPlace, name: str) -> None:
    with pytest.raises(InvalidInput):
        place.cluster.create_volume(name, size=None, access=None, storage_class=None)


def test_a_name_is_taken_once(place: LocalPlace) -> None:
    make_volume(place)
    with pytest.raises(ConflictError):
        make_volume(place)


@pytest.mark.parametrize("path", ["../x", "a/../../x", "/../../etc/passwd", "out/passwd", "out"])
def test_nothing_leads_out_of_a_volume(place: LocalPlace, tmp_path: Path, path: str) -> None:
    (make_volume(place) / "out").symlink_to("/etc")
    (tmp_path / "mine").write_text("x")
    for call in (
        lambda: place.cluster.volume_files("data", path),
        lambda: place.cluster.get_file("data", path, str(tmp_path / "got")),
        lambda: place.cluster.put_file("data", str(tmp_path / "mine"), path),
    ):
        with pytest.raises(UsageError) as caught:
            call()
        assert caught.value.code == "path-outside"
    assert not (tmp_path / "got").exists()


def test_a_tree_is_not_put_through_a_link_that_leads_out(place: LocalPlace, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (make_volume(place) / "tree").mkdir()
    (Path(place.cluster.volumes().items[0].path or "") / "tree" / "sub").symlink_to(outside)
    (tmp_path / "tree" / "sub").mkdir(parents=True)
    (tmp_path / "tree" / "sub" / "file").write_text("x")
    with pytest.raises(GpuctlError):
        place.cluster.put_file("data", str(tmp_path / "tree"), "/")
    assert list(outside.iterdir()) == []


def test_a_tree_with_a_link_that_leads_out_is_not_got(place: LocalPlace, tmp_path: Path) -> None:
    volume = make_volume(place)
    (volume / "tree").mkdir()
    (volume / "tree" / "secret").symlink_to("/etc/passwd")
    with pytest.raises(UsageError):
        place.cluster.get_file("data", "tree", str(tmp_path / "got"))


def test_a_mounted_volume_is_not_deleted(place: LocalPlace) -> None:
    make_volume(place)
    job = place.cluster.launch(submission("true", hold=True, volumes=(VolumeMount(name="data"),))).job
    assert place.cluster.volumes().items[0].mounted_by == (job.name,)
    with pytest.raises(ConflictError, match=job.name):
        place.cluster.delete_volume("data")


def test_a_job_finds_its_volume_and_its_checkpoint(place: LocalPlace) -> None:
    path = make_volume(place)
    script = "echo $GPUCTL_VOLUME_DATA; echo $GPUCTL_CHECKPOINT_DIR"
    mounts = {"volumes": (VolumeMount(name="data"),), "checkpoint": Checkpoint(volume="data", dir="/ckpt")}
    job = place.cluster.launch(submission("sh", "-c", script, **mounts)).job
    list(place.cluster.wait([job.name], stop=threading.Event(), timeout=30))
    (log,) = [log for log in place.cluster.logs(job.name, LogQuery()) if log.rank == 0]
    assert [line[HEADER:].decode() for line in log.tail(5).splitlines()] == [str(path), f"{path}/ckpt"]


def test_a_missing_volume_is_named_with_the_nearest(place: LocalPlace) -> None:
    make_volume(place, "dataset")
    with pytest.raises(InvalidInput) as caught:
        place.cluster.launch(submission("true", volumes=(VolumeMount(name="datasett"), VolumeMount(name="other"))))
    assert [problem.nearest for problem in caught.value.problems] == ["dataset", None]


def tree(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(name)


def git(root: Path, *arguments: str) -> None:
    settings = ["-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "init.defaultBranch=main"]
    subprocess.run(["git", *settings, "-C", str(root), *arguments], check=True, capture_output=True)


EXPECTED = {"train.py", "src/model.py", "src/keep.log", ".gitignore", ".gpuctlignore", "src/.gitignore", "run"}


@pytest.mark.parametrize("in_git", [True, False])
def test_a_snapshot_has_what_is_not_ignored(tmp_path: Path, in_git: bool) -> None:
    root = tmp_path / "code"
    tree(
        root, "train.py", "src/model.py", "src/keep.log", "a.log", "src/b.log", "build/x.o", "big/data.bin", "src/deep/big/data.bin", "run"
    )
    (root / ".gitignore").write_text("*.log\n/build/\n# comment\n")
    (root / "src" / ".gitignore").write_text("!keep.log\n")
    (root / ".gpuctlignore").write_text("big\n")
    if in_git:
        git(root, "init", "-q")
        git(root, "add", "train.py")
        git(root, "commit", "-qm", "first")
        (root / "train.py").write_text("changed, not committed")
    inside = snapshotcopy.copy(str(root / "src"), str(tmp_path / "copy"))
    assert inside == str(tmp_path / "copy" / "src") if in_git else inside == str(tmp_path / "copy")
    copied = {path for path in files_below(str(tmp_path / "copy")) if (tmp_path / "copy" / path).is_file()}
    if in_git:
        assert copied == EXPECTED
        assert (tmp_path / "copy" / "train.py").read_text() == "changed, not committed"
    else:
        assert copied == {"model.py", "keep.log", "b.log", ".gitignore", "deep/big/data.bin"}


def test_a_job_with_a_snapshot_runs_the_code_of_then(place: LocalPlace, tmp_path: Path) -> None:
    code = tmp_path / "code"
    tree(code, "say")
    (code / "say").write_text("echo then")
    job = place.cluster.launch(submission("sh", "say", workdir=str(code), snapshot=True, hold=True)).job
    (code / "say").write_text("echo now")
    from gpuctl.model.ask import JobChange

    place.cluster.update(job.name, JobChange(hold=False))
    list(place.cluster.wait([job.name], stop=threading.Event(), timeout=30))
    (log,) = [log for log in place.cluster.logs(job.name, LogQuery()) if log.rank == 0]
    assert log.tail(1)[HEADER:] == b"then\n"


def test_a_snapshot_that_is_too_large_names_the_biggest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(snapshotcopy, "LARGEST_BYTES", 100)
    (tmp_path / "huge.bin").write_bytes(b"x" * 200)
    with pytest.raises(UsageError, match="100") as caught:
        snapshotcopy.copy(str(tmp_path), str(tmp_path / "copy"))
    assert "huge.bin" in (caught.value.cause or "")
    assert not os.path.exists(tmp_path / "copy")
