"""One container's status as evidence: how it ended, or what it waits for."""

import re
from collections.abc import Iterable, Iterator

from gpuctl.clusters.kubernetes import amounts
from gpuctl.kube.objects.core import Event
from gpuctl.kube.objects.pods import Container, ContainerStatus, Pod, Terminated, Waiting
from gpuctl.model.job import Exit
from gpuctl.model.reason import Evidence

_PULL_REASONS = {"ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull", "RegistryUnavailable", "ImageInspectError"}
_START_REASONS = {
    "CreateContainerError",
    "RunContainerError",
    "StartError",
    "ContainerCannotRun",
    "PreStartHookError",
    "PostStartHookError",
}
_RATE = re.compile(r"toomanyrequests|too many requests|rate ?limit|\b429\b", re.IGNORECASE)
_GONE = re.compile(
    r"manifest unknown|manifest .*not found|not found|name unknown|NAME_UNKNOWN|MANIFEST_UNKNOWN|no such image|no match for platform"
    r"|invalid reference format|couldn't parse image|ErrImageNeverPull|is not present with pull policy of Never",
    re.IGNORECASE,
)
_AUTH = re.compile(
    r"\b401\b|\b403\b|unauthorized|denied|authentication required|authorization failed|no basic auth|forbidden|credential", re.IGNORECASE
)
_NESTED = re.compile(
    r'\A(?:(?:Back-off pulling image|[Ff]ailed to (?:pull image|pull and unpack image|resolve reference|resolve image)) "[^"]*": '
    r"|\w*ImagePull\w*: |rpc error: code = \w+ desc = |failed to do request: |failed to copy: )+"
)
"""What every layer between the kubelet and the registry puts before the words that say what was wrong."""
_MISSING = re.compile(r"\b(?P<kind>secret|configmap) \\?\"(?P<name>[^\"\\]+)\\?\" not found", re.IGNORECASE)
_KEY = re.compile(
    r"(?:couldn't find key|references non-existent (?:secret|config) key:?) (?P<key>\S+)(?: in (?P<kind>Secret|ConfigMap) "
    r"(?:(?P<namespace>[^/\s]+)/)?(?P<name>\S+))?",
    re.IGNORECASE,
)


_OURS = re.compile(
    r"\A(?P<code>setup-failed|gang-incomplete|code-[a-z]+|workdir-missing|checkpoint-unwritable|no-room): (?P<words>.+)", re.MULTILINE
)
_COMMIT = re.compile(r"code-commit: (?P<commit>[0-9a-f]{40,64})\s*\Z")
_GANG = re.compile(r"(?P<missing>\d+) of (?P<expected>\d+) nodes did not start within (?P<seconds>\d+) s")
CUT_STATUS = 198
"""What the in-pod program ends with when the time limit ended the job, where retries have to tell that from a failure."""


def exit_of(ended: Terminated) -> Exit:
    """The end of a container: a code, or the signal it died of (128 + n is how shells and runtimes spell a signal)."""
    if ended.signal:
        return Exit(signal=ended.signal)
    if 128 < ended.exit_code <= 128 + 64 and ended.exit_code != CUT_STATUS and ended.reason not in ("StartError", "ContainerCannotRun"):
        return Exit(signal=ended.exit_code - 128)
    return Exit(code=ended.exit_code)


def ended(status: ContainerStatus, container: Container | None, *, rank: int | None, node: str, attempt: int) -> Iterator[Evidence]:
    """Why a container that ended badly did so. Nothing for one that ended well or runs."""
    past = status.state.terminated if status.state is not None else None
    restarts = status.restart_count
    waits = status.state is not None and status.state.waiting is not None
    if past is None and waits and status.last_state is not None:
        past = status.last_state.terminated  # a crash loop waits; what it crashed of stands here
    if past is None or (past.exit_code == 0 and not past.signal):
        return

    def seen(code: str, text: str = "", data: dict[str, str] | None = None) -> Evidence:
        return Evidence(
            code=code, text=text, at=past.finished_at, rank=rank, node=node or None, attempt=attempt, data=data or {}, source="container"
        )

    if past.reason == "OOMKilled":
        limit = _memory_limit(container)
        yield seen("oom-killed", data={"limit": str(limit)} if limit else None)
        return
    ours = told(past)
    if ours is not None:
        yield seen(*ours)
        return
    if past.reason in _START_REASONS or (past.reason == "Error" and "OCI runtime create failed" in past.message):
        yield seen("start-failed", _runtime_words(past.message) or past.reason)
        return
    how = exit_of(past)
    if past.exit_code == CUT_STATUS:
        yield seen("time-limit")
        return
    if how.signal is not None:
        yield seen("signal", data={"signal": str(how.signal)})
        return
    yield seen("exit-code", data={"code": str(how.code)} | ({"restarts": str(restarts)} if restarts else {}))


