"""What each kind of job is made of: one module per kind turns a task into steps of processes to start.

Only values are made here (and small files in the task's own scratch directory); starting, watching and ending is the supervisor's. A new
kind is one module and one case in :func:`steps`.
"""

from gpuctl.clusters.local.kinds.step import Step, TaskContext


def steps(context: TaskContext) -> tuple[Step, ...]:
    """The steps of a task of the job's kind. A kind's module is loaded with the launch's first task.

    Raises:
        CannotStart: by the job's own fault.
        OSError: scratch files or ports could not be had.
    """
    kind = context.spec.kind
    if kind == "command":
        from gpuctl.clusters.local.kinds import command

        return command.steps(context)
    if kind == "pytorch":
        from gpuctl.clusters.local.kinds import torchrun

        return torchrun.steps(context)
    from gpuctl.clusters.local.kinds import raycluster

    return raycluster.steps(context)


__all__ = ["Step", "TaskContext", "steps"]
