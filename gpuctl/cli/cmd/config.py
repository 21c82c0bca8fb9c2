"""``gpuctl config``: what a setting is, and who said so."""

from typing import Annotated, Any

import msgspec
import typer

from gpuctl.cli.result import Column, One, Result, Rows
from gpuctl.cli.session import Session
from gpuctl.cli.verb import Noun, Verb
from gpuctl.config import settings as settings_room
from gpuctl.config.keys import BY_NAME, KEYS

Name = Annotated[str, typer.Argument(metavar="KEY", help="A setting, or its environment variable.")]


class Setting(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """One setting as it stands."""

    name: str
    value: Any
    source: str
    default: str
    environment: str
    doc: str
    overridden: tuple[dict[str, Any], ...] = ()


def explain(session: Session, key: Name) -> Result:
    """Print the value of a setting, who gave it, and what it overrides."""
    by_variable = {known.env: known.name for known in KEYS}
    found = _setting(session, by_variable.get(key, key))
    return One(kind="Setting", item=found, text=lambda _: _text(found), name=_name, columns=COLUMNS)


def show(session: Session) -> Result:
    """List every setting with its value and where it came from."""
    items = [_setting(session, name) for name in BY_NAME]
    return Rows(kind="Setting", items=items, columns=COLUMNS, name=_name, empty="no settings")


def _setting(session: Session, name: str) -> Setting:
    explained = settings_room.load(flags={"profile": session.profile}, env=session.env, cwd=session.cwd).explain(name)
    return Setting(
        name=explained.key.name,
        value=explained.value,
        source=explained.source,
        default=explained.key.shown_default,
        environment=explained.key.env,
        doc=explained.key.doc,
        overridden=tuple({"value": given.value, "source": given.source} for given in explained.overridden),
    )


def _shown(value: Any, default: str) -> str:
    return default if value is None else str(value)


def _text(setting: Setting) -> str:
    lines = [f"{setting.name} = {_shown(setting.value, setting.default)}", f"  from {setting.source}", f"  {setting.doc}"]
    lines += [f"  overrides {_shown(given['value'], setting.default)} from {given['source']}" for given in setting.overridden]
    return "\n".join(lines) + "\n"


def _name(setting: Setting) -> str:
    return f"setting/{setting.name}"


COLUMNS = (
    Column(name="KEY", cell=lambda item, _: item.name),
    Column(name="VALUE", cell=lambda item, _: _shown(item.value, item.default)),
    Column(name="SOURCE", cell=lambda item, _: item.source),
    Column(name="VARIABLE", cell=lambda item, _: item.environment, wide=True),
    Column(name="MEANING", cell=lambda item, _: item.doc, wide=True, shrink=True),
)

VERB = Noun(
    help="Explain settings: every value, and who gave it.",
    verbs={"list": Verb(run=show), "explain": Verb(run=explain, examples=("gpuctl config explain profile",))},
    default="list",
)
