"""A cluster of the profile that cannot even be built: an option that is wrong, a context that the kubeconfig does not have.

It stands in the pool as one that does not answer, so that its row says what is wrong and the other clusters work on.
"""

from typing import Any, NoReturn

from gpuctl.base.errors import GpuctlError, InvalidInput, UnavailableError
from gpuctl.port.capability import Capability


class BrokenCluster:
    """Everything that is asked of it is answered with the reason why it could not be built.

    Args:
        name: the profile's.
        error: what was wrong.
    """

    def __init__(self, name: str, error: GpuctlError) -> None:
        self.name = name
        self.uid = f"broken-{name}"
        self.capabilities: frozenset[Capability] = frozenset()
        self._error = error

    def close(self) -> None:
        """Nothing was opened."""

    def __getattr__(self, call: str) -> Any:
        """Any call of the Cluster port."""
        if call.startswith("_"):
            raise AttributeError(call)

        def refuse(*_args: object, **_options: object) -> NoReturn:
            raise unusable(self.name, self._error)

        return refuse


def unusable(name: str, error: GpuctlError) -> UnavailableError:
    """What a list says about it: one sentence with every problem. It cannot tell what it has, so this is never a "not found"."""
    problems = "; ".join(str(problem) for problem in error.problems) if isinstance(error, InvalidInput) else ""
    cause = problems or error.cause
    return UnavailableError(f"cluster {name} cannot be used: {error.message}", code=error.code, cause=cause, hint=error.hint)
