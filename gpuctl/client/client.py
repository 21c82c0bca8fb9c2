"""``gpuctl.connect()`` and what can be asked of the pool behind it."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, final

from gpuctl.base.errors import InvalidInput, Problem
from gpuctl.client.handle import JobHandle, JobList
from gpuctl.client.specs import JobArguments, Seconds, build
from gpuctl.model.ask import JobQuery, Plan, Submission
from gpuctl.model.job import State
from gpuctl.model.place import ClusterStatus, Node, Volume
from gpuctl.model.spec import JobDocument, JobSpec, Kind, Tier

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from gpuctl.pool.submission import InterpreterFinder
    from gpuctl.port.pool import Pool


def connect(profile: str | None = None) -> "Client":
    """The pool of a profile; without one, the profile that commands use. Nothing is talked to yet.

    Raises:
        NotFoundError: no such profile.
        InvalidInput: the configuration is wrong.

    >>> import gpuctl
    >>> with gpuctl.connect() as client:
    ...     client
    <gpuctl.Client: profile local>
    """
    from gpuctl import wiring

    pool = wiring.open_pool(profile)
    return Client(pool, profile=pool.profile)


@final
class Client:
    """A pool, as Python sees it. Use it as a context manager or ``close`` it; jobs go on without it.

    Args:
        pool: what answers; ``connect`` makes one from a profile.
        profile: the profile's name, shown in the repr.
        find_interpreter: how the Python of a job is found, by default as the command line does.
    """

    def __init__(self, pool: "Pool", *, profile: str = "", find_interpreter: "InterpreterFinder | None" = None) -> None:
        self.pool = pool
        self.profile = profile
        self._find_interpreter = find_interpreter

    def __repr__(self) -> str:
        """The profile."""
        return f"<gpuctl.Client: profile {self.profile}>"

    def __enter__(self) -> "Client":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Let go of connections; jobs go on."""
        self.pool.close()

    def submit(
        self,
        script: str | os.PathLike[str] | None = None,
        *,
        args: Sequence[object] = (),
        command: Sequence[object] = (),
        kind: Kind | None = None,
        nodes: int = 1,
        gpus: int = 1,
        nproc_per_node: int | None = None,
        per: str = "node",
        name: str | None = None,
        labels: Mapping[str, str] | None = None,
        env: Mapping[str, object] | None = None,
        secrets: Mapping[str, str] | None = None,
        workdir: str | os.PathLike[str] | None = None,
        python: str | None = None,
        snapshot: bool = False,
        git: str | None = None,
        code_volume: str | None = None,
        time: Seconds = None,
        grace: Seconds = None,
        retries: int = 0,
        requeue: bool = False,
        priority: int = 0,
        hold: bool = False,
        array: str | range | None = None,
        parallel: int | None = None,
        after: Sequence["str | JobHandle"] = (),
        cpus: float | str | None = None,
        memory: int | str | None = None,
        gpu_type: str | None = None,
        devices: Sequence[int] = (),
        cluster: str | None = None,
        tier: Tier = "any",
        exclude: Sequence[str] = (),
        volumes: Mapping[str, str | None] | None = None,
        checkpoint: str | None = None,
        request_id: str | None = None,
        best_effort: bool = False,
        wait: bool = False,
        timeout: float | None = None,
    ) -> JobHandle:
        """Submit a job, as ``gpuctl submit`` does.

        Args:
            script: path of the script; ``.py`` runs under PyTorch's launcher unless ``kind`` says otherwise.
            args: of the script; each becomes text.
            command: a whole command line instead of a script.
            kind: ``pytorch``, ``ray`` or ``command``; inferred like the command line infers it.
            nodes: how many nodes.
            gpus: GPUs (or process slots of a machine without any) per node; ``nodes=4, gpus=8`` is ``-j 4x8``.
            nproc_per_node: processes per node instead of one per GPU.
            per: for commands, one copy per ``node`` or per ``gpu``.
            name: the part of the job's name that you choose.
            labels: by key.
            env: variables on top of this process's environment; values become text.
            secrets: values by name; sealed at once, never stored in clear.
            workdir: where the job runs, the working directory by default.
            python: the interpreter that runs it; else the one that the command line would find.
            snapshot: copy the code first.
            git: ``"URL@REF"``, the code from a repository; ``workdir`` is then below its root.
            code_volume: the volume by which code above 7 MiB goes to a Kubernetes cluster.
            time: limit, as ``"6h"`` or a number of seconds; none without.
            grace: between SIGTERM and SIGKILL, 30 s by default.
            retries: attempts after a failure.
            requeue: it may be stopped and started again.
            priority: higher goes first, -1000 to 1000.
            hold: accepted, but not started before ``gpuctl update --release``.
            array: ``range(100)`` or ``"0-99"``: one task per index, GPUCTL_ARRAY_INDEX set.
            parallel: how many tasks at a time.
            after: jobs to wait for: a handle, ``"NAME"`` or ``"any:NAME"``; default mode ``ok``.
            cpus: cores per node.
            memory: bytes, or text such as ``"64Gi"``, per node.
            gpu_type: such as ``"H100"``.
            devices: only these device indices.
            cluster: run there and nowhere else.
            tier: ``reserved``, ``on-demand`` or ``any``.
            exclude: nodes not to use.
            volumes: path (or None) by volume name; ``"/data:ro"`` is read-only.
            checkpoint: ``"VOLUME:/dir"``.
            request_id: the same id with the same spec is the same job, however often it is submitted.
            best_effort: drop promises that cannot be kept here instead of refusing.
            wait: return once it has ended.
            timeout: with ``wait``, how many seconds at most.

        Raises:
            InvalidInput: every wrong argument at once.
            NotKeptHere: a promise that nothing here keeps.
            NotAllowedError: it can never run here.
            TimeoutReachedError: ``timeout`` passed; the job goes on.
        """
        submission = self._submission(
            script,
            args=args,
            command=command,
            kind=kind,
            nodes=nodes,
            gpus=gpus,
            nproc_per_node=nproc_per_node,
            per=per,
            name=name,
            labels=labels,
            env=env,
            secrets=secrets,
            workdir=workdir,
            python=python,
            snapshot=snapshot,
            git=git,
            code_volume=code_volume,
            time=time,
            grace=grace,
            retries=retries,
            requeue=requeue,
            priority=priority,
            hold=hold,
            array=array,
            parallel=parallel,
            after=after,
            cpus=cpus,
            memory=memory,
            gpu_type=gpu_type,
            devices=devices,
            cluster=cluster,
            tier=tier,
            exclude=exclude,
            volumes=volumes,
            checkpoint=checkpoint,
            request_id=request_id,
            best_effort=best_effort,
        )
        return self._accept(submission, wait=wait, timeout=timeout)

    def plan(self, script: str | os.PathLike[str] | None = None, **arguments: "Unpack[JobArguments]") -> Plan:
        """Where and when the job could run, and at which cost, as ``gpuctl submit --plan`` tells; submits nothing.

        Args:
            script: as for ``submit``.
            arguments: those of ``submit``, all but ``wait`` and ``timeout``.

        Raises:
            InvalidInput: every wrong argument at once.
            NotKeptHere: a promise that nothing here keeps.
            NotAllowedError: it can never run here.
        """
        unknown = sorted(set(arguments) - set(JobArguments.__annotations__))
        if unknown:
            raise TypeError(f"Client.plan() got an unexpected keyword argument {unknown[0]!r}")
        return self.pool.plan(self._submission(script, **arguments))

    def submit_file(
        self,
        path: str | os.PathLike[str],
        *,
        secrets: Mapping[str, str] | None = None,
        request_id: str | None = None,
        best_effort: bool = False,
        wait: bool = False,
        timeout: float | None = None,
    ) -> JobHandle:
        """Submit the job file at ``path`` (``gpuctl submit -f``). Its relative ``workdir`` begins at the directory of the file.

        Raises:
            UsageError: the file cannot be read or is no YAML.
            InvalidInput: every wrong field at once.
        """
        from gpuctl.base.errors import UsageError
        from gpuctl.model import jobfile
        from gpuctl.model.check import check_document

        source = os.fspath(path)
        try:
            text = Path(source).read_bytes()
        except OSError as error:
            raise UsageError(f"cannot read job file {source}", code="bad-job-file", cause=error.strerror) from error
        document, problems = check_document(jobfile.parse(text, source=source))
        if document is None:
            raise InvalidInput(f"cannot submit {source}", problems, code="bad-job")
        base = os.path.dirname(os.path.abspath(source)) if document.spec.workdir else os.getcwd()
        submission = self._prepare(
            document, name=None, labels=None, secrets=secrets, request_id=request_id, best_effort=best_effort, cwd=base
        )
        return self._accept(submission, wait=wait, timeout=timeout)

    def jobs(
        self,
        *,
        user: str | None = None,
        states: Sequence[str | State] | None = None,
        name: str | None = None,
        labels: Mapping[str, str] | None = None,
        limit: int | None = None,
    ) -> JobList:
        """Jobs, unfinished first, then newest first. ``JobList.incomplete`` names clusters that could not be read.

        Args:
            user: whose; me by default, ``"all"`` for everybody's.
            states: only these, such as ``["running", "queued"]``.
            name: a shell-style pattern, ``"llama*"``.
            labels: only jobs with all of these.
            limit: at most so many.

        Raises:
            InvalidInput: an unknown state.
        """
        query = JobQuery(
            user=None if user == "all" else user or self.pool.me(),
            states=_states(states),
            name=name,
            labels=dict(labels or {}),
            limit=limit,
        )
        listing = self.pool.jobs(query)
        return JobList((JobHandle(self.pool, job) for job in listing.items), incomplete=listing.incomplete)

    def job(self, ref: str | None = None) -> JobHandle:
        """One job by name, base name (the newest), id prefix or ``NAME_7``; my latest without a reference.

        Raises:
            NotFoundError: no such job, and every cluster was read.
            UnavailableError: a cluster that may have it could not be read.
        """
        return JobHandle(self.pool, self.pool.job(ref))

    def nodes(self) -> tuple[Node, ...]:
        """Every node with its devices."""
        return self.pool.nodes().items

    def clusters(self) -> tuple[ClusterStatus, ...]:
        """Every cluster of the profile, also those that do not answer."""
        return self.pool.clusters().items

    def volumes(self) -> tuple[Volume, ...]:
        """Every volume."""
        return self.pool.volumes().items

    def _submission(
        self,
        script: str | os.PathLike[str] | None,
        *,
        name: str | None = None,
        labels: Mapping[str, str] | None = None,
        secrets: Mapping[str, str] | None = None,
        request_id: str | None = None,
        best_effort: bool = False,
        after: Sequence["str | JobHandle"] = (),
        **described: Any,
    ) -> Submission:
        """What ``submit`` and ``plan`` are told, as a submission; ``described`` is what :func:`.specs.build` takes."""
        waits = [each.id if isinstance(each, JobHandle) else each for each in after]
        spec = build(script, secrets=tuple(secrets or ()), after=after if isinstance(after, str) else waits, **described)
        document = JobDocument(api_version="gpuctl.io/v1", kind="Job", spec=spec)
        return self._prepare(document, name=name, labels=labels, secrets=secrets, request_id=request_id, best_effort=best_effort)

    def _prepare(
        self,
        document: JobDocument,
        *,
        name: str | None,
        labels: Mapping[str, str] | None,
        secrets: Mapping[str, str] | None,
        request_id: str | None,
        best_effort: bool,
        cwd: str | None = None,
    ) -> Submission:
        from gpuctl.pool.submission import prepare

        return prepare(
            document.spec,
            cwd=cwd or os.getcwd(),
            env=os.environ,
            find_interpreter=self._find_interpreter or self._found_for(document.spec),
            name=name or document.metadata.name,
            labels={**document.metadata.labels, **(labels or {})},
            secrets=secrets,
            request_id=request_id,
            best_effort=best_effort,
        )

    def _found_for(self, spec: JobSpec) -> "InterpreterFinder | None":
        """The search of the command line; what the kind imports has to be there. None where jobs run with the Python of an image."""
        from gpuctl import wiring
        from gpuctl.config import settings

        if not wiring.runs_here(self.profile or None, settings.load(), cluster=spec.cluster):
            return None

        def find(python: str | None, workdir: str, env: Mapping[str, str]) -> str:
            path = wiring.find_interpreter(python, workdir, env)
            wiring.require_module(path, spec.kind, env=env)
            return path

        return find

    def _accept(self, submission: Submission, *, wait: bool, timeout: float | None) -> JobHandle:
        submitted = self.pool.submit(submission)
        handle = JobHandle(self.pool, submitted.job, notes=submitted.notes)
        return handle.wait(timeout=timeout) if wait else handle


def _states(words: Sequence[str | State] | None) -> frozenset[State] | None:
    if words is None:
        return None
    given = (words,) if isinstance(words, (str, State)) else tuple(words)
    known = {state.value for state in State}
    wrong = [
        Problem(field="states", message="no such state", got=repr(word), allowed=", ".join(sorted(known)))
        for word in given
        if word not in known
    ]
    if wrong:
        raise InvalidInput("cannot list jobs", wrong, code="bad-argument")
    return frozenset(State(word) for word in given)
