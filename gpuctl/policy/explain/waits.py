"""Why a job has not started: the line, the places, the cluster's refusals, images, volumes, configuration."""

from gpuctl.base import duration
from gpuctl.model.job import State
from gpuctl.model.reason import Evidence, Reason, What
from gpuctl.policy.explain.rule import LIVE, PENDING, Case, Rule, Trust, clipped, number, who

BEFORE_OR_FAILED = PENDING | {State.FAILED}


def _line(code: str, default: str, what: What, advice: str | None, command: str | None) -> Rule:
    """A reason of the queue or of a scheduler: its sentence is the one it was given, with the numbers appended that are known.

    Where the fact's own words are no sentence for people, ``told`` is one.
    """

    def judge(case: Case, evidence: Evidence) -> Reason:
        sentence = clipped(evidence.data.get("told") or evidence.text, 240) or default.format(name=case.name)
        needs, free, total, ahead = (evidence.data.get(key) for key in ("needs", "free", "total", "ahead"))
        if not evidence.text and "told" not in evidence.data:
            sentence += f" behind {ahead} jobs" if ahead else ""
            sentence += f", needs {needs}" + (f" of {total}" if total else "") if needs else ""
            sentence += f", {free} free" if free else ""
        return Reason(code=code, sentence=sentence, what=what, advice=advice, command=command and command.format(name=case.name))

    trust = Trust.SCHEDULER if code in _SCHEDULERS else Trust.QUEUE
    return Rule(code, trust, PENDING, judge, ("ahead", "needs", "total", "free", "told"))


_SCHEDULERS = frozenset({"capacity", "fragmented", "no-such-gpu", "never-fits", "taints", "device-busy", "not-ready"})

LINE: tuple[Rule, ...] = (
    _line("queued", "queued", "wait", None, "gpuctl jobs -u all --state running"),
    _line("claimed", "older jobs of other users are served first", "wait", None, "gpuctl nodes"),
    _line("dependency", "waits for another job to end", "wait", None, "gpuctl job {name}"),
    _line("held", "held by its owner, does not start until released", "change", "release it", "gpuctl update {name} --release"),
    _line("backoff", "pauses before its next attempt", "wait", "see why the last attempt failed", "gpuctl logs {name} --first-error"),
    _line("capacity", "not enough free GPUs", "wait", "wait, or ask for less", "gpuctl nodes"),
    _line(
        "fragmented", "enough GPUs are free, but in pieces", "change", "ask for a shape that fits the pieces, or wait", "gpuctl clusters"
    ),
    _line("never-fits", "asks for more than there is", "change", "ask for a smaller shape", "gpuctl nodes"),
    _line("no-such-gpu", "no such GPU type here", "change", "choose one of those that are there", "gpuctl nodes"),
    _line("device-busy", "its devices are held by processes that are not gpuctl's", "escalate", "ask their owner, or wait", "gpuctl nodes"),
    _line("not-ready", "nodes that it needs are not ready", "escalate", "tell the people who run the cluster", "gpuctl nodes"),
    _line("unreachable", "every cluster that it may use is unreachable", "wait", None, "gpuctl clusters"),
    _line("quota", "the team's quota is in use", "wait", "wait for the team's other jobs, or use another tier", "gpuctl quota"),
    _line("window", "the nodes belong to another team now", "wait", "see when they are yours", "gpuctl windows"),
    _line(
        "volume-home",
        "its volumes live on another cluster",
        "change",
        "choose that cluster with --cluster, or another volume",
        "gpuctl volumes",
    ),
    _line(
        "budget", "would cost more than --max-cost", "change", "raise --max-cost, or wait for reserved nodes", "gpuctl submit --plan ..."
    ),
)


