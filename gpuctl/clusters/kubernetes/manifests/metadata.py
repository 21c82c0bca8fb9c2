"""Labels and annotations: what every object tells of its job, so that any machine and any colleague sees the same."""

import msgspec

from gpuctl.base.errors import UsageError
from gpuctl.clusters.kubernetes import names
from gpuctl.clusters.kubernetes.manifests.values import Engine
from gpuctl.model.ask import Submission
from gpuctl.model.spec import JobSpec
from gpuctl.policy.placement import Placement

LARGEST_SPEC = 160 << 10
"""Bytes of the spec's annotation; Kubernetes allows 256 KiB for all annotations of an object together."""


class Identity(msgspec.Struct, frozen=True, kw_only=True):
    """Whose job it is and what it is called. ``object_name`` is the attempt's, ``name`` the job's."""

    job_id: str
    name: str
    object_name: str
    user: str
    team: str | None
    attempt: int
    kind: str


def labels(who: Identity, submission: Submission) -> dict[str, str]:
    """The labels of every object of the job: the person's own, then gpuctl's, which win."""
    ours = {
        names.MANAGED_BY: names.MANAGER,
        names.JOB: who.name,
        names.JOB_ID: who.job_id,
        names.USER: names.label_value(who.user),
        names.ATTEMPT: str(who.attempt),
        names.KIND: who.kind,
    }
    if who.team is not None:
        ours[names.TEAM] = names.label_value(who.team)
    return {**submission.labels, **ours}


def annotations(who: Identity, submission: Submission, *, engine: Engine, placement: Placement | None, code: str | None) -> dict[str, str]:
    """The annotations of the object that stands for the job: all that is needed to show it, explain it and run it again.

    Raises:
        UsageError: ``spec-too-large``.
    """
    spec, cut = _spec_text(submission.spec, who.name)
    found = {
        names.SPEC: spec,
        names.SPEC_CUT: ",".join(cut) or None,
        names.BASE_NAME: submission.base_name,
        names.REQUEST_ID: submission.request_id,
        names.EXPLICIT_REQUEST_ID: "true" if submission.explicit_request_id else None,
        names.USER_NAME: who.user if names.label_value(who.user) != who.user else None,
        names.ENGINE: engine.value,
        names.COMMIT: submission.code.commit,
        names.BRANCH: submission.code.branch,
        names.DIRTY: ("true" if submission.code.dirty else "false") if submission.code.commit else None,
        names.WORKDIR: submission.code.workdir,
        names.CODE: code,
        names.TIER_CHOSEN: placement.tier if placement is not None else None,
        names.RERUN_OF: submission.rerun_of,
    }
    return {key: value for key, value in found.items() if value is not None}


def _spec_text(spec: JobSpec, name: str) -> tuple[str, list[str]]:
    text = msgspec.json.encode(spec)
    cut: list[str] = []
    if len(text) > LARGEST_SPEC and spec.stdin_script is not None:
        spec = msgspec.structs.replace(spec, stdin_script="")
        cut.append("stdinScript")
        text = msgspec.json.encode(spec)
    if len(text) > LARGEST_SPEC and spec.array is not None and spec.array.args:
        spec = msgspec.structs.replace(spec, array=msgspec.structs.replace(spec.array, args=()))
        cut.append("array.args")
        text = msgspec.json.encode(spec)
    if len(text) > LARGEST_SPEC:
        largest = max(msgspec.structs.fields(type(spec)), key=lambda field: len(msgspec.json.encode(getattr(spec, field.name)))).encode_name
        raise UsageError(
            f"cannot submit {name}: its spec has {len(text) >> 10} KiB, {LARGEST_SPEC >> 10} KiB is the most that a cluster keeps",
            code="spec-too-large",
            cause=f"the largest field is {largest}",
            hint="put it into a file of the working directory",
        )
    return text.decode(), cut
