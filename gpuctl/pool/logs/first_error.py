"""``--first-error``: the error a rank ended with, put before its log.

Which rank failed first is known from the job (see ``pool.following``); which of its last lines are the error, ``policy.logerrors`` knows.
"""

from collections.abc import Iterator

from gpuctl.pool.logs.source import TAG, Source
from gpuctl.port.stream import HEADER, RankLog

LOOK = 4000
"""Lines from the end among which the error is looked for."""
_START = b"Traceback (most recent call last):"
_CHAINS = (
    b"During handling of the above exception, another exception occurred:",
    b"The above exception was the direct cause of the following exception:",
)


def excerpt(log: RankLog, label: bytes = b"") -> Iterator[bytes]:
    """The last error of ``log`` as one block of lines with ``label`` before each and an empty line after; nothing without one.

    A traceback comes before a single line (a watchdog's, a shell's), which often only says that the traceback had consequences.
    """
    from gpuctl.policy import logerrors  # its patterns cost more to load than most logs to read

    source = Source([log], 0, since=None, follow=False, tail=LOOK)
    while source.open:
        source.pull()
    by_stream: dict[bytes, list[bytes]] = {}
    for record in source.take(None):
        by_stream.setdefault(record[31:32], []).append(record)
    found = []
    for records in by_stream.values():  # a traceback is on one stream; the other one's lines may stand between its own
        for finding in logerrors.find(b"\n".join([record[HEADER:-TAG] for record in records]), rank=log.rank):
            lines = records[_chain_start(records, finding.first) : finding.last]
            found.append((len(lines) > 1, lines[-1][:HEADER], lines))
    if found:
        *_, best = max(found, key=lambda entry: entry[:2])
        yield b"".join([label + record[HEADER:-TAG] + b"\n" for record in best]) + b"\n"


def _chain_start(records: list[bytes], first: int) -> int:
    """Where the chain begins that ends in the traceback at ``first``: the exception that came first says what was wrong."""
    texts = [record[HEADER:-TAG].rstrip() for record in records[:first]]
    start = first
    while start >= 2 and any(text.endswith(_CHAINS) for text in texts[start - 2 : start]):
        start = next((index for index in range(start - 1, -1, -1) if texts[index].endswith(_START)), 0)
    return start
