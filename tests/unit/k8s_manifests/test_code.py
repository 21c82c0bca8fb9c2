"""Code on its way: what is chosen, how it is packed, where the limits are, what is said when it cannot go."""

import base64
import hashlib
import io
import os
import socket
import subprocess
import tarfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gpuctl.base import filetree
from gpuctl.base.errors import GpuctlError, UsageError
from gpuctl.base.filetree import Selection
from gpuctl.clusters.kubernetes import code
from gpuctl.clusters.kubernetes.code import archive, parts
from gpuctl.model.spec import GitSource


def packed(root: Path) -> archive.Archive:
    return archive.pack(filetree.select(str(root)), name="llama")


def members(content: bytes) -> dict[str, tarfile.TarInfo]:
    with tarfile.open(fileobj=io.BytesIO(content)) as tar:
        return {each.name: each for each in tar.getmembers()}


def test_the_same_files_give_the_same_bytes_anywhere(tmp_path: Path) -> None:
    for root, order in ((tmp_path / "here", "abc"), (tmp_path / "there", "cba")):
        root.mkdir()
        for name in order:
            (root / name).write_text(f"content of {name}")
        (root / "b").chmod(0o755)
        (root / "link").symlink_to("a")
    (tmp_path / "there" / "a").chmod(0o600)
    os.utime(tmp_path / "there" / "a", (1, 1))
    assert packed(tmp_path / "here") == packed(tmp_path / "there")
    found = members(packed(tmp_path / "here").content)
    assert {name: oct(each.mode) for name, each in found.items()} == {"a": "0o644", "b": "0o755", "c": "0o644", "link": "0o777"}
    assert {(each.uid, each.gid, each.uname, each.gname, each.mtime) for each in found.values()} == {(0, 0, "", "", 0)}
    (tmp_path / "here" / "a").write_text("other")
    assert packed(tmp_path / "here") != packed(tmp_path / "there")


file_names = st.text(st.characters(blacklist_characters="/\0", blacklist_categories=("Cs",)), min_size=1, max_size=40).filter(
    lambda name: name not in (".", "..", ".git", ".gitignore", ".gpuctlignore") and len(os.fsencode(name)) < 200
)


@settings(max_examples=30, deadline=None)
@given(files=st.dictionaries(file_names, st.binary(max_size=2000), max_size=6))
def test_what_goes_in_comes_out(files: dict[str, bytes], tmp_path_factory: pytest.TempPathFactory) -> None:
    root = tmp_path_factory.mktemp("tree")
    for name, content in files.items():
        (root / name).write_bytes(content)
    made = packed(root)
    with tarfile.open(fileobj=io.BytesIO(made.content)) as tar:
        assert {each.name: tar.extractfile(each).read() for each in tar.getmembers()} == files  # type: ignore[union-attr]
    assert (made.files, made.size) == (len(files), sum(map(len, files.values())))


def test_odd_names_arrive_through_a_real_tar(tmp_path: Path) -> None:
    root, there = tmp_path / "code", tmp_path / "there"
    names = [b"new\nline", b"not utf8 \xff", b"-rf", b"a" * 200, "ümläut".encode(), b"deep/" + b"d" * 120 + b"/x" * 20]
    for name in names:
        path = os.path.join(os.fsencode(root), name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "wb") as file:
            file.write(name)
    there.mkdir()
    subprocess.run(["tar", "-xzmf", "-", "-C", str(there)], input=packed(root).content, check=True)
    for name in names:
        with open(os.path.join(os.fsencode(there), name), "rb") as file:
            assert file.read() == name


def test_links_that_lead_out_stay_links_and_are_told(tmp_path: Path) -> None:
    root = tmp_path / "code"
    (root / "sub").mkdir(parents=True)
    (root / "data").symlink_to("/mnt/data")
    (root / "sub" / "up").symlink_to("../../other")
    (root / "sub" / "fine").symlink_to("../data")
    made = packed(root)
    assert made.notes == (
        "data is a link to /mnt/data, outside of the code: the link goes along, not what is there",
        "sub/up is a link to ../../other, outside of the code: the link goes along, not what is there",
    )
    assert members(made.content)["data"].linkname == "/mnt/data"


