"""``--first-error``: the last traceback of a rank, put before its log.

Which rank failed first is known from the job (see ``pool.following``); what it said last before it died is found here.
"""

from collections.abc import Iterator

from gpuctl.pool.logs.source import TAG, Source
from gpuctl.port.stream import HEADER, RankLog

LOOK = 4000
"""Lines from the end among which the traceback is looked for."""
_START = b"Traceback (most recent call last):"
_CHAINS = (
    b"During handling of the above exception, another exception occurred:",
    b"The above exception was the direct cause of the following exception:",
)


def excerpt(log: RankLog, label: bytes = b"") -> Iterator[bytes]:
    """The last traceback of ``log`` as one block of lines with ``label`` before each and an empty line after; nothing without one."""
    source = Source(log, 0, since=None, follow=False, tail=LOOK)
    while source.open:
        source.pull()
    by_stream: dict[bytes, list[bytes]] = {}
    for record in source.take(None):
        by_stream.setdefault(record[31:32], []).append(record)
    best: list[bytes] = []
    for records in by_stream.values():  # a traceback is on one stream; the other one's lines may stand between its own
        found = _traceback(records)
        if found and (not best or found[0] > best[0]):
            best = found
    if best:
        yield b"".join(label + record[HEADER:-TAG] + b"\n" for record in best) + b"\n"


def _traceback(records: list[bytes]) -> list[bytes]:
    """The records of the last traceback with the ones it is chained to, up to the line that names the exception."""
    texts = [record[HEADER:-TAG].rstrip(b"\r") for record in records]
    starts = [index for index, text in enumerate(texts) if text.endswith(_START)]
    if not starts:
        return []
    start = starts.pop()
    margin = len(texts[start]) - len(_START)  # torchrun and Ray put something before each line
    end = start + 1
    while end < len(texts) and texts[end][margin : margin + 1] in (b" ", b""):
        end += 1
    while starts and any(texts[index][margin:] in _CHAINS for index in range(starts[-1], start)):
        start = starts.pop()
    return records[start : end + 1]
