"""``gpuctl why``."""

import msgspec

from gpuctl.cli import asking
from gpuctl.cli.out import whytext
from gpuctl.cli.out.columns import cells
from gpuctl.cli.result import Column, One, Result
from gpuctl.cli.session import Session
from gpuctl.cli.verb import Verb
from gpuctl.model.job import State
from gpuctl.model.reason import Evidence, Reason


class Why(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """An explanation together with the job it is about."""

    job: str
    state: State
    reason: Reason
    evidence: tuple[Evidence, ...] = ()
    also: tuple[Reason, ...] = ()


def run(session: Session, job: asking.OptionalJob = None) -> Result:
    """Explain why a job waits, failed or ended: one sentence, the evidence, advice.

    The exit code is 0 whatever the answer is.
    """
    found = session.pool.job(job)
    explained = session.pool.explain(found.name)
    item = Why(job=found.name, state=found.state, reason=explained.reason, evidence=explained.evidence, also=explained.also)
    return One(
        kind="Explanation",
        item=item,
        text=lambda context: whytext.render(explained, found, context, wrap=session.out_tty),
        name=lambda why: f"job/{why.job}",
        columns=COLUMNS,
    )


COLUMNS = (
    Column(name="JOB", cell=lambda why, _: why.job),
    Column(name="STATE", cell=lambda why, _: why.state.value),
    Column(name="REASON", cell=lambda why, _: why.reason.code),
    Column(name="SENTENCE", cell=lambda why, _: cells.present(why.reason.sentence), shrink=True),
    Column(name="COMMAND", cell=lambda why, _: cells.present(why.reason.command), wide=True),
)

VERB = Verb(run=run, examples=("gpuctl why", "gpuctl why llama-k3f9 -o jsonpath=.reason.code"))
