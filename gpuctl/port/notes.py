"""What a cluster or a pool has to tell beside its answers: nothing that was asked for, but something a person should know."""

from collections.abc import Sequence
from typing import Protocol, runtime_checkable


@runtime_checkable
class Noting(Protocol):
    """A cluster or pool that may have something to tell. Optional: who has nothing to tell has no ``notes``."""

    def notes(self) -> Sequence[str]:
        """Sentences that came up since this was last asked, each told once. Never talks to anything."""
        ...
