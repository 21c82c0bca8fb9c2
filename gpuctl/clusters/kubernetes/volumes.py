"""Volumes: the PersistentVolumeClaims of the namespace. Every one is shown; only ours are deleted.

Files in them are reached through a short-lived pod (``streams.volumepod``).
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

from gpuctl.base import names as words
from gpuctl.base import quantity
from gpuctl.base.errors import ConflictError, InvalidInput, NotFoundError, Problem, nearest
from gpuctl.clusters.kubernetes import amounts, names, unbound
from gpuctl.clusters.kubernetes.surroundings import Surroundings
from gpuctl.kube.errors import AlreadyExists, Forbidden, NotFound
from gpuctl.kube.objects.core import StorageClass, VolumeClaim
from gpuctl.kube.objects.pods import Pod
from gpuctl.kube.resources import PODS, STORAGE_CLASSES, VOLUME_CLAIMS
from gpuctl.model.ask import Listing
from gpuctl.model.place import Volume, VolumeFile

if TYPE_CHECKING:
    from gpuctl.clusters.kubernetes.streams.copy import Remote

ACCESS = {"rwo": "ReadWriteOnce", "rwx": "ReadWriteMany", "rox": "ReadOnlyMany", "rwop": "ReadWriteOncePod"}
_SHORT = {mode: short for short, mode in ACCESS.items()}
DEFAULT_SIZE = 100 << 30
FILES_PART = "files"
"""What the label ``names.PART`` says of a pod that only moves files."""
_SHARED = ("nfs", "cephfs", "efs.csi", "filestore", "azurefile", "file.csi", "lustre", "fsx", "weka", "beegfs", "gluster", "juicefs", "s3")
"""Parts of provisioners' names that serve ReadWriteMany; nothing in the API tells it."""
_BLOCK = ("ebs", "pd.csi", "disk.csi", "rbd", "local", "no-provisioner", "hostpath", "cinder")


def known(around: Surroundings) -> dict[str, VolumeClaim]:
    """Every claim of the namespace by the name people use."""
    claims = around.api.list(VOLUME_CLAIMS.path(around.namespace), VolumeClaim)
    return {each.metadata.name: each for each in claims}


def missing_problem(name: str, there: Mapping[str, VolumeClaim]) -> Problem:
    """What to say about a volume that was asked for and does not exist."""
    return Problem(field="--volume", message="no such volume", got=name, allowed=", ".join(there) or None, nearest=nearest(name, there))


