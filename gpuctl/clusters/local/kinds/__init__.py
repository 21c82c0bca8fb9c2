"""What each kind of job is made of: one module per kind turns a task into steps of processes to start.

Only values are made here (and small files in the task's own scratch directory); starting, watching and ending is the supervisor's. A new
kind is one module and one line in :data:`KINDS`.
"""

from collections.abc import Callable, Mapping

from gpuctl.clusters.local.kinds import command, raycluster, torchrun
from gpuctl.clusters.local.kinds.step import Reading, Start, Step, TaskContext
from gpuctl.model.spec import Kind

KINDS: Mapping[Kind, Callable[[TaskContext], tuple[Step, ...]]] = {
    "command": command.steps,
    "pytorch": torchrun.steps,
    "ray": raycluster.steps,
}

__all__ = ["KINDS", "Reading", "Start", "Step", "TaskContext"]
