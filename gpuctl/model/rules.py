"""What a job specification may say: the values of its fields, one by one and together.

Pure and complete: every rule is tried and every problem told, with the field in the document's own spelling (``nprocPerNode``,
``signal.before``, ``env.NAME``); who asked in flags maps it back. Whether a place can run the job is the place's to say.
"""

import math
import re
import signal as signals
from collections.abc import Callable, Iterable, Iterator

from gpuctl.base import duration, names, quantity
from gpuctl.base.errors import Problem, nearest
from gpuctl.model.spec import JobSpec

MOST_NODES = 100_000
MOST_GPUS = 1024
MOST_TASKS = 1_000_000
MOST_RETRIES = 1000
PRIORITY = 1000
"""Priorities go from minus to plus this."""

VARIABLE_ALLOWED = "letters, digits and _, not beginning with a digit"
RESERVED = ("GPUCTL_", "PET_")
"""Variables that begin so are gpuctl's to set in a job."""

_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")
GIT_URL_ALLOWED = "https://HOST/PATH, ssh://HOST/PATH, git@HOST:PATH or file:///PATH"
_GIT_URL = re.compile(r"(?P<scheme>https?|ssh|git|file)://((?P<login>[^/@\s]*)@)?[^\s/@?#\\]*/[^\s?#\\]+\Z")
_GIT_SSH = re.compile(r"((?P<login>[A-Za-z0-9._-]+)@)?[A-Za-z0-9][A-Za-z0-9.-]+:(?!//)[^\s:@?#\\][^\s@?#\\]*\Z")
"""``git@host:path``, as scp writes it. No second colon behind the first: ``ext::`` and its like are programs."""
_GIT_REF = re.compile(r"(?!-)[^\s\x00-\x1f\x7f~^:?*\[\\]+\Z")
_LOGS_TO = re.compile(r"(?P<volume>[^:]+)(:(?P<dir>/.*))?\Z", re.DOTALL)


def check_spec(spec: JobSpec) -> tuple[Problem, ...]:
    """Every problem of the spec, in the order of its fields; none when it could be a job somewhere."""
    return tuple(problem for rule in _RULES for problem in rule(spec))


def _shape(spec: JobSpec) -> Iterator[Problem]:
    yield from _range("nodes", spec.nodes, 1, MOST_NODES)
    yield from _range("gpus", spec.gpus, 0, MOST_GPUS)
    if spec.nproc_per_node is not None:
        yield from _range("nprocPerNode", spec.nproc_per_node, 1, MOST_NODES)
    if spec.per == "gpu" and spec.gpus == 0:
        yield Problem(field="per", message="one copy per GPU needs GPUs", got="gpus 0", allowed="node, or gpus of at least 1")


def _program(spec: JobSpec) -> Iterator[Problem]:
    sources = [name for name, given in (("script", spec.script), ("stdinScript", spec.stdin_script), ("command", spec.command)) if given]
    if not sources:
        yield Problem(field="script", message="nothing to run: neither script nor command is given")
    elif len(sources) > 1:
        yield Problem(field=sources[-1], message=f"cannot be given together with {sources[0]}")
    if spec.kind == "pytorch" and sources == ["command"]:
        yield Problem(
            field="kind", message="kind pytorch starts a Python script on every GPU", got="a command", allowed="script, or kind command"
        )
    if spec.args and sources == ["command"]:
        yield Problem(field="args", message="belong to a script; a command carries its own")
    if spec.script == "":
        yield Problem(field="script", message="is empty")
    if spec.command and not spec.command[0]:
        yield Problem(field="command[0]", message="is empty")
    for field, words in (("args", spec.args), ("command", spec.command)):
        for position, word in enumerate(words):
            if "\0" in word:
                yield Problem(field=f"{field}[{position}]", message="holds a NUL byte, which no program can be given")


def _environment(spec: JobSpec) -> Iterator[Problem]:
    for name, value in spec.env.items():
        yield from _variable(f"env.{name}", name)
        if "\0" in value:
            yield Problem(field=f"env.{name}", message="holds a NUL byte, which no variable can")
    for position, name in enumerate(spec.secrets):
        yield from _variable(f"secrets[{position}]", name)
        if name in spec.env:
            yield Problem(field=f"secrets[{position}]", message="is also in env, where its value would not be secret", got=name)
    yield from _twice("secrets", spec.secrets)


