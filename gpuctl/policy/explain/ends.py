"""Why a program ended: codes, signals, memory, Python, PyTorch, limits, people."""

import re
import signal as signals

from gpuctl.base import duration, quantity
from gpuctl.model.job import State
from gpuctl.model.reason import Evidence, Reason
from gpuctl.policy.explain.rule import AT_WORK, ENDED_BADLY, FAILED, Case, Rule, Trust, clipped, number, who


def _exit_code(case: Case, evidence: Evidence) -> Reason:
    code = int(number(evidence, "code") or 0)
    sentence = f"{who(evidence)} ended with exit code {code}"
    meaning = {
        126: "the command was found but could not be run: is it executable?",
        127: "command not found: is it installed where the job runs?",
        2: "often a usage error of the program: are its arguments right?",
    }.get(code, "read what it said last")
    restarts = number(evidence, "restarts")
    if restarts:
        sentence += f", {restarts:.0f} times in a row" if restarts > 1 else ", once before"
    said = evidence.data.get("said")
    if said:
        sentence += f"; its last line: {clipped(said)}"
        meaning = meaning if code in (126, 127) else "read what it said before"
    return Reason(code="exit-code", sentence=sentence, what="change", advice=meaning, command=f"gpuctl logs {case.name} --first-error")


_SIGNALS = {
    "SIGKILL": (
        "no OOM kill was seen and gpuctl did not send it",
        "look for who kills processes here: an administrator, a batch limit, an OOM kill in a container's own cgroup",
    ),
    "SIGTERM": ("gpuctl did not send it", "somebody or something on the node asked it to end"),
    "SIGINT": ("as Ctrl-C does", "somebody interrupted it on the node"),
    "SIGSEGV": (
        "a crash in native code",
        "run it with --env PYTHONFAULTHANDLER=1 to see where; suspect extensions built for another version",
    ),
    "SIGBUS": ("memory that could not be mapped", "often a full /dev/shm: use fewer data-loader workers"),
    "SIGABRT": ("it gave up by itself", "the last lines of the log say why: a failed assertion, or a watchdog of NCCL"),
    "SIGILL": ("an instruction this processor does not have", "a package was built for another processor"),
    "SIGFPE": ("an integer division by zero in native code", "run it with --env PYTHONFAULTHANDLER=1 to see where"),
    "SIGXCPU": ("the limit on processor seconds was reached", "raise ulimit -t"),
}


def signal_name(value: int) -> str:
    """``SIGKILL`` for 9; a number the system has no name for stays ``signal 77``."""
    try:
        return signals.Signals(value).name
    except ValueError:
        return f"signal {value}"


def _signal(case: Case, evidence: Evidence) -> Reason:
    value = int(number(evidence, "signal") or 0)
    name = signal_name(value)
    meaning, advice = _SIGNALS.get(name, ("", "read what it said last"))
    sender = evidence.data.get("by")
    if sender:
        meaning = f"sent by {sender}"
    sentence = f"{who(evidence)} died of signal {value}" + (f" ({name})" if name.startswith("SIG") else "")
    return Reason(
        code="signal",
        sentence=f"{sentence}, {meaning}" if meaning else sentence,
        what="escalate" if name in ("SIGKILL", "SIGTERM") else "change",
        advice=advice,
        command=f"gpuctl logs {case.name} --first-error",
    )


def _oom_killed(case: Case, evidence: Evidence) -> Reason:
    limit, used = number(evidence, "limit"), number(evidence, "used")
    process = evidence.data.get("process")
    victim = f"{who(evidence)} ({process})" if process else who(evidence)
    using = f" using {quantity.memory(used)}" if used else ""
    if limit:
        sentence = f"{victim} was killed for memory{using}: the limit is {quantity.memory(limit)} per node"
        advice = "ask for more memory, or load less at a time (data-loader workers count)"
        command: str | None = f"gpuctl rerun {case.name} --memory {_doubled(limit)}"
    else:
        sentence = f"{victim} was killed by the kernel{using}: the machine ran out of memory, the job had no limit of its own"
        advice = "use less memory, or give every job a --memory so that they do not take each other's"
        command = f"gpuctl top {case.name}" if not case.job.final else f"gpuctl logs {case.name} --first-error"
    return Reason(code="oom-killed", sentence=sentence, what="change", advice=advice, command=command)


def _doubled(limit: float) -> str:
    """Twice the limit in a spelling that ``--memory`` reads."""
    for unit, factor in (("Gi", 1 << 30), ("Mi", 1 << 20)):
        if limit * 2 >= factor:
            return f"{-(-int(limit * 2) // factor)}{unit}"
    return str(int(limit * 2))


