"""Process slots: what a machine without GPUs leases, so that ``-j 2x2`` means four processes there too."""

import os
from collections.abc import Mapping

from gpuctl.base.errors import InvalidInput, Problem
from gpuctl.model.place import Device

OPTION = "slots"
VARIABLE = "GPUCTL_LOCAL_SLOTS"
FEWEST = 8
_MOST = 4096


def count(options: Mapping[str, str], env: Mapping[str, str]) -> int:
    """How many: the environment's GPUCTL_LOCAL_SLOTS, the profile's ``slots``, or the larger of the cores and 8.

    Raises:
        InvalidInput: not a number from 1 to 4096.
    """
    for field, text in ((VARIABLE, env.get(VARIABLE)), (OPTION, options.get(OPTION))):
        if text:
            if not text.isascii() or not text.isdigit() or not 1 <= int(text) <= _MOST:
                problem = Problem(field=field, message="is not a number of slots", got=text, allowed=f"1 to {_MOST}")
                raise InvalidInput("cannot count the process slots of this machine", [problem], code="bad-slots")
            return int(text)
    return max(len(os.sched_getaffinity(0)), FEWEST)


def discover(options: Mapping[str, str], env: Mapping[str, str]) -> tuple[Device, ...]:
    """The slots, numbered from 0."""
    return tuple(Device(index=index, uuid=f"slot-{index}", type="slot", kind="slot") for index in range(count(options, env)))
