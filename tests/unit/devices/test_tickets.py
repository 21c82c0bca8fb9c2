"""Who waits, across users: by age, dead ones do not count, nothing is believed."""

import os
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest

from gpuctl.clusters.local import locks
from gpuctl.clusters.local.locks import LockDirectory
from gpuctl.clusters.local.tickets import Tickets, Wanted, claims
from tests.unit.devices.other import process
from tests.unit.devices.test_leases import ANNA, BOB, as_root, shared

__all__ = ["shared"]

SINCE = datetime(2026, 3, 1, 12, 0, 0, 123456, tzinfo=timezone.utc)


def wait(directory: LockDirectory, *wanted: tuple[str, int, int]) -> Tickets:
    """Wait with jobs given as (id, seconds after SINCE, devices)."""
    tickets = Tickets(directory)
    tickets.keep({job: Wanted(since=SINCE + timedelta(seconds=after), gpus=gpus, name=f"{job}-x") for job, after, gpus in wanted})
    assert tickets.problem is None, tickets.problem
    return tickets


def seen(directory: LockDirectory) -> list[tuple[str, float, int, str | None]]:
    return [(claim.user, (claim.since - SINCE).total_seconds(), claim.gpus, claim.name) for claim in claims(directory)]


def waiting(directory: LockDirectory) -> list[str]:
    return sorted(os.listdir(os.path.join(directory.path, "waiting")))


def test_my_own_tickets_are_no_claims_and_follow_what_waits(shared: LockDirectory) -> None:
    tickets = wait(shared, ("a", 0, 1), ("b", 5, 2))
    assert seen(shared) == []
    assert [name.split(".")[2] for name in waiting(shared)] == ["a", "b"]
    tickets.keep({"b": Wanted(since=SINCE, gpus=4)})
    assert [name.split(".")[2] for name in waiting(shared)] == ["b"]
    tickets.close()
    assert waiting(shared) == []


def test_what_a_dead_keeper_of_mine_left_is_removed(shared: LockDirectory) -> None:
    with process(wait, shared, ("a", 0, 1)):
        assert claims(shared) == ()
        assert len(waiting(shared)) == 1
    assert claims(shared) == ()
    assert waiting(shared) == []


@as_root
def test_others_wait_by_age_and_the_dead_do_not_count(shared: LockDirectory) -> None:
    mine = wait(shared, ("mine", 3, 1))
    with process(wait, shared, ("old", -60, 4), ("young", 60, 1), uid=ANNA):
        with process(wait, shared, ("bobs", -30, 2), uid=BOB):
            assert seen(shared) == [(str(ANNA), -60.0, 4, "old-x"), (str(BOB), -30.0, 2, "bobs-x"), (str(ANNA), 60.0, 1, "young-x")]
            assert [claim.name for claim in claims(shared, before=SINCE)] == ["old-x", "bobs-x"]
            with process(seen, shared, uid=BOB) as (theirs, _):
                assert [name for *_, name in theirs] == ["old-x", "mine-x", "young-x"]
        assert [user for user, *_ in seen(shared)] == [str(ANNA)] * 2
    assert seen(shared) == []
    assert len(waiting(shared)) == 4, "only its owner removes a ticket"
    mine.close()


def forge(directory: LockDirectory) -> int:
    """Leave every kind of junk, and hold it locked where it can be."""
    waiting = os.path.join(directory.path, "waiting")
    names = {
        f"00000000000000000001.{ANNA}.forged.lock": b'{"gpus": 8}',  # another user's number
        f"00000000000000000002.{BOB}.huge.lock": b'{"gpus": 100000000}',
        f"00000000000000000003.{BOB}.negative.lock": b'{"gpus": -1}',
        f"00000000000000000004.{BOB}.junk.lock": b"\xff" * 5000,
        f"9999999999999999999999.{BOB}.long.lock": b'{"gpus": 1}',
        "no ticket": b"",
    }
    held = []
    for name, content in names.items():
        fd = locks.take(os.path.join(waiting, name))
        assert fd is not None
        os.write(fd, content)
        held.append(fd)
    os.symlink("/etc/passwd", os.path.join(waiting, f"00000000000000000005.{BOB}.link.lock"))
    os.mkfifo(os.path.join(waiting, f"00000000000000000006.{BOB}.fifo.lock"))
    os.mkdir(os.path.join(waiting, f"00000000000000000007.{BOB}.dir.lock"))
    wait(directory, ("real", 0, 1))._held.clear()
    return len(held)


@as_root
def test_junk_and_forgeries_are_passed_over(shared: LockDirectory) -> None:
    Tickets(shared).close()
    with process(forge, shared, uid=BOB) as (answer, _):
        assert answer == 6
        assert seen(shared) == [(str(BOB), 0.0, 1, "real-x")]


@as_root
def test_a_place_to_wait_that_somebody_spoilt_stops_nobody(shared: LockDirectory) -> None:
    with process(os.symlink, "/etc", os.path.join(shared.path, "waiting"), uid=BOB):
        pass
    tickets = Tickets(shared)
    assert tickets.problem is not None
    assert "is a link" in tickets.problem
    assert claims(shared) == ()


def test_a_private_directory_works_too(tmp_path: Path) -> None:
    (tmp_path / "own").mkdir(mode=0o700)
    directory = LockDirectory(path=str(tmp_path / "own"), shared=False)
    tickets = wait(directory, ("a", 0, 1))
    assert os.stat(tmp_path / "own" / "waiting").st_mode & 0o777 == 0o700
    assert len(waiting(directory)) == 1
    tickets.close()


@pytest.mark.parametrize("since", [datetime(1969, 1, 1, tzinfo=timezone.utc), datetime(2999, 1, 1, tzinfo=timezone.utc)])
def test_odd_ages_do_not_break_the_line(shared: LockDirectory, since: datetime) -> None:
    tickets = Tickets(shared)
    tickets.keep({"a": Wanted(since=since, gpus=1)})
    assert len(waiting(shared)) == 1
    tickets.close()