def _cuda_oom(case: Case, evidence: Evidence) -> Reason:
    device = evidence.data.get("device")
    tried, total, free = (evidence.data.get(key) for key in ("tried", "total", "free"))
    sentence = f"{who(evidence)} ran out of GPU memory" + (f" on its GPU {device}" if device else "")
    facts = [f"tried to allocate {tried}"] if tried else []
    facts += [f"{free} free of {total}" if free else f"the GPU has {total}"] if total else []
    sentence += f": {', '.join(facts)}" if facts else ""
    other = evidence.data.get("others")
    if other:
        sentence += f", {other} held by other processes"
    return Reason(
        code="cuda-oom",
        sentence=sentence,
        what="change",
        advice="smaller batch, gradient checkpointing, or --env PYTORCH_CUDA_ALLOC_CONF=expandable_segments:True against fragmentation",
        command=f"gpuctl logs {case.name} --first-error",
    )


def _rendezvous(case: Case, evidence: Evidence) -> Reason:
    joined, expected, seconds = (number(evidence, key) for key in ("joined", "expected", "seconds"))
    sentence = "the nodes did not find each other"
    if seconds is not None:
        sentence += f" within {duration.short(seconds)}"
    if joined is not None and expected is not None:
        sentence += f": {joined:.0f} of {expected:.0f} joined"
    elif clipped(evidence.text):
        sentence += f": {clipped(evidence.text, 100)}"
    return Reason(
        code="rendezvous-timeout",
        sentence=sentence,
        what="change",
        advice="see whether one node failed before, or is still installing; then whether they reach each other's ports",
        command=f"gpuctl logs {case.name} --failed",
    )


_NCCL = {
    "timeout": "one rank stopped taking part: look for the one that logged least, or ran another branch",
    "remote": "another rank or its network went away first: look at the other ranks",
    "system": "a call to the system failed: check /dev/shm, file limits and the network interface (--env NCCL_DEBUG=INFO tells)",
    "unhandled cuda": "a GPU call failed inside NCCL: check driver and GPU health (--env NCCL_DEBUG=INFO tells)",
    "invalid usage": "ranks share a GPU or call collectives differently: one GPU per rank, same calls in the same order",
}


def _nccl(case: Case, evidence: Evidence) -> Reason:
    error = clipped(evidence.data.get("error", "") or evidence.text, 100) or "unknown error"
    operation, seconds = evidence.data.get("operation"), number(evidence, "seconds")
    sentence = f"{who(evidence)} failed in NCCL: {error}"
    if operation:
        sentence += f" in {operation}"
    if seconds is not None:
        sentence += f" after {duration.short(seconds)}"
    advice = next((text for word, text in _NCCL.items() if word in error.lower()), "run it again with --env NCCL_DEBUG=INFO")
    return Reason(code="nccl-error", sentence=sentence, what="change", advice=advice, command=f"gpuctl logs {case.name} --first-error")


_NO_GPU = {
    "Torch not compiled with CUDA enabled": "this PyTorch is built without CUDA: install one with it, or ask torch.cuda.is_available()",
    "No CUDA GPUs are available": "the job sees no GPU: see whether this machine has some, and whether -j asked for one",
    "Found no NVIDIA driver": "this machine has no NVIDIA driver: run it where there are GPUs, or ask torch.cuda.is_available() first",
}


def _traceback(case: Case, evidence: Evidence) -> Reason:
    last = clipped(evidence.text) or "an exception"
    file, line = evidence.data.get("file"), evidence.data.get("line")
    place = f" at {file.rsplit('/', 1)[-1]}:{line}" if file and line else ""
    where = f"{file}:{line}" if file and line else None
    advice = next((text for words, text in _NO_GPU.items() if words in evidence.text), None)
    return Reason(
        code="python-traceback",
        sentence=f"{who(evidence)} raised {last}{place}",
        what="change",
        advice=advice or (f"look at {where}" if where else "read the traceback"),
        command=f"gpuctl logs {case.name} --first-error",
    )


def _connection_lost(case: Case, evidence: Evidence) -> Reason:
    return Reason(
        code="connection-lost",
        sentence=f"{who(evidence)} lost its connection to another rank: {clipped(_after_brackets(evidence.text), 100)}",
        what="change",
        advice="another rank or its node went away first: look at the ranks that ended before this one",
        command=f"gpuctl logs {case.name} --failed",
    )


def _after_brackets(text: str) -> str:
    """A gloo message without the path of its source file."""
    return re.sub(r"\[[^\]]*\.cc:\d+\] ", "", text)


def _killed(case: Case, evidence: Evidence) -> Reason:
    process = evidence.data.get("process")
    return Reason(
        code="killed",
        sentence=f"{process or 'a process'} of {who(evidence)} was killed, no OOM kill was seen",
        what="change",
        advice="most often memory: use fewer data-loader workers or less memory, and a larger /dev/shm in a container",
        command=f"gpuctl top {case.name}" if not case.job.final else f"gpuctl logs {case.name} --first-error",
    )


def _module_missing(case: Case, evidence: Evidence) -> Reason:
    module = evidence.data.get("module") or "a module"
    interpreter = evidence.data.get("interpreter") or case.job.interpreter
    package = evidence.data.get("package") or module.split(".")[0]
    return Reason(
        code="module-missing",
        sentence=f"{who(evidence)} could not import {module}" + (f" with {interpreter}" if interpreter else ""),
        what="change",
        advice="install it there, or choose another interpreter with --python",
        command=f"{interpreter or 'python3'} -m pip install {package}",
    )


