"""This machine behind the Cluster port: opens the store on first use and hands each call to the module that knows how."""

import os
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property

from gpuctl.base import clock
from gpuctl.base.errors import InvalidInput, Problem, nearest
from gpuctl.clusters.local import change, heal, ingest, keeper, lookup, paths, recover, rounds, views, waiting
from gpuctl.clusters.local.inventory import Machine
from gpuctl.clusters.local.launch import Intake
from gpuctl.clusters.local.lookup import Found
from gpuctl.clusters.local.starting import Surroundings
from gpuctl.clusters.local.store import Database, attempts
from gpuctl.clusters.local.tickets import Tickets
from gpuctl.model.ask import Changed, JobChange, JobQuery, Listing, Submission, Submitted
from gpuctl.model.job import Job
from gpuctl.port.capability import Capability
from gpuctl.port.stream import Stop

OPTIONS = frozenset({"devices", "slots"})
_NOT_HERE = frozenset({Capability.MAX_COST, Capability.FAIL_OVER})


class LocalCluster:
    """This machine. See :class:`gpuctl.port.cluster.Cluster` for what it promises."""

    def __init__(self, name: str, *, options: Mapping[str, str], environ: Mapping[str, str], root: str | None = None) -> None:
        self._name = name
        self._options = dict(options)
        self._environ = environ
        self._root = root

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
        """What this machine keeps: everything but what needs prices or other clusters."""
        return frozenset(Capability) - _NOT_HERE

    @cached_property
    def _state_root(self) -> str:
        return self._root if self._root is not None else paths.state_root(self._environ)

    @cached_property
    def _database(self) -> Database:
        database = Database(paths.prepare(self._state_root))
        if database.recreated:
            recover.recover(database, cluster=self._name)
        return database

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
        ingest.ingest(database, cluster=self._name, node=node)
        heal.heal(database, cluster=self._name, node=node, now=clock.now().timestamp())
        if self._rounds.anything_waits():
            with database.read() as connection:
                news = bool(attempts.unjudged(connection))
            if news or not rounds.listening(database.paths):
                self._attend()

    def _find(self, ref: str) -> Found:
        with self._database.read() as connection:
            return lookup.resolve(connection, ref)

    def _whole(self, found: Found) -> Job:
        with self._database.read() as connection:
            return views.whole(connection, found, cluster=self._name)

    # -- jobs ---------------------------------------------------------------------------------------------------------------------

    @cached_property
    def _intake(self) -> Intake:
        return Intake(
            self._database,
            nodes=lambda: (self._machine.state(self._machine.discover().devices),),
            volume_root=self._volume_root,
            user=change.user_name(),
        )

    def launch(self, submission: Submission) -> Submitted:
        """Accept a job, and start it at once if it can."""
        job_id, existed = self._intake.accept(submission)
        if not existed:
            self._attend()
        job = self._whole(Found(job_id, "", None))
        return Submitted(job=job, existed=existed, sentence=_sentence(job), notes=tuple(self._database.notes))

    def jobs(self, query: JobQuery) -> Listing[Job]:
        """Matching jobs."""
        self._refresh()
        with self._database.read() as connection:
            return Listing(items=views.listing(connection, query, cluster=self._name))

    def job(self, ref: str) -> Job:
        """One job with everything."""
        self._refresh()
        return self._whole(views.require_one(self._find(ref), what="show"))

    def stop(self, ref: str, *, grace_seconds: int | None = None) -> Changed:
        """Cancel."""
        self._refresh()
        found = self._find(ref)
        already = change.stop(self._database, found, grace_seconds=grace_seconds)
        if not already:
            self._attend()
        job = self._whole(found._replace(tasks=None))
        name = ref if found.tasks is not None else job.name
        return Changed(job=job, already=already, sentence=f"{name} {'has ended already' if already else _stopping(job)}")

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

    def keep(self) -> None:
        """Be the keeper until nothing waits (see ``keeper``)."""
        held = Tickets(self._machine.locks)
        try:
            keeper.Keeper(self._rounds, self._database.paths, tickets=held).run()
        finally:
            held.close()

    def close(self) -> None:
        """Let go of the store; jobs go on."""
        if "_database" in self.__dict__:
            self._database.close()
            del self.__dict__["_database"]


def _sentence(job: Job) -> str:
    if job.state.active:
        return f"{job.name} is {job.state.value}" + (f" on {job.where}" if job.where else "")
    if job.final:
        return f"{job.name} {job.state.value}"
    return f"{job.name} is queued" + (f": {job.reason.sentence}" if job.reason and job.reason.sentence else "")


def _stopping(job: Job) -> str:
    return "cancelled" if job.final else "is being stopped"


def build(name: str, options: Mapping[str, str]) -> LocalCluster:
    """This machine as a cluster called ``name``. Options: ``devices`` (auto, nvidia, amd, slots) and ``slots`` (how many).

    Raises:
        InvalidInput: an option is unknown or wrong.
    """
    problems = [
        Problem(
            field=option, message="unknown option of a local cluster", allowed=", ".join(sorted(OPTIONS)), nearest=nearest(option, OPTIONS)
        )
        for option in sorted(options.keys() - OPTIONS)
    ]
    if problems:
        raise InvalidInput(f"cannot use cluster {name}", problems, code="bad-option")
    return LocalCluster(name, options=options, environ=os.environ)


def build_at(root: str, name: str, options: Mapping[str, str]) -> LocalCluster:
    """The same with its state in ``root``: for the keeper, which is told where."""
    return LocalCluster(name, options=options, environ=os.environ, root=root)
