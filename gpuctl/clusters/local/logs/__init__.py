"""The logs of this machine's jobs: one file per rank, written by supervisors, read by anybody who may.

What may live here: the layout of the files (``layout``), the writing end (``writer``) and the reading end (``reader``). Merging, folding
and rendering are the same for every cluster and live in ``gpuctl.pool.logs``.
"""
