"""Accepting a submission: judged, written to disk, then stored in one transaction.

The order makes it all or nothing. Everything that can be refused is refused first. The job's directory (sealed environment, snapshot,
``job.json``) is on disk before the transaction, so a stored job always has it; a crash in between leaves a directory that no job owns,
which the keeper removes later.
"""

import contextlib
import hashlib
import os
import secrets
import shutil
from collections.abc import Callable, Sequence

import msgspec

from gpuctl.base import clock
from gpuctl.base.errors import ConflictError, InvalidInput, NotAllowedError, NotFoundError, Problem
from gpuctl.clusters.local import lookup, seal, volumes
from gpuctl.clusters.local.paths import state_error
from gpuctl.clusters.local.snapshot import queue_job_of
from gpuctl.clusters.local.store import Database, jobs
from gpuctl.clusters.local.store.jobs import Accepted
from gpuctl.clusters.local.store.rows import encode
from gpuctl.model.ask import Submission
from gpuctl.model.job import Code
from gpuctl.model.spec import Dependency, JobSpec
from gpuctl.policy import dependency, placement
from gpuctl.policy.values import After, NodeState


def digest(submission: Submission) -> str:
    """What was asked for, in one word: the same request id with the same digest is the same job."""
    return hashlib.sha256(submission.base_name.encode() + b"\0" + encode(submission.spec)).hexdigest()


