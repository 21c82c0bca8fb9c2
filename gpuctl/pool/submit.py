"""Where a submission goes: constraints, promises, volumes' homes, then ``policy.offers`` over the inventories of what is left."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import msgspec

from gpuctl.base.errors import InvalidInput, NotKeptHere, Problem
from gpuctl.model.ask import Submission
from gpuctl.model.plan import PlanOption
from gpuctl.model.reason import Reason
from gpuctl.model.spec import Dependency, JobSpec
from gpuctl.policy.offers import Standing
from gpuctl.pool import homes, promises, refusing, resolve
from gpuctl.pool.choice import Ranked, rank
from gpuctl.pool.members import Member, Members
from gpuctl.pool.survey import Seen, survey
from gpuctl.port.capability import Capability
from gpuctl.port.looking import Looking


@dataclass(frozen=True, kw_only=True)
class Choice:
    """Where it goes, as what (promises dropped, dependencies by id), and what the person should be told.

    ``ranked`` holds every tier of every cluster, the chosen first; just the cluster where there was nothing to choose.
    """

    ranked: tuple[Ranked, ...]
    submission: Submission
    notes: tuple[str, ...] = ()
    seen: tuple[Seen, ...] = ()

    @property
    def member(self) -> Member:
        """The chosen cluster."""
        return self.ranked[0].member

    @property
    def decided(self) -> bool:
        """Whether the pool decided: a lone cluster with a queue of gpuctl's own judges the job itself."""
        return self.ranked[0].judged is not None

    @property
    def options(self) -> tuple[PlanOption, ...]:
        """What the job remembers: the chosen place, then the others with their reasons."""
        return tuple(ranked.option for ranked in self.ranked) if self.decided else ()

    @property
    def accepted(self) -> bool:
        """Whether the first option can be taken at all."""
        judged = self.ranked[0].judged
        return judged is None or judged.standing is not Standing.NO


def choose(members: Members, submission: Submission, *, user: str, at: Member | None = None) -> Choice:
    """Decide where the submission would go; nothing is changed anywhere. :func:`insist` refuses where there is no such place.

    Args:
        members: the clusters of the profile.
        submission: the job.
        user: whose latest job ``-`` is.
        at: the one cluster that it may go to, whatever is free there.

    Raises:
        InvalidInput: an unknown cluster, no cluster of that tier, volumes that no one cluster has.
        NotKeptHere: a promise that no cluster it may use keeps.
        NotFoundError: a job of ``--after`` does not exist.
        UnavailableError: a cluster that has to be asked does not answer.
    """
    only = members.only
    if only is not None and Capability.SCHEDULES in only.cluster.capabilities:
        _allowed(members, submission.spec, schedules=True)
        _, kept, notes = _keepers(members, (Seen(member=only, capabilities=only.cluster.capabilities),), submission)
        return Choice(ranked=(Ranked(member=only),), submission=kept, notes=notes)
    candidates = (at,) if at is not None else _allowed(members, submission.spec, schedules=False)
    seen = survey(members, candidates, spec=submission.spec, volumes=homes.asked(submission.spec))
    if not any(_unkept(one, submission.spec) == () for one in seen if one.capabilities is not None):
        seen = _looked_again(members, seen, submission.spec)
    _, submission, notes = _keepers(members, seen, submission)
    barred = _not_keeping(seen, submission.spec)
    if members.only is None:  # a lone cluster judges dependencies itself
        submission, there = _dependencies(members, candidates, submission, user=user)
        away = Reason(code="after-elsewhere", sentence="the jobs of --after are not there", what="change")
        barred |= {one.member.name: away for one in seen if one.member not in there}
    barred |= homes.elsewhere([one for one in seen if one.member.name not in barred], submission.spec)
    barred |= _same_places([one for one in seen if one.member.name not in barred])
    ranked = rank(seen, submission, barred=barred)
    if submission.best_effort and submission.spec.fit_window and not _any_accepts(ranked):
        loose = msgspec.structs.replace(submission, spec=msgspec.structs.replace(submission.spec, fit_window=False))
        without = rank(seen, loose, barred=barred)
        if _any_accepts(without):
            submission, ranked = loose, without
            notes = (*notes, f"--fit-window is dropped: {ranked[0].member.name} cannot keep the job waiting for such a window")
    if all(each.judged is not None and each.judged.reason is not None and each.judged.reason.code == "tier" for each in ranked):
        raise _no_such_tier(submission.spec, candidates)
    left_out = [f"cluster {one.member.name} was left out: {one.error.line}" for one in seen if one.error is not None]
    notes = (*notes, *left_out, *(note for one in seen for note in one.notes))
    return Choice(ranked=ranked, submission=submission, notes=notes, seen=seen)


