"""Errors in a log: a pure scanner of a rank's last lines.

What it makes of each kind is in :mod:`gpuctl.policy.errorkinds`. Tracebacks are found as CPython prints them, also behind torch's
``[rank1]: `` prefix (each rank is then read apart), inside exception groups and in Ray's task errors. Of a chain the last exception
counts; the frame given is the last one outside installed packages. The tracebacks of torch's own launcher repeat that a rank failed
(``ChildFailedError``) or that it was told to end (``SignalException``) and are left out, as are exceptions ignored in a destructor.
"""

import re
from collections.abc import Sequence
from typing import NamedTuple

import msgspec

from gpuctl.model.reason import Evidence
from gpuctl.policy.errorkinds import of_exception, of_line

LONGEST_LAST_LINE = 160
"""Characters of a last line that is worth quoting; a longer one is data rather than a word to people."""
LONGEST_MESSAGE = 40
"""Lines of one exception's message that are read."""

# torch's excepthook writes "[rank1]: ", a tee with a line prefix "[1] ". "[1]:" is an entry of the launcher's summary.
_RANK = re.compile(r"^\[(?:(?:rank|default)(\d+)\]: ?|(\d+)\] )")
_ANSI = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")
_START = re.compile(r"^(?:Exception Group )?Traceback \(most recent call last\):$")
_FRAME = re.compile(r'^\s+File "(?P<file>[^"]+)", line (?P<line>\d+)(?:, in (?P<function>.+))?$')
_EXCEPTION = re.compile(r"^[A-Za-z_][\w.]*(?:\([\w.]+\))?(?::|$)")
_GROUP = re.compile(r"^ *(?:[|+] |\+-[+-]+(?: \d+ -+)?)")
_SYNTAX = re.compile(r"^(?:SyntaxError|IndentationError|TabError)\b")
_CHAIN = (
    "The above exception was the direct cause of the following exception:",
    "During handling of the above exception, another exception occurred:",
)
_PACKAGES = ("/site-packages/", "/dist-packages/", "/lib/python3", "<frozen ")
_LAUNCHER = (
    "torch.distributed.elastic.multiprocessing.errors.ChildFailedError",
    "ChildFailedError",
    "torch.distributed.elastic.multiprocessing.api.SignalException",
)


class Finding(NamedTuple):
    """One error and the lines (from 0, the last one excluded) it was found on, for showing them first."""

    evidence: Evidence
    first: int
    last: int


class _Line(NamedTuple):
    number: int
    text: str


class _Frame(NamedTuple):
    file: str
    line: str
    function: str


def scan(block: bytes, *, rank: int | None = None) -> tuple[Evidence, ...]:
    """Evidence in the last lines of a log, the most recent last. ``rank``: whose log it is, where lines do not say."""
    return tuple(finding.evidence for finding in find(block, rank=rank))


def last_line(block: bytes) -> str | None:
    """The last line of a log that says anything, as text without control sequences; None where that is too long to quote."""
    for raw in reversed(block.split(b"\n")):
        # What a progress bar drew last is what stands behind its last carriage return.
        shown = raw.rstrip(b"\r").rpartition(b"\r")[2]
        text = _ANSI.sub("", shown.decode("utf-8", "replace"))
        match = _RANK.match(text)
        line = "".join(each for each in (text[match.end() :] if match else text) if each.isprintable() or each == "\t").strip()
        if any(each.isalnum() for each in line):
            return line if len(line) <= LONGEST_LAST_LINE else None
    return None


def find(block: bytes, *, rank: int | None = None) -> tuple[Finding, ...]:
    """Errors in the last lines of a log in order of their end. Bytes that are no UTF-8 are replaced, control sequences dropped.

    Each rank tells one traceback, its last: an exception that was logged and survived is not what ended it.
    """
    streams: dict[int | None, list[_Line]] = {}
    for number, raw in enumerate(block.split(b"\n")):
        text = _ANSI.sub("", raw.decode("utf-8", "replace").rstrip("\r"))
        match = _RANK.match(text)
        spoken = int(match[1] or match[2]) if match else rank
        streams.setdefault(spoken, []).append(_Line(number, text[match.end() :] if match else text))
    found: list[Finding] = []
    for spoken, lines in streams.items():
        tracebacks = list(_tracebacks(lines, spoken))
        # A rank that lost its peers says so after its own error, which then is the one to tell.
        own = [one for one in tracebacks if one.evidence.code != "connection-lost"] or tracebacks
        found += own[-1:]
        found += _bare_lines(lines, spoken)
    return tuple(sorted(found, key=lambda finding: (finding.last, finding.first)))


