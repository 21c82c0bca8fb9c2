"""What every pool promises (``gpuctl.port.pool``), by number. A pool is held to it by a subclass that builds its ``World``."""

import threading
from abc import ABC, abstractmethod
from typing import Any

import msgspec
import pytest

from gpuctl.base.errors import ConflictError, NotFoundError, NotKeptHere, UnavailableError, UsageError
from gpuctl.model.ask import JobQuery, LogQuery, Submission
from gpuctl.model.job import Job, State
from gpuctl.port.pool import Pool


class World(ABC):
    """A pool of at least two clusters with nothing on it, and the hands to move it."""

    pool: Pool

    @abstractmethod
    def submission(self, name: str, **spec: Any) -> Submission:
        """A job that prints ``hello from rank R`` on each of its ranks and succeeds."""

    @abstractmethod
    def run(self, job: Job) -> None:
        """Bring it to its end."""

    @abstractmethod
    def lose(self, cluster: str) -> None:
        """The cluster stops answering."""

    @abstractmethod
    def clusters(self) -> tuple[str, ...]:
        """Names of the clusters, at least two."""

    @abstractmethod
    def unkept(self) -> tuple[str, dict[str, Any]] | None:
        """A flag and fields of a spec that ask for what no cluster here keeps, None when everything is kept."""


