"""Leases between processes and users: all or nothing, freed by any death, nothing believed, nobody tricked."""

import fcntl
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest

from gpuctl.base.errors import UnavailableError
from gpuctl.clusters.local import leases, locks
from gpuctl.clusters.local.launchplan import Lease
from gpuctl.clusters.local.leases import DeviceHeld, acquire, free, take
from gpuctl.clusters.local.locks import LockDirectory
from gpuctl.model.place import Device, Holder
from tests.unit.devices.other import process

DEVICES = tuple(Device(index=index, uuid=f"GPU-{index:04d}", type="H100", kind="nvidia") for index in range(4))
ANNA, BOB = 50001, 50002
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root to become other users")


@pytest.fixture
def shared(tmp_path: Path) -> Iterator[LockDirectory]:
    """A lock directory that every user can reach and write."""
    path = tmp_path / "locks"
    path.mkdir()
    path.chmod(0o1777)
    opened = [parent for parent in tmp_path.parents if parent != Path("/tmp") and os.stat(parent).st_uid == os.geteuid()]
    modes = [(parent, parent.stat().st_mode) for parent in [tmp_path, *opened] if parent.is_relative_to("/tmp")]
    for parent, mode in modes:
        parent.chmod(mode | 0o055)
    yield LockDirectory(path=str(path), shared=True)
    for parent, mode in modes:
        parent.chmod(mode)


def grab(directory: LockDirectory, count: int, job: str, first: int = 0) -> Any:
    return acquire(DEVICES[first : first + count], Holder(job=job, user="mallory"), directory=directory)


def look(directory: LockDirectory) -> dict[int, tuple[str | None, int | None, str | None] | None]:
    return {i: (h.user, h.pid, h.job) if h else None for i, h in free(DEVICES, directory=directory).items()}


def test_all_or_nothing(shared: LockDirectory) -> None:
    since = datetime(2026, 3, 1, tzinfo=timezone.utc)
    one = acquire(DEVICES[2:3], Holder(job="one", since=since), directory=shared)
    with pytest.raises(DeviceHeld, match=r"cannot lease device 2: held by \w+ \(job one\)") as error:
        acquire(DEVICES, Holder(job="two"), directory=shared)
    assert error.value.device.index == 2
    assert error.value.holder.since == since
    assert [index for index, holder in free(DEVICES, directory=shared).items() if holder] == [2]
    one.close()
    one.close()
    assert set(free(DEVICES, directory=shared).values()) == {None}
    with pytest.raises(DeviceHeld):
        acquire([DEVICES[0], DEVICES[0]], Holder(), directory=shared)
    assert set(free(DEVICES, directory=shared).values()) == {None}


def test_leases_keep_the_order_in_which_they_were_asked(shared: LockDirectory) -> None:
    held = acquire(DEVICES[::-1], Holder(), directory=shared)
    assert [lease.index for lease in held.items] == [3, 2, 1, 0]
    assert len(held.fds) == 4
    assert not any(os.get_inheritable(fd) for fd in held.fds)
    held.close()


def test_the_record_is_for_people(shared: LockDirectory) -> None:
    held = grab(shared, 1, "llama-k3f9")
    held.annotate(Holder(job="llama-k3f9", pid=1, user="nobody-there"))
    path = Path(shared.file("GPU-0000"))
    assert json.loads(path.read_text()) == {"user": "nobody-there", "pid": 1, "job": "llama-k3f9"}
    assert look(shared)[0] == (leases.process_owner(1), 1, "llama-k3f9"), "the owner of the process, not who the record says it is"
    held.close()
    assert look(shared)[0] is None, "a record without a lock means nothing"


@pytest.mark.parametrize("junk", [b"", b"{", b"\xff" * 5000, b'{"pid": -4, "job": "\\u001b[31m' + b"x" * 500 + b'"}', b"[" * 900])
def test_junk_in_a_lock_file_harms_nobody(shared: LockDirectory, junk: bytes) -> None:
    held = grab(shared, 1, "job")
    Path(shared.file("GPU-0000")).write_bytes(junk)
    holder = free(DEVICES[:1], directory=shared)[0]
    assert holder is not None
    assert (holder.job or "").isprintable()
    assert len(holder.job or "") <= 64
    held.close()