def _bare_lines(lines: Sequence[_Line], rank: int | None) -> list[Finding]:
    """The first word of a watchdog, the last of a shell: one finding of each code."""
    found: dict[str, Finding] = {}
    for line in lines:
        evidence = of_line(line.text)
        if evidence is not None and (evidence.code == "killed" or evidence.code not in found):
            found[evidence.code] = Finding(msgspec.structs.replace(evidence, rank=rank), line.number, line.number + 1)
    return list(found.values())


def _tracebacks(lines: Sequence[_Line], rank: int | None) -> list[Finding]:
    found: list[Finding] = []
    at = 0
    while at < len(lines):
        text = _plain(lines[at].text)
        if _START.match(text):
            ignored = at > 0 and lines[at - 1].text.startswith("Exception ignored in")
            finding, at = _read(lines, at, rank)
            if finding is not None and not ignored:
                found.append(finding)
        elif _SYNTAX.match(text) and (frame := _frame_before(lines, at)) is not None:
            found.append(_finding(lines, at - frame[0], at, at + 1, [frame[1]], rank))
            at += 1
        else:
            at += 1
    return found


def _plain(text: str) -> str:
    """A line without the margin of an exception group."""
    return _GROUP.sub("", text, count=1) if text.lstrip().startswith(("|", "+")) else text


def _read(lines: Sequence[_Line], start: int, rank: int | None) -> tuple[Finding | None, int]:
    """One traceback and where it ends. None for one that is cut off, or the launcher's."""
    frames: list[_Frame] = []
    at = start + 1
    while at < len(lines):
        text = _plain(lines[at].text)
        frame = _FRAME.match(text)
        if frame:
            frames.append(_Frame(frame["file"], frame["line"], frame["function"] or ""))
        elif _START.match(text):
            return None, at
        elif text and not text[0].isspace():
            if not _EXCEPTION.match(text):
                return None, at
            if text.startswith("ray.exceptions.RayTaskError("):
                # Ray prints the task's own traceback, without its first line, as the message of this one.
                at += 1
                continue
            break
        at += 1
    if at >= len(lines):
        return None, at
    last = at + 1
    while last < len(lines) and last - at < LONGEST_MESSAGE and not _ends_message(_plain(lines[last].text)):
        last += 1
    while last > at + 1 and not lines[last - 1].text.strip():
        last -= 1
    if _plain(lines[at].text).startswith(_LAUNCHER):
        return None, last
    return _finding(lines, start, at, last, frames, rank), last


def _ends_message(text: str) -> bool:
    """Whether a line cannot be part of a message any more: another traceback, or a line of torch's own logging."""
    return bool(_START.match(text)) or text in _CHAIN or bool(re.match(r"[EWI]\d{4} \d\d:\d\d:\d\d", text))


def _finding(lines: Sequence[_Line], start: int, at: int, last: int, frames: Sequence[_Frame], rank: int | None) -> Finding:
    line = _plain(lines[at].text).strip()
    message = "\n".join(_plain(one.text) for one in lines[at:last])
    code, data = of_exception(line, message)
    own = [frame for frame in frames if not any(part in frame.file for part in _PACKAGES)] or list(frames)
    if own:
        data |= {"file": own[-1].file, "line": own[-1].line}
        if own[-1].function:
            data["function"] = own[-1].function
    evidence = Evidence(code=code, text=line, rank=rank, data=data, source="log")
    return Finding(evidence, lines[start].number, lines[last - 1].number + 1)


def _frame_before(lines: Sequence[_Line], at: int) -> tuple[int, _Frame] | None:
    """The ``File`` line of a syntax error that was found before anything ran, and how many lines above it stands."""
    for above in range(1, min(4, at) + 1):
        frame = _FRAME.match(lines[at - above].text)
        if frame:
            return above, _Frame(frame["file"], frame["line"], frame["function"] or "")
    return None
