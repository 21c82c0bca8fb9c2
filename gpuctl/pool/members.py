"""The clusters of a pool, asked all at once, each no longer than its deadline."""

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Generic, TypeVar

from gpuctl.base.errors import GpuctlError, InvalidInput, NotFoundError, Problem, UnavailableError, nearest
from gpuctl.model.ask import Listing
from gpuctl.model.place import Health
from gpuctl.policy import away
from gpuctl.port.cluster import Cluster

if TYPE_CHECKING:
    from gpuctl.policy.price import Prices

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class Member:
    """One cluster as the profile names it.

    Attributes:
        cluster: the place.
        name: what the profile calls it.
        kind: of its entry in the profile.
        tier: of all its nodes that say nothing themselves; None counts as reserved: hardware that is there anyway.
        prices: per GPU and hour, where the profile names them.
        forgets: ended jobs vanish from it some day, so that my own record has to remember them.
    """

    cluster: Cluster
    name: str
    kind: str = ""
    tier: str | None = None
    prices: "Prices | None" = None
    forgets: bool = False


@dataclass(frozen=True, kw_only=True)
class Answer(Generic[T]):
    """What one member answered. ``place``: its uid, where that was asked for."""

    member: Member
    value: T
    place: str | None = None


@dataclass(frozen=True, kw_only=True)
class Answers(Generic[T]):
    """What the members answered, in the profile's order, and the errors of those that did not."""

    given: tuple[Answer[T], ...]
    failed: tuple[tuple[Member, GpuctlError], ...]

    @property
    def incomplete(self) -> dict[str, str]:
        """For ``Listing.incomplete``: the sentence by cluster."""
        return {member.name: error.line for member, error in self.failed}

    @property
    def health(self) -> dict[str, Health]:
        """For ``Listing.health``: the word by cluster."""
        words = {member.name: away.health(error) for member, error in self.failed}
        return {name: word for name, word in words.items() if word != "unreachable"}

    @property
    def unreachable(self) -> bool:
        """Whether a retry may show more."""
        return any(isinstance(error, UnavailableError) for _, error in self.failed)


@dataclass(frozen=True, kw_only=True)
class Rows(Generic[T]):
    """The rows of those that answered, in the profile's order, and what is missing: see ``Listing``."""

    given: list[Answer[tuple[T, ...]]]
    incomplete: dict[str, str]
    health: dict[str, Health]


_MISSING = frozenset({"job-not-found", "task-not-found"})


def is_missing(error: GpuctlError) -> bool:
    """Whether a cluster was read and does not have the job.

    A kubeconfig, a context or a namespace that is not found is another matter: the job may be there, only nobody can look.
    """
    return isinstance(error, NotFoundError) and error.code in _MISSING


