"""Which pod a stream leads to."""

import dataclasses


@dataclasses.dataclass(frozen=True, kw_only=True)
class PodTarget:
    """One pod of one attempt of a job: one node's share of it.

    Attributes:
        uid: the pod's; a pod of the same name with another uid is somebody else. Empty: not known, any will do.
        node: index of this pod in its attempt.
        container: the container in which the job's program runs.
        ranks: global ranks that run in it, ascending.
        prefixed: whether an agent runs the ranks and puts ``[rank] `` before each of their lines. Otherwise all lines are the first rank's.
        before: init containers whose output is worth reading (setup, code), in their order; it belongs to the node's agent.
        host: the Kubernetes node, for people; None while it has none.
        task: array index.
        previous: read the container that ran before the present one (a container that was restarted in its pod).
    """

    namespace: str
    name: str
    container: str
    uid: str = ""
    node: int = 0
    ranks: tuple[int, ...] = (0,)
    prefixed: bool = False
    before: tuple[str, ...] = ()
    host: str | None = None
    task: int | None = None
    attempt: int = 1
    previous: bool = False

    @property
    def path(self) -> str:
        """The pod's URL path."""
        return f"/api/v1/namespaces/{self.namespace}/pods/{self.name}"

    @property
    def place(self) -> str:
        """The pod and where it is, for sentences."""
        return f"pod {self.name} on {self.host}" if self.host else f"pod {self.name}"
