"""Where locks are: shared if it can be, private and told if not."""

import os
from pathlib import Path

import pytest

from gpuctl.base.errors import UnavailableError
from gpuctl.clusters.local import locks


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A stand-in for /var/lock/gpuctl that does not exist yet."""
    path = tmp_path / "var-lock" / "gpuctl"
    path.parent.mkdir()
    monkeypatch.setattr(locks, "SHARED_DIRECTORY", str(path))
    return path


def test_the_shared_directory(elsewhere: Path, tmp_path: Path) -> None:
    elsewhere.mkdir()
    elsewhere.chmod(0o1777)
    found = locks.directory({}, fallback=str(tmp_path))
    assert (found.path, found.shared, found.note) == (str(elsewhere), True, "")


def test_without_it_a_private_one_and_a_note_with_the_command(elsewhere: Path, tmp_path: Path) -> None:
    found = locks.directory({}, fallback=str(tmp_path / "state"))
    assert (found.path, found.shared) == (str(tmp_path / "state" / "locks"), False)
    assert os.stat(found.path).st_mode & 0o777 == 0o700
    assert f"{elsewhere} does not exist" in found.note
    assert found.fix == f"sudo install -d -m 1777 {elsewhere}"


@pytest.mark.parametrize("what", ["link", "file", "not sticky"])
def test_a_shared_directory_that_cannot_be_trusted_is_not_used(elsewhere: Path, tmp_path: Path, what: str) -> None:
    if what == "link":
        elsewhere.symlink_to(tmp_path)
    elif what == "file":
        elsewhere.touch()
    else:
        elsewhere.mkdir()
        elsewhere.chmod(0o777)
    found = locks.directory({}, fallback=str(tmp_path / "state"))
    assert not found.shared
    assert found.note


def test_the_override(elsewhere: Path, tmp_path: Path) -> None:
    own = tmp_path / "own"
    found = locks.directory({"GPUCTL_LOCK_DIR": str(own)}, fallback=str(tmp_path))
    assert (found.path, found.shared) == (str(own), False)
    own.chmod(0o1777)
    assert locks.directory({"GPUCTL_LOCK_DIR": str(own)}, fallback=str(tmp_path)).shared
    own.chmod(0o777)
    with pytest.raises(UnavailableError, match="not sticky"):
        locks.directory({"GPUCTL_LOCK_DIR": str(own)}, fallback=str(tmp_path))


def test_no_place_at_all(elsewhere: Path, tmp_path: Path) -> None:
    (tmp_path / "state").touch()
    runtime = tmp_path / "runtime"
    assert locks.directory({"XDG_RUNTIME_DIR": str(runtime)}, fallback=str(tmp_path / "state")).path == str(runtime / "gpuctl" / "locks")
    with pytest.raises(UnavailableError, match="cannot lock devices"):
        locks.directory({}, fallback=str(tmp_path / "state"))


def test_names_of_locks_stay_in_the_directory(tmp_path: Path) -> None:
    directory = locks.LockDirectory(path=str(tmp_path), shared=False)
    assert Path(directory.file("../../etc/passwd")).parent == tmp_path
    assert directory.file("amd-0000:22:00.0").endswith("/amd-0000_22_00.0.lock")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may set it up")
def test_root_sets_it_up_for_good(elsewhere: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "tmpfiles.d").mkdir()
    monkeypatch.setattr(locks, "_TMPFILES", str(tmp_path / "tmpfiles.d"))
    assert locks.set_up().done
    assert os.stat(elsewhere).st_mode & 0o7777 == 0o1777
    assert os.stat(elsewhere / "waiting").st_mode & 0o7777 == 0o1777
    assert (tmp_path / "tmpfiles.d" / "gpuctl.conf").read_text() == f"d {elsewhere} 1777 root root -\n"
    assert locks.directory({}, fallback=str(tmp_path)).shared
    assert locks.set_up().text == f"{elsewhere} is there"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may set it up")
def test_root_sets_it_up_for_a_group(elsewhere: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(locks, "_TMPFILES", str(tmp_path / "none"))
    assert locks.set_up("no-such-group").command == "sudo groupadd no-such-group"
    assert locks.set_up("daemon").done
    assert os.stat(elsewhere).st_mode & 0o7777 == 0o3770


def test_others_are_given_the_command(elsewhere: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(locks.os, "geteuid", lambda: 1000)
    answer = locks.set_up("gpu")
    assert not answer.done
    assert answer.command == f"sudo install -d -m 3770 -g gpu {elsewhere}"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may set it up")
def test_root_is_not_led_astray_by_a_link(elsewhere: Path, tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.mkdir(mode=0o755)
    elsewhere.symlink_to(victim)
    answer = locks.set_up()
    assert not answer.done
    assert os.stat(victim).st_mode & 0o7777 == 0o755
