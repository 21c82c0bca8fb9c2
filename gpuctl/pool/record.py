"""My own record of what I ran, for clusters that forget their ended jobs.

Files, below one directory per profile::

    open/<id>.json      a job that was not final when it was last seen: one file, replaced by rename
    ended.jsonl         one line per job that has ended, append-only; of two lines with one id the later counts

At submit a file appears in ``open``; when a final state is seen, a line is appended and the file removed. So a listing that wants to know
whether any of its jobs has to be settled reads one small directory. A crash in between leaves both, and the line wins. A line that was
torn, or that a newer gpuctl wrote, is skipped. Nothing here may fail a command: what could not be written is told as a note.
"""

import contextlib
import os
import secrets
from collections.abc import Iterable, Iterator

import msgspec

from gpuctl.model import decoding
from gpuctl.model.job import Job

_SAFE = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_")


class Record:
    """The record of one profile.

    Args:
        directory: where it lies; made, private, at the first write.
    """

    def __init__(self, directory: str) -> None:
        self._open = os.path.join(directory, "open")
        self._ended = os.path.join(directory, "ended.jsonl")

    def submitted(self, job: Job) -> str | None:
        """Remember a job that was just accepted; why that failed, if it did."""
        try:
            os.makedirs(self._open, mode=0o700, exist_ok=True)
            if job.final:
                self._append([job])
            else:
                self._replace(job)
        except OSError as error:
            return f"the job is not in your own record, so history will not know it once its cluster has forgotten it: {error}"
        return None

    def saw(self, jobs: Iterable[Job]) -> None:
        """Settle those of these jobs that have ended and were not settled yet."""
        waiting = self._waiting()
        if not waiting:
            return
        ended = [job for job in jobs if job.final and _file(job.id) in waiting]
        if not ended:
            return
        with contextlib.suppress(OSError):
            self._append([_together(job, self._read(_file(job.id))) for job in ended])
            for job in ended:
                os.unlink(os.path.join(self._open, _file(job.id)))

    def lost(self, job: Job) -> None:
        """Keep what became of a job whose object is gone; it stays among the open ones until nobody lists it any more."""
        with contextlib.suppress(OSError):
            self._replace(job)

    def jobs(self) -> dict[str, Job]:
        """Every job that is remembered, by id."""
        found = {job.id: job for job in self.open_jobs()}
        found.update((job.id, job) for job in self._ended_jobs())
        return found

    def get(self, job_id: str) -> Job | None:
        """One job that had not ended when it was last seen."""
        return self._read(_file(job_id))

    def open_jobs(self, *, but: Iterable[str] = ()) -> Iterator[Job]:
        """The jobs whose end was not seen, and those that :meth:`lost` keeps here; without the ids ``but``."""
        for name in self._waiting().difference(_file(job_id) for job_id in but):
            job = self._read(name)
            if job is not None:
                yield job

    def _ended_jobs(self) -> Iterator[Job]:
        try:
            with open(self._ended, "rb") as file:
                for line in file:
                    with contextlib.suppress(msgspec.MsgspecError, UnicodeDecodeError):
                        yield decoding.decode(line, Job)
        except OSError:
            return

    def _waiting(self) -> frozenset[str]:
        try:
            return frozenset(name for name in os.listdir(self._open) if name.endswith(".json"))
        except OSError:
            return frozenset()

    def _read(self, name: str) -> Job | None:
        try:
            with open(os.path.join(self._open, name), "rb") as file:
                return decoding.decode(file.read(), Job)
        except (OSError, msgspec.MsgspecError, UnicodeDecodeError):
            return None

    def _replace(self, job: Job) -> None:
        path = os.path.join(self._open, _file(job.id))
        draft = f"{path}.{secrets.token_hex(4)}"
        fd = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            with os.fdopen(fd, "wb") as file:
                file.write(msgspec.json.encode(job))
            os.replace(draft, path)
        except OSError:
            with contextlib.suppress(OSError):
                os.unlink(draft)
            raise

    def _append(self, jobs: Iterable[Job]) -> None:
        """Whole lines in one write: two gpuctls at once do not mix theirs. A line that a full disk tore is closed first."""
        fd = os.open(self._ended, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        try:
            size = os.fstat(fd).st_size
            torn = size > 0 and os.pread(fd, 1, size - 1) != b"\n"
            content = (b"\n" if torn else b"") + b"".join(msgspec.json.encode(job) + b"\n" for job in jobs)
            written = os.write(fd, content)
            if written < len(content):
                raise OSError(28, "the record could not be written whole", self._ended)
        finally:
            os.close(fd)


def _file(job_id: str) -> str:
    """The name of a job's file; ids of other people's clusters are no file names as they are."""
    return f"{job_id if job_id and _SAFE.issuperset(job_id) else job_id.encode().hex()}.json"


def _together(seen: Job, submitted: Job | None) -> Job:
    """The end as it was seen, with what only the submit knew."""
    if submitted is None:
        return seen
    return msgspec.structs.replace(
        seen,
        code=seen.code or submitted.code,
        interpreter=seen.interpreter or submitted.interpreter,
        placement=seen.placement or submitted.placement,
        ran_same_as=seen.ran_same_as or submitted.ran_same_as,
    )
