"""What the platform runs next to clusters, and the objects with which it is installed there.

May import ``wiring`` and everything below it, never ``cli`` or ``server``: controllers are the platform's, run without a terminal, and
answer with values that the command line prints. They speak Kubernetes through ``kube`` only.
"""
