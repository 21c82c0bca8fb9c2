"""One request id, one job, over all clusters: repeats, races, crashes, and clusters that do not answer."""

import threading

import pytest

from gpuctl.base.errors import ConflictError, NotFoundError, UnavailableError
from gpuctl.model.ask import Submission, Submitted
from gpuctl.model.job import Job
from gpuctl.pool.direct import DirectPool
from tests.fakes.cluster import FakeCluster
from tests.fakes.pool import STATELESS, fake_pool, stateless, submission

DEAD = UnavailableError("cannot reach it", cause="connection refused")


def jobs(*clusters: FakeCluster) -> int:
    return sum(len(cluster.jobs_by_id) for cluster in clusters)


def test_the_claim_is_taken_in_the_first_cluster_before_anything_is_created() -> None:
    first, second = stateless("first"), stateless("second")
    first.busy = {"first-0": 8, "first-1": 8}
    job = fake_pool(first, second).submit(submission(request_id="mine")).job
    assert job.cluster == "second"
    assert {home for _, home in first.claims.values()} == {"uid-second"}
    assert "launch" not in first.calls


def test_a_repeat_finds_its_job_also_when_that_holds_all_there_is() -> None:
    first, second = stateless("first"), stateless("second")
    pool = fake_pool(first, second)
    asked = submission(request_id="mine", nodes=2, gpus=8)
    accepted = pool.submit(asked)
    cluster = first if accepted.job.cluster == "first" else second
    cluster.start(accepted.job.name)
    for other in (first, second):
        other.busy = {} if other is cluster else dict.fromkeys(other.node_names, 8)
    again = pool.submit(asked)
    assert (again.existed, again.job.id) == (True, accepted.job.id)
    assert again.sentence == f"job/{accepted.job.name} was submitted before, on {cluster.name}"
    alone = fake_pool(cluster)
    assert alone.submit(asked).job.id == accepted.job.id


def test_a_crash_between_claim_and_launch_is_mended_by_the_same_command() -> None:
    first, second = stateless("first"), stateless("second")
    pool = fake_pool(first, second)
    first.busy = dict.fromkeys(first.node_names, 8)
    asked = submission(request_id="mine")
    launch = second.launch
    second.launch = lambda _: (_ for _ in ()).throw(KeyboardInterrupt())  # type: ignore[method-assign]
    with pytest.raises(KeyboardInterrupt):
        pool.submit(asked)
    second.launch = launch  # type: ignore[method-assign]
    first.busy = {}
    second.busy = {"second-0": 1}  # by now the first would be the better place
    assert pool.submit(asked).job.cluster == "second"
    assert jobs(first, second) == 1


class Racing(FakeCluster):
    """A first cluster at which both submitters have decided before either claim is taken."""

    met = threading.Barrier(2)

    def claim(self, request_id: str, *, digest: str, home: str) -> str:
        self.met.wait(10)
        return super().claim(request_id, digest=digest, home=home)


def test_two_at_once_that_decide_differently_make_one_job() -> None:
    def seen(busy: str) -> list[FakeCluster]:
        """The three clusters as one of the submitters sees them: ``busy`` is full for it."""
        found = [FakeCluster(name, nodes=2, tier="reserved", capabilities=STATELESS) for name in ("left", "right")]
        for cluster in found:
            cluster.jobs_by_id, cluster.submissions = kept[cluster.name]
            cluster.busy = dict.fromkeys(cluster.node_names, 8 if cluster.name == busy else 0)
        return found

    kept: dict[str, tuple[dict[str, Job], dict[str, Submission]]] = {"left": ({}, {}), "right": ({}, {})}
    keeper = Racing("keeper", tier="on-demand", capabilities=STATELESS)
    pools = [fake_pool(keeper, *seen("left")), fake_pool(keeper, *seen("right"))]
    outcomes: list[Submitted | Exception] = []

    def go(pool: DirectPool) -> None:
        try:
            outcomes.append(pool.submit(submission(request_id="mine")))
        except Exception as error:
            outcomes.append(error)

    threads = [threading.Thread(target=go, args=(pool,)) for pool in pools]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    made = [job.id for jobs, _ in kept.values() for job in jobs.values()]
    assert len(made) == 1
    # The one whose choice was not claimed goes to the other's cluster, or is told that it is full by now; it never makes a second job.
    for outcome in outcomes:
        assert isinstance(outcome, UnavailableError) or (isinstance(outcome, Submitted) and outcome.job.id == made[0])
    assert any(isinstance(outcome, Submitted) for outcome in outcomes)


def test_the_same_id_for_something_else_is_a_conflict() -> None:
    first, second = stateless("first"), stateless("second")
    pool = fake_pool(first, second)
    pool.submit(submission(request_id="mine"))
    with pytest.raises(ConflictError) as caught:
        pool.submit(submission(request_id="mine", gpus=2))
    assert caught.value.exit_code == 6
    with pytest.raises(ConflictError):
        pool.submit(submission("other-name", request_id="mine"))
    assert jobs(first, second) == 1


@pytest.mark.parametrize("dead", ["first", "second"])
def test_a_cluster_that_may_hold_it_and_does_not_answer_is_a_reason_to_stop(dead: str) -> None:
    clusters = {"first": stateless("first"), "second": stateless("second")}
    clusters[dead].trouble = DEAD
    with pytest.raises(UnavailableError) as caught:
        fake_pool(*clusters.values()).submit(submission(request_id="mine"))
    assert (caught.value.code, caught.value.exit_code) == ("request-unclear", 7)
    assert dead in caught.value.message
    assert jobs(*clusters.values()) == 0


def test_a_kubeconfig_that_is_not_found_is_no_job_that_is_not_found() -> None:
    first, second = stateless("first"), stateless("second")
    second.trouble = NotFoundError("there is no kubeconfig", code="no-kubeconfig")
    pool = fake_pool(first, second)
    with pytest.raises(UnavailableError) as caught:
        pool.submit(submission(request_id="mine"))
    assert caught.value.code == "request-unclear"
    with pytest.raises(UnavailableError):
        pool.job("train")


def test_a_claim_that_cannot_be_kept_is_a_reason_to_stop(monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = stateless("first"), stateless("second")

    def refuse(request_id: str, *, digest: str, home: str) -> str:
        raise DEAD

    monkeypatch.setattr(first, "claim", refuse)
    with pytest.raises(UnavailableError) as caught:
        fake_pool(first, second).submit(submission(request_id="mine"))
    assert caught.value.code == "request-unclear"
    assert jobs(first, second) == 0


def test_a_claim_for_a_place_that_is_not_in_the_profile_any_more() -> None:
    first, second, third = stateless("first"), stateless("second"), stateless("third")
    first.busy = dict.fromkeys(first.node_names, 8)
    fake_pool(first, second).submit(submission(request_id="mine"))
    with pytest.raises(ConflictError) as caught:
        fake_pool(first, third).submit(submission(request_id="mine"))
    assert caught.value.code == "request-elsewhere"
    assert jobs(first, third) == 0


def test_without_an_id_of_ones_own_nobody_is_asked_for_a_claim() -> None:
    first, second = stateless("first"), stateless("second")
    fake_pool(first, second).submit(submission())
    assert "claim" not in first.calls + second.calls
    assert "job" not in first.calls + second.calls
