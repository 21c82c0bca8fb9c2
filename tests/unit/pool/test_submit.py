import pytest

from gpuctl.base.errors import ConflictError, InvalidInput, NotAllowedError, NotFoundError, NotKeptHere, UnavailableError
from gpuctl.model.spec import Dependency, VolumeMount
from gpuctl.pool import promises
from gpuctl.port.capability import Capability
from tests.fakes.cluster import FakeCluster
from tests.fakes.pool import fake_pool, submission

WITHOUT = frozenset(Capability) - {Capability.RETRIES, Capability.NOTIFY, Capability.ARRAY_PARALLEL}
DEAD = UnavailableError("cannot reach west")


def test_it_goes_where_it_starts_now() -> None:
    east, west = FakeCluster("east", gpus=4), FakeCluster("west", gpus=8)
    pool = fake_pool(east, west)
    pool.submit(submission("first", gpus=4, cluster="east"))
    east.start("first")
    assert pool.submit(submission("second", gpus=2)).job.cluster == "west"


def test_it_waits_where_it_would_fit() -> None:
    east, west = FakeCluster("east", gpus=2), FakeCluster("west", gpus=8)
    pool = fake_pool(east, west)
    pool.submit(submission("first", gpus=8, cluster="west"))
    west.start("first")
    assert pool.submit(submission("second", gpus=8)).job.cluster == "west"


def test_reserved_before_on_demand_whatever_the_order() -> None:
    cloud, ours = FakeCluster("cloud", tier="on-demand"), FakeCluster("ours", tier="reserved")
    pool = fake_pool(cloud, ours)
    assert pool.submit(submission("any")).job.cluster == "ours"
    assert pool.submit(submission("paid", tier="on-demand")).job.cluster == "cloud"
    plan = pool.plan(submission("planned"))
    assert [option.cluster for option in plan.options] == ["ours", "cloud"]


def test_a_tier_that_nothing_has() -> None:
    with pytest.raises(InvalidInput) as caught:
        fake_pool().submit(submission(tier="on-demand"))
    assert caught.value.code == "no-such-tier"
    assert caught.value.problems[0].allowed == "reserved, any"


def test_a_promise_sends_it_to_who_keeps_it() -> None:
    east, west = FakeCluster("east", capabilities=WITHOUT), FakeCluster("west")
    pool = fake_pool(east, west)
    assert pool.submit(submission(retries=2)).job.cluster == "west"


def test_the_refusal_names_who_could() -> None:
    east, west = FakeCluster("east", capabilities=WITHOUT), FakeCluster("west")
    pool = fake_pool(east, west)
    with pytest.raises(NotKeptHere) as caught:
        pool.submit(submission(retries=2, notify="https://x.example", cluster="east"))
    assert caught.value.message == "cannot submit train: nothing on east keeps --retries, --notify"
    assert caught.value.cause == "west could"
    assert "--cluster west" in str(caught.value.hint)


def test_best_effort_drops_only_what_is_not_kept() -> None:
    east = FakeCluster("east", capabilities=WITHOUT)
    submitted = fake_pool(east).submit(submission(retries=2, requeue=True, best_effort=True))
    assert submitted.notes == ("--retries is dropped: east cannot keep it",)
    assert submitted.job.spec.retries == 0
    assert submitted.job.spec.requeue


def test_best_effort_never_makes_it_another_job() -> None:
    east = FakeCluster("east", nodes=2, capabilities=WITHOUT)
    from gpuctl.model.spec import ArraySpec

    with pytest.raises(NotKeptHere, match="--array"):
        fake_pool(east).submit(submission(nodes=2, array=ArraySpec(last=3), best_effort=True))
    assert fake_pool(east).submit(submission(array=ArraySpec(last=3))).job.spec.array is not None


