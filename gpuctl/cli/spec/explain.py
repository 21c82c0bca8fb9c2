"""``--explain``: each value of the job, where it came from, and what it overrode."""

from typing import Any

import msgspec

from gpuctl.cli.result import Column, Rows
from gpuctl.cli.spec.build import Built
from gpuctl.cli.spec.flag import SECRET_VALUES
from gpuctl.model.spec import JobSpec

DEFAULT = "default"
_SHOWN_DEFAULTS = ("nodes", "gpus", "per", "tier", "priority", "grace", "retries")


class Value(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """One value: the field's path in the job document, and the origins it overrode, the stronger first."""

    field: str
    value: Any
    origin: str
    overrides: tuple[str, ...] = ()


def rows(built: Built) -> Rows:
    """The table of values: what was given, in the order of the document, then what was not."""
    found = [
        Value(
            field=".".join(setting.path),
            value=setting.value,
            origin=setting.origin,
            overrides=tuple(other.origin for other in built.layers.overridden(setting.path)),
        )
        for setting in built.layers
        if setting.path[0] != SECRET_VALUES and setting.path not in {("apiVersion",), ("kind",)}
    ]
    given = {value.field for value in found}
    if "metadata.name" not in given:
        found.append(Value(field="metadata.name", value=built.base_name, origin="what it runs"))
    fields = {field.name: field for field in msgspec.structs.fields(JobSpec)}
    order = {f"spec.{field.encode_name}": position for position, field in enumerate(fields.values())}
    found += [
        Value(field=f"spec.{name}", value=fields[name].default, origin=DEFAULT) for name in _SHOWN_DEFAULTS if f"spec.{name}" not in given
    ]
    found.sort(key=lambda value: (order.get(".".join(value.field.split(".")[:2]), -1), value.origin == DEFAULT))
    return Rows(kind="Value", items=found, columns=_COLUMNS, name=lambda item: item.field, empty="")


def _text(value: Any) -> str:
    if isinstance(value, str):
        return value if value.isprintable() else value.splitlines()[0][:40] + " ..."
    return msgspec.json.encode(value).decode()


_COLUMNS = (
    Column(name="FIELD", cell=lambda item, _: item.field),
    Column(name="VALUE", cell=lambda item, _: _text(item.value), shrink=True),
    Column(name="FROM", cell=lambda item, _: item.origin),
    Column(name="OVERRIDES", cell=lambda item, _: ", ".join(item.overrides) or "-", wide=True),
)
