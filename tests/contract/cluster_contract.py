"""What every Cluster keeps, by the numbers of ``gpuctl.port.cluster``. A cluster's own test module subclasses :class:`ClusterContract`
and gives the fixtures ``place`` (a :class:`Place`).
"""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Protocol

import msgspec
import pytest

from gpuctl.base.errors import ConflictError, GpuctlError, NotAllowedError, NotFoundError, NotKeptHere, TimeoutReachedError
from gpuctl.model.ask import ExecTarget, JobChange, JobQuery, LogQuery, Submission
from gpuctl.model.job import Job, State
from gpuctl.port.capability import Capability
from gpuctl.port.cluster import Cluster
from gpuctl.port.stream import HEADER

PATIENCE = 60.0


class Place(Protocol):
    """One cluster under test, and how to ask it for jobs."""

    cluster: Cluster

    def submission(self, *command: str, **spec: Any) -> Submission:
        """A command job of the base name ``job`` with a request id of its own; further spec fields by name."""
        ...

    def again(self) -> Cluster:
        """Another cluster object for the same place, as another process would have."""
        ...

    def too_large(self) -> dict[str, Any]:
        """Spec fields that the place can never satisfy."""
        ...


def final(place: Place, *names: str) -> list[Job]:
    """Wait for jobs; as they ended."""
    return list(place.cluster.wait(names, stop=threading.Event(), timeout=PATIENCE))


def text(place: Place, name: str, query: LogQuery | None = None) -> str:
    """All lines of all ranks, without headers."""
    blocks = [block for log in place.cluster.logs(name, query or LogQuery()) for block in log.blocks(since=None, follow=False)]
    return "\n".join(line[HEADER:].decode() for line in b"".join(blocks).splitlines())


