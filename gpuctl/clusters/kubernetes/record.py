"""What gpuctl writes on a job's own object so that any machine can read the job back, and how it is read.

Two annotations: the spec (``names.SPEC``) and what nothing else on the object tells of the submission (``RECORD``). Neither holds a
secret's value or the environment. Both are read leniently: a newer gpuctl may have written fields that this one does not know.
"""

import hashlib
from collections.abc import Mapping
from datetime import datetime
from typing import Any, get_args, get_type_hints

import msgspec

from gpuctl.clusters.kubernetes import names
from gpuctl.model import decoding
from gpuctl.model.ask import Submission
from gpuctl.model.job import Code, Fact, State
from gpuctl.model.plan import PlanOption
from gpuctl.model.spec import JobSpec, Value

RECORD = names.PREFIX + "record"
LAUNCHING = names.PREFIX + "launching"
"""Label of a job's object whose other objects are not all there yet. Such a job does not exist so far; who dies leaves one behind."""
CANCELLED_BY = names.PREFIX + "cancelled-by"
CANCELLED_AT = names.PREFIX + "cancelled-at"
ENDED = names.PREFIX + "ended"
"""Annotation of a tombstone: how the job ended whose own object was deleted."""

SELECTOR = f"{names.MANAGED_BY}={names.MANAGER}"


class Record(Fact, frozen=True, kw_only=True):
    """The part of a submission that is not its spec."""

    digest: str = ""
    code: Code | None = None
    interpreter: str | None = None
    rerun_of: str | None = None
    labels: dict[str, str] = msgspec.field(default_factory=dict)
    submitted_at: datetime | None = None
    placement: tuple[PlanOption, ...] = ()
    version: str = ""


class End(Fact, frozen=True, kw_only=True):
    """What a tombstone says."""

    state: State
    at: datetime
    by: str | None = None
    started_at: datetime | None = None
    attempts: int = 0
    submitted_at: datetime | None = None
    where: str | None = None


def digest(submission: Submission) -> str:
    """What was asked for, in one word: the same request id with the same digest is the same job."""
    return hashlib.sha256(submission.base_name.encode() + b"\0" + msgspec.json.encode(submission.spec)).hexdigest()


def annotation(submission: Submission, *, at: datetime, version: str) -> str:
    """What is written as ``RECORD`` on a new job's object."""
    record = Record(
        digest=digest(submission),
        code=submission.code,
        interpreter=submission.interpreter,
        rerun_of=submission.rerun_of,
        labels=submission.labels,
        submitted_at=at,
        placement=submission.placement,
        version=version,
    )
    return msgspec.json.encode(record).decode()


def read_spec(text: str) -> tuple[JobSpec, bool]:
    """The spec, and whether all of it was understood. What a newer gpuctl added is left out; what cannot be read at all is the default."""
    if not text:
        return JobSpec(), False
    try:
        return decoding.decode(text, JobSpec), True
    except msgspec.MsgspecError:
        pass
    document: Any = None
    try:
        document = msgspec.json.decode(text)
        return decoding.convert(_known(JobSpec, document), JobSpec), False
    except msgspec.MsgspecError:
        return _field_by_field(document if isinstance(document, dict) else {}), False


def read_record(text: str) -> Record:
    """The record; an empty one when it cannot be read."""
    try:
        return decoding.decode(text or "{}", Record)
    except msgspec.MsgspecError:
        return Record()


def read_end(text: str) -> End | None:
    """The end a tombstone tells, None when it is no tombstone or cannot be read."""
    try:
        return decoding.decode(text, End) if text else None
    except msgspec.MsgspecError:
        return None


def _known(kind: type[Value], document: Any) -> Any:
    """``document`` without the keys that ``kind`` and the values in it do not have."""
    if not isinstance(document, dict):
        return document
    hints = get_type_hints(kind)
    kept = {}
    for field in msgspec.structs.fields(kind):
        if field.encode_name in document:
            value = document[field.encode_name]
            inner = _value_in(hints[field.name])
            if inner is not None:
                value = [_known(inner, each) for each in value] if isinstance(value, list) else _known(inner, value)
            kept[field.encode_name] = value
    return kept


def _value_in(hint: Any) -> type[Value] | None:
    """The kind of value in ``X``, ``X | None`` or ``tuple[X, ...]``."""
    if isinstance(hint, type) and issubclass(hint, Value):
        return hint
    return next((found for found in map(_value_in, get_args(hint)) if found is not None), None)


def _field_by_field(document: Mapping[str, Any]) -> JobSpec:
    """What can be read of a spec in which some field's type has changed."""
    spec = JobSpec()
    for field in msgspec.structs.fields(JobSpec):
        if field.encode_name in document:
            try:
                one = decoding.convert({field.encode_name: document[field.encode_name]}, JobSpec)
            except msgspec.ValidationError:
                continue
            spec = msgspec.structs.replace(spec, **{field.name: getattr(one, field.name)})
    return spec
