"""The traceback that ``--first-error`` puts first."""

import threading

from gpuctl.model.ask import LogQuery
from gpuctl.pool.logs.first_error import excerpt
from gpuctl.pool.logs.gather import instant
from gpuctl.pool.logs.merge import rendered
from tests.unit.logs.records import T0, MemoryLog

_TRACEBACK = b"""Traceback (most recent call last):
  File "train.py", line 3, in <module>
    main()

  File "train.py", line 2, in main
    raise ValueError("bad batch")
ValueError: bad batch"""

_CHAIN = (
    _TRACEBACK
    + b"""

During handling of the above exception, another exception occurred:

Traceback (most recent call last):
  File "train.py", line 9, in <module>
    cleanup()
RuntimeError: CUDA error: device-side assert triggered"""
)


def log(*texts: bytes, before: bytes = b"") -> MemoryLog:
    lines = [(b"e", before + line) for text in texts for line in text.split(b"\n")]
    lines.insert(len(lines) // 2, (b"o", b"loss 0.1"))  # the other stream talks in between
    return MemoryLog([b"%b %bF %b\n" % (instant(T0 + i), stream, line) for i, (stream, line) in enumerate(lines)], rank=3)


def test_the_last_traceback_is_found_whole() -> None:
    other = b"Traceback (most recent call last):\n  File x\nKeyError: 'first'"
    assert b"".join(excerpt(log(other, b"went on", _TRACEBACK))) == _TRACEBACK + b"\n\n"


def test_a_chain_is_kept_together() -> None:
    assert b"".join(excerpt(log(b"start", _CHAIN))) == _CHAIN + b"\n\n"


def test_a_prefix_before_every_line_does_not_matter() -> None:
    out = b"".join(excerpt(log(b"start", _CHAIN, before=b"[rank3]: "), b"[3] "))
    assert out == b"".join(b"[3] [rank3]: " + line + b"\n" for line in _CHAIN.split(b"\n")) + b"\n"


def test_without_a_traceback_there_is_nothing() -> None:
    assert list(excerpt(log(b"all is well"))) == []


def test_it_comes_before_the_log() -> None:
    one = log(b"start", _TRACEBACK)
    out = b"".join(rendered([one], LogQuery(first_error=True), threading.Event()))
    assert out.startswith(_TRACEBACK + b"\n\nstart\n")


def test_an_error_without_a_traceback_is_found_too() -> None:
    out = b"".join(excerpt(log(b"start", b"job.sh: line 3: 12345 Killed                  python train.py")))
    assert out == b"job.sh: line 3: 12345 Killed                  python train.py\n\n"
