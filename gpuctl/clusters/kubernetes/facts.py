"""What is looked up in a cluster before a job becomes objects there, everything at once."""

from collections.abc import Callable
from typing import NamedTuple

import msgspec

from gpuctl.base.errors import GpuctlError
from gpuctl.clusters.kubernetes import inventory, names, options, schedules
from gpuctl.clusters.kubernetes.inventory import Inventory
from gpuctl.clusters.kubernetes.manifests.values import ClusterFacts, Runtime, Settings
from gpuctl.clusters.kubernetes.schedules import Held
from gpuctl.clusters.kubernetes.surroundings import Surroundings, together
from gpuctl.kube.errors import Forbidden, NotFound
from gpuctl.kube.objects.core import PriorityClass, VolumeClaim
from gpuctl.kube.objects.kubeflow import TrainingRuntime
from gpuctl.kube.objects.meta import Document
from gpuctl.kube.resources import CLUSTER_TRAINING_RUNTIMES, JOB_SETS, PRIORITY_CLASSES, TRAIN_JOBS, TRAINING_RUNTIMES

BACKOFF_LIMIT = 6
"""Of a Job that names none."""
FRAMEWORK = "trainer.kubeflow.org/framework"


class Facts(NamedTuple):
    """What was found. ``inventory`` None: nodes may not be listed. ``claims`` None: nobody asked, or they may not be listed."""

    cluster: ClusterFacts
    inventory: Inventory | None
    claims: dict[str, VolumeClaim] | None
    team: str | None
    notes: tuple[str, ...]
    schedules: tuple[Held, ...] = ()


def read(around: Surroundings, *, count: bool = True, volumes: bool = False, borrowing: bool = False) -> Facts:
    """Ask for nodes (with ``count`` also what is free), queues, runtimes, the team, schedules and, if wanted, volumes, concurrently.

    ``borrowing``: also what a job needs that uses what others lend (the class that the platform's manifests bring).
    """
    around.discovery  # noqa: B018  (before the threads, which all need it)
    asked: dict[str, Callable[[], object]] = {
        "inventory": lambda: (inventory.just_shown(around) if count else None) or inventory.read(around, count=count),
        "queues": lambda: around.queues,
        "runtimes": lambda: runtimes(around),
        "team": lambda: around.team,
        "claims": lambda: _claims(around) if volumes else None,
        "classes": lambda: _priority_classes(around) if borrowing or around.discovery.has(JOB_SETS) else None,
        "schedules": lambda: schedules.held(around, now=around.now()) if schedules.served(around) else (),
    }
    answers = dict(zip(asked, together(lambda name: asked[name](), list(asked)), strict=True))
    notes: list[str] = []
    # Where the class may be there and cannot be seen, a pod that borrows without it may be refused: such a job stays with its team's nodes.
    unsure = isinstance(answers["classes"], Forbidden)
    for name, answer in answers.items():
        if isinstance(answer, Forbidden) and name == "classes" and not borrowing:
            answers[name] = None  # only a class below zero would matter, and which are is not known
        elif isinstance(answer, Forbidden):
            notes.append(f"{around.name}: {answer.message}; what it hides is unknown")
            answers[name] = None
        elif isinstance(answer, GpuctlError):
            raise answer
    found = answers["inventory"]
    there = found if isinstance(found, Inventory) else None
    if there is not None and there.note is not None and count:
        notes.append(f"{around.name}: {there.note}; what is free there is unknown")
    queues, team, claims, there_runtimes = answers["queues"], answers["team"], answers["claims"], answers["runtimes"]
    cluster = ClusterFacts(
        name=around.name,
        namespace=around.namespace,
        served=frozenset(each.resource().api_version for each in around.discovery.offered),
        runtimes=there_runtimes if isinstance(there_runtimes, tuple) else (),
        queues=queues if isinstance(queues, tuple) else (),
        nodes=there.nodes if there is not None else (),
        products=there.products if there is not None else (),
        product_label=there.product_label if there is not None else inventory.PRODUCT_LABELS[0],
        tier_labels=there.tier_labels if there is not None else False,
    )
    held, classes = answers["schedules"], answers["classes"]
    values: dict[str, int] = classes if isinstance(classes, dict) else {}
    windows: tuple[Held, ...] = held if isinstance(held, tuple) else ()
    cluster = msgspec.structs.replace(
        cluster,
        lends=not unsure and (any(node.lends for node in cluster.nodes) or any(_lends(each) for each in windows)),
        preemptible_class=names.PREEMPTIBLE_CLASS if borrowing and names.PREEMPTIBLE_CLASS in values else None,
        below_zero=tuple(sorted(name for name, value in values.items() if value < 0)),
    )
    return Facts(
        cluster, there, claims if isinstance(claims, dict) else None, team if isinstance(team, str) else None, tuple(notes), windows
    )


def _lends(held: Held) -> bool:
    return held.schedule is not None and not held.problems and any(window.borrow.idle for window in held.schedule.spec.windows)


def _priority_classes(around: Surroundings) -> dict[str, int]:
    """The value of each class, and under the empty name that of pods which name none."""
    found = {"": 0}
    try:
        classes = around.api.list(PRIORITY_CLASSES.path(), PriorityClass)
    except NotFound:
        return found
    for each in classes:
        found[each.metadata.name] = each.value
        if each.global_default:
            found[""] = each.value
    return found


def _claims(around: Surroundings) -> dict[str, VolumeClaim]:
    from gpuctl.clusters.kubernetes import volumes

    return volumes.known(around)


def runtimes(around: Surroundings) -> tuple[Runtime, ...]:
    """Trainer's runtimes; none where Trainer is not installed or they may not be read."""
    if not around.discovery.has(TRAIN_JOBS):
        return ()
    found: list[Runtime] = []
    for kind, path in (
        (CLUSTER_TRAINING_RUNTIMES, CLUSTER_TRAINING_RUNTIMES.path()),
        (TRAINING_RUNTIMES, TRAINING_RUNTIMES.path(around.namespace)),
    ):
        try:
            found += [
                Runtime(
                    name=each.metadata.name,
                    framework=each.metadata.label(FRAMEWORK) or None,
                    cluster_wide=not kind.namespaced,
                    restarts=_restarts(each.spec.template or {}),
                )
                for each in around.api.list(path, TrainingRuntime)
            ]
        except (Forbidden, NotFound):
            continue
    return tuple(found)


def _restarts(template: Document) -> int:
    """What the Job says that the ranks are of; Kubernetes' own number where it says nothing, 0 where its shape is another."""
    try:
        jobs = {each["name"]: each["template"]["spec"] for each in template["spec"]["replicatedJobs"]}
        return int(jobs["node"].get("backoffLimit", BACKOFF_LIMIT))
    except (KeyError, TypeError, ValueError):
        return 0


def settings(chosen: options.Options, *, gpu_resource: str) -> Settings:
    """The profile's options as rendering wants them.

    Raises:
        UsageError: ``bad-option``, the file of ``pod`` cannot be read.
    """
    return Settings(
        image=chosen.image,
        queue=chosen.queue,
        runtime=chosen.runtime,
        gpu_resource=gpu_resource,
        gpu_map=chosen.gpu_map,
        priority_classes=chosen.priority_classes,
        service_account=chosen.service_account,
        git_image=chosen.git_image,
        pull_secret=chosen.pull_secret,
        ray_version=chosen.ray_version,
        ttl_seconds=chosen.ttl_seconds,
        pod=options.pod_patch(chosen),
    )
