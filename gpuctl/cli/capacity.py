"""``--wait-for-capacity``: a job of several nodes that fits nowhere now, and that nothing would keep waiting, is tried again from here."""

import random

from gpuctl.base import duration
from gpuctl.base.errors import UnavailableError
from gpuctl.cli.interrupt import Interrupt
from gpuctl.cli.session import Session
from gpuctl.model.ask import Submission, Submitted
from gpuctl.pool.refusing import NO_ROOM

FIRST, LONGEST, FACTOR = 5.0, 120.0, 1.5
"""Seconds between two tries: the first, the longest, and how they grow. A fifth is left to chance, so that many do not come at once."""


def submit(session: Session, submission: Submission) -> Submitted:
    """Hand the job over as soon as it fits somewhere. What keeps it from fitting is said when it changes.

    Raises:
        KeyboardInterrupt: Ctrl-C between two tries. A refused try has left nothing behind, so nothing is left at all.
        GpuctlError: what time does not mend.
    """
    pause, said = FIRST, None
    while True:
        try:
            return session.pool.submit(submission)
        except UnavailableError as error:
            if error.code not in NO_ROOM and said is None:  # later, a cluster that is away for a while is only one more reason to wait
                raise
            why = error.cause or error.message
        if why != said:
            session.say(f"waiting for capacity: {why}")
            said = why
        seconds = pause * random.uniform(0.8, 1.0)
        session.detail(f"trying again in {duration.short(seconds)}")
        with Interrupt(session, sentence="nothing was submitted") as stop:
            if stop.wait(seconds):
                raise KeyboardInterrupt
        pause = min(pause * FACTOR, LONGEST)
