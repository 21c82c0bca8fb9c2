"""The tasks of an array: one Indexed Job, whose completion indexes are the tasks by position."""

from collections.abc import Sequence

from gpuctl.clusters.kubernetes import names
from gpuctl.clusters.kubernetes.observe import translate_container
from gpuctl.clusters.kubernetes.observe.objects import Root
from gpuctl.clusters.kubernetes.observe.translate_pods import Seen, Stage, rank_ends, share
from gpuctl.clusters.kubernetes.observe.translate_root import indexes
from gpuctl.model.job import Attempt, Exit, State, TaskCounts
from gpuctl.model.spec import JobSpec


def counts(root: Root, spec: JobSpec, state: State, pods: Sequence[Seen]) -> TaskCounts:
    """How many tasks are in which state. Of a job that ended, tasks that neither succeeded nor failed share its fate."""
    assert spec.array is not None
    total = spec.array.count
    succeeded = len(indexes(root.status.completed_indexes))
    bad = indexes(root.status.failed_indexes)
    cut = len(bad & {each.node_index for each in pods if each.stage is Stage.ENDED and was_cut(each)})
    failed = len(bad) - cut
    rest = max(0, total - succeeded - len(bad))
    if state.final:
        if state is State.SUCCEEDED:
            return TaskCounts(succeeded=total)
        ended = {"succeeded": succeeded, "failed": failed, "cut": cut}
        fate = state.value if state in (State.CANCELLED, State.CUT, State.LOST) else "failed"
        ended[fate] = ended.get(fate, 0) + rest
        return TaskCounts(**ended)
    running = sum(each.stage is Stage.RUNNING for each in pods) if pods else min(rest, root.status.ready or 0)
    return TaskCounts(succeeded=succeeded, failed=failed, cut=cut, running=running, queued=max(0, rest - running))


def states(root: Root, spec: JobSpec, state: State, pods: Sequence[Seen]) -> dict[int, State]:
    """The state of every task by its index."""
    assert spec.array is not None
    good, bad = indexes(root.status.completed_indexes), indexes(root.status.failed_indexes)
    running = {each.node_index: each for each in pods if each.stage is not Stage.ENDED}
    cut = {each.node_index for each in pods if each.stage is Stage.ENDED and was_cut(each)}
    found = {}
    for position, index in enumerate(spec.array.indices):
        if position in good or state is State.SUCCEEDED:
            found[index] = State.SUCCEEDED
        elif position in bad:
            found[index] = State.CUT if position in cut else State.FAILED
        elif state.final:
            found[index] = state
        elif position in running:
            stage = running[position].stage
            found[index] = {Stage.WAITING: State.QUEUED, Stage.STARTING: State.STARTING}.get(stage, State.RUNNING)
        else:
            found[index] = State.QUEUED
    return found


def was_cut(seen: Seen) -> bool:
    """Whether the task's time limit or the end of its window ended it, as far as its pod tells."""
    return seen.pod.status.reason == "DeadlineExceeded" or (seen.failed and bool(seen.pod.metadata.annotation(names.WINDOW_CUT)))


def task_attempts(root: Root, spec: JobSpec, pods: Sequence[Seen], *, cluster: str, tier: str | None) -> tuple[Attempt, ...]:
    """The attempts of every task whose pods are still there."""
    assert spec.array is not None
    made = []
    for seen in pods:
        if seen.node_index >= spec.array.count or seen.stage is Stage.WAITING:
            continue
        ended = seen.ended
        how = translate_container.exit_of(ended) if ended is not None else None
        state = State.STARTING if seen.stage is Stage.STARTING else State.RUNNING
        if seen.stage is Stage.ENDED:
            state = State.CUT if was_cut(seen) else State.FAILED if seen.failed or how not in (None, Exit(code=0)) else State.SUCCEEDED
        made.append(
            Attempt(
                number=seen.attempt,
                cluster=cluster,
                state=state,
                tier=tier,
                task=spec.array.indices[seen.node_index],
                started_at=seen.started_at,
                ended_at=ended.finished_at if ended is not None else None,
                exit=how,
                pods=(share(seen),) if seen.node else (),
                ranks=rank_ends((seen,)),
            )
        )
    return tuple(made)
