"""What ``--plan`` shows: every place the job could go, the best first."""

from gpuctl.base import duration
from gpuctl.cli.result import Column, Context, Rows
from gpuctl.model.ask import Plan, PlanOption
from gpuctl.policy import price
from gpuctl.policy.away import AWAY


def rows(plan: Plan) -> Rows:
    """The options as a list; the notes of the plan stand below it."""
    return Rows(
        kind="PlanOption",
        items=plan.options,
        columns=_columns(duration.canonical(plan.time_limit) if plan.time_limit is not None else None),
        name=lambda option: f"cluster/{option.cluster}",
        empty="nowhere: no cluster of the profile could run it",
        footer=[f"note: {note}" for note in plan.notes],
    )


_OPEN = AWAY | {"capacity", "fragmented", "quota", "window", "not-ready", "unknown"}
"""Reasons that pass by themselves, nobody knows when; with any other it will never start there."""


def _when(option: PlanOption, context: Context) -> str:
    if option.now:
        return "now"
    if option.at is None:
        return "?" if option.reason is None or option.reason.code in _OPEN else "no"
    return f"{context.local(option.at):%a %H:%M} (in {duration.short((option.at - context.now).total_seconds())})"


def _cost(option: PlanOption, limit: str | None) -> str:
    if option.cost_per_hour is None:
        return "-"
    return price.text(option.cost_per_hour, option.cost_at_limit, option.currency or price.CURRENCY, limit=limit)


def _why(option: PlanOption) -> str:
    return (option.reason.sentence or option.reason.code) if option.reason is not None else "-"


def _columns(limit: str | None) -> tuple[Column, ...]:
    return (
        Column(name="CLUSTER", cell=lambda option, _: option.cluster),
        Column(name="TIER", cell=lambda option, _: option.tier or "-"),
        Column(name="START", cell=_when, key=lambda option, context: context.now if option.now else option.at),
        Column(name="WHERE", cell=lambda option, _: option.where or "-", shrink=True),
        Column(name="COST", cell=lambda option, _: _cost(option, limit), right=True, key=lambda option, _: option.cost_per_hour),
        Column(name="WHY", cell=lambda option, _: _why(option), shrink=True),
    )