def _code(spec: JobSpec) -> Iterator[Problem]:
    if spec.code_volume is not None:
        yield from _volume("codeVolume", spec.code_volume)
    if spec.git is None:
        return
    yield from _git_url(spec.git.url)
    ref = spec.git.ref
    if not _GIT_REF.match(ref) or any(part in ref for part in ("..", "@{", "//")) or ref.endswith((".lock", "/", ".")):
        yield Problem(field="git.ref", message="is no name of a branch, tag or commit", got=shown(ref), allowed="main, v1.2, a commit")
    for field, given in (("snapshot", spec.snapshot), ("codeVolume", spec.code_volume)):
        if given:
            yield Problem(field=field, message="is for code of this machine, and git names a repository")
    if spec.workdir is not None and (spec.workdir.startswith(("/", "~")) or ".." in spec.workdir.split("/")):
        allowed = "a directory below its root, without .."
        yield Problem(field="workdir", message="is not in the repository", got=shown(spec.workdir), allowed=allowed)


def _git_url(url: str) -> Iterator[Problem]:
    match = _GIT_URL.match(url) or _GIT_SSH.match(url)
    if match is None:
        got = shown(without_login(url))
        yield Problem(field="git.url", message="is no address of a repository", got=got, allowed=GIT_URL_ALLOWED)
        return
    scheme, login = match.groupdict().get("scheme") or "ssh", match["login"] or ""
    if ":" in login or (login and scheme in {"http", "https"}):
        yield Problem(
            field="git.url",
            message="holds credentials, and everybody who sees the job would see them",
            allowed="the address alone, with --secret GIT_TOKEN (https), or --secret GIT_SSH_KEY=@FILE with a deploy key (ssh)",
            nearest=url.replace(f"{login}@", "", 1) if scheme != "ssh" else None,
        )


def without_login(url: str) -> str:
    """The address for a message: what stands before an ``@`` or behind a ``?`` may be a password."""
    return re.sub(r"[?].*", "?***", re.sub(r"[^/]*@", "***@", url), flags=re.DOTALL)


def git_parts(text: str) -> tuple[str, str] | None:
    """Address and ref of ``URL@REF``; None where it says no ref. The last ``@`` parts them, as in ``git@host:team/code@main``."""
    address, at, ref = text.strip().rpartition("@")
    alone = _is_git_url(text.strip()) and not _is_git_url(address)
    return (address, ref) if at and ref and not alone else None


def _is_git_url(text: str) -> bool:
    """Whether it is the address of a repository, with or without credentials."""
    return bool(_GIT_URL.match(text) or _GIT_SSH.match(text))


def _amounts(spec: JobSpec) -> Iterator[Problem]:
    yield from _amount("cpus", spec.cpus, quantity.parse_cpu, quantity.CPU_ALLOWED)
    yield from _amount("memory", spec.memory, quantity.parse_memory, quantity.MEMORY_ALLOWED)
    if spec.max_cost is not None and not (math.isfinite(spec.max_cost) and spec.max_cost > 0):
        yield Problem(field="maxCost", message="is no amount of money", got=str(spec.max_cost), allowed="a number above 0")


def _times(spec: JobSpec) -> Iterator[Problem]:
    yield from _duration("time", spec.time)
    yield from _duration("grace", spec.grace, zero=True)
    if spec.fit_window and spec.time is None:
        yield Problem(field="fitWindow", message="needs time: whether a job without an end fits, nobody can say")
    if spec.signal is None:
        return
    known = sorted(each.name.removeprefix("SIG") for each in signals.Signals)
    name = spec.signal.name.upper().removeprefix("SIG")
    if name not in known:
        yield Problem(
            field="signal.name",
            message="is no signal",
            got=shown(spec.signal.name),
            allowed="USR1, TERM, INT, ...",
            nearest=nearest(name, known),
        )
    elif name in {"KILL", "STOP"}:
        yield Problem(field="signal.name", message="cannot be caught, so it warns nobody", got=name, allowed="USR1, TERM, INT, ...")
    wrong = list(_duration("signal.before", spec.signal.before))
    yield from wrong
    limit = _seconds(spec.time)
    if not wrong and limit is not None and spec.signal.before_seconds >= limit:
        yield Problem(field="signal.before", message="is not shorter than time", got=spec.signal.before, allowed=f"less than {spec.time}")


def _queueing(spec: JobSpec) -> Iterator[Problem]:
    yield from _range("priority", spec.priority, -PRIORITY, PRIORITY)
    yield from _range("retries", spec.retries, 0, MOST_RETRIES)
    for position, dependency in enumerate(spec.after):
        if not dependency.job.strip():
            yield Problem(field=f"after[{position}].job", message="names no job", allowed="a job's name or id")
    for position, node in enumerate(spec.exclude):
        if not node.strip():
            yield Problem(field=f"exclude[{position}]", message="names no node")
    for position, index in enumerate(spec.devices):
        if index < 0:
            yield Problem(field=f"devices[{position}]", message="is no index", got=str(index), allowed="0 or more")
    yield from _twice("devices", [str(index) for index in spec.devices])
    if spec.notify is not None and not re.match(r"https?://[^\s/]+", spec.notify):
        yield Problem(field="notify", message="is no URL", got=shown(spec.notify), allowed="http://... or https://...")


