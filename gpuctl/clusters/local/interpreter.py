"""Which Python runs a job, whether it has what the job needs, and what would install that.

The order is that of ``gpuctl submit``: ``--python``, the nearest ``.venv``, VIRTUAL_ENV, CONDA_PREFIX, the environment that gpuctl itself
was installed in (unless pipx or ``uv tool`` made it: nothing but gpuctl lives there), then ``python3`` on PATH.
"""

import os
import sys
from collections.abc import Iterator, Mapping

import msgspec

from gpuctl.base.errors import NotFoundError, UsageError
from gpuctl.model import decoding

_NAMES = ("python", "python3")
_CACHE_VERSION = 1
_PROBE_TIMEOUT = 30.0
_MOST_CACHED = 64


class Interpreter(msgspec.Struct, frozen=True, kw_only=True):
    """A Python and why it was chosen: ``--python``, ``.venv``, ``VIRTUAL_ENV``, ``CONDA_PREFIX``, ``gpuctl's own`` or ``PATH``."""

    path: str
    why: str


def find(spec_python: str | None, workdir: str, env: Mapping[str, str]) -> Interpreter:
    """The interpreter for a job that is submitted from ``workdir`` with ``env``.

    Raises:
        NotFoundError: ``no-interpreter``, nothing was found.
        UsageError: ``bad-interpreter``, ``--python`` names something that cannot be run.
    """
    if spec_python:
        return Interpreter(path=_explicit(spec_python, workdir, env), why="--python")
    for path, why in _candidates(workdir, env):
        if _runs(path):
            return Interpreter(path=path, why=why)
    raise NotFoundError(
        "cannot find a Python interpreter for the job: no .venv, VIRTUAL_ENV, CONDA_PREFIX or python3 on PATH",
        code="no-interpreter",
        hint="python3 -m venv .venv    or: gpuctl submit --python /path/to/python ...",
    )


def all_found(workdir: str, env: Mapping[str, str]) -> tuple[Interpreter, ...]:
    """Every interpreter that could be chosen here, in order, each once whatever it is called (``gpuctl doctor``)."""
    found: dict[str, Interpreter] = {}
    for path, why in _candidates(workdir, env):
        if _runs(path):
            found.setdefault(os.path.realpath(os.path.dirname(path)), Interpreter(path=path, why=why))
    return tuple(found.values())


def _explicit(wanted: str, workdir: str, env: Mapping[str, str]) -> str:
    path = os.path.expanduser(wanted)
    if "/" not in path:
        for directory in env.get("PATH", os.defpath).split(os.pathsep):
            candidate = os.path.join(workdir, directory, path)
            if _runs(candidate):
                return candidate
    path = os.path.normpath(os.path.join(workdir, path))
    if os.path.isdir(path):
        # An environment's directory is what people have at hand: --python .venv
        for candidate in _in(path):
            if _runs(candidate):
                return candidate
    if _runs(path):
        return path
    problem = "is a directory without bin/python" if os.path.isdir(path) else "cannot be run" if os.path.exists(path) else "does not exist"
    raise UsageError(f"cannot use the interpreter {wanted}: {path} {problem}", code="bad-interpreter", hint="gpuctl doctor")


