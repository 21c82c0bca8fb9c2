"""What a person needs to be allowed by others: for clusters that have administrators."""

from typing import Protocol, runtime_checkable


@runtime_checkable
class Granting(Protocol):
    """A cluster that can say which rights it needs. Optional: a machine needs none."""

    def rbac(self) -> str:
        """The rules for a scientist and for an operator, as a document that an administrator can apply. Never talks to anything."""
        ...