def told(past: Terminated) -> tuple[str, str, dict[str, str]] | None:
    """``(code, text, data)`` of what the in-pod program left as its last words; None when it left none of its own."""
    match = _OURS.match(past.message)
    if not match:
        return None
    words = match["words"].strip()
    if match["code"] == "setup-failed":
        return "setup-failed", words, {"code": str(past.exit_code)}
    if match["code"] == "gang-incomplete":
        gang = _GANG.search(words)
        joined = {"joined": str(int(gang["expected"]) - int(gang["missing"])), "expected": gang["expected"]} if gang else {}
        return "rendezvous-timeout", words, joined | ({"seconds": gang["seconds"]} if gang else {})
    return "start-failed", words, {"what": "code"} if match["code"].startswith("code-") else {}


def commit(pod: Pod) -> str | None:
    """The commit that the pod fetched of its repository, where it says so."""
    for status in pod.status.init_container_statuses or ():
        past = status.state.terminated if status.state is not None else None
        match = _COMMIT.match(past.message) if past is not None else None
        if match:
            return match["commit"]
    return None


def waiting(
    status: ContainerStatus, *, image: str, namespace: str, events: Iterable[Event], rank: int | None, node: str, attempt: int
) -> Iterator[Evidence]:
    """What a container that has not started waits for, if that is not just time."""
    wait = status.state.waiting if status.state is not None else None
    if wait is None:
        return

    def seen(code: str, text: str = "", data: dict[str, str] | None = None) -> Evidence:
        return Evidence(
            code=code,
            text=text,
            rank=rank,
            node=node or None,
            attempt=attempt,
            data={key: value for key, value in (data or {}).items() if value},
            source="container",
        )

    if wait.reason in _PULL_REASONS:
        words, tries = _pull_words(wait, events)
        yield seen(
            pull_code(wait.reason, words), _NESTED.sub("", words), {"image": status.image or image, "tries": str(tries) if tries else ""}
        )
    elif wait.reason in ("CreateContainerConfigError", "CreateContainerError"):
        code, text, data = missing(wait.message, namespace) or ("start-failed", wait.message, {})
        yield seen(code, text, data)
    elif wait.reason in _START_REASONS:
        yield seen("start-failed", _runtime_words(wait.message) or wait.reason)


def pull_code(reason: str, words: str) -> str:
    """Which kind of failure a registry's words tell. Asking for credentials wins over "not found": registries hide what they protect."""
    if _RATE.search(words):
        return "image-rate-limit"
    if reason in ("InvalidImageName", "ErrImageNeverPull"):
        return "image-missing"
    if _AUTH.search(words) and not re.search(r"manifest unknown|not found\s*\Z", words, re.IGNORECASE):
        return "image-auth"
    return "image-missing" if _GONE.search(words) else "image-pull"


def missing(message: str, namespace: str) -> tuple[str, str, dict[str, str]] | None:
    """``(code, text, data)`` of a secret, a config map or a key of one that is not there; None when the message is about something else."""
    found = _MISSING.search(message)
    if found:
        code = "secret-missing" if found["kind"].lower() == "secret" else "config-missing"
        return code, message, {"name": found["name"], "namespace": namespace}
    key = _KEY.search(message)
    if key:
        kind = key["kind"] or ("Secret" if "secret" in message.lower() else "ConfigMap")
        code = "secret-missing" if kind.lower() == "secret" else "config-missing"
        data = {"key": key["key"], "namespace": key["namespace"] or namespace}
        return code, message, data | ({"name": key["name"]} if key["name"] else {})
    return None


def _pull_words(wait: Waiting, events: Iterable[Event]) -> tuple[str, int]:
    """What the registry said, and how often it was asked. While backing off only the events remember the words."""
    failures = [each for each in events if each.reason == "Failed" and ("pull image" in each.text or "ErrImagePull" in each.text)]
    tries = max((each.times for each in events if each.reason == "Pulling"), default=0)
    told = [each.text for each in sorted(failures, key=_when, reverse=True) if "Failed to pull image" in each.text]
    words = wait.message
    if wait.reason == "ImagePullBackOff" and ": " not in words.split('"')[-1] and told:
        words = told[0]
    return words, tries


def _when(event: Event) -> float:
    return event.at.timestamp() if event.at is not None else 0.0


def _memory_limit(container: Container | None) -> int | None:
    resources = container.resources if container is not None else None
    limit = (resources.limits or {}).get("memory") if resources is not None else None
    return amounts.whole(limit) or None if limit is not None else None


def _runtime_words(message: str) -> str:
    """The last clause of a runtime's nested message: ``exec: "trian.py": executable file not found in $PATH``."""
    match = re.search(r"(exec: .*|error during container init: .*|stat .*: no such file or directory.*)", message)
    return (match[1] if match else message).strip().removesuffix(": unknown").strip()
