"""How present use looks in a list: one row a job, or one a rank."""

from gpuctl.cli.out.columns import cells
from gpuctl.cli.result import Column
from gpuctl.model.place import Sample


def name(sample: Sample) -> str:
    """The ``-o name`` form."""
    return f"job/{sample.job}"


def _who(sample: Sample) -> str:
    return sample.job if sample.rank is None else f"{sample.job}[{sample.rank}]"


def _gpu(sample: Sample) -> str:
    return cells.ABSENT if sample.gpus == 0 else cells.percent(sample.gpu)


def _gpu_memory(sample: Sample) -> str:
    if sample.gpus == 0:
        return cells.ABSENT
    return cells.memory(sample.gpu_memory) if sample.gpu_memory_total is None else cells.part(sample.gpu_memory, sample.gpu_memory_total)


COLUMNS = (
    Column(name="JOB", cell=lambda sample, _: _who(sample), key=lambda sample, _: (sample.job, -1 if sample.rank is None else sample.rank)),
    Column(name="NODE", cell=lambda sample, _: cells.known(sample.node)),
    Column(name="GPU%", cell=lambda sample, _: _gpu(sample), right=True, key=lambda sample, _: sample.gpu),
    Column(name="GPUMEM", cell=lambda sample, _: _gpu_memory(sample), right=True, key=lambda sample, _: sample.gpu_memory),
    Column(name="CPU%", cell=lambda sample, _: cells.percent(sample.cpu), right=True, key=lambda sample, _: sample.cpu),
    Column(name="MEM", cell=lambda sample, _: cells.memory(sample.memory), right=True, key=lambda sample, _: sample.memory),
    Column(name="PROCS", cell=lambda sample, _: cells.known(sample.processes), right=True, key=lambda sample, _: sample.processes),
    Column(
        name="SILENT",
        cell=lambda sample, _: cells.UNKNOWN if sample.silent_for is None else cells.seconds(sample.silent_for),
        right=True,
        key=lambda sample, _: sample.silent_for,
    ),
    Column(name="DEVICE", cell=lambda sample, _: cells.present(sample.device), right=True, key=lambda sample, _: sample.device, wide=True),
)
"""``gpuctl top``. SILENT is the time since the last log line; CPU% is of one core, so that 400 is four busy cores."""
