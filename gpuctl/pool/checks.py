"""What ``gpuctl doctor`` shows of a pool: the checks of every cluster, and a line for one that does not answer."""

from collections.abc import Sequence
from dataclasses import dataclass

from gpuctl.base.errors import GpuctlError, NotKeptHere
from gpuctl.pool.broken import BrokenCluster
from gpuctl.pool.members import Member, Members
from gpuctl.port.access import Granting
from gpuctl.port.cluster import Check


@dataclass(frozen=True, kw_only=True)
class Checked:
    """One line, and the cluster that it is about."""

    cluster: str
    name: str
    verdict: str
    text: str
    fix: str | None


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
    left_out = "".join(f"# not for {member.name}: {error.line}\n" for member, error in failed)
    return left_out + "".join(f"# for {', '.join(names)}\n{text}\n" for text, names in parts.items())


def checks(members: Members) -> Sequence[Checked]:
    """Every check of every cluster; those that did not answer come last, with a line each."""
    answers = members.ask(lambda cluster: cluster.checks())
    lines = [_of(answer.member.name, check) for answer in answers.given for check in answer.value]
    lines.extend(
        Checked(cluster=member.name, name="cluster", verdict="problem", text=error.line, fix=error.hint) for member, error in answers.failed
    )
    return lines


def _of(cluster: str, check: Check) -> Checked:
    return Checked(cluster=cluster, name=check.name, verdict=check.verdict, text=check.text, fix=check.fix)
