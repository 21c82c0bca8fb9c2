"""Text that Kubernetes must hand over as it is.

The kubelet replaces ``$(NAME)`` in commands, arguments and values of variables, and makes one ``$`` of two, before any program sees them
(https://kubernetes.io/docs/tasks/inject-data-application/define-interdependent-environment-variables/).
"""

import re

_ACTIVE = re.compile(r"\$(?=[$(])")


def literal(text: str) -> str:
    """``text`` so that the kubelet's expansion gives it back unchanged."""
    return _ACTIVE.sub("$$", text)
