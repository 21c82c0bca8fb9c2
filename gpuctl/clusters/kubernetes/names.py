"""Names, labels and annotations of what gpuctl creates in a cluster.

Names derive from the request id, so that a repeated submit meets its own objects. They have to leave room for the tails that others add.
"""

import hashlib
import re

from gpuctl.base import names
from gpuctl.kube.resources import Resource

PREFIX = "gpuctl.io/"

MANAGED_BY = "app.kubernetes.io/managed-by"
MANAGER = "gpuctl"

JOB = PREFIX + "job"
JOB_ID = PREFIX + "job-id"
USER = PREFIX + "user"
TEAM = PREFIX + "team"
ATTEMPT = PREFIX + "attempt"
KIND = PREFIX + "kind"
PART = PREFIX + "part"
"""On pods: ``node``, or ``head`` and ``worker`` of a Ray, or :data:`SUBMITTER`."""
SUBMITTER = "submitter"
"""The pod that hands KubeRay's Ray its entrypoint and writes what that writes."""
ARRAY = PREFIX + "array"
"""On pods of an array: each task is a gang of its own."""

SIGNAL = PREFIX + "signal"
"""On pods: the job's own warning before its window ends, a signal and seconds: ``USR1@600``."""

SPEC = PREFIX + "spec"
SPEC_CUT = PREFIX + "spec-cut"
"""Fields that were too long for the annotation of the spec, with commas between."""
BASE_NAME = PREFIX + "base-name"
REQUEST_ID = PREFIX + "request-id"
EXPLICIT_REQUEST_ID = PREFIX + "request-id-given"
USER_NAME = PREFIX + "user-name"
"""The user as it is, where a label cannot hold it."""
ENGINE = PREFIX + "engine"
COMMIT = PREFIX + "git-commit"
BRANCH = PREFIX + "git-branch"
DIRTY = PREFIX + "git-dirty"
WORKDIR = PREFIX + "workdir"
CODE = PREFIX + "code"
CODE_ARCHIVE = PREFIX + "code-archive"
"""On a job whose code came by a volume: the name of the archive there."""
CODE_DIGEST = PREFIX + "code-sha256"
TIER_CHOSEN = PREFIX + "placed-tier"
HELD = PREFIX + "held"
QUEUE = PREFIX + "queue"
"""The Kueue queue of a held job, which gets its label only when it is released."""
RERUN_OF = PREFIX + "rerun-of"

NODE_TIER = PREFIX + "tier"
NODE_OWNER = PREFIX + "owner-team"
OWNER_TAINT = PREFIX + "owner"
NODE_SCHEDULE = PREFIX + "schedule"
"""On nodes that a window controller switches: the schedule they belong to. Without it owner label and taints are an administrator's."""
LENDS_TAINT = PREFIX + "lends"
"""In place of the owner's taint while idle nodes are lent: the owner's team tolerates it, and so may every job that can be stopped."""
PREEMPTIBLE = PREFIX + "preemptible"
"""On pods, ``true``: they may be stopped, and so may run on nodes that are lent, if their priority is below zero, too."""
PREEMPTIBLE_CLASS = "gpuctl-preemptible"
"""The priority class of such pods that the platform's manifests bring."""
EXEMPT = PREFIX + "exempt"
"""On namespaces, ``true``: admission policies and windows leave their pods alone (GPU operators, monitoring). So is kube-system."""
CLOSING_TAINT = PREFIX + "window-closing"
"""Its value is the next owner: nothing new starts here until the node has changed hands."""
CLOSING_SINCE = PREFIX + "window-closing-since"
"""On nodes: when the closing taint was set (RFC 3339, UTC)."""
WINDOW = PREFIX + "window"
"""On a job's object and its pods: the window that ends. With it go the three below."""
WINDOW_ENDS = PREFIX + "window-ends"
"""When it ends (RFC 3339, UTC); set when the job is told."""
WINDOW_CUT = PREFIX + "window-cut"
"""Since when a window's end ends the job (RFC 3339, UTC); set before the first of its pods is evicted."""
WINDOW_NEXT = PREFIX + "window-next-owner"
"""Whose the nodes are then."""
VOLUME = PREFIX + "volume"

POOL_SCHEDULES = Resource("gpuctl.io", "v1alpha1", "poolschedules", "PoolSchedule", namespaced=False)
"""Schedules of time windows (:class:`gpuctl.model.schedule.PoolSchedule`)."""

KUEUE_QUEUE = "kueue.x-k8s.io/queue-name"
COMPLETION_INDEX = "batch.kubernetes.io/job-completion-index"
JOBSET_RESTARTS = "jobset.sigs.k8s.io/restart-attempt"
INDEX_FAILURES = "batch.kubernetes.io/job-index-failure-count"
"""On pods of a Job whose indexes fail alone: how often this index has failed before."""
INDEX_IGNORED = "batch.kubernetes.io/job-index-ignored-failure-count"
"""The same for failures that use up no retry (a pod that was evicted); only where there were some."""
JOBSET_NODE_SELECTOR = "alpha.jobset.sigs.k8s.io/node-selector"
"""On pods: JobSet's webhook leaves them alone."""

LONGEST = 43
"""Characters of an object's name: JobSet makes pods ``NAME-worker-0-9999-xxxxx`` of it, in 63; KubeRay refuses a RayJob's above 47."""
_LABEL_LENGTH = 63


def job_id(request_id: str) -> str:
    """The job's id: twelve hexadecimal digits that always belong to this request id."""
    return hashlib.sha256(b"gpuctl job\0" + request_id.encode()).hexdigest()[:12]


def job_name(base_name: str, request_id: str, *, turn: int = 0) -> str:
    """The job's name: ``llama-k3f9``. ``turn`` gives the next one when somebody else has the first."""
    return f"{base_name}-{names.tail_of(f'{request_id}/{turn}' if turn else request_id)}"


def object_name(name: str, attempt: int = 1) -> str:
    """The name of one attempt's objects: the job's own for the first, ``llama-k3f9-2`` for the second.

    It begins with a letter, as Services and TrainJobs must, and fits every engine: a name that is too long ends in a hash of itself.
    """
    whole = name if attempt == 1 else f"{name}-{attempt}"
    if not whole[:1].isalpha():
        whole = f"j{whole}"
    return fit(whole, LONGEST)


def fit(name: str, longest: int) -> str:
    """``name`` if it has at most ``longest`` characters, else its beginning with a hash of the whole behind it."""
    if len(name) <= longest:
        return name
    tail = hashlib.sha256(name.encode()).hexdigest()[:6]
    return f"{name[: longest - 7].rstrip('-')}-{tail}"


def code_secret(digest: str, part: int) -> str:
    """The Secret that holds one part of the code with this SHA-256."""
    return f"gpuctl-code-{digest[:40]}-{part}"


CODE_DIRECTORY = ".gpuctl/code"
"""On a code volume: where archives lie, by their content."""


def code_archive(digest: str) -> str:
    """The name of the archive with this SHA-256 in ``CODE_DIRECTORY``."""
    return f"{digest}.tar.gz"


def label_value(text: str) -> str:
    """``text`` as a label may hold it: ``anna@lab.example`` is ``anna-lab.example``; empty when nothing of it can be kept."""
    kept = re.sub(r"[^A-Za-z0-9._-]+", "-", text)
    return kept[:_LABEL_LENGTH].strip("-._")