def _any_accepts(ranked: Sequence[Ranked]) -> bool:
    return any(each.judged is None or each.judged.standing is not Standing.NO for each in ranked)


def insist(choice: Choice) -> Choice:
    """The same choice, if it has a place to go to, with the note that a blind one needs.

    Raises:
        NotAllowedError: it could not start anywhere even with nobody else about.
        NotKeptHere: ``--max-cost`` without an end.
        UnavailableError: ``no-capacity``, a gang fits nowhere now and nothing keeps it waiting; no cluster could be read.
    """
    if not choice.accepted:
        raise refusing.refusal(choice.submission, [ranked.judged for ranked in choice.ranked if ranked.judged is not None], choice.seen)
    judged = choice.ranked[0].judged
    if judged is None or judged.standing is not Standing.UNKNOWN or judged.reason is None:
        return choice
    blind = f"what is free on {choice.member.name} is unknown, it was taken by the profile's order: {judged.reason.sentence}"
    return Choice(ranked=choice.ranked, submission=choice.submission, notes=(*choice.notes, blind), seen=choice.seen)


def _allowed(members: Members, spec: JobSpec, *, schedules: bool) -> tuple[Member, ...]:
    """The clusters that ``--cluster`` leaves, and ``--tier`` where the profile's word is the last about it.

    Nodes of a cluster without a tier in the profile may have tiers of their own, unless it is a machine that ``schedules`` itself.
    """
    named = (members.named(spec.cluster),) if spec.cluster is not None else members.all
    blank = "reserved" if schedules else spec.tier
    fitting = tuple(member for member in named if spec.tier in ("any", member.tier or blank))
    if not fitting:
        raise _no_such_tier(spec, named)
    return fitting


def _no_such_tier(spec: JobSpec, named: Sequence[Member]) -> InvalidInput:
    where = f"cluster {spec.cluster}" if spec.cluster is not None else "the profile"
    tiers = sorted({member.tier or "reserved" for member in named})
    problem = Problem(field="--tier", message=f"{where} has nothing of this tier", got=spec.tier, allowed=", ".join([*tiers, "any"]))
    return InvalidInput(f"cannot use tier {spec.tier}: {where} has none", [problem], code="no-such-tier", hint="gpuctl clusters")


def _keepers(members: Members, seen: Sequence[Seen], submission: Submission) -> tuple[tuple[Member, ...], Submission, tuple[str, ...]]:
    """The candidates that keep every promise; with ``best_effort`` those that keep most, and notes on what they drop.

    Clusters that did not answer at all are left to the refusal that names them.
    """
    asking = {one.member.name: _unkept(one, submission.spec) for one in seen if one.capabilities is not None}
    keepers = tuple(one.member for one in seen if asking.get(one.member.name) == ())
    if keepers or not asking:
        return keepers, submission, ()
    fewest = min(len(unkept) for unkept in asking.values())
    closest = [one.member for one in seen if len(asking.get(one.member.name, PROMISES_AND_MORE)) == fewest]
    dropped = asking[closest[0].name]
    if submission.best_effort and promises.ARRAY not in dropped:
        best = tuple(member for member in closest if asking[member.name] == dropped)
        where = ", ".join(member.name for member in best)
        notes = tuple(f"{promise.flag} is dropped: {where} cannot keep it" for promise in dropped)
        return best, msgspec.structs.replace(submission, spec=promises.without(submission.spec, dropped)), notes
    raise _not_kept(members, [one.member for one in seen], submission, dropped)


PROMISES_AND_MORE = (*promises.PROMISES, promises.ARRAY, promises.ARRAY)
"""More than anybody can leave unkept."""


