"""``gpuctl _complete KIND [PREFIX]``: names for the completion scripts, one a line. Never an error, never a word on stderr."""

import threading
from collections.abc import Callable, Iterable
from typing import Annotated

import typer

from gpuctl.base.errors import GpuctlError
from gpuctl.cli import remembered
from gpuctl.cli.result import Done, Result, Text
from gpuctl.cli.session import Session
from gpuctl.cli.verb import Verb
from gpuctl.model.ask import JobQuery
from gpuctl.port.pool import Pool

FRESH_SECONDS = 5.0
"""Names this young are offered without opening a pool."""
PATIENCE_SECONDS = 0.3
"""How long a person at a prompt waits for better names than those remembered."""
_RECENT_SECONDS = 24 * 3600

Kind = Annotated[str, typer.Argument(metavar="KIND", help="jobs, volumes, nodes, clusters or profiles.")]
Prefix = Annotated[str, typer.Argument(metavar="[PREFIX]", help="What the names begin with.")]


def run(session: Session, kind: Kind, prefix: Prefix = "") -> Result:
    """Print the names that complete PREFIX."""
    try:
        found = _names(session, kind)
    except (GpuctlError, OSError):
        return Done()
    return Text(text="".join(f"{name}\n" for name in found if name.startswith(prefix)))


def _names(session: Session, kind: str) -> Iterable[str]:
    if kind == "profiles":
        from gpuctl.config import profiles

        return [profile.name for profile in profiles.all_profiles(session.settings)]
    if kind not in _READ:
        return []
    known, age = remembered.recall(session, kind)
    if age is not None and age < FRESH_SECONDS:
        return known
    fresh = _within_patience(lambda: _read(session, kind))
    if fresh is None:
        return known
    remembered.remember(session, kind, fresh)
    return fresh


def _read(session: Session, kind: str) -> list[str]:
    """The names, from a pool of this thread's own: it may outlive the patience, and must not be closed under its feet."""
    pool = session.open_pool(session)
    try:
        return list(_READ[kind](pool))
    finally:
        pool.close()


def _within_patience(read: Callable[[], list[str]]) -> list[str] | None:
    """What ``read`` returns, or None when it fails or takes too long; its thread dies with the process."""
    answers: list[list[str]] = []

    def ask() -> None:
        try:
            answers.append(read())
        except Exception:  # Tab has nowhere to tell it; the verb that follows will
            return

    thread = threading.Thread(target=ask, name="gpuctl-complete", daemon=True)
    thread.start()
    thread.join(PATIENCE_SECONDS)
    return answers[0] if answers else None


def _jobs(pool: Pool) -> Iterable[str]:
    query = JobQuery(user=pool.me(), recent_seconds=_RECENT_SECONDS)
    return (job.name for job in pool.jobs(query).items)


_READ: dict[str, Callable[[Pool], Iterable[str]]] = {
    "jobs": _jobs,
    "volumes": lambda pool: (volume.name for volume in pool.volumes().items),
    "nodes": lambda pool: (node.name for node in pool.nodes().items),
    "clusters": lambda pool: (cluster.name for cluster in pool.clusters().items),
}

VERB = Verb(run=run, hidden=True)
