"""Why nothing could be read of a cluster: it does not answer, it refuses our credentials, or it forbids what was asked.

One word for each, the same as a cluster's health and as the reason of what would be there.
"""

from gpuctl.base.errors import AuthError, GpuctlError, NotAllowedError
from gpuctl.model.place import Health
from gpuctl.model.reason import Reason, What

AWAY: frozenset[str] = frozenset({"unreachable", "unauthorized", "forbidden"})
"""Reasons that say nothing of the place itself, only that nobody could look."""

_HELPS: dict[str, tuple[What, str]] = {"unauthorized": ("change", "gpuctl doctor"), "forbidden": ("escalate", "gpuctl doctor --rbac")}


def health(error: GpuctlError) -> Health:
    """The word for a cluster that answered a question with ``error``, or not at all."""
    if isinstance(error, AuthError):
        return "unauthorized"
    return "forbidden" if isinstance(error, NotAllowedError) else "unreachable"


def reason(word: Health, sentence: str) -> Reason:
    """The reason of a job, or of a place for one, on such a cluster.

    Args:
        word: as ``health`` has it.
        sentence: the error's.
    """
    what, command = _HELPS.get(word, ("wait", "gpuctl clusters"))
    return Reason(code=word, sentence=sentence, what=what, command=command)
