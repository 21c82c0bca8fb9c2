"""``gpuctl shell``: an allocation that ends with its shell.

The job is a program that holds the devices and watches the shell: the shell is started inside the job, leaves its process id in a ticket,
and the holder ends when that process has ended. So the devices are free again also when this terminal, or gpuctl itself, is killed.
"""

import dataclasses
import secrets

from gpuctl.base import duration
from gpuctl.base.errors import GpuctlError, InvalidInput, Problem
from gpuctl.base.exitcodes import ExitCode
from gpuctl.cli import outcome, starting, submitting
from gpuctl.cli.follow import Deadline
from gpuctl.cli.interrupt import Interrupt
from gpuctl.cli.result import Done, Result
from gpuctl.cli.session import Session
from gpuctl.cli.spec import table
from gpuctl.cli.spec.build import build
from gpuctl.cli.spec.given import Program
from gpuctl.cli.spec.layers import Setting
from gpuctl.cli.spec.parser import FlagCommand, Given, takes
from gpuctl.cli.verb import Verb
from gpuctl.model.ask import ExecTarget
from gpuctl.model.job import Job, State

_NO_MEANING = {
    "--kind",
    "--per",
    "--nproc-per-node",
    "--python",
    "--retries",
    "--requeue",
    "--checkpoint",
    "--array",
    "--args-from",
    "--hold",
}
FLAGS = (*(flag for flag in table.DESCRIBING if flag.name not in _NO_MEANING), *table.REQUEST, *table.TIMEOUT)

PATIENCE_SECONDS = 60
"""How long the holder waits for the shell to begin."""
_ENDS_SOON = 3.0

# $1 is the ticket. A second node, or a second copy, watches the same process only where it sees it; the job ends as a whole anyway.
_HOLDER = """
trap 'rm -f "$1"; exit 0' TERM INT
left=$2
until [ -s "$1" ]; do
  [ "$left" -gt 0 ] || exit 0
  left=$((left - 1)); sleep 1
done
pid=$(cat "$1")
while kill -0 "$pid" 2>/dev/null; do sleep 0.2; done
rm -f "$1"
"""
_BEGIN = 'set -C; umask 077; echo "$$" > "$1" || exit 125; shift; exec "$@"'


@takes(FLAGS, words="-- [COMMAND...]")
def run(session: Session, given: Given) -> Result:
    """Open a shell that holds GPUs, and give them back when it ends.

    Waits until there are some, saying why. The shell is $SHELL, or COMMAND; its
    exit code is gpuctl's. GPUCTL_JOB tells which job one is in. While it waits,
    Ctrl-C gives up its place in line; so does --timeout.
    """
    given = submitting.checked(given)
    runs = given.program()
    if runs.script is not None:
        problem = Problem(field=runs.script, message="is no flag", allowed=f"-- {runs.script} to run it in place of a shell")
        given = dataclasses.replace(given, problems=(*given.problems, problem))
    ticket = f"/tmp/gpuctl-shell-{secrets.token_hex(12)}"
    command = ("/bin/sh", "-c", _HOLDER, "gpuctl-shell", ticket, str(PATIENCE_SECONDS))
    name = Setting(path=("metadata", "name"), value="shell", origin="default")
    built = build(given, submitting.place(session), program=Program(command=command), base=[name], verb="shell")
    if built.document.spec.array is not None or built.document.spec.hold:
        field = "array" if built.document.spec.array is not None else "hold"
        raise InvalidInput("cannot open a shell", [Problem(field=f"GPUCTL_SUBMIT_{field.upper()}", message="has no meaning for a shell")])
    submitting.tell(session, built)
    job = submitting.submit(
        session, submitting.prepare(session, given, built), built, staying=True, wait_for_capacity=given.has("--wait-for-capacity")
    ).job
    job, code = _when_it_runs(session, job, timeout=submitting.timeout_of(given))
    if code is not None:
        return Done(code=code)
    return Done(code=_inside(session, job, ticket=ticket, command=runs.command))


def _when_it_runs(session: Session, job: Job, *, timeout: float | None) -> tuple[Job, int | None]:
    """The job as soon as it runs; with an exit code when it is not going to, and then it is cancelled."""
    try:
        with Interrupt(session, sentence=f"gives up the place of job/{job.name} in line") as interrupt:
            stop = Deadline(interrupt, timeout)
            while not job.final and job.state is not State.RUNNING and not stop.is_set():
                job = starting.until_started(session, job, stop=stop)
                if job.state is State.STARTING and not stop.wait(0.05):
                    job = session.pool.job(job.id)
    except BaseException:
        session.pool.cancel(job.id)
        raise
    if job.final:
        session.say(outcome.sentence(job))
        return job, outcome.code_of(job) or ExitCode.FAILED
    if stop.is_set():
        session.pool.cancel(job.id)
        session.say(f"job/{job.name} was cancelled; it had not begun")
        return job, ExitCode.INTERRUPTED if interrupt.is_set() else ExitCode.TIMEOUT
    return job, None


def _inside(session: Session, job: Job, *, ticket: str, command: tuple[str, ...]) -> int:
    """Run the shell inside the job; its exit code. The job is over when this returns, or about to be."""
    tty = session.stdin_tty and session.out_tty
    limit = f", ends by itself in {duration.short(job.spec.time_seconds)}" if job.spec.time_seconds is not None else ""
    session.say(f"in job/{job.name}{f' on {job.where}' if job.where else ''}{limit}; exit gives it back")
    argv = command or _login(session, job)
    try:
        return session.pool.exec(job.id, ExecTarget(node=0), ("/bin/sh", "-c", _BEGIN, "gpuctl-shell", ticket, *argv), tty=tty)
    finally:
        _give_back(session, job)


def _login(session: Session, job: Job) -> tuple[str, ...]:
    """The user's shell. bash is told to name the job in its prompt, once, behind whatever its start-up files made of it."""
    shell = session.env.get("SHELL") or "/bin/sh"
    if shell.rsplit("/", 1)[-1] != "bash":
        return (shell,)
    prompt = f'PS1="({job.name}) $PS1"; unset PROMPT_COMMAND'
    return ("/usr/bin/env", f"PROMPT_COMMAND={prompt}", shell)


def _give_back(session: Session, job: Job) -> None:
    """See the job end; cancel it if it does not, as when the shell never began."""
    with Interrupt(session) as interrupt:
        try:
            for _ in session.pool.wait([job.id], stop=interrupt, timeout=_ENDS_SOON):
                return
        except GpuctlError:
            pass
    session.pool.cancel(job.id)


VERB = Verb(
    run=run,
    parser=FlagCommand,
    pass_through=True,
    examples=("gpuctl shell", "gpuctl shell -j 1x8 --time 2h", "gpuctl shell -j 1x1 -- python -i"),
)
