"""The exit codes of every gpuctl command, in one table (``gpuctl help exit-codes`` prints it)."""

from enum import IntEnum


class ExitCode(IntEnum):
    """What a gpuctl process ends with.

    A pass-through verb (``run``, ``submit --wait``, ``wait --exit-status``, ``exec``) returns the job's own code instead, and
    ``128 + n`` when the job died of signal *n*.
    """

    OK = 0
    FAILED = 1
    USAGE = 2
    NOT_FOUND = 3
    AUTH = 4
    NOT_ALLOWED = 5
    CONFLICT = 6
    UNAVAILABLE = 7
    NOT_FINISHED = 8
    TIMEOUT = 124
    INTERNAL = 125
    INTERRUPTED = 130
    PIPE_CLOSED = 141
    CANCELLED = 143


MEANING: dict[ExitCode, str] = {
    ExitCode.OK: "done, already so, or an empty list",
    ExitCode.FAILED: "failed",
    ExitCode.USAGE: "usage, or refused before anything was done",
    ExitCode.NOT_FOUND: "not found",
    ExitCode.AUTH: "not logged in, or bad credentials",
    ExitCode.NOT_ALLOWED: "not allowed, or never fits the quota",
    ExitCode.CONFLICT: "conflict, or the wrong state",
    ExitCode.UNAVAILABLE: "unavailable; a retry may help",
    ExitCode.NOT_FINISHED: "not finished yet",
    ExitCode.TIMEOUT: "--timeout reached",
    ExitCode.INTERNAL: "gpuctl's own error in a pass-through command (also: the job was lost or cut)",
    ExitCode.INTERRUPTED: "Ctrl-C",
    ExitCode.PIPE_CLOSED: "the reader closed the pipe",
    ExitCode.CANCELLED: "the job was cancelled",
}
"""One sentence per code, in the order of the table."""


def of_signal(number: int) -> int:
    """The exit code of a process that died of signal ``number`` (the shells' ``128 + n``)."""
    return 128 + number
