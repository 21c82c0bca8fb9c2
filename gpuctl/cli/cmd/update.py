"""``gpuctl update``."""

from typing import Annotated

import typer

from gpuctl.base.errors import UsageError
from gpuctl.cli import asking, values
from gpuctl.cli.acted import Acted
from gpuctl.cli.result import Result
from gpuctl.cli.session import Session
from gpuctl.cli.verb import Verb
from gpuctl.model.ask import JobChange

TIERS = ("reserved", "on-demand", "any")

Job = Annotated[str, typer.Argument(metavar="JOB", help="The job; there is no default.")]
Time = Annotated[str | None, typer.Option("--time", metavar="TIME", help="New time limit, counted from its start: 6h, 1d12h.")]
Priority = Annotated[int | None, typer.Option("--priority", metavar="N", help="New priority; higher starts first.")]
Tier = Annotated[str | None, typer.Option("--tier", metavar="TIER", help="reserved, on-demand or any, before it starts.")]
Hold = Annotated[bool, typer.Option("--hold", help="Do not start it.")]
Release = Annotated[bool, typer.Option("--release", help="Let a held job start.")]


def run(
    session: Session,
    job: Job,
    time: Time = None,
    priority: Priority = None,
    tier: Tier = None,
    hold: Hold = False,
    release: Release = False,
) -> Result:
    """Change a job that has not ended; what is not named stays as it is."""
    asking.only_one(hold=hold, release=release)
    if time is not None:
        values.duration(time, field="--time")
    if tier is not None:
        asking.one_of(tier, TIERS, field="--tier")
    change = JobChange(time=time, priority=priority, tier=tier, hold=True if hold else False if release else None)
    if change == JobChange():
        raise UsageError(
            f"nothing to change of {job}",
            code="nothing-to-change",
            hint=f"gpuctl update {job} --time 6h    or: --priority, --tier, --hold, --release",
        )
    acted = Acted(session)
    changed = session.pool.update(job, change)
    already = f"job/{changed.job.name} was so before" if changed.already else ""
    acted.add(changed.job, changed.sentence or already)
    return acted.result()


VERB = Verb(run=run, examples=("gpuctl update llama-k3f9 --time 12h", "gpuctl update llama-k3f9 --hold"))
