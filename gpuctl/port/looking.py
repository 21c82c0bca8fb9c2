"""A place where more may be installed than is known."""

from typing import Protocol, runtime_checkable


@runtime_checkable
class Looking(Protocol):
    """A cluster that remembers for a while what is installed there. Optional: a machine knows itself."""

    def look_again(self) -> bool:
        """Ask anew, before a job is refused for want of it; whether anything was asked (not when that was just done)."""
        ...
