"""What I ran: what the clusters still know, and what my own record remembers of the jobs that they have forgotten or cannot tell of."""

import msgspec

from gpuctl.base import clock, duration
from gpuctl.base.errors import ConflictError, NotFoundError
from gpuctl.model.ask import JobQuery, Listing
from gpuctl.model.job import Job, State
from gpuctl.model.reason import Explanation, Reason
from gpuctl.policy import away
from gpuctl.pool import listings
from gpuctl.pool.matching import matches
from gpuctl.pool.members import Members, Rows
from gpuctl.pool.record import Record


def history(members: Members, query: JobQuery, *, user: str, record: Record | None) -> Listing[Job]:
    """What ``user`` ran, newest first whatever its state."""
    asked = msgspec.structs.replace(query, user=user, limit=None)
    if record is None:
        listing = listings.jobs(members, asked)
        found = list(listing.items)
    else:
        # Asked without the states: a job that has another one by now must not look as if its cluster had forgotten it.
        listing = listings.jobs(members, JobQuery(user=user, since=query.since, tasks=query.tasks), beside=True)
        record.saw(listing.items)
        present = {job.id for job in listing.items}
        kept = [lost(job, listing, members) for job in record.jobs().values() if job.id not in present]
        found = [job for job in (*listing.items, *kept) if matches(job, asked)]
    found.sort(key=lambda job: (-job.submitted_at.timestamp(), job.id))
    return msgspec.structs.replace(listing, items=tuple(found[: query.limit]))


def greyed(listing: Listing[Job], query: JobQuery, record: Record) -> Listing[Job]:
    """The listing with my own jobs of the clusters that could not be read, as the record knows them.

    What has ended stays as it ended; of the others nobody knows the state now. A person who asked for states gets those that were in
    one of them when they were last seen.
    """
    present = {job.id for job in listing.items}
    grey = [_away(job, listing) for job in record.jobs().values() if job.cluster in listing.incomplete and job.id not in present]
    found = [job for job in grey if matches(job, query) and not _long_ago(job, query)]
    if not found:
        return listing
    ordered = sorted((*listing.items, *found), key=lambda job: (job.final, -job.submitted_at.timestamp(), job.id))
    return msgspec.structs.replace(listing, items=tuple(ordered[: query.limit]))


def vanished(members: Members, listing: Listing[Job], query: JobQuery, *, user: str, record: Record) -> Listing[Job]:
    """The listing with my jobs that had not ended and that their clusters, which answer, do not know any more: they are lost.

    That is rare, and only then the clusters are asked a second time: the listing may have left a job out for other reasons.
    """
    if query.states is not None and State.LOST not in query.states:
        return listing
    open_jobs = [
        job
        for job in record.open_jobs(but=[job.id for job in listing.items])
        if job.cluster not in listing.incomplete and matches(msgspec.structs.replace(job, state=State.LOST), query)
    ]
    gone = [job for job in open_jobs if job.final]
    record.saw(job for job in gone if _long_ago(job, query))
    unsure = [job for job in open_jobs if not job.final]
    homes = {job.cluster for job in unsure}
    asked = [member for member in members.all if member.name in homes]
    if asked:
        rows = members.rows(lambda cluster: cluster.jobs(JobQuery(user=user)), among=asked)
        there = [job for answer in rows.given for job in answer.value]
        record.saw(there)
        present, now = {job.id for job in there}, clock.now()
        for job in unsure:
            if job.id not in present:
                ended = lost(job, rows, members)
                if ended.final:
                    ended = msgspec.structs.replace(ended, ended_at=now)
                    record.lost(ended)
                    gone.append(ended)
    found = [job for job in gone if not _long_ago(job, query)]
    if not found:
        return listing
    ordered = sorted((*listing.items, *found), key=lambda job: (job.final, -job.submitted_at.timestamp(), job.id))
    return msgspec.structs.replace(listing, items=tuple(ordered[: query.limit]))


def explained(job: Job) -> Explanation:
    """Why a job stands where it stands that only the record knows."""
    return Explanation(reason=job.reason if job.reason is not None else Reason(code=job.state.value))


def _long_ago(job: Job, query: JobQuery) -> bool:
    return (
        query.recent_seconds is not None
        and job.final
        and clock.elapsed(job.ended_at or job.submitted_at, clock.now()) > query.recent_seconds
    )


def _away(job: Job, seen: Listing[Job] | Rows[Job]) -> Job:
    """A job of a cluster that could not be read."""
    cluster = job.cluster or ""
    why = seen.incomplete.get(cluster)
    if why is None or job.final:
        return job
    return msgspec.structs.replace(job, unknown=("state",), reason=away.reason(seen.health.get(cluster, "unreachable"), why))


def forgotten(members: Members, ref: str | None, record: Record, error: NotFoundError) -> Job:
    """The job that no cluster knows any more, from the record.

    Raises:
        NotFoundError: ``error``, the record does not know it either.
    """
    jobs = sorted(record.jobs().values(), key=lambda job: (job.submitted_at, job.id), reverse=True)
    if ref is None or ref.strip() == "-":
        found = jobs[:1]
    else:
        text = ref.strip().removeprefix("job/")
        found = [job for job in jobs if text in (job.name, job.id)] or [job for job in jobs if job.base_name == text][:1]
        if not found:
            prefixed = [job for job in jobs if text and job.id.startswith(text)]
            found = prefixed if len(prefixed) == 1 else []
    if not found:
        raise error
    return lost(found[0], Listing(), members)


def log_gone(job: Job) -> NotFoundError:
    """What to say to somebody who asks for the log of a job that only the record knows."""
    kept = job.spec.logs_to
    volume, _, directory = (kept or "").partition(":")
    return NotFoundError(
        f"nothing is left of the log of job/{job.name}: {job.cluster or 'its cluster'} does not know the job any more",
        code="log-gone",
        hint=f"gpuctl volumes files {volume} {directory.strip('/')}".rstrip() if kept else f"gpuctl rerun {job.name} --logs-to VOLUME",
    )


def not_there(job: Job, what: str) -> ConflictError:
    """What to say to somebody who wants something of a job that only the record knows and that can only be had while it runs.

    Args:
        job: as the record has it; final.
        what: ``enter``: what cannot be done to it.
    """
    cause = f"{job.cluster or 'its cluster'} does not know it any more"
    if job.state is State.LOST and job.reason is not None and job.reason.sentence:
        cause = job.reason.sentence
    if job.state is State.LOST and job.ended_at is not None:
        cause += f"; that was noticed {duration.short(clock.elapsed(job.ended_at, clock.now()))} ago"
    return ConflictError(
        f"cannot {what} {job.name}: it {job.state.told}",
        code="not-running",
        cause=cause,
        hint=f"gpuctl why {job.name}    or: gpuctl rerun {job.name}",
    )


def lost(job: Job, seen: Listing[Job] | Rows[Job], members: Members) -> Job:
    """A job as it was last seen. One that had not ended and that its cluster, which answers, does not know any more, is lost."""
    known = {member.name for member in members.all}
    if job.final or job.cluster in seen.incomplete or job.cluster not in known:
        return _away(job, seen)
    sentence = f"{job.cluster} does not know it any more; it was {job.state.value} when it was last seen"
    return msgspec.structs.replace(job, state=State.LOST, reason=Reason(code="lost", sentence=sentence, what="escalate"))
