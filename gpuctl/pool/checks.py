"""What ``gpuctl doctor`` shows of a pool: the checks of every cluster, and a line for one that does not answer."""

from collections.abc import Sequence
from dataclasses import dataclass

from gpuctl.base.errors import GpuctlError, NotKeptHere
from gpuctl.pool.broken import BrokenCluster
from gpuctl.pool.members import Member, Members, sentence
from gpuctl.port.access import Granting
from gpuctl.port.cluster import Check


@dataclass(frozen=True, kw_only=True)
class Silent:
    """The line of a cluster that did not answer."""

    name: str
    text: str
    fix: str | None
    verdict: str = "problem"


def rbac(members: Members) -> str:
    """What the administrators of the clusters have to allow, one document; each cluster's part below its name.

    Raises:
        NotKeptHere: no cluster here has administrators.
    """
    parts: dict[str, list[str]] = {}
    failed: list[tuple[Member, GpuctlError]] = []
    for member in members.all:
        if isinstance(member.cluster, BrokenCluster) or not isinstance(member.cluster, Granting):
            continue
        try:
            parts.setdefault(member.cluster.rbac().strip("\n"), []).append(member.name)
        except GpuctlError as error:
            failed.append((member, error))
    if not parts:
        if failed:
            raise failed[0][1]
        raise NotKeptHere("cannot print access rules: no cluster of this profile has any", hint="gpuctl profile show")
    left_out = "".join(f"# not for {member.name}: {sentence(error)}\n" for member, error in failed)
    return left_out + "".join(f"# for {', '.join(names)}\n{text}\n" for text, names in parts.items())


def checks(members: Members) -> Sequence[Check]:
    """Every check of every cluster, in the profile's order."""
    answers = members.ask(lambda cluster: cluster.checks())
    lines: list[Check] = [check for answer in answers.given for check in answer.value]
    lines.extend(Silent(name=f"cluster {member.name}", text=sentence(error), fix=error.hint) for member, error in answers.failed)
    return lines
