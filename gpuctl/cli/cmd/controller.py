"""``gpuctl controller``: what the platform runs in a cluster."""

from gpuctl.cli.out import objects
from gpuctl.cli.result import Result, Text
from gpuctl.cli.session import Session
from gpuctl.cli.verb import Noun, Verb


def crds(session: Session) -> Result:
    """Print the definition of the kind PoolSchedule, for kubectl apply -f -.

    It is made from the same types that read a schedule file, and needs an API
    server of version 1.30 or later.
    """
    from gpuctl.controllers.manifests import definition

    return Text(text=objects.text([definition.definition()], session.output))


VERB = Noun(
    help="What the platform runs in a cluster: definitions and manifests.",
    verbs={
        "crds": Verb(run=crds, examples=("gpuctl controller crds | kubectl apply --server-side -f -",)),
    },
    default=None,
)
