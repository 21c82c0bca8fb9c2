"""What every object has: metadata, owners, conditions."""

from datetime import datetime
from typing import Any

import msgspec


class OwnerReference(msgspec.Struct, rename="camel", gc=False):
    """Whose object it is."""

    api_version: str = ""
    kind: str = ""
    name: str = ""
    uid: str = ""
    controller: bool | None = None


class Meta(msgspec.Struct, rename="camel", gc=False):
    """An object's metadata."""

    name: str = ""
    namespace: str = ""
    uid: str = ""
    resource_version: str = ""
    generation: int = 0
    creation_timestamp: datetime | None = None
    deletion_timestamp: datetime | None = None
    labels: dict[str, str] | None = None
    annotations: dict[str, str] | None = None
    owner_references: list[OwnerReference] | None = None
    finalizers: list[str] | None = None

    def label(self, name: str) -> str:
        """The label's value, or ``""``."""
        return (self.labels or {}).get(name, "")

    def annotation(self, name: str) -> str:
        """The annotation's value, or ``""``."""
        return (self.annotations or {}).get(name, "")


class Condition(msgspec.Struct, rename="camel", gc=False):
    """One condition. They are a map in no order: the newest is the one with the latest ``last_transition_time``."""

    type: str = ""
    status: str = ""
    reason: str = ""
    message: str = ""
    last_transition_time: datetime | None = None


class Object(msgspec.Struct, rename="camel", gc=False):
    """Any object, as far as its metadata."""

    api_version: str = ""
    kind: str = ""
    metadata: Meta = msgspec.field(default_factory=Meta)


Quantities = dict[str, str | int]
"""A resource list: ``{"cpu": "500m", "nvidia.com/gpu": "8"}``. An API server writes strings; custom resources also keep numbers."""

IntOrString = int | str
Document = dict[str, Any]
"""Something we only hand on."""


def condition(conditions: "list[Condition] | None", kind: str) -> Condition | None:
    """The condition of this type, the latest when there are several."""
    found = [each for each in conditions or () if each.type == kind]
    return max(found, key=lambda each: each.last_transition_time.timestamp() if each.last_transition_time else 0.0) if found else None


def is_true(conditions: "list[Condition] | None", kind: str) -> bool:
    """Whether the condition is there and True."""
    found = condition(conditions, kind)
    return found is not None and found.status == "True"
