"""``gpuctl volumes``."""

import os
from typing import Annotated

import typer

from gpuctl.base import names
from gpuctl.base.errors import ConflictError, InvalidInput, NotFoundError, Problem, UnavailableError, UsageError, nearest
from gpuctl.base.exitcodes import ExitCode
from gpuctl.cli import asking, remembered, unread
from gpuctl.cli.out import jobtext, whytext
from gpuctl.cli.out.columns import cells
from gpuctl.cli.out.columns import volume as columns
from gpuctl.cli.out.order import ordered
from gpuctl.cli.result import Context, Done, One, Result, Rows, Text
from gpuctl.cli.session import Session
from gpuctl.cli.show import prompt
from gpuctl.cli.show.progress import Progress
from gpuctl.cli.verb import Noun, Verb
from gpuctl.model.place import Volume

Name = Annotated[str, typer.Argument(metavar="VOLUME", help="A volume.")]
Cluster = Annotated[
    str | None, typer.Option("--cluster", metavar="CLUSTER", help="Its home, where several clusters have one of that name.")
]
Size = Annotated[str | None, typer.Option("--size", metavar="SIZE", help="How much it may hold: 100Gi.")]
Access = Annotated[str | None, typer.Option("--access", metavar="MODE", help="rwx (many nodes write), rwo (one node), rox (many read).")]
StorageClass = Annotated[
    str | None, typer.Option("--storage-class", metavar="CLASS", help="Of the cluster's classes; its default without it.")
]
Confirm = Annotated[str | None, typer.Option("--confirm", metavar="VOLUME", help="Its name, instead of the question.")]
Source = Annotated[str, typer.Argument(metavar="LOCAL", help="A file or directory here.")]
Inside = Annotated[str, typer.Argument(metavar="[INSIDE]", help="Where below the volume; its top without it.")]
Path = Annotated[str, typer.Argument(metavar="INSIDE", help="A file or directory below the volume.")]
Destination = Annotated[str, typer.Argument(metavar="[DEST]", help="Where to put it here.")]

ACCESS = ("rwx", "rwo", "rox")


def show_all(session: Session, sort: asking.Sort = None) -> Result:
    """List volumes."""
    ordered((), columns.COLUMNS, sort, session.context())
    listing = session.pool.volumes()
    remembered.remember(session, "volumes", (volume.name for volume in listing.items))
    return Rows(
        kind="Volume",
        items=[
            *ordered(listing.items, columns.COLUMNS, sort, session.context()),
            *(columns.unread(name) for name, _ in unread.away(session, listing, {volume.home for volume in listing.items})),
        ],
        columns=columns.COLUMNS,
        name=columns.name,
        empty="no volumes; gpuctl volumes create NAME makes one",
        incomplete=listing.incomplete,
    )


def create(
    session: Session, name: Name, size: Size = None, access: Access = None, storage_class: StorageClass = None, cluster: Cluster = None
) -> Result:
    """Create a volume; prints volume/NAME."""
    wrong = names.problem(name)
    if wrong is not None:
        problem = Problem(field="VOLUME", message=wrong, got=repr(name), allowed=names.ALLOWED, nearest=names.suggestion(name))
        raise InvalidInput(f"cannot create volume {name}", [problem])
    if access is not None:
        asking.one_of(access, ACCESS, field="--access")
    made = session.pool.create_volume(name, cluster=cluster, size=asking.size(size), access=access, storage_class=storage_class)
    session.say(f"created volume/{made.name} on {made.home}; gpuctl submit --volume {made.name}:/data ... mounts it")
    return _shown(session, made) if session.output is not None else Text(text=f"{columns.name(made)}\n")


def show(session: Session, name: Name, cluster: Cluster = None) -> Result:
    """Show one volume: where it is, how full, who mounts it, and why it is pending."""
    return _shown(session, _find(session, name, cluster))


def delete(session: Session, name: Name, confirm: Confirm = None, cluster: Cluster = None) -> Result:
    """Delete a volume with all it holds; prints volume/NAME.

    It asks for the name; --confirm=NAME answers. A volume that an unfinished job
    mounts is refused (exit code 6).
    """
    volume = _find(session, name, cluster)
    if volume.mounted_by:
        first, count = volume.mounted_by[0], len(volume.mounted_by)
        raise ConflictError(
            f"cannot delete volume {name}: {count} unfinished {'job mounts' if count == 1 else 'jobs mount'} it",
            code="volume-in-use",
            cause=", ".join(f"job/{job}" for job in volume.mounted_by[:10]),
            hint=f"gpuctl cancel {first}    then: gpuctl wait {first}",
        )
    held = f" ({cells.memory(volume.used)})" if volume.used is not None else ""
    if not prompt.agree_by_name(session, f"volume {name} on {volume.home} and all it holds{held} will be gone", name=name, given=confirm):
        session.say("nothing was deleted")
        return Done(code=ExitCode.FAILED)
    gone = session.pool.delete_volume(name, cluster=cluster)
    session.say(f"deleted volume/{gone.name} from {gone.home}")
    return _shown(session, gone) if session.output is not None else Text(text=f"{columns.name(gone)}\n")


