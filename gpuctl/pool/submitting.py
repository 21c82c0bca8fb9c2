"""Submitting: decide where, claim the request id, launch, remember."""

import msgspec

from gpuctl.model.ask import Submission, Submitted
from gpuctl.pool import claiming, telling
from gpuctl.pool.members import Member, Members
from gpuctl.pool.record import Record
from gpuctl.pool.submit import Choice, choose, insist
from gpuctl.port.capability import Capability


def submit(members: Members, submission: Submission, *, user: str, record: Record | None) -> Submitted:
    """Launch it where it belongs, say where that is and what it costs, and write it into the record where its cluster forgets.

    A request id that a person gave is looked for first wherever it may be, then claimed, see ``claiming``: a repeat finds its job also when
    that job holds all there is.
    """
    choice = _decide(members, submission, user=user)
    final = msgspec.structs.replace(choice.submission, placement=choice.options) if choice.decided else choice.submission
    submitted = choice.member.cluster.launch(final)
    cut = telling.cut_note(choice) if not submitted.existed else None
    notes = [*choice.notes, *([cut] if cut is not None else []), *submitted.notes]
    job = submitted.job
    if choice.decided and not submitted.existed and not job.placement:
        job = msgspec.structs.replace(job, placement=choice.options)
    if record is not None and choice.member.forgets and not submitted.existed:
        failed = record.submitted(job)
        notes.extend([failed] if failed is not None else [])
    return msgspec.structs.replace(submitted, job=job, sentence=telling.sentence(choice, submitted), notes=tuple(notes))


def _decide(members: Members, submission: Submission, *, user: str) -> Choice:
    if not submission.explicit_request_id or _lone_machine(members):
        return insist(choose(members, submission, user=user))
    there = claiming.known(members, submission)
    if there is not None:
        return choose(members, submission, user=user, at=_allowed(submission, there))
    choice = insist(choose(members, submission, user=user))
    if members.only is not None:
        return choice
    home = claiming.claim(members, submission, asked=claiming.digest(submission), chosen=choice.member)
    if home is choice.member:
        return choice
    claimed = choose(members, submission, user=user, at=_allowed(submission, home))
    # Whoever was faster may have launched it by now, and it holds what it would not fit beside.
    return claimed if claiming.known(members, submission) is not None else insist(claimed)


def _lone_machine(members: Members) -> bool:
    """A lone place with a queue of gpuctl's own knows its request ids itself."""
    return members.only is not None and Capability.SCHEDULES in members.only.cluster.capabilities


def _allowed(submission: Submission, home: Member) -> Member:
    spec = submission.spec
    if spec.cluster not in (None, home.name) or spec.tier not in ("any", home.tier or spec.tier):
        raise claiming.elsewhere(submission, home)
    return home
