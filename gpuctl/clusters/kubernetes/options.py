"""The options of one cluster in a profile, read and checked: ``ctx=res-a,namespace=ml,price=H100:4.10,elastic=H100:64``."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

from gpuctl.base.errors import InvalidInput, Problem, nearest

ENGINES = ("auto", "jobset", "trainjob", "pytorchjob", "job", "rayjob")
"""What ``engine`` may say; ``auto`` takes the best that the cluster has."""

KNOWN = (
    "ctx",
    "kubeconfig",
    "namespace",
    "team",
    "tier",
    "queue",
    "engine",
    "runtime",
    "image",
    "pod",
    "price",
    "elastic",
    "elastic-node",
    "git-image",
    "gpu-map",
    "gpu-resource",
    "priority-classes",
    "service-account",
    "pull-secret",
    "ray-version",
    "storage-class",
    "ttl",
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Options:
    """One kubeconfig context as a cluster.

    Attributes:
        ctx: the context; None is the current one, or the pod's own cluster.
        kubeconfig: a file to read instead of KUBECONFIG.
        namespace: wins over the context's.
        team: whose jobs these are; None: from the namespace's label.
        tier: of every node without a tier label.
        queue: the Kueue LocalQueue that jobs go to.
        engine: which object a PyTorch job becomes.
        runtime: the Trainer runtime to use.
        image: for jobs that name none.
        pod: path of a patch for every pod template.
        price: per GPU and hour, by GPU type.
        elastic: GPUs by type up to which the cluster grows by itself.
        elastic_node: GPUs of one node that would be added.
        gpu_map: GPU types by node label (``key=value``), for nodes that GPU feature discovery does not label.
        gpu_resource: the extended resource that GPUs are.
        priority_classes: names of PriorityClasses by gpuctl priority, ascending.
        service_account: for the jobs' pods.
        git_image: what fetches the repository of a job with ``--git``.
        pull_secret: a registry's credentials for the jobs' pods.
        ray_version: of images whose tag tells none.
        storage_class: for volumes that name none.
        ttl_seconds: how long an ended job stays in the cluster.
    """

    ctx: str | None = None
    kubeconfig: str | None = None
    namespace: str | None = None
    team: str | None = None
    tier: str | None = None
    queue: str | None = None
    engine: str = "auto"
    runtime: str | None = None
    image: str | None = None
    pod: str | None = None
    price: Mapping[str, float] = dataclasses.field(default_factory=dict)
    elastic: Mapping[str, int] = dataclasses.field(default_factory=dict)
    elastic_node: int = 8
    gpu_map: Mapping[str, str] = dataclasses.field(default_factory=dict)
    gpu_resource: str | None = None
    priority_classes: Mapping[int, str] = dataclasses.field(default_factory=dict)
    service_account: str | None = None
    git_image: str | None = None
    pull_secret: str | None = None
    ray_version: str | None = None
    storage_class: str | None = None
    ttl_seconds: int = 7 * 86400


def read(name: str, options: Mapping[str, str]) -> Options:
    """The options of the cluster ``name``.

    Raises:
        InvalidInput: ``bad-option``, with every unknown or wrong one.
    """
    problems = [
        Problem(
            field=option, message="unknown option of a Kubernetes cluster", allowed=", ".join(sorted(KNOWN)), nearest=nearest(option, KNOWN)
        )
        for option in sorted(options.keys() - set(KNOWN))
    ]
    values: dict[str, Any] = {}
    for option, text in options.items():
        if option not in KNOWN:
            continue
        field, read_one, allowed = _READERS.get(option, (option.replace("-", "_"), str, None))
        try:
            values[field] = read_one(text)
        except ValueError as error:
            problems.append(Problem(field=option, message=str(error), got=repr(text), allowed=allowed))
    if problems:
        raise InvalidInput(f"cannot use cluster {name}", problems, code="bad-option")
    return Options(**values)


def _pairs(text: str, value: Callable[[str], Any]) -> dict[str, Any]:
    """``H100:64,A100:16`` as a mapping; the last colon divides, for label values may hold some."""
    found = {}
    for part in text.split(","):
        key, colon, rest = part.strip().rpartition(":")
        if not colon or not key or not rest:
            raise ValueError(f"{part.strip() or 'nothing'} is no pair")
        found[key] = value(rest)
    return found


def _count(text: str) -> int:
    if not text.isdigit() or int(text) < 1:
        raise ValueError(f"{text} is no number of GPUs")
    return int(text)


def _money(text: str) -> float:
    try:
        amount = float(text)
    except ValueError:
        raise ValueError(f"{text} is no price") from None
    if not 0 <= amount < float("inf"):
        raise ValueError(f"{text} is no price")
    return amount


def _classes(text: str) -> dict[int, str]:
    found: dict[int, str] = {}
    for part in text.split(","):
        number, colon, name = part.strip().partition(":")
        try:
            priority = int(number)
        except ValueError:
            raise ValueError(f"{part} names no priority") from None
        if not colon or not name:
            raise ValueError(f"{part} names no class")
        found[priority] = name
    return dict(sorted(found.items()))


def _engine(text: str) -> str:
    if text not in ENGINES:
        raise ValueError("is no engine")
    return text


def _tier(text: str) -> str:
    if text not in ("reserved", "on-demand"):
        raise ValueError("is no tier")
    return text


def _ttl(text: str) -> int:
    from gpuctl.base import duration

    return duration.parse(text)


_READERS: dict[str, tuple[str, Callable[[str], Any], str]] = {
    "price": ("price", lambda text: _pairs(text, _money), "TYPE:AMOUNT, per GPU and hour (H100:4.10)"),
    "elastic": ("elastic", lambda text: _pairs(text, _count), "TYPE:GPUS (H100:64)"),
    "elastic-node": ("elastic_node", _count, "GPUs of one node (8)"),
    "gpu-map": ("gpu_map", lambda text: _pairs(text, str), "LABEL=VALUE:TYPE (pool=big:H100)"),
    "priority-classes": ("priority_classes", _classes, "PRIORITY:CLASS (0:batch,100:urgent)"),
    "engine": ("engine", _engine, ", ".join(ENGINES)),
    "tier": ("tier", _tier, "reserved, on-demand"),
    "ttl": ("ttl_seconds", _ttl, "a duration such as 7d"),
}


def pod_patch(options: Options) -> Any:
    """What stands in the file of ``pod``, None without one.

    Raises:
        UsageError: ``bad-option``, it cannot be read or is no YAML.
    """
    if options.pod is None:
        return None
    import os

    import yaml

    from gpuctl.base.errors import UsageError

    path = os.path.expanduser(options.pod)
    try:
        with open(path, encoding="utf-8") as file:
            return yaml.safe_load(file)
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise UsageError(
            f"cannot read {path}, the profile's patch of pods", code="bad-option", cause=" ".join(str(error).split())
        ) from error
