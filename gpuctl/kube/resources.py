"""Addresses of Kubernetes resources: from a kind to its URL path, and from a path back to what it names."""

import dataclasses
import re

_PATH = re.compile(
    r"/(?:api|apis/(?P<group>[^/]+))/(?P<version>[^/]+)"
    r"(?:/namespaces/(?P<namespace>[^/]+)(?=/))?"
    r"/(?P<resource>[^/]+)(?:/(?P<name>[^/]+)(?:/(?P<sub>.+))?)?\Z"
)
_COLLECTION_VERBS = {"GET": "list", "POST": "create", "DELETE": "deletecollection"}
_OBJECT_VERBS = {"GET": "get", "POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}


@dataclasses.dataclass(frozen=True)
class Resource:
    """One kind as an API server offers it.

    Attributes:
        group: ``""`` is the core group.
        version: such as ``v1``.
        plural: the name in paths and in RBAC rules (``pods``).
        kind: the name in manifests (``Pod``).
        namespaced: whether its objects live in namespaces.
    """

    group: str
    version: str
    plural: str
    kind: str
    namespaced: bool = True

    @property
    def api_version(self) -> str:
        """As manifests spell it: ``v1``, ``batch/v1``."""
        return f"{self.group}/{self.version}" if self.group else self.version

    def path(self, namespace: str | None = None, name: str | None = None, sub: str | None = None) -> str:
        """The URL path of the collection (of one namespace, or of all when it is None), of one object, or of its subresource."""
        text = f"/apis/{self.group}/{self.version}" if self.group else f"/api/{self.version}"
        if namespace is not None and self.namespaced:
            text += f"/namespaces/{namespace}"
        text += f"/{self.plural}"
        if name is not None:
            text += f"/{name}"
        return f"{text}/{sub}" if sub else text

    def at(self, version: str) -> "Resource":
        """The same kind in another version of its group."""
        return dataclasses.replace(self, version=version)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Target:
    """What a request is about, in the words of RBAC. ``resource`` includes the subresource (``pods/log``)."""

    verb: str
    group: str = ""
    resource: str = ""
    namespace: str | None = None
    name: str | None = None

    @property
    def noun(self) -> str:
        """For sentences: ``pod a/b`` is ``pods a/b``; a path that names no resource is itself."""
        where = "/".join(part for part in (self.namespace, self.name) if part)
        return f"{self.resource} {where}".strip()


def target(method: str, path: str, *, watching: bool = False) -> Target:
    """Read a request back into RBAC's words. ``GET`` on a collection is ``list``, or ``watch`` when ``watching``."""
    match = _PATH.match(path)
    if not match:
        return Target(verb=_OBJECT_VERBS.get(method, method.lower()), resource=path)
    resource, name = match["resource"], match["name"]
    verb = (_OBJECT_VERBS if name else _COLLECTION_VERBS).get(method, method.lower())
    return Target(
        verb="watch" if watching else verb,
        group=match["group"] or "",
        resource=f"{resource}/{match['sub']}" if match["sub"] else resource,
        namespace=match["namespace"],
        name=name,
    )


PODS = Resource("", "v1", "pods", "Pod")
NODES = Resource("", "v1", "nodes", "Node", namespaced=False)
EVENTS = Resource("", "v1", "events", "Event")
SERVICES = Resource("", "v1", "services", "Service")
SECRETS = Resource("", "v1", "secrets", "Secret")
CONFIG_MAPS = Resource("", "v1", "configmaps", "ConfigMap")
VOLUME_CLAIMS = Resource("", "v1", "persistentvolumeclaims", "PersistentVolumeClaim")
NAMESPACES = Resource("", "v1", "namespaces", "Namespace", namespaced=False)
RESOURCE_QUOTAS = Resource("", "v1", "resourcequotas", "ResourceQuota")
STORAGE_CLASSES = Resource("storage.k8s.io", "v1", "storageclasses", "StorageClass", namespaced=False)
PRIORITY_CLASSES = Resource("scheduling.k8s.io", "v1", "priorityclasses", "PriorityClass", namespaced=False)
JOBS = Resource("batch", "v1", "jobs", "Job")
JOB_SETS = Resource("jobset.x-k8s.io", "v1alpha2", "jobsets", "JobSet")
TRAIN_JOBS = Resource("trainer.kubeflow.org", "v1alpha1", "trainjobs", "TrainJob")
TRAINING_RUNTIMES = Resource("trainer.kubeflow.org", "v1alpha1", "trainingruntimes", "TrainingRuntime")
CLUSTER_TRAINING_RUNTIMES = Resource(
    "trainer.kubeflow.org", "v1alpha1", "clustertrainingruntimes", "ClusterTrainingRuntime", namespaced=False
)
PYTORCH_JOBS = Resource("kubeflow.org", "v1", "pytorchjobs", "PyTorchJob")
RAY_JOBS = Resource("ray.io", "v1", "rayjobs", "RayJob")
RAY_CLUSTERS = Resource("ray.io", "v1", "rayclusters", "RayCluster")
LOCAL_QUEUES = Resource("kueue.x-k8s.io", "v1beta2", "localqueues", "LocalQueue")
CLUSTER_QUEUES = Resource("kueue.x-k8s.io", "v1beta2", "clusterqueues", "ClusterQueue", namespaced=False)
WORKLOADS = Resource("kueue.x-k8s.io", "v1beta2", "workloads", "Workload")
RESOURCE_FLAVORS = Resource("kueue.x-k8s.io", "v1beta2", "resourceflavors", "ResourceFlavor", namespaced=False)
ACCESS_REVIEWS = Resource("authorization.k8s.io", "v1", "selfsubjectaccessreviews", "SelfSubjectAccessReview", namespaced=False)
