"""Files in and out of pods: what arrives, what is refused, what is not sent twice."""

import errno
import io
import os
import stat
import tarfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpuctl.base.errors import ConflictError, GpuctlError, NotFoundError, UsageError
from gpuctl.clusters.kubernetes.streams import tarball
from gpuctl.clusters.kubernetes.streams.copy import Remote, copy_out
from gpuctl.clusters.kubernetes.streams.volumepod import files
from tests.unit.k8s_streams.container import NOWHERE, Containers, pod


def remote(containers: Containers, *, root: bool = False) -> Remote:
    return Remote(NOWHERE, pod(), what="train", root=str(containers.work) if root else "")


def tree(root: Path) -> dict[str, str]:
    """Every entry below ``root`` by name: its content, where its link leads, or ``/`` for a directory."""
    found = {}
    for path in sorted(root.rglob("*")):
        name = str(path.relative_to(root))
        found[name] = f"-> {os.readlink(path)}" if path.is_symlink() else "/" if path.is_dir() else path.read_text("utf-8")
    return found


def planted(root: Path) -> None:
    (root / "a/b").mkdir(parents=True)
    (root / "empty").mkdir()
    (root / "a/one").write_text("1")
    (root / "a/b/two words ä").write_text("22")
    (root / "run.sh").write_text("#!/bin/sh")
    (root / "run.sh").chmod(0o750)
    (root / "ok").symlink_to("a/one")
    os.link(root / "a/one", root / "hard")
    os.utime(root / "a/one", (1_700_000_000, 1_700_000_000))


WHOLE = {
    "a": "/",
    "a/b": "/",
    "a/b/two words ä": "22",
    "a/one": "1",
    "empty": "/",
    "hard": "1",
    "ok": "-> a/one",
    "run.sh": "#!/bin/sh",
}


@pytest.mark.parametrize("root", [False, True])
def test_a_directory_comes_out_as_it_is(containers: Containers, tmp_path: Path, root: bool) -> None:
    planted(containers.work / "out")
    told: list[int] = []
    here = tmp_path / "here"
    here.mkdir()
    assert remote(containers, root=root).get("out", str(here), progress=told.append) == 12  # what has two names comes once
    assert tree(here) == {"out": "/", **{f"out/{name}": text for name, text in WHOLE.items()}}
    assert stat.S_IMODE((here / "out/run.sh").stat().st_mode) == 0o750
    assert (here / "out/a/one").stat().st_mtime == 1_700_000_000
    assert told == sorted(told)
    assert told[-1] == 12


def test_a_file_comes_out_under_its_name_or_another(containers: Containers, tmp_path: Path) -> None:
    (containers.work / "model.pt").write_text("weights")
    (containers.work / "latest").symlink_to("model.pt")
    assert copy_out(NOWHERE, [pod()], "model.pt", str(tmp_path), job="train") == 7
    assert (tmp_path / "model.pt").read_text() == "weights"
    assert copy_out(NOWHERE, [pod()], f"{containers.work}/latest", str(tmp_path / "new/name"), job="train") == 7
    assert (tmp_path / "new/name").read_text() == "weights"
    assert not (tmp_path / "new/name").is_symlink()


