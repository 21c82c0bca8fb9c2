"""What every call of one cluster needs: the door to its API, the options, and what discovery found there."""

import threading
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, TypeVar

from gpuctl.base import clock
from gpuctl.base.errors import GpuctlError
from gpuctl.base.once import once
from gpuctl.clusters.kubernetes.observe.translate import Place
from gpuctl.clusters.kubernetes.options import Options
from gpuctl.kube import resources
from gpuctl.kube.api import Api
from gpuctl.kube.discovery import Discovery
from gpuctl.kube.errors import Forbidden, NotFound
from gpuctl.kube.objects.core import Namespace
from gpuctl.kube.objects.kueue import LocalQueue
from gpuctl.kube.resources import Resource

if TYPE_CHECKING:
    from gpuctl.clusters.kubernetes.inventory import Inventory

T = TypeVar("T")
A = TypeVar("A")

KINDS: tuple[Resource, ...] = (
    resources.JOBS,
    resources.JOB_SETS,
    resources.TRAIN_JOBS,
    resources.PYTORCH_JOBS,
    resources.RAY_JOBS,
)
"""Every kind of object that may be a job."""
GPU_RESOURCES = ("nvidia.com/gpu", "amd.com/gpu")
KUEUE = "kueue.x-k8s.io"
_AGREEING_SECONDS = 5.0
_MOMENT_SECONDS = 3.0
"""No operator is installed and noticed in less; so nobody looks twice in a row."""
VISIBILITY = "visibility.kueue.x-k8s.io"


class Surroundings:
    """One context, opened when it is first needed.

    Args:
        name: the cluster's name in the profile.
        options: its options.
        open_api: makes the door; called once.
        user: whose jobs are launched here.
    """

    def __init__(self, name: str, options: Options, *, open_api: Callable[[], Api], user: str) -> None:
        self.name = name
        self.options = options
        self.user = user
        self._open_api = open_api
        self._lock = threading.Lock()
        self._opened: Api | None = None
        self.shown: tuple[float, Inventory] | None = None
        """What nodes and room there were when they were last shown, and the instant of ``time.monotonic``."""

    @property
    def api(self) -> Api:
        """The door. Reads the kubeconfig on first use."""
        with self._lock:
            if self._opened is None:
                self._opened = self._open_api()
            return self._opened

    @property
    def namespace(self) -> str:
        """Where jobs live."""
        return self.api.namespace

    @once
    def discovery(self) -> Discovery:
        """What is installed there, at most some minutes old."""
        return self.api.discovery()

    def look_again(self) -> None:
        """Ask what is installed there now, whatever was known before."""
        found = self.api.discovery(fresh=True)
        for name in ("discovery", "kinds", "workloads", "queues"):
            self.__dict__.pop(name, None)
        self.__dict__["discovery"] = found

    def looked_again(self) -> bool:
        """Look again before something is refused that may have been installed since; False when what is known is of this very moment."""
        if abs(clock.now().timestamp() - self.discovery.at) < _MOMENT_SECONDS:
            return False
        self.look_again()
        return True

    @once
    def kinds(self) -> tuple[Resource, ...]:
        """The kinds of job objects that are served."""
        return tuple(kind for kind in KINDS if kind.group == "batch" or self.discovery.has(kind))

    @once
    def workloads(self) -> Resource | None:
        """Kueue's workloads in the version that is served."""
        return self.discovery.find(KUEUE, "workloads", versions=("v1beta2", "v1beta1"))

    def kueue(self, plural: str) -> Resource | None:
        """A kind of Kueue in the version that is served, None without Kueue."""
        return self.discovery.find(KUEUE, plural, versions=("v1beta2", "v1beta1"))

    @once
    def queues(self) -> tuple[str, ...] | None:
        """The LocalQueues of the namespace; None when they could not be read."""
        kind = self.kueue("localqueues")
        if kind is None:
            return ()
        try:
            return tuple(each.metadata.name for each in self.api.list(kind.path(self.namespace), LocalQueue))
        except Forbidden:
            return (self.options.queue,) if self.options.queue else None
        except NotFound:
            return ()

    @once
    def team(self) -> str | None:
        """The profile's team, else the namespace's label; None where neither is there or may be read."""
        if self.options.team is not None:
            return self.options.team
        from gpuctl.clusters.kubernetes import names

        try:
            return self.api.get(resources.NAMESPACES.path(name=self.namespace), Namespace).metadata.label(names.TEAM) or None
        except (Forbidden, NotFound):
            return None

    @property
    def owner_name(self) -> str | None:
        """The team as labels and taints of nodes spell an owner."""
        from gpuctl.clusters.kubernetes import names

        return (names.label_value(self.team) or None) if self.team is not None else None

    @property
    def clock_ahead(self) -> float:
        """Seconds by which the API server's clock is ahead of ours; 0 where the two agree as well as whole seconds tell."""
        skew = self.api.clock_skew()
        return skew if abs(skew) > _AGREEING_SECONDS else 0.0

    def now(self) -> datetime:
        """The present instant by the API server's clock, by which whoever switches nodes goes."""
        return clock.now() + timedelta(seconds=self.clock_ahead)

    @once
    def uid(self) -> str:
        """The UID of kube-system; the server's address where that may not be read."""
        try:
            return self.api.get(resources.NAMESPACES.path(name="kube-system"), Namespace).metadata.uid
        except (Forbidden, NotFound):
            return f"server-{self.api.server}"

    @property
    def gpu_resources(self) -> tuple[str, ...]:
        """What GPUs are called there."""
        return (self.options.gpu_resource,) if self.options.gpu_resource else GPU_RESOURCES

    @property
    def place(self) -> Place:
        """For translations."""
        return Place(cluster=self.name, namespace=self.namespace, gpu_resource=self.gpu_resources[0], tier=self.options.tier)

    def close(self) -> None:
        """Close connections; used again, it opens anew."""
        with self._lock:
            opened, self._opened = self._opened, None
        if opened is not None:
            opened.close()


def together(question: Callable[[A], T], asked: Sequence[A]) -> list[T | GpuctlError]:
    """Ask several things at once, a thread each; the answers, or the error of each, in the order of ``asked``."""
    answers: dict[int, T | GpuctlError] = {}
    unexpected: list[BaseException] = []

    def ask(position: int) -> None:
        try:
            answers[position] = question(asked[position])
        except GpuctlError as error:
            answers[position] = error
        except BaseException as error:
            unexpected.append(error)

    threads = [threading.Thread(target=ask, args=(position,), daemon=True) for position in range(1, len(asked))]
    for thread in threads:
        thread.start()
    if asked:
        ask(0)
    for thread in threads:
        thread.join()
    if unexpected:
        raise unexpected[0]
    return [answers[position] for position in range(len(asked))]


def chunks(items: Iterable[str], size: int) -> list[list[str]]:
    """The items in lists of at most ``size``."""
    every = list(items)
    return [every[start : start + size] for start in range(0, len(every), size)]
