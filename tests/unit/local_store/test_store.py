"""The state directory and the store: where they are, what breaks them, and what people are told."""

import json
import os
import sqlite3
import stat
import threading
from pathlib import Path
from types import SimpleNamespace

import pytest

from gpuctl.base.errors import GpuctlError, UsageError
from gpuctl.clusters.local import paths
from gpuctl.clusters.local.cluster import build
from gpuctl.clusters.local.store import Database
from gpuctl.clusters.local.store.schema import VERSION
from gpuctl.model.ask import JobQuery
from gpuctl.model.job import State
from tests.fakes.machine import LocalPlace


def database(tmp_path: Path) -> Database:
    return Database(paths.prepare(str(tmp_path / "state")))


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({"GPUCTL_STATE_DIR": "/x/y"}, "/x/y"),
        ({"XDG_STATE_HOME": "/s", "HOME": "/h"}, f"/s/gpuctl/{paths.machine_id()}"),
        ({"XDG_STATE_HOME": "relative", "HOME": "/h"}, f"/h/.local/state/gpuctl/{paths.machine_id()}"),
    ],
)
def test_the_state_directory_is_the_machines_own(environ: dict[str, str], expected: str) -> None:
    assert paths.state_root(environ) == expected


def test_without_home_the_user_database_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    import pwd

    assert paths.home({}) == pwd.getpwuid(os.getuid()).pw_dir

    def unknown(uid: int) -> object:
        raise KeyError(uid)

    monkeypatch.setattr(pwd, "getpwuid", unknown)
    with pytest.raises(UsageError, match="HOME is not set") as caught:
        paths.home({})
    assert caught.value.code == "no-home"


@pytest.mark.parametrize(
    ("kind", "network"),
    [("ext4", False), ("nfs4", True), ("cifs", True), ("9p", True), ("fuse.sshfs", True), ("fuse.fuse-overlayfs", False), ("lustre", True)],
)
def test_file_systems_that_others_write_to_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, network: bool) -> None:
    point = tmp_path / "a dir"
    point.mkdir()
    mounts = tmp_path / "mountinfo"
    escaped = str(point).replace(" ", "\\040")
    mounts.write_text(f"1 0 8:1 / / rw - ext4 /dev/sda rw\n2 1 0:5 / {escaped} rw shared:1 - {kind} server:/x rw\n")
    inside = str(point / "deep" / "state")
    assert paths.network_filesystem(inside, mounts=str(mounts)) == (kind if network else None)
    assert paths.network_filesystem(str(tmp_path / "a dirt"), mounts=str(mounts)) is None
    if network:
        monkeypatch.setattr(paths, "network_filesystem", lambda _: kind)
        with pytest.raises(UsageError) as caught:
            paths.prepare(inside)
        assert caught.value.code == "state-on-network"
        assert not os.path.exists(inside)


def test_the_directory_is_private(tmp_path: Path) -> None:
    root = tmp_path / "state"
    root.mkdir(mode=0o755)
    database(tmp_path).close()
    assert stat.S_IMODE(root.stat().st_mode) == 0o700
    assert stat.S_IMODE((root / "gpuctl.db").stat().st_mode) == 0o600


@pytest.mark.parametrize(("number", "code"), [(30, "state-read-only"), (28, "state-full"), (5, "state-unusable")])
def test_errors_of_the_disk_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, code: str) -> None:
    def fail(*_: object, **__: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "makedirs", fail)
    with pytest.raises(GpuctlError) as caught:
        paths.prepare(str(tmp_path / "state"))
    assert caught.value.code == code
    assert caught.value.hint


def test_a_full_disk_in_a_transaction_is_told_and_undone(tmp_path: Path) -> None:
    store = database(tmp_path)
    with store.read() as connection:
        pages = connection.execute("PRAGMA page_count").fetchone()[0]
        connection.execute(f"PRAGMA max_page_count = {pages}")
    many = [("x" * 1000 + str(number),) for number in range(1000)]
    with pytest.raises(GpuctlError) as caught, store.write() as connection:
        connection.executemany("INSERT INTO events (job, at, what, text) VALUES ('x', 1, 'note', ?)", many)
    assert caught.value.code == "state-full"
    with store.read() as connection:
        assert connection.execute("SELECT count(*) FROM events").fetchone()[0] == 0
    store.close()


