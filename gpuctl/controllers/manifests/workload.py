"""The window controller's own objects: namespace, Deployment, Service, disruption budget, and the class of pods that may be stopped.

Its pod keeps to the strictest of Kubernetes' pod security standards (``restricted``).
"""

from collections.abc import Sequence
from typing import Any

from gpuctl.clusters.kubernetes import names
from gpuctl.controllers.manifests.rights import CONTROLLER

PORT = 8080
_PORT_NAME = "http"
_USER = 65532
_SELECTOR = {"app.kubernetes.io/name": CONTROLLER}
_LABELS = {**_SELECTOR, "app.kubernetes.io/part-of": "gpuctl"}


def namespace(name: str) -> dict[str, Any]:
    """The namespace of the controller."""
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}


def preemptible_class() -> dict[str, Any]:
    """The priority of pods on lent nodes: below everybody's, so that the scheduler makes room for the owner by itself."""
    return {
        "apiVersion": "scheduling.k8s.io/v1",
        "kind": "PriorityClass",
        "metadata": {"name": names.PREEMPTIBLE_CLASS},
        "value": -1000,
        "preemptionPolicy": "Never",
        "globalDefault": False,
        "description": "Jobs that may be stopped at any time, and so may use GPUs that another team lends while they stand idle.",
    }


def objects(
    *, namespace: str, image: str, replicas: int, cluster_name: str | None, gpu_resources: Sequence[str]
) -> tuple[dict[str, Any], ...]:
    """Service for metrics, Deployment, disruption budget."""
    metadata = {"name": CONTROLLER, "namespace": namespace, "labels": dict(_LABELS)}
    service = {"selector": dict(_SELECTOR), "ports": [{"name": "metrics", "port": PORT, "targetPort": _PORT_NAME}]}
    budget = {"maxUnavailable": 1, "selector": {"matchLabels": dict(_SELECTOR)}}  # one replica must not keep a node from being drained
    deployment = {
        "replicas": replicas,
        "selector": {"matchLabels": dict(_SELECTOR)},
        "template": {"metadata": {"labels": dict(_LABELS)}, "spec": _pod(image, cluster_name, gpu_resources)},
    }
    return (
        {"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": service},
        {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata, "spec": deployment},
        {"apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": metadata, "spec": budget},
    )


def _pod(image: str, cluster_name: str | None, gpu_resources: Sequence[str]) -> dict[str, Any]:
    arguments = ["controller", "windows", "--in-cluster", "--log-format", "json", "--namespace", "$(POD_NAMESPACE)"]
    if cluster_name is not None:
        arguments += ["--cluster-name", cluster_name]
    for each in gpu_resources:
        arguments += ["--gpu-resource", each]
    spread = {"topologyKey": "kubernetes.io/hostname", "labelSelector": {"matchLabels": dict(_SELECTOR)}}
    container = {
        "name": "controller",
        "image": image,
        "command": ["gpuctl"],
        "args": arguments,
        "env": [
            {"name": "POD_NAMESPACE", "valueFrom": {"fieldRef": {"fieldPath": "metadata.namespace"}}},
            {"name": "HOME", "value": "/tmp"},
        ],
        "ports": [{"name": _PORT_NAME, "containerPort": PORT}],
        "livenessProbe": {"httpGet": {"path": "/healthz", "port": _PORT_NAME}, "initialDelaySeconds": 10, "failureThreshold": 6},
        "readinessProbe": {"httpGet": {"path": "/readyz", "port": _PORT_NAME}},
        "resources": {"requests": {"cpu": "100m", "memory": "256Mi"}, "limits": {"memory": "1Gi"}},
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
            "readOnlyRootFilesystem": True,
        },
        "volumeMounts": [{"name": "tmp", "mountPath": "/tmp"}],
    }
    return {
        "serviceAccountName": CONTROLLER,
        "priorityClassName": "system-cluster-critical",
        "enableServiceLinks": False,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": _USER,
            "runAsGroup": _USER,
            "fsGroup": _USER,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "affinity": {"podAntiAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [{"weight": 100, "podAffinityTerm": spread}]}},
        "containers": [container],
        "volumes": [{"name": "tmp", "emptyDir": {"sizeLimit": "64Mi"}}],
    }