def put(session: Session, name: Name, source: Source, path: Inside = "", cluster: Cluster = None) -> Result:
    """Copy a file or directory into a volume."""
    if not os.path.exists(os.path.join(session.cwd, source)):
        raise NotFoundError(f"cannot copy {source} into volume {name}: there is no such file here", code="no-such-file")
    with Progress(session, f"copying {source} into {name}" if session.err_tty else ""):
        written = session.pool.put_file(name, source, path, cluster=cluster)
    session.say(f"copied {source} into volume {name}: {cells.memory(written)}")
    return Done()


def get(session: Session, name: Name, path: Path, destination: Destination = ".", cluster: Cluster = None) -> Result:
    """Copy a file or directory out of a volume."""
    with Progress(session, f"copying {path} from {name}" if session.err_tty else ""):
        written = session.pool.get_file(name, path, destination, cluster=cluster)
    session.say(f"copied {path} of volume {name} to {destination}: {cells.memory(written)}")
    return Done()


def files(session: Session, name: Name, path: Inside = "", cluster: Cluster = None, sort: asking.Sort = None) -> Result:
    """List what lies in a volume."""
    ordered((), columns.FILES, sort, session.context())
    listing = session.pool.volume_files(name, path, cluster=cluster)
    return Rows(
        kind="VolumeFile",
        items=ordered(listing.items, columns.FILES, sort, session.context()),
        columns=columns.FILES,
        name=columns.file_name,
        empty=f"nothing lies in {path or 'volume'} {'of volume ' if path else ''}{name}",
        incomplete=listing.incomplete,
    )


def _find(session: Session, name: str, cluster: str | None) -> Volume:
    listing = session.pool.volumes()
    found = [volume for volume in listing.items if volume.name == name and cluster in (None, volume.home)]
    if len(found) == 1:
        return found[0]
    if found:
        homes = [volume.home for volume in found]
        raise UsageError(f"volume {name} is on {' and '.join(homes)}: say which", code="ambiguous-volume", hint=f"--cluster {homes[0]}")
    if listing.incomplete:
        raise UnavailableError(
            f"cannot find volume {name}: {', '.join(listing.incomplete)} could not be read", cause=next(iter(listing.incomplete.values()))
        )
    close = nearest(name, [volume.name for volume in listing.items])
    raise NotFoundError(f"no volume is called {name}", code="no-such-volume", hint=f"did you mean {close}?" if close else "gpuctl volumes")


def _shown(session: Session, volume: Volume) -> One:
    return One(
        kind="Volume",
        item=volume,
        text=lambda context: _text(volume, context, wrap=session.out_tty),
        name=columns.name,
        columns=columns.COLUMNS,
    )


def _text(volume: Volume, context: Context, *, wrap: bool) -> str:
    size = cells.memory(volume.size) if volume.size is not None else "no limit"
    facts = [
        ("why", volume.reason.sentence if volume.reason is not None else None),
        ("home", volume.home),
        ("size", f"{size}, {cells.memory(volume.used)} used"),
        ("access", volume.access),
        ("class", volume.storage_class),
        ("path", volume.path),
        ("created", jobtext.when(volume.created_at, context) if volume.created_at else None),
        ("mounted by", ", ".join(f"job/{job}" for job in volume.mounted_by) or "nobody"),
    ]
    page = f"volume/{volume.name}  {volume.phase}\n\n" + "".join(jobtext.fact(label, value, wrap=wrap) for label, value in facts if value)
    return page + (whytext.evidence(volume.evidence, context, wrap=wrap) if volume.evidence else "")


VERB = Noun(
    help="Manage volumes: named storage that jobs mount with submit --volume NAME:/path.",
    verbs={
        "list": Verb(run=show_all),
        "create": Verb(run=create, examples=("gpuctl volumes create data", "gpuctl volumes create data --size 100Gi --cluster res-a")),
        "show": Verb(run=show),
        "delete": Verb(run=delete, examples=("gpuctl volumes delete data --confirm=data",)),
        "put": Verb(run=put, examples=("gpuctl volumes put data ./corpus corpus",)),
        "get": Verb(run=get, examples=("gpuctl volumes get data out/model.pt .",)),
        "files": Verb(run=files, examples=("gpuctl volumes files data corpus",)),
    },
    default="list",
)
