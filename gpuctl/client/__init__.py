"""The Python face: the same pool as the command line, typed, for scripts and notebooks.

``connect`` gives a :class:`Client`, ``Client.submit`` a :class:`JobHandle`. Errors are :class:`gpuctl.base.errors.GpuctlError`; nothing
here prints or ends the process. What a notebook shows of these objects is in ``notebook``.
"""

from gpuctl.client.client import Client, connect
from gpuctl.client.handle import JobHandle, JobList

__all__ = ["Client", "JobHandle", "JobList", "connect"]
