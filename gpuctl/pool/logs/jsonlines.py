"""Lines as JSON objects, one a line: ``logs -o json``."""

import msgspec

from gpuctl.pool.logs.merge import LogLine

_encode = msgspec.json.Encoder().encode


def encoded(line: LogLine) -> bytes:
    """One line with its newline. Bytes that are no UTF-8 are spelled out as in a Python string; None is absent."""
    body = {
        "at": line.at,
        "rank": line.rank,
        "node": line.node,
        "task": line.task,
        "attempt": line.attempt,
        "stream": line.stream,
        "text": line.text.decode(errors="backslashreplace"),
    }
    return _encode({key: value for key, value in body.items() if value is not None}) + b"\n"