class Members:
    """The clusters in the profile's order.

    Args:
        members: at least one.
        deadline: seconds that one cluster may take before the others are answered without it.
        strict: somebody named the deadline, so it holds for a single cluster as well.
    """

    def __init__(self, members: Iterable[Member], *, deadline: float, strict: bool = False) -> None:
        self.all: tuple[Member, ...] = tuple(members)
        self.deadline = deadline
        self._strict = strict
        if not self.all:
            raise ValueError("a pool has at least one cluster")

    @property
    def only(self) -> Member | None:
        """The cluster of a pool that has just one."""
        return self.all[0] if len(self.all) == 1 else None

    def named(self, name: str, *, field: str = "--cluster") -> Member:
        """The member of that name.

        Raises:
            InvalidInput: none has it.
        """
        for member in self.all:
            if member.name == name:
                return member
        known = [member.name for member in self.all]
        problem = Problem(field=field, message="unknown cluster", got=name, allowed=", ".join(known), nearest=nearest(name, known))
        raise InvalidInput(
            f"cannot use cluster {name}: the profile has no such cluster", [problem], code="no-such-cluster", hint="gpuctl clusters"
        )

    def ask(self, question: Callable[[Cluster], T], *, among: Iterable[Member] | None = None) -> Answers[T]:
        """Ask every member (or those ``among`` them) at once and wait for each at most the deadline.

        One member is asked in this thread unless the deadline is strict: a listing on one machine must not pay for threads, and a
        cluster keeps its own deadlines.
        An error that is no GpuctlError is a bug and is raised.
        """
        asked = self.all if among is None else tuple(among)
        if len(asked) <= 1 and not self._strict:
            return _inline(question, asked)
        calls = [_Call(question, member) for member in asked]
        ends = time.monotonic() + self.deadline
        given, failed = [], []
        for call in calls:
            call.done.wait(max(0.0, ends - time.monotonic()))
            outcome = call.outcome(self.deadline)
            if isinstance(outcome, GpuctlError):
                failed.append((call.member, outcome))
            else:
                given.append(outcome)
        return Answers(given=tuple(given), failed=tuple(failed))

    def rows(self, question: Callable[[Cluster], Listing[T]], *, among: Iterable[Member] | None = None, beside: bool = False) -> Rows[T]:
        """The rows of every member that answered, and what is incomplete (promise 1 of a pool).

        Args:
            question: what each is asked.
            among: who is asked; all of them without it.
            beside: there are rows from elsewhere, so that nobody needs to have answered.

        Raises:
            GpuctlError: nobody answered, and it was not for want of reach (bad credentials, a damaged store): then an empty list would lie.
        """
        answers = self.ask(question, among=among)
        if answers.failed and not answers.given and not beside:
            for _, error in answers.failed:
                if not isinstance(error, UnavailableError):
                    raise error
        incomplete, health = answers.incomplete, answers.health
        for answer in answers.given:
            incomplete.update(answer.value.incomplete)
            health.update(answer.value.health)
        given = [Answer(member=answer.member, value=answer.value.items) for answer in answers.given]
        return Rows(given=given, incomplete=incomplete, health=health)

    def placed_rows(self, question: Callable[[Cluster], Listing[T]]) -> Rows[T]:
        """As :meth:`rows`, each with the uid of its place: two contexts of one cluster are one place, and count once."""
        if self.only is not None:
            return self.rows(question)
        places: dict[str, str] = {}

        def ask(cluster: Cluster) -> Listing[T]:
            listing = question(cluster)
            places[cluster.name] = cluster.uid
            return listing

        rows = self.rows(ask)
        return replace(rows, given=[replace(row, place=places[row.member.cluster.name]) for row in rows.given])

    def close(self) -> None:
        """Let go of every cluster."""
        for member in self.all:
            member.cluster.close()


def _inline(question: Callable[[Cluster], T], asked: tuple[Member, ...]) -> Answers[T]:
    given: list[Answer[T]] = []
    failed: list[tuple[Member, GpuctlError]] = []
    for member in asked:
        try:
            given.append(Answer(member=member, value=question(member.cluster)))
        except GpuctlError as error:
            failed.append((member, error))
    return Answers(given=tuple(given), failed=tuple(failed))


class _Call(Generic[T]):
    """One question under way in a thread that dies with the process, so that a cluster that hangs cannot hold it."""

    def __init__(self, question: Callable[[Cluster], T], member: Member) -> None:
        import threading  # a pool of one cluster never gets here

        self.member = member
        self.done = threading.Event()
        self._answer: Answer[T] | None = None
        self._error: BaseException | None = None
        self._question = question
        threading.Thread(target=self._run, name=f"gpuctl-{member.name}", daemon=True).start()

    def _run(self) -> None:
        try:
            self._answer = Answer(member=self.member, value=self._question(self.member.cluster))
        except BaseException as error:  # handed to the thread that asked
            self._error = error
        finally:
            self.done.set()

    def outcome(self, deadline: float) -> Answer[T] | GpuctlError:
        if not self.done.is_set():
            return UnavailableError(
                f"cluster {self.member.name} did not answer in {deadline:g} s", code="cluster-slow", hint="gpuctl clusters"
            )
        if self._answer is not None:
            return self._answer
        if isinstance(self._error, GpuctlError):
            return self._error
        assert self._error is not None
        raise self._error
