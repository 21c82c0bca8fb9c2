"""The volumes of a job: claims that are mounted, the paths its program is told, shared memory, code."""

import re
from typing import Any

import msgspec

from gpuctl.model.spec import JobSpec

VOLUMES = "/volumes"
"""Where a volume is mounted that was given no path."""


class Storage(msgspec.Struct, frozen=True, kw_only=True):
    """``volumes`` of a pod with the ``mounts`` of its containers, and the variables that tell the paths."""

    volumes: tuple[dict[str, Any], ...]
    mounts: tuple[dict[str, Any], ...]
    env: dict[str, str]
    checkpoint: str | None = None
    logs: str | None = None


def storage(spec: JobSpec) -> Storage:
    """The claims that the spec names, each once, however often it is named (as a volume, for checkpoints, for logs)."""
    paths: dict[str, str] = {}
    read_only: dict[str, bool] = {}
    for mount in spec.volumes:
        paths[mount.name] = mount.path or f"{VOLUMES}/{mount.name}"
        read_only[mount.name] = mount.read_only
    checkpoint = logs = None
    if spec.checkpoint is not None:
        paths.setdefault(spec.checkpoint.volume, f"{VOLUMES}/{spec.checkpoint.volume}")
        read_only[spec.checkpoint.volume] = False
        checkpoint = _below(paths[spec.checkpoint.volume], spec.checkpoint.dir)
    if spec.logs_to is not None:
        name, _, directory = spec.logs_to.partition(":")
        paths.setdefault(name, f"{VOLUMES}/{name}")
        read_only[name] = False
        logs = _below(paths[name], directory)
    claims = {name: read_only.get(name, False) for name in paths}
    if spec.code_volume is not None:  # mounted by who unpacks the code, see ``pod``
        claims.setdefault(spec.code_volume, True)
    return Storage(
        volumes=tuple({"name": volume_name(name), "persistentVolumeClaim": _claim(name, only)} for name, only in claims.items()),
        mounts=tuple(
            {"name": volume_name(name), "mountPath": path, **({"readOnly": True} if read_only.get(name) else {})}
            for name, path in paths.items()
        ),
        env={"GPUCTL_VOLUME_" + re.sub(r"[^A-Za-z0-9]", "_", name).upper(): path for name, path in paths.items()},
        checkpoint=checkpoint,
        logs=logs,
    )


def volume_name(name: str) -> str:
    """What a pod calls the volume of this claim."""
    return f"volume-{name}"


def _claim(name: str, read_only: bool) -> dict[str, Any]:
    return {"claimName": name, **({"readOnly": True} if read_only else {})}


def _below(path: str, directory: str) -> str:
    inner = directory.strip("/")
    return f"{path.rstrip('/')}/{inner}" if inner else path
