"""What tests against real control planes share."""

from tests.integration.control_plane import alpha, beta, control_planes

__all__ = ["alpha", "beta", "control_planes"]
