"""Where a submission goes: constraints, promises, volumes' homes, then ``policy.placement`` over the inventories of what is left."""

from collections.abc import Sequence
from dataclasses import dataclass

import msgspec

from gpuctl.base import names
from gpuctl.base.errors import ConflictError, GpuctlError, InvalidInput, NotFoundError, NotKeptHere, Problem, UnavailableError
from gpuctl.model.ask import Submission
from gpuctl.model.spec import Dependency, JobSpec
from gpuctl.pool import promises, resolve
from gpuctl.pool.choice import Ranked, rank
from gpuctl.pool.members import Member, Members, sentence


@dataclass(frozen=True, kw_only=True)
class Choice:
    """Where it goes, as what (promises dropped, dependencies by id), and what the person should be told."""

    ranked: tuple[Ranked, ...]
    submission: Submission
    notes: tuple[str, ...] = ()

    @property
    def member(self) -> Member:
        """The chosen cluster."""
        return self.ranked[0].member


def choose(members: Members, submission: Submission, *, user: str) -> Choice:
    """Decide where the submission goes; nothing is changed anywhere.

    Raises:
        InvalidInput: an unknown cluster, no cluster of that tier, volumes that no one cluster has.
        NotKeptHere: a promise that no cluster it may use keeps.
        NotFoundError: a job of ``--after`` does not exist.
        UnavailableError: a cluster that has to be asked does not answer.
    """
    candidates = _allowed(members, submission.spec)
    candidates, spec, notes = _keepers(members, candidates, submission)
    if members.only is None:  # a lone cluster judges dependencies, volumes and request ids itself
        spec, candidates = _dependencies(members, candidates, spec, user=user)
        candidates = _homes(members, candidates, spec)
        candidates = _request(members, candidates, submission)
    chosen = submission if spec is submission.spec else msgspec.structs.replace(submission, spec=spec)
    if len(candidates) == 1:
        return Choice(ranked=(Ranked(member=candidates[0]),), submission=chosen, notes=notes)
    ranked, unread = rank(members, candidates, chosen)
    if not ranked:
        member, error = unread[0]
        raise UnavailableError(
            f"cannot submit {submission.base_name}: no cluster it may use could be read",
            cause=sentence(error),
            hint=f"gpuctl clusters    ({member.name})",
        )
    skipped = tuple(f"cluster {member.name} was left out: {sentence(error)}" for member, error in unread)
    return Choice(ranked=ranked, submission=chosen, notes=(*notes, *skipped))


def _allowed(members: Members, spec: JobSpec) -> tuple[Member, ...]:
    """The clusters that ``--cluster`` and ``--tier`` leave."""
    named = (members.named(spec.cluster),) if spec.cluster is not None else members.all
    fitting = tuple(member for member in named if member.offers(spec.tier))
    if not fitting:
        where = f"cluster {spec.cluster}" if spec.cluster is not None else "the profile"
        tiers = sorted({member.tier or "reserved" for member in named})
        problem = Problem(field="--tier", message=f"{where} has nothing of this tier", got=spec.tier, allowed=", ".join([*tiers, "any"]))
        raise InvalidInput(f"cannot use tier {spec.tier}: {where} has none", [problem], code="no-such-tier", hint="gpuctl clusters")
    return fitting


def _keepers(
    members: Members, candidates: tuple[Member, ...], submission: Submission
) -> tuple[tuple[Member, ...], JobSpec, tuple[str, ...]]:
    """The candidates that keep every promise; with ``best_effort`` those that keep most, and notes on what they drop."""
    wanted = promises.asked(submission.spec)
    missing = {member.name: promises.unkept(wanted, member.cluster.capabilities) for member in candidates}
    keepers = tuple(member for member in candidates if not missing[member.name])
    if keepers:
        return keepers, submission.spec, ()
    fewest = min(len(unkept) for unkept in missing.values())
    closest = tuple(member for member in candidates if len(missing[member.name]) == fewest)
    dropped = missing[closest[0].name]
    if submission.best_effort and promises.ARRAY not in dropped:
        best = tuple(member for member in closest if missing[member.name] == dropped)
        where = ", ".join(member.name for member in best)
        notes = tuple(f"{promise.flag} is dropped: {where} cannot keep it" for promise in dropped)
        return best, promises.without(submission.spec, dropped), notes
    raise _not_kept(members, candidates, submission, dropped)


