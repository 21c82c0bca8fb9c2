"""A pool whose jobs move on by themselves, one step each time they are looked at: for verbs that stay with a job."""

from collections.abc import Iterable, Sequence
from typing import Any

from gpuctl.model.ask import ExecTarget
from gpuctl.model.job import Job, State
from gpuctl.pool.direct import DirectPool
from gpuctl.port.stream import Stop
from tests.fakes.cluster import FakeCluster, record
from tests.fakes.pool import fake_pool


class QuickCluster(FakeCluster):
    """Jobs are queued, run, and end with ``codes``, one state a look.

    Args:
        codes: exit codes by rank.
        state: the final state, where it does not follow from the codes.
        lines: what rank 0 writes.
        stays: a state that a job never leaves by itself.
    """

    def __init__(
        self,
        *,
        codes: dict[int, int] | None = None,
        state: State | None = None,
        lines: Sequence[str] = (),
        stays: State | None = None,
        status: int = 0,
    ) -> None:
        super().__init__()
        self.codes = codes
        self.state = state
        self.lines = lines
        self.stays = stays
        self.status = status
        self.executed: list[tuple[ExecTarget, tuple[str, ...], bool]] = []

    def job(self, ref: str) -> Job:
        """One job, one step further than before."""
        job = super().job(ref)
        if job.state is self.stays or job.final:
            return job
        if job.state is State.QUEUED:
            self.start(job.id)
            for number, line in enumerate(self.lines):
                self.log_of[job.id][0].content += record(line, at=number)
            return job
        self.finish(job.id, self.codes, state=self.state)
        return job

    def wait(self, refs: Sequence[str], *, stop: Stop, timeout: float | None) -> Iterable[Job]:
        """As time passes, jobs move on."""
        for ref in refs:
            self.job(ref)
        return super().wait(refs, stop=stop, timeout=timeout)

    def exec(self, ref: str, target: ExecTarget, argv: Sequence[str], *, tty: bool) -> int:
        """Write down what is run; the job ends with it."""
        self.executed.append((target, tuple(argv), tty))
        self.stays = None
        self.job(ref)
        return self.status


def quick_pool(**facts: Any) -> tuple[DirectPool, QuickCluster]:
    """The pool and its only cluster."""
    cluster = QuickCluster(**facts)
    return fake_pool(cluster), cluster