def _interpreter_missing(case: Case, evidence: Evidence) -> Reason:
    interpreter = evidence.data.get("interpreter") or case.job.interpreter or "the interpreter"
    return Reason(
        code="interpreter-missing",
        sentence=f"{interpreter} is not there any more, or cannot be run",
        what="change",
        advice="make it again, or choose another one with --python",
        command=f"gpuctl rerun {case.name} --python python3",
    )


def _setup_failed(case: Case, evidence: Evidence) -> Reason:
    code = evidence.data.get("code", "?")
    sentence = f"--setup ended with exit code {code}" + (f" on {evidence.node}" if evidence.node else "")
    return Reason(
        code="setup-failed",
        sentence=sentence,
        what="change",
        advice="read what the setup said",
        command=f"gpuctl logs {case.name} --failed",
    )


def _not_started(case: Case, evidence: Evidence) -> Reason:
    text = clipped(evidence.text) or "no cause given"
    if evidence.data.get("what") == "code":
        return Reason(
            code="start-failed",
            sentence=f"its code did not get to where it runs: {text}",
            what="change",
            advice="put right what it says, then run it again",
            command=f"gpuctl rerun {case.name}",
        )
    return Reason(
        code="start-failed",
        sentence=f"the program could not be started: {text}",
        what="change",
        advice="check that the command exists and may be run, and that the working directory is still there",
        command=f"gpuctl job {case.name}",
    )


def _time_limit(case: Case, evidence: Evidence) -> Reason:
    limit = number(evidence, "limit")
    asked = duration.short(limit) if limit is not None else case.job.spec.time
    sentence = f"was cut at its time limit of {asked}" if asked else "was cut at its time limit"
    command = f"gpuctl rerun {case.name} --time {duration.canonical(int(limit * 2))}" if limit else f"gpuctl rerun {case.name} --time 2h"
    return Reason(
        code="time-limit",
        sentence=sentence,
        what="change",
        advice="ask for more --time, or save checkpoints and use --requeue --checkpoint VOLUME:/dir",
        command=command,
    )


def _cancelled(case: Case, evidence: Evidence) -> Reason:
    by = evidence.data.get("by")
    when = "before it started" if case.job.started_at is None else "while it ran"
    return Reason(
        code="cancelled",
        sentence=f"was cancelled by {by} {when}" if by else f"was cancelled {when}",
        what="nothing",
        advice="run it again if that was not meant",
        command=f"gpuctl rerun {case.name}",
    )


def _dependency_failed(case: Case, evidence: Evidence) -> Reason:
    on, state = evidence.data.get("job", "a job"), evidence.data.get("state", "failed")
    return Reason(
        code="dependency-failed",
        sentence=clipped(evidence.text) or f"was to start after {on}, which ended {state}",
        what="change",
        advice=f"see why {on} ended {state}, then run this one again",
        command=f"gpuctl why {on}" if on != "a job" else f"gpuctl job {case.name}",
    )


ENDS: tuple[Rule, ...] = (
    Rule("cancelled", Trust.KILLED, frozenset({State.CANCELLED}), _cancelled, ("by",)),
    Rule("dependency-failed", Trust.KILLED, frozenset({State.CANCELLED}), _dependency_failed, ("job", "state")),
    Rule("time-limit", Trust.KILLED, frozenset({State.CUT}), _time_limit, ("limit",)),
    Rule("oom-killed", Trust.KILLED, ENDED_BADLY | AT_WORK, _oom_killed, ("limit", "used", "process")),
    Rule("interpreter-missing", Trust.CAUSE, FAILED, _interpreter_missing, ("interpreter",)),
    Rule("start-failed", Trust.CAUSE, ENDED_BADLY, _not_started, ("what",)),
    Rule("setup-failed", Trust.CAUSE, FAILED, _setup_failed, ("code",)),
    Rule("module-missing", Trust.CAUSE, FAILED, _module_missing, ("module", "package", "interpreter")),
    Rule("cuda-oom", Trust.CAUSE, FAILED, _cuda_oom, ("tried", "total", "free", "others", "device")),
    Rule("python-traceback", Trust.CAUSE, FAILED, _traceback, ("file", "line")),
    Rule("killed", Trust.CAUSE, FAILED, _killed, ("process",)),
    Rule("nccl-error", Trust.CONSEQUENCE, FAILED, _nccl, ("error", "operation", "seconds")),
    Rule("rendezvous-timeout", Trust.CONSEQUENCE, FAILED, _rendezvous, ("joined", "expected", "seconds")),
    Rule("connection-lost", Trust.CONSEQUENCE, FAILED, _connection_lost),
    Rule("signal", Trust.TERMINATED, FAILED | {State.STARTING}, _signal, ("signal", "by")),
    Rule("exit-code", Trust.TERMINATED, FAILED | {State.STARTING}, _exit_code, ("code", "restarts", "said")),
)
