"""One submit makes all of a job's objects, or none.

The object that is the job is made first, suspended and labelled as half-made: its name is the claim on the request id, and everything else
belongs to it by owner reference. Only when all is there the label goes and the job may start, in one patch. A process that dies before
that leaves an object that never ran, that no list shows, and that the next submit removes with all it owns.
"""

import copy
import threading
import time
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

import msgspec

from gpuctl import __version__
from gpuctl.base import clock
from gpuctl.base.errors import ConflictError, GpuctlError, UnavailableError
from gpuctl.clusters.kubernetes import judge, manifests, names, record
from gpuctl.clusters.kubernetes.code import parts
from gpuctl.clusters.kubernetes.code.parts import CodeParts
from gpuctl.clusters.kubernetes.judge import Judged
from gpuctl.clusters.kubernetes.observe import gather, translate_root
from gpuctl.clusters.kubernetes.observe.objects import Root
from gpuctl.clusters.kubernetes.surroundings import Surroundings
from gpuctl.kube.errors import AlreadyExists, Conflict, NotFound, Unavailable
from gpuctl.kube.objects.meta import Object
from gpuctl.kube.resources import SECRETS, SERVICES, Resource
from gpuctl.model.ask import Submission

TURNS = 5
"""Names that are tried when somebody else has the first."""
PATIENCE_SECONDS = 20.0
"""How long another process may take to finish the same request before it counts as dead."""
STALE = timedelta(minutes=10)
_TRIES = 3
_STAY = frozenset({"RayJob", "TrainJob"})
"""Kinds whose operators never remove one that has ended."""
_HOLDING = ("data", "stringData")

Document = dict[str, Any]


