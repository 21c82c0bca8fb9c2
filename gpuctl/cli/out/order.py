"""``--sort [-]column``: rows in the order that a person asks for."""

from collections.abc import Sequence
from typing import Any, TypeVar

from gpuctl.base.errors import InvalidInput, Problem, nearest
from gpuctl.cli.result import Column, Context

T = TypeVar("T")


def ordered(items: Sequence[T], columns: Sequence[Column], wish: str | None, context: Context) -> list[T]:
    """``items`` by the column ``wish``, downward with a minus in front. What has no value comes last both ways; ties keep their order.

    Raises:
        InvalidInput: no such column.
    """
    if wish is None:
        return list(items)
    downward, name = wish.startswith("-"), wish.removeprefix("-").strip().lower()
    column = {column.name.lower(): column for column in columns}.get(name)
    if column is None:
        known = [column.name.lower() for column in columns]
        problem = Problem(field="--sort", message="no such column", got=repr(wish), allowed=", ".join(known), nearest=nearest(name, known))
        raise InvalidInput(f"cannot sort by {name or wish}", [problem])
    keyed: list[tuple[Any, T]] = [(column.key(item, context) if column.key else column.cell(item, context), item) for item in items]
    with_value = sorted((pair for pair in keyed if pair[0] is not None), key=lambda pair: pair[0], reverse=downward)
    return [item for _, item in with_value] + [item for key, item in keyed if key is None]
