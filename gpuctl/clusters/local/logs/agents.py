"""Which logs of Ray's own nodes are worth showing beside the program's.

What ``ray start`` prints is forty lines a node about Ray itself, before the first line of the program, which is what one wants to see. It
is kept, and shown where it says something: when one node is asked for, or when Ray did not come up and the program never ran.
"""

from collections.abc import Iterable, Sequence

from gpuctl.clusters.local.logs.reader import LocalRankLog
from gpuctl.model.job import Attempt, State

_WENT_WELL = frozenset({State.SUCCEEDED, State.CANCELLED})


def worth_showing(logs: Sequence[LocalRankLog], attempts: Iterable[Attempt]) -> list[LocalRankLog]:
    """Every rank's log, and those of nodes whose attempt ended badly before the program ran."""
    speaking = {(log.task, log.attempt) for log in logs if log.rank is not None}
    in_vain = {
        (attempt.task, attempt.number)
        for attempt in attempts
        if attempt.ended_at is not None and not attempt.ranks and attempt.state not in _WENT_WELL
    }
    return [log for log in logs if log.rank is not None or (log.task, log.attempt) in in_vain - speaking]
