"""``submit --plan`` over several clusters: what each would answer, the chosen one first."""

from gpuctl.model.ask import Plan
from gpuctl.pool.members import Members, sentence
from gpuctl.pool.submit import Choice


def plan(members: Members, choice: Choice) -> Plan:
    """The options of every cluster that the job may use. A lone cluster's refusal is the answer; among several it is a note."""
    candidates = [ranked.member for ranked in choice.ranked]
    answers = members.ask(lambda cluster: cluster.plan(choice.submission), among=candidates)
    if not answers.given:
        raise answers.failed[0][1]
    by_name = {answer.member.name: answer.value for answer in answers.given}
    ordered = [by_name[member.name] for member in candidates if member.name in by_name]
    notes = [*choice.notes, *(note for each in ordered for note in each.notes)]
    notes.extend(f"{member.name}: {sentence(error)}" for member, error in answers.failed)
    return Plan(options=tuple(option for each in ordered for option in each.options), notes=tuple(notes))
