"""References: ``job/NAME``, NAME, base name (the newest), unique id prefix, ``NAME_7`` for a task, ``-`` or nothing for my latest."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

from gpuctl.base import clock
from gpuctl.base.errors import ConflictError, GpuctlError, InvalidInput, NotFoundError, Problem, UnavailableError
from gpuctl.model.ask import JobQuery
from gpuctl.model.job import Job
from gpuctl.pool.members import Answer, Answers, Member, Members, is_missing

RECENT = timedelta(days=1)


@dataclass(frozen=True, kw_only=True)
class Located:
    """Where a job is, under which reference its cluster knows it, and the job itself where it had to be read to find out."""

    member: Member
    ref: str
    job: Job | None = None


def plain(ref: str) -> str:
    """The reference of one certain job, without ``job/``.

    Raises:
        InvalidInput: nothing is left, it is ``-``, or it holds characters that no reference has.
    """
    text = ref.strip()
    text = text.removeprefix("job/")
    if text in {"", "-"} or any(character.isspace() or character == "/" or not character.isprintable() for character in text):
        problem = Problem(
            field="JOB", message="names no job", got=repr(ref), allowed="job/NAME, NAME, NAME_7 for a task, or the beginning of an id"
        )
        raise InvalidInput(f"cannot read job reference {ref!r}", [problem], code="bad-reference", hint="gpuctl jobs")
    return text


def locate(members: Members, ref: str | None, *, user: str, sure: bool = False) -> Located:
    """Find the one job that ``ref`` means.

    Args:
        members: where to look.
        ref: as typed; None or ``-`` is ``user``'s latest.
        user: whose latest.
        sure: the caller will change the job, so an answer that an unreachable cluster could change is refused.

    Raises:
        NotFoundError: every cluster was read and none knows it.
        UnavailableError: none that could be read knows it, and not all could be read.
        ConflictError: several jobs fit; their names are in the message.
    """
    if ref is None or ref.strip() == "-":
        return latest(members, user=user, sure=sure)
    text = plain(ref)
    only = members.only
    if only is not None:
        return Located(member=only, ref=text)
    answers = members.ask(lambda cluster: cluster.job(text))
    exact = _exact(answers.given, text)
    if exact is not None:
        return Located(member=exact.member, ref=text, job=exact.value)
    ambiguous = [error for _, error in answers.failed if isinstance(error, ConflictError)]
    if ambiguous:
        raise ambiguous[0]
    away = [(member, error) for member, error in answers.failed if not is_missing(error)]
    if not answers.given:
        raise _not_found(text, answers, away)
    if sure and away:
        names = ", ".join(answer.value.name for answer in answers.given)
        raise UnavailableError(
            f"cannot tell which job {text} is: {_listed(away)} could not be read",
            cause=away[0][1].line,
            hint=f"use the whole name if you mean {names}",
        )
    chosen = _newest_or_unique(answers.given, text)
    return Located(member=chosen.member, ref=chosen.value.id if _is_base(chosen.value, text) else text, job=chosen.value)


def latest(members: Members, *, user: str, sure: bool = False) -> Located:
    """The newest job of ``user``, among those that could be read; with ``sure`` all have to be read.

    The last day is asked for first: whoever says ``-`` mostly means a job of today, and years of finished jobs need not be read.
    """
    incomplete: dict[str, str] = {}
    for since in (clock.now() - RECENT, None):
        query = JobQuery(user=user, since=since)
        rows = members.rows(lambda cluster, query=query: cluster.jobs(query))  # type: ignore[misc]
        incomplete = rows.incomplete
        found = [(job.submitted_at, job.id, answer.member) for answer in rows.given for job in answer.value]
        if found and not (sure and incomplete):
            _, job_id, member = max(found, key=lambda row: row[:2])
            return Located(member=member, ref=job_id)
    if incomplete:
        name, why = next(iter(incomplete.items()))
        raise UnavailableError(f"cannot tell your latest job: cluster {name} could not be read", cause=why, hint="gpuctl clusters")
    raise NotFoundError(f"{user} has no jobs yet", code="no-jobs", hint="gpuctl submit train.py")


def _exact(given: Sequence[Answer[Job]], text: str) -> Answer[Job] | None:
    """The answer whose name or id is the text itself; a task's name ends in ``_INDEX``."""
    for answer in given:
        job = answer.value
        stem, _, index = text.rpartition("_")
        if text in (job.name, job.id) or (index.isdigit() and stem in (job.name, job.id)):
            return answer
    return None


def _is_base(job: Job, text: str) -> bool:
    return job.base_name == text


def _newest_or_unique(given: Sequence[Answer[Job]], text: str) -> Answer[Job]:
    """The newest of those with this base name; else the only one whose id begins so (two contexts may show the same job twice)."""
    stem, _, index = text.rpartition("_")
    based = [answer for answer in given if _is_base(answer.value, text) or (index.isdigit() and _is_base(answer.value, stem))]
    if based:
        return max(based, key=lambda answer: (answer.value.submitted_at, answer.value.id))
    different = {answer.value.id: answer for answer in given}
    if len(different) > 1:
        names = ", ".join(f"{answer.value.name} on {answer.member.name}" for answer in different.values())
        raise ConflictError(f"cannot tell which job {text} is: {names}", code="ambiguous", hint="use the whole name")
    return given[0]


def _not_found(text: str, answers: Answers[Job], away: Sequence[tuple[Member, GpuctlError]]) -> GpuctlError:
    if not away:
        looked = ", ".join(member.name for member, _ in answers.failed)
        hints = [error.hint for _, error in answers.failed if error.hint]
        return NotFoundError(f"there is no job {text} on {looked}", code="job-not-found", hint=hints[0] if hints else "gpuctl jobs")
    unreachable = [(member, error) for member, error in away if isinstance(error, UnavailableError | NotFoundError)]
    if not unreachable:
        return away[0][1]
    return UnavailableError(
        f"cannot tell whether job {text} exists: {_listed(unreachable)} could not be read",
        code="cluster-unreachable",
        cause=unreachable[0][1].line,
        hint="gpuctl clusters",
    )


def _listed(away: Sequence[tuple[Member, GpuctlError]]) -> str:
    return ", ".join(member.name for member, _ in away)
