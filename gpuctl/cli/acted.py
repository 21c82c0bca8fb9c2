"""What a verb that acts on jobs prints: ``job/NAME`` as each is done, or with ``-o`` all of them at the end."""

from gpuctl.cli.out import formats
from gpuctl.cli.out.columns import job as columns
from gpuctl.cli.result import Done, Result, Rows
from gpuctl.cli.session import Session
from gpuctl.cli.show.progress import Progress
from gpuctl.model.job import Job


class Acted:
    """Jobs acted upon in one invocation.

    Args:
        session: whose ``-o`` decides; an unknown format is refused here, before anything is done.
        progress: a moving line on the terminal to keep out of the way of, if there is one.
    """

    def __init__(self, session: Session, *, progress: Progress | None = None) -> None:
        self._session = session
        self._progress = progress
        self._at_once = session.output is None or formats.parse(session.output).name == "name"
        self.jobs: list[Job] = []

    def add(self, job: Job, sentence: str = "") -> None:
        """One job is done; ``sentence`` is for stderr."""
        self.jobs.append(job)
        target = self._progress or self._session
        if self._at_once:
            target.write(columns.name(job) + "\n")
        if sentence:
            target.say(sentence)

    def result(self, *, code: int = 0) -> Result:
        """What is left to print."""
        if self._at_once:
            return Done(code=code)
        return Rows(kind="Job", items=self.jobs, columns=columns.COLUMNS, name=columns.name, empty="", code=code)
