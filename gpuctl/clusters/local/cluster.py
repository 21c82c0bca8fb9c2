"""This machine behind the Cluster port: opens the store on first use and hands each call to the module that knows how.

What a listing or a submit does not need is imported where it is used.
"""

import os
import threading
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property

import msgspec

from gpuctl import __version__
from gpuctl.base import clock, duration, names, quantity
from gpuctl.base.errors import ConflictError, GpuctlError, InvalidInput, Problem, nearest
from gpuctl.clusters.local import alive, change, heal, ingest, keeper, lookup, paths, recover, rounds, spawn, views, waiting
from gpuctl.clusters.local.inventory import Machine
from gpuctl.clusters.local.launch import Intake
from gpuctl.clusters.local.logs.layout import LogName
from gpuctl.clusters.local.lookup import Found
from gpuctl.clusters.local.snapshot import gather, queue_job_of
from gpuctl.clusters.local.starting import Surroundings
from gpuctl.clusters.local.store import Database, attempts, jobs, launches, rows
from gpuctl.clusters.local.store.launches import Launch
from gpuctl.clusters.local.tickets import Tickets
from gpuctl.clusters.local.volumes import LocalVolumes
from gpuctl.model.ask import Changed, ExecTarget, Forward, JobChange, JobQuery, Listing, LogQuery, Plan, Submission, Submitted
from gpuctl.model.job import FINAL, Job, State
from gpuctl.model.place import ClusterStatus, Node, Sample, UsageRow, Volume, VolumeFile
from gpuctl.model.quota import Quota
from gpuctl.model.reason import Explanation
from gpuctl.model.schedule import ScheduleStatus
from gpuctl.port.capability import Capability
from gpuctl.port.cluster import Check
from gpuctl.port.stream import RankLog, Stop

_PLACES = {"state_dir": "GPUCTL_STATE_DIR", "lock_dir": "GPUCTL_LOCK_DIR"}
"""Options that are the same as a variable, by which the keeper and the supervisors learn of them."""

OPTIONS = frozenset({"devices", "slots", "log_limit", "schedule", "team", *_PLACES})
_NOT_HERE = frozenset({Capability.MAX_COST, Capability.FAIL_OVER, Capability.QUOTA})


