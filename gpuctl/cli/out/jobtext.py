"""One job as a person reads it: what it is, where it stands, its attempts and its timeline, laid out for 80 columns."""

import textwrap
from collections.abc import Iterator, Sequence
from datetime import datetime

from gpuctl.base import clock, duration
from gpuctl.cli.out import table
from gpuctl.cli.out.columns import cells
from gpuctl.cli.out.columns import job as columns
from gpuctl.cli.out.columns.node import ranges
from gpuctl.cli.result import Column, Context
from gpuctl.model.job import Attempt, Job, Pod, State
from gpuctl.model.spec import JobSpec

_LABEL = 13
_WIDTH = 80
_MOST = 40
"""Rows of attempts and of the timeline that a page shows."""


def render(job: Job, context: Context, *, wrap: bool, why: str | None = None) -> str:
    """The whole page. ``wrap``: break long sentences at 80 columns (a terminal); piped, each fact stays one line."""
    facts = [("why", why), *_facts(job, context)] if why else list(_facts(job, context))
    parts = [_head(job, context), *(fact(label, value, wrap=wrap) for label, value in facts)]
    if job.attempts:
        items = sorted(job.attempts, key=lambda attempt: (-1 if attempt.task is None else attempt.task, attempt.number))
        shown = [column for column in _ATTEMPTS if column.name != "TASK" or any(item.task is not None for item in items)]
        parts += ["\nAttempts\n", _indented(table.render(items[:_MOST], shown, context, width=None, headers=True)), _more(items)]
    if job.timeline:
        latest = job.timeline[-_MOST:]
        parts += ["\nTimeline\n", _more(job.timeline, where="before")]
        parts += [_event(event.at, event.what, event.text, context, wrap=wrap) for event in latest]
    return "".join(parts)


def _more(things: Sequence[object], *, where: str = "more") -> str:
    """What an array of thousands leaves out."""
    return f"  ... {len(things) - _MOST} {where}; -o json shows all\n" if len(things) > _MOST else ""


def when(at: datetime, context: Context) -> str:
    """``2026-03-01 12:00:00 (2h05m ago)``; an instant ahead is ``(in 2h05m)``."""
    distance = (context.now - at).total_seconds()
    ago = f"in {duration.short(-distance)}" if distance < 0 else f"{duration.short(distance)} ago"
    return f"{context.local(at):%Y-%m-%d %H:%M:%S} ({ago})"


def _head(job: Job, context: Context) -> str:
    state = columns.state_text(job)
    if context.color:
        state = table.styled(state, columns.STATE.style(job) if columns.STATE.style else None)
    return f"job/{job.name}  {state}\n\n"


def _facts(job: Job, context: Context) -> Iterator[tuple[str, str]]:
    spec = job.spec
    yield "runs", f"{spec.kind} {columns.shape(spec)}: {columns.program(spec)}"
    if job.tasks is not None:
        yield "tasks", _tasks(job)
    if job.where is not None:
        yield "where", job.where
    others = _not_chosen(job)
    if others:
        yield "not on", others
    yield "submitted", f"{when(job.submitted_at, context)} by {job.user}{'' if job.verified else ' (unverified)'}"
    yield from _times(job, context)
    if job.exit is not None:
        yield "exit", columns.exit_text(job.exit)
    yield from _asked(spec)
    yield from _code(job)
    if job.labels:
        yield "labels", ", ".join(f"{key}={value}" for key, value in sorted(job.labels.items()))
    yield "id", job.id


def _not_chosen(job: Job) -> str:
    """Why it did not go elsewhere, as it was decided at submit."""
    others = [option for option in job.placement[1:] if option.reason is not None]
    parts = [f"{option.cluster}{', ' + option.tier if option.tier else ''}: {option.reason.sentence}" for option in others if option.reason]
    return "; ".join(parts)


def _times(job: Job, context: Context) -> Iterator[tuple[str, str]]:
    if job.state is State.QUEUED:
        yield "starts", when(job.expected_start, context) if job.expected_start is not None else cells.UNKNOWN
    if job.started_at is not None:
        yield "started", when(job.started_at, context)
    if job.ended_at is not None:
        yield "ended", when(job.ended_at, context)
    ran = columns.elapsed(job, context)
    limit = f" of {job.spec.time}" if job.spec.time is not None else ""
    if ran is not None:
        yield "ran", f"{duration.short(ran)}{limit}"
    elif limit:
        yield "limit", job.spec.time or ""
    if job.ends_by is not None and job.state.active:
        yield "ends by", when(job.ends_by, context)


