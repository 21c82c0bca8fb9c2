"""Waiting for jobs on several clusters at once."""

import queue
import threading
import time
from collections.abc import Iterable, Iterator, Sequence

from gpuctl.model.job import Job
from gpuctl.pool.members import Member, Members
from gpuctl.pool.resolve import locate
from gpuctl.port.stream import Stop


def wait(members: Members, refs: Sequence[str | None], *, user: str, stop: Stop, timeout: float | None) -> Iterable[Job]:
    """Yield each job once it is final, in the order in which they end.

    Every reference is resolved before the first wait, so that a wrong one is told at once.

    Raises:
        TimeoutReachedError: after ``timeout`` seconds; the jobs that ended before were yielded.
        UnavailableError: a cluster was lost while waiting; told after the jobs of the others.
    """
    wanted: dict[str, tuple[Member, list[str]]] = {}
    for ref in refs:
        located = locate(members, ref, user=user)
        waited = wanted.setdefault(located.member.name, (located.member, []))[1]
        if located.ref not in waited:
            waited.append(located.ref)
    if len(wanted) == 1:
        member, names = next(iter(wanted.values()))
        return member.cluster.wait(names, stop=stop, timeout=timeout)
    return _several(list(wanted.values()), stop=stop, timeout=timeout)


class _Either:
    """Stops when the caller does, or when nobody listens any more."""

    def __init__(self, stop: Stop) -> None:
        self._outer = stop
        self._done = threading.Event()

    def is_set(self) -> bool:
        return self._done.is_set() or self._outer.is_set()

    def wait(self, timeout: float | None = None) -> bool:
        """Sleep in the outer event, in steps short enough to notice that nobody listens."""
        end = None if timeout is None else time.monotonic() + timeout
        while not self.is_set():
            step = 0.2 if end is None else min(0.2, end - time.monotonic())
            if step <= 0:
                break
            self._outer.wait(step)
        return self.is_set()

    def set(self) -> None:
        self._done.set()


def _several(wanted: Sequence[tuple[Member, list[str]]], *, stop: Stop, timeout: float | None) -> Iterator[Job]:
    answers: queue.SimpleQueue[Job | BaseException | None] = queue.SimpleQueue()
    either = _Either(stop)

    def one(member: Member, names: list[str]) -> None:
        try:
            for job in member.cluster.wait(names, stop=either, timeout=timeout):
                answers.put(job)
        except BaseException as error:  # handed to the thread that waits
            answers.put(error)
        answers.put(None)

    for member, names in wanted:
        threading.Thread(target=one, args=(member, names), name=f"gpuctl-wait-{member.name}", daemon=True).start()
    errors: list[BaseException] = []
    left = len(wanted)
    try:
        while left:
            answer = answers.get()
            if answer is None:
                left -= 1
            elif isinstance(answer, BaseException):
                errors.append(answer)
            else:
                yield answer
    finally:
        either.set()
    if errors:
        raise errors[0]
