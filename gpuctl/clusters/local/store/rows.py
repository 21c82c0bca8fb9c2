"""Between rows and values: JSON blobs, instants, and a whole :class:`Job` of one row.

Ten thousand rows have to become jobs in a fraction of a second, so a row is turned into a job positionally, decoders are made once, and
equal specs are decoded once.
"""

import functools
import sqlite3
from collections.abc import Sequence
from datetime import datetime, timezone
from typing import Any, TypeVar, cast

import msgspec

from gpuctl.model import decoding
from gpuctl.model.job import Attempt, Code, Exit, Job, Pod, RankEnd, State, TaskCounts, TimelineEvent
from gpuctl.model.reason import Evidence, Reason
from gpuctl.model.spec import JobSpec

T = TypeVar("T")
NO_TASK = -1
"""``task`` of a job that is no array."""

JOB_COLUMNS = (
    "id, name, base_name, user, request_id, state, submitted_at, started_at, ended_at, ends_by, expected_start, attempt_count, "
    "exit_code, exit_signal, reason, place, spec, code, labels, interpreter, rerun_of, team"
)
ATTEMPT_COLUMNS = "task, number, state, started_at, ended_at, exit_code, exit_signal, reason, pods, ranks"

_ENCODER = msgspec.json.Encoder()
_STATES: dict[str, State] = {state.value: state for state in State}


@functools.cache
def _decoder(kind: Any) -> msgspec.json.Decoder[Any]:
    return decoding.decoder(kind)


def encode(value: Any) -> bytes:
    """A value as the JSON that its column holds."""
    return _ENCODER.encode(value)


def decode(blob: bytes | None, kind: type[T]) -> T | None:
    """The value of a column, None for NULL."""
    return None if blob is None else _decoder(cast(Any, kind)).decode(blob)


@functools.lru_cache(maxsize=4096)
def spec_of(blob: bytes) -> JobSpec:
    """The spec of a row. Equal blobs are one object: specs are frozen."""
    return _decoder(JobSpec).decode(blob)  # type: ignore[no-any-return]


@functools.lru_cache(maxsize=4096)
def code_of(blob: bytes) -> Code:
    """The code of a row."""
    return _decoder(Code).decode(blob)  # type: ignore[no-any-return]


@functools.lru_cache(maxsize=1024)
def reason_of(blob: bytes | None) -> Reason | None:
    """The reason of a row."""
    return decode(blob, Reason)


def instant(seconds: float | None) -> datetime | None:
    """UNIX seconds as an instant in UTC."""
    return None if seconds is None else datetime.fromtimestamp(seconds, timezone.utc)


def exit_of(code: int | None, signal: int | None) -> Exit | None:
    """How it ended, None when that is not known."""
    return None if code is None and signal is None else Exit(code=code, signal=signal)


def state_of(text: str) -> State:
    """The state that a column names."""
    return _STATES[text]


def job_of(
    row: Sequence[Any],
    *,
    cluster: str,
    tasks: TaskCounts | None = None,
    attempts: tuple[Attempt, ...] = (),
    timeline: tuple[TimelineEvent, ...] = (),
    environment: tuple[str, ...] | None = None,
) -> Job:
    """The job of one row of ``JOB_COLUMNS``."""
    labels = row[18]
    placed = row[15]
    return Job(
        id=row[0],
        name=row[1],
        base_name=row[2],
        user=row[3],
        request_id=row[4],
        state=_STATES[row[5]],
        submitted_at=datetime.fromtimestamp(row[6], timezone.utc),
        started_at=instant(row[7]),
        ended_at=instant(row[8]),
        ends_by=instant(row[9]),
        expected_start=instant(row[10]),
        attempt_count=row[11],
        exit=exit_of(row[12], row[13]),
        reason=reason_of(row[14]),
        where=placed,
        cluster=cluster,
        spec=spec_of(row[16]),
        code=code_of(row[17]),
        labels=_decoder(dict[str, str]).decode(labels) if labels is not None else {},
        interpreter=row[19],
        ran_same_as=row[20],
        team=row[21],
        tasks=tasks,
        attempts=attempts,
        timeline=timeline,
        environment=environment,
    )


def attempt_of(row: Sequence[Any], *, cluster: str) -> Attempt:
    """The attempt of one row of ``ATTEMPT_COLUMNS``."""
    return Attempt(
        task=None if row[0] == NO_TASK else row[0],
        number=row[1],
        cluster=cluster,
        state=_STATES[row[2]],
        started_at=instant(row[3]),
        ended_at=instant(row[4]),
        exit=exit_of(row[5], row[6]),
        reason=reason_of(row[7]),
        pods=decode(row[8], tuple[Pod, ...]) or (),
        ranks=decode(row[9], tuple[RankEnd, ...]) or (),
    )


def events_of(connection: sqlite3.Connection, job_id: str) -> tuple[TimelineEvent, ...]:
    """A job's timeline, in the order in which it was written."""
    rows = connection.execute("SELECT at, what, text, attempt FROM events WHERE job = ? ORDER BY rowid", (job_id,))
    return tuple(
        TimelineEvent(at=datetime.fromtimestamp(at, timezone.utc), what=what, text=text, attempt=attempt)
        for at, what, text, attempt in rows
    )


def evidence_of(connection: sqlite3.Connection, job_id: str) -> tuple[Evidence, ...]:
    """Everything that was seen of a job, in the order in which it was seen."""
    seen = connection.execute("SELECT doc, task FROM evidence WHERE job = ? ORDER BY rowid", (job_id,))
    return tuple(msgspec.structs.replace(_decoder(Evidence).decode(doc), task=task if task != NO_TASK else None) for doc, task in seen)
