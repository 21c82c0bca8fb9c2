"""Python's arguments to a job specification: numbers, ranges, paths and mappings to the spellings of the job document."""

import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypedDict, cast

from gpuctl.base import duration
from gpuctl.base.errors import InvalidInput, Problem
from gpuctl.model import rules
from gpuctl.model.spec import AfterMode, ArraySpec, Checkpoint, Dependency, GitSource, JobSpec, Kind, Tier, VolumeMount

if TYPE_CHECKING:
    from gpuctl.client.handle import JobHandle

Seconds = int | float | str | None
"""A duration: seconds, or text such as ``"6h"``."""


class JobArguments(TypedDict, total=False):
    """What describes a job in Python, by keyword: the arguments of ``Client.submit`` but for the script and how long to stay with it."""

    args: Sequence[object]
    command: Sequence[object]
    kind: Kind | None
    nodes: int
    gpus: int
    nproc_per_node: int | None
    per: str
    name: str | None
    labels: Mapping[str, str] | None
    env: Mapping[str, object] | None
    secrets: Mapping[str, str] | None
    workdir: str | os.PathLike[str] | None
    python: str | None
    snapshot: bool
    git: str | None
    code_volume: str | None
    time: Seconds
    grace: Seconds
    retries: int
    requeue: bool
    priority: int
    hold: bool
    array: str | range | None
    parallel: int | None
    after: "Sequence[str | JobHandle]"
    cpus: float | str | None
    memory: int | str | None
    gpu_type: str | None
    devices: Sequence[int]
    cluster: str | None
    tier: Tier
    exclude: Sequence[str]
    volumes: Mapping[str, str | None] | None
    checkpoint: str | None
    request_id: str | None
    best_effort: bool


def build(
    script: str | os.PathLike[str] | None,
    *,
    args: Sequence[object] = (),
    command: Sequence[object] = (),
    kind: Kind | None = None,
    nodes: int = 1,
    gpus: int = 1,
    nproc_per_node: int | None = None,
    per: str = "node",
    env: Mapping[str, object] | None = None,
    secrets: tuple[str, ...] = (),
    workdir: str | os.PathLike[str] | None = None,
    python: str | None = None,
    snapshot: bool = False,
    git: str | None = None,
    code_volume: str | None = None,
    time: Seconds = None,
    grace: Seconds = None,
    retries: int = 0,
    requeue: bool = False,
    priority: int = 0,
    hold: bool = False,
    array: str | range | None = None,
    parallel: int | None = None,
    after: Sequence[str] = (),
    cpus: float | str | None = None,
    memory: int | str | None = None,
    gpu_type: str | None = None,
    devices: Sequence[int] = (),
    cluster: str | None = None,
    tier: Tier = "any",
    exclude: Sequence[str] = (),
    volumes: Mapping[str, str | None] | None = None,
    checkpoint: str | None = None,
) -> JobSpec:
    """The specification; what is wrong with its values is the common checker's to say.

    Raises:
        InvalidInput: ``bad-argument``; arguments of a type that no field can hold, all of them.
    """
    problems: list[Problem] = []
    script_text = os.fspath(script) if script is not None else None
    fields: dict[str, Any] = {
        "kind": kind or ("pytorch" if script_text is not None and script_text.endswith(".py") else "command"),
        "nodes": nodes,
        "gpus": gpus,
        "per": per,
        "nproc_per_node": nproc_per_node,
        "script": script_text,
        "args": _words("args", args, problems),
        "command": _words("command", command, problems),
        "python": python,
        "workdir": os.fspath(workdir) if workdir is not None else None,
        "snapshot": snapshot,
        "git": _git(git, problems),
        "code_volume": code_volume,
        "env": {key: _word(value) for key, value in (env or {}).items()},
        "secrets": secrets,
        "cpus": _word(cpus) if cpus is not None else None,
        "memory": _word(memory) if memory is not None else None,
        "gpu_type": gpu_type,
        "devices": tuple(devices),
        "tier": tier,
        "cluster": cluster,
        "exclude": tuple(exclude),
        "priority": priority,
        "time": _duration(time),
        "grace": _duration(grace) or "30s",
        "retries": retries,
        "requeue": requeue,
        "hold": hold,
        "array": _array(array, parallel, problems),
        "after": tuple(_after(text) for text in _listed("after", after, problems)),
        "volumes": tuple(_mount(name, path) for name, path in (volumes or {}).items()),
        "checkpoint": _checkpoint(checkpoint),
    }
    if problems:
        raise InvalidInput("cannot submit", problems, code="bad-argument")
    import msgspec

    from gpuctl.model.check import check_document

    spec = JobSpec(**fields)
    _, wrong = check_document({"apiVersion": "gpuctl.io/v1", "kind": "Job", "spec": msgspec.to_builtins(spec)})
    if wrong:
        raise InvalidInput(f"cannot submit {script_text or 'the command'}", wrong, code="bad-job")
    return spec