def test_a_foreign_process_keeps_a_device_busy_though_its_lock_is_free(shared: LockDirectory) -> None:
    foreign = Device(index=0, uuid="GPU-0000", type="H100", kind="nvidia", holder=Holder(user="anna", pid=4242))
    with pytest.raises(DeviceHeld, match="cannot lease device 0: held by anna, pid 4242"):
        acquire([foreign], Holder(), directory=shared)
    assert free([foreign], directory=shared) == {0: foreign.holder}
    with grab_closing(shared) as job:
        shown = leases.with_holders([foreign, DEVICES[1]], directory=shared)
        assert [(device.holder.job if device.holder else None) for device in shown] == [job, None]


class grab_closing:  # noqa: N801 - reads as a function
    """Device 0 leased for the length of a block."""

    def __init__(self, directory: LockDirectory) -> None:
        self._held = grab(directory, 1, "ours")

    def __enter__(self) -> str:
        return "ours"

    def __exit__(self, *_: object) -> None:
        self._held.close()


def test_an_inherited_descriptor_holds_until_the_last_holder_dies(shared: LockDirectory) -> None:
    held = grab(shared, 2, "job")
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"], pass_fds=held.fds)
    held.close()
    assert [index for index, holder in free(DEVICES, directory=shared).items() if holder] == [0, 1]
    child.kill()
    child.wait()
    assert set(free(DEVICES, directory=shared).values()) == {None}


def test_kill_9_frees(shared: LockDirectory) -> None:
    with process(grab, shared, 4, "doomed") as (_, pid):
        assert look(shared)[3] == (leases.process_owner(os.getpid()), pid, "doomed")
        with pytest.raises(DeviceHeld):
            grab(shared, 1, "ours")
    grab(shared, 4, "ours").close()


def test_a_slot_is_taken_by_its_path(shared: LockDirectory) -> None:
    wanted = [Lease(index=i, uuid=f"GPU-{i:04d}", kind="nvidia", lock=shared.file(f"GPU-{i:04d}")) for i in (1, 0)]
    held = take(wanted, Holder(job="array"))
    assert [(lease.index, lease.fd is not None) for lease in held.items] == [(1, True), (0, True)]
    with pytest.raises(DeviceHeld):
        take(wanted[:1], Holder())
    held.close()


def test_probes_never_make_an_attempt_fail(shared: LockDirectory) -> None:
    path = shared.file("GPU-0000")
    os.close(locks.take(path) or -1)
    over = threading.Event()

    def probing() -> None:
        while not over.is_set():
            locks.probe(path)

    threads = [threading.Thread(target=probing) for _ in range(3)]
    for thread in threads:
        thread.start()
    try:
        for _ in range(150):
            fd = locks.take(path)
            assert fd is not None
            os.close(fd)
    finally:
        over.set()
        for thread in threads:
            thread.join()


def test_a_probe_in_the_middle_is_waited_for_and_a_holder_is_not(shared: LockDirectory) -> None:
    path = shared.file("GPU-0000")
    os.close(locks.take(path) or -1)
    probe = os.open(path, os.O_RDONLY)
    fcntl.flock(probe, fcntl.LOCK_SH)
    threading.Timer(0.01, lambda: fcntl.flock(probe, fcntl.LOCK_UN)).start()
    fd = locks.take(path)
    assert fd is not None
    start = time.monotonic()
    assert locks.take(path) is None
    assert time.monotonic() - start < 0.02
    os.close(fd)
    os.close(probe)


