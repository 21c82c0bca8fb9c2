"""``gpuctl controller windows``: the flags, signals and what one look prints."""

import signal
import threading
from collections.abc import Callable
from types import ModuleType
from typing import Annotated, Any, get_args

import typer

from gpuctl.base.errors import InvalidInput, Problem, UsageError, nearest
from gpuctl.base.exitcodes import ExitCode
from gpuctl.cli.result import Column, Done, Result, Rows
from gpuctl.cli.session import Session

Contexts = Annotated[
    list[str] | None, typer.Option("--context", metavar="CONTEXT", help="Kubeconfig context of a cluster (the current one). Repeatable.")
]
InCluster = Annotated[bool, typer.Option("--in-cluster", help="The cluster whose pod this is.")]
Kubeconfig = Annotated[str | None, typer.Option("--kubeconfig", metavar="FILE", help="Read this file instead of KUBECONFIG's.")]
ClusterName = Annotated[
    str | None, typer.Option("--cluster-name", metavar="NAME", help="What schedules call the cluster (the context's name).")
]
Namespace = Annotated[str, typer.Option("--namespace", metavar="NAME", help="Where the Lease is by which one replica leads.")]
GpuResources = Annotated[
    list[str] | None,
    typer.Option("--gpu-resource", metavar="NAME", help="Resource that is a GPU (nvidia.com/gpu, amd.com/gpu). Repeatable."),
]
NotifyUrl = Annotated[str | None, typer.Option("--notify-url", metavar="URL", help="POST every notification there, as JSON.")]
Listen = Annotated[str, typer.Option("--listen", metavar="ADDRESS", help="Serve /healthz, /readyz and /metrics there, or none.")]
LogFormat = Annotated[str, typer.Option("--log-format", metavar="FORMAT", help="Lines on stderr as text or json.")]
Once = Annotated[bool, typer.Option("--once", help="Look once, do what is due, and end.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Look once, print what is due, and change nothing.")]

_COLUMNS = (
    Column(name="CLUSTER", cell=lambda action, _: action.cluster),
    Column(name="ACTION", cell=lambda action, _: action.action),
    Column(name="OBJECT", cell=lambda action, _: action.about),
    Column(name="DETAIL", cell=lambda action, _: action.detail),
)


def windows(
    session: Session,
    context: Contexts = None,
    in_cluster: InCluster = False,
    kubeconfig: Kubeconfig = None,
    cluster_name: ClusterName = None,
    namespace: Namespace = "gpuctl-system",
    gpu_resource: GpuResources = None,
    notify_url: NotifyUrl = None,
    listen: Listen = ":8080",
    log_format: LogFormat = "text",
    once: Once = False,
    dry_run: DryRun = False,
) -> Result:
    """Hand the nodes of a cluster from team to team as its PoolSchedules say.

    Tells jobs when their window ends, lets nothing new start before that, evicts
    what is left, and gives the nodes to their next owner when they are empty;
    quotas of Kueue follow. Runs until SIGTERM or Ctrl-C. Several may run: one
    leads, the others stand by. May be stopped and started at any moment.
    """
    service = _service_module()
    wanted = service.Wanted(
        contexts=tuple(context or ()),
        in_cluster=in_cluster,
        kubeconfig=kubeconfig,
        cluster_name=cluster_name,
        namespace=namespace,
        gpu_resources=tuple(gpu_resource or service.GPU_RESOURCES),
        webhook=notify_url,
        listen=None if listen == "none" else listen,
        log_format=_log_format(log_format),
    )
    service.check(wanted)
    made = service.Service(wanted, env=session.env, log_to=session.err)
    if once or dry_run:
        from gpuctl.controllers.windows.actions import actions

        looked = made.look(dry_run=dry_run)
        found = [action for each in looked for action in actions(each.cluster, each.due)]
        behind = [each.cluster for each in looked if not each.well]
        if behind:
            session.say(f"warning: not all of this could be done on {', '.join(behind)}; the lines above say why, and another look goes on")
        return Rows(
            kind="WindowAction",
            items=found,
            columns=_COLUMNS,
            name=lambda action: f"{action.action}/{action.about}",
            empty="nothing is due: every node is as its schedule says, or no schedule is about any",
            code=ExitCode.FAILED if behind else ExitCode.OK,
        )
    made.run(_on_signals)
    return Done()


def _service_module() -> ModuleType:
    try:
        from gpuctl.controllers.windows import service
    except ModuleNotFoundError as error:
        if error.name is None or not error.name.startswith("prometheus_client"):
            raise
        raise UsageError(
            "cannot run a controller: this installation is without the extra controllers",
            code="extra-missing",
            cause=f"no module named {error.name}",
            hint="pipx install --force 'gpuctl-cli[controllers]'",
        ) from None
    return service


def _log_format(text: str) -> Any:
    from gpuctl.controllers.logs import Format

    allowed = get_args(Format)
    if text not in allowed:
        problem = Problem(
            field="--log-format", message="is no format", got=repr(text), allowed=", ".join(allowed), nearest=nearest(text, allowed)
        )
        raise InvalidInput("cannot run the controller", [problem])
    return text


def _on_signals(stop: Callable[[], None]) -> None:
    """SIGTERM and Ctrl-C end it in good order: the Lease is given back, so that the next replica goes on at once."""

    def handle(number: int, frame: object) -> None:
        # In a thread of its own: a handler may interrupt a thread that holds the very lock that stopping needs.
        threading.Thread(target=stop, daemon=True).start()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, handle)
