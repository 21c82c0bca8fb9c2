"""``gpuctl controller``: what the platform runs in a cluster."""

import re
from collections.abc import Iterator
from typing import Annotated

import typer

import gpuctl
from gpuctl.base import names
from gpuctl.base.errors import InvalidInput, Problem, UsageError
from gpuctl.cli import controlling
from gpuctl.cli.out import objects
from gpuctl.cli.result import Result, Text
from gpuctl.cli.session import Session
from gpuctl.cli.verb import Noun, Verb

Image = Annotated[str | None, typer.Option("--image", metavar="IMAGE", help="Image that holds gpuctl-cli[controllers].")]
Namespace = Annotated[str, typer.Option("--namespace", metavar="NAME", help="Namespace of the controller itself.")]
Replicas = Annotated[int, typer.Option("--replicas", metavar="N", help="How many run: one works, the others stand by.")]
ClusterName = Annotated[
    str | None, typer.Option("--cluster-name", metavar="NAME", help="What this cluster is called in schedules that name clusters.")
]
WithoutAdmission = Annotated[bool, typer.Option("--without-admission", help="Leave out the admission policies.")]
GpuResources = Annotated[
    list[str] | None,
    typer.Option("--gpu-resource", metavar="NAME", help="Resource that is a GPU to the policies, * for any characters. Repeatable."),
]

_LABEL = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\Z")
_LABEL_ALLOWED = "lower-case letters, digits and '-', beginning and ending with a letter or digit, at most 63 characters"
_IMAGE = re.compile(r"[a-z0-9][\w.-]*(:[0-9]+)?(/[a-z0-9][\w.-]*)*(:\w[\w.-]{0,127})?(@sha256:[0-9a-f]{64})?\Z", re.ASCII)
_RESOURCE = re.compile(r"[A-Za-z0-9.-]+/[A-Za-z0-9._*-]+\Z")
_MOST_REPLICAS = 9
_OF_THE_CLUSTER = ("default", "kube-system", "kube-public", "kube-node-lease")


def crds(session: Session) -> Result:
    """Print the definition of the kind PoolSchedule, for kubectl apply -f -.

    It is made from the same types that read a schedule file, and needs an API
    server of version 1.30 or later.
    """
    from gpuctl.controllers.manifests import definition

    return Text(text=objects.text([definition.definition()], session.output))


def manifests(
    session: Session,
    image: Image = None,
    namespace: Namespace = "gpuctl-system",
    replicas: Replicas = 2,
    cluster_name: ClusterName = None,
    without_admission: WithoutAdmission = False,
    gpu_resource: GpuResources = None,
) -> Result:
    """Print what runs the window controller in a cluster, for kubectl apply -f -.

    Namespace, definition, account and rights, Deployment, Service for metrics,
    disruption budget, a priority class for pods that may be stopped, and the
    admission policies that keep owners' tolerations and gpuctl's labels to
    those who may use them. The same options print the same text, so it can be
    a resource of a kustomization.
    """
    from gpuctl.controllers.manifests.installation import GPU_RESOURCES, Installation
    from gpuctl.controllers.manifests.installation import objects as installed

    problems = list(_problems(image, namespace, replicas, cluster_name, gpu_resource or []))
    if problems:
        raise InvalidInput("cannot print manifests", problems)
    if image is None:
        raise UsageError(
            "cannot print manifests: --image is missing",
            code="no-image",
            cause="gpuctl publishes no image; any with Python and gpuctl-cli[controllers] will do",
            hint=f"printf 'FROM python:3.13-slim\\nRUN pip install gpuctl-cli[controllers]=={gpuctl.__version__}\\nUSER 65532\\n' | "
            f"docker build -t REGISTRY/gpuctl:{gpuctl.__version__} -",
        )
    wanted = Installation(
        image=image,
        namespace=namespace,
        replicas=replicas,
        cluster_name=cluster_name,
        admission=not without_admission,
        gpu_resources=tuple(gpu_resource or GPU_RESOURCES),
    )
    return Text(text=objects.text(installed(wanted), session.output))


def _problems(image: str | None, namespace: str, replicas: int, cluster_name: str | None, gpu_resources: list[str]) -> Iterator[Problem]:
    if image is not None and not _IMAGE.match(image):
        yield Problem(field="--image", message="is no image", got=repr(image), allowed="REGISTRY/NAME:TAG, or with @sha256:DIGEST")
    if not _LABEL.match(namespace):
        near = names.suggestion(namespace)
        yield Problem(field="--namespace", message="is no name of a namespace", got=repr(namespace), allowed=_LABEL_ALLOWED, nearest=near)
    elif namespace in _OF_THE_CLUSTER:
        yield Problem(field="--namespace", message="is the cluster's own", got=repr(namespace), allowed="one for the controller alone")
    if not 1 <= replicas <= _MOST_REPLICAS:
        yield Problem(field="--replicas", message="is out of range", got=str(replicas), allowed=f"1 to {_MOST_REPLICAS}")
    if cluster_name is not None and (not cluster_name.isprintable() or not cluster_name.strip() or cluster_name.startswith("-")):
        yield Problem(field="--cluster-name", message="is no name", got=repr(cluster_name), allowed="the name that schedules use")
    for each in gpu_resources:
        if not _RESOURCE.match(each):
            allowed = "DOMAIN/NAME such as nvidia.com/gpu or nvidia.com/mig-*"
            yield Problem(field="--gpu-resource", message="is no name of a resource", got=repr(each), allowed=allowed)


VERB = Noun(
    help="What the platform runs in a cluster: the window controller, definitions and manifests.",
    verbs={
        "windows": Verb(
            run=controlling.windows,
            examples=(
                "gpuctl controller windows --context res-a --dry-run   what is due now",
                "gpuctl controller windows --context res-a             switch its nodes",
            ),
        ),
        "crds": Verb(run=crds, examples=("gpuctl controller crds | kubectl apply --server-side -f -",)),
        "manifests": Verb(
            run=manifests,
            examples=(
                "gpuctl controller manifests --image REGISTRY/gpuctl:0.1 > windows.yaml",
                "kubectl apply --server-side -f windows.yaml",
            ),
        ),
    },
    default=None,
)
