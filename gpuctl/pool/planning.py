"""``submit --plan``: every place the job could go, now or when, at which cost, the chosen one first."""

from datetime import datetime

import msgspec

from gpuctl.model.ask import Plan, PlanOption
from gpuctl.policy.offers import Standing
from gpuctl.pool.choice import Ranked
from gpuctl.pool.members import Answers, Members
from gpuctl.pool.refusing import NO_ROOM, refusal
from gpuctl.pool.submit import Choice
from gpuctl.port.capability import Capability


def plan(members: Members, choice: Choice) -> Plan:
    """The options of every cluster that the job may use.

    Raises:
        GpuctlError: it could not run anywhere even with nobody else about; of a lone cluster that judges itself, its refusal.
    """
    limit = choice.submission.spec.time_seconds
    if not choice.decided:
        answer = choice.member.cluster.plan(choice.submission)
        return msgspec.structs.replace(answer, notes=(*choice.notes, *answer.notes), time_limit=limit)
    notes = list(choice.notes)
    if not choice.accepted:
        judged = [ranked.judged for ranked in choice.ranked if ranked.judged is not None]
        refused = refusal(choice.submission, judged, choice.seen)
        if all(each.never for each in judged):
            raise refused
        tries = "; --wait-for-capacity keeps trying" if refused.code in NO_ROOM else ""
        notes.append(f"it would be refused now: {refused.message}{tries}")
    answers = _starts(members, choice)
    notes.extend(f"{member.name}: {error.line}" for member, error in answers.failed)
    known = {answer.member.name: answer.value for answer in answers.given}
    notes.extend(note for each in known.values() for note in each.notes)
    options = tuple(_with_start(ranked, known.get(ranked.member.name)) for ranked in choice.ranked)
    return Plan(options=options, notes=tuple(dict.fromkeys(notes)), time_limit=limit)


def _starts(members: Members, choice: Choice) -> Answers[Plan]:
    """What the clusters that keep a line themselves say about when: nobody else knows."""
    lines = frozenset({Capability.WAIT_GANG, Capability.SCHEDULES})
    waiting = {ranked.member.name for ranked in choice.ranked if ranked.judged is not None and ranked.judged.standing is Standing.QUEUES}
    asked = [one.member for one in choice.seen if one.member.name in waiting and one.capabilities is not None and lines & one.capabilities]
    return members.ask(lambda cluster: cluster.plan(choice.submission), among=asked)


def _with_start(ranked: Ranked, answer: Plan | None) -> PlanOption:
    option = ranked.option
    if option.now or answer is None or ranked.judged is None or ranked.judged.standing is not Standing.QUEUES:
        return option
    same = [each for each in answer.options if each.tier in (None, option.tier)]
    starts: list[datetime] = [each.at for each in same if each.at is not None]
    return msgspec.structs.replace(option, at=min(starts)) if starts else option