def _not_kept(members: Members, candidates: Sequence[Member], submission: Submission, dropped: tuple[promises.Promise, ...]) -> NotKeptHere:
    wanted = promises.asked(submission.spec)
    flags = ", ".join(promise.flag for promise in dropped)
    here = ", ".join(member.name for member in candidates)
    able = [member for member in members.all if member not in candidates and not promises.unkept(wanted, member.cluster.capabilities)]
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


def _dependencies(members: Members, candidates: tuple[Member, ...], spec: JobSpec, *, user: str) -> tuple[JobSpec, tuple[Member, ...]]:
    """``--after`` by unique ids. A cluster sees only its own jobs, so a dependant goes where its dependencies are."""
    if not spec.after:
        return spec, candidates
    resolved = []
    homes: dict[str, str] = {}
    for dependency in spec.after:
        located = resolve.locate(members, dependency.job, user=user, sure=True)
        job = located.job if located.job is not None else located.member.cluster.job(located.ref)
        resolved.append(Dependency(job=job.id, mode=dependency.mode))
        homes[located.member.name] = job.name
    fitting = tuple(member for member in candidates if {member.name} == set(homes))
    if not fitting:
        places = ", ".join(f"{job} on {cluster}" for cluster, job in homes.items())
        problem = Problem(field="--after", message="its jobs are not all on one cluster that this job may use", got=places)
        raise InvalidInput("cannot wait for jobs of other clusters without a gpuctl server", [problem], code="after-elsewhere")
    return msgspec.structs.replace(spec, after=tuple(resolved)), fitting


def _homes(members: Members, candidates: tuple[Member, ...], spec: JobSpec) -> tuple[Member, ...]:
    """The candidates on which every volume of the spec lives."""
    wanted = {mount.name for mount in spec.volumes} | ({spec.checkpoint.volume} if spec.checkpoint else set())
    if not wanted:
        return candidates
    rows, incomplete = members.rows(lambda cluster: cluster.volumes(), among=candidates)
    have = {answer.member.name: {volume.name for volume in answer.value} for answer in rows}
    fitting = tuple(member for member in candidates if wanted <= have.get(member.name, set()))
    if fitting:
        return fitting
    if incomplete:
        name, why = next(iter(incomplete.items()))
        raise UnavailableError(
            f"cannot find volumes {', '.join(sorted(wanted))}: cluster {name} could not be read", cause=why, hint="gpuctl clusters"
        )
    everywhere = set().union(*have.values()) if have else set()
    problems = []
    for volume in sorted(wanted):
        homes = sorted(name for name, volumes in have.items() if volume in volumes)
        if volume not in everywhere:
            problems.append(
                Problem(field="--volume", message="there is no such volume", got=volume, allowed=", ".join(sorted(everywhere)) or None)
            )
        else:
            problems.append(Problem(field="--volume", message="lives elsewhere than the others", got=f"{volume} on {', '.join(homes)}"))
    raise InvalidInput("cannot mount what no one cluster has", problems, code="volume-home", hint="gpuctl volumes")


def _request(members: Members, candidates: tuple[Member, ...], submission: Submission) -> tuple[Member, ...]:
    """Where a request id that a person gave is already known; every cluster that may hold its job has to answer, or there could be two."""
    if not submission.explicit_request_id:
        return candidates
    name = f"{submission.base_name}-{names.tail_of(submission.request_id)}"
    answers = members.ask(lambda cluster: cluster.job(name))
    for answer in answers.given:
        if answer.value.request_id == submission.request_id:
            return _if_allowed(answer.member, candidates, submission)
    for member, error in answers.failed:
        if not isinstance(error, NotFoundError):
            raise _cannot_claim(submission, member, error)
    return candidates


def _if_allowed(member: Member, candidates: tuple[Member, ...], submission: Submission) -> tuple[Member, ...]:
    if member in candidates:
        return (member,)
    raise ConflictError(
        f"cannot submit {submission.base_name}: request id {submission.request_id} is already a job on {member.name}",
        code="request-elsewhere",
        hint="take another --request-id",
    )


def _cannot_claim(submission: Submission, member: Member, error: GpuctlError) -> UnavailableError:
    return UnavailableError(
        f"cannot submit {submission.base_name} with request id {submission.request_id}: {member.name} may hold it and could not be read",
        code="request-unclear",
        cause=sentence(error),
        hint="try again; nothing was submitted",
    )
