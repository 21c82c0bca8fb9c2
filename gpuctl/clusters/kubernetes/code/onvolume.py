"""Code that is too large to go with the job: one archive on a volume, named by its content, put there before anything of the job is made.

It is sent only when it is not there, and counts as there only when its sum says so: what an upload that was cut off left has another name,
and the name of the content is given last, at once. Archives stay for the next job with the same code, and for attempts to come; a submit
marks its own as used, and removes those that no submit has used for ``UNUSED_DAYS`` and no job that is still in the cluster names.
"""

import tempfile
import uuid
from typing import BinaryIO, cast

import msgspec

from gpuctl.base import quantity
from gpuctl.base.errors import GpuctlError, UsageError
from gpuctl.clusters.kubernetes import names, record
from gpuctl.clusters.kubernetes.code import parts
from gpuctl.clusters.kubernetes.code.parts import CodeParts
from gpuctl.clusters.kubernetes.observe import gather
from gpuctl.clusters.kubernetes.streams.copy import Remote
from gpuctl.clusters.kubernetes.surroundings import Surroundings
from gpuctl.clusters.kubernetes.volumes import KubernetesVolumes
from gpuctl.kube.objects.core import VolumeClaim
from gpuctl.model.ask import Submission
from gpuctl.policy.wording import plural

UNUSED_DAYS = 30
"""How long an archive stays after the last submit that used it."""
_SINGLE = {"ReadWriteOnce", "ReadWriteOncePod"}


def packed(around: Surroundings, submission: Submission, volume: str, *, upload: bool) -> CodeParts:
    """The code of a submission, its archive on ``volume``; with ``upload`` it is there when this returns.

    Raises:
        UsageError: ``code-volume-single``, a job of several pods and a volume for one node; ``code-unreadable``.
        NotFoundError: ``volume-not-found``.
        UnavailableError: ``volume-not-mounted``.
        GpuctlError: ``copy-failed``, ``code-not-stored``, ``no-room-here``.
    """
    volumes = KubernetesVolumes(around, mounted=dict)
    _refuse_single(submission, volumes.claim(volume), around)
    with tempfile.NamedTemporaryFile(prefix="gpuctl-code-") as file:
        ray = submission.spec.kind == "ray"
        code = parts.by_volume(submission.code.workdir, cast("BinaryIO", file), name=submission.base_name, volume=volume, ray=ray)
        if not upload:
            return code
        assert code.archive_digest is not None
        with volumes.opened(volume, read_only=False) as remote:
            sent = stored(remote, file.name, code.archive_digest)
            removed = cleared(around, remote, volume)
    old = (f"code: removed {plural(removed, 'archive')} from volume {volume}, unused for {UNUSED_DAYS} days",) if removed else ()
    how = f"{quantity.memory(sent)} sent to volume {volume}" if sent else f"on volume {volume} already"
    return msgspec.structs.replace(code, notes=(*code.notes, *old, f"code: {code.files} files, {how}"))


def stored(remote: Remote, archive: str, digest: str) -> int:
    """Make sure that the archive lies on the volume; bytes sent, 0 when it was there.

    Raises:
        GpuctlError: ``copy-failed``; ``code-not-stored``, what arrived is not what was sent.
    """
    place = f"{names.CODE_DIRECTORY}/{names.code_archive(digest)}"
    # Marked before it is looked at: from then on nobody takes it away who clears the volume at this moment.
    if _mine(remote, place) and remote.digest(place) == digest:
        return 0
    part = f"{names.CODE_DIRECTORY}/.part-{uuid.uuid4().hex[:12]}"
    try:
        sent = remote.put(archive, part)
        found = remote.digest(part)
        if found != digest:
            raise GpuctlError(
                "cannot put the code onto its volume: what arrived is not what was sent", code="code-not-stored", cause=f"SHA-256 {found}"
            )
        remote.rename(part, place)
    except BaseException:
        try:
            remote.remove(part)
        except GpuctlError:
            pass  # no archive has this name
        raise
    return sent


def _mine(remote: Remote, place: str) -> bool:
    """Whether it is there and now counts as used. What may not be marked is put there anew, under the same name."""
    try:
        return remote.touch(place)
    except GpuctlError:
        return False


def cleared(around: Surroundings, remote: Remote, volume: str) -> int:
    """Remove archives that nobody uses any more; how many. Nothing where it is not known what jobs there are, or cannot be done."""
    used = set()
    try:
        roots = gather.roots(around)
        if roots.unread:
            return 0
        for root in roots.items:
            spec, understood = record.read_spec(root.metadata.annotation(names.SPEC))
            archive = root.metadata.annotation(names.CODE_ARCHIVE)
            if not understood or (spec.code_volume == volume and not archive):
                return 0
            used.add(archive)
        return len(remote.prune(names.CODE_DIRECTORY, days=UNUSED_DAYS, used=sorted(used - {""})))
    except GpuctlError:
        return 0


def _refuse_single(submission: Submission, claim: VolumeClaim, around: Surroundings) -> None:
    """Pods of one job may be on several nodes, and each has to read the archive."""
    spec = submission.spec
    pods = spec.array.count if spec.array is not None else spec.nodes + (1 if spec.kind == "ray" else 0)
    modes = set(claim.status.access_modes or claim.spec.access_modes or ())
    if pods > 1 and modes and modes <= _SINGLE:
        raise UsageError(
            f"cannot submit {submission.base_name}: volume {claim.metadata.name} on {around.name} can be mounted by one node at a time",
            code="code-volume-single",
            cause=f"the job has {pods} pods, and each reads its code there",
            hint=f"gpuctl volumes create NAME --access rwx --cluster {around.name}    or: --git URL@REF",
        )
