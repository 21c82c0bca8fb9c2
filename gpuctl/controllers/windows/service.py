"""Running window controllers: one for each cluster, in one process that tells its health and is ended by a signal."""

import secrets
import socket
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import TextIO

import msgspec

from gpuctl.base.errors import GpuctlError, UsageError
from gpuctl.clusters.kubernetes.surroundings import GPU_RESOURCES
from gpuctl.controllers import serving
from gpuctl.controllers.logs import Format, Log
from gpuctl.controllers.windows.controller import Controller, Election
from gpuctl.controllers.windows.look import Settings
from gpuctl.controllers.windows.metrics import Metrics
from gpuctl.controllers.windows.oneshot import Looked, once
from gpuctl.kube.api import Api, Timeouts, open_api
from gpuctl.kube.objects.meta import Object
from gpuctl.kube.opening import IN_CLUSTER
from gpuctl.kube.resources import NAMESPACES

TIMEOUTS = Timeouts(connect=5.0, read=20.0, call=20.0, retries=1)
"""Short: whatever fails is tried again by the next look, and a leader has ten seconds to renew."""


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """What was asked for.

    Attributes:
        contexts: of the kubeconfig, one cluster each; empty: the current one.
        in_cluster: the cluster whose pod this is, instead.
        kubeconfig: a file to read instead of KUBECONFIG's.
        cluster_name: what schedules call the cluster; None: the context's name.
        namespace: of the Leases.
        gpu_resources: what GPUs are called there.
        webhook: gets every notification.
        listen: where health and metrics are served, None for nowhere.
        log_format: of the log's lines.
    """

    contexts: tuple[str, ...] = ()
    in_cluster: bool = False
    kubeconfig: str | None = None
    cluster_name: str | None = None
    namespace: str = "gpuctl-system"
    gpu_resources: tuple[str, ...] = GPU_RESOURCES
    webhook: str | None = None
    listen: str | None = ":8080"
    log_format: Format = "text"


class Service:
    """The controllers of one process.

    Args:
        wanted: see there.
        env: KUBECONFIG, HOME and the proxy variables are read from it.
        log_to: where lines of the log go.

    Raises:
        GpuctlError: a context is not there, or its credentials cannot be used.
    """

    def __init__(self, wanted: Wanted, *, env: Mapping[str, str], log_to: TextIO) -> None:
        self._wanted = wanted
        self._log = Log(wanted.log_format, out=log_to)
        self._metrics = Metrics()
        self._failed: BaseException | None = None
        contexts: Sequence[str | None] = (IN_CLUSTER,) if wanted.in_cluster else wanted.contexts or (None,)
        self._apis = [open_api(each, env=env, timeouts=TIMEOUTS, kubeconfig=wanted.kubeconfig) for each in contexts]
        self._controllers: list[Controller] = []

    def look(self, *, dry_run: bool) -> list[Looked]:
        """Look at every cluster once.

        Raises:
            ApiFailure: a cluster cannot be read.
            ConflictError: ``another-leads``.
        """
        try:
            self._distinct()
            return [once(*self._parts(api), metrics=self._metrics, dry_run=dry_run) for api in self._apis]
        finally:
            self._close()

    def run(self, on_stop: Callable[[Callable[[], None]], None]) -> None:
        """Run until told to stop. ``on_stop`` is given the function that tells it.

        Raises:
            UsageError: the address is taken, or is none; two contexts lead to one cluster.
            BaseException: what ended a controller that should have gone on.
        """
        self._distinct()
        self._controllers = [Controller(*self._parts(api), metrics=self._metrics) for api in self._apis]
        server = None
        if self._wanted.listen is not None:
            where = serving.address(self._wanted.listen)
            server = serving.Server(where, registry=self._metrics.registry, alive=self._alive, ready=self._ready)
            self._log.info("listening", port=server.port)
        on_stop(self._stop)
        threads = [threading.Thread(target=self._guarded, args=(each,), name="controller") for each in self._controllers]
        try:
            for thread in threads:
                thread.start()
            for thread in threads:
                while thread.is_alive():  # a join without end would keep signals from being handled
                    thread.join(0.5)
        finally:
            self._stop()
            if server is not None:
                server.close()
            self._close()
        if self._failed is not None:
            raise self._failed

    def _guarded(self, one: Controller) -> None:
        """Run a controller; its end by a fault of ours ends the process, so that whoever keeps it starts another."""
        try:
            one.run()
        except BaseException as error:
            self._failed = error
            self._log.error("a controller has died", why=f"{type(error).__name__}: {error}")
            self._stop()

    def _distinct(self) -> None:
        """See that no two contexts are one cluster: their controllers would fight over its nodes."""
        if len(self._apis) < 2:
            return
        seen: dict[str, str] = {}
        for api in self._apis:
            try:
                uid = api.get(NAMESPACES.path(name="kube-system"), Object).metadata.uid
            except GpuctlError:  # not to be seen, or away now: the others must not wait for it
                uid = api.server
            if uid in seen:
                raise UsageError(f"contexts {seen[uid]} and {api.context} are one cluster: name one of them", code="same-cluster")
            seen[uid] = api.context

    def _close(self) -> None:
        for api in self._apis:
            api.close()

    def _stop(self) -> None:
        for each in self._controllers:
            each.stop()

    def _alive(self) -> str | None:
        return next((wrong for each in self._controllers if (wrong := each.alive())), None)

    def _ready(self) -> str | None:
        return next((wrong for each in self._controllers if (wrong := each.ready())), None)

    def _name(self, api: Api) -> str:
        return self._wanted.cluster_name or api.context

    def _parts(self, api: Api) -> tuple[Api, Settings, Election, Log]:
        settings = Settings(cluster=self._name(api), gpu_resources=self._wanted.gpu_resources, webhook=self._wanted.webhook)
        election = Election(namespace=self._wanted.namespace, identity=f"{socket.gethostname()}-{secrets.token_hex(4)}")
        return api, settings, election, self._log.bound(cluster=settings.cluster)


def check(wanted: Wanted) -> None:
    """See that what was asked for goes together.

    Raises:
        UsageError: ``bad-flags``, ``bad-address``, ``bad-url``.
    """
    if wanted.in_cluster and (wanted.contexts or wanted.kubeconfig):
        raise UsageError("--in-cluster cannot be given together with --context or --kubeconfig", code="bad-flags")
    if wanted.cluster_name is not None and len(wanted.contexts) > 1:
        raise UsageError("--cluster-name names one cluster, and there are several --context", code="bad-flags")
    if len(set(wanted.contexts)) < len(wanted.contexts):
        raise UsageError("a --context is given twice", code="bad-flags")
    if wanted.webhook is not None and not wanted.webhook.startswith(("http://", "https://")):
        raise UsageError(f"--notify-url {wanted.webhook} is no http or https URL", code="bad-url")
    if wanted.listen is not None:
        serving.address(wanted.listen)
