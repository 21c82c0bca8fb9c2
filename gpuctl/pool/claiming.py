"""One request id, one job, over all clusters of a profile.

A request id that a person gives is meant to be given again: by a script that was cut off, from another machine. So before anything is
created, the profile's first cluster keeps a claim that says which place the job went to, and every later submit goes there, whatever
would be the best place by then. Launching there is idempotent by the request id, so a crash between claim and launch is mended by the
same command. A cluster that may hold the job and does not answer is a reason to stop: there could be two.
"""

import hashlib

import msgspec

from gpuctl.base import names
from gpuctl.base.errors import ConflictError, GpuctlError, UnavailableError
from gpuctl.model.ask import Submission
from gpuctl.pool.members import Member, Members, is_missing


def digest(submission: Submission) -> str:
    """What was asked for, in one word."""
    return hashlib.sha256(submission.base_name.encode() + b"\0" + msgspec.json.encode(submission.spec, order="deterministic")).hexdigest()


def known(members: Members, submission: Submission) -> Member | None:
    """The cluster that has the job already.

    Raises:
        UnavailableError: none that could be read has it, and one could not be read.
    """
    name = f"{submission.base_name}-{names.tail_of(submission.request_id)}"
    answers = members.ask(lambda cluster: cluster.job(name))
    for answer in answers.given:
        if answer.value.request_id == submission.request_id:
            return answer.member
    for member, error in answers.failed:
        if not is_missing(error):
            raise unclear(submission, member, error)
    return None


def claim(members: Members, submission: Submission, *, asked: str, chosen: Member) -> Member:
    """The cluster to launch on: ``chosen``, or the one that an earlier submit of the same request id chose.

    Args:
        members: the clusters of the profile; the first keeps the claim.
        submission: what will be launched.
        asked: :func:`digest` of what the person asked for, before anything was decided about it.
        chosen: where it would go.

    Raises:
        ConflictError: the id was used for something else, or for a place that this profile does not have.
        UnavailableError: the first cluster does not answer.
    """
    keeper = members.all[0]
    try:
        home = keeper.cluster.claim(submission.request_id, digest=asked, home=chosen.cluster.uid)
    except ConflictError:
        raise
    except GpuctlError as error:
        raise unclear(submission, keeper, error) from error
    if home == chosen.cluster.uid:
        return chosen
    answers = members.ask(lambda cluster: cluster.uid)
    for answer in answers.given:
        if answer.value == home:
            return answer.member
    if answers.failed:
        raise unclear(submission, *answers.failed[0])
    raise ConflictError(
        f"cannot submit {submission.base_name}: request id {submission.request_id} went to a cluster that this profile does not have",
        code="request-elsewhere",
        hint="take another --request-id",
    )


def unclear(submission: Submission, member: Member, error: GpuctlError) -> UnavailableError:
    """The refusal to risk a second job."""
    return UnavailableError(
        f"cannot submit {submission.base_name} with request id {submission.request_id}: {member.name} may hold it and could not be read",
        code="request-unclear",
        cause=error.line,
        hint="try again; nothing was submitted",
    )


def elsewhere(submission: Submission, member: Member) -> ConflictError:
    """The job exists where it may not go by what is asked now."""
    return ConflictError(
        f"cannot submit {submission.base_name}: request id {submission.request_id} is already a job on {member.name}",
        code="request-elsewhere",
        hint="take another --request-id",
    )
