"""``logs -o json``: one object a line, whatever bytes the line holds."""

import json
import threading
from datetime import datetime, timezone

from gpuctl.model.ask import LogQuery
from gpuctl.pool.logs.gather import instant
from gpuctl.pool.logs.jsonlines import encoded
from gpuctl.pool.logs.merge import LogLine, lines
from tests.unit.logs.records import T0, MemoryLog


def test_a_line_is_one_object() -> None:
    log = MemoryLog([instant(T0) + b' oF say "hi"\\ \xe2\x82\xac\n' + instant(T0 + 1) + b" eF \xff\x00\r\n"], rank=3, node=1, task=7)
    written = [encoded(line) for line in lines([log], LogQuery(as_json=True), threading.Event())]
    assert [line.count(b"\n") for line in written] == [1, 1]
    first, second = (json.loads(line) for line in written)
    assert first == {
        "at": "2026-03-01T12:00:00.000000000Z",
        "rank": 3,
        "node": 1,
        "task": 7,
        "attempt": 1,
        "stream": "stdout",
        "text": 'say "hi"\\ €',
    }
    assert (second["stream"], second["text"]) == ("stderr", "\\xff\x00\r")


def test_what_there_is_not_is_absent() -> None:
    at = f"{datetime(2026, 3, 1, tzinfo=timezone.utc):%Y-%m-%dT%H:%M:%S}.000000000Z"
    assert set(json.loads(encoded(LogLine(at=at, text=b"x")))) == {"at", "node", "attempt", "stream", "text"}