def _candidates(workdir: str, env: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Paths to try, the best first, with the reason for each."""
    for directory in _up_to_project(workdir):
        for path in _in(os.path.join(directory, ".venv")):
            yield path, ".venv"
    for name in ("VIRTUAL_ENV", "CONDA_PREFIX"):
        if env.get(name):
            for path in _in(env[name]):
                yield path, name
    own = _own()
    if own is not None:
        yield own, "gpuctl's own"
    for directory in env.get("PATH", os.defpath).split(os.pathsep):
        for name in reversed(_NAMES):
            if directory:
                yield os.path.join(workdir, directory, name), "PATH"


def _up_to_project(workdir: str) -> Iterator[str]:
    """``workdir`` and its parents up to the one that holds a repository; only ``workdir`` outside of one."""
    passed = []
    directory = os.path.abspath(workdir)
    while True:
        passed.append(directory)
        if os.path.lexists(os.path.join(directory, ".git")):
            return iter(passed)
        parent = os.path.dirname(directory)
        if parent == directory:
            return iter(passed[:1])
        directory = parent


def _in(environment: str) -> Iterator[str]:
    return (os.path.join(environment, "bin", name) for name in _NAMES)


def _runs(path: str) -> bool:
    return os.path.isfile(path) and os.access(path, os.X_OK)


def _own() -> str | None:
    """The interpreter of the environment gpuctl is installed in, if people install other things there too (conda, a notebook)."""
    if os.path.exists(os.path.join(sys.prefix, "pipx_metadata.json")) or os.path.exists(os.path.join(sys.prefix, "uv-receipt.toml")):
        return None
    return sys.executable or None


def has_module(interpreter: str, module: str, *, cache_directory: str | None = None) -> bool:
    """Whether ``interpreter`` could import ``module`` (found, not imported).

    Answers are remembered in ``cache_directory``, if there is one, until the interpreter or a directory of its path changes.

    Raises:
        UsageError: ``bad-interpreter``, it cannot be run, or does not answer within 30 s.
    """
    cache = _Cache(cache_directory)
    known = cache.get(interpreter, module)
    if known is None:
        known, places = _ask(interpreter, module)
        cache.put(interpreter, module, known, places)
    return known


_PROBE = (
    "import importlib.util, sys\n"
    "sys.path[:1] = []\n"
    "try:\n"
    "    found = importlib.util.find_spec(sys.argv[1]) is not None\n"
    "except (ImportError, ValueError):\n"
    "    found = False\n"
    "print('yes' if found else 'no', *filter(None, sys.path), sep='\\n')\n"
)


def _ask(interpreter: str, module: str) -> tuple[bool, list[str]]:
    """Whether the module is there, and the directories whose change could change that."""
    import subprocess

    try:
        # Not -I: a module on PYTHONPATH or in the user's site is there for the job as well. Not below cwd, where a file may have its name.
        done = subprocess.run(
            [interpreter, "-c", _PROBE, module], stdin=subprocess.DEVNULL, capture_output=True, timeout=_PROBE_TIMEOUT, cwd="/", check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise UsageError(
            f"cannot run the interpreter {interpreter}", code="bad-interpreter", cause=str(error), hint="gpuctl doctor"
        ) from error
    lines = os.fsdecode(done.stdout).splitlines()
    if done.returncode != 0 or not lines:
        said = os.fsdecode(done.stderr).strip().splitlines()
        cause = said[-1] if said else f"it exited with {done.returncode}"
        raise UsageError(f"cannot run the interpreter {interpreter}", code="bad-interpreter", cause=cause, hint="gpuctl doctor")
    return lines[0] == "yes", lines[1:]


def install_command(interpreter: str, module: str) -> str:
    """The command that would install ``module`` (torch, ray) for ``interpreter``, to be pasted."""
    import shlex

    package = {"ray": "ray[default]"}.get(module, module)
    if _made_by_uv(interpreter):
        return f"uv pip install --python {shlex.quote(interpreter)} {shlex.quote(package)}"
    return f"{shlex.quote(interpreter)} -m pip install {shlex.quote(package)}"


def _made_by_uv(interpreter: str) -> bool:
    """Whether uv made the environment: it has no pip of its own then."""
    config = os.path.join(os.path.dirname(os.path.dirname(interpreter)), "pyvenv.cfg")
    try:
        with open(config, encoding="utf-8", errors="replace") as file:
            return any(line.split("=")[0].strip() == "uv" for line in file)
    except OSError:
        return False


class _Answer(msgspec.Struct, frozen=True, kw_only=True):
    """One remembered answer, good as long as the times (nanoseconds) of these paths are what they were."""

    found: bool
    stamps: dict[str, int]


class _Answers(msgspec.Struct, frozen=True, kw_only=True):
    version: int = _CACHE_VERSION
    answers: dict[str, _Answer] = {}


class _Cache:
    """Answers on disk; what cannot be read or written is not there."""

    def __init__(self, directory: str | None) -> None:
        self._path = os.path.join(directory, "interpreters.json") if directory is not None else None

    def _load(self) -> dict[str, _Answer]:
        if self._path is None:
            return {}
        try:
            with open(self._path, "rb") as file:
                loaded = decoding.decode(file.read(), _Answers)
        except (OSError, msgspec.DecodeError):
            return {}
        return loaded.answers if loaded.version == _CACHE_VERSION else {}

    def get(self, interpreter: str, module: str) -> bool | None:
        answer = self._load().get(f"{module} {interpreter}")
        if answer is None or answer.stamps != _stamps(answer.stamps):
            return None
        return answer.found

    def put(self, interpreter: str, module: str, found: bool, places: list[str]) -> None:
        if self._path is None:
            return
        answers = self._load()
        answers.pop(f"{module} {interpreter}", None)
        answers = dict(list(answers.items())[-_MOST_CACHED + 1 :])
        answers[f"{module} {interpreter}"] = _Answer(found=found, stamps=_stamps([interpreter, *places]))
        draft = f"{self._path}.{os.getpid()}"
        try:
            os.makedirs(os.path.dirname(self._path), mode=0o700, exist_ok=True)
            with open(draft, "wb") as file:
                file.write(msgspec.json.encode(_Answers(answers=answers)))
            os.replace(draft, self._path)
        except OSError:
            return


def _stamps(paths: "Mapping[str, int] | list[str]") -> dict[str, int]:
    stamps = {}
    for path in paths:
        try:
            stamps[path] = os.stat(path).st_mtime_ns
        except OSError:
            stamps[path] = 0
    return stamps
