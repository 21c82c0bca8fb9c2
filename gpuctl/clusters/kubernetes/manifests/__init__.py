"""A submission as Kubernetes objects: plain dicts, made from values alone; no call, no clock.

``render`` is the door. One module per family of engines (``batch``, ``kubeflow``, ``rayjob``) says what the object looks like that stands
for the job; the others say what all of them share: ``pod``, ``environment``, ``resources``, ``scheduling``, ``storage``, ``metadata``, and
``patch``, the strategic merge of what people add. A new engine is one function and one row in ``engines`` and ``render``.
"""

from gpuctl.clusters.kubernetes.manifests.engines import available, choose, runtime
from gpuctl.clusters.kubernetes.manifests.render import default_image, owned_by, owner_patch, owner_reference, queue_of, render, usual_queue
from gpuctl.clusters.kubernetes.manifests.resources import candidates, footprint, share
from gpuctl.clusters.kubernetes.manifests.values import ClusterFacts, Engine, Runtime, Settings

__all__ = [
    "ClusterFacts",
    "Engine",
    "Runtime",
    "Settings",
    "available",
    "candidates",
    "choose",
    "default_image",
    "footprint",
    "owned_by",
    "owner_patch",
    "owner_reference",
    "queue_of",
    "render",
    "runtime",
    "share",
    "usual_queue",
]