def test_what_is_no_file_stays_and_is_told(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "s"))
        made = archive.pack(Selection(str(tmp_path), ("pipe", "s")), name="llama")
    assert made.files == 0
    assert made.notes == ("pipe is no file and stays here", "s is no file and stays here")


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    (tmp_path / "key").write_text("x")
    (tmp_path / "key").chmod(0)
    with pytest.raises(UsageError, match=r"key in .* cannot be read"):
        packed(tmp_path)


def test_a_file_that_went_away_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError) as caught:
        archive.pack(Selection(str(tmp_path), ("gone\n",)), name="llama")
    assert caught.value.code == "code-unreadable"
    assert caught.value.message == f"cannot submit llama: gone\\n in {tmp_path} cannot be read"
    assert caught.value.hint == f"echo '/gone\\n' >> {tmp_path}/.gpuctlignore"


def test_a_directory_that_cannot_be_read_is_named_unless_it_is_ignored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "secret").mkdir()
    (tmp_path / "a").write_text("x")
    real = os.scandir

    def scandir(path: str) -> object:
        if path.endswith("secret"):
            raise PermissionError(13, "Permission denied", path)
        return real(path)

    monkeypatch.setattr(os, "scandir", scandir)
    with pytest.raises(GpuctlError) as caught:
        filetree.select(str(tmp_path))
    assert (caught.value.code, caught.value.cause) == ("code-unreadable", "Permission denied")
    (tmp_path / ".gpuctlignore").write_text("/secret/\n")
    assert set(filetree.select(str(tmp_path)).paths) == {"a", ".gpuctlignore"}


def test_code_that_is_too_large_names_the_five_biggest(tmp_path: Path) -> None:
    (tmp_path / "ckpt").mkdir()
    for index in range(1, 8):
        (tmp_path / "ckpt" / f"{index}.bin").write_bytes(os.urandom(index * 400_000))
    with pytest.raises(UsageError) as caught:
        packed(tmp_path)
    assert caught.value.code == "code-too-large"
    assert (
        caught.value.message
        == f"cannot submit llama: the code in {tmp_path} is more than 7Mi when packed, 7Mi is the most that goes with a job"
    )
    assert (caught.value.cause or "").startswith("the biggest are ckpt/7.bin (2.7Mi), ckpt/6.bin (2.3Mi), ")
    assert (caught.value.cause or "").count("ckpt/") == 5
    assert caught.value.hint == (
        f"gpuctl submit --code-volume NAME ...    or: --git URL@REF    or, to leave data out: echo '/ckpt' >> {tmp_path}/.gpuctlignore"
    )


def test_code_for_a_volume_has_no_limit_and_is_the_same_every_time(tmp_path: Path) -> None:
    root = tmp_path / "code"
    (root / "src").mkdir(parents=True)
    noise = os.urandom(archive.LARGEST_ARCHIVE + 4096)
    (root / "noise").write_bytes(noise)
    (root / "run.sh").write_text("echo hello\n")
    (root / "run.sh").chmod(0o755)
    made = []
    for number in range(2):
        with (tmp_path / f"{number}.tar.gz").open("w+b") as target:
            made.append(code.by_volume(str(root), target, name="llama", volume="data"))
            target.seek(0)
            content = target.read()
    assert made[0] == made[1]
    assert made[0].archive_digest == hashlib.sha256(content).hexdigest()
    assert (made[0].parts, made[0].volume, made[0].files, made[0].brings) == ((), "data", 2, True)
    assert len(code.secrets(made[0], namespace="lab")) == 1
    found = members(content)
    assert {name: (each.size, oct(each.mode)) for name, each in found.items()} == {
        "noise": (len(noise), "0o644"),
        "run.sh": (11, "0o755"),
    }


