"""Supervisors in memory: they hold locks and write journals like real ones, and end when the test says so."""

import os
from collections.abc import Mapping, Sequence

import msgspec

from gpuctl.clusters.local.journal import Journal
from gpuctl.clusters.local.launchplan import LaunchPlan, Request

_NOBODY = 1 << 30
"""A pid above the kernel's largest."""


class FakeSupervisor:
    """One launch: every task of it runs as soon as there is a slot."""

    def __init__(self, plan: LaunchPlan) -> None:
        self.plan = plan
        self.held = [os.dup(plan.alive_fd), *(os.dup(lease.fd) for slot in plan.slots for pod in slot.pods for lease in pod if lease.fd)]
        self.devices = {lease.index for slot in plan.slots for pod in slot.pods for lease in pod}
        self.journal = Journal(f"{plan.directory}/journal")
        self.journal.write("supervisor", pid=_NOBODY, start=0, boot="", cgroup=None)
        self.task = plan.tasks[0]
        self.journal.write(
            "task-started", task=self.task.index, attempt=self.task.attempt, pid=_NOBODY, slot=0, devices=sorted(self.devices)
        )

    def end(self, state: str, code: int | None) -> None:
        """The program ends, and with it the supervisor."""
        data = {} if code is None else {"code": code}
        self.journal.write("task-ended", task=self.task.index, attempt=self.task.attempt, state=state, **data)
        self.journal.write("ended")
        self.die()
        os.rmdir(self.plan.scratch)

    def die(self) -> None:
        """As kill -9: the kernel frees the locks, nothing is written."""
        self.journal.close()
        for fd in self.held:
            os.close(fd)

    def told_to_stop(self) -> bool:
        """Whether somebody has asked for the end."""
        try:
            with open(f"{self.plan.directory}/control", "rb") as file:
                lines = file.read().splitlines()
        except FileNotFoundError:
            return False
        return any(msgspec.json.decode(line, type=Request).what == "stop" for line in lines)


class FakeSupervisors:
    """Stands in for ``spawn.start``. Keepers are not started: every command makes a round itself when no keeper listens."""

    def __init__(self) -> None:
        self.running: dict[str, FakeSupervisor] = {}
        self.started: list[str] = []

    def start(self, argv: Sequence[str], *, environ: Mapping[str, str], log: str, inherit: Sequence[int] = ()) -> int:
        """Begin a launch; what a process would inherit is duplicated."""
        if argv[-1].endswith("plan.json"):
            with open(argv[-1], "rb") as file:
                plan = msgspec.json.decode(file.read(), type=LaunchPlan)
            assert plan.job_id not in self.running, "two launches of one job"
            self.running[plan.job_id] = FakeSupervisor(plan)
            self.started.append(plan.job_id)
        return _NOBODY

    def pop(self, job_id: str) -> FakeSupervisor:
        """Take one out of those that run."""
        return self.running.pop(job_id)

    def close(self) -> None:
        """End them all."""
        while self.running:
            self.running.popitem()[1].die()
