"""Laws of ``decide`` that hold in every situation."""

import random
from collections import Counter
from datetime import timedelta

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from gpuctl.model.job import State
from gpuctl.policy.line import rank
from gpuctl.policy.placement import Placement, place
from gpuctl.policy.queue import decide
from gpuctl.policy.space import Space
from gpuctl.policy.values import Decision, Grow, QueueJob, Running, Shrink, Snapshot, Start, Wait
from tests.unit.policy.cases import NOW, contended, situations

Situation = tuple[list[QueueJob], Snapshot]


def started(decision: Decision) -> list[Start | Grow]:
    return [action for action in decision.actions if isinstance(action, Start | Grow)]


@settings(max_examples=120, deadline=None)
@given(situations())
def test_every_waiting_job_has_exactly_one_action_and_running_arrays_only_grow_or_shrink(situation: Situation) -> None:
    jobs, snapshot = situation
    decision = decide(jobs, snapshot, NOW)
    own = Counter(action.job for action in decision.actions if not isinstance(action, Grow | Shrink))
    assert own == Counter(job.id for job in jobs)
    arrays = {one.id: one for one in snapshot.running if one.array is not None}
    changed = Counter(action.job for action in decision.actions if isinstance(action, Grow | Shrink))
    assert set(changed) <= set(arrays)
    assert all(count == 1 for count in changed.values())
    for action in decision.actions:
        if isinstance(action, Shrink):
            assert 0 < action.slots <= len(arrays[action.job].slots) - arrays[action.job].shrinking


@settings(max_examples=120, deadline=None)
@given(situations())
def test_no_device_is_given_twice_and_gangs_start_whole(situation: Situation) -> None:
    jobs, snapshot = situation
    shapes = {job.id: (job.pods, job.gpus, job.devices) for job in jobs}
    shapes |= {one.id: (one.pods, one.gpus, one.devices) for one in snapshot.running}
    free = {(node.cluster, node.name): node.gpus_free for node in snapshot.nodes}
    indices = {(node.cluster, node.name): set(node.devices_free) for node in snapshot.nodes if node.devices}
    for action in started(decide(jobs, snapshot, NOW)):
        pods, gpus, only = shapes[action.job]
        for slot in action.slots:
            assert len(slot) == pods
            assert len({pod.cluster for pod in slot}) == 1
            for pod in slot:
                key = (pod.cluster, pod.node)
                free[key] -= gpus
                assert free[key] >= 0
                assert pod.gpus == gpus
                if key in indices:
                    assert len(pod.devices) == gpus
                    assert set(pod.devices) <= indices[key]
                    assert not only or set(pod.devices) <= set(only)
                    indices[key] -= set(pod.devices)


@settings(max_examples=120, deadline=None)
@given(situations())
def test_nothing_starts_that_is_held_dependent_or_pausing(situation: Situation) -> None:
    jobs, snapshot = situation
    by_id = {job.id: job for job in jobs}
    for action in decide(jobs, snapshot, NOW).actions:
        if isinstance(action, Start):
            job = by_id[action.job]
            assert not job.hold
            assert job.not_before is None or job.not_before <= NOW
            for after in job.after:
                assert after.state is None or after.state.final
                assert after.mode == "any" or (after.mode == "ok") == (after.state is State.SUCCEEDED)
            if job.array is not None:
                assert len(action.slots) <= job.array.ready
                assert job.array.parallel is None or len(action.slots) <= job.array.parallel


@settings(max_examples=80, deadline=None)
@given(situations(), st.randoms(use_true_random=False))
def test_the_order_of_the_input_does_not_matter(situation: Situation, shuffler: random.Random) -> None:
    jobs, snapshot = situation
    first = decide(jobs, snapshot, NOW)

    def shuffled(values: tuple[object, ...]) -> tuple[object, ...]:
        copy = list(values)
        shuffler.shuffle(copy)
        return tuple(copy)

    again = msgspec.structs.replace(
        snapshot, nodes=shuffled(snapshot.nodes), running=shuffled(snapshot.running), claims=shuffled(snapshot.claims)
    )
    assert decide(list(shuffled(tuple(jobs))), again, NOW) == first


