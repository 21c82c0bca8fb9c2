"""What is made of the kernel's words, of torch's table, and of a full disk."""

import os
import stat
from pathlib import Path

import pytest

from gpuctl.clusters.local import cgroup, journal, processes
from gpuctl.clusters.local.kinds import torchrun
from gpuctl.clusters.local.kinds.step import CannotStart, free_ports
from gpuctl.clusters.local.supervisor import evidence, files
from gpuctl.clusters.local.supervisor.spawn import locate

KERNEL = [
    "6,1,1000000,-;something else",
    "4,2,9000000,-;oom-kill:constraint=CONSTRAINT_NONE,nodemask=(null),cpuset=/,global_oom,task_memcg=/old,task=python,pid=41",
    "3,3,9000001,-;Out of memory: Killed process 41 (python) total-vm:9kB, anon-rss:4kB, file-rss:0kB, shmem-rss:0kB, UID:7 pgtables:1kB",
    "4,4,20000000,-;oom-kill:constraint=CONSTRAINT_MEMCG,oom_memcg=/x,task_memcg=/u/gpuctl-job-abc-1,task=a (b),pid=42\n SUBSYSTEM=x",
    "3,5,20000001,-;Memory cgroup out of memory: Killed process 42 (a (b) total-vm:9kB, anon-rss:2048kB, file-rss:0kB",
    "nonsense",
]


def test_kernel_kills_since_the_start() -> None:
    (kill,) = evidence.kernel_kills(KERNEL, since=1015.0, boot=1000.0)
    assert (kill.pid, kill.used, kill.group) == (42, 2048 << 10, "/u/gpuctl-job-abc-1")
    assert kill.line.startswith("Memory cgroup out of memory")
    assert [kill.pid for kill in evidence.kernel_kills(KERNEL, since=0.0, boot=1000.0)] == [41, 42]


REPORT = b"""
============================================================
train.py FAILED
------------------------------------------------------------
Failures:
[1]:
  time      : 2026-03-01_12:00:00
  host      : here
  rank      : 3 (local_rank: 1)
  exitcode  : -6 (pid: 103)
  error_file: <N/A>
  traceback : Signal 6 (SIGABRT) received by PID 103
------------------------------------------------------------
Root Cause (first observed failure):
[0]:
  time      : 2026-03-01_11:59:59
  host      : here
  rank      : 2 (local_rank: 0)
  exitcode  : 1 (pid: 102)
  error_file: <N/A>
  traceback : To enable traceback see: ...
============================================================
"""


def test_the_root_cause_comes_first() -> None:
    found = torchrun.failures(REPORT)
    assert [(failure.rank, failure.status, failure.pid, failure.first) for failure in found] == [(2, 1, 102, True), (3, -6, 103, False)]
    assert torchrun.failures(b"no table at all") == []


def test_a_full_disk_keeps_entries_in_order_until_there_is_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    writer = journal.Journal(str(tmp_path / "journal"))
    real, room = os.write, [0]

    def write(descriptor: int, data: bytes) -> int:
        if room[0] == 0:
            raise OSError(28, "No space left on device")
        count = min(room[0], len(data))
        room[0] -= count
        return real(descriptor, data[:count])

    monkeypatch.setattr(os, "write", write)
    writer.write("note", text="one")
    room[0] = 10
    writer.write("note", text="two")
    assert writer.waiting
    assert list(journal.read(str(tmp_path / "journal"))) == []
    room[0] = 1 << 20
    writer.flush()
    assert not writer.waiting
    assert [(entry.seq, entry.data["text"]) for entry, _ in journal.read(str(tmp_path / "journal"))] == [(1, "one"), (2, "two")]
    writer.close()


def test_ports_are_free_and_different() -> None:
    ports = free_ports(20)
    assert len(set(ports)) == 20
    assert all(20000 <= port < 65536 for port in ports)
    with pytest.raises(OSError, match="no 1 free TCP ports"):
        free_ports(1, avoid=range(65536))


def test_programs_are_looked_up_as_a_shell_would(tmp_path: Path) -> None:
    (tmp_path / "first").mkdir()
    (tmp_path / "second").mkdir()
    (tmp_path / "first" / "tool").write_text("not executable")
    (tmp_path / "second" / "tool").write_text("#!/bin/sh\n")
    (tmp_path / "second" / "tool").chmod(0o755)
    path = f"{tmp_path}/first:{tmp_path}/second"
    assert locate("tool", cwd="/", path=path) == f"{tmp_path}/second/tool"
    assert locate("./tool", cwd=f"{tmp_path}/second", path="") == f"{tmp_path}/second/./tool"
    with pytest.raises(CannotStart, match="not executable") as caught:
        locate("tool", cwd="/", path=f"{tmp_path}/first")
    assert caught.value.status == 126
    os.symlink("nowhere", tmp_path / "dangling")
    with pytest.raises(CannotStart, match="no such file") as caught:
        locate("./dangling", cwd=str(tmp_path), path="")
    assert caught.value.status == 127


def test_removing_a_tree_follows_no_links(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "kept").touch()
    tree = tmp_path / "tree"
    (tree / "below").mkdir(parents=True)
    os.mkfifo(tree / "below" / "pipe")
    (tree / "link").symlink_to(outside)
    assert files.remove_tree(str(tree))
    assert (outside / "kept").exists()
    assert not tree.exists()
    files.private_directory(str(tree))
    assert stat.S_IMODE(tree.stat().st_mode) == 0o700


def test_a_table_row_is_this_process() -> None:
    row = processes.look(os.getpid())
    assert row is not None
    assert row == processes.table()[os.getpid()]._replace(state=row.state, cpu_ticks=row.cpu_ticks, rss=row.rss)
    assert row.ppid == os.getppid()
    assert row.rss > 1 << 20
    assert not row.dead
    assert processes.look(2**22 + 1) is None


def test_a_cgroup_of_another_job_is_left_by_its_base(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    point = tmp_path / "cgroup"
    outer = point / "user.slice" / "mine"
    outer.mkdir(parents=True)
    (outer / "cgroup.procs").touch()
    monkeypatch.setattr(cgroup, "_mount", lambda: (str(point), "/"))
    monkeypatch.setattr(cgroup, "_own", lambda: "/user.slice/mine/gpuctl-job-abc-1")
    assert cgroup.base() == str(outer)
    monkeypatch.setattr(cgroup, "_own", lambda: "/user.slice/mine")
    assert cgroup.base() == str(outer)
    entered = cgroup.enter("def", 2)
    assert entered == str(outer / "gpuctl-job-def-2")
    assert (outer / "gpuctl-job-def-2" / "cgroup.procs").read_text() == "0"
    (outer / "gpuctl-job-def-2" / "memory.events").write_text("low 0\noom 3\noom_kill 2\n")
    assert cgroup.oom_kills(entered) == 2
    assert cgroup.existing("def", 2) == entered
    assert cgroup.existing("def", 4) is None
    monkeypatch.setattr(cgroup, "_own", lambda: "/elsewhere")
    assert cgroup.base() is None
    assert cgroup.enter("def", 3) is None
