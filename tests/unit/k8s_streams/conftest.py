"""What the tests of streams share."""

from tests.unit.k8s_streams.container import containers

__all__ = ["containers"]