class LocalCluster:
    """This machine. See :class:`gpuctl.port.cluster.Cluster` for what it promises."""

    def __init__(self, name: str, *, options: Mapping[str, str], environ: Mapping[str, str], root: str | None = None) -> None:
        self._name = name
        self._options = dict(options)
        self._environ = environ
        self._root = root
        self._opening = threading.Lock()
        self._opened: Database | None = None

    # -- what it is ---------------------------------------------------------------------------------------------------------------

    @property
    def name(self) -> str:
        """The name under which the profile knows it."""
        return self._name

    @property
    def uid(self) -> str:
        """The machine's id."""
        return f"machine-{paths.machine_id()}"

    @property
    def capabilities(self) -> frozenset[Capability]:
        """What this machine keeps: everything but what needs prices, quotas or other clusters."""
        return frozenset(Capability) - _NOT_HERE

    @cached_property
    def _state_root(self) -> str:
        return self._root if self._root is not None else paths.state_root(self._environ)

    @property
    def _database(self) -> Database:
        with self._opening:
            if self._opened is None:
                database = Database(paths.prepare(self._state_root))
                if database.recreated:
                    recover.recover(database)
                self._opened = database
            return self._opened

    @cached_property
    def _machine(self) -> Machine:
        return Machine(cluster=self._name, options=self._options, environ=self._environ, state=self._state_root)

    @cached_property
    def _around(self) -> Surroundings:
        return Surroundings(
            database=self._database,
            cluster=self._name,
            node=self._machine.node,
            environ=self._environ,
            keeper_argv=keeper.argv(state=self._state_root, cluster=self._name, options=self._options),
            volume_root=self._volume_root,
            log_limit=_log_limit(self._options),
        )

    @cached_property
    def _rounds(self) -> rounds.Rounds:
        return rounds.Rounds(self._around, self._machine)

    @property
    def _volume_root(self) -> str:
        return f"{paths.data_root(self._environ)}/volumes"

    def _attend(self) -> None:
        rounds.attend(self._rounds, self._database.paths, environ=self._environ, keeper_argv=self._around.keeper_argv)

    def _refresh(self) -> None:
        """Bring the store up to date: ingest, heal, and see that somebody keeps what waits."""
        database = self._database
        with database.read() as connection:
            idle = connection.execute("SELECT 1 FROM jobs WHERE ended_at IS NULL LIMIT 1").fetchone() is None
        if idle:
            return
        node = self._machine.node
        ingest.ingest(database, node=node)
        heal.heal(database, node=node, now=clock.now().timestamp())
        if self._rounds.anything_waits():
            with database.read() as connection:
                news = bool(attempts.unjudged(connection))
            if news or not rounds.listening(database.paths):
                self._attend()

    def _task(self, found: Found) -> int | None:
        return found.tasks[0] if found.tasks is not None else None

    def _find(self, ref: str) -> Found:
        with self._database.read() as connection:
            return lookup.resolve(connection, ref)

    def _whole(self, found: Found) -> Job:
        with self._database.read() as connection:
            return views.whole(connection, found, cluster=self._name)

    # -- inventory ----------------------------------------------------------------------------------------------------------------

    def status(self) -> ClusterStatus:
        """This machine's row."""
        try:
            return self._machine.status(uid=self.uid, version=__version__)
        except GpuctlError as error:
            return ClusterStatus(
                name=self._name, kind="local", health="unreachable", version=__version__, error=error.message, uid=self.uid
            )

    def nodes(self) -> Listing[Node]:
        """This machine."""
        return Listing(items=(self._machine.shown(),))

    def usage(self, query: JobQuery) -> Listing[UsageRow]:
        """GPU-seconds by user, day and state."""
        from gpuctl.clusters.local import usage

        self._refresh()
        with self._database.read() as connection:
            return Listing(items=usage.rows(connection, query, cluster=self._name))

    def top(self, ref: str | None) -> Listing[Sample]:
        """What running jobs use; each rank of one job."""
        from gpuctl.clusters.local import top

        self._refresh()
        wanted = self._find(ref).job_id if ref is not None else None
        with self._database.read() as connection:
            running = [
                top.Running(jobs.row(connection, launch.job)[1], jobs.spec(connection, launch.job).kind, launch)
                for launch in launches.opened(connection)
                if wanted is None or launch.job == wanted
            ]
        devices = {device.index: device for device in self._machine.discover().devices}
        return Listing(items=top.samples(self._database.paths, running, devices, node=self._machine.node, by_rank=ref is not None))

    def quota(self) -> Listing[Quota]:
        """There are no quotas: the devices as they are."""
        from gpuctl.policy import quota

        return Listing(items=quota.devices_as_they_are((self._machine.state(self._machine.devices()),)))

    @property
    def team(self) -> str | None:
        """The profile's team."""
        return self._machine.team

    def schedules(self) -> Listing[ScheduleStatus]:
        """The machine's schedule, where it has one; jobs that run are told of an edited one."""
        file = self._machine.schedule
        if file is None:
            return Listing()
        from gpuctl.clusters.local import windows

        found = windows.status(file, self._machine)
        self._refresh()
        self._attend()
        return Listing(items=(found,))

    def checks(self) -> Sequence[Check]:
        """What ``gpuctl doctor`` shows of this machine."""
        from gpuctl.clusters.local import checks

        lines = checks.lines(root=self._state_root, machine=self._machine, open_store=lambda: self._database)
        self.notes()  # they are among the lines
        return lines

    def notes(self) -> tuple[str, ...]:
        """What happened to the store, once (``port.notes``)."""
        if self._opened is None:
            return ()
        told, self._opened.notes[:] = tuple(self._opened.notes), ()
        return told

    # -- jobs ---------------------------------------------------------------------------------------------------------------------

    @cached_property
    def _intake(self) -> Intake:
        return Intake(
            self._database,
            nodes=lambda: (self._machine.state(self._machine.discover().devices),),
            volume_root=self._volume_root,
            user=change.user_name(),
            team=self._machine.team,
        )

    def launch(self, submission: Submission) -> Submitted:
        """Accept a job, and start it at once if it can."""
        job_id, existed = self._intake.accept(submission)
        if not existed:
            self._attend()
        job = self._whole(Found(job_id, "", None))
        notes = (*self.notes(), *self._window_notes(job))
        if submission.spec.code_volume is not None:
            notes = (*notes, f"--code-volume is not needed on {self._name}: jobs of this machine run the code where it is")
        return Submitted(job=job, existed=existed, sentence=_sentence(job), notes=notes)

    def _window_notes(self, job: Job) -> tuple[str, ...]:
        """What windows will do to a job that was just accepted, and what would change it."""
        if self._machine.schedule is None or job.final:
            return ()
        found = self._rounds.window_note(job, now=clock.now())
        if found is None:
            return ()
        told = job.reason is not None and job.reason.code == "window" and found.sentence == job.reason.sentence
        parts = [] if told else [found.sentence]
        parts += [found.advice] if found.advice else []
        return ("; ".join(parts),) if parts else ()

    def claim(self, request_id: str, *, digest: str, home: str) -> str:
        """The place that the first claim of this request id named."""
        from gpuctl.clusters.local import claims

        return claims.claim(self._database.paths.root, request_id, digest=digest, home=home)

    def plan(self, submission: Submission) -> Plan:
        """Where and when it would start; changes nothing."""
        spec = self._intake.judge(submission)
        self._refresh()
        now = clock.now()
        with self._database.read() as connection:
            queue = gather(connection, cluster=self._name, node=self._machine.node, now=now)
        me, team = change.user_name(), self._machine.team
        job = queue_job_of("plan", submission.base_name, spec, submitted_at=now, user=me, team=team)
        return self._rounds.plan(queue, job, now=now)

    def jobs(self, query: JobQuery) -> Listing[Job]:
        """Matching jobs."""
        self._refresh()
        with self._database.read() as connection:
            return Listing(items=views.listing(connection, query, cluster=self._name))

    def job(self, ref: str) -> Job:
        """One job with everything."""
        self._refresh()
        return self._whole(views.require_one(self._find(ref), what="show"))

    def explain(self, ref: str) -> Explanation:
        """Why it stands where it stands."""
        from gpuctl.clusters.local import explaining
        from gpuctl.policy.explain import explain

        self._refresh()
        found = views.require_one(self._find(ref), what="explain")
        task = self._task(found)
        with self._database.read() as connection:
            job = views.whole(connection, found, cluster=self._name)
            stored = rows.evidence_of(connection, found.job_id) if task is None else attempts.task_evidence(connection, found.job_id, task)
        now = clock.now()
        answer = explain(job, explaining.gather(self._database.paths, job, stored, task=task), now)
        note = self._rounds.window_note(job, now=now) if job.state.active and self._machine.schedule is not None else None
        return answer if note is None else msgspec.structs.replace(answer, also=(note, *answer.also))

    def stop(self, ref: str, *, grace_seconds: int | None = None) -> Changed:
        """Cancel."""
        self._refresh()
        found = self._find(ref)
        already = change.stop(self._database, found, grace_seconds=grace_seconds)
        if not already:
            self._attend()
        job = self._whole(found)
        if found.tasks is not None and len(found.tasks) > 1:
            said = f"job/{job.name}: {len(found.tasks)} tasks {'have ended already' if already else 'are being stopped'}"
        else:
            said = f"job/{job.name} {'has ended already' if already else _stopping(job)}"
        return Changed(job=job, already=already, sentence=said)

    def update(self, ref: str, changes: JobChange) -> Changed:
        """Change a live job."""
        self._refresh()
        found = self._find(ref)
        done = change.update(self._database, found, changes)
        self._attend()
        job = self._whole(found._replace(tasks=None))
        return Changed(job=job, sentence=f"{job.name}: {done}" if done else f"{job.name}: nothing to change")

    def wait(self, refs: Sequence[str], *, stop: Stop, timeout: float | None) -> Iterable[Job]:
        """Yield each job once it is final."""
        wanted = [self._find(ref) for ref in refs]
        ended = waiting.final_ones(
            self._database, wanted, refresh=self._refresh, is_final=lambda found: self._whole(found).final, stop=stop, timeout=timeout
        )
        return (self._whole(found) for found in ended)

    # -- streams ------------------------------------------------------------------------------------------------------------------

    def logs(self, ref: str, query: LogQuery) -> Sequence[RankLog]:
        """The logs that the query selects."""
        from gpuctl.clusters.local.logs.reader import logs as read_logs

        self._refresh()
        found = self._find(ref)
        task = query.task if query.task is not None else self._task(found)
        directory = self._database.paths.logs(found.job_id)
        selected = read_logs(
            directory,
            ended=lambda name: self._over(found.job_id, name),
            ranks=query.ranks,
            node=query.node,
            task=task,
            attempt=query.attempt,
        )
        if query.node is not None or all(log.rank is not None for log in selected):
            return selected
        job = self._whole(found)
        if job.spec.kind != "ray":
            return selected
        from gpuctl.clusters.local.logs import agents

        return agents.worth_showing(selected, job.attempts)

    def _over(self, job_id: str, name: LogName) -> bool:
        """Whether nothing will be added to a log any more."""
        database = self._database
        with database.read() as connection:
            launch = launches.last(connection, job_id)
        if launch is not None and launch.open:
            if ingest.has_news(database.paths, launch):
                ingest.ingest_one(database, launch, node=self._machine.node)
            elif not alive.lives(alive.path_of(database.paths, launch.job, launch.number)):
                self._refresh()
        with database.read() as connection:
            return attempts.has_ended(connection, job_id, rows.NO_TASK if name.task is None else name.task, name.attempt)

    def _running(self, ref: str, *, what: str) -> tuple[Job, Launch]:
        self._refresh()
        found = self._find(ref)
        job = self._whole(found._replace(tasks=None))
        with self._database.read() as connection:
            launch = launches.last(connection, found.job_id)
        if launch is None or not launch.open:
            hint = f"gpuctl logs {job.name}" if job.final else f"gpuctl why {job.name}"
            raise ConflictError(f"cannot {what} {job.name}: it {job.state.told}", code="not-running", hint=hint)
        return job, launch

    def exec(self, ref: str, target: ExecTarget, argv: Sequence[str], *, tty: bool) -> int:
        """Run a program inside; it has this terminal whatever ``tty`` says, for it is our own child."""
        from gpuctl.clusters.local import access

        job, launch = self._running(ref, what="enter")
        return access.run(self._database.paths, job, launch, target, argv)

    def copy_out(self, ref: str, path: str, destination: str) -> int:
        """Copy out of the job's directory; bytes written."""
        from gpuctl.clusters.local import access

        job = self._whole(self._find(ref)._replace(tasks=None))
        assert job.code is not None
        return access.copy_out(job.code, job.name, path, destination)

    def forward(self, ref: str, *, remote: str, local_port: int | None, stop: Stop) -> Iterable[Forward]:
        """Yield the address, and keep it."""
        from gpuctl.clusters.local import forward

        job, launch = self._running(ref, what="forward a port of")
        there = forward.listening(launch.job, launch.number, group=launch.cgroup)
        target = forward.find(job.name, remote, there)
        return forward.serve(target, job=job.name, local_port=local_port, service=None if remote.isdigit() else remote, stop=stop)

    # -- volumes ------------------------------------------------------------------------------------------------------------------

    @cached_property
    def _volumes(self) -> LocalVolumes:
        return LocalVolumes(self._volume_root, cluster=self._name, mounted=self._mounted)

    def _mounted(self) -> Mapping[str, tuple[str, ...]]:
        self._refresh()
        with self._database.read() as connection:
            unfinished = views.listing(connection, JobQuery(states=frozenset(State) - FINAL), cluster=self._name)
        return views.mounted(unfinished)

    def volumes(self) -> Listing[Volume]:
        """Every volume."""
        return self._volumes.list()

    def create_volume(self, name: str, *, size: int | None, access: str | None, storage_class: str | None) -> Volume:
        """Create one."""
        return self._volumes.create(name, size=size, access=access, storage_class=storage_class)

    def delete_volume(self, name: str) -> None:
        """Delete one."""
        self._volumes.delete(name)

    def volume_files(self, name: str, path: str) -> Listing[VolumeFile]:
        """What lies below ``path``."""
        return self._volumes.files(name, path)

    def put_file(self, name: str, source: str, path: str) -> int:
        """Copy into one."""
        return self._volumes.put(name, source, path)

    def get_file(self, name: str, path: str, destination: str) -> int:
        """Copy out of one."""
        return self._volumes.get(name, path, destination)

    # -- residents ----------------------------------------------------------------------------------------------------------------

    def keep(self) -> None:
        """Be the keeper until nothing waits (see ``keeper``)."""
        heal.sweep(self._database, now=clock.now().timestamp())
        database = self._database
        held = Tickets(self._machine.locks)
        try:
            go_on = keeper.Keeper(self._rounds, database.paths, tickets=held, stale=lambda: database.stale).run()
        finally:
            held.close()
        if go_on:
            spawn.start(self._around.keeper_argv, environ=self._environ, log=database.paths.keeper_log)

    def close(self) -> None:
        """Let go of the store; jobs go on. Used again, it opens anew."""
        with self._opening:
            opened, self._opened = self._opened, None
        if opened is not None:
            opened.close()
            for name in ("_around", "_rounds", "_intake"):
                self.__dict__.pop(name, None)


