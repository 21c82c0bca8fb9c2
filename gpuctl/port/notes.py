"""What a cluster or a pool has to tell beside its answers: nothing that was asked for, but something a person should know."""

from collections.abc import Sequence
from typing import Protocol, runtime_checkable


@runtime_checkable
class Noting(Protocol):
    """A cluster or pool that may have something to tell. Optional: who has nothing to tell has no ``notes``."""

    def notes(self) -> Sequence[str]:
        """Sentences that came up since this was last asked, each told once. Never talks to anything."""
        ...


@runtime_checkable
class Configured(Protocol):
    """A cluster that sees without talking to anything whether it is set up. Optional."""

    def configured(self) -> None:
        """Return if it can be asked at all.

        Raises:
            GpuctlError: what is missing (a kubeconfig, a context in it, a file).
        """
        ...
