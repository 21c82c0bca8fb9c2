"""Values as people type them on the command line, to numbers; every refusal names the flag, what it got and what is allowed."""

from gpuctl.base import duration as durations
from gpuctl.base.errors import InvalidInput, Problem


def duration(text: str, *, field: str) -> int:
    """Seconds of a duration.

    Raises:
        InvalidInput: no duration.
    """
    try:
        return durations.parse(text)
    except ValueError as error:
        raise InvalidInput(
            f"{field} is not a duration", [Problem(field=field, message=str(error), got=repr(text), allowed=durations.ALLOWED)]
        ) from None
