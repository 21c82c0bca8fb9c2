"""What a place adds to what a job asks for."""

from typing import Protocol, runtime_checkable

from gpuctl.model.place import Footprint
from gpuctl.model.spec import JobSpec


@runtime_checkable
class Adding(Protocol):
    """A cluster on which a job takes more than it says: shares of CPU and memory, a pod for its head. Optional: a machine adds nothing."""

    def footprint(self, spec: JobSpec) -> Footprint:
        """What placement has to count besides devices, were the job handed to this place.

        Raises:
            GpuctlError: the place does not answer.
        """
        ...
