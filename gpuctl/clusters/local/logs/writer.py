r"""The writing end of one rank's log: bytes as a pipe delivered them in, records of :mod:`gpuctl.port.stream` out.

What it keeps:

* Only ``\n`` separates lines. Everything else, ``\r`` and invalid UTF-8 included, comes back byte for byte.
* A line without its newline is held until the newline comes, until ``PART`` bytes are there, or until ``flush`` is called; the last two
  write a part record (tag ``P``). A part that nothing follows means that the output ended without a newline: none is invented.
* One ``write`` per call, of whole records. Whoever reads up to the last newline never sees a torn one, also after a kill -9 within the
  write.
* Instants never go back within a file, also when the clock does.
* A full disk loses output but never blocks the job: what could not be kept is cut back to the last whole record, counted, and told once
  there is room again.
"""

import os
import time

from gpuctl.base import quantity
from gpuctl.clusters.local.logs.layout import LogName, Segments
from gpuctl.port.stream import HEADER

PART = 64 * 1024
"""Longest text of one record, in bytes."""
LIMIT = 1 << 30
"""Bytes kept per rank unless told otherwise."""
_SMALLEST_SEGMENT = 4096
_LAST_SECOND = 253402300799  # 9999-12-31T23:59:59Z: four digits of year are part of the format


