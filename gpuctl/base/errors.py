"""The one hierarchy of errors.

    GpuctlError                 something the user can read and act on
    +-- UsageError              2    bad input, refused before anything was done
    |   +-- InvalidInput        2    one or more fields are wrong; all of them are listed
    |   +-- NotKeptHere         2    a promise that nothing resident here could keep
    +-- NotFoundError           3
    +-- AuthError               4
    +-- NotAllowedError         5
    +-- ConflictError           6
    +-- UnavailableError        7    a retry may help
    +-- NotFinishedError        8
    +-- TimeoutReachedError   124
    +-- InternalError         125    gpuctl's own fault in a pass-through verb

Every error carries a stable kebab-case ``code``, one sentence, at most one fact from below (``cause``) and a ``hint`` that can be
pasted. A library's exceptions are translated where the library is used and never travel further.
"""

import dataclasses
import difflib
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import ClassVar

from gpuctl.base.exitcodes import ExitCode

_KEBAB = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*\Z")


MEANT = "did you mean "
"""How a hint begins that names the nearest of the names that are there."""


class GpuctlError(Exception):
    """An error with an exit code, meant for a person.

    Args:
        message: operation, object and what went wrong, in one sentence without a final period.
        code: stable kebab-case name; scripts may match on it.
        cause: one fact from below.
        hint: what to do, as a command where one exists.
    """

    exit_code: ClassVar[ExitCode] = ExitCode.FAILED
    default_code: ClassVar[str] = "failed"

    def __init__(self, message: str, *, code: str | None = None, cause: str | None = None, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.code = code or self.default_code
        self.cause = cause
        self.hint = hint
        if not _KEBAB.match(self.code):
            raise ValueError(f"error codes are kebab-case, got {self.code!r}")

    def __str__(self) -> str:
        """All of it, a line each: what a traceback shows to somebody who works in Python."""
        return "\n".join([self.message, *self._facts()])

    @property
    def line(self) -> str:
        """In one line, for a place that has no room for more: with its cause, and with the name that was meant."""
        said = f"{self.message} ({self.cause})" if self.cause else self.message
        return f"{said}; {self.hint}" if self.hint and self.hint.startswith(MEANT) else said

    def _facts(self) -> Iterator[str]:
        if self.cause:
            yield f"cause: {self.cause}"
        if self.hint:
            yield f"hint: {self.hint}"


class UsageError(GpuctlError):
    """The request itself is wrong; nothing was done."""

    exit_code = ExitCode.USAGE
    default_code = "usage"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Problem:
    """One wrong field.

    Attributes:
        field: path of the field as the user knows it (``spec.gpus``, ``--time``).
        message: what is wrong, without the field's name.
        got: what was given, as text, if that helps.
        allowed: what would have been accepted.
        nearest: the nearest valid spelling.
    """

    field: str
    message: str
    got: str | None = None
    allowed: str | None = None
    nearest: str | None = None

    def __str__(self) -> str:
        """One line: field, message, what was given, what is allowed, nearest spelling."""
        text = f"{self.field}: {self.message}"
        if self.got is not None:
            text += f", got {self.got}"
        if self.allowed:
            text += f" (allowed: {self.allowed})"
        if self.nearest:
            text += f"; did you mean {self.nearest}?"
        return text


class InvalidInput(UsageError):
    """One or more fields are wrong; ``problems`` lists every one of them."""

    default_code = "invalid-input"

    def __init__(
        self, message: str, problems: Iterable[Problem], *, code: str | None = None, cause: str | None = None, hint: str | None = None
    ) -> None:
        super().__init__(message, code=code, cause=cause, hint=hint)
        self.problems: tuple[Problem, ...] = tuple(problems)

    def _facts(self) -> Iterator[str]:
        yield from (f"  {problem}" for problem in self.problems)
        yield from super()._facts()


class NotKeptHere(UsageError):
    """A promise was asked for that nothing resident in this pool could keep."""

    default_code = "not-kept-here"


class NotFoundError(GpuctlError):
    """What was named does not exist (and everywhere it could be was read)."""

    exit_code = ExitCode.NOT_FOUND
    default_code = "not-found"


class AuthError(GpuctlError):
    """Not logged in, or the credentials are bad or expired."""

    exit_code = ExitCode.AUTH
    default_code = "not-logged-in"


class NotAllowedError(GpuctlError):
    """Forbidden, or the request can never fit the quota."""

    exit_code = ExitCode.NOT_ALLOWED
    default_code = "not-allowed"


class ConflictError(GpuctlError):
    """The object exists with other content, or is in the wrong state."""

    exit_code = ExitCode.CONFLICT
    default_code = "conflict"


class UnavailableError(GpuctlError):
    """Something could not be reached or has no room now; a retry may help."""

    exit_code = ExitCode.UNAVAILABLE
    default_code = "unavailable"


class NotFinishedError(GpuctlError):
    """The answer exists only once the job has finished."""

    exit_code = ExitCode.NOT_FINISHED
    default_code = "not-finished"


class TimeoutReachedError(GpuctlError):
    """The caller's ``--timeout`` passed."""

    exit_code = ExitCode.TIMEOUT
    default_code = "timeout"


class InternalError(GpuctlError):
    """gpuctl itself failed inside a pass-through verb."""

    exit_code = ExitCode.INTERNAL
    default_code = "internal"


def nearest(word: str, known: Iterable[str]) -> str | None:
    """The known word closest in spelling to ``word``, or None when none is close."""
    candidates: Sequence[str] = list(known)
    found = difflib.get_close_matches(word, candidates, n=1, cutoff=0.6)
    if found:
        return found[0]
    lowered = {candidate.lower(): candidate for candidate in candidates}
    return lowered.get(word.lower())
