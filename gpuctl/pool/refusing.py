"""The refusal of a job that no cluster takes: which of the reasons counts, and what helps."""

from collections.abc import Sequence

from gpuctl.base.errors import GpuctlError, NotAllowedError, NotKeptHere, UnavailableError
from gpuctl.model.ask import Submission
from gpuctl.policy.away import AWAY
from gpuctl.policy.offers import Judged
from gpuctl.pool.survey import Seen

NO_CAPACITY = "no-capacity"
"""The code of a refusal that time alone can mend."""

NO_ROOM = frozenset({NO_CAPACITY, "no-room-now"})
"""The codes on which ``--wait-for-capacity`` tries again: ours, and that of a cluster that filled up in between."""

_UNTOLD = AWAY | {"same-place", "tier", "excluded"}


def refusal(submission: Submission, judged: Sequence[Judged], seen: Sequence[Seen]) -> GpuctlError:
    """Why nobody takes it."""
    spec = submission.spec
    cannot = f"cannot submit {submission.base_name}"
    away = [one for one in seen if one.error is not None]
    if len(away) == len(seen):
        assert away[0].error is not None
        first = away[0].error
        if not isinstance(first, UnavailableError) and len(away) == 1:
            return first
        return UnavailableError(
            f"{cannot}: no cluster it may use could be read",
            cause=first.line,
            hint=first.hint or "gpuctl clusters",
        )
    asked = f"{spec.nodes}x{spec.gpus}{' ' + spec.gpu_type if spec.gpu_type else ''}"
    told = [each for each in judged if each.reason is not None and each.reason.code not in _UNTOLD]
    cause = reasons(told)
    codes = {each.reason.code for each in told if each.reason is not None}
    if codes and codes <= {"budget"}:
        if spec.time is None:
            return NotKeptHere(f"{cannot}: nothing here keeps --max-cost without --time", cause=cause, hint="gpuctl submit --time 6h ...")
        return NotAllowedError(f"{cannot}: it costs more than --max-cost", code="over-budget", cause=cause, hint="gpuctl submit --plan ...")
    if spec.fit_window and any(not each.never for each in told):
        return NotKeptHere(
            f"cannot submit {submission.base_name}: nothing here keeps a job with --fit-window waiting, and it cannot start now",
            cause=cause,
            hint=_fits(told) or "gpuctl submit without --fit-window ...    or: gpuctl windows",
        )
    if all(each.never for each in told) and not away:
        code = codes.pop() if len(codes) == 1 else "never-fits"
        return NotAllowedError(f"{cannot}: {asked} fits nowhere", code=code, cause=cause or None, hint=_helps(told) or "gpuctl nodes")
    if any(not each.never for each in told):
        smaller, pods = _helps(told), "several nodes" if spec.nodes > 1 else "a node and a head"
        return UnavailableError(
            f"{cannot}: {asked} fits nowhere now, and nothing here keeps a job of {pods} waiting",
            code=NO_CAPACITY,
            cause=cause,
            hint="gpuctl submit --wait-for-capacity ..." + (f"    or: {smaller}" if smaller else ""),
        )
    names = ", ".join(one.member.name for one in away)
    return UnavailableError(
        f"{cannot}: {asked} fits none of the clusters that could be read, and {names} could not be",
        cause=cause or None,
        hint="gpuctl clusters",
    )


def reasons(told: Sequence[Judged], *, most: int = 4, chosen: Judged | None = None) -> str:
    """``res-a: 24 of 32 H100 free, but in pieces of 4; cloud: 0 of 8 H100 free``. The tier is named where a cluster has several.

    ``chosen``: where the job goes instead, perhaps another tier of one of them.
    """
    tiers: dict[str, set[str | None]] = {chosen.offer.cluster: {chosen.offer.tier}} if chosen is not None else {}
    for each in told:
        tiers.setdefault(each.offer.cluster, set()).add(each.offer.tier)
    parts = [
        f"{each.offer.cluster}{', ' + each.offer.tier if each.offer.tier and len(tiers[each.offer.cluster]) > 1 else ''}: "
        f"{each.reason.sentence or each.reason.code}"
        for each in told
        if each.reason is not None
    ]
    more = [f"and {len(parts) - most} more"] if len(parts) > most else []
    return "; ".join([*parts[:most], *more])


def _helps(told: Sequence[Judged]) -> str | None:
    return next((each.reason.command for each in told if each.reason is not None and each.reason.code == "fragmented"), None) or next(
        (each.reason.command for each in told if each.reason is not None and each.reason.command), None
    )


def _fits(told: Sequence[Judged]) -> str | None:
    """The shorter time that would start now, where a window is too short."""
    advice = next(
        (each.reason.advice for each in told if each.reason is not None and each.reason.code == "window" and each.reason.advice), None
    )
    return f"{advice}    or: gpuctl windows" if advice is not None else None