def test_of_many_at_once_exactly_one_wins(shared: LockDirectory) -> None:
    program = (
        "import sys, time\n"
        "from gpuctl.clusters.local import locks\n"
        "sys.stdin.readline()\n"
        "fd = locks.take(sys.argv[1])\n"
        "print('lost' if fd is None else 'won', flush=True)\n"
        "sys.stdin.readline()\n"
    )
    argv = [sys.executable, "-c", program, shared.file("GPU-0000")]
    rivals = [subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(6)]
    for rival in rivals:
        assert rival.stdin
        rival.stdin.write("\n")
        rival.stdin.flush()
    answers = [rival.stdout.readline().strip() for rival in rivals if rival.stdout]
    assert sorted(answers) == ["lost"] * 5 + ["won"]
    for rival in rivals:
        rival.communicate("\n")


@as_root
def test_users_keep_each_other_out_and_see_who_it_is(shared: LockDirectory) -> None:
    with process(grab, shared, 2, "annas", uid=ANNA) as (_, pid):
        with process(grab, shared, 1, "bobs", uid=BOB) as (answer, _):
            assert answer == f"DeviceHeld: cannot lease device 0: held by {ANNA} (job annas)"
        with process(look, shared, uid=BOB) as (seen, _):
            assert seen == {0: (str(ANNA), pid, "annas"), 1: (str(ANNA), pid, "annas"), 2: None, 3: None}
    with process(grab, shared, 1, "bobs", uid=BOB) as (answer, _):
        assert answer.startswith("<gpuctl"), "anna's file is there, bob must be able to lock it"
        assert os.stat(shared.file("GPU-0000")).st_uid == ANNA


@as_root
def test_a_link_in_the_way_is_not_followed(shared: LockDirectory, tmp_path: Path) -> None:
    treasure = tmp_path / "treasure"
    treasure.write_text("gold")
    with process(os.symlink, str(treasure), shared.file("GPU-0000"), uid=BOB):
        pass
    with pytest.raises(DeviceHeld, match=f"held by {BOB}"):
        grab(shared, 1, "ours")
    with pytest.raises(UnavailableError, match="cannot lock"):
        locks.take(shared.file("GPU-0000"))
    assert treasure.read_text() == "gold"


def test_a_second_name_of_a_file_is_refused(shared: LockDirectory, tmp_path: Path) -> None:
    treasure = tmp_path / "treasure"
    treasure.write_text("gold")
    os.link(treasure, shared.file("GPU-0000"))
    with pytest.raises(UnavailableError, match="the file has 2 names"):
        grab(shared, 1, "ours")
    assert treasure.read_text() == "gold"


@pytest.mark.parametrize("make", [os.mkdir, os.mkfifo])
def test_what_is_no_file_is_refused_without_hanging(shared: LockDirectory, make: Any) -> None:
    make(shared.file("GPU-0000"))
    assert free(DEVICES[:1], directory=shared)[0] is not None
    with pytest.raises(UnavailableError):
        locks.take(shared.file("GPU-0000"))


def test_a_file_that_was_replaced_while_it_was_locked_is_not_a_lock(shared: LockDirectory, monkeypatch: pytest.MonkeyPatch) -> None:
    path = shared.file("GPU-0000")
    real = locks._exclusive
    replaced = []

    def replacing(fd: int) -> bool:
        done = real(fd)
        if not replaced:
            os.unlink(path)
            replaced.append(os.open(path, os.O_RDWR | os.O_CREAT))
        return done

    monkeypatch.setattr(locks, "_exclusive", replacing)
    fd = locks.take(path)
    assert fd is not None
    assert os.fstat(fd).st_ino == os.stat(path).st_ino
    os.close(fd)
    os.close(replaced[0])


@as_root
def test_a_file_that_its_owner_closed_to_others_is_held_by_its_owner(shared: LockDirectory) -> None:
    path = Path(shared.file("GPU-0000"))
    path.touch(mode=0o600)
    with process(look, shared, uid=BOB) as (seen, _):
        assert seen[0] == ("root", None, None)
    with process(grab, shared, 1, "bobs", uid=BOB) as (answer, _):
        assert answer == "DeviceHeld: cannot lease device 0: held by root"
