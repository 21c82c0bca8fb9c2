"""What happens while others follow: objects that change, jobs, and what the ranks of a job say."""

import contextlib
import secrets
import threading
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from gpuctl.base.errors import GpuctlError
from gpuctl.kube.api import Api
from gpuctl.kube.errors import AlreadyExists, NotFound
from gpuctl.kube.objects.meta import Object
from gpuctl.kube.objects.pods import Pod
from gpuctl.kube.resources import CONFIG_MAPS, PODS
from gpuctl.model.ask import Submission
from gpuctl.model.job import Code, Job
from gpuctl.model.spec import JobSpec
from tests.integration.fake_kubelet import Ticks, printed_by

if TYPE_CHECKING:
    from typing_extensions import Self

T = TypeVar("T")
COUNTERS = 3
PATIENCE_S = 120.0


class Objects:
    """ConfigMaps that count up, one change a second, and others that pass: there for 15 seconds of every 30."""

    def __init__(self, api: Api) -> None:
        self.passed: set[str] = set()
        """Names of those that are gone."""
        self._api = api
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._change, daemon=True)

    def __enter__(self) -> "Self":
        for number in range(COUNTERS):
            insist(lambda name=f"counter-{number}": self._create(name))  # type: ignore[misc]
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        """Change nothing any more."""
        self._done.set()
        self._thread.join(PATIENCE_S)

    def there(self) -> dict[str, int]:
        """What each counts now, by name."""
        found = self._api.list(CONFIG_MAPS.path("default"), Object, params={"labelSelector": "steady=yes"})
        return {each.metadata.name: int(each.metadata.annotation("count")) for each in found}

    def _change(self) -> None:
        step = 0
        while not self._done.wait(1.0):
            step += 1
            insist(lambda at=step: self._count(f"counter-{at % COUNTERS}", -(-at // COUNTERS)))  # type: ignore[misc]
            passing = f"passing-{step // 30}"
            if step % 30 == 10:
                insist(lambda name=passing: self._create(name))  # type: ignore[misc]
            if step % 30 == 25:
                insist(lambda name=passing: self._delete(name))  # type: ignore[misc]
                self.passed.add(passing)

    def _create(self, name: str) -> None:
        meta = {"name": name, "labels": {"steady": "yes"}, "annotations": {"count": "0"}}
        with contextlib.suppress(AlreadyExists):  # an answer that was lost
            self._api.create(CONFIG_MAPS.path("default"), {"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta}, Object)

    def _count(self, name: str, count: int) -> None:
        self._api.patch(CONFIG_MAPS.path("default", name), {"metadata": {"annotations": {"count": str(count)}}}, Object)  # twice is once

    def _delete(self, name: str) -> None:
        with contextlib.suppress(NotFound):
            self._api.delete(CONFIG_MAPS.path("default", name))


def submission(plays: Mapping[str, str], **spec: Any) -> Submission:
    """A job that fake nodes play so."""
    annotations = {f"fake/{key}": value for key, value in plays.items()}
    patch = msgspec.json.encode({"metadata": {"annotations": annotations}}).decode()
    made = JobSpec(kind="command", command=("true",), pod_patch=patch, **{"gpus": 1, **spec})
    return Submission(spec=made, base_name="job", request_id=secrets.token_hex(8), environment={}, code=Code(workdir=""))


def said(api: Api, job: Job, *, ranks: int) -> dict[int, range]:
    """The ticks that each rank says until its end.

    Raises:
        NotFound: not all of them run yet.
    """
    found: dict[int, range] = {}
    for pod in api.list(PODS.path("default"), Pod, params={"labelSelector": f"gpuctl.io/job-id={job.id}"}):
        for ticks in printed_by(pod).values():
            if isinstance(ticks, Ticks):
                found |= dict.fromkeys(ticks.ranks, ticks.ticks)
    if len(found) < ranks:
        raise NotFound(f"{len(found)} of {ranks} ranks run", code="not-yet")
    return found


def insist(work: Callable[[], T]) -> T:
    """Do it again until the server is there to hear it, for ``PATIENCE_S``."""
    ends = time.monotonic() + PATIENCE_S
    while True:
        try:
            return work()
        except GpuctlError:
            if time.monotonic() > ends:
                raise
            time.sleep(1)