def _sentence(job: Job) -> str:
    if job.state.active:
        return f"{job.name} is {job.state.value}" + (f" on {job.where}" if job.where else "")
    if job.final:
        return f"{job.name} {job.state.value}"
    sentence = f"{job.name} is queued" + (f": {job.reason.sentence}" if job.reason and job.reason.sentence else "")
    if job.reason is not None and job.reason.code == "window" and job.expected_start is not None:
        sentence += f", in {duration.short((job.expected_start - clock.now()).total_seconds())}"
    return sentence


def _stopping(job: Job) -> str:
    return "is cancelled" if job.final else "is being stopped"


def _log_limit(options: Mapping[str, str]) -> int | None:
    return quantity.parse_memory(options["log_limit"]) if "log_limit" in options else None


def build(name: str, options: Mapping[str, str]) -> LocalCluster:
    """This machine as a cluster called ``name``.

    Options: ``devices`` (auto, nvidia, amd, slots), ``slots``, ``log_limit`` (bytes of log kept per rank), ``schedule`` (a file: whose this
    machine is, and when), ``team`` (whose windows my jobs may use), ``state_dir``, ``lock_dir``.

    Raises:
        InvalidInput: an option is unknown or wrong.
    """
    problems = [
        Problem(
            field=option, message="unknown option of a local cluster", allowed=", ".join(sorted(OPTIONS)), nearest=nearest(option, OPTIONS)
        )
        for option in sorted(options.keys() - OPTIONS)
    ]
    try:
        _log_limit(options)
    except ValueError as error:
        problems.append(Problem(field="log_limit", message=str(error), got=options["log_limit"], allowed=quantity.MEMORY_ALLOWED))
    if "schedule" in options and not os.path.isabs(os.path.expanduser(options["schedule"])):
        problems.append(Problem(field="schedule", message="is no absolute path", got=options["schedule"], allowed="/path/to/schedule.yaml"))
    why = names.problem(options["team"]) if "team" in options else None
    if why is not None:
        problems.append(Problem(field="team", message=why, got=options["team"], allowed=names.ALLOWED))
    if problems:
        raise InvalidInput(f"cannot use cluster {name}", problems, code="bad-option")
    places = {variable: options[option] for option, variable in _PLACES.items() if option in options}
    return LocalCluster(
        name, options={key: value for key, value in options.items() if key not in _PLACES}, environ={**os.environ, **places}
    )


def build_at(root: str, name: str, options: Mapping[str, str]) -> LocalCluster:
    """The same with its state in ``root``: for the keeper, which is told where."""
    return LocalCluster(name, options=options, environ=os.environ, root=root)