def _array(spec: JobSpec) -> Iterator[Problem]:
    array = spec.array
    if array is None:
        return
    if array.first < 0:
        yield Problem(field="array.first", message="is negative", got=str(array.first), allowed="0 or more")
    if array.last < array.first:
        backwards = f"{array.first}-{array.last}"
        yield Problem(field="array.last", message="the array runs backwards", got=backwards, nearest=f"{array.last}-{array.first}")
        return
    if array.parallel is not None and array.parallel < 1:
        yield Problem(
            field="array.parallel", message="no task at a time means that none ever runs", got=str(array.parallel), allowed="1 or more"
        )
    if array.count > MOST_TASKS:
        yield Problem(field="array.last", message="the array is too long", got=f"{array.count} tasks", allowed=f"at most {MOST_TASKS}")
    if array.only and (list(array.only) != sorted(set(array.only)) or array.only[0] < array.first or array.only[-1] > array.last):
        allowed = f"ascending indices from {array.first} to {array.last}, each once"
        yield Problem(field="array.only", message="is no selection of the array", got=shown(array.only), allowed=allowed)
    if array.args and len(array.args) != array.count:
        yield Problem(field="array.args", message="is not one list per task", got=f"{len(array.args)} lists", allowed=f"{array.count}")


def _storage(spec: JobSpec) -> Iterator[Problem]:
    for position, mount in enumerate(spec.volumes):
        yield from _volume(f"volumes[{position}].name", mount.name)
        if mount.path is not None:
            yield from _inside(f"volumes[{position}].path", mount.path)
    yield from _twice("volumes", [mount.name for mount in spec.volumes])
    if spec.checkpoint is not None:
        yield from _volume("checkpoint.volume", spec.checkpoint.volume)
        yield from _inside("checkpoint.dir", spec.checkpoint.dir)
    if spec.logs_to is not None:
        match = _LOGS_TO.match(spec.logs_to)
        if not match:
            yield Problem(field="logsTo", message="is no place on a volume", got=shown(spec.logs_to), allowed="VOLUME or VOLUME:/dir")
        else:
            yield from _volume("logsTo", match["volume"])
            yield from _inside("logsTo", match["dir"] or "/")


_RULES: tuple[Callable[[JobSpec], Iterable[Problem]], ...] = (
    _shape,
    _program,
    _environment,
    _code,
    _amounts,
    _times,
    _queueing,
    _array,
    _storage,
)


def _range(field: str, value: int, least: int, most: int) -> Iterator[Problem]:
    if not least <= value <= most:
        yield Problem(field=field, message="is out of range", got=str(value), allowed=f"{least} to {most}")


def _variable(field: str, name: str) -> Iterator[Problem]:
    if not _VARIABLE.match(name):
        yield Problem(field=field, message="is no name of a variable", got=shown(name), allowed=VARIABLE_ALLOWED)
    elif name.startswith(RESERVED):
        yield Problem(field=field, message="is one of the variables that gpuctl sets in a job", got=name, allowed="another name")


def _seconds(text: str | None) -> int | None:
    try:
        return duration.parse(text) if text is not None else None
    except ValueError:
        return None


def _duration(field: str, text: str | None, *, zero: bool = False) -> Iterator[Problem]:
    if text is None:
        return
    try:
        seconds = duration.parse(text)
    except ValueError as error:
        close = f"{text.strip()}m" if text.strip().isdigit() else None
        yield Problem(field=field, message=str(error), got=shown(text), allowed=duration.ALLOWED, nearest=close)
        return
    if seconds == 0 and not zero:
        yield Problem(field=field, message="is no time at all", got=shown(text), allowed=duration.ALLOWED)


def _amount(field: str, text: str | None, parse: Callable[[str], int], allowed: str) -> Iterator[Problem]:
    if text is None:
        return
    try:
        value = parse(text)
    except ValueError as error:
        yield Problem(field=field, message=str(error), got=shown(text), allowed=allowed)
        return
    if value <= 0:
        yield Problem(field=field, message="is nothing", got=shown(text), allowed=allowed)


def _volume(field: str, name: str) -> Iterator[Problem]:
    why = names.problem(name)
    if why:
        yield Problem(field=field, message=why, got=shown(name), allowed=names.ALLOWED, nearest=names.suggestion(name))


def _inside(field: str, path: str) -> Iterator[Problem]:
    if not path.startswith("/") or ".." in path.split("/") or "\0" in path:
        yield Problem(field=field, message="is no absolute path", got=shown(path), allowed="/dir, without ..")


def _twice(field: str, words: Iterable[str]) -> Iterator[Problem]:
    seen: set[str] = set()
    for word in words:
        if word in seen:
            yield Problem(field=field, message="names one twice", got=word)
        seen.add(word)


def shown(value: object) -> str:
    """A value as Python would write it, cut to fit a message."""
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
