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


COLUMNS = (
    Column(name="NAME", cell=lambda volume, _: volume.name),
    Column(name="HOME", cell=lambda volume, _: volume.home),
    Column(name="PHASE", cell=lambda volume, _: volume.phase),
    Column(
        name="SIZE",
        cell=lambda volume, _: cells.memory(volume.size) if volume.size is not None else cells.ABSENT,
        right=True,
        key=lambda volume, _: volume.size,
    ),
    Column(name="USED", cell=lambda volume, _: cells.memory(volume.used), right=True, key=lambda volume, _: volume.used),
    Column(name="ACCESS", cell=lambda volume, _: volume.access),
    Column(name="MOUNTED-BY", cell=lambda volume, _: ",".join(volume.mounted_by) or cells.ABSENT, shrink=True),
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
