"""Going on with a log after its connection broke: nothing missing, nothing twice.

``sinceTime`` is all an API server offers, and it cuts it down to the second. So the answer begins with lines that were seen. The last
line that was seen is the *anchor*: whatever comes up to it was seen as well, whatever comes after it is new, in the log's own order and
whether or not the clocks of the two output streams agree. When the anchor is not in the answer any more the node has rotated the log:
then everything in the answer is new, and something may be missing before it.
"""

import calendar
import time
from bisect import bisect_left

from gpuctl.clusters.kubernetes.streams.records import INSTANT

MARGIN_S = 1
"""Seconds asked for before the anchor's: a line may be stamped a little before one that stands above it."""
_NEAR = 64
"""Lines by which one may stand too late for its instant."""


class Resume:
    """How far one container's log was read. For one thread.

    Attributes:
        gap: the anchor was missing from the last answer, so lines may be missing before what it brought.
        anchor: the last line that was seen, canonical; None before the first.
    """

    def __init__(self) -> None:
        self.gap = False
        self.anchor: bytes | None = None
        self._high = b""
        self._recent: list[tuple[bytes, list[bytes]]] = []
        self._copies = 0
        self._held: list[bytes] | None = None

    @property
    def since(self) -> str | None:
        """What ``sinceTime`` has to be; None to read from the beginning."""
        if self.anchor is None:
            return None
        second = calendar.timegm(time.strptime(self.anchor[:19].decode(), "%Y-%m-%dT%H:%M:%S"))
        return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(second - MARGIN_S))

    def begin(self) -> None:
        """A new answer begins, asked for with ``since``."""
        self.gap = False
        self._held = None
        if self.anchor is not None:
            self._held = []
            # A runtime with a coarse clock can have stamped equal lines alike: the anchor is the last of so many.
            self._copies = sum(lines.count(self.anchor) for _, lines in self._recent)

    def fresh(self, lines: list[bytes]) -> list[bytes]:
        """Those of the answer's next ``lines`` (canonical) that were not seen before; they count as seen now."""
        if self._held is not None:
            lines = self._searched(lines)
        if lines:
            self._saw(lines)
        return lines

    def end(self) -> list[bytes]:
        """The answer is complete: what was held back for want of the anchor, and is new therefore."""
        held, self._held = self._held, None
        if not held:
            return []
        self.gap = True
        self._saw(held)
        return held

    @property
    def seeking(self) -> bool:
        """Whether the anchor has still to come in this answer."""
        return self._held is not None

    def _searched(self, lines: list[bytes]) -> list[bytes]:
        assert self._held is not None
        anchor, high = self.anchor, self._high
        start = 0
        for place, line in enumerate(lines):
            if line == anchor:
                self._held.clear()
                start = place + 1
                self._copies -= 1
                if self._copies == 0:
                    self._held = None
                    return lines[start:]
            elif line[:INSTANT] > high:
                new = self._held + lines[start:]
                self._held, self.gap = None, True
                return new
        self._held += lines[start:]
        return []

    def _saw(self, lines: list[bytes]) -> None:
        latest = max(lines)[:INSTANT]
        self.anchor = lines[-1]
        self._high = max(self._high, latest)
        at = self.anchor[:INSTANT]
        self._recent = [entry for entry in self._recent if entry[0] >= at]
        # The next anchor is as late as this one, or a little earlier than it: what was long before is not kept while more is read.
        start = min(bisect_left(lines, at), max(len(lines) - _NEAR, 0))
        self._recent.append((latest, lines[start:]))