def _taints(case: Case, evidence: Evidence) -> Reason:
    taints, nodes = evidence.data.get("taints"), evidence.data.get("nodes")
    sentence = f"{nodes + ' nodes are' if nodes else 'the nodes are'} closed to this job by taints"
    if taints:
        sentence += f": {taints}"
    elif evidence.text:
        sentence += f": {clipped(evidence.text)}"
    return Reason(
        code="taints",
        sentence=sentence,
        what="escalate",
        advice="ask the people who run the cluster whether the taint should be there",
        command="gpuctl nodes -o wide",
    )


_PULLS: dict[str, tuple[str, What, str]] = {
    "image-missing": ("there is no image {image}", "change", "check its name and tag, then submit with --image"),
    "image-auth": (
        "the registry refuses to hand out {image}",
        "change",
        "the cluster needs a pull secret for it, or the image must be public",
    ),
    "image-rate-limit": (
        "the registry's rate limit keeps {image} away",
        "wait",
        "it is tried again by itself; a mirror or a pull secret raises the limit",
    ),
    "image-pull": ("{image} cannot be pulled", "escalate", "read what the registry said"),
}


def _pull(code: str) -> Rule:
    template, what, advice = _PULLS[code]

    def judge(case: Case, evidence: Evidence) -> Reason:
        image = evidence.data.get("image") or case.job.spec.image or "its image"
        sentence = template.format(image=image)
        tries = number(evidence, "tries")
        sentence += f", {tries:.0f} tries so far" if tries else ""
        sentence += f": {clipped(evidence.text, 120)}" if evidence.text and code == "image-pull" else ""
        command = f"gpuctl rerun {case.name} --image NAME:TAG" if what == "change" else f"gpuctl job {case.name}"
        return Reason(code=code, sentence=sentence, what=what, advice=advice, command=command)

    return Rule(code, Trust.WAITING, BEFORE_OR_FAILED, judge, ("image", "tries"))


def _volume_unbound(case: Case, evidence: Evidence) -> Reason:
    volume = evidence.data.get("volume")
    sentence = f"{f'volume {volume}' if volume else 'a volume'} is not bound yet"
    storage = evidence.data.get("class")
    sentence += f" (storage class {storage})" if storage else ""
    sentence += f": {clipped(evidence.text, 120)}" if evidence.text else ""
    return Reason(
        code="volume-unbound",
        sentence=sentence,
        what="escalate",
        advice="see its events; the storage class may be missing",
        command=f"gpuctl volumes show {volume}" if volume and "not found" not in evidence.text else "gpuctl volumes",
    )


def _volume_mount(case: Case, evidence: Evidence) -> Reason:
    volume = evidence.data.get("volume")
    sentence = f"{f'volume {volume}' if volume else 'a volume'} cannot be mounted" + (f" on {evidence.node}" if evidence.node else "")
    sentence += f": {clipped(evidence.text, 140)}" if evidence.text else ""
    return Reason(
        code="volume-mount",
        sentence=sentence,
        what="escalate",
        advice="it may still be attached elsewhere (that ends by itself in minutes), else tell the people who run the cluster",
        command="gpuctl volumes",
    )


def _missing(code: str, kind: str) -> Rule:
    def judge(case: Case, evidence: Evidence) -> Reason:
        name = evidence.data.get("name", "it needs")
        key = evidence.data.get("key")
        sentence = f"{kind} {name} has no key {key}" if key else f"{kind} {name} does not exist"
        namespace = evidence.data.get("namespace")
        sentence += f" in {namespace}" if namespace else ""
        command = f"gpuctl rerun {case.name} --secret NAME" if code == "secret-missing" else f"gpuctl job {case.name}"
        return Reason(code=code, sentence=sentence, what="change", advice=f"create the {kind}, or submit again without it", command=command)

    return Rule(code, Trust.WAITING, BEFORE_OR_FAILED, judge, ("name", "key", "namespace"))


def _admission(case: Case, evidence: Evidence) -> Reason:
    by = evidence.data.get("by", "the cluster")
    text = clipped(evidence.text, 180) or "no cause given"
    return Reason(
        code="admission-refused",
        sentence=f"{by} refused {who(evidence)}: {text}",
        what="change",
        advice="change what it objects to, or ask for an exception",
        command=f"gpuctl job {case.name} -o yaml",
    )


