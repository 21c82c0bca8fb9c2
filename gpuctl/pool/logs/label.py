"""What stands before a line.

``[3] `` for a rank, ``[n0] `` for a node's agent, ``[17] `` for a task of an array, ``[x32] `` for all, ``[0-3,7] `` for some.
"""

from collections.abc import Sequence
from typing import NamedTuple

from gpuctl.port.stream import RankLog

_MOST_KNOWN = 10_000


class Among(NamedTuple):
    """Whose logs may still appear: of how many ranks in all, over all tasks; whether of several tasks, and of several ranks of one."""

    total: int = 0
    tasks: bool = False
    ranks: bool = False


class Labels:
    """The labels of a set of logs, by the logs' tags.

    With several tasks the task comes first (``[17.3] ``), and alone where every task has one rank.

    Args:
        logs: those that are there, with their tags.
        among: what is expected beside them.
    """

    def __init__(self, logs: Sequence[tuple[bytes, RankLog]], *, among: Among | None = None) -> None:
        self._among = among or Among()
        self._logs: dict[bytes, RankLog] = {}
        self.one: dict[bytes, bytes] = {}
        """The label of each log."""
        self.add(logs)

    def add(self, logs: Sequence[tuple[bytes, RankLog]]) -> None:
        """More logs have appeared. Labels of those before may change with them, unless ``among`` was right."""
        self._logs.update(logs)
        every = self._logs.values()
        self._many_tasks = self._among.tasks or len({log.task for log in every}) > 1
        self._alone = not self._among.ranks and all(log.rank in (None, 0) for log in every)
        ranked = {(log.task, log.rank) for log in every if log.rank is not None}
        self.everybody = max(len(ranked), self._among.total)
        """How many ranks there are, over all tasks."""
        self.several = self.everybody > 1
        """Whether the lines need a label at all."""
        self.one = {tag: f"[{self._name(log)}] ".encode() for tag, log in self._logs.items()}
        self.as_written = all(self.one[tag] == b"[%d] " % log.rank for tag, log in self._logs.items() if log.rank is not None)
        """Whether the label of each rank is what an agent puts before its lines (see ``port.stream.Together``)."""
        self._known: dict[frozenset[bytes], bytes] = {}

    def group(self, tags: frozenset[bytes]) -> bytes:
        """The label of several logs together."""
        label = self._known.get(tags)
        if label is None:
            if len(self._known) >= _MOST_KNOWN:
                self._known.clear()
            label = self._known[tags] = self._group([self._logs[tag] for tag in sorted(tags)])
        return label

    def _name(self, log: RankLog) -> str:
        if log.rank is None and not (self._many_tasks and self._alone):
            who = f"n{log.node}"
        else:
            who = str(log.rank or 0)
        if not self._many_tasks or log.task is None:
            return who
        return str(log.task) if self._alone else f"{log.task}.{who}"

    def _group(self, logs: list[RankLog]) -> bytes:
        ranked = {(log.task, log.rank) for log in logs if log.rank is not None}
        if len(ranked) == len(logs) == self.everybody:
            return f"[x{len(logs)}] ".encode()
        names = [self._name(log) for log in logs]
        numbers = sorted(int(name) for name in names if name.isdigit())
        others = sorted(name for name in names if not name.isdigit())
        return f"[{','.join([*ranges(numbers), *others])}] ".encode()


def ranges(numbers: Sequence[int]) -> list[str]:
    """Ascending numbers in short: 0, 1, 2, 3, 7 are ``0-3`` and ``7``."""
    out: list[str] = []
    start = previous = None
    for number in [*numbers, None]:
        if start is not None and number is not None and previous is not None and number == previous + 1:
            previous = number
            continue
        if start is not None:
            out.append(str(start) if start == previous else f"{start}-{previous}")
        start = previous = number
    return out
