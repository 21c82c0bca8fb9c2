"""Where gpuctl keeps things: the XDG directories, on Linux and on macOS alike.

Source: https://specifications.freedesktop.org/basedir-spec/latest/ (a relative path in one of its variables is ignored).
"""

import os
import pwd
from collections.abc import Mapping

from gpuctl.base.errors import UsageError

SYSTEM_CONFIG = "/etc/gpuctl/config.yaml"
PROJECT_FILE = ".gpuctl.yaml"


def home(env: Mapping[str, str] | None = None) -> str:
    """The home directory: ``HOME``, else what the password database says.

    Raises:
        UsageError: ``no-home``, when neither names an absolute directory.
    """
    env = os.environ if env is None else env
    given = env.get("HOME", "")
    if os.path.isabs(given):
        return given
    try:
        known = pwd.getpwuid(os.getuid()).pw_dir
    except KeyError:
        known = ""
    if os.path.isabs(known):
        return known
    raise UsageError(
        "cannot find the home directory: HOME is not set to an absolute path",
        code="no-home",
        cause=f"user {os.getuid()} has no home in the password database",
        hint="export HOME=/path/to/your/home",
    )


def _directory(variable: str, default: str, env: Mapping[str, str] | None) -> str:
    env = os.environ if env is None else env
    given = env.get(variable, "")
    base = given if os.path.isabs(given) else os.path.join(home(env), default)
    return os.path.join(base, "gpuctl")


def config_dir(env: Mapping[str, str] | None = None) -> str:
    """``$XDG_CONFIG_HOME/gpuctl``: what a person wrote. The directory may not exist."""
    return _directory("XDG_CONFIG_HOME", ".config", env)


def state_dir(env: Mapping[str, str] | None = None) -> str:
    """``$XDG_STATE_HOME/gpuctl``: jobs, their logs, and what must survive a reboot."""
    return _directory("XDG_STATE_HOME", ".local/state", env)


def cache_dir(env: Mapping[str, str] | None = None) -> str:
    """``$XDG_CACHE_HOME/gpuctl``: what can be made again."""
    return _directory("XDG_CACHE_HOME", ".cache", env)


def data_dir(env: Mapping[str, str] | None = None) -> str:
    """``$XDG_DATA_HOME/gpuctl``: volumes, and the token file of ``--store file``."""
    return _directory("XDG_DATA_HOME", ".local/share", env)


def runtime_dir(env: Mapping[str, str] | None = None) -> str:
    """``$XDG_RUNTIME_DIR/gpuctl``: sockets and FIFOs; a private directory below ``TMPDIR`` (``/tmp``) where a login gave none."""
    env = os.environ if env is None else env
    given = env.get("XDG_RUNTIME_DIR", "")
    if os.path.isabs(given):
        return os.path.join(given, "gpuctl")
    temporary = env.get("TMPDIR", "")
    return os.path.join(temporary if os.path.isabs(temporary) else "/tmp", f"gpuctl-{os.getuid()}")


def user_config(env: Mapping[str, str] | None = None) -> str:
    """The user's configuration file (it may not exist)."""
    return os.path.join(config_dir(env), "config.yaml")


def project_config(cwd: str, env: Mapping[str, str] | None = None) -> str | None:
    """The nearest ``.gpuctl.yaml`` in ``cwd`` or above, up to and including the git root, else the home directory.

    Outside of home and git nothing above ``cwd`` is read: a file in ``/tmp`` or ``/`` is somebody else's.
    """
    try:
        stop = home(env)
    except UsageError:
        stop = cwd
    directory = os.path.abspath(cwd)
    if not _within(directory, stop) and not _git_root(directory):
        return _file_in(directory)
    while True:
        found = _file_in(directory)
        if found or os.path.exists(os.path.join(directory, ".git")) or directory == stop:
            return found
        parent = os.path.dirname(directory)
        if parent == directory:
            return None
        directory = parent


def _file_in(directory: str) -> str | None:
    path = os.path.join(directory, PROJECT_FILE)
    return path if os.path.isfile(path) else None


def _within(directory: str, parent: str) -> bool:
    return directory == parent or directory.startswith(parent.rstrip("/") + "/")


def _git_root(directory: str) -> str | None:
    while True:
        if os.path.exists(os.path.join(directory, ".git")):
            return directory
        parent = os.path.dirname(directory)
        if parent == directory:
            return None
        directory = parent
