"""``gpuctl port-forward``."""

from typing import Annotated

import typer

from gpuctl.base.errors import InvalidInput, Problem, nearest
from gpuctl.base.exitcodes import ExitCode
from gpuctl.cli.interrupt import Interrupt
from gpuctl.cli.result import Done, Result
from gpuctl.cli.session import Session
from gpuctl.cli.verb import Verb
from gpuctl.model.ask import Forward

SERVICES = ("dashboard", "tensorboard", "jupyter")
ALLOWED = f"PORT, LOCAL:PORT, or one of {', '.join(SERVICES)}"

Job = Annotated[str, typer.Argument(metavar="[JOB]", help="A job; my latest without it, or with -.")]
Port = Annotated[
    str | None,
    typer.Argument(metavar="[LOCAL:]PORT", help="A port of the job, or dashboard, tensorboard, jupyter; LOCAL is the port here."),
]


def run(session: Session, job: Job, port: Port = None) -> Result:
    """Reach a port of a job from here.

    Prints the local address and stays until Ctrl-C. With one argument it is the
    port, and the job is my latest.
    """
    ref, wish = (None, job) if port is None else (job, port)
    local, remote = parsed(wish)
    with Interrupt(session, sentence="closed") as stop:
        opened = False
        for forward in session.pool.forward(ref, remote=remote, local_port=local, stop=stop):
            session.write(address(forward, remote) + "\n")
            service = f" ({forward.name})" if forward.name is not None else ""
            session.say(f"forwarding to port {forward.remote_port}{service} of {forward.job or ref or 'my latest job'}; Ctrl-C closes it")
            opened = True
        if stop.is_set():
            return Done(code=ExitCode.INTERRUPTED)
    if opened:
        session.say("the job has closed the port")
    return Done(code=ExitCode.FAILED)


def parsed(wish: str) -> tuple[int | None, str]:
    """The local port, if one is named, and what to reach in the job.

    Raises:
        InvalidInput: neither a port nor a known service.
    """
    local, colon, remote = wish.rpartition(":")
    good_remote = remote in SERVICES or _is_port(remote)
    if good_remote and (not colon or _is_port(local)):
        return int(local) if colon else None, remote
    problem = Problem(field="PORT", message="is no port", got=repr(wish), allowed=ALLOWED, nearest=nearest(remote, SERVICES))
    raise InvalidInput(f"cannot forward {wish}", [problem])


def address(forward: Forward, remote: str) -> str:
    """Where to point a browser or a client."""
    where = f"[{forward.host}]:{forward.local_port}" if ":" in forward.host else f"{forward.host}:{forward.local_port}"
    return f"http://{where}" if remote in SERVICES else where


def _is_port(text: str) -> bool:
    return text.isdecimal() and 0 < int(text) < 65536


VERB = Verb(run=run, examples=("gpuctl port-forward llama-k3f9 tensorboard", "gpuctl port-forward tune-x2k9 8080:8265"))