def test_a_file_to_stdout(containers: Containers, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    (containers.work / "m").write_bytes(b"\x00\xff" * 1000)
    assert remote(containers).get("m", "-") == 2000
    assert capfdbinary.readouterr().out == b"\x00\xff" * 1000


def test_what_leads_outside_is_left_out_and_named(containers: Containers, tmp_path: Path) -> None:
    out = containers.work / "out"
    out.mkdir()
    (out / "good").write_text("x")
    (out / "bad").symlink_to("/etc/passwd")
    (out / "worse").symlink_to("../../../x")
    os.mkfifo(out / "pipe")
    with pytest.raises(GpuctlError) as caught:
        remote(containers).get("out", str(tmp_path / "copy"))
    assert caught.value.code == "copied-in-part"
    assert caught.value.message == "copied out of train without 3 entries"
    assert "bad: a link to /etc/passwd, outside of what is copied" in str(caught.value.cause)
    assert tree(tmp_path / "copy") == {"good": "x"}


@pytest.mark.parametrize("path", ["../outside", "link/secret", "file-link", "../work/../outside"])
def test_no_path_leads_out_of_a_volume(containers: Containers, tmp_path: Path, path: str) -> None:
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside/secret").write_text("s")
    (containers.work / "link").symlink_to(tmp_path / "outside")
    (containers.work / "file-link").symlink_to(tmp_path / "outside/secret")
    (tmp_path / "mine").write_text("m")
    volume = remote(containers, root=True)
    with pytest.raises(UsageError) as caught:
        volume.get(path, str(tmp_path / "got"))
    assert caught.value.code == "path-outside"
    with pytest.raises(GpuctlError) as refused:
        volume.put(str(tmp_path / "mine"), f"{path}/x")
    assert refused.value.code in {"path-outside", "copy-failed"}  # below a file there is nothing, wherever it is
    assert not (tmp_path / "got").exists()
    assert tree(tmp_path / "outside") == {"secret": "s"}


def test_what_is_not_there(containers: Containers, tmp_path: Path) -> None:
    for attempt in (
        lambda: remote(containers).get("nope", str(tmp_path)),
        lambda: remote(containers).put(str(tmp_path / "nope"), "x"),
        lambda: remote(containers, root=True).files("nope"),
    ):
        with pytest.raises(NotFoundError) as caught:
            attempt()
        assert caught.value.code == "path-not-found"


def test_an_image_without_tar_says_so(containers: Containers, tmp_path: Path) -> None:
    (containers.work / "x").write_text("x")
    tools = tmp_path / "bin"
    tools.mkdir()
    for tool in ("sh", "dirname", "basename"):
        (tools / tool).symlink_to(f"/bin/{tool}" if os.path.exists(f"/bin/{tool}") else f"/usr/bin/{tool}")
    containers.env["PATH"] = str(tools)
    with pytest.raises(GpuctlError) as caught:
        remote(containers).get("x", str(tmp_path))
    assert caught.value.code == "no-tar"
    assert caught.value.hint is not None


def test_put_a_directory_and_again(containers: Containers, tmp_path: Path) -> None:
    source = tmp_path / "src"
    planted(source)
    (source / "self").symlink_to("/etc/hostname")
    volume = remote(containers, root=True)
    assert volume.put(str(source), "data/set") == 13
    whole = {**WHOLE, "self": "-> /etc/hostname"}
    assert tree(containers.work / "data/set") == whole
    assert (containers.work / "data/set/a/one").stat().st_mtime == 1_700_000_000
    assert volume.put(str(source), "data/set") == 13  # it is there by now: below it, as cp does
    assert tree(containers.work / "data/set/src") == whole
    assert volume.put(str(source), "data/") == 13
    assert tree(containers.work / "data/src") == whole
    assert volume.put(str(source), "data/") == 0


def test_put_goes_on_where_it_was_cut(containers: Containers, tmp_path: Path) -> None:
    source = tmp_path / "src"
    source.mkdir()
    for number in range(20):
        (source / f"f{number:02}").write_text(str(number) * 1000)
    volume = remote(containers, root=True)
    there = containers.work / "data"
    there.mkdir()
    (there / tarball.PART).write_text("src")
    for number in range(10):
        (there / f"f{number:02}").write_text(str(number) * 1000)
        os.utime(
            there / f"f{number:02}", (source / f"f{number:02}").stat().st_mtime_ns and ((source / f"f{number:02}").stat().st_mtime,) * 2
        )
    (there / "f10").write_text("10" * 400)  # this one was cut in its middle
    assert volume.put(str(source), "data") == 20_000
    assert tree(there) == tree(source)


def test_put_a_file(containers: Containers, tmp_path: Path) -> None:
    (tmp_path / "m").write_text("weights")
    volume = remote(containers, root=True)
    assert volume.put(str(tmp_path / "m"), "deep/er/name") == 7
    assert (containers.work / "deep/er/name").read_text() == "weights"
    assert volume.put(str(tmp_path / "m"), "deep/er/name") == 0
    assert volume.put(str(tmp_path / "m"), "deep/er") == 7
    assert volume.put(str(tmp_path / "m"), "") == 7
    assert tree(containers.work) == {"deep": "/", "deep/er": "/", "deep/er/name": "weights", "deep/er/m": "weights", "m": "weights"}
    (containers.work / "deep/m").mkdir()
    with pytest.raises(ConflictError):
        volume.put(str(tmp_path / "m"), "deep")


def test_get_goes_on_where_it_was_cut(containers: Containers, tmp_path: Path) -> None:
    out = containers.work / "out"
    planted(out)
    volume = remote(containers, root=True)
    here = tmp_path / "here"
    volume.get("out", str(here))
    (here / "a/b/two words ä").unlink()
    (here / "empty").rmdir()
    (here / tarball.PART).write_text("out")
    assert volume.get("out", str(here)) == 2
    assert tree(here) == WHOLE
    before = len(containers.sessions)
    (here / tarball.PART).write_text("out")
    (here / "ok").unlink()
    assert volume.get("out", str(here)) == 0
    assert tree(here) == WHOLE
    assert len(containers.sessions) == before + 2


def test_files_of_a_volume(containers: Containers) -> None:
    planted(containers.work / "out")
    listing = files(remote(containers, root=True), "out/a")
    assert [(row.path, row.size, row.directory) for row in listing.items] == [
        ("out/a/b", 0, True),
        ("out/a/b/two words ä", 2, False),
        ("out/a/one", 1, False),
    ]
    assert listing.items[2].modified_at.timestamp() == 1_700_000_000
    (one,) = files(remote(containers, root=True), "/out/a/one").items
    assert (one.path, one.size) == ("out/a/one", 1)
    assert len(files(remote(containers, root=True), "").items) == 9


def test_a_full_disk_over_there_says_so(containers: Containers, tmp_path: Path) -> None:
    (tmp_path / "m").write_bytes(b"x" * 3_000_000)
    containers.change = lambda argv: ["/bin/sh", "-c", 'ulimit -f 100; exec "$@"', "limited", *argv]
    with pytest.raises(GpuctlError) as caught:
        remote(containers, root=True).put(str(tmp_path / "m"), "m")
    assert caught.value.code == "copy-failed"


# -- archives that somebody made to do harm -----------------------------------------------------------------------------------------


def archive(*members: tuple[str, bytes, str]) -> io.BytesIO:
    held = io.BytesIO()
    with tarfile.open(fileobj=held, mode="w") as made:
        for name, kind, text in members:
            member = tarfile.TarInfo(name)
            member.type = kind
            if kind == tarfile.REGTYPE:
                member.size = len(text)
                made.addfile(member, io.BytesIO(text.encode()))
            else:
                member.linkname = text
                made.addfile(member)
    held.seek(0)
    return held


FILE, LINK, HARD, DIRECTORY = tarfile.REGTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.DIRTYPE


@pytest.mark.parametrize(
    "members",
    [
        [("../x", FILE, "evil")],
        [("/tmp/gpuctl-evil", FILE, "evil")],
        [("a/../../x", FILE, "evil")],
        [("l", LINK, ".."), ("l/x", FILE, "evil")],
        [("l", LINK, "/"), ("l/x", FILE, "evil")],
        [("d", DIRECTORY, ""), ("d/l", LINK, "../.."), ("d/l/x", FILE, "evil")],
        [("a", LINK, "b"), ("b", LINK, ".."), ("a/x", FILE, "evil")],
        [("h", HARD, "../outside"), ("h", FILE, "evil")],
        [("h", HARD, "/etc/passwd")],
        [("here", FILE, "evil")],
    ],
)
def test_nothing_is_written_outside(tmp_path: Path, members: list[tuple[str, bytes, str]]) -> None:
    root = tmp_path / "root"
    root.mkdir()
    (tmp_path / "outside").write_text("safe")
    (root / "here").symlink_to(tmp_path / "outside")
    tarball.unpack(archive(*members), str(root))
    assert {path.name for path in tmp_path.iterdir()} == {"root", "outside"}
    assert (tmp_path / "outside").read_text() == "safe"
    assert not os.path.exists("/tmp/gpuctl-evil")


names = st.lists(st.sampled_from(["a", "b", "..", ".", "", "l"]), min_size=1, max_size=4).map("/".join)
entries = st.tuples(names, st.sampled_from([FILE, LINK, HARD, DIRECTORY]), names)


@given(members=st.lists(entries, max_size=6))
def test_no_archive_writes_outside(tmp_path_factory: pytest.TempPathFactory, members: list[tuple[str, bytes, str]]) -> None:
    place = tmp_path_factory.mktemp("any")
    root = place / "root"
    root.mkdir()
    tarball.unpack(archive(*[member for member in members if member[0]]), str(root))
    assert [path.name for path in place.iterdir()] == ["root"]
    for path in root.rglob("*"):
        assert _inside(path, root)


def _inside(path: Path, root: Path) -> bool:
    """Whether a path stays below ``root``, or leads in a circle, which is nowhere."""
    try:
        os.path.realpath(path, strict=True)
    except OSError as error:
        if error.errno == errno.ELOOP:
            return True
    return os.path.realpath(path).startswith(os.path.realpath(root))


def test_a_damaged_archive_leaves_no_half_file(tmp_path: Path) -> None:
    whole = archive(("big", FILE, "x" * 100_000)).getvalue()
    (tmp_path / "big").write_text("as before")
    with pytest.raises(tarfile.TarError):
        tarball.unpack(io.BytesIO(whole[:50_000]), str(tmp_path))
    assert tree(tmp_path) == {"big": "as before"}
