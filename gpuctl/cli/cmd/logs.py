"""``gpuctl logs``."""

from typing import Annotated

import typer

from gpuctl.base.errors import InvalidInput, Problem, nearest
from gpuctl.base.exitcodes import ExitCode
from gpuctl.cli import asking, outcome, starting
from gpuctl.cli import follow as follow_room
from gpuctl.cli.interrupt import Interrupt
from gpuctl.cli.result import Done, Result
from gpuctl.cli.session import Session
from gpuctl.cli.verb import Verb
from gpuctl.model.ask import LogQuery
from gpuctl.model.job import Job, State

Follow = Annotated[bool, typer.Option("-f", "--follow", help="Go on until the job has ended; wait if it has not started.")]
Rank = Annotated[str | None, typer.Option("--rank", metavar="R,...", help="Only these ranks: 0,3-5.")]
NodeIndex = Annotated[
    int | None, typer.Option("--node", metavar="N", min=0, help="Only the N-th node, from 0; also what Ray itself says on it.")
]
Task = Annotated[int | None, typer.Option("--task", metavar="I", min=0, help="Only this task of an array.")]
Attempt = Annotated[int | None, typer.Option("--attempt", metavar="N", min=1, help="Of this attempt; the last one without it.")]
Failed = Annotated[bool, typer.Option("--failed", help="Only the ranks that failed.")]
FirstError = Annotated[bool, typer.Option("--first-error", help="The rank that failed first: its error, then its log.")]
Since = Annotated[str | None, typer.Option("--since", metavar="WHEN", help="Lines since then: 10m, or 2026-03-01T12:00:00Z.")]
Tail = Annotated[int | None, typer.Option("--tail", metavar="N", min=0, help="Only the last N lines.")]
Fold = Annotated[bool, typer.Option("--fold/--no-fold", help="Put a line that many ranks wrote once, with [x32].", show_default=False)]
Prefix = Annotated[
    bool | None, typer.Option("--prefix/--no-prefix", help="[rank] before each line; by default with several ranks.", show_default=False)
]
Timestamps = Annotated[bool, typer.Option("--timestamps", help="The instant before each line.")]
Output = Annotated[str | None, typer.Option("-o", "--output", metavar="FORMAT", help="json: one object a line.")]

_FORMATS = ("text", "json")


def run(
    session: Session,
    job: asking.OptionalJob = None,
    follow: Follow = False,
    rank: Rank = None,
    node: NodeIndex = None,
    task: Task = None,
    attempt: Attempt = None,
    failed: Failed = False,
    first_error: FirstError = False,
    since: Since = None,
    tail: Tail = None,
    fold: Fold = True,
    prefix: Prefix = None,
    timestamps: Timestamps = False,
    output: Output = None,
) -> Result:
    """Print what a job's ranks wrote, merged by time.

    The exit code says whether the log could be read, not how the job ended:
    0 also for a job that failed (then stderr says so), 3 for no such job, or when
    its cluster has forgotten it and its log with it, 7 when the cluster cannot be
    reached. gpuctl wait --exit-status gives the job's code.
    """
    query = LogQuery(
        ranks=asking.ranks(rank),
        node=node,
        task=task,
        attempt=attempt,
        since=asking.since(since, session=session),
        tail=tail,
        follow=follow,
        failed=failed,
        first_error=first_error,
        fold=fold,
        prefix=prefix,
        timestamps=timestamps,
        as_json=_is_json(output),
    )
    found = session.pool.job(job)
    with Interrupt(session, sentence=follow_room.goes_on(found.name) if follow and not found.final else None) as stop:
        if follow:
            found = starting.until_started(session, found, stop=stop)
        wrote = not stop.is_set() and _stream(session, found, query, stop)
        if stop.is_set():
            return Done(code=ExitCode.INTERRUPTED)
    if follow:
        _say_end(session, session.pool.job(found.name))
    elif not wrote:
        session.say(_nothing(found, query))
    return Done()


def _stream(session: Session, job: Job, query: LogQuery, stop: Interrupt) -> bool:
    """Write the log to stdout as it comes; whether there was any."""
    out = session.binary_out
    wrote = False
    for block in session.pool.logs(job.name, query, stop=stop):
        if block:
            out.write(block)
            out.flush()
            wrote = True
    return wrote


def _say_end(session: Session, job: Job) -> None:
    """How the job stands now that its log has ended: read again, because the end of a stream says nothing about a job."""
    if job.state is State.SUCCEEDED:
        session.detail(outcome.sentence(job))
        return
    session.say(outcome.sentence(job))
    if job.state in {State.FAILED, State.CUT, State.LOST}:
        session.say(f"hint: gpuctl why {job.name}")


def _nothing(job: Job, query: LogQuery) -> str:
    if job.state is State.QUEUED:
        return f"{starting.waiting_sentence(job)}; nothing was written yet"
    narrowed = query != LogQuery(follow=query.follow, as_json=query.as_json)
    if narrowed:
        return f"job/{job.name} wrote no such lines"
    return f"job/{job.name} left no log" if job.final else f"job/{job.name} wrote nothing yet"


def _is_json(output: str | None) -> bool:
    if output in (None, *_FORMATS):
        return output == "json"
    raise InvalidInput(
        f"logs have no output format {output}",
        [
            Problem(
                field="--output",
                message="is no format of logs",
                got=repr(output),
                allowed=", ".join(_FORMATS),
                nearest=nearest(output or "", _FORMATS),
            )
        ],
    )


VERB = Verb(
    run=run,
    examples=(
        "gpuctl logs -f                     follow my latest job",
        "gpuctl logs llama --first-error    the traceback that began it",
        "gpuctl logs llama --rank 0,8-15 --tail 100",
    ),
)
