"""Values of the flags about what runs, how wide, how long and when."""

import re
import shlex
import signal as signals
from collections.abc import Callable, Iterable
from typing import Any

from gpuctl.base import duration, names, quantity
from gpuctl.base.errors import nearest
from gpuctl.cli.spec.flag import Path, Place, Reader, Refused
from gpuctl.cli.spec.read_values import text_of

Settings = Iterable[tuple[Path, Any]]

SHAPE_ALLOWED = "NxM, such as 1x1, 4x8 or 2x0: N nodes of M GPUs"
LONGEST_ARRAY = 1_000_000
_SHAPE = re.compile(r"(\d+)\s*[x*\u00d7]\s*(\d+)\Z", re.IGNORECASE)
_ARRAY = re.compile(r"(?P<indices>\d[\d,\s-]*)?(?:%(?P<parallel>\d+))?\Z")
_MODES = ("ok", "any", "fail")


def shape(text: str, _place: Place) -> Settings:
    """``-j NxM``."""
    match = _SHAPE.match(text.strip())
    if not match:
        near = f"1x{text.strip()}" if text.strip().isdigit() else f"{text.strip().rstrip('xX')}x1" if text.strip()[:-1].isdigit() else None
        raise Refused("is no shape", allowed=SHAPE_ALLOWED, nearest=near)
    nodes, gpus = int(match[1]), int(match[2])
    if nodes == 0:
        raise Refused("a job has at least one node", allowed=SHAPE_ALLOWED, nearest=f"1x{gpus}")
    return [(("spec", "nodes"), nodes), (("spec", "gpus"), gpus)]


def time_limit(key: str, *, zero: bool = False) -> Reader:
    """A duration for ``spec.<key>``, kept in the spelling it was given in."""

    def read(text: str, _place: Place) -> Settings:
        return [(("spec", key), _duration(text, zero=zero))]

    return read


def _duration(text: str, *, zero: bool = False) -> str:
    stripped = text.strip()
    try:
        seconds = duration.parse(stripped)
    except ValueError as error:
        near = f"{stripped}m" if stripped.isdigit() else None
        raise Refused(str(error), allowed=duration.ALLOWED, nearest=near) from None
    if seconds == 0 and not zero:
        raise Refused("is no time at all", allowed=duration.ALLOWED)
    return stripped


def signal(text: str, _place: Place) -> Settings:
    """``--signal USR1@10m``; without a time 60 s before the end."""
    name, at, before = text.strip().partition("@")
    name = name.upper().removeprefix("SIG")
    known = [each.name.removeprefix("SIG") for each in signals.Signals]
    if name not in known:
        raise Refused("is no signal", allowed="NAME@TIME, such as USR1@10m", nearest=nearest(name, known))
    before = _duration(before) if at else "60s"
    return [(("spec", "signal"), {"name": name, "before": before})]


def array(text: str, _place: Place) -> Settings:
    """``--array 0-99%8``, ``--array 1,5,9``, and with ``--args-from`` also ``%8``."""
    allowed = "A-B, A-B%K or A,B,C%K, such as 0-99%8"
    match = _ARRAY.match(text.strip())
    if not match or not text.strip():
        raise Refused("is no array", allowed=allowed)
    found: list[tuple[Path, Any]] = []
    if match["parallel"] is not None:
        if int(match["parallel"]) < 1:
            raise Refused("no task at a time means that none ever runs", allowed=allowed)
        found.append((("spec", "array", "parallel"), int(match["parallel"])))
    if match["indices"] is None:
        return found
    ranges = [_range(part.strip(), allowed) for part in match["indices"].split(",")]
    if sum(last - first + 1 for first, last in ranges) > LONGEST_ARRAY:
        raise Refused(f"has more than {LONGEST_ARRAY:,} tasks", allowed=allowed)
    first, last = min(low for low, _ in ranges), max(high for _, high in ranges)
    indices = sorted({index for low, high in ranges for index in range(low, high + 1)})
    only = [] if len(indices) == last - first + 1 else indices
    return [*found, (("spec", "array", "first"), first), (("spec", "array", "last"), last), (("spec", "array", "only"), only or None)]


