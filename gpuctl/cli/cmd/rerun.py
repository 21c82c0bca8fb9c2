"""``gpuctl rerun``."""

import dataclasses
from collections.abc import Iterator

import msgspec

from gpuctl.base.errors import ConflictError, NotFoundError, Problem
from gpuctl.cli import submitting
from gpuctl.cli.cmd import submit
from gpuctl.cli.result import Result
from gpuctl.cli.session import Session
from gpuctl.cli.spec import table
from gpuctl.cli.spec.build import build
from gpuctl.cli.spec.flag import Flag
from gpuctl.cli.spec.given import Program
from gpuctl.cli.spec.layers import Setting, flatten
from gpuctl.cli.spec.parser import Given, MixedFlagCommand, takes
from gpuctl.cli.verb import Verb
from gpuctl.model.job import Job, State

_OWN = (
    Flag(name="--same-code", heading=table.ACT, about="With the code of then, which --snapshot kept."),
    Flag(name="--failed", heading=table.ACT, about="Of an array: only the tasks that did not succeed."),
)
_CHANGES = tuple(flag for flag in table.FROM_FILE if flag.name == "--set")
FLAGS = (*table.DESCRIBING, *_CHANGES, *_OWN, *table.REQUEST, *table.LOOKING, *table.STAYING, *table.TIMEOUT)


@takes(FLAGS, words="[JOB] [-- ARGS...]")
def run(session: Session, given: Given) -> Result:
    """Submit a job again: as it was, but for the flags given here.

    It runs in the directory of then, with the code, environment and secrets of
    now. ARGS take the place of the script's arguments (of a job without a script:
    of its command). JOB without a word, or -, is my latest.
    """
    given = submitting.checked(given)
    refs, args = _words(given.rest)
    if len(refs) > 1:
        problem = Problem(field=refs[1], message="is one job too many", allowed=f"arguments go behind --: rerun {refs[0]} -- {refs[1]}")
        given = dataclasses.replace(given, problems=(*given.problems, problem))
    job = session.pool.job(refs[0] if refs else None)
    built = build(given, submitting.place(session), program=_program(job, args), base=_settings(job, given), verb="rerun")
    return submit.submit(session, given, built=built, rerun_of=job.id)


def _words(rest: tuple[str, ...]) -> tuple[tuple[str, ...], tuple[str, ...] | None]:
    """The words in front of ``--`` and those behind it; None when there is none."""
    if "--" not in rest:
        return rest, None
    cut = rest.index("--")
    return rest[:cut], rest[cut + 1 :]


def _program(job: Job, args: tuple[str, ...] | None) -> Program:
    """What runs, where it is not what ran: a whole command from ``ARGS``. A script's arguments are a setting like any other."""
    if args is None or job.spec.script is not None or job.spec.stdin_script is not None:
        return Program()
    return Program(command=args)


def _settings(job: Job, given: Given) -> Iterator[Setting]:
    """The job as settings: everything below them can change, flags are stronger."""
    origin = f"job/{job.name}"
    spec = msgspec.to_builtins(job.spec)
    if job.spec.git is None:
        spec["workdir"] = _workdir(job, same_code=given.has("--same-code")) if not given.has("--git") else None
    elif given.has("--same-code"):
        spec["git"]["ref"] = _commit(job)
    args = _words(given.rest)[1]
    if args is not None and "command" not in spec:
        spec["args"] = list(args) or None
    if given.has("--failed"):
        spec["array"] = _failed(job)
    document = {"metadata": {"name": job.base_name, "labels": dict(job.labels)}, "spec": spec}
    for path, value in flatten(document):
        yield Setting(path=path, value=value, origin=origin, own_name=False)


def _workdir(job: Job, *, same_code: bool) -> str | None:
    if not same_code:
        return job.code.workdir if job.code is not None else job.spec.workdir
    kept = job.code.snapshot if job.code is not None else None
    if kept is None:
        raise NotFoundError(
            f"cannot run job/{job.name} with its code of then: nobody kept it",
            code="no-snapshot",
            cause=f"it ran in place, at commit {job.code.commit[:12]}" if job.code is not None and job.code.commit else "it ran in place",
            hint="gpuctl submit --snapshot ...    keeps it from the next time on",
        )
    return kept


def _commit(job: Job) -> str:
    """The commit that a job with ``--git`` ran."""
    if job.code is None or job.code.commit is None:
        raise NotFoundError(
            f"cannot run job/{job.name} with its code of then: which commit it ran is not known",
            code="no-snapshot",
            hint=f"gpuctl rerun {job.name}    takes what its branch or tag is now",
        )
    return job.code.commit


def _failed(job: Job) -> dict[str, object]:
    """The array of those tasks that ended without success.

    Raises:
        ConflictError: it is no array, it still runs, or no task failed.
    """
    array, cannot = job.spec.array, f"cannot rerun the failed tasks of job/{job.name}"
    if array is None:
        raise ConflictError(f"{cannot}: it is no array", code="no-array", hint=f"gpuctl rerun {job.name}")
    if not job.final:
        raise ConflictError(f"{cannot}: it is {job.state.value}", code="not-ended", hint=f"gpuctl wait {job.name}")
    succeeded = {attempt.task for attempt in job.attempts if attempt.state is State.SUCCEEDED}
    failed = [index for index in array.indices if index not in succeeded]
    if not failed:
        raise ConflictError(f"{cannot}: all of them succeeded", code="none-failed")
    args = dict(zip(array.indices, array.args, strict=False))
    chosen: dict[str, object] = {"first": failed[0], "last": failed[-1], "parallel": array.parallel}
    if len(failed) != failed[-1] - failed[0] + 1:
        chosen["only"] = failed
    if args:
        chosen["args"] = [list(args[index]) for index in failed]
    return chosen


VERB = Verb(
    run=run,
    parser=MixedFlagCommand,
    pass_through=True,
    examples=(
        "gpuctl rerun                            my latest, once more",
        "gpuctl rerun llama --time 12h           with more time",
        "gpuctl rerun llama -- --lr 1e-4         with other arguments",
        "gpuctl rerun sweep --failed             what failed of an array",
    ),
)
