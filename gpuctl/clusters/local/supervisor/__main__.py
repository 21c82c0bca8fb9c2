"""The program: read the plan and the environment, run the launch."""

import json
import os
import signal
import sys

from gpuctl.clusters.local.launchplan import LaunchPlan
from gpuctl.clusters.local.supervisor.launch import Launch
from gpuctl.model import decoding


def main(argv: list[str]) -> int:
    """Run the plan in ``argv[1]``; 0 once everything has ended, whatever the job's own end was."""
    with open(argv[1], "rb") as file:
        plan = decoding.decode(file.read(), LaunchPlan)
    with os.fdopen(plan.env_fd, "rb") as pipe:
        submitted: dict[str, str] = json.load(pipe)  # msgspec refuses the surrogates that stand for bytes which are no UTF-8
    os.set_inheritable(plan.alive_fd, False)
    launch = Launch(plan, submitted)
    try:
        launch.run()
    except BaseException:
        # Whoever heals finds the lock free and says that this supervisor died; what it started must not outlive it.
        signal.set_wakeup_fd(-1)
        launch.sweep(0)
        raise
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv))
