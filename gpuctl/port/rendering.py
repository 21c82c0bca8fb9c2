"""What a cluster whose jobs are documents can show beforehand."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

from gpuctl.model.ask import Submission


@runtime_checkable
class Rendering(Protocol):
    """A cluster or pool that makes a job of objects, and can show them. Optional: on a machine a job is a process."""

    def render(self, submission: Submission) -> Sequence[Mapping[str, Any]]:
        """The objects that ``submit`` would create, in its order; nothing is created. The values of secrets are left out.

        Raises:
            NotKeptHere: ``not-kept-here``, the cluster it would go to has no objects.
            GpuctlError: what a submit would raise before it creates anything.
        """
        ...
