"""Names of log files below ``<job>/logs/``: which task, attempt, node and rank, and the number of the segment.

    a1.n0.r3.log          rank 3 on node 0, first attempt
    t17.a2.n0.r0.log      the same of task 17 of an array, second attempt
    a1.n1.agent.log       what node 1 said that belongs to no rank
    a1.n0.r3.log.1        the next segment; at most two are kept

Segments are numbered rather than renamed, so a reader that follows finds the next one by its name alone and never meets a file that moved
under it. Every segment but the first begins with a ``g`` record that says how many bytes of text came before it; a reader shows that record
only if it has not read them.
"""

import os
import re
from collections.abc import Iterator

import msgspec

_FILE = re.compile(r"(?:t(\d{1,9})\.)?a(\d{1,9})\.n(\d{1,9})\.(?:r(\d{1,9})|agent)\.log(?:\.(\d{1,9}))?\Z")


class LogName(msgspec.Struct, frozen=True, kw_only=True, order=True):
    """Which log it is. ``rank`` None: the node's agent. ``task`` None: the job is no array."""

    task: int | None = None
    attempt: int = 1
    node: int = 0
    rank: int | None = None

    @property
    def stem(self) -> str:
        """The name of the first segment, without a directory."""
        task = f"t{self.task}." if self.task is not None else ""
        who = f"r{self.rank}" if self.rank is not None else "agent"
        return f"{task}a{self.attempt}.n{self.node}.{who}.log"

    def segment(self, number: int) -> str:
        """The name of segment ``number``, counted from 0."""
        return f"{self.stem}.{number}" if number else self.stem


def parse(file_name: str) -> tuple[LogName, int] | None:
    """The log and segment number that a file's name says, or None for a file that is no log."""
    match = _FILE.match(file_name)
    if match is None:
        return None
    task, attempt, node, rank, number = match.groups()
    name = LogName(
        task=int(task) if task is not None else None, attempt=int(attempt), node=int(node), rank=int(rank) if rank is not None else None
    )
    return name, int(number or 0)


def found(directory: str) -> Iterator[tuple[LogName, int]]:
    """Every segment in ``directory``, in no order. A missing directory is an empty one."""
    try:
        with os.scandir(directory) as entries:
            for entry in entries:
                parsed = parse(entry.name)
                if parsed is not None:
                    yield parsed
    except FileNotFoundError:
        return


class Segments:
    """The files of one log."""

    def __init__(self, directory: str, name: LogName) -> None:
        self.directory = directory
        self.name = name

    def kept(self) -> list[int]:
        """The numbers of the segments that are there, oldest first."""
        return sorted(number for name, number in found(self.directory) if name == self.name)

    def path(self, number: int) -> str:
        """The path of segment ``number``."""
        return os.path.join(self.directory, self.name.segment(number))

    def open(self, number: int) -> int | None:
        """Segment ``number`` open for reading, None if it is not there."""
        try:
            return os.open(self.path(number), os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        except FileNotFoundError:
            return None

    def end(self) -> tuple[int, int]:
        """The last segment and its size now; (0, 0) for a log without any."""
        for number in reversed(self.kept()):
            try:
                return number, os.stat(self.path(number)).st_size
            except FileNotFoundError:
                continue
        return 0, 0