def _looked_again(members: Members, seen: Sequence[Seen], spec: JobSpec) -> tuple[Seen, ...]:
    """The same clusters, where an operator that keeps what the job asks for may have been installed since they were last looked at."""
    looking = [one.member for one in seen if one.capabilities is not None and isinstance(one.member.cluster, Looking)]
    answers = members.ask(lambda cluster: isinstance(cluster, Looking) and cluster.look_again(), among=looking)
    anew = [answer.member for answer in answers.given if answer.value]
    fresh = {one.member.name: one for one in survey(members, anew, spec=spec, volumes=homes.asked(spec))} if anew else {}
    return tuple(fresh.get(one.member.name, one) for one in seen)


def _unkept(seen: Seen, spec: JobSpec) -> tuple[promises.Promise, ...]:
    """What the cluster would not keep."""
    return _missing(promises.asked(spec), seen.capabilities or frozenset())


def _missing(wanted: Iterable[promises.Promise], capabilities: frozenset[Capability]) -> tuple[promises.Promise, ...]:
    """Neither a largest cost nor a window that fits now needs anybody who stays awake: both are judged with the place, see ``choice``."""
    judged = (Capability.MAX_COST, Capability.FIT_WINDOW_WAIT)
    return tuple(promise for promise in promises.unkept(wanted, capabilities) if promise.capability not in judged)


def _not_keeping(seen: Sequence[Seen], spec: JobSpec) -> dict[str, Reason]:
    barred = {}
    for one in seen:
        unkept = _unkept(one, spec) if one.capabilities is not None else ()
        if unkept:
            flags = ", ".join(promise.flag for promise in unkept)
            barred[one.member.name] = Reason(code="not-kept", sentence=f"does not keep {flags}", what="change")
    return barred


def _not_kept(members: Members, candidates: Sequence[Member], submission: Submission, dropped: tuple[promises.Promise, ...]) -> NotKeptHere:
    wanted = promises.asked(submission.spec)
    flags = ", ".join(promise.flag for promise in dropped)
    here = ", ".join(member.name for member in candidates)
    others = [member for member in members.all if member not in candidates]
    answers = members.ask(lambda cluster: _missing(wanted, cluster.capabilities), among=others)
    able = [answer.member for answer in answers.given if not answer.value]
    if able:
        cause = f"{', '.join(member.name for member in able)} could"
        hint = f"gpuctl submit --cluster {able[0].name} ...    or: --best-effort to go without {flags}"
    else:
        cause = "a profile with a gpuctl server could: something has to stay awake for it"
        hint = f"gpuctl submit --best-effort ...    to go without {flags}"
    return NotKeptHere(
        f"cannot submit {submission.base_name}: nothing on {here} keeps {flags}",
        cause=cause,
        hint=hint if promises.ARRAY not in dropped else "gpuctl clusters",
    )


def _dependencies(
    members: Members, candidates: tuple[Member, ...], submission: Submission, *, user: str
) -> tuple[Submission, tuple[Member, ...]]:
    """``--after`` by unique ids. A cluster sees only its own jobs, so a dependant goes where its dependencies are."""
    spec = submission.spec
    if not spec.after:
        return submission, candidates
    resolved = []
    there: dict[str, str] = {}
    for dependency in spec.after:
        located = resolve.locate(members, dependency.job, user=user, sure=True)
        job = located.job if located.job is not None else located.member.cluster.job(located.ref)
        resolved.append(Dependency(job=job.id, mode=dependency.mode))
        there[located.member.name] = job.name
    fitting = tuple(member for member in candidates if {member.name} == set(there))
    if not fitting:
        places = ", ".join(f"{job} on {cluster}" for cluster, job in there.items())
        problem = Problem(field="--after", message="its jobs are not all on one cluster that this job may use", got=places)
        raise InvalidInput("cannot wait for jobs of other clusters without a gpuctl server", [problem], code="after-elsewhere")
    return msgspec.structs.replace(submission, spec=msgspec.structs.replace(spec, after=tuple(resolved))), fitting


def _same_places(seen: Sequence[Seen]) -> dict[str, Reason]:
    """Two contexts of one cluster are one place: its nodes are offered once, under the name that comes first in the profile."""
    first: dict[str, str] = {}
    same = {}
    for one in seen:
        if one.place is None or one.error is not None:
            continue
        name = first.setdefault(one.place, one.member.name)
        if name != one.member.name:
            same[one.member.name] = Reason(code="same-place", sentence=f"the same cluster as {name}")
    return same