class KubernetesVolumes:
    """The claims of one namespace. ``mounted`` tells which unfinished jobs mount which volume, by name."""

    def __init__(self, around: Surroundings, *, mounted: Callable[[], Mapping[str, tuple[str, ...]]]) -> None:
        self._around = around
        self._mounted = mounted

    def list(self) -> Listing[Volume]:
        """Every claim, by name."""
        mounted, there = self._mounted(), known(self._around)
        why = unbound.reasons(self._around, there.values())
        return Listing(items=tuple(self._volume(claim, mounted, why.get(name)) for name, claim in sorted(there.items())))

    def claim(self, name: str) -> VolumeClaim:
        """The claim of a volume.

        Raises:
            NotFoundError: ``volume-not-found``.
        """
        there = known(self._around)
        if name not in there:
            close = nearest(name, there)
            raise NotFoundError(
                f"no volume {name} on {self._around.name}",
                code="volume-not-found",
                cause=f"the nearest name is {close}" if close else None,
                hint=f"gpuctl volumes create {name}    or: gpuctl volumes",
            )
        return there[name]

    def _volume(self, claim: VolumeClaim, mounted: Mapping[str, tuple[str, ...]], why: unbound.Why | None = None) -> Volume:
        modes = claim.status.access_modes or claim.spec.access_modes or []
        asked = (claim.spec.resources.requests or {}).get("storage", 0) if claim.spec.resources is not None else 0
        size = amounts.whole((claim.status.capacity or {}).get("storage", 0)) or amounts.whole(asked)
        name = claim.metadata.name
        return Volume(
            name=name,
            home=self._around.name,
            phase=claim.status.phase.lower() or "pending",
            size=size or None,
            access=",".join(_SHORT.get(mode, mode) for mode in modes) or "rwo",
            storage_class=claim.spec.storage_class_name,
            created_at=claim.metadata.creation_timestamp,
            mounted_by=mounted.get(name, ()),
            managed=claim.metadata.label(names.MANAGED_BY) == names.MANAGER,
            reason=why.reason if why is not None else None,
            evidence=why.evidence if why is not None else (),
        )

    def create(self, name: str, *, size: int | None, access: str | None, storage_class: str | None) -> Volume:
        """Make a claim; class and access are judged before anything is made.

        Raises:
            InvalidInput: the name, the access or the class.
            ConflictError: ``volume-exists``.
        """
        problems = []
        why = words.problem(name)
        if why:
            problems.append(Problem(field="name", message=why, got=repr(name), allowed=words.ALLOWED, nearest=words.suggestion(name)))
        if access is not None and access not in ACCESS:
            problems.append(
                Problem(
                    field="--access", message="is no access mode", got=access, allowed=", ".join(ACCESS), nearest=nearest(access, ACCESS)
                )
            )
        if size is not None and size <= 0:
            problems.append(Problem(field="--size", message="is nothing", got=str(size), allowed=quantity.MEMORY_ALLOWED))
        wanted = storage_class or self._around.options.storage_class
        mode = ACCESS.get(access or "rwx", "ReadWriteMany")
        problems += self._class_problems(wanted, mode, asked=access is not None)
        if problems:
            raise InvalidInput(f"cannot create volume {name} on {self._around.name}", problems)
        body = {
            "apiVersion": "v1",
            "kind": "PersistentVolumeClaim",
            "metadata": {
                "name": name,
                "labels": {names.MANAGED_BY: names.MANAGER, names.VOLUME: name, names.USER: names.label_value(self._around.user)},
            },
            "spec": {
                "accessModes": [mode],
                "resources": {"requests": {"storage": str(size or DEFAULT_SIZE)}},
                **({"storageClassName": wanted} if wanted else {}),
            },
        }
        try:
            made = self._around.api.create(VOLUME_CLAIMS.path(self._around.namespace), body, VolumeClaim)
        except AlreadyExists:
            raise ConflictError(
                f"cannot create volume {name} on {self._around.name}: it exists", code="volume-exists", hint="gpuctl volumes"
            ) from None
        return self._volume(made, {})

    def _class_problems(self, wanted: str | None, mode: str, *, asked: bool) -> Sequence[Problem]:
        """What is wrong with the class, as far as classes may be read."""
        try:
            classes = {each.metadata.name: each for each in self._around.api.list(STORAGE_CLASSES.path(), StorageClass)}
        except Forbidden:
            return []
        if wanted is not None and wanted not in classes:
            allowed = ", ".join(classes) or "there is none"
            return [
                Problem(
                    field="--storage-class", message="no such storage class", got=wanted, allowed=allowed, nearest=nearest(wanted, classes)
                )
            ]
        chosen = classes[wanted] if wanted is not None else next((each for each in classes.values() if each.default), None)
        if chosen is None:
            return [
                Problem(field="--storage-class", message="is missing: the cluster has no default class", allowed=", ".join(classes) or None)
            ]
        if mode == "ReadWriteMany" and any(part in chosen.provisioner for part in _BLOCK):
            able = [each.metadata.name for each in classes.values() if any(part in each.provisioner for part in _SHARED)]
            cause = f"class {chosen.metadata.name} ({chosen.provisioner}) cannot be mounted by several nodes"
            hint = f"rwo, or --storage-class {able[0]}" if able else "rwo"
            return [Problem(field="--access", message=cause, got="rwx" if asked else "none, which is rwx", allowed=hint)]
        return []

    def delete(self, name: str) -> None:
        """Delete one of ours.

        Raises:
            NotFoundError: ``volume-not-found``.
            ConflictError: ``volume-not-ours``; ``volume-mounted``, a pod that has not ended mounts it.
        """
        claim = self.claim(name)
        if claim.metadata.label(names.MANAGED_BY) != names.MANAGER:
            raise ConflictError(
                f"cannot delete volume {name} on {self._around.name}: gpuctl did not create it",
                code="volume-not-ours",
                hint=f"kubectl --context {self._around.api.context} -n {self._around.namespace} delete pvc {claim.metadata.name}",
            )
        users = self._mounted().get(name, ()) or self._mounting_pods(claim)
        if users:
            raise ConflictError(
                f"cannot delete volume {name}: {', '.join(users[:3])} mount{'s' if len(users) == 1 else ''} it",
                code="volume-mounted",
                hint=f"gpuctl cancel {users[0]}",
            )
        try:
            self._around.api.delete(VOLUME_CLAIMS.path(self._around.namespace, claim.metadata.name), uid=claim.metadata.uid)
        except NotFound:
            return

    def files(self, name: str, path: str) -> Listing[VolumeFile]:
        """What lies below ``path``."""
        from gpuctl.clusters.kubernetes.streams import volumepod

        with self.opened(name, read_only=True) as remote:
            return volumepod.files(remote, path)

    def put(self, name: str, source: str, path: str) -> int:
        """Copy into it; bytes written."""
        with self.opened(name, read_only=False) as remote:
            return remote.put(source, path)

    def get(self, name: str, path: str, destination: str) -> int:
        """Copy out of it; bytes written."""
        with self.opened(name, read_only=True) as remote:
            return remote.get(path, destination)

    def opened(self, name: str, *, read_only: bool) -> "AbstractContextManager[Remote]":
        """Its files, through a pod of our own; on the node of whoever has it, for a disk can be nowhere else."""
        from gpuctl.clusters.kubernetes.manifests.render import PLAIN_IMAGE
        from gpuctl.clusters.kubernetes.streams import volumepod

        claim = self.claim(name)
        chosen = self._around.options
        single = "ReadWriteOnce" in (claim.status.access_modes or claim.spec.access_modes or ())
        node = next((pod.spec.node_name for pod in self._pods_of(claim) if pod.spec.node_name), None) if single else None
        labels = {names.MANAGED_BY: names.MANAGER, names.PART: FILES_PART, names.USER: names.label_value(self._around.user)}

        def built(pod: str) -> dict[str, Any]:
            return volumepod.spec(
                pod,
                namespace=self._around.namespace,
                claim=claim.metadata.name,
                image=chosen.image or PLAIN_IMAGE,
                read_only=read_only,
                labels=labels,
                node=node,
                pull_secret=chosen.pull_secret,
                service_account=chosen.service_account,
            )

        return volumepod.mounted(self._around.api, built, volume=name)

    def _mounting_pods(self, claim: VolumeClaim) -> tuple[str, ...]:
        return tuple(pod.metadata.label(names.JOB) or f"pod {pod.metadata.name}" for pod in self._pods_of(claim))

    def _pods_of(self, claim: VolumeClaim) -> Sequence[Pod]:
        """Pods that have not ended and mount it; none where pods may not be listed."""
        try:
            pods = self._around.api.list(PODS.path(self._around.namespace), Pod)
        except Forbidden:
            return []
        return [
            pod
            for pod in pods
            if not pod.ended
            and pod.metadata.label(names.PART) != FILES_PART
            and any(
                each.persistent_volume_claim is not None and each.persistent_volume_claim.claim_name == claim.metadata.name
                for each in pod.spec.volumes or ()
            )
        ]
