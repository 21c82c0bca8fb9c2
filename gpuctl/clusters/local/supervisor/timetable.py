"""When something is due for a task because of its time limit and its window: their ends, and the warnings before them."""

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gpuctl.clusters.local.launchplan import WindowEnd
    from gpuctl.model.spec import SignalBefore


class Timetable:
    """The instants of one task, on the monotonic clock; None where there is none. Limit and window may change while it runs.

    Args:
        started: when the task began.
        time_limit: seconds that it may run.
        window: the end of its window.
        warning: the signal that its user wants before any end.
    """

    def __init__(self, *, started: float, time_limit: "int | None", window: "WindowEnd | None", warning: "SignalBefore | None") -> None:
        self.time_limit = time_limit
        self.window = window
        self.warning = warning
        self.warned = False
        """Whether that signal was sent."""
        self.window_signalled = False
        """Whether the window's own signal was sent."""
        self.told_of: float | None = None
        """The end of a window (Unix time) that the task was told of."""
        self._started = started

    def all(self) -> Sequence[float | None]:
        """Everything that will be due."""
        return self.limit_at(), self.warning_at(), self.window_at(), self.window_signal_at(), self.notice_at()

    def limit_at(self) -> float | None:
        """When its time limit ends it."""
        return self._started + self.time_limit if self.time_limit is not None else None

    def warning_at(self) -> float | None:
        """When the signal is due that its user wants."""
        limits = [limit for limit in (self.limit_at(), self._window_ends()) if limit is not None]
        if self.warning is None or not limits or self.warned:
            return None
        return min(limits) - self.warning.before_seconds

    def window_at(self) -> float | None:
        """When it has to be told to end for its window."""
        ends = self._window_ends()
        return ends - self.window.grace if ends is not None and self.window is not None else None

    def window_signal_at(self) -> float | None:
        """When the window's own signal is due."""
        ends = self._window_ends()
        if ends is None or self.window is None or self.window.signal is None or self.window_signalled:
            return None
        return ends - self.window.signal_before

    def notice_at(self) -> float | None:
        """When it is told of the end of its window, once for each end; not where its own limit ends it before."""
        ends, limit = self._window_ends(), self.limit_at()
        if ends is None or self.window is None or not self.window.notify or self.told_of == self.window.at:
            return None
        return ends - self.window.notify if limit is None or ends < limit else None

    def _window_ends(self) -> float | None:
        """The window's end. It is an instant of the wall clock: who sets that moves it."""
        return time.monotonic() + self.window.at - time.time() if self.window is not None else None


def is_due(at: float | None, now: float) -> bool:
    """Whether an instant has come."""
    return at is not None and now >= at
