"""From a built job to an accepted one: what submit, run, shell and rerun do alike."""

import dataclasses
from collections.abc import Mapping

from gpuctl.base import duration, names
from gpuctl.base.errors import InvalidInput, Problem, UsageError
from gpuctl.cli import remembered
from gpuctl.cli.session import Session
from gpuctl.cli.spec import build as building
from gpuctl.cli.spec.build import Built
from gpuctl.cli.spec.flag import Place
from gpuctl.cli.spec.parser import Given
from gpuctl.model.ask import Submission, Submitted
from gpuctl.model.job import State


def place(session: Session) -> Place:
    """Where the values of this invocation are looked up. Standard input is read once, when it is asked for."""
    read: list[str] = []

    def stdin() -> str:
        if not read:
            if session.stdin_tty:
                session.say("reading from the terminal; Ctrl-D ends it")
            read.append(session.stdin.read())
        return read[0]

    return Place(env=session.env, cwd=session.cwd, stdin=stdin)


def checked(given: Given) -> Given:
    """``given`` with the problems of the flags about submitting itself, so that they are told with all others."""
    problems = list(given.problems)
    request_id = given.text("--request-id")
    if request_id is not None and not names.is_request_id(request_id):
        allowed = "1 to 128 printable ASCII characters without spaces"
        problems.append(Problem(field="--request-id", message="cannot be one", got=repr(request_id), allowed=allowed))
    timeout = given.text("--timeout")
    if timeout is not None:
        try:
            duration.parse(timeout)
        except ValueError as error:
            problems.append(Problem(field="--timeout", message=str(error), got=repr(timeout), allowed=duration.ALLOWED))
    return dataclasses.replace(given, problems=tuple(problems))


def timeout_of(given: Given) -> float | None:
    """Seconds of ``--timeout``, None without one."""
    text = given.text("--timeout")
    return float(duration.parse(text)) if text is not None else None


def only_one(given: Given, *flags: str) -> str | None:
    """Which one of the flags was used.

    Raises:
        UsageError: more than one.
    """
    used = [flag for flag in flags if given.has(flag)]
    if len(used) > 1:
        raise UsageError(f"{' and '.join(used)} exclude each other", code="flags-exclude", hint=f"leave out all but one: {used[0]}")
    return used[0] if used else None


def prepare(session: Session, given: Given, built: Built, *, rerun_of: str | None = None) -> Submission:
    """What the pool is handed: the job with the environment, the code and the interpreter of this machine.

    The interpreter is named on stderr: the wrong one is the most frequent reason for a job that works here and not there.

    Raises:
        InvalidInput: a value that shows to be wrong only here, under the name it was written by.
        GpuctlError: there is no interpreter, or it lacks what the kind needs.
    """
    from gpuctl import wiring
    from gpuctl.pool import submission

    document = built.document
    here = wiring.runs_here(session.profile, session.settings, cluster=document.spec.cluster)

    def find(python: str | None, workdir: str, env: Mapping[str, str]) -> str:
        path, why = wiring.explain_interpreter(python, workdir, env)
        wiring.require_module(path, document.spec.kind, env=session.env)
        session.say(f"python: {path} (from {why})")
        return path

    try:
        return submission.prepare(
            document.spec,
            cwd=session.cwd,
            env=session.env,
            find_interpreter=find if here else None,
            name=document.metadata.name or built.base_name,
            labels=document.metadata.labels,
            secrets=built.secrets,
            request_id=given.text("--request-id"),
            best_effort=given.has("--best-effort"),
            rerun_of=rerun_of,
        )
    except InvalidInput as error:
        raise renamed(error, built) from None


def renamed(error: InvalidInput, built: Built) -> InvalidInput:
    """The same error, its fields under the names they were written by."""
    problems = [building.named(problem, built.layers) for problem in error.problems]
    return InvalidInput(error.message, problems, code=error.code, cause=error.cause, hint=error.hint)


def submit(session: Session, submission: Submission, built: Built, *, staying: bool = False, wait_for_capacity: bool = False) -> Submitted:
    """Hand the job over and say on stderr what became of it.

    Args:
        session: streams and pool.
        submission: the job.
        built: what it was made of, to name wrong values.
        staying: the caller stays with the job, and tells why it waits itself.
        wait_for_capacity: try again for as long as it fits nowhere now and nothing could keep it waiting.

    Raises:
        KeyboardInterrupt: Ctrl-C between two tries; nothing was left anywhere.
    """
    try:
        if wait_for_capacity:
            from gpuctl.cli import capacity

            submitted = capacity.submit(session, submission)
        else:
            submitted = session.pool.submit(submission)
    except InvalidInput as error:
        raise renamed(error, built) from None
    if submitted.sentence and not (staying and submitted.job.state is State.QUEUED):
        session.say(submitted.sentence)
    for note in submitted.notes:
        session.say(f"note: {note}")
    remembered.add(session, "jobs", submitted.job.name)
    return submitted


def tell(session: Session, built: Built) -> None:
    """The notes that came up while the job was built."""
    for note in built.notes:
        session.say(note)
