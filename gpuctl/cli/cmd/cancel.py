"""``gpuctl cancel``."""

from typing import Annotated

import typer

from gpuctl.base.errors import GpuctlError, UsageError
from gpuctl.base.exitcodes import ExitCode
from gpuctl.cli import asking, values
from gpuctl.cli.acted import Acted
from gpuctl.cli.result import Done, Result
from gpuctl.cli.session import Session
from gpuctl.cli.show import failure, prompt
from gpuctl.cli.verb import Verb
from gpuctl.model.ask import JobQuery
from gpuctl.model.job import Job, State

Jobs = Annotated[list[str] | None, typer.Argument(metavar="[JOB]...", help="Jobs to end; there is no default.")]
Yes = Annotated[bool, typer.Option("-y", "--yes", help="Do not ask.")]
Grace = Annotated[str | None, typer.Option("--grace", metavar="TIME", help="Time between SIGTERM and SIGKILL, instead of the job's own.")]
_UNFINISHED = frozenset(state for state in State if not state.final)


def run(
    session: Session,
    jobs: Jobs = None,
    name: asking.Name = None,
    state: asking.States = None,
    user: asking.User = None,
    label: asking.Labels = None,
    yes: Yes = False,
    grace: Grace = None,
) -> Result:
    """End jobs; prints job/NAME for each.

    It returns before their processes are gone; gpuctl wait JOB waits for that.
    Jobs are named, or matched by --name, --state, --label and -u. What a pattern
    matches, and somebody else's job, is shown and asked about unless -y is given.
    A job that has ended stays as it is (exit code 0). When some of several could
    not be ended the exit code is 1.
    """
    seconds = values.duration(grace, field="--grace") if grace is not None else None
    acted = Acted(session)
    by_pattern = any(wish is not None for wish in (name, state, user, label))
    if by_pattern == bool(jobs):
        raise UsageError(
            "cancel takes jobs or a pattern, not both" if jobs else "cancel needs a job, or a pattern",
            code="no-default" if not jobs else "usage",
            hint="gpuctl cancel JOB    or: gpuctl cancel --name 'llama*' --state queued",
        )
    if jobs:
        return _named(session, jobs, acted, yes=yes, grace=seconds)
    query = JobQuery(
        user=asking.user(user, session=session),
        states=asking.states(state) or _UNFINISHED,
        name=name,
        labels=asking.labels(label),
    )
    listing = session.pool.jobs(query)
    for cluster, reason in listing.incomplete.items():
        session.say(f"note: {cluster} could not be read, its jobs are left alone: {reason}")
    found = [job for job in listing.items if not job.final and not job.unknown]
    if not found:
        session.say("no unfinished job matches" + (" where it could be read" if listing.incomplete else ""))
        return acted.result()
    question = f"Cancel {len(found)} {'job' if len(found) == 1 else 'jobs'}?"
    if not prompt.agree(session, question, things=[_described(job) for job in found], yes=yes):
        return _left_alone(session)
    return _cancel(session, [job.name for job in found], acted, grace=seconds)


def _named(session: Session, refs: list[str], acted: Acted, *, yes: bool, grace: int | None) -> Result:
    latest = [ref for ref in refs if ref.strip() == "-"]
    if latest:
        raise UsageError(
            "cancel has no default: - does not name a job here", code="no-default", hint="gpuctl jobs    then: gpuctl cancel NAME"
        )
    if not yes:
        me = session.pool.me()
        others = [job for job in _readable(session, refs) if job.user != me and not job.final]
        if others and not prompt.agree(session, "Cancel what somebody else runs?", things=[_described(job) for job in others], yes=False):
            return _left_alone(session)
    return _cancel(session, refs, acted, grace=grace)


def _readable(session: Session, refs: list[str]) -> list[Job]:
    """Those of the jobs that can be read; what is wrong with the others is told when they are cancelled."""
    found = []
    for ref in refs:
        try:
            found.append(session.pool.job(ref))
        except GpuctlError:
            continue
    return found


def _cancel(session: Session, refs: list[str], acted: Acted, *, grace: int | None) -> Result:
    """Cancel one after another. The only one's error is raised; of several each is told, and the others still cancelled."""
    failures: list[GpuctlError] = []
    for ref in refs:
        try:
            changed = session.pool.cancel(ref, grace_seconds=grace)
        except GpuctlError as error:
            if len(refs) == 1:
                raise
            failure.tell(error, session)
            failures.append(error)
            continue
        already = f"job/{changed.job.name} has already {_ended(changed.job)}" if changed.already and changed.job.final else ""
        acted.add(changed.job, already or changed.sentence)
    return acted.result(code=ExitCode.FAILED if failures else ExitCode.OK)


def _ended(job: Job) -> str:
    return f"been {job.state.value}" if job.state in {State.CANCELLED, State.CUT, State.LOST} else job.state.value


def _described(job: Job) -> str:
    return f"job/{job.name} {job.state.value} {job.user}"


def _left_alone(session: Session) -> Result:
    session.say("nothing was cancelled")
    return Done(code=ExitCode.FAILED)


VERB = Verb(
    run=run,
    examples=(
        "gpuctl cancel llama-k3f9",
        "gpuctl cancel --name 'sweep*' --state queued -y",
        "gpuctl cancel --state unfinished -y    all of mine",
        "gpuctl cancel sweep-x2k9_17    one task of an array",
    ),
)