def _operator(case: Case, evidence: Evidence) -> Reason:
    kind, cluster = evidence.data.get("kind", "the job's kind"), case.job.cluster or "the cluster"
    operator = evidence.data.get("operator")
    sentence = f"nothing on {cluster} acts on {kind}" + (f": {operator} is not running" if operator else "")
    return Reason(
        code="operator-missing",
        sentence=sentence,
        what="escalate",
        advice="ask the people who run the cluster to install it, or choose another cluster",
        command="gpuctl clusters",
    )


def _unreachable(case: Case, evidence: Evidence) -> Reason:
    cluster = evidence.data.get("cluster") or case.job.cluster or "its cluster"
    seconds = number(evidence, "seconds")
    sentence = f"{cluster} cannot be reached" + (f" for {duration.short(seconds)}" if seconds is not None else "")
    sentence += f": {clipped(evidence.text, 120)}" if evidence.text else ""
    return Reason(
        code="cluster-unreachable",
        sentence=f"{sentence}; the job may well go on there",
        what="wait",
        advice="nothing is known until it answers again",
        command="gpuctl doctor",
    )


def _credentials(case: Case, evidence: Evidence) -> Reason:
    cluster = evidence.data.get("cluster") or case.job.cluster or "the cluster"
    return Reason(
        code="credentials-expired",
        sentence=f"the credentials for {cluster} are no longer accepted" + (f": {clipped(evidence.text, 120)}" if evidence.text else ""),
        what="change",
        advice="log in again",
        command=evidence.data.get("command") or "gpuctl login",
    )


def _unhealthy(case: Case, evidence: Evidence) -> Reason:
    times, since = number(evidence, "times"), number(evidence, "since")
    often = f"{int(times)} times" if times is not None and times > 1 else "once"
    if since is not None and evidence.at is not None and evidence.at.timestamp() - since >= 1:
        often += f" in {duration.short(evidence.at.timestamp() - since)}"
    fatal = evidence.data.get("fatal") is not None
    last = f", last {duration.short((case.now - evidence.at).total_seconds())} ago" if evidence.at is not None and not fatal else ""
    pod = who(evidence) if evidence.rank is not None or evidence.task is not None else f"a pod on {evidence.node or 'some node'}"
    return Reason(
        code="unhealthy",
        sentence=f"{pod} {'was ended' if fatal else 'is not ready'}: {clipped(evidence.text, 160)} ({often}{last})",
        what="change",
        advice="see what the program does, and whether the probe asks the right port in time",
        command=f"gpuctl logs {case.name} --tail 50",
    )


WAITS: tuple[Rule, ...] = (
    Rule("cluster-unreachable", Trust.KILLED, LIVE, _unreachable, ("cluster", "seconds")),
    Rule("credentials-expired", Trust.KILLED, LIVE, _credentials, ("cluster", "command")),
    *(_pull(code) for code in _PULLS),
    _missing("config-missing", "config map"),
    _missing("secret-missing", "secret"),
    Rule("volume-mount", Trust.EVENT, BEFORE_OR_FAILED, _volume_mount, ("volume",)),
    Rule("volume-unbound", Trust.EVENT, BEFORE_OR_FAILED, _volume_unbound, ("volume", "class")),
    Rule("admission-refused", Trust.EVENT, BEFORE_OR_FAILED, _admission, ("by",)),
    Rule("unhealthy", Trust.EVENT, PENDING, _unhealthy, ("times", "since", "fatal")),
    Rule("operator-missing", Trust.EVENT, BEFORE_OR_FAILED, _operator, ("kind", "operator")),
    *(rule for rule in LINE),
    Rule("taints", Trust.SCHEDULER, PENDING, _taints, ("taints", "nodes")),
)
