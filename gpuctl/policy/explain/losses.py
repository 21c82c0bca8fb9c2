"""Why a job was taken away or vanished: evictions, lost nodes, reboots, dead supervisors."""

from gpuctl.base import clock, duration
from gpuctl.model.job import State
from gpuctl.model.reason import Evidence, Reason, What
from gpuctl.policy.explain.rule import ENDED_BADLY, NOWHERE, Case, Rule, Trust, clipped, number, who

TAKEN = ENDED_BADLY | {State.CUT}


def _again(case: Case) -> tuple[str | None, str | None]:
    """What to do about a loss that was not the job's fault."""
    if case.job.spec.requeue or case.job.spec.retries:
        return "nothing: it is started again by itself while retries are left", None
    return "run it again; --requeue lets gpuctl do that by itself", f"gpuctl rerun {case.name} --requeue"


_EVICTIONS: dict[str, tuple[str, What, str | None]] = {
    "disk": ("the node ran out of disk", "change", "write less to the container's own disk: use a volume or --logs-to"),
    "memory": ("the node ran out of memory", "change", "ask for the memory it uses with --memory"),
    "preempted": ("a job with a higher priority needed its place", "wait", None),
    "window": ("the window ended and the nodes went to their next owner", "wait", None),
}


def _evicted(case: Case, evidence: Evidence) -> Reason:
    cause = evidence.data.get("cause", "")
    why, what, advice = _EVICTIONS.get(cause, (clipped(evidence.text, 140) or "no cause given", "escalate", None))
    by = evidence.data.get("by")
    sentence = f"{who(evidence)} was evicted: {why}" + (f" ({by})" if by else "")
    again, command = _again(case)
    return Reason(code="evicted", sentence=sentence, what=what, advice=advice or again, command=command or f"gpuctl job {case.name}")


def _window_end(case: Case, evidence: Evidence) -> Reason:
    owner, window, at = evidence.data.get("owner"), evidence.data.get("window"), number(evidence, "at")
    if evidence.data.get("lent"):
        again, command = _again(case)
        sentence = f"used what {owner or 'another team'} lends while it stands idle, and was stopped when {owner or 'that'} needed it"
        return Reason(code="window", sentence=sentence, what="wait", advice=again, command=command or "gpuctl windows")
    sentence = f"was cut at the end of window {window}" if window else "was cut at the end of its window"
    sentence += f", {clock.rfc3339(clock.from_unix(at))}" if at is not None else ""
    sentence += f": its GPUs went to {owner}" if owner else ""
    again, command = _again(case)
    if case.job.spec.checkpoint is not None and command is not None:
        again = "run it again: it resumes from its checkpoint; --requeue lets gpuctl do that by itself"
    return Reason(code="window", sentence=sentence, what="change", advice=again, command=command or "gpuctl windows")


def _node_lost(case: Case, evidence: Evidence) -> Reason:
    seconds = number(evidence, "seconds")
    node = evidence.node or evidence.data.get("node") or "its node"
    sentence = f"{node} stopped answering" + (f" for {duration.short(seconds)}" if seconds is not None else "")
    advice, command = _again(case)
    return Reason(code="node-lost", sentence=sentence, what="escalate", advice=advice, command=command or "gpuctl nodes")


def _reboot(case: Case, evidence: Evidence) -> Reason:
    at = f" at {clock.rfc3339(evidence.at)}" if evidence.at else ""
    advice, command = _again(case)
    return Reason(
        code="reboot",
        sentence=f"{evidence.node or 'the machine'} was restarted{at} while the job ran",
        what="change",
        advice=advice,
        command=command or f"gpuctl job {case.name}",
    )


def _supervisor_died(case: Case, evidence: Evidence) -> Reason:
    pid = evidence.data.get("pid")
    died = clipped(evidence.text, 120)
    if "supervisor" in died:  # a sentence of its own, which says it better
        sentence = died + (f" (pid {pid})" if pid else "")
    else:
        sentence = "its supervisor" + (f" (pid {pid})" if pid else "") + " ended without a word"
        sentence += f": {died}" if died else ", what the job did after that is not known"
    advice, command = _again(case)
    return Reason(code="supervisor-died", sentence=sentence, what="escalate", advice=advice, command=command or "gpuctl doctor")


def _lost(case: Case, evidence: Evidence) -> Reason:
    advice, command = _again(case)
    sentence = "its processes vanished without a word" + (f": {clipped(evidence.text, 120)}" if evidence.text else "")
    return Reason(code="lost", sentence=sentence, what="escalate", advice=advice, command=command or f"gpuctl logs {case.name} --tail 50")


def _retrying(case: Case, evidence: Evidence) -> Reason:
    text = clipped(evidence.text, 200)
    last, left = evidence.data.get("attempt"), evidence.data.get("left")
    sentence = text or f"attempt {last or case.job.attempt_count} failed" + (f", {left} retries left" if left else "")
    command = f"gpuctl logs {case.name} --attempt {last}" if last else f"gpuctl logs {case.name} --first-error"
    return Reason(code="retrying", sentence=sentence, what="wait", advice="see why the last attempt ended", command=command)


def _code_changed(case: Case, evidence: Evidence) -> Reason:
    files = evidence.data.get("files") or clipped(evidence.text) or "the working directory"
    return Reason(
        code="code-changed",
        sentence=f"code changed after submit: {files}",
        what="nothing",
        advice="what ran may not be what is there now; --snapshot copies the code at submit",
        command=f"gpuctl rerun {case.name} --snapshot",
    )


def _note(case: Case, evidence: Evidence) -> Reason:
    return Reason(code="note", sentence=clipped(evidence.text, 200) or "no text", what="nothing")


LOSSES: tuple[Rule, ...] = (
    Rule("evicted", Trust.KILLED, TAKEN, _evicted, ("cause", "by")),
    Rule("window-end", Trust.KILLED, frozenset({State.CUT}), _window_end, ("at", "owner", "window", "lent")),
    Rule("node-lost", Trust.KILLED, ENDED_BADLY, _node_lost, ("node", "seconds")),
    Rule("reboot", Trust.KILLED, ENDED_BADLY, _reboot),
    Rule("supervisor-died", Trust.CONSEQUENCE, ENDED_BADLY, _supervisor_died, ("pid",)),
    Rule("lost", Trust.TERMINATED, ENDED_BADLY, _lost),
    Rule("retrying", Trust.QUEUE, frozenset({State.QUEUED}), _retrying, ("attempt", "left")),
    Rule("code-changed", Trust.NOTE, NOWHERE, _code_changed, ("files",)),
    Rule("note", Trust.NOTE, NOWHERE, _note),
)