class PoolContract:
    """The suite. ``world`` is the fixture to override."""

    @pytest.fixture
    def world(self) -> World:
        raise NotImplementedError("a pool's own suite builds its world")

    def test_submit_shows_in_jobs_and_job(self, world: World) -> None:
        accepted = world.pool.submit(world.submission("train")).job
        assert [job.id for job in world.pool.jobs(JobQuery(user=world.pool.me())).items] == [accepted.id]
        for ref in (accepted.name, f"job/{accepted.name}", accepted.id, "train"):
            assert world.pool.job(ref).id == accepted.id

    def test_1_a_lost_cluster_leaves_its_rows_out_and_is_named(self, world: World) -> None:
        kept, lost = world.clusters()[:2]
        here = world.pool.submit(world.submission("here", cluster=kept)).job
        world.pool.submit(world.submission("there", cluster=lost))
        world.lose(lost)
        listing = world.pool.jobs(JobQuery())
        assert [job.id for job in listing.items] == [here.id]
        assert list(listing.incomplete) == [lost]
        assert listing.incomplete[lost]
        assert list(world.pool.nodes().incomplete) == [lost]
        rows = {row.name: row for row in world.pool.clusters().items}
        assert rows[lost].health == "unreachable"
        assert rows[lost].error
        assert rows[kept].health == "healthy"

    def test_2_a_job_that_may_be_on_a_lost_cluster_is_unavailable_not_missing(self, world: World) -> None:
        lost = world.clusters()[1]
        job = world.pool.submit(world.submission("train", cluster=lost)).job
        world.lose(lost)
        for call in (world.pool.job, world.pool.explain, world.pool.cancel):
            with pytest.raises(UnavailableError):
                call(job.name)

    def test_2_a_job_that_is_nowhere_is_missing(self, world: World) -> None:
        for call in (world.pool.job, world.pool.explain, world.pool.cancel):
            with pytest.raises(NotFoundError):
                call("nobody-ran-this")

    def test_3_an_unkept_promise_is_refused_by_name_and_leaves_nothing(self, world: World) -> None:
        unkept = world.unkept()
        if unkept is None:
            pytest.skip("everything is kept here")
        flag, fields = unkept
        with pytest.raises(NotKeptHere) as refused:
            world.pool.submit(world.submission("train", **fields))
        assert flag in refused.value.message
        assert refused.value.cause
        assert world.pool.jobs(JobQuery()).items == ()

    def test_3_best_effort_turns_the_refusal_into_a_note(self, world: World) -> None:
        unkept = world.unkept()
        if unkept is None:
            pytest.skip("everything is kept here")
        flag, fields = unkept
        asked = world.submission("train", **fields)
        submitted = world.pool.submit(msgspec.structs.replace(asked, best_effort=True))
        assert any(flag in note for note in submitted.notes)

    def test_4_logs_are_whole_lines_of_all_ranks(self, world: World) -> None:
        job = world.pool.submit(world.submission("train", nodes=1, gpus=2, per="gpu")).job
        world.run(job)
        text = b"".join(world.pool.logs(job.name, LogQuery(fold=False), stop=threading.Event()))
        assert text.endswith(b"\n")
        assert sorted(text.splitlines()) == [b"[0] hello from rank 0", b"[1] hello from rank 1"]

    def test_4_following_ends_with_the_job(self, world: World) -> None:
        job = world.pool.submit(world.submission("train")).job
        lines: list[bytes] = []
        reader = threading.Thread(target=lambda: lines.extend(world.pool.logs(job.name, LogQuery(follow=True), stop=threading.Event())))
        reader.start()
        world.run(job)
        reader.join(30)
        assert not reader.is_alive()
        assert b"".join(lines) == b"hello from rank 0\n"

    def test_5_no_reference_is_my_latest_job(self, world: World) -> None:
        with pytest.raises(NotFoundError):
            world.pool.job(None)
        first, second = (
            world.pool.submit(world.submission(name, cluster=where)).job for name, where in zip("ab", world.clusters(), strict=False)
        )
        assert world.pool.job(None).id == second.id
        assert world.pool.job("-").id == second.id
        assert first.id != second.id
        with pytest.raises(UsageError):
            world.pool.cancel("-")

    def test_a_base_name_is_the_newest_of_that_name(self, world: World) -> None:
        first = world.submission("train", cluster=world.clusters()[0])
        older = world.pool.submit(first).job
        newer = world.pool.submit(msgspec.structs.replace(first, request_id="another")).job
        assert newer.id != older.id
        assert world.pool.job("train").id == newer.id

    def test_the_same_request_is_the_same_job(self, world: World) -> None:
        asked = msgspec.structs.replace(world.submission("train"), request_id="mine", explicit_request_id=True)
        accepted = world.pool.submit(asked)
        again = world.pool.submit(asked)
        assert not accepted.existed
        assert again.existed
        assert again.job.id == accepted.job.id
        with pytest.raises(ConflictError):
            world.pool.submit(msgspec.structs.replace(asked, spec=msgspec.structs.replace(asked.spec, env={"OTHER": "1"})))

    def test_6_a_request_id_is_one_job_or_none(self, world: World) -> None:
        lost = world.clusters()[1]
        asked = msgspec.structs.replace(world.submission("train"), request_id="mine", explicit_request_id=True)
        world.lose(lost)
        with pytest.raises(UnavailableError):
            world.pool.submit(asked)
        assert world.pool.jobs(JobQuery()).items == ()

    def test_quota_covers_every_cluster(self, world: World) -> None:
        listing = world.pool.quota()
        assert {row.cluster for row in listing.items} == set(world.clusters())
        for row in listing.items:
            assert row.free is None or row.nominal is None or row.free <= row.nominal
        world.lose(world.clusters()[1])
        assert list(world.pool.quota().incomplete) == [world.clusters()[1]]

    def test_cancel_is_idempotent(self, world: World) -> None:
        job = world.pool.submit(world.submission("train", hold=True)).job
        world.pool.cancel(job.name)
        ended = list(world.pool.wait([job.name], stop=threading.Event(), timeout=30))
        assert [each.state for each in ended] == [State.CANCELLED]
        assert world.pool.cancel(job.name).already

    def test_wait_yields_the_jobs_of_all_clusters(self, world: World) -> None:
        jobs = [world.pool.submit(world.submission(f"job-{name}", cluster=name)).job for name in world.clusters()]
        for job in jobs:
            world.run(job)
        ended = list(world.pool.wait([job.name for job in jobs], stop=threading.Event(), timeout=30))
        assert {job.id for job in ended} == {job.id for job in jobs}
        assert all(job.state is State.SUCCEEDED for job in ended)

    def test_history_is_mine_newest_first_whatever_the_state(self, world: World) -> None:
        first = world.pool.submit(world.submission("first", cluster=world.clusters()[0])).job
        world.run(first)
        second = world.pool.submit(world.submission("second", cluster=world.clusters()[1])).job
        assert [job.id for job in world.pool.history(JobQuery()).items] == [second.id, first.id]
        assert [job.id for job in world.pool.history(JobQuery(limit=1)).items] == [second.id]
