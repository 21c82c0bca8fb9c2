"""A job's code on its way into pods: packed, cut into Secrets, verified and unpacked there; and the program that runs in every pod.

``archive`` makes the same bytes of the same files, ``parts`` makes Secrets of them, ``entry.sh`` is the in-pod program (POSIX sh, for
images have nothing else in common), with ``fetch.sh`` and ``ray.sh`` beside it in the pods of jobs that need them. What belongs to the
code is chosen by ``gpuctl.base.filetree``.
"""

from gpuctl.clusters.kubernetes.code.archive import pack
from gpuctl.clusters.kubernetes.code.parts import CodeParts, build, by_volume, entry_only, of_repository, secrets

__all__ = ["CodeParts", "build", "by_volume", "entry_only", "of_repository", "pack", "secrets"]
