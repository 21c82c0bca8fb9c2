"""Everything a verb touches of the world, in one object that a test replaces whole."""

import dataclasses
import io
import os
import shutil
import sys
from collections.abc import Callable, Mapping
from datetime import datetime, timezone, tzinfo
from typing import TYPE_CHECKING, BinaryIO, TextIO

from gpuctl.base import clock
from gpuctl.port.notes import Noting

if TYPE_CHECKING:
    from gpuctl.cli.result import Context
    from gpuctl.config.settings import Settings
    from gpuctl.port.pool import Pool


def open_profile_pool(session: "Session") -> "Pool":
    """The pool of the profile that the session names."""
    from gpuctl import wiring

    return wiring.open_pool(session.profile, settings=session.settings, request_timeout=session.request_timeout)


@dataclasses.dataclass(kw_only=True)
class Session:
    """Streams, terminal facts, clock, environment and pool of one invocation.

    ``width`` is in columns and counts only on a terminal: a piped table is never cut. ``verbosity`` is ``-v`` minus ``-q``.
    """

    out: TextIO
    err: TextIO
    stdin: TextIO
    env: Mapping[str, str]
    cwd: str
    now: Callable[[], datetime] = clock.now
    out_tty: bool = False
    err_tty: bool = False
    stdin_tty: bool = False
    width: int = 80
    color: bool = False
    err_color: bool = False
    verbosity: int = 0
    profile: str | None = None
    output: str | None = None
    headers: bool = True
    request_timeout: float | None = None
    open_pool: Callable[["Session"], "Pool"] = open_profile_pool
    plain: bool = False
    """--no-color was given."""
    _settings: "Settings | None" = dataclasses.field(default=None, repr=False)
    _pool: "Pool | None" = dataclasses.field(default=None, repr=False)

    @property
    def pool(self) -> "Pool":
        """The pool, opened on first use and kept for this invocation."""
        if self._pool is None:
            self._pool = self.open_pool(self)
        return self._pool

    @property
    def settings(self) -> "Settings":
        """The settings of this invocation, read on first use."""
        if self._settings is None:
            from gpuctl.config import settings

            self._settings = settings.load(flags={"profile": self.profile}, env=self.env, cwd=self.cwd)
        return self._settings

    def context(self) -> "Context":
        """What the cells of a table may know: the instant, colour (flag, then environment, then settings), and the time zone."""
        from gpuctl.cli.result import Context
        from gpuctl.config import keys

        color, zone = self.color, self.settings.get(keys.TIME_ZONE)
        wish = self.settings.get(keys.COLOR)
        if wish != "auto" and not self.env.get("NO_COLOR") and not self.env.get("FORCE_COLOR"):
            color = wish == "always"
        return Context(now=self.now(), color=color and not self.plain, zone=_zone(zone))

    @property
    def binary_out(self) -> BinaryIO:
        """Standard output for bytes (log lines may be no text)."""
        self.out.flush()
        return self.out.buffer

    def say(self, text: str) -> None:
        """One line to stderr about what happened (not with ``-q``)."""
        if self.verbosity >= 0:
            self.err.write(text.rstrip("\n") + "\n")
            self.err.flush()

    def detail(self, text: str) -> None:
        """One line to stderr that only ``-v`` shows."""
        if self.verbosity >= 1:
            self.say(text)

    def write(self, text: str) -> None:
        """What was asked for, to stdout."""
        self.out.write(text)
        self.out.flush()

    def close(self) -> None:
        """Say what the pool has to tell beside its answers, and let go of it."""
        if self._pool is not None:
            if isinstance(self._pool, Noting):
                for note in self._pool.notes():
                    self.say(f"note: {note}")
            self._pool.close()
            self._pool = None


def _zone(name: str) -> "tzinfo | None":
    if name == "local":
        return None
    if name == "UTC":
        return timezone.utc
    from zoneinfo import ZoneInfo

    return ZoneInfo(name)


def wants_color(env: Mapping[str, str], *, tty: bool) -> bool:
    """Colour is on for a terminal, or with FORCE_COLOR; NO_COLOR and TERM=dumb turn it off (https://no-color.org)."""
    if env.get("NO_COLOR"):
        return False
    if env.get("FORCE_COLOR"):
        return True
    return tty and env.get("TERM") != "dumb"


def _tty(stream: TextIO) -> bool:
    try:
        return stream.isatty()
    except ValueError:  # closed by whoever started us
        return False


def _present(stream: "TextIO | None", mode: str) -> TextIO:
    """The stream, or the null device where the parent process closed it (then Python has None)."""
    return stream if stream is not None else io.TextIOWrapper(open(os.devnull, mode + "b"), encoding="utf-8")


def from_process() -> Session:
    """The session of this process: its streams, environment and directory."""
    out, err, stdin = _present(sys.stdout, "w"), _present(sys.stderr, "w"), _present(sys.stdin, "r")
    for stream in (out, err):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:  # a C locale must not turn a name into a traceback
            reconfigure(errors="backslashreplace")
    try:
        cwd = os.getcwd()
    except FileNotFoundError:
        cwd = "/"
    out_tty, err_tty = _tty(out), _tty(err)
    return Session(
        out=out,
        err=err,
        stdin=stdin,
        env=dict(os.environ),
        cwd=cwd,
        out_tty=out_tty,
        err_tty=err_tty,
        stdin_tty=_tty(stdin),
        width=shutil.get_terminal_size((80, 24)).columns,
        color=wants_color(os.environ, tty=out_tty),
        err_color=wants_color(os.environ, tty=err_tty),
    )
