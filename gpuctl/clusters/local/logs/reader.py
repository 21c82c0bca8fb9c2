"""The reading end of one rank's log, also while it is being written and rotated.

The file is only ever read up to its last newline, so a record that is half written is not seen. Where a supervisor died inside a write,
that half is shown once its attempt has ended, as a part without an end.
"""

import os
from collections.abc import Callable, Collection, Iterator

from gpuctl.clusters.local.logs.cursor import BLOCK, DROPPED, Cursor
from gpuctl.clusters.local.logs.layout import LogName, Segments, found
from gpuctl.port.stream import HEADER

_STEP = 64 * 1024


class LocalRankLog:
    """The log of one rank of this machine (``port.stream.RankLog``).

    Args:
        directory: ``<job>/logs``.
        name: which log.
        ended: whether nobody will write to it any more; asked at the end of the file, about ten times a second while following.
    """

    together = None

    def __init__(self, directory: str, name: LogName, ended: Callable[[], bool]) -> None:
        self._files = Segments(directory, name)
        self._ended = ended
        self.rank = name.rank
        self.node = name.node
        self.task = name.task
        self.attempt = name.attempt

    def blocks(self, *, since: str | None, follow: bool, tail: int | None = None) -> Iterator[bytes]:
        """See the port."""
        kept = self._files.kept()
        start = (kept[0], 0) if kept else (0, 0)
        if kept and since is not None:
            start = self._at(since.encode(), kept)
        if kept and tail is not None:
            start = max(start, self._tail_start(tail, kept))
        return self._from(*start, end=None if follow else self._files.end())

    def tail(self, lines: int) -> bytes:
        """See the port."""
        return b"".join(self.blocks(since=None, follow=False, tail=lines))

    def _from(self, number: int, offset: int, *, end: tuple[int, int] | None) -> Iterator[bytes]:
        """Blocks from a place on, to ``end`` or until the attempt has ended and everything was read."""
        cursor = Cursor(self._files, number, offset, end=end)
        last_look = False
        while True:
            block = cursor.read()
            if block:
                yield block
            elif last_look or end is not None:
                if last_look or self._ended():
                    yield from _torn(cursor.rest)
                return
            else:
                last_look = self._ended()  # then read once more: what was written between the two looks
                if not last_look:
                    yield b""

    def _tail_start(self, lines: int, kept: list[int]) -> tuple[int, int]:
        """Where the last ``lines`` lines begin. A line may have several records; an unfinished one at the end counts as a line."""
        seen = 0
        streams: set[bytes] = set()
        place = self._files.end()
        for number in reversed(kept):
            for offset, record in self._backwards(number):
                if offset == 0 and number > 0 and DROPPED.match(record):
                    break  # the reader decides whether to show it
                stream = record[31:32]
                if record[32:33] != b"P" or stream not in streams:
                    if seen >= lines:
                        return place
                    seen += 1
                streams.add(stream)
                place = (number, offset)
        return (kept[0], 0) if seen < lines else place

    def _backwards(self, number: int) -> Iterator[tuple[int, bytes]]:
        """Whole records of a segment with their offsets, last first."""
        file = self._files.open(number)
        if file is None:
            return
        try:
            position = os.fstat(file).st_size
            rest, step, first = b"", _STEP, True
            while position > 0:
                size = min(step, position)
                step = min(step * 2, BLOCK)
                position -= size
                block = os.pread(file, size, position) + rest
                if first:
                    cut = block.rfind(b"\n") + 1
                    if not cut:
                        rest = block
                        continue
                    block, first = block[:cut], False
                begin = 0 if position == 0 else block.find(b"\n") + 1
                rest = block[:begin]
                offset = position + len(block)
                for record in reversed(_split(block[begin:])):
                    offset -= len(record)
                    yield offset, record
        finally:
            os.close(file)

    def _at(self, since: bytes, kept: list[int]) -> tuple[int, int]:
        """The first record at or after ``since``: segments by their first instant, then bisecting by bytes."""
        for number in reversed(kept):
            file = self._files.open(number)
            if file is None:
                continue
            try:
                if os.pread(file, 30, 0) < since:
                    return number, _bisect(file, since)
            finally:
                os.close(file)
        return kept[0], 0


def logs(
    directory: str,
    *,
    ended: Callable[[LogName], bool],
    ranks: Collection[int] | None = None,
    node: int | None = None,
    task: int | None = None,
    attempt: int | None = None,
) -> list[LocalRankLog]:
    """The logs in ``directory`` that match, in the order of task, node and rank; of each task the given attempt, else its last one."""
    names = {name for name, _ in found(directory) if task is None or name.task == task}
    last: dict[int | None, int] = {}
    for name in names:
        last[name.task] = max(last.get(name.task, 0), name.attempt)
    chosen = [
        name
        for name in names
        if name.attempt == (attempt if attempt is not None else last[name.task])
        and (ranks is None or name.rank in ranks)
        and (node is None or name.node == node)
    ]

    def order(name: LogName) -> tuple[int, int, int]:
        return (-1 if name.task is None else name.task, name.node, -1 if name.rank is None else name.rank)

    return [LocalRankLog(directory, name, lambda name=name: ended(name)) for name in sorted(chosen, key=order)]  # type: ignore[misc]


def _split(block: bytes) -> list[bytes]:
    """Records with their newlines (``splitlines`` would take a carriage return for an end, too)."""
    return [record + b"\n" for record in block.split(b"\n")[:-1]]


def _bisect(file: int, since: bytes) -> int:
    low, high = 0, os.fstat(file).st_size  # the record at low is before since, the one behind high is not
    while high - low > 2 * _STEP:
        middle = (low + high) // 2
        window = os.pread(file, 2 * _STEP, middle)
        start = window.find(b"\n") + 1
        if start and start + 30 <= len(window) and window[start : start + 30] < since:
            low = middle + start
        else:
            high = middle
    offset = low
    for record in _split(os.pread(file, high - low + 4 * _STEP, low)):
        if record[:30] >= since:
            break
        offset += len(record)
    return offset


def _torn(rest: bytes) -> Iterator[bytes]:
    """What a writer left of a record when it died, as a part that nothing follows."""
    if len(rest) > HEADER and rest[29:31] == b"Z ":
        yield rest[: HEADER - 2] + b"P " + rest[HEADER:] + b"\n"
