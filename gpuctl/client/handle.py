"""A job, and a list of jobs, as objects to hold on to in a script or a notebook."""

import threading
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Literal, overload

from gpuctl.base.errors import InternalError, NotFinishedError
from gpuctl.model.ask import JobChange, LogQuery
from gpuctl.model.job import Exit, Job, State
from gpuctl.model.reason import Explanation

if TYPE_CHECKING:
    from gpuctl.port.pool import Pool


class JobHandle:
    """One job. ``info`` is what was last read of it; ``refresh``, ``wait``, ``cancel`` and ``update`` read it again.

    Attributes:
        info: the job as it was last seen, see :class:`gpuctl.model.job.Job`.
        notes: what the pool wanted to be known when it accepted the job.
    """

    def __init__(self, pool: "Pool", info: Job, *, notes: tuple[str, ...] = ()) -> None:
        self._pool = pool
        self.info = info
        self.notes = notes

    @property
    def id(self) -> str:
        """The unique id; the tasks of an array have the array's."""
        return self.info.id

    @property
    def _ref(self) -> str:
        """What the pool finds it by: the id, but of a task its name (``NAME_7``; no other name has an underscore)."""
        return self.info.name if "_" in self.info.name else self.info.id

    @property
    def name(self) -> str:
        """The name, as commands take it."""
        return self.info.name

    @property
    def state(self) -> State:
        """The state as last seen; it compares equal to its word: ``job.state == "running"``."""
        return self.info.state

    @property
    def final(self) -> bool:
        """Whether nothing follows any more, as last seen."""
        return self.info.final

    @property
    def exit(self) -> Exit:
        """How it ended.

        Raises:
            NotFinishedError: it has not, as last seen.
        """
        if not self.final:
            raise NotFinishedError(f"job {self.name} has not ended, it is {self.state.value}", hint="job.wait()")
        return self.info.exit or Exit()

    @property
    def succeeded(self) -> bool:
        """Whether it ended well, as last seen."""
        return self.state is State.SUCCEEDED

    def refresh(self) -> "JobHandle":
        """Read it again."""
        self.info = self._pool.job(self._ref)
        return self

    def wait(self, timeout: float | None = None) -> "JobHandle":
        """Return once it has ended, however it ended; look at ``succeeded``.

        Args:
            timeout: seconds, for ever by default.

        Raises:
            TimeoutReachedError: they passed; the job goes on.
        """
        for job in self._pool.wait([self._ref], stop=threading.Event(), timeout=timeout):
            self.info = job
        if not self.final:
            raise InternalError(f"the pool stopped waiting for job {self.name}, which is {self.state.value}", hint="job.refresh()")
        return self

    @overload
    def logs(
        self,
        *,
        follow: Literal[False] = False,
        ranks: Iterable[int] | None = ...,
        tail: int | None = ...,
        failed: bool = ...,
        attempt: int | None = ...,
    ) -> str: ...

    @overload
    def logs(
        self,
        *,
        follow: Literal[True],
        ranks: Iterable[int] | None = ...,
        tail: int | None = ...,
        failed: bool = ...,
        attempt: int | None = ...,
    ) -> Iterator[str]: ...

    def logs(
        self,
        *,
        follow: bool = False,
        ranks: Iterable[int] | None = None,
        tail: int | None = None,
        failed: bool = False,
        attempt: int | None = None,
    ) -> str | Iterator[str]:
        """What it printed: all of it as one text, or with ``follow`` an iterator of lines that ends with the job.

        Bytes that are no UTF-8 are replaced.

        Args:
            follow: go on until the job has ended.
            ranks: only these global ranks.
            tail: only the last so many lines.
            failed: only the ranks that failed.
            attempt: 1-based, the last by default.
        """
        query = LogQuery(ranks=frozenset(ranks) if ranks is not None else None, tail=tail, failed=failed, attempt=attempt, follow=follow)
        blocks = self._pool.logs(self._ref, query, stop=threading.Event())
        if follow:
            return (line for block in blocks for line in block.decode(errors="replace").splitlines(keepends=True))
        return b"".join(blocks).decode(errors="replace")

    def why(self) -> Explanation:
        """Why it stands where it stands: the reason, the evidence, and what else is worth knowing."""
        return self._pool.explain(self._ref)

    def cancel(self) -> "JobHandle":
        """End it. Returns before its processes are gone; ``wait`` returns when they are."""
        self.info = self._pool.cancel(self._ref).job
        return self

    def update(self, *, time: str | None = None, priority: int | None = None, hold: bool | None = None) -> "JobHandle":
        """Change a live job; only what is given changes.

        Raises:
            ConflictError: its state does not allow it.
        """
        self.info = self._pool.update(self._ref, JobChange(time=time, priority=priority, hold=hold)).job
        return self

    def __eq__(self, other: object) -> bool:
        """The same job, whenever it was read."""
        return isinstance(other, JobHandle) and other._ref == self._ref

    def __hash__(self) -> int:
        """By what it is found by."""
        return hash(self._ref)

    def __repr__(self) -> str:
        """Name and state as last seen."""
        return f"<job/{self.name} {self.state.value}>"

    def _repr_html_(self) -> str:
        """A table for notebooks."""
        from gpuctl.client import notebook

        return notebook.one(self.info)


class JobList(list[JobHandle]):
    """Jobs, and what is missing: ``incomplete`` names clusters that could not be read, with the reason."""

    def __init__(self, jobs: Iterable[JobHandle] = (), *, incomplete: Mapping[str, str] | None = None) -> None:
        super().__init__(jobs)
        self.incomplete = dict(incomplete or {})

    def _repr_html_(self) -> str:
        """A table for notebooks."""
        from gpuctl.client import notebook

        return notebook.many([handle.info for handle in self], self.incomplete)
