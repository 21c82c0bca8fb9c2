r"""Types of log streams between a cluster and a pool.

A cluster hands over *records*: bytes of whole lines, each of which begins with a header of fixed width. A pool merges the records of
all ranks by time, folds and renders them. Working on blocks of bytes rather than on one object per line is what reads logs at 100 MB/s.

Record format, version 1, one per line, ``\n`` at the end and nowhere else::

    2026-03-01T12:00:00.123456789Z oF text of the line
    |---------- 30 bytes --------|||  |
                                  || +-- tag: F full line, P a part (the next record of the same stream continues it)
                                  |+---- stream: o stdout, e stderr, g gpuctl's own note
                                  +----- one space

so the text begins at byte ``HEADER``. The instant is UTC with nine digits, thus records sort as bytes.
"""

from collections.abc import Iterator, Mapping
from typing import Protocol

HEADER = 34
"""Bytes before a record's text: instant (30), space, stream, tag, space."""


class RankLog(Protocol):
    """The log of one rank (or of one node's agent, for lines that belong to no rank).

    Promises:
        1. ``blocks`` yields bytes that end at a record's end; a record is never torn, also while it is being written.
        2. Records of one rank never go back in time by the header's instant.
        3. With ``follow`` the iterator goes on until the attempt has ended and everything was read; an empty block says "nothing new",
           within 0.2 s and at once where that can be known, so that a reader of several logs can move on. It is the reader who sleeps.
        4. What rotation or loss took is told once, as a ``g`` record that says how much.
    """

    rank: int | None
    """Global rank; None for a node's agent."""
    node: int
    """Index of the node in its attempt."""
    task: int | None
    attempt: int

    @property
    def together(self) -> "Together | None":
        """The one stream in which it comes with the logs of other ranks, if it does: who wants several of them reads that."""
        ...

    def blocks(self, *, since: str | None, follow: bool, tail: int | None = None) -> Iterator[bytes]:
        """Records at or after ``since`` (an instant in the header's own format), in blocks of up to 1 MiB (one longer record is a block).

        With ``tail``, of what is there now only the last so many lines; then, with ``follow``, what comes, nothing twice and nothing lost
        between. Without ``follow`` it ends where the log ended when it was called, also while more is being written.
        """
        ...

    def tail(self, lines: int) -> bytes:
        """The records of the last ``lines`` lines that are there now."""
        ...


class Together(Protocol):
    """The logs of the ranks of one pod, which come in one stream: read once for all of them, and in order already."""

    def records(
        self, marks: Mapping[int | None, bytes], *, since: str | None, follow: bool, tail: int | None = None
    ) -> Iterator[list[bytes]]:
        """The records of the ranks that have a mark (None: the agent), in lists that are the caller's to change.

        A record here has no newline. At its end stand its rank's mark and one byte that says where its text begins (0x80 + offset), for
        what stands between the space behind the instant and the text may be a header's rest (then the offset is ``HEADER``), or the
        ``[rank] `` that an agent has put there, or nothing; without a header's rest it is a full line of stdout. To change every line
        would cost more than all the rest of reading it.

        The instants of all ranks together never go back. A part is the last record of its list. An empty list says "nothing new".
        ``tail`` counts the lines of these ranks taken together; everything else is as with :meth:`RankLog.blocks`.
        """
        ...


class Stop(Protocol):
    """Anything that says when to stop waiting (``threading.Event`` does)."""

    def is_set(self) -> bool:
        """Whether to stop now."""
        ...

    def wait(self, timeout: float | None = None) -> bool:
        """Sleep, but wake early when asked to stop; whether to stop now."""
        ...