class Intake:
    """Accepts jobs into one store.

    Args:
        nodes: the machine, asked only when a job has to be judged against it.
        volume_root: where volumes live.
        user: whose jobs they are.
        team: whose windows they may use.
    """

    def __init__(
        self, database: Database, *, nodes: Callable[[], Sequence[NodeState]], volume_root: str, user: str, team: str | None = None
    ) -> None:
        self._database = database
        self._paths = database.paths
        self._nodes = nodes
        self._volume_root = volume_root
        self._user = user
        self._team = team

    def known(self, submission: Submission) -> str | None:
        """The id of the job that this submission has already become.

        Raises:
            ConflictError: ``request-id-used``, for something else.
        """
        with self._database.read() as connection:
            found = jobs.by_request(connection, submission.request_id)
        if found is None:
            return None
        return self._same(found, submission)

    def _same(self, found: tuple[str, str], submission: Submission) -> str:
        job_id, asked = found
        if asked != digest(submission):
            with self._database.read() as connection:
                name = jobs.row(connection, job_id)[1]
            raise ConflictError(
                f"cannot submit {submission.base_name}: request id {submission.request_id} was used for {name}, with another spec",
                code="request-id-used",
                hint=f"gpuctl job {name}",
            )
        return job_id

    def judge(self, submission: Submission) -> JobSpec:
        """The spec as it is stored (dependencies by id), if the job could ever run here.

        Raises:
            InvalidInput: a script or volumes that are missing.
            NotFoundError: a dependency that does not exist.
            ConflictError: a dependency that can never be satisfied any more.
            NotAllowedError: ``never-fits``.
        """
        spec = submission.spec
        if spec.git is None:
            _check_script(submission, submission.code.workdir, where=submission.code.workdir)
        self._check_volumes(submission)
        after = tuple(self._dependency(each, name=submission.base_name) for each in spec.after)
        job = queue_job_of("new", submission.base_name, spec, submitted_at=clock.now(), user=self._user, team=self._team)
        never = placement.fits_ever(job, self._nodes())
        if never is not None:
            raise NotAllowedError(
                f"cannot submit {submission.base_name}: {never.sentence}", code="never-fits", cause=never.advice, hint=never.command
            )
        return msgspec.structs.replace(spec, after=after)

    def _check_volumes(self, submission: Submission) -> None:
        spec = submission.spec
        wanted = [each.name for each in spec.volumes]
        if spec.checkpoint is not None:
            wanted.append(spec.checkpoint.volume)
        there = volumes.known(self._volume_root)
        missing = [name for name in dict.fromkeys(wanted) if name not in there]
        if missing:
            problems = [volumes.missing_problem(name, there) for name in missing]
            hint = "    ".join(f"gpuctl volumes create {name}" for name in missing)
            raise InvalidInput(f"cannot submit {submission.base_name}", problems, code="no-such-volume", hint=hint)

    def _dependency(self, wanted: Dependency, *, name: str) -> Dependency:
        with self._database.read() as connection:
            try:
                found = lookup.resolve(connection, wanted.job).job_id
            except NotFoundError as error:
                raise NotFoundError(
                    f"cannot submit {name} after {wanted.job}: no such job", code="after-not-found", cause=error.cause, hint="gpuctl jobs"
                ) from error
            state = jobs.state(connection, found)
            other = jobs.row(connection, found)[1]
        after = After(job=found, name=other, mode=wanted.mode, state=state)
        if dependency.standing(after, {}) is dependency.Standing.NEVER:
            assert state is not None
            raise ConflictError(
                f"cannot submit {name} after {wanted.mode}:{other}: {other} ended {state.value}, so it would never start",
                code="after-never",
                hint=f"gpuctl why {other}    or: --after any:{other}",
            )
        return Dependency(job=found, mode=wanted.mode)

    def accept(self, submission: Submission) -> tuple[str, bool]:
        """Store the job; its id, and whether it was there before. When this returns, the job survives a power cut."""
        known = self.known(submission)
        if known is not None:
            return known, True
        spec = self.judge(submission)
        job_id = secrets.token_hex(6)
        directory = self._paths.job(job_id)
        try:
            kept = self._write_directory(job_id, submission, spec)
            existing = self._store(job_id, submission, kept)
        except BaseException as error:
            shutil.rmtree(directory, ignore_errors=True)
            if isinstance(error, OSError):
                raise state_error(self._paths.root, error) from error
            raise
        if existing is not None:
            shutil.rmtree(directory, ignore_errors=True)
            return self._same(existing, submission), True
        return job_id, False

    def _write_directory(self, job_id: str, submission: Submission, spec: JobSpec) -> Submission:
        """Make the job's directory; the submission as ``job.json`` keeps it, without what is sealed."""
        paths = self._paths
        os.mkdir(paths.job(job_id), 0o700)
        os.mkdir(paths.logs(job_id), 0o700)
        code = submission.code
        if spec.git is not None:
            code = self._fetched(submission, paths.snapshot(job_id))
        elif spec.snapshot:
            from gpuctl.clusters.local.snapshotcopy import copy

            code = msgspec.structs.replace(code, snapshot=copy(code.workdir, paths.snapshot(job_id)))
        content = seal.Secrets(environment=seal.without_tokens(submission.environment), secrets=submission.secrets)
        blob = seal.seal(content, key=seal.load_key(paths.key), job_id=job_id)
        write_whole(paths.sealed(job_id), blob)
        return msgspec.structs.replace(submission, spec=spec, code=code, environment={}, secrets={})

    def _fetched(self, submission: Submission, destination: str) -> Code:
        """The files of its repository in ``destination``, with the credentials of whoever submits."""
        from gpuctl.base.git import Repository

        source, code = submission.spec.git, submission.code
        assert source is not None
        repository = Repository(source.url, os.environ, submission.secrets)
        commit = repository.fetch(source.ref, destination, commit=code.commit)
        workdir = os.path.normpath(os.path.join(destination, submission.spec.workdir or ""))
        if not os.path.isdir(workdir):
            problem = Problem(field="spec.workdir", message=f"is no directory of {source.url}@{source.ref}", got=submission.spec.workdir)
            raise InvalidInput(f"cannot submit {submission.base_name}", [problem], code="bad-job")
        fetched = msgspec.structs.replace(code, commit=commit, snapshot=workdir)
        _check_script(submission, workdir, where=f"{source.url}@{source.ref}")
        return fetched

    def _store(self, job_id: str, submission: Submission, kept: Submission) -> tuple[str, str] | None:
        """Store it, unless another process was first with this request id: then that job."""
        at = clock.now().timestamp()
        with self._database.write(durable=True) as connection:
            existing = jobs.by_request(connection, submission.request_id)
            if existing is not None:
                return existing
            # A name that is no UTF-8 is spelled out: it is only shown and compared.
            names = tuple(
                sorted(
                    each.encode(errors="surrogateescape").decode(errors="backslashreplace")
                    for each in seal.without_tokens(submission.environment)
                )
            )
            name = jobs.free_name(connection, submission.base_name, submission.request_id)
            accepted = Accepted(
                id=job_id, name=name, user=self._user, at=at, asked=digest(submission), submission=kept, environment=names, team=self._team
            )
            write_whole(self._paths.record(job_id), encode(accepted))
            jobs.insert(connection, accepted)
        return None


def _check_script(submission: Submission, directory: str, *, where: str) -> None:
    """A script that is not there is told at once, unless a job that has to end first may still write it."""
    spec = submission.spec
    if spec.script is None or spec.after or os.path.exists(os.path.join(directory, spec.script)):
        return
    problem = Problem(field="script", message=f"there is no such file in {where}", got=spec.script)
    raise InvalidInput(f"cannot submit {submission.base_name}", [problem], code="script-missing")


def write_whole(path: str, content: bytes) -> None:
    """A file of mode 0600 that is there whole and on disk, or not at all."""
    draft = f"{path}.new"
    fd = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        view = memoryview(content)
        while view:
            view = view[os.write(fd, view) :]
        os.fsync(fd)
    finally:
        os.close(fd)
    os.rename(draft, path)
    parent = os.open(os.path.dirname(path), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        with contextlib.suppress(OSError):  # some file systems cannot sync a directory; the file itself is safe
            os.fsync(parent)
    finally:
        os.close(parent)


def erase(database: Database) -> None:
    """Remove the sealed environments of jobs that have ended."""
    with database.read() as connection:
        ended = jobs.unerased(connection)
    if not ended:
        return
    for job_id in ended:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(database.paths.sealed(job_id))
    with database.write() as connection:
        jobs.erased(connection, ended)