class RankWriter:
    """Writes one rank's log. For one thread of one process at a time.

    Args:
        directory: ``<job>/logs``; made if it is missing.
        name: which log.
        limit: bytes kept on disk, in two segments; the older one is dropped when the newer one is full.

    Raises:
        OSError: the file cannot be created. Later errors are not raised but told in the log.
    """

    def __init__(self, directory: str, name: LogName, *, limit: int = LIMIT) -> None:
        self._files = Segments(directory, name)
        self._half = max(limit // 2, _SMALLEST_SEGMENT)
        self._limit = limit
        self._pending: dict[bytes, bytearray] = {b"o": bytearray(), b"e": bytearray()}
        self._pending_since: dict[bytes, int] = {}
        self._last_ns = 0
        self._second = -1
        self._prefix = b""
        self._lost = 0
        self._lost_why = ""
        os.makedirs(directory, mode=0o700, exist_ok=True)
        kept = self._files.kept()
        self._number = kept[-1] if kept else 0
        self._fd = self._open(self._number)
        self._size, self._text = self._resume() if kept else (0, 0)

    def feed(self, stream: bytes, data: bytes, at_ns: int) -> None:
        """Take ``data`` from ``stream`` (``b"o"`` or ``b"e"``), read at ``at_ns`` (nanoseconds since the epoch)."""
        if not data:
            return
        stamp = self._stamp(at_ns)
        full = stamp + stream + b"F "
        pending = self._pending[stream]
        out: list[bytes] = []
        for start in range(0, len(data), PART):
            piece = data[start : start + PART] if len(data) > PART else data
            end = piece.rfind(b"\n")
            first = piece.find(b"\n") if end >= 0 else len(piece)
            if pending and len(pending) + first > PART:
                out.append(b"%b%bP %b\n" % (stamp, stream, bytes(pending)))
                pending.clear()
            if end < 0:
                pending += piece
                continue
            body = piece[:end].replace(b"\n", b"\n" + full)
            out.append(b"%b%b%b\n" % (full, bytes(pending), body))
            pending[:] = piece[end + 1 :]
        if pending:
            self._pending_since.setdefault(stream, at_ns)
        if out:
            if not pending:
                self._pending_since.pop(stream, None)
            else:
                self._pending_since[stream] = at_ns
            self._write(out[0] if len(out) == 1 else b"".join(out))

    def note(self, text: str, at_ns: int) -> None:
        """Put a line of gpuctl's own into the log."""
        head = self._stamp(at_ns) + b"gF "
        self._write(b"".join(head + line.encode("utf-8", "replace") + b"\n" for line in text.splitlines() or [""]))

    def flush(self, at_ns: int, *, older_than_ns: int = 0) -> None:
        """Write unfinished lines that have waited for ``older_than_ns`` as parts, so that a prompt or a progress bar can be followed."""
        for stream, since in list(self._pending_since.items()):
            if at_ns - since >= older_than_ns or at_ns < since:
                pending = self._pending[stream]
                self._write(b"%b%bP %b\n" % (self._stamp(at_ns), stream, bytes(pending)))
                pending.clear()
                del self._pending_since[stream]

    @property
    def unfinished(self) -> bool:
        """Whether a line waits for its end (then ``flush`` is worth calling)."""
        return bool(self._pending_since)

    def close(self, at_ns: int | None = None) -> None:
        """Write what is unfinished and close the file. May be called twice."""
        if self._fd < 0:
            return
        at_ns = time.time_ns() if at_ns is None else at_ns
        self.flush(at_ns)
        if self._lost:
            self._write(b"")
        os.close(self._fd)
        self._fd = -1

    def _stamp(self, at_ns: int) -> bytes:
        at_ns = self._last_ns = max(at_ns, self._last_ns)
        second, nanos = divmod(at_ns, 1_000_000_000)
        if second != self._second:
            self._second = second
            self._prefix = time.strftime("%Y-%m-%dT%H:%M:%S.", time.gmtime(min(second, _LAST_SECOND))).encode()
        return b"%b%09dZ " % (self._prefix, nanos)

    def _write(self, records: bytes) -> None:
        """Append whole records; on failure the file ends where it ended before."""
        if self._lost:
            note = f"{self._lost} bytes of output could not be kept: {self._lost_why}"
            records = self._stamp(self._last_ns) + b"gF " + note.encode() + b"\n" + records
        written, why = 0, ""
        try:
            while written < len(records):
                written += os.write(self._fd, records[written:] if written else records)
        except OSError as error:
            why = error.strerror or str(error)
        if written == len(records):
            self._lost = 0
            self._size += written
            self._text += _text_bytes(records)
            if self._size >= self._half:
                self._rotate()
            return
        os.ftruncate(self._fd, self._size)
        self._lost += _text_bytes(records) if not self._lost else _text_bytes(records[records.index(b"\n") + 1 :])
        self._lost_why = why

    def _rotate(self) -> None:
        try:
            fd = self._open(self._number + 1)
        except OSError:
            return  # no room for another file: go on in this one
        os.close(self._fd)
        self._fd, self._size = fd, 0
        self._number += 1
        if self._number >= 2:
            try:
                os.unlink(self._files.path(self._number - 2))
            except FileNotFoundError:
                pass
        text = f"{self._text} bytes of earlier output were dropped (log limit {quantity.memory(self._limit)})"
        before = self._text
        self._write(self._stamp(self._last_ns) + b"gF " + text.encode() + b"\n")
        self._text = before

    def _open(self, number: int) -> int:
        return os.open(self._files.path(number), os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)

    def _resume(self) -> tuple[int, int]:
        """Go on in a file that an earlier writer left: cut a torn record off, take over its instant. Its size and all text so far."""
        size, text, last = 0, 0, b""
        with open(os.dup(self._fd), "rb") as file:
            for record in file:
                if not record.endswith(b"\n"):
                    break
                if size == 0 and self._number:
                    text = _number_in(record)
                else:
                    text += max(0, len(record) - HEADER)
                size += len(record)
                last = record[:30]
        os.ftruncate(self._fd, size)
        self._last_ns = _nanoseconds(last)
        return size, text


def _text_bytes(records: bytes) -> int:
    return len(records) - HEADER * records.count(b"\n")


def _number_in(record: bytes) -> int:
    word = record[HEADER:].split(b" ", 1)[0]
    return int(word) if word.isdigit() else 0


def _nanoseconds(instant: bytes) -> int:
    import calendar

    try:
        seconds = calendar.timegm(time.strptime(instant[:19].decode(), "%Y-%m-%dT%H:%M:%S"))
        return seconds * 1_000_000_000 + int(instant[20:29])
    except ValueError:
        return 0
