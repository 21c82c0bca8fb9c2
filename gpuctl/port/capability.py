"""What a cluster or pool declares it can keep. A missing capability is refused by name; nothing raises NotImplementedError."""

from enum import Enum


class Capability(str, Enum):
    """One promise that not every place can keep; the values are stable words used in messages."""

    WAIT_GANG = "wait"
    """Jobs of any shape wait for devices or quota."""
    RETRIES = "retries"
    REQUEUE = "requeue"
    AFTER = "after"
    NOTIFY = "notify"
    MAX_COST = "max-cost"
    FIT_WINDOW_WAIT = "fit-window"
    ARRAY_PARALLEL = "array-parallel"
    """``--array A-B%K`` with any K and any shape."""
    SIGNAL = "signal"
    UPDATE_PRIORITY = "update-priority"
    UPDATE_TIME_LONGER = "update-time-longer"
    HOLD = "hold"
    FAIL_OVER = "fail-over"
    SNAPSHOT = "snapshot"
    IN_PLACE = "in-place"
    """Jobs run in the submitter's own directory; code is not copied unless asked."""
    EXEC = "exec"
    COPY = "copy"
    PORT_FORWARD = "port-forward"
    VOLUMES = "volumes"
    USAGE = "usage"
    TOP = "top"
