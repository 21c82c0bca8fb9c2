"""What the tests of logs share: taking records apart, and logs that live in memory."""

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence

from gpuctl.port.stream import HEADER, Together

T0 = 1_772_366_400_000_000_000  # 2026-03-01T12:00:00Z


def texts(records: bytes) -> dict[bytes, bytes]:
    """What each stream said, byte for byte."""
    out: dict[bytes, bytes] = defaultdict(bytes)
    for record in split(records):
        out[record[31:32]] += record[HEADER:] + (b"" if record[32:33] == b"P" else b"\n")
    return dict(out)


def split(records: bytes) -> list[bytes]:
    """Records without their newlines; every one is checked for its form."""
    found = records.split(b"\n")
    assert found.pop() == b""
    for record in found:
        assert re.match(rb"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z [oeg][FP] ", record), record[:40]
    return found


class MemoryLog:
    """A RankLog of given blocks. While following, an empty block in ``blocks`` is a moment without news."""

    def __init__(self, blocks: Sequence[bytes], *, rank: int | None = 0, node: int = 0, task: int | None = None) -> None:
        self.rank, self.node, self.task, self.attempt = rank, node, task, 1
        self._blocks = list(blocks)

    @property
    def together(self) -> Together | None:
        """None: it comes alone."""
        return None

    def blocks(self, *, since: str | None, follow: bool, tail: int | None = None) -> Iterator[bytes]:
        """The given blocks."""
        assert since is None
        if tail is not None:
            kept = split(b"".join(self._blocks))[-tail:] if tail else []
            yield b"".join(record + b"\n" for record in kept)
            return
        yield from (block for block in self._blocks if follow or block)

    def tail(self, lines: int) -> bytes:
        """The last records."""
        return b"".join(self.blocks(since=None, follow=False, tail=lines))


class MemoryPod:
    """The logs of several ranks that come together: lists of (rank, instant, what stands behind it, where the text begins)."""

    def __init__(self, batches: Sequence[Sequence[tuple[int | None, bytes, bytes, int]]]) -> None:
        self._batches = batches

    def records(
        self, marks: Mapping[int | None, bytes], *, since: str | None, follow: bool, tail: int | None = None
    ) -> Iterator[list[bytes]]:
        """The given records of those who have a mark."""
        assert since is None
        assert tail is None
        for batch in self._batches:
            yield [at + b" " + said + marks[rank] + bytes((0x80 + start,)) for rank, at, said, start in batch if rank in marks]


class MemberLog(MemoryLog):
    """One of the logs of a pod."""

    def __init__(self, pod: MemoryPod, *, rank: int | None, node: int = 0) -> None:
        super().__init__([], rank=rank, node=node)
        self._pod = pod

    @property
    def together(self) -> MemoryPod:
        """Its pod."""
        return self._pod
