"""Everything that is known about one attempt while its objects are made."""

from collections.abc import Mapping
from typing import Any

import msgspec

from gpuctl.clusters.kubernetes.code.parts import CodeParts
from gpuctl.clusters.kubernetes.manifests.metadata import Identity
from gpuctl.clusters.kubernetes.manifests.storage import Storage
from gpuctl.clusters.kubernetes.manifests.values import ClusterFacts, Engine, Settings
from gpuctl.model.ask import Submission
from gpuctl.model.spec import JobSpec
from gpuctl.policy.placement import Placement


class Rendering(msgspec.Struct, frozen=True, kw_only=True):
    """One attempt of one job on one cluster, with all that its objects depend on. Nothing in it is looked up any more.

    Attributes:
        queue: the Kueue queue, None without.
        secret: the name of the job's own Secret, None when it needs none.
        patches: strategic merge patches of the pod template, in order.
        image: what the job runs in.
        git_image: what its repository is fetched in, with ``--git``, where a container of its own does that.
        labels, annotations: of the object that stands for the job; pods get the labels.
    """

    submission: Submission
    who: Identity
    engine: Engine
    placement: Placement | None
    facts: ClusterFacts
    settings: Settings
    code: CodeParts
    storage: Storage
    image: str
    git_image: str
    queue: str | None
    secret: str | None
    labels: Mapping[str, str]
    annotations: Mapping[str, str]
    patches: tuple[Mapping[str, Any], ...] = ()

    @property
    def spec(self) -> JobSpec:
        """The job's specification."""
        return self.submission.spec

    @property
    def name(self) -> str:
        """The name of the attempt's objects."""
        return self.who.object_name

    @property
    def suspended(self) -> bool:
        """Whether the object is created suspended: for Kueue to admit, or for a person to release."""
        return self.queue is not None or self.spec.hold

    @property
    def pods(self) -> int:
        """Pods of one gang."""
        return self.spec.nodes

    def metadata(self) -> dict[str, Any]:
        """The metadata of the object that stands for the job."""
        return {
            "name": self.name,
            "namespace": self.facts.namespace,
            "labels": dict(self.labels),
            "annotations": dict(self.annotations),
        }