def test_an_error_of_input_and_output_on_a_full_disk_is_told_as_that(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = database(tmp_path)
    codes = []
    for room in (0, 100):
        monkeypatch.setattr(os, "statvfs", lambda path, room=room: SimpleNamespace(f_bavail=room))
        with pytest.raises(GpuctlError) as caught, store.write():
            raise sqlite3.OperationalError("disk I/O error")
        codes.append(caught.value.code)
    assert codes == ["state-full", "state-unusable"]
    store.close()


def test_a_newer_schema_is_refused_and_left_alone(tmp_path: Path) -> None:
    store = database(tmp_path)
    with store.write() as connection:
        connection.execute(f"PRAGMA user_version = {VERSION + 1}")
    store.close()
    before = (tmp_path / "state" / "gpuctl.db").read_bytes()
    with pytest.raises(GpuctlError) as caught:
        database(tmp_path)
    assert caught.value.code == "state-newer"
    assert (tmp_path / "state" / "gpuctl.db").read_bytes() == before


def test_a_store_of_the_first_gpuctl_is_migrated_with_its_jobs(home: Path) -> None:
    place = LocalPlace()
    job = place.cluster.launch(place.submission("true", hold=True)).job
    assert place.cluster.job(job.name).environment == ("HOME", "PATH")
    place.cluster.close()
    connection = sqlite3.connect(place.paths.database)
    for column in ("environment", "team", "window", "window_end"):
        connection.execute(f"ALTER TABLE jobs DROP COLUMN {column}")
    connection.executescript("DROP TABLE environments; PRAGMA user_version = 1")
    connection.close()
    old = place.cluster.job(job.name)
    assert (old.id, old.state, old.environment) == (job.id, State.QUEUED, None)
    place.close()


def test_a_write_that_raises_changes_nothing(tmp_path: Path) -> None:
    store = database(tmp_path)

    def insert_and_fail() -> None:
        with store.write() as connection:
            connection.execute("INSERT INTO events (job, at, what) VALUES ('x', 1, 'note')")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        insert_and_fail()
    with store.read() as connection:
        assert connection.execute("SELECT count(*) FROM events").fetchone()[0] == 0
    store.close()


def test_a_damaged_store_is_kept_aside_and_rebuilt_from_the_jobs(home: Path) -> None:
    place = LocalPlace()
    ended = place.cluster.launch(place.submission("true")).job
    assert [job.state for job in place.cluster.wait([ended.name], stop=_never(), timeout=30)] == [State.SUCCEEDED]
    held = place.cluster.launch(place.submission("true", hold=True)).job
    running = place.cluster.launch(place.submission("sleep", "0.5")).job
    place.cluster.close()
    for tail in ("-wal", "-shm"):
        Path(place.paths.database + tail).unlink(missing_ok=True)
    Path(place.paths.database).write_bytes(b"this is no database" * 500)

    found = {job.name: job.state for job in place.cluster.jobs(JobQuery()).items}
    assert found.keys() == {ended.name, held.name, running.name}
    assert found[held.name] is State.QUEUED
    assert place.cluster.job(ended.name).state is State.SUCCEEDED
    assert [job.state for job in place.cluster.wait([running.name], stop=_never(), timeout=30)] == [State.SUCCEEDED]
    notes = place.cluster.notes()
    assert place.cluster.notes() == ()
    assert any("damaged" in note and ".corrupt-" in note for note in notes)
    kept = [name for name in os.listdir(place.paths.root) if ".corrupt-" in name]
    assert kept
    place.close()


def test_damage_found_by_a_read_is_mended_by_the_next_command(tmp_path: Path) -> None:
    store = database(tmp_path)
    with store.write() as connection:
        for number in range(2000):
            connection.execute("INSERT INTO events (job, at, what, text) VALUES (?, 1, 'note', ?)", (f"job-{number}", "x" * 200))
    store.close()
    path = tmp_path / "state" / "gpuctl.db"
    content = bytearray(path.read_bytes())
    middle = len(content) // 8192 * 4096  # behind the schema, which every open reads
    content[middle : middle + 160000] = b"\xff" * 160000
    path.write_bytes(content)
    damaged = database(tmp_path)
    with pytest.raises(GpuctlError) as caught, damaged.read() as connection:
        connection.execute("SELECT * FROM events ORDER BY job").fetchall()
    assert caught.value.code == "state-damaged"
    damaged.close()
    again = database(tmp_path)
    assert again.recreated
    again.close()


def test_many_open_a_new_store_at_once(tmp_path: Path) -> None:
    children = []
    root = str(tmp_path / "state")
    for _ in range(20):
        pid = os.fork()
        if pid == 0:
            code = 1
            try:
                Database(paths.prepare(root)).close()
                code = 0
            finally:
                os._exit(code)
        children.append(pid)
    assert [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in children] == [0] * 20
    connection = sqlite3.connect(f"{root}/gpuctl.db")
    assert connection.execute("PRAGMA user_version").fetchone()[0] == VERSION
    connection.close()


def _never() -> threading.Event:
    return threading.Event()


def test_the_limit_of_logs_is_an_option_that_supervisors_are_told(home: Path) -> None:
    with pytest.raises(GpuctlError, match="cannot use cluster here"):
        build("here", {"log_limit": "much"})
    place = LocalPlace()
    place.options["log_limit"] = "3Mi"
    cluster = place.again()
    job = cluster.launch(place.submission("true")).job
    with open(f"{place.paths.launch(job.id, 1)}/plan.json") as file:
        assert json.load(file)["log_limit"] == 3 << 20
    place.close()