def test_no_room_to_pack_is_told(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(os.urandom(1 << 20))
    with open("/dev/full", "wb", buffering=0) as target, pytest.raises(GpuctlError) as caught:
        code.by_volume(str(tmp_path), target, name="llama", volume="data")
    assert (caught.value.code, caught.value.cause) == ("no-room-here", "No space left on device")
    assert (caught.value.hint or "").startswith("TMPDIR=")


def test_a_file_that_shrinks_while_it_is_read_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a").write_bytes(b"x" * 5000)
    real = os.fstat
    monkeypatch.setattr(archive.os, "fstat", lambda fd: os.stat_result((*real(fd)[:6], 9000, *real(fd)[7:])))
    with pytest.raises(UsageError) as caught:
        packed(tmp_path)
    assert (caught.value.code, caught.value.cause) == ("code-unreadable", "it became shorter while it was read")


def test_gigabytes_are_refused_before_they_are_read(tmp_path: Path) -> None:
    with (tmp_path / "data.bin").open("wb") as file:
        file.truncate(2 << 30)
    with pytest.raises(UsageError, match="2Gi of files, 512Mi is the most"):
        packed(tmp_path)


@pytest.mark.parametrize("ray", [False, True])
def test_the_largest_code_fits_eight_secrets(ray: bool, tmp_path: Path) -> None:
    noise = os.urandom(archive.LARGEST_ARCHIVE - 3000)
    (tmp_path / "noise").write_bytes(noise)
    made = code.build(str(tmp_path), name="llama", ray=ray)
    objects = code.secrets(made, namespace="lab")
    assert len(objects) == len(made.secret_names) == parts.MOST_PARTS
    sizes = [sum(len(base64.b64decode(value)) for value in each["data"].values()) for each in objects]
    assert max(sizes) <= parts.LARGEST_PART == 900 << 10
    together = b"".join(base64.b64decode(each["data"]["part"]) for each in objects)
    with tarfile.open(fileobj=io.BytesIO(together)) as tar:
        assert tar.extractfile("noise").read() == noise  # type: ignore[union-attr]
    assert len({each["metadata"]["name"] for each in objects}) == parts.MOST_PARTS
    assert all(len(each["metadata"]["name"]) <= 63 and each["immutable"] for each in objects)


def test_the_name_is_the_contents(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a").write_text("x")
    first = code.build(str(tmp_path), name="llama")
    assert code.build(str(tmp_path), name="other") == first
    (tmp_path / "a").write_text("y")
    assert code.build(str(tmp_path), name="llama").digest != first.digest
    (tmp_path / "a").write_text("x")
    monkeypatch.setattr(parts, "program", lambda: b"another program")
    assert code.build(str(tmp_path), name="llama").digest != first.digest


def test_only_a_ray_job_carries_the_part_that_is_about_ray(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("x")
    source = GitSource(url="https://git.example/team/code", ref="main")

    def made(*, ray: bool) -> list[code.CodeParts]:
        with (tmp_path.parent / "archive").open("w+b") as target:
            by_volume = code.by_volume(str(tmp_path), target, name="llama", volume="data", ray=ray)
        fetched = code.of_repository(source, workdir=None, commit=None, ray=ray)
        return [code.build(str(tmp_path), name="llama", ray=ray), by_volume, fetched, code.entry_only(ray=ray)]

    def keys(given: code.CodeParts) -> set[str]:
        return set(code.secrets(given, namespace="lab")[0]["data"])

    plain, rays = made(ray=False), made(ray=True)
    assert [keys(each) for each in plain] == [{"entry.sh", "part"}, {"entry.sh"}, {"entry.sh", "fetch.sh"}, {"entry.sh"}]
    assert [keys(ray) - keys(other) for ray, other in zip(rays, plain, strict=True)] == [{"ray.sh"}] * 4
    # Secrets are named for what is in them, so the two kinds of job share none.
    assert not {each.digest for each in plain} & {each.digest for each in rays}


def test_only_what_was_compared_is_used_again(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("x")
    (wanted,) = code.secrets(code.build(str(tmp_path), name="llama"), namespace="lab")
    there = {**wanted, "metadata": {**wanted["metadata"], "uid": "1"}}
    assert parts.same(wanted, there)
    assert not parts.same(wanted, {**there, "immutable": False})
    assert not parts.same(wanted, {**there, "data": {**wanted["data"], "part": "eA=="}})
    assert not parts.same(wanted, {**there, "data": {**wanted["data"], "more": "eA=="}})
    assert not parts.same(wanted, {**there, "data": None})