def _word(value: object) -> str:
    return os.fspath(value) if isinstance(value, os.PathLike) else str(value)


def _listed(field: str, values: Sequence[Any], problems: list[Problem]) -> Sequence[Any]:
    """The values, unless they are one text: iterating over its letters is never what was meant."""
    if isinstance(values, str):
        problems.append(Problem(field=field, message="is a text, not a list", got=repr(values), nearest=repr(values.split())))
        return ()
    return values


def _words(field: str, values: Sequence[object], problems: list[Problem]) -> tuple[str, ...]:
    return tuple(_word(value) for value in _listed(field, values, problems))


def _duration(value: Seconds) -> str | None:
    return duration.canonical(round(value)) if isinstance(value, (int, float)) else value


def _array(value: str | range | None, parallel: int | None, problems: list[Problem]) -> ArraySpec | None:
    if value is None:
        if parallel is not None:
            problems.append(Problem(field="parallel", message="says how many tasks of an array run at a time, and there is no array"))
        return None
    if isinstance(value, range):
        indices = sorted(value)
        if not indices:
            problems.append(Problem(field="array", message="is empty", got=repr(value)))
            return None
        only = () if abs(value.step) == 1 else tuple(indices)
        return ArraySpec(first=indices[0], last=indices[-1], parallel=parallel, only=only)
    ends, _, width = value.partition("%")
    first, dash, last = ends.partition("-")
    numbers = [first, last if dash else first, *([width] if width else [])]
    if not all(number.isascii() and number.isdigit() for number in numbers):
        problems.append(Problem(field="array", message="is no array", got=repr(value), allowed='"0-99", "0-99%8" or range(100)'))
        return None
    return ArraySpec(first=int(first), last=int(numbers[1]), parallel=int(width) if width else parallel)


def _git(text: str | None, problems: list[Problem]) -> GitSource | None:
    if text is None:
        return None
    parts = rules.git_parts(text)
    if parts is None:
        got = repr(rules.without_login(text))
        problems.append(Problem(field="git", message="says no branch, tag or commit", got=got, allowed="URL@REF"))
        return None
    return GitSource(url=parts[0], ref=parts[1])


def _after(text: str) -> Dependency:
    mode, colon, job = text.partition(":")
    return Dependency(job=job, mode=cast(AfterMode, mode)) if colon else Dependency(job=text)


def _mount(name: str, path: str | None) -> VolumeMount:
    if path is not None and path.endswith(":ro"):
        return VolumeMount(name=name, path=path[:-3] or None, read_only=True)
    return VolumeMount(name=name, path=path or None)


def _checkpoint(text: str | None) -> Checkpoint | None:
    if text is None:
        return None
    volume, colon, directory = text.partition(":")
    return Checkpoint(volume=volume, dir=directory) if colon else Checkpoint(volume=volume)