def test_every_promise_knows_when_it_is_asked_and_how_to_go_without() -> None:
    from gpuctl.model.spec import JobSpec, SignalBefore

    asking = JobSpec(
        retries=1,
        requeue=True,
        after=(Dependency(job="a"),),
        notify="https://x",
        max_cost=1.0,
        fit_window=True,
        signal=SignalBefore(name="USR1"),
        hold=True,
        snapshot=True,
    )
    assert promises.asked(asking) == promises.PROMISES
    assert promises.without(asking, promises.PROMISES) == JobSpec()
    assert promises.asked(JobSpec()) == ()


def test_a_lost_cluster_is_left_out_with_a_note() -> None:
    east, west = FakeCluster("east"), FakeCluster("west")
    pool = fake_pool(east, west)
    east.trouble = DEAD
    submitted = pool.submit(submission())
    assert submitted.job.cluster == "west"
    assert submitted.notes == ("cluster east was left out: cannot reach west",)
    west.trouble = DEAD
    with pytest.raises(UnavailableError):
        pool.submit(submission("other"))


def test_the_refusal_of_the_chosen_cluster_is_the_answer() -> None:
    with pytest.raises(NotAllowedError):
        fake_pool(FakeCluster("east"), FakeCluster("west")).submit(submission(gpus=100))
    with pytest.raises(NotAllowedError):
        fake_pool().plan(submission(gpus=100))


def test_it_goes_to_the_home_of_its_volumes() -> None:
    east, west = FakeCluster("east"), FakeCluster("west")
    pool = fake_pool(east, west)
    pool.create_volume("data", cluster="west", size=None, access=None, storage_class=None)
    pool.create_volume("models", cluster="east", size=None, access=None, storage_class=None)
    assert pool.submit(submission(volumes=(VolumeMount(name="data"),))).job.cluster == "west"
    with pytest.raises(InvalidInput) as caught:
        pool.submit(submission("both", volumes=(VolumeMount(name="data"), VolumeMount(name="models"), VolumeMount(name="none"))))
    told = {problem.got: problem.message for problem in caught.value.problems}
    assert told == {
        "data on west": "lives elsewhere than the others",
        "models on east": "lives elsewhere than the others",
        "none": "there is no such volume",
    }
    west.trouble = DEAD
    with pytest.raises(UnavailableError):
        pool.submit(submission("lost", volumes=(VolumeMount(name="data"),)))


def test_a_dependant_goes_where_its_dependency_is() -> None:
    east, west = FakeCluster("east"), FakeCluster("west")
    pool = fake_pool(east, west)
    prep = pool.submit(submission("prep", cluster="west")).job
    other = pool.submit(submission("other", cluster="east")).job
    job = pool.submit(submission("train", after=(Dependency(job="prep"),))).job
    assert job.cluster == "west"
    assert job.spec.after == (Dependency(job=prep.id),)
    with pytest.raises(InvalidInput) as caught:
        pool.submit(submission("both", after=(Dependency(job=prep.name), Dependency(job=other.name))))
    assert caught.value.code == "after-elsewhere"
    with pytest.raises(NotFoundError):
        pool.submit(submission("missing", after=(Dependency(job="nobody"),)))


def test_a_request_id_given_by_a_person_needs_everybodys_answer() -> None:
    east, west = FakeCluster("east"), FakeCluster("west")
    pool = fake_pool(east, west)
    west.trouble = DEAD
    with pytest.raises(UnavailableError) as caught:
        pool.submit(submission(request_id="mine"))
    assert caught.value.code == "request-unclear"
    assert east.jobs_by_id == {}
    west.trouble = None
    first = pool.submit(submission(request_id="mine")).job
    assert pool.submit(submission(request_id="mine")).job.id == first.id
    east.start(first.name) if first.cluster == "east" else west.start(first.name)
    assert pool.submit(submission(request_id="mine")).existed
    with pytest.raises(ConflictError):
        pool.submit(submission(request_id="mine", cluster="west" if first.cluster == "east" else "east"))


def test_a_lone_cluster_is_not_asked_for_its_inventory() -> None:
    cluster = FakeCluster()
    fake_pool(cluster).submit(submission(volumes=(VolumeMount(name="x"),)))
    assert cluster.calls == ["launch"]
