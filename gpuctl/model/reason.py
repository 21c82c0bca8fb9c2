"""Why something is as it is: evidence that clusters hand over, and the reasons that policy makes of it."""

from datetime import datetime
from typing import Literal

import msgspec


class Evidence(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """One fact a cluster saw, not yet judged.

    Attributes:
        code: stable kebab-case word. Ends: ``cancelled``, ``dependency-failed``, ``time-limit``, ``oom-killed``, ``interpreter-missing``,
            ``start-failed``, ``setup-failed``, ``module-missing``, ``cuda-oom``, ``python-traceback``, ``killed``, ``nccl-error``,
            ``rendezvous-timeout``, ``connection-lost``, ``signal``, ``exit-code``. Losses: ``evicted``, ``window-end``, ``node-lost``,
            ``reboot``, ``supervisor-died``, ``lost``, ``cluster-unreachable``, ``credentials-expired``. Waits: ``queued``, ``claimed``,
            ``dependency``, ``held``, ``backoff``, ``retrying``, ``capacity``, ``fragmented``, ``never-fits``, ``no-such-gpu``,
            ``device-busy``, ``not-ready``, ``unreachable``, ``quota``, ``window``, ``volume-home``, ``budget``, ``taints``,
            ``image-missing``, ``image-auth``, ``image-rate-limit``, ``image-pull``, ``config-missing``, ``secret-missing``,
            ``volume-mount``, ``volume-unbound``, ``admission-refused``, ``unhealthy``, ``operator-missing``. Notes: ``silent``,
            ``code-changed``, ``note``. The table with the keys of ``data`` is in ``gpuctl.policy.explain``.
        text: the fact in its own words: a log line, a kernel line, an event's message.
        at: when it happened, if known.
        rank: the global rank it is about, None for the whole job.
        task: the task of an array it is about, where the whole array is explained.
        data: numbers and names that the sentence needs, as text.
        source: where it was read (``log``, ``kernel``, ``cgroup``, ``journal``, ``store``, ``event``, ``condition``).
    """

    code: str
    text: str = ""
    at: datetime | None = None
    rank: int | None = None
    task: int | None = None
    node: str | None = None
    attempt: int | None = None
    data: dict[str, str] = {}
    source: str = ""


What = Literal["wait", "change", "escalate", "nothing"]


class Reason(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """A judged answer in one sentence.

    Attributes:
        code: stable kebab-case word, shown in the REASON column.
        sentence: one sentence with numbers, without a final period.
        what: what kind of act helps: wait, change something, or escalate to somebody.
        advice: what to do, in words.
        command: a command that can be pasted, if one helps.
    """

    code: str
    sentence: str = ""
    what: What = "nothing"
    advice: str | None = None
    command: str | None = None


class Explanation(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """What ``gpuctl why`` answers: the main reason, the evidence it rests on, and what else is worth knowing."""

    reason: Reason
    evidence: tuple[Evidence, ...] = ()
    also: tuple[Reason, ...] = ()
    """Further reasons and notes, most important first (``code changed after submit: train.py``)."""
