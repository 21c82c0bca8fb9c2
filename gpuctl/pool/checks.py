"""What ``gpuctl doctor`` shows of a pool: the checks of every cluster, and a line for one that does not answer."""

from collections.abc import Sequence
from dataclasses import dataclass

from gpuctl.pool.members import Members, sentence
from gpuctl.port.cluster import Check


@dataclass(frozen=True, kw_only=True)
class Silent:
    """The line of a cluster that did not answer."""

    name: str
    text: str
    fix: str | None
    verdict: str = "problem"


def checks(members: Members) -> Sequence[Check]:
    """Every check of every cluster, in the profile's order."""
    answers = members.ask(lambda cluster: cluster.checks())
    lines: list[Check] = [check for answer in answers.given for check in answer.value]
    lines.extend(Silent(name=f"cluster {member.name}", text=sentence(error), fix=error.hint) for member, error in answers.failed)
    return lines
