"""Volumes' homes at submit: a volume that the job only reads may be any cluster's of that name, one that it writes has one home."""

from collections.abc import Sequence

from gpuctl.base.errors import InvalidInput, Problem, UnavailableError, nearest
from gpuctl.model.reason import Reason
from gpuctl.model.spec import JobSpec
from gpuctl.pool.survey import Seen


def asked(spec: JobSpec) -> bool:
    """Whether the job mounts anything."""
    return bool(_wanted(spec))


def elsewhere(seen: Sequence[Seen], spec: JobSpec) -> dict[str, Reason]:
    """By cluster, why the job's volumes keep it away; nothing where every volume has a home there.

    Raises:
        InvalidInput: a volume that exists nowhere, volumes without a home in common, one to write with several homes.
        UnavailableError: none has them all, and not every cluster could be read.
    """
    wanted = _wanted(spec)
    if not wanted:
        return {}
    have = {one.member.name: one.volumes for one in seen if one.volumes is not None}
    fitting = [name for name, volumes in have.items() if set(wanted) <= volumes]
    if not fitting:
        raise _nowhere(wanted, have, seen)
    written = [name for name, read_only in wanted.items() if not read_only]
    if written and len(fitting) > 1 and spec.cluster is None:
        raise _several(written, fitting)
    barred = {}
    for one in seen:
        name = one.member.name
        if name in fitting or one.error is not None:
            continue
        missing = sorted(set(wanted) - have.get(name, frozenset()))
        sentence = f"volume {missing[0]} lives on {', '.join(_homes(missing[0], have)) or 'none that was read'}"
        barred[name] = Reason(code="volume-home", sentence=one.volumes_error or sentence, what="change", command="gpuctl volumes")
    return barred


def _wanted(spec: JobSpec) -> dict[str, bool]:
    """Every volume, and whether it is only read."""
    wanted: dict[str, bool] = {}
    for mount in spec.volumes:
        wanted[mount.name] = mount.read_only and wanted.get(mount.name, True)
    if spec.checkpoint is not None:
        wanted[spec.checkpoint.volume] = False
    if spec.logs_to is not None:
        wanted[spec.logs_to.partition(":")[0]] = False
    if spec.code_volume is not None:  # whichever cluster is chosen gets the code
        wanted.setdefault(spec.code_volume, True)
    return wanted


def _homes(volume: str, have: dict[str, frozenset[str]]) -> list[str]:
    return sorted(name for name, volumes in have.items() if volume in volumes)


def _nowhere(wanted: dict[str, bool], have: dict[str, frozenset[str]], seen: Sequence[Seen]) -> InvalidInput | UnavailableError:
    unread = [one for one in seen if one.volumes is None]
    if unread:
        why = unread[0].volumes_error or (unread[0].error.message if unread[0].error is not None else None)
        return UnavailableError(
            f"cannot find volumes {', '.join(sorted(wanted))}: cluster {unread[0].member.name} could not be read",
            cause=why,
            hint="gpuctl clusters",
        )
    everywhere = frozenset().union(*have.values())
    problems = []
    for volume in sorted(wanted):
        if volume not in everywhere:
            allowed = ", ".join(sorted(everywhere)) or None
            close = nearest(volume, everywhere)
            problems.append(Problem(field="--volume", message="there is no such volume", got=volume, allowed=allowed, nearest=close))
        else:
            got = f"{volume} on {', '.join(_homes(volume, have))}"
            problems.append(Problem(field="--volume", message="lives elsewhere than the others", got=got))
    return InvalidInput("cannot mount what no one cluster has", problems, code="volume-home", hint="gpuctl volumes")


def _several(written: Sequence[str], fitting: Sequence[str]) -> InvalidInput:
    where = ", ".join(fitting)
    problems = [
        Problem(field="--volume", message=f"has several homes, and what the job writes would be on one of them ({where})", got=volume)
        for volume in written
    ]
    hint = f"--cluster {fitting[0]}    or, to read only: --volume {written[0]}:/path:ro"
    return InvalidInput(f"cannot tell which volume {written[0]} is to be written", problems, code="ambiguous-volume", hint=hint)