class ClusterContract:
    """The promises."""

    # -- 1: all or nothing, and it survives us ----------------------------------------------------------------------------------

    def test_1_a_job_survives_the_object_that_launched_it(self, place: Place) -> None:
        launcher = place.again()
        name = launcher.launch(place.submission("sh", "-c", "sleep 0.3; exit 3")).job.name
        launcher.close()
        (job,) = final(place, name)
        assert (job.state, job.exit and job.exit.code) == (State.FAILED, 3)
        assert [attempt.number for attempt in job.attempts] == [1]
        (listed,) = place.cluster.jobs(JobQuery()).items
        assert listed.reason is not None
        assert listed.reason.code == "exit-code"

    def test_1_a_refused_job_leaves_nothing(self, place: Place) -> None:
        with pytest.raises(NotAllowedError) as caught:
            place.cluster.launch(place.submission("true", **place.too_large()))
        assert caught.value.code == "never-fits"
        assert place.cluster.jobs(JobQuery()).items == ()

    def test_1_plan_refuses_the_same_and_changes_nothing(self, place: Place) -> None:
        with pytest.raises(NotAllowedError):
            place.cluster.plan(place.submission("true", **place.too_large()))
        plan = place.cluster.plan(place.submission("true"))
        assert plan.options[0].now
        assert place.cluster.jobs(JobQuery()).items == ()

    # -- 2: request ids -----------------------------------------------------------------------------------------------------------

    def test_2_the_same_request_is_the_same_job(self, place: Place) -> None:
        submission = place.submission("true")
        first = place.cluster.launch(submission)
        second = place.again().launch(submission)
        assert (first.existed, second.existed) == (False, True)
        assert first.job.id == second.job.id

    def test_2_the_same_request_with_another_spec_conflicts(self, place: Place) -> None:
        submission = place.submission("true")
        place.cluster.launch(submission)
        other = msgspec.structs.replace(submission, spec=msgspec.structs.replace(submission.spec, priority=5))
        with pytest.raises(ConflictError):
            place.cluster.launch(other)
        assert len(place.cluster.jobs(JobQuery()).items) == 1

    def test_2_two_at_once_make_one_job(self, place: Place) -> None:
        submission = place.submission("true")
        clusters = [place.again() for _ in range(4)]
        with ThreadPoolExecutor(4) as threads:
            ids = {done.job.id for done in threads.map(lambda cluster: cluster.launch(submission), clusters)}
        assert len(ids) == 1
        assert len(place.cluster.jobs(JobQuery()).items) == 1

    # -- 3: states ----------------------------------------------------------------------------------------------------------------

    def test_3_states_only_go_forward(self, place: Place) -> None:
        order = [State.QUEUED, State.STARTING, State.RUNNING, State.SUCCEEDED]
        job = place.cluster.launch(place.submission("sleep", "0.3")).job
        seen = [job.state]
        while not job.final:
            job = place.cluster.job(job.name)
            seen.append(job.state)
        assert seen == sorted(seen, key=order.index)
        assert place.cluster.stop(job.name).already
        assert place.cluster.job(job.name).state is State.SUCCEEDED

    def test_3_times_are_in_order(self, place: Place) -> None:
        (job,) = final(place, place.cluster.launch(place.submission("true")).job.name)
        assert job.started_at is not None
        assert job.ended_at is not None
        assert job.submitted_at <= job.started_at <= job.ended_at
        assert [event.at for event in job.timeline] == sorted(event.at for event in job.timeline)

    # -- 4: references ------------------------------------------------------------------------------------------------------------

    def test_4_an_unknown_reference_is_not_found(self, place: Place) -> None:
        calls: list[Callable[[str], object]] = [
            place.cluster.job,
            place.cluster.explain,
            place.cluster.stop,
            lambda ref: place.cluster.update(ref, JobChange(priority=1)),
            lambda ref: place.cluster.logs(ref, LogQuery()),
            lambda ref: list(place.cluster.wait([ref], stop=threading.Event(), timeout=1)),
        ]
        for call in calls:
            with pytest.raises(NotFoundError):
                call("nobody")

    def test_4_name_base_name_and_id_prefix_lead_to_the_job(self, place: Place) -> None:
        old = place.cluster.launch(place.submission("true")).job
        new = place.cluster.launch(place.submission("true")).job
        assert place.cluster.job(old.name).id == old.id
        assert place.cluster.job(new.base_name).id == new.id
        assert place.cluster.job(f"job/{old.name}").id == old.id
        assert place.cluster.job(old.id[:-1]).id == old.id

    # -- 5: stop ------------------------------------------------------------------------------------------------------------------

    def test_5_a_running_job_is_stopped_once(self, place: Place) -> None:
        job = place.cluster.launch(place.submission("sleep", "60")).job
        assert not place.cluster.stop(job.name, grace_seconds=1).already
        place.cluster.stop(job.name, grace_seconds=1)
        (ended,) = final(place, job.name)
        assert ended.state is State.CANCELLED
        assert place.cluster.stop(job.name).already

    def test_5_a_held_job_is_cancelled_at_once(self, place: Place) -> None:
        job = place.cluster.launch(place.submission("true", hold=True)).job
        assert job.state is State.QUEUED
        assert place.cluster.stop(job.name).job.state is State.CANCELLED
        assert place.cluster.job(job.name).started_at is None

    # -- 6: logs ------------------------------------------------------------------------------------------------------------------

    def test_6_logs_of_a_job_that_has_not_started_are_empty(self, place: Place) -> None:
        job = place.cluster.launch(place.submission("true", hold=True)).job
        assert place.cluster.logs(job.name, LogQuery()) == []

    def test_6_logs_of_an_ended_job_are_whole(self, place: Place) -> None:
        (job,) = final(place, place.cluster.launch(place.submission("sh", "-c", "seq 1 2000; echo done >&2")).job.name)
        lines = text(place, job.name).splitlines()
        assert [line for line in lines if line.isdigit()] == [str(number) for number in range(1, 2001)]
        assert "done" in lines

    def test_6_following_ends_with_the_job(self, place: Place) -> None:
        name = place.cluster.launch(place.submission("sh", "-c", "echo one; sleep 0.5; echo two")).job.name
        while not place.cluster.logs(name, LogQuery()):
            assert not place.cluster.job(name).final
        (log,) = [log for log in place.cluster.logs(name, LogQuery()) if log.rank == 0]
        followed = b"".join(log.blocks(since=None, follow=True))
        assert [line[HEADER:] for line in followed.splitlines()] == [b"one", b"two"]

    # -- 7: deadlines -------------------------------------------------------------------------------------------------------------

    def test_7_wait_ends_at_its_timeout(self, place: Place) -> None:
        job = place.cluster.launch(place.submission("true", hold=True)).job
        with pytest.raises(TimeoutReachedError):
            list(place.cluster.wait([job.name], stop=threading.Event(), timeout=0.1))

    def test_7_wait_ends_when_told_to(self, place: Place) -> None:
        job = place.cluster.launch(place.submission("true", hold=True)).job
        stop = threading.Event()
        stop.set()
        assert list(place.cluster.wait([job.name], stop=stop, timeout=None)) == []

    # -- 8: errors ----------------------------------------------------------------------------------------------------------------

    def test_8_errors_are_gpuctls_own(self, place: Place) -> None:
        job = place.cluster.launch(place.submission("true", hold=True)).job
        calls: list[Callable[[], object]] = [
            lambda: place.cluster.update(job.name, JobChange(time="soon")),
            lambda: place.cluster.exec(job.name, ExecTarget(node=0), ["true"], tty=False),
            lambda: place.cluster.copy_out(job.name, "no/such/file", "."),
            lambda: list(place.cluster.forward(job.name, remote="1", local_port=None, stop=threading.Event())),
            lambda: place.cluster.volume_files("no-such-volume", "/"),
            lambda: place.cluster.delete_volume("no-such-volume"),
            lambda: place.cluster.job("x" * 5000),
            lambda: place.cluster.job("'; DROP TABLE jobs; --"),
        ]
        for call in calls:
            with pytest.raises(GpuctlError):
                call()
        assert place.cluster.job(job.name).state is State.QUEUED

    # -- 10: claims ---------------------------------------------------------------------------------------------------------------

    def test_10_the_first_claim_stands(self, place: Place) -> None:
        claims = [place.again().claim("mine", digest="one", home=home) for home in ("here", "there")]
        assert claims == ["here", "here"]
        assert place.cluster.claim("other", digest="two", home="there") == "there"
        with pytest.raises(ConflictError):
            place.cluster.claim("mine", digest="something else", home="here")

    def test_10_of_several_at_once_one_stands(self, place: Place) -> None:
        homes = [f"home-{number}" for number in range(4)]
        with ThreadPoolExecutor(4) as threads:
            found = set(threads.map(lambda home: place.again().claim("mine", digest="one", home=home), homes))
        assert len(found) == 1
        assert found <= set(homes)

    def test_quota_tells_what_may_be_held(self, place: Place) -> None:
        for row in place.cluster.quota().items:
            assert row.cluster == place.cluster.name
            assert row.name
            counts = [row.nominal, row.used, row.free, row.borrowed, row.borrowable, *row.usable.values()]
            assert all(count is None or count >= 0 for count in counts)

    # -- 9: capabilities ----------------------------------------------------------------------------------------------------------

    def test_9_what_is_not_kept_is_refused(self, place: Place) -> None:
        kept = place.cluster.capabilities
        job = place.cluster.launch(place.submission("true", hold=Capability.HOLD in kept)).job
        if Capability.UPDATE_PRIORITY not in kept:
            with pytest.raises(NotKeptHere):
                place.cluster.update(job.name, JobChange(priority=3))
        if Capability.USAGE not in kept:
            with pytest.raises(NotKeptHere):
                place.cluster.usage(JobQuery())
        if Capability.TOP not in kept:
            with pytest.raises(NotKeptHere):
                place.cluster.top(None)
        assert {option for option in kept if not isinstance(option, Capability)} == set()

    # -- and what follows from them -------------------------------------------------------------------------------------------------

    def test_retries_make_attempts(self, place: Place) -> None:
        if Capability.RETRIES not in place.cluster.capabilities:
            pytest.skip("keeps no retries")
        job = place.cluster.launch(place.submission("sh", "-c", "exit $((GPUCTL_ATTEMPT % 2))", retries=1)).job
        (ended,) = final(place, job.name)
        assert (ended.state, ended.attempt_count) == (State.SUCCEEDED, 2)
        assert [attempt.state for attempt in ended.attempts] == [State.FAILED, State.SUCCEEDED]

    def test_listing_is_unfinished_first_then_newest(self, place: Place) -> None:
        first = place.cluster.launch(place.submission("true")).job.name
        final(place, first)
        held = [place.cluster.launch(place.submission("true", hold=True)).job.name for _ in range(2)]
        second = place.cluster.launch(place.submission("true")).job.name
        final(place, second)
        assert [job.name for job in place.cluster.jobs(JobQuery()).items] == [*reversed(held), second, first]
        assert [job.name for job in place.cluster.jobs(JobQuery(states=frozenset({State.QUEUED}))).items] == list(reversed(held))
        assert [job.name for job in place.cluster.jobs(JobQuery(limit=1)).items] == [held[1]]
