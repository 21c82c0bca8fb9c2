"""GPU time by whatever people group it by: the sums, and how they look in a list."""

from collections.abc import Iterable, Sequence

import msgspec

from gpuctl.cli.out.columns import cells
from gpuctl.cli.result import Column
from gpuctl.model.place import UsageRow

DIMENSIONS = ("user", "team", "day", "state", "cluster", "tier")


class Usage(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """One sum. A dimension that was not grouped by is absent; a job that used GPUs on two days counts on each of them."""

    jobs: int
    gpu_seconds: int
    user: str | None = None
    team: str | None = None
    day: str | None = None
    state: str | None = None
    cluster: str | None = None
    tier: str | None = None


def sums(rows: Iterable[UsageRow], *, by: Sequence[str]) -> list[Usage]:
    """``rows`` summed up by the dimensions ``by``, ordered by them."""
    totals: dict[tuple[str | None, ...], tuple[int, int]] = {}
    for row in rows:
        key = tuple(getattr(row, dimension) for dimension in by)
        jobs, spent = totals.get(key, (0, 0))
        totals[key] = (jobs + row.jobs, spent + row.gpu_seconds)
    ordered = sorted(totals.items(), key=lambda entry: tuple((value is None, value or "") for value in entry[0]))
    return [Usage(jobs=jobs, gpu_seconds=spent, **dict(zip(by, key, strict=True))) for key, (jobs, spent) in ordered]


def hours(gpu_seconds: int) -> str:
    """GPU-hours with two decimals."""
    return f"{gpu_seconds / 3600:.2f}"


def name(item: Usage) -> str:
    """The ``-o name`` form: the values it is grouped by."""
    return "usage/" + ",".join(value for dimension in DIMENSIONS if (value := getattr(item, dimension)) is not None)


def columns(by: Sequence[str]) -> tuple[Column, ...]:
    """One column a dimension, then the sums."""
    return (
        *(_dimension(dimension) for dimension in by),
        Column(name="JOBS", cell=lambda item, _: str(item.jobs), right=True, key=lambda item, _: item.jobs),
        Column(name="GPU-HOURS", cell=lambda item, _: hours(item.gpu_seconds), right=True, key=lambda item, _: item.gpu_seconds),
    )


def _dimension(dimension: str) -> Column:
    return Column(name=dimension.upper(), cell=lambda item, _: cells.present(getattr(item, dimension)))