class Intake:
    """Accepts jobs into one namespace."""

    def __init__(self, around: Surroundings) -> None:
        self._around = around

    def accept(self, submission: Submission) -> tuple[Root, bool, tuple[str, ...]]:
        """The job's object, whether it was there before, and notes. See the module for how it is all or nothing.

        Raises:
            ConflictError: ``request-id-used``, for another spec; ``name-taken``, by objects that are not gpuctl's.
            NotAllowedError: ``never-fits``.
            UnavailableError: ``no-room-now``, a gang without a queue that does not fit now.
        """
        if submission.explicit_request_id:
            known = gather.by_label(self._around, names.JOB_ID, names.job_id(submission.request_id)).items
            if known:
                return self._same(known[0], submission), True, ()
        sweeping = threading.Thread(target=self.sweep, daemon=True)
        sweeping.start()
        try:
            try:
                return self._accept(submission, judge.judge(self._around, submission))
            except NotFound as error:
                if not (error.kind_missing and self._around.looked_again()):
                    raise
                # An operator that was removed since; what is there now takes the job.
                return self._accept(submission, judge.judge(self._around, submission))
        finally:
            sweeping.join()

    def _accept(self, submission: Submission, judged: Judged) -> tuple[Root, bool, tuple[str, ...]]:
        code: CodeParts | None = None
        for turn in range(TURNS):
            name = names.job_name(submission.base_name, submission.request_id, turn=turn)
            found = self._existing(name, submission, judged)
            if found is not None:
                return found, True, ()
            if turn == 0:
                judge.refuse_gang(self._around, submission, judged)
                code = self._code(submission)
            made = self._make(submission, judged, code, name)
            if made is not None:
                root, existed = made
                return root, existed, (*judged.notes, *(code.notes if code is not None else ())) if not existed else ()
        raise ConflictError(
            f"cannot submit {submission.base_name} to {self._around.name}: its names are taken by objects that are not this job's",
            code="name-taken",
            hint="gpuctl submit --name OTHER ...",
        )

    def _code(self, submission: Submission, *, upload: bool = True) -> CodeParts | None:
        """The code it brings; None for a plain command of an image that brings its own.

        ``upload``: what goes by a volume is there when this returns.
        """
        spec, code = submission.spec, submission.code
        ray = spec.kind == "ray"
        if spec.git is not None:
            return parts.of_repository(spec.git, workdir=spec.workdir, commit=code.commit, ray=ray)
        if not code.workdir:
            return None
        if spec.code_volume is None:
            return parts.build(code.workdir, name=submission.base_name, ray=ray)
        from gpuctl.clusters.kubernetes.code import onvolume

        return onvolume.packed(self._around, submission, spec.code_volume, upload=upload)

    def _existing(self, name: str, submission: Submission, judged: Judged) -> Root | None:
        """The job of this very request, if it is there under this name already."""
        root = self._read(self._kind(judged), names.object_name(name))
        if root is None or root.metadata.label(names.JOB_ID) != names.job_id(submission.request_id):
            return None
        return self._finished(root, submission)

    def _kind(self, judged: Judged) -> Resource:
        wanted = {"jobset": "JobSet", "trainjob": "TrainJob", "pytorchjob": "PyTorchJob", "rayjob": "RayJob"}.get(
            judged.engine.value, "Job"
        )
        return next(kind for kind in self._around.kinds if kind.kind == wanted)

    def _read(self, kind: Resource, name: str) -> Root | None:
        try:
            root = self._around.api.get(kind.path(self._around.namespace, name), Root)
        except NotFound:
            return None
        return msgspec.structs.replace(root, kind=kind.kind)

    def _same(self, root: Root, submission: Submission) -> Root:
        asked = record.read_record(root.metadata.annotation(record.RECORD)).digest
        if asked and asked != record.digest(submission):
            name = root.metadata.label(names.JOB)
            raise ConflictError(
                f"cannot submit {submission.base_name}: request id {submission.request_id} was used for {name}, with another spec",
                code="request-id-used",
                hint=f"gpuctl job {name}",
            )
        return root

    def _finished(self, root: Root, submission: Submission) -> Root | None:
        """The same request's object once whoever makes it is done; None when that process died and its object was removed."""
        self._same(root, submission)
        kind = next(kind for kind in self._around.kinds if kind.kind == root.kind)
        ends = time.monotonic() + PATIENCE_SECONDS
        nap = 0.05
        while root.metadata.label(record.LAUNCHING):
            if time.monotonic() > ends:
                self._remove(kind, root)
                return None
            time.sleep(nap)
            nap = min(nap * 2, 1.0)
            again = self._read(kind, root.metadata.name)
            if again is None or again.metadata.uid != root.metadata.uid:
                return None
            root = again
        return root

    def _remove(self, kind: Resource, root: Root) -> None:
        try:
            self._around.api.delete(kind.path(self._around.namespace, root.metadata.name), uid=root.metadata.uid)
        except (NotFound, Conflict):
            return

    # -- making -------------------------------------------------------------------------------------------------------------------

    def render(self, submission: Submission) -> tuple[Document, ...]:
        """The objects of a submit, without creating any; what secrets hold is replaced by its size."""
        judged = judge.judge(self._around, submission)
        name = names.job_name(submission.base_name, submission.request_id, turn=0)
        return tuple(without_secrets(each) for each in self._objects(submission, judged, self._code(submission, upload=False), name))

    def _objects(self, submission: Submission, judged: Judged, code: CodeParts | None, name: str) -> tuple[Document, ...]:
        return manifests.render(
            submission,
            job_id=names.job_id(submission.request_id),
            name=name,
            user=self._around.user,
            team=judged.facts.team,
            engine=judged.engine,
            placement=judged.placement,
            cluster=judged.facts.cluster,
            code=code,
            settings=judged.settings,
        )

    def _make(self, submission: Submission, judged: Judged, code: CodeParts | None, name: str) -> tuple[Root, bool] | None:
        """Create everything, unless this request is being made elsewhere at this moment (True); None when the name is taken."""
        objects = self._objects(submission, judged, code, name)
        wanted = objects[-1]
        kind = self._kind(judged)
        path = kind.path(self._around.namespace)
        first = half_made(wanted, submission)
        try:
            made = self._around.api.create(path, first, dict)
        except AlreadyExists:
            faster = self._taken(kind, wanted["metadata"]["name"], submission)
            return (faster, True) if faster is not None else None
        except Unavailable as error:
            if error.reached:
                self._undo_what_may_be_there(kind, first)
            raise
        uid = made["metadata"]["uid"]
        owner = {**first, "metadata": {**first["metadata"], "uid": uid}}
        try:
            for each in objects[:-1]:
                self._beside(each, owner)
            root = self._around.api.patch(f"{path}/{wanted['metadata']['name']}", commit(wanted), Root)
        except BaseException:
            self._undo(kind, wanted["metadata"]["name"], uid)
            raise
        return msgspec.structs.replace(root, kind=kind.kind), False

    def _taken(self, kind: Resource, name: str, submission: Submission) -> Root | None:
        """Who has the name: this request made at the same time elsewhere, or somebody else, who is left alone."""
        root = self._read(kind, name)
        if root is None or root.metadata.label(names.JOB_ID) != names.job_id(submission.request_id):
            return None
        finished = self._finished(root, submission)
        if finished is None:
            raise UnavailableError(
                f"cannot submit {submission.base_name}: another submit of request id {submission.request_id} did not finish",
                code="request-unclear",
                hint="try again; nothing was submitted",
            )
        return finished

    def _beside(self, wanted: Mapping[str, Any], owner: Document) -> None:
        """One object that belongs to the job. Code is shared: what is there already is compared, and gets one more owner."""
        kind = {"Secret": SECRETS, "Service": SERVICES}.get(wanted["kind"])
        if kind is None:
            raise ValueError(f"jobs bring no {wanted['kind']}")
        path = kind.path(self._around.namespace)
        (owned,) = manifests.owned_by([wanted], owner)
        shared = names.CODE in wanted["metadata"].get("labels", {})
        for _ in range(_TRIES):
            try:
                self._around.api.create(path, owned, Object)
                return
            except AlreadyExists:
                if not shared:
                    raise
            try:
                there = self._around.api.get(f"{path}/{wanted['metadata']['name']}", dict)
                if not parts.same(wanted, there):
                    raise ConflictError(
                        f"cannot use secret {wanted['metadata']['name']} on {self._around.name}: it does not hold the code it is named for",
                        code="code-differs",
                        hint=f"kubectl -n {self._around.namespace} delete secret {wanted['metadata']['name']}",
                    )
                if (there.get("metadata") or {}).get("deletionTimestamp"):
                    time.sleep(0.2)
                    continue
                self._around.api.patch(f"{path}/{wanted['metadata']['name']}", manifests.owner_patch(owner), Object, kind="strategic")
                return
            except NotFound:
                continue  # it went with its last job just now
        raise UnavailableError(
            f"cannot store the code on {self._around.name}: secret {wanted['metadata']['name']} comes and goes",
            code="code-unstable",
            hint="try again; nothing was submitted",
        )

    def _undo(self, kind: Resource, name: str, uid: str) -> None:
        """Remove what was made; everything else goes with the job's object. What cannot be removed now never runs and is swept later."""
        try:
            self._around.api.delete(kind.path(self._around.namespace, name), uid=uid)
        except GpuctlError:
            return

    def _undo_what_may_be_there(self, kind: Resource, first: Document) -> None:
        """The answer to a create was lost: remove what it made, known by its record, which holds the instant of this very try."""
        try:
            root = self._read(kind, first["metadata"]["name"])
        except GpuctlError:
            return
        if root is not None and root.metadata.annotation(record.RECORD) == first["metadata"]["annotations"][record.RECORD]:
            self._undo(kind, root.metadata.name, root.metadata.uid)

    def sweep(self) -> int:
        """Remove what submits left that died half-way, and ended jobs that nobody else removes, ours only; how many."""
        ours = f"{record.SELECTOR},{names.USER}={names.label_value(self._around.user)}"
        skew = timedelta(seconds=abs(self._around.api.clock_skew()))
        removed = 0
        for kind in self._around.kinds:
            selector = ours if kind.kind in _STAY else f"{ours},{record.LAUNCHING}=true"
            try:
                for root in self._around.api.list(kind.path(self._around.namespace), Root, params={"labelSelector": selector}):
                    if self._stale(msgspec.structs.replace(root, kind=kind.kind), before=clock.now() - skew):
                        self._remove(kind, root)
                        removed += 1
            except GpuctlError:
                continue
        return removed

    def _stale(self, root: Root, *, before: datetime) -> bool:
        if root.metadata.label(record.LAUNCHING):
            created = root.metadata.creation_timestamp
            return created is not None and before - created > STALE
        spec, _ = record.read_spec(root.metadata.annotation(names.SPEC))
        ended = translate_root.standing(root, spec).ended_at
        return ended is not None and before - ended > timedelta(seconds=self._around.options.ttl_seconds)


