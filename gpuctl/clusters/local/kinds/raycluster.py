"""Kind ``ray``."""

from gpuctl.clusters.local.kinds.step import Step, TaskContext


def steps(context: TaskContext) -> tuple[Step, ...]:
    return ()
