"""What ``--plan`` shows: every place the job could go, the best first."""

from gpuctl.base import duration
from gpuctl.cli.result import Column, Context, Rows
from gpuctl.model.ask import Plan, PlanOption


def rows(plan: Plan) -> Rows:
    """The options as a list; the notes of the plan stand below it."""
    return Rows(
        kind="PlanOption",
        items=plan.options,
        columns=_COLUMNS,
        name=lambda option: f"cluster/{option.cluster}",
        empty="nowhere: no cluster of the profile could run it",
        footer=[f"note: {note}" for note in plan.notes],
    )


def _when(option: PlanOption, context: Context) -> str:
    if option.now:
        return "now"
    if option.at is None:
        return "?"
    return f"{context.local(option.at):%a %H:%M} (in {duration.short((option.at - context.now).total_seconds())})"


def _cost(option: PlanOption) -> str:
    return f"{option.cost_per_hour:.2f}/h" if option.cost_per_hour is not None else "-"


def _why(option: PlanOption) -> str:
    return (option.reason.sentence or option.reason.code) if option.reason is not None else "-"


_COLUMNS = (
    Column(name="CLUSTER", cell=lambda option, _: option.cluster),
    Column(name="TIER", cell=lambda option, _: option.tier or "-"),
    Column(name="START", cell=_when),
    Column(name="WHERE", cell=lambda option, _: option.where or "-"),
    Column(name="COST", cell=lambda option, _: _cost(option), right=True),
    Column(name="WHY", cell=lambda option, _: _why(option), shrink=True),
)