@settings(max_examples=250, deadline=None)
@given(situations(claims=False) | contended())
def test_the_first_in_line_can_start_when_it_was_told_whatever_was_back_filled(situation: Situation) -> None:
    jobs, snapshot = situation
    decision = decide(jobs, snapshot, NOW)
    by_id = {job.id: job for job in jobs}
    waits = [action for action in decision.actions if isinstance(action, Wait) and not action.ahead and action.expected_start]
    for wait in waits:
        # What it was told before anybody behind it was looked at still holds after they were.
        before = [one for one in jobs if rank(one) <= rank(by_id[wait.job])]
        alone = next(action for action in decide(before, snapshot, NOW).actions if action.job == wait.job)
        assert isinstance(alone, Wait)
        assert alone.expected_start is not None
        assert wait.expected_start <= alone.expected_start
        # At that instant everything with an end has ended, and everything without one still runs.
        space = Space.now(snapshot.nodes)
        for action in started(decision):
            for slot in action.slots:
                space.take(slot)
        for one in snapshot.running:
            if one.ends_at is not None and one.ends_at <= wait.expected_start:
                for slot in one.slots:
                    space.give(slot)
        for action in decision.actions:
            if isinstance(action, Start):
                other = by_id[action.job]
                # An array's slot runs all of its tasks, in the worst case.
                runs = other.array.ready if other.array is not None else 1
                if other.time_limit is not None and NOW + timedelta(seconds=other.time_limit * runs) <= wait.expected_start:
                    for slot in action.slots:
                        space.give(slot)
        assert isinstance(place(by_id[wait.job], space), Placement)


@settings(max_examples=80, deadline=None)
@given(situations(claims=False))
def test_an_idle_pool_starts_whoever_fits_first(situation: Situation) -> None:
    jobs, snapshot = situation
    line = sorted((job for job in jobs if not job.hold and not job.after), key=lambda one: (-one.priority, one.submitted_at, one.id))
    line = [job for job in line if (job.not_before is None or job.not_before <= NOW) and (job.array is None or job.array.ready)]
    idle = msgspec.structs.replace(snapshot, running=())
    decision = decide(line, idle, NOW)
    starts = {action.job for action in decision.actions if isinstance(action, Start)}
    for job in line:
        fits = isinstance(place(job, idle), Placement)
        assert (job.id in starts) == fits
        break


@settings(max_examples=80, deadline=None)
@given(situations())
def test_deciding_again_after_nothing_has_changed_starts_nothing_new(situation: Situation) -> None:
    jobs, snapshot = situation
    decision = decide(jobs, snapshot, NOW)
    gone = {action.job for action in decision.actions if not isinstance(action, Wait)}
    space = Space.now(snapshot.nodes)
    for action in started(decision):
        for slot in action.slots:
            space.take(slot)
    nodes = [msgspec.structs.replace(room.node, gpus_free=room.free, devices_free=room.devices or ()) for room in space.rooms.values()]
    by_id = {job.id: job for job in jobs}
    ran = [one for one in snapshot.running if one.array is None]
    for action in decision.actions:
        if isinstance(action, Start) and by_id[action.job].array is None:
            job = by_id[action.job]
            ends = NOW + timedelta(seconds=job.time_limit) if job.time_limit is not None else None
            ran.append(Running(id=job.id, name=job.name, submitted_at=job.submitted_at, slots=action.slots, ends_at=ends))
    if any(isinstance(action, Start) and by_id[action.job].array is not None for action in decision.actions):
        return
    if any(one.array is not None for one in snapshot.running):
        return
    after = msgspec.structs.replace(snapshot, nodes=tuple(nodes), running=tuple(ran))
    assert not started(decide([job for job in jobs if job.id not in gone], after, NOW))
