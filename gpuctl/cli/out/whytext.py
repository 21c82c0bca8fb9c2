"""An explanation as a person reads it: the sentence first, then what it rests on, what to do, and what else is worth knowing."""

import textwrap
from collections.abc import Iterable

from gpuctl.cli import outcome
from gpuctl.cli.out.columns.node import ranges
from gpuctl.cli.result import Context
from gpuctl.model.job import Job
from gpuctl.model.reason import Evidence, Explanation, Reason

_WIDTH = 80


def render(found: Explanation, job: Job, context: Context, *, wrap: bool) -> str:
    """The whole answer. ``wrap``: break long lines at 80 columns (a terminal)."""
    reason = found.reason
    parts = [_block(_head(job, _sentence(reason)), "", wrap=wrap)]
    if found.evidence:
        parts.append(evidence(found.evidence, context, wrap=wrap))
    if reason.advice or reason.command:
        parts.append("\nWhat to do\n")
        parts += [_block(reason.advice, "  ", wrap=wrap)] if reason.advice else []
        parts += [f"  $ {reason.command}\n"] if reason.command else []
    if found.also:
        parts.append("\nAlso\n")
        for note in found.also:
            parts.append(_block(f"{_sentence(note)}{f'; {note.advice}' if note.advice else ''}", "  ", wrap=wrap))
            parts += [f"  $ {note.command}\n"] if note.command and note.command != reason.command else []
    return "".join(parts)


def evidence(facts: Iterable[Evidence], context: Context, *, wrap: bool) -> str:
    """What a reason rests on, below a heading of its own."""
    return "\nEvidence\n" + "".join(_block(_evidence(alike, context), "  ", wrap=wrap) for alike in _alike(_distinct(facts)))


def _head(job: Job, sentence: str) -> str:
    """The job and the sentence, which may begin with the state itself."""
    if job.state.active and sentence.startswith(job.state.value):
        return f"job/{job.name}: {sentence}"
    return f"job/{job.name} {outcome.with_standing(job, sentence)}"


def _distinct(evidence: Iterable[Evidence]) -> Iterable[Evidence]:
    """Each fact once, though it was seen by two who know more or less of where."""
    seen: dict[tuple[object, ...], Evidence] = {}
    for fact in evidence:
        seen.setdefault((fact.code, fact.text, fact.rank, fact.task, fact.attempt), fact)
    return seen.values()


def _sentence(reason: Reason) -> str:
    return reason.sentence or reason.code


def _alike(evidence: Iterable[Evidence]) -> Iterable[list[Evidence]]:
    """Facts that differ only in the rank (whose number the text may name), together: sixty-four ranks often have one story."""
    groups: dict[tuple[object, ...], list[Evidence]] = {}
    for fact in evidence:
        text = fact.text if fact.rank is None else fact.text.replace(f"rank {fact.rank} ", "rank ")
        groups.setdefault((fact.code, text, fact.task, fact.attempt, fact.source, fact.rank is None), []).append(fact)
    return groups.values()


def _evidence(facts: list[Evidence], context: Context) -> str:
    fact = facts[0]
    at = f"{context.local(fact.at):%H:%M:%S} " if fact.at is not None else ""
    ranks = sorted({one.rank for one in facts if one.rank is not None})
    about = [f"rank{'s' if len(ranks) > 1 else ''} {ranges(ranks)}"] if ranks else []
    about += [f"of task {fact.task}" if ranks else f"task {fact.task}"] if fact.task is not None else []
    about += [f"on {fact.node}"] if fact.node is not None else []
    about += [f"attempt {fact.attempt}"] if fact.attempt is not None else []
    source = f" ({fact.source})" if fact.source else ""
    text = " | ".join(line.strip() for line in fact.text.splitlines() if line.strip())
    if len(ranks) > 1:
        text = text.replace(f"rank {fact.rank} ", "each ")
    return f"{at}{' '.join([fact.code, *about])}{source}{f': {text}' if text else ''}"


def _block(text: str, indent: str, *, wrap: bool) -> str:
    if not wrap:
        return f"{indent}{text}\n"
    lines = textwrap.wrap(
        text,
        _WIDTH,
        initial_indent=indent,
        subsequent_indent=indent + ("    " if indent else ""),
        break_long_words=False,
        break_on_hyphens=False,
    )
    return "".join(f"{line}\n" for line in lines)