def half_made(wanted: Mapping[str, Any], submission: Submission) -> Document:
    """The job's object as it is created first: suspended, in no queue, labelled as half-made."""
    first = copy.deepcopy(dict(wanted))
    metadata = first["metadata"]
    metadata["annotations"] = {
        **metadata.get("annotations", {}),
        record.RECORD: record.annotation(submission, at=clock.now(), version=__version__),
    }
    labels = {**metadata.get("labels", {}), record.LAUNCHING: "true"}
    labels.pop(names.KUEUE_QUEUE, None)
    metadata["labels"] = labels
    _suspend(first["kind"], first["spec"], True)
    return first


def commit(wanted: Mapping[str, Any]) -> Document:
    """The merge patch that makes a job of it: out of the half-made, into its queue or off to a start."""
    labels: dict[str, str | None] = {record.LAUNCHING: None}
    queue = wanted["metadata"].get("labels", {}).get(names.KUEUE_QUEUE)
    if queue is not None:
        labels[names.KUEUE_QUEUE] = queue
    change: Document = {"metadata": {"labels": labels}}
    spec: Document = {}
    if not suspended(wanted):
        _suspend(wanted["kind"], spec, False)
        change["spec"] = spec
    return change


def suspended(document: Mapping[str, Any]) -> bool:
    """Whether it is rendered suspended (a queue admits it, or somebody releases it)."""
    spec = document["spec"]
    return bool(spec.get("runPolicy", {}).get("suspend") if document["kind"] == "PyTorchJob" else spec.get("suspend"))


def suspension(kind: str, value: bool) -> Document:
    """The merge patch of a job object's specification that suspends or resumes it."""
    spec: Document = {}
    _suspend(kind, spec, value)
    return {"spec": spec}


def _suspend(kind: str, spec: Document, value: bool) -> None:
    if kind == "PyTorchJob":
        spec.setdefault("runPolicy", {})["suspend"] = value
    else:
        spec["suspend"] = value


def without_secrets(document: Document) -> Document:
    """A copy to be shown: of a Secret's values only the sizes."""
    if document["kind"] != "Secret":
        return document
    fields = {
        field: {key: f"({len(value)} characters)" for key, value in document[field].items()} for field in _HOLDING if document.get(field)
    }
    return {**document, **fields}