def _tasks(job: Job) -> str:
    assert job.tasks is not None
    counts = job.tasks
    words = ("queued", "running", "succeeded", "failed", "cancelled", "cut", "lost")
    some = [f"{getattr(counts, word)} {word}" for word in words if getattr(counts, word)]
    return f"{counts.total}: {', '.join(some)}"


def _asked(spec: JobSpec) -> Iterator[tuple[str, str]]:
    """What was asked for beyond the shape."""
    if spec.after:
        yield "after", ", ".join(f"{after.mode}:{after.job}" for after in spec.after)
    if spec.hold:
        yield "held", "until gpuctl update --release"
    if spec.priority:
        yield "priority", str(spec.priority)
    if spec.retries:
        yield "retries", str(spec.retries)
    wishes = [("gpu type", spec.gpu_type), ("cpus", spec.cpus), ("memory", spec.memory), ("image", spec.image)]
    yield from ((label, value) for label, value in wishes if value)
    if spec.devices:
        yield "devices", ranges(list(spec.devices))
    if spec.volumes:
        yield "volumes", ", ".join(f"{mount.name}:{mount.path or ''}{':ro' if mount.read_only else ''}" for mount in spec.volumes)
    if spec.env:
        yield "env", ", ".join(sorted(spec.env))
    if spec.secrets:
        yield "secrets", ", ".join(sorted(spec.secrets))


def _code(job: Job) -> Iterator[tuple[str, str]]:
    if job.spec.git is not None:
        yield "code", f"{job.spec.git.url} at {job.spec.git.ref}{f', {job.spec.workdir}' if job.spec.workdir else ''}"
    if job.code is not None:
        directory = job.code.snapshot or job.code.workdir
        if directory:
            yield "directory", directory
        if job.code.commit is not None:
            branch = f" on {job.code.branch}" if job.code.branch else ""
            yield "commit", f"{job.code.commit[:10]}{branch}{', with changes' if job.code.dirty else ''}"
    if job.interpreter is not None:
        yield "python", job.interpreter
    if job.ran_same_as is not None:
        yield "rerun of", job.ran_same_as


def fact(label: str, value: str, *, wrap: bool) -> str:
    """A label and its value; a long one goes on below itself with ``wrap``."""
    if not wrap:
        return f"  {label:<{_LABEL - 2}}{value}\n"
    lines = textwrap.wrap(value, _WIDTH - _LABEL, break_long_words=False, break_on_hyphens=False) or [""]
    return "".join(f"{'  ' + label if number == 0 else '':<{_LABEL}}{line}\n" for number, line in enumerate(lines))


def _event(at: datetime, what: str, text: str, context: Context, *, wrap: bool) -> str:
    head = f"  {context.local(at):%Y-%m-%d %H:%M:%S}  {what:<11}"
    if not wrap:
        return f"{head}  {text}".rstrip() + "\n"
    lines = textwrap.wrap(text, _WIDTH - len(head) - 2, break_long_words=False, break_on_hyphens=False) or [""]
    return "".join(f"{head if number == 0 else ' ' * len(head)}  {line}".rstrip() + "\n" for number, line in enumerate(lines))


def _indented(text: str) -> str:
    return textwrap.indent(text, "  ")


def _ran(attempt: Attempt, context: Context) -> str:
    if attempt.started_at is None or (attempt.state.final and attempt.ended_at is None):
        return cells.UNKNOWN if attempt.started_at is not None else cells.ABSENT
    return cells.seconds(clock.elapsed(attempt.started_at, attempt.ended_at or context.now))


def _place(pods: tuple[Pod, ...]) -> str:
    return " ".join(f"{pod.node}:{ranges(list(pod.devices))}" if pod.devices else pod.node or cells.UNKNOWN for pod in pods) or cells.ABSENT


_ATTEMPTS = (
    Column(name="#", cell=lambda attempt, _: str(attempt.number), right=True),
    Column(name="TASK", cell=lambda attempt, _: cells.present(attempt.task), right=True),
    Column(name="STATE", cell=lambda attempt, _: attempt.state.value, style=lambda attempt: columns.state_style(attempt.state)),
    Column(name="STARTED", cell=lambda attempt, context: cells.instant(attempt.started_at, context)),
    Column(name="RAN", cell=_ran, right=True),
    Column(name="EXIT", cell=lambda attempt, _: columns.exit_text(attempt.exit)),
    Column(name="CLUSTER", cell=lambda attempt, _: attempt.cluster),
    Column(name="WHERE", cell=lambda attempt, _: _place(attempt.pods)),
    Column(name="REASON", cell=lambda attempt, _: attempt.reason.code if attempt.reason else cells.ABSENT),
)
