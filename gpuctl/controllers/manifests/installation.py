"""The window controller in a cluster: every object, in the order in which one needs the other."""

from typing import Any

import msgspec

from gpuctl.controllers.manifests import admission, definition, rights, workload

GPU_RESOURCES = ("nvidia.com/gpu", "nvidia.com/gpu.shared", "nvidia.com/mig-*", "amd.com/gpu")
"""Resources that are GPUs unless somebody says otherwise."""


class Installation(msgspec.Struct, frozen=True, kw_only=True):
    """How the controller is installed.

    Attributes:
        image: that holds gpuctl with its extra ``controllers``.
        namespace: of the controller's own.
        replicas: of which one works and the others stand by.
        cluster_name: what this cluster is called in schedules that name clusters; None: whatever the controller finds.
        admission: whether the admission policies go with it.
        gpu_resources: that the policies take for GPUs, ``*`` for any characters.
    """

    image: str
    namespace: str = "gpuctl-system"
    replicas: int = 2
    cluster_name: str | None = None
    admission: bool = True
    gpu_resources: tuple[str, ...] = GPU_RESOURCES


def objects(wanted: Installation) -> tuple[dict[str, Any], ...]:
    """Namespace and definition first, the admission policies last: they shut the door when everything is inside."""
    return (
        workload.namespace(wanted.namespace),
        definition.definition(),
        workload.preemptible_class(),
        *rights.objects(wanted.namespace),
        *workload.objects(
            namespace=wanted.namespace,
            image=wanted.image,
            replicas=wanted.replicas,
            cluster_name=wanted.cluster_name,
            # The controller counts GPUs by whole names, and knows the usual ones.
            gpu_resources=[each for each in wanted.gpu_resources if "*" not in each] if wanted.gpu_resources != GPU_RESOURCES else (),
        ),
        *(admission.policies(gpu_resources=wanted.gpu_resources) if wanted.admission else ()),
    )
