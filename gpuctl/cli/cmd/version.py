"""``gpuctl version``."""

import platform
import sys

import msgspec

import gpuctl
from gpuctl.cli.result import Column, Context, One, Result
from gpuctl.cli.session import Session
from gpuctl.cli.verb import Verb


class Version(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """What this installation is."""

    version: str
    python: str
    platform: str
    executable: str


def run(session: Session) -> Result:
    """Print the version of gpuctl and of the Python it runs on."""
    found = Version(
        version=gpuctl.__version__, python=platform.python_version(), platform=platform.platform(terse=True), executable=sys.executable
    )
    return One(kind="Version", item=found, text=_text, name=lambda item: f"version/{item.version}", columns=COLUMNS)


def _text(_context: Context) -> str:
    return f"gpuctl {gpuctl.__version__}\n"


COLUMNS = (
    Column(name="VERSION", cell=lambda item, _: item.version),
    Column(name="PYTHON", cell=lambda item, _: item.python),
    Column(name="PLATFORM", cell=lambda item, _: item.platform, wide=True),
)

VERB = Verb(run=run)
