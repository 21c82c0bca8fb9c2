"""What tests against real control planes share."""

from tests.integration.control_plane import alpha, beta, control_planes
from tests.integration.guarded import guarded

__all__ = ["alpha", "beta", "control_planes", "guarded"]
