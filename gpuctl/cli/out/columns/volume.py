"""How volumes and what lies in them look in a list."""

from gpuctl.cli.out.columns import cells
from gpuctl.cli.result import Column
from gpuctl.model.place import Volume, VolumeFile


def name(volume: Volume) -> str:
    """The ``-o name`` form."""
    return f"volume/{volume.name}"


def file_name(entry: VolumeFile) -> str:
    """The ``-o name`` form: the path alone, as ``get`` takes it."""
    return entry.path


def unread(cluster: str) -> Volume:
    """The one row of a cluster whose volumes could not be read."""
    return Volume(name=cells.UNKNOWN, home=cluster, phase=cells.UNKNOWN, access=cells.UNKNOWN)


def _away(volume: Volume) -> bool:
    return volume.name == cells.UNKNOWN


def _grey(volume: Volume) -> str | None:
    return "faint" if _away(volume) else None


def _absent(volume: Volume) -> str:
    """The cell of something that it does not have, or nobody could read whether it has."""
    return cells.UNKNOWN if _away(volume) else cells.ABSENT


COLUMNS = (
    Column(name="NAME", cell=lambda volume, _: volume.name, style=_grey),
    Column(name="HOME", cell=lambda volume, _: volume.home, style=_grey),
    Column(name="PHASE", cell=lambda volume, _: volume.phase, style=_grey),
    Column(
        name="SIZE",
        cell=lambda volume, _: cells.memory(volume.size) if volume.size is not None else _absent(volume),
        right=True,
        key=lambda volume, _: volume.size,
    ),
    Column(name="USED", cell=lambda volume, _: cells.memory(volume.used), right=True, key=lambda volume, _: volume.used),
    Column(name="ACCESS", cell=lambda volume, _: volume.access),
    Column(name="MOUNTED-BY", cell=lambda volume, _: ",".join(volume.mounted_by) or _absent(volume), shrink=True),
    Column(name="CLASS", cell=lambda volume, _: cells.present(volume.storage_class), wide=True),
    Column(
        name="CREATED",
        cell=lambda volume, context: cells.instant(volume.created_at, context),
        key=lambda volume, _: volume.created_at,
        wide=True,
    ),
    Column(name="PATH", cell=lambda volume, _: cells.present(volume.path), wide=True),
)
"""``gpuctl volumes``."""

FILES = (
    Column(
        name="SIZE",
        cell=lambda entry, _: cells.ABSENT if entry.directory else cells.memory(entry.size),
        right=True,
        key=lambda entry, _: entry.size,
    ),
    Column(name="MODIFIED", cell=lambda entry, context: cells.instant(entry.modified_at, context), key=lambda entry, _: entry.modified_at),
    Column(name="PATH", cell=lambda entry, _: f"{entry.path}/" if entry.directory else entry.path, key=lambda entry, _: entry.path),
)
"""``gpuctl volumes files``."""