def _range(text: str, allowed: str) -> tuple[int, int]:
    low, dash, high = text.partition("-")
    if not low.isdigit() or (dash and not high.isdigit()):
        raise Refused("is no array", allowed=allowed)
    first, last = int(low), int(high) if dash else int(low)
    if last < first:
        raise Refused("runs backwards", allowed=allowed, nearest=f"{last}-{first}")
    return first, last


def args_from(text: str, place: Place) -> Settings:
    """``--args-from FILE``: one task per line, its words as a shell would split them. Empty lines and comments are left out."""
    tasks = []
    for number, line in enumerate(text_of(text, place).splitlines(), start=1):
        if line.strip() and not line.lstrip().startswith("#"):
            try:
                tasks.append(shlex.split(line))
            except ValueError as error:
                raise Refused(f"line {number}: {str(error).lower()}", got=repr(line)) from None
    if not tasks:
        raise Refused("has no line to make a task of", got=text)
    return [(("spec", "array", "args"), tasks)]


def after(text: str, _place: Place) -> Settings:
    """``--after ok:prep``; a job alone means ok. ``job/NAME`` as submit prints it is taken too."""
    mode, colon, job = text.strip().partition(":")
    if not colon:
        mode, job = "ok", mode
    if mode not in _MODES:
        raise Refused("waits for no such end", allowed="ok:JOB, any:JOB or fail:JOB", nearest=_near(mode, job))
    job = job.removeprefix("job/")
    if not job:
        raise Refused("names no job", allowed="ok:JOB, any:JOB or fail:JOB")
    return [(("spec", "after"), [{"job": job, "mode": mode}])]


def _near(mode: str, job: str) -> str | None:
    found = {"afterok": "ok", "afterany": "any", "afternotok": "fail", "failed": "fail"}.get(mode) or nearest(mode, _MODES)
    return f"{found}:{job}" if found else None


def name(text: str, _place: Place) -> Settings:
    """``--name llama``."""
    problem = names.problem(text)
    if problem:
        got = repr(text if len(text) <= 60 else text[:57] + "...")
        near = names.suggestion(text)
        usable = any(char.isascii() and char.isalnum() for char in text)
        raise Refused(problem, allowed=names.ALLOWED, nearest=near if usable else None, got=got)
    return [(("metadata", "name"), text)]


def count(key: str, *, lowest: int = 0) -> Reader:
    """A whole number for ``spec.<key>``."""

    def read(text: str, _place: Place) -> Settings:
        if not re.fullmatch(r"[+-]?\d+", text.strip()):
            raise Refused("is no whole number", allowed=f"a whole number from {lowest}")
        if int(text) < lowest:
            raise Refused("is too small", allowed=f"a whole number from {lowest}")
        return [(("spec", key), int(text))]

    return read


def money(text: str, _place: Place) -> Settings:
    """``--max-cost 250``, in the profile's currency."""
    match = re.fullmatch(r"\s*[$€£]?\s*(\d+(?:\.\d+)?)\s*", text)
    if not match:
        raise Refused("is no amount", allowed="a number such as 250 or 99.50")
    return [(("spec", "maxCost"), float(match[1]))]


def amount(key: str, parse: Callable[[str], int], allowed: str) -> Reader:
    """A quantity for ``spec.<key>``, kept in the spelling it was given in."""

    def read(text: str, _place: Place) -> Settings:
        try:
            value = parse(text)
        except ValueError as error:
            raise Refused(str(error), allowed=allowed) from None
        if value == 0:
            raise Refused("is nothing", allowed=allowed)
        return [(("spec", key), text.strip())]

    return read


def cpus() -> Reader:
    """``--cpus 8``."""
    return amount("cpus", quantity.parse_cpu, quantity.CPU_ALLOWED)


def memory() -> Reader:
    """``--memory 64Gi``."""
    return amount("memory", quantity.parse_memory, quantity.MEMORY_ALLOWED)
