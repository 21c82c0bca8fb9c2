"""The table of settings: name, environment variable, type, default, meaning. Documentation is generated from it."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from gpuctl.base import duration, names, quantity

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class Key(Generic[T]):
    """One setting.

    Attributes:
        name: as in a configuration file.
        env: its environment variable.
        read: makes the value from what a file (any scalar) or the environment (text) gave; ValueError when it cannot.
        allowed: what ``read`` accepts, for people.
        default: the value when nobody gave one.
        default_text: the default in words, where it depends on the machine.
        doc: one line.
        project: whether a project file may set it. What decides where jobs and locks lie may not come with a cloned repository.
    """

    name: str
    env: str
    read: Callable[[object], T]
    allowed: str
    default: T
    doc: str
    default_text: str | None = None
    project: bool = True

    @property
    def shown_default(self) -> str:
        """The default as documentation prints it."""
        return self.default_text if self.default_text is not None else str(self.default)


def _text(value: object) -> str:
    if not isinstance(value, str) or not value.strip():
        raise ValueError("not a text")
    return value


def _name(value: object) -> str:
    name = _text(value)
    why = names.problem(name)
    if why is not None:
        raise ValueError(why)
    return name


def _path(value: object) -> str:
    path = os.path.expanduser(_text(value))
    if not os.path.isabs(path):
        raise ValueError("not an absolute path")
    return path


def _count(value: object) -> int:
    if isinstance(value, str) and value.strip().isascii() and value.strip().isdigit():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= 4096:
        raise ValueError("not a count")
    return value


def _seconds(value: object) -> int:
    return duration.parse(_text(value))


def _size(value: object) -> int:
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    return quantity.parse_memory(_text(value))


def _choice(*words: str) -> Callable[[object], str]:
    def read(value: object) -> str:
        # YAML 1.1 reads a bare `off` or `no` as false; nobody who writes `color: never` or `color: no` means anything else.
        if value is False and "never" in words:
            return "never"
        if value is True and "always" in words:
            return "always"
        if value not in words:
            raise ValueError("not one of the words")
        return str(value)

    return read


def _zone(value: object) -> str:
    name = _text(value)
    if name in {"local", "UTC"}:
        return name
    import zoneinfo

    try:
        zoneinfo.ZoneInfo(name)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise ValueError("not a time zone") from error
    return name


PROFILE: Key[str] = Key(
    name="profile",
    env="GPUCTL_PROFILE",
    read=_text,
    allowed="the name of a profile",
    default="local",
    doc="The profile that commands use: which clusters make up the pool.",
)
STATE_DIR: Key[str | None] = Key(
    name="state_dir",
    env="GPUCTL_STATE_DIR",
    read=_path,
    allowed="an absolute path",
    default=None,
    default_text="$XDG_STATE_HOME/gpuctl",
    doc="Where this machine's jobs, their logs and the queue are kept; a local file system, not NFS.",
    project=False,
)
LOCK_DIR: Key[str | None] = Key(
    name="lock_dir",
    env="GPUCTL_LOCK_DIR",
    read=_path,
    allowed="an absolute path",
    default=None,
    default_text="/var/lock/gpuctl",
    doc="Where the locks lie by which the people of one machine share its devices; the same directory for all of them.",
    project=False,
)
SLOTS: Key[int | None] = Key(
    name="slots",
    env="GPUCTL_LOCAL_SLOTS",
    read=_count,
    allowed="a whole number from 1 to 4096",
    default=None,
    default_text="the larger of the number of cores and 8",
    doc="How many process slots a machine without GPUs has.",
    project=False,
)
DEVICES: Key[str] = Key(
    name="devices",
    env="GPUCTL_LOCAL_DEVICES",
    read=_choice("auto", "nvidia", "amd", "slots"),
    allowed="auto, nvidia, amd or slots",
    default="auto",
    doc="What jobs on this machine hold: its GPUs, or process slots where there are none (auto), or what is named.",
    project=False,
)
LOG_LIMIT: Key[int | None] = Key(
    name="log_limit",
    env="GPUCTL_LOG_LIMIT",
    read=_size,
    allowed=quantity.MEMORY_ALLOWED,
    default=None,
    default_text="1Gi",
    doc="How much log of one rank is kept on this machine; the oldest half goes first.",
)
SCHEDULE: Key[str | None] = Key(
    name="schedule",
    env="GPUCTL_SCHEDULE",
    read=_path,
    allowed="an absolute path",
    default=None,
    default_text="none: this machine is everybody's, always",
    doc="The file that says which team this machine belongs to, and when; see gpuctl windows.",
    project=False,
)
TEAM: Key[str | None] = Key(
    name="team",
    env="GPUCTL_TEAM",
    read=_name,
    allowed=names.ALLOWED,
    default=None,
    default_text="none",
    doc="The team that my jobs on this machine belong to: whose windows they may use.",
    project=False,
)
COLOR: Key[str] = Key(
    name="color",
    env="GPUCTL_COLOR",
    read=_choice("auto", "always", "never"),
    allowed="auto, always or never",
    default="auto",
    doc="Colour in terminals; NO_COLOR and FORCE_COLOR are honoured too.",
)
TIME_ZONE: Key[str] = Key(
    name="time_zone",
    env="GPUCTL_TIME_ZONE",
    read=_zone,
    allowed="local, UTC, or an IANA name such as Europe/Berlin",
    default="local",
    doc="The time zone of instants in tables; JSON and YAML are always UTC.",
)
REQUEST_TIMEOUT: Key[int] = Key(
    name="request_timeout",
    env="GPUCTL_REQUEST_TIMEOUT",
    read=_seconds,
    allowed=duration.ALLOWED,
    default=30,
    default_text="30s",
    doc="How long to wait for one cluster's answer before its rows are left out.",
)

KEYS: tuple[Key[Any], ...] = (PROFILE, STATE_DIR, LOCK_DIR, DEVICES, SLOTS, LOG_LIMIT, SCHEDULE, TEAM, COLOR, TIME_ZONE, REQUEST_TIMEOUT)
"""Every setting, in the order in which documentation lists them."""

BY_NAME: dict[str, Key[Any]] = {key.name: key for key in KEYS}

TOKEN_VARIABLES = ("GPUCTL_TOKEN", "GPUCTL_TOKEN_FILE")
"""Never a setting, never handed to a job: see secrets."""
