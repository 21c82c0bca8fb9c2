"""gpuctl: one command for GPU jobs, on this machine and on a pool of clusters.

Only the version and the public Python face are named here; both are loaded on first use, so that ``import gpuctl`` stays as cheap as
an empty module::

    import gpuctl

    pool = gpuctl.connect()
    job = pool.submit("train.py", nodes=1, gpus=2)
    job.wait()
    print(job.logs())
"""

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from gpuctl.client import Client, JobHandle, connect

__all__ = ["Client", "JobHandle", "__version__", "connect"]


def __getattr__(name: str) -> Any:
    """Load the Python face on the first use of one of its names (PEP 562)."""
    if name in {"Client", "JobHandle", "connect"}:
        from gpuctl import client

        return getattr(client, name)
    raise AttributeError(f"module 'gpuctl' has no attribute {name!r}")
