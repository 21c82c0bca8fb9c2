"""What notebooks show: plain HTML tables without style or script, with everything escaped: reasons hold other people's text."""

from collections.abc import Iterable, Mapping, Sequence
from html import escape

from gpuctl.base import clock, duration
from gpuctl.model.job import Job

COLUMNS = ("name", "state", "gpus", "where", "elapsed", "reason")


def one(job: Job) -> str:
    """One job, a row per fact."""
    facts = [*zip(COLUMNS, _cells(job), strict=True), ("submitted", clock.rfc3339(job.submitted_at)), ("id", job.id)]
    if job.exit is not None:
        facts.append(("exit", f"signal {job.exit.signal}" if job.exit.signal is not None else str(job.exit.code)))
    if job.reason is not None and job.reason.sentence:
        facts.append(("why", job.reason.sentence))
    rows = "".join(f"<tr><th>{escape(name)}</th><td>{escape(text)}</td></tr>" for name, text in facts if text)
    return f"<table>{rows}</table>"


def many(jobs: Sequence[Job], incomplete: Mapping[str, str]) -> str:
    """Jobs, a row each, and a line for every cluster that is missing."""
    missing = "".join(f"<p>not read: {escape(name)}: {escape(why)}</p>" for name, why in incomplete.items())
    if not jobs:
        return f"<p>no jobs</p>{missing}"
    head = _row("th", COLUMNS)
    return f"<table><thead>{head}</thead><tbody>{''.join(_row('td', _cells(job)) for job in jobs)}</tbody></table>{missing}"


def _row(tag: str, cells: Iterable[str]) -> str:
    return f"<tr>{''.join(f'<{tag}>{escape(cell)}</{tag}>' for cell in cells)}</tr>"


def _cells(job: Job) -> tuple[str, ...]:
    elapsed = duration.short(clock.elapsed(job.started_at, job.ended_at or clock.now())) if job.started_at else ""
    return (
        job.name,
        "?" if "state" in job.unknown else job.state.value,
        str(job.spec.total_gpus),
        job.where or "",
        elapsed,
        job.reason.code if job.reason is not None else "",
    )
