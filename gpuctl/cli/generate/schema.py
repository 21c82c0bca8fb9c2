"""JSON Schemas (2020-12): of the job file that ``submit -f`` reads, of schedules, and of everything that ``-o json`` prints."""

from typing import Any

import msgspec

from gpuctl.cli.out.columns.node import NodeDevice
from gpuctl.model import ask, job, place, quota, reason, schedule, spec

KINDS: dict[str, type] = {
    "Job": job.Job,
    "Node": place.Node,
    "NodeDevice": NodeDevice,
    "Cluster": place.ClusterStatus,
    "Volume": place.Volume,
    "VolumeFile": place.VolumeFile,
    "Quota": quota.Quota,
    "Usage": place.UsageRow,
    "Sample": place.Sample,
    "Explanation": reason.Explanation,
    "PlanOption": ask.PlanOption,
    "PoolWindows": schedule.PoolWindows,
}
"""The ``kind`` of a printed object to the value behind it. What a single verb prints of its own (a version, a check) is not promised."""

_MAY_BE_UNKNOWN = {("Job", "state")}
"""What a value always has and a printed object lacks where ``unknown`` names it."""

_DRAFT = "https://json-schema.org/draft/2020-12/schema"


def job_file() -> dict[str, Any]:
    """Of a job document (YAML or JSON)."""
    body = _steady(msgspec.json.schema(spec.JobDocument))
    return {"$schema": _DRAFT, "title": "gpuctl job file", **body}


def schedule_file() -> dict[str, Any]:
    """Of a schedule document (YAML or JSON)."""
    body = _steady(msgspec.json.schema(schedule.PoolSchedule))
    return {"$schema": _DRAFT, "title": "gpuctl schedule file", **body}


def outputs() -> dict[str, Any]:
    """Of the objects and lists that machine formats print. Keys may be added in later versions, none is renamed or removed."""
    references, described = msgspec.json.schema_components(KINDS.values(), ref_template="#/$defs/{name}")
    components = _steady(described)
    definitions = {name: _open(body) for name, body in components.items()}
    for kind, reference in zip(KINDS, references, strict=True):
        definitions[f"{kind}Object"] = _object(kind, components[reference["$ref"].rsplit("/", 1)[-1]])
        definitions[f"{kind}List"] = _list(kind)
    tops = [{"$ref": f"#/$defs/{kind}{form}"} for kind in KINDS for form in ("Object", "List")]
    return {"$schema": _DRAFT, "title": "gpuctl output", "oneOf": tops, "$defs": definitions}


def _object(kind: str, body: dict[str, Any]) -> dict[str, Any]:
    properties = dict(body["properties"])
    own_kind = properties.pop("kind", None)  # `kind` is the document's: a value's own is printed as `type`
    known = [name for name in body.get("required", []) if (kind, name) not in _MAY_BE_UNKNOWN]
    required = ["type" if name == "kind" else name for name in known]
    return {
        "title": kind,
        "type": "object",
        "properties": {
            "apiVersion": {"const": spec.API_VERSION},
            "kind": {"const": kind},
            **({"type": own_kind} if own_kind else {}),
            **properties,
        },
        "required": ["apiVersion", "kind", *required],
    }


def _list(kind: str) -> dict[str, Any]:
    return {
        "title": f"{kind}List",
        "type": "object",
        "properties": {
            "apiVersion": {"const": spec.API_VERSION},
            "kind": {"const": f"{kind}List"},
            "items": {"type": "array", "items": {"$ref": f"#/$defs/{kind}Object"}},
            "incomplete": {"type": "array", "items": {"type": "string"}, "description": "Clusters that could not be read."},
            "errors": {"type": "object", "additionalProperties": {"type": "string"}, "description": "Why, by cluster."},
        },
        "required": ["apiVersion", "kind", "items"],
    }


def _steady(body: Any) -> Any:
    """The same schema from every msgspec: the order of alternatives is not the same in all of its versions."""
    if isinstance(body, list):
        return [_steady(each) for each in body]
    if not isinstance(body, dict):
        return body
    steady = {name: _steady(value) for name, value in body.items()}
    if "anyOf" in steady:
        steady["anyOf"].sort(key=lambda each: (each.get("type") == "null", str(each)))
    return steady


def _open(body: dict[str, Any]) -> dict[str, Any]:
    """A reader must bear keys of a newer writer: nothing printed forbids further ones."""
    return {name: value for name, value in body.items() if name != "additionalProperties" or value is not False}
