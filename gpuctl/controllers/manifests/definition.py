"""The CustomResourceDefinition of ``PoolSchedule``: its schema from the model, and the model's rules as far as an API server judges them.

What it cannot judge (time zones, crons that never come, overlaps) the window controller tells in the condition ``Accepted``. The server
fills in no defaults: an object says what its author wrote, and means what the gpuctl that reads it takes for the rest.
"""

from typing import Any

from gpuctl.base import duration, names
from gpuctl.clusters.kubernetes.names import POOL_SCHEDULES
from gpuctl.controllers.manifests import structural
from gpuctl.controllers.status import ACCEPTED, PoolScheduleStatus
from gpuctl.model.schedule import MOST_EXCEPTIONS, MOST_WINDOWS, PoolSchedule, ScheduleSpec

SIGNALS = (
    *("HUP", "INT", "QUIT", "ILL", "TRAP", "ABRT", "IOT", "BUS", "FPE", "USR1", "SEGV", "USR2", "PIPE", "ALRM", "TERM", "STKFLT", "CHLD"),
    *("CLD", "CONT", "TSTP", "TTIN", "TTOU", "URG", "XCPU", "XFSZ", "VTALRM", "PROF", "WINCH", "IO", "POLL", "PWR", "SYS"),
    *("RTMIN", "RTMAX"),
)
"""What a program of Linux can catch."""

_NAME = {"type": "string", "minLength": 1, "maxLength": names.LONGEST_BASE, "pattern": "^[a-z0-9]([a-z0-9-]*[a-z0-9])?$"}
_CRON = {"pattern": r"^\s*\S+(\s+\S+){4}\s*$"}
_SPAN = {"pattern": duration.PATTERN}


def _rule(rule: str, message: str, field: str | None = None) -> dict[str, str]:
    """One rule of CEL; ``field``: the field of the struct that an error is shown at."""
    return {"rule": rule, "message": message, **({"fieldPath": f".{field}"} if field else {})}


_RULES: dict[str, dict[str, Any]] = {
    "spec": {
        "x-kubernetes-validations": [
            _rule(
                # A list of one list gives the names a name of their own: gathered once, they cost what an API server allows.
                "!has(self.exceptions) || [self.windows.map(w, w.name)].all(names, "
                "self.exceptions.all(e, !has(e.windows) || e.windows.all(n, n in names)))",
                "exceptions name windows that are not there: each name in an exception's windows must be the name of a window",
                "exceptions",
            )
        ]
    },
    "spec.timeZone": {"minLength": 1},
    "spec.defaultOwner": _NAME,
    "spec.pool.count": {"minimum": 1},
    "spec.windows": {"maxItems": MOST_WINDOWS, "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"]},
    "spec.windows[]": {
        "x-kubernetes-validations": [_rule("has(self.end) != has(self.duration)", "give end (a cron) or duration, one of the two", "end")]
    },
    "spec.windows[].name": _NAME,
    "spec.windows[].owner": _NAME,
    "spec.windows[].start": _CRON,
    "spec.windows[].end": _CRON,
    "spec.windows[].duration": _SPAN,
    "spec.windows[].drain": {
        "x-kubernetes-validations": [
            _rule(
                "!has(self.maxOverrun) || (has(self.policy) && self.policy == 'RunToCompletion')",
                "maxOverrun belongs to policy RunToCompletion",
                "maxOverrun",
            ),
            _rule(
                "has(self.signal) == (has(self.policy) && self.policy == 'CheckpointThenEvict')",
                "signal belongs to policy CheckpointThenEvict, which needs one",
                "signal",
            ),
        ]
    },
    "spec.windows[].drain.notify": _SPAN,
    "spec.windows[].drain.lead": _SPAN,
    "spec.windows[].drain.grace": _SPAN,
    "spec.windows[].drain.maxOverrun": _SPAN,
    "spec.windows[].drain.signal": {
        "maxLength": 16,
        "x-kubernetes-validations": [
            _rule(f"self.matches('(?i)^(SIG)?({'|'.join(SIGNALS)})$')", "signal must be one that a program can catch, such as USR1")
        ],
    },
    "spec.exceptions": {"maxItems": MOST_EXCEPTIONS},
    "spec.exceptions[]": {
        "x-kubernetes-validations": [
            _rule("(has(self.skip) && self.skip) != has(self.owner)", "give skip: true or owner, one of the two", "owner")
        ]
    },
    "spec.exceptions[].date": {"format": "date", "pattern": "^[0-9]{4}-[0-9]{2}-[0-9]{2}$"},
    "spec.exceptions[].owner": _NAME,
    "spec.exceptions[].windows": {"maxItems": MOST_WINDOWS},
    "spec.exceptions[].windows[]": _NAME,
    "status.conditions": {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["type"]},
}

COLUMNS = (
    ("Owner", ".status.owner", "string"),
    ("Next", ".status.nextOwner", "string"),
    ("At", ".status.nextChange", "string"),  # a date would be shown as an age, and the future has none
    ("Nodes", ".status.nodes", "integer"),
    ("Accepted", f'.status.conditions[?(@.type=="{ACCEPTED}")].status', "string"),
    ("Age", ".metadata.creationTimestamp", "date"),
)
"""What ``kubectl get poolschedules`` shows beside the name."""


def definition() -> dict[str, Any]:
    """The definition, for any API server from 1.30 on."""
    kind = POOL_SCHEDULES
    names_ = {
        "kind": kind.kind,
        "listKind": f"{kind.kind}List",
        "plural": kind.plural,
        "singular": kind.kind.lower(),
        "shortNames": ["gsched"],
        "categories": ["gpuctl"],
    }
    version = {
        "name": kind.version,
        "served": True,
        "storage": True,
        "schema": {"openAPIV3Schema": _schema()},
        "subresources": {"status": {}},
        "additionalPrinterColumns": [{"name": name, "type": type_, "jsonPath": path} for name, path, type_ in COLUMNS],
    }
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{kind.plural}.{kind.group}"},
        "spec": {"group": kind.group, "scope": "Cluster", "names": names_, "versions": [version]},
    }


def _schema() -> dict[str, Any]:
    whole = PoolSchedule.__doc__ or ""
    return {
        "description": whole.strip(),
        "type": "object",
        "required": ["metadata", "spec"],
        "properties": {
            "apiVersion": {"type": "string"},
            "kind": {"type": "string"},
            "metadata": {"type": "object", "properties": {"name": _NAME}},
            "spec": structural.schema(ScheduleSpec, rules=_RULES, root="spec"),
            "status": structural.schema(PoolScheduleStatus, rules=_RULES, root="status"),
        },
    }
