"""Claims of request ids: which place a job belongs to, one immutable Secret each, which the API server creates for exactly one of several.

A claim outlives its job: the same command given again next month must find out where the job went, not submit it anew.
"""

import base64
import hashlib

import msgspec

from gpuctl.base.errors import ConflictError
from gpuctl.clusters.kubernetes import names
from gpuctl.clusters.kubernetes.surroundings import Surroundings
from gpuctl.kube.errors import AlreadyExists
from gpuctl.kube.objects.meta import Object
from gpuctl.kube.resources import SECRETS


class ClaimSecret(msgspec.Struct, rename="camel"):
    """The Secret of a claim, as far as its data."""

    data: dict[str, str] = {}

    def value(self, key: str) -> str:
        """One value as text, ``""`` where it is missing."""
        return base64.b64decode(self.data.get(key, "")).decode(errors="replace")


def claim(around: Surroundings, request_id: str, *, digest: str, home: str) -> str:
    """The place that the first claim of ``request_id`` in the namespace named; ``home``, if this is the first.

    Raises:
        ConflictError: ``request-id-used``, the first one was for something else.
        GpuctlError: the cluster does not answer, or Secrets may not be created.
    """
    name = f"gpuctl-claim-{hashlib.sha256(request_id.encode()).hexdigest()[:32]}"
    body = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {
            "name": name,
            "namespace": around.namespace,
            "labels": {names.MANAGED_BY: names.MANAGER, names.PART: "claim"},
            "annotations": {names.REQUEST_ID: request_id},
        },
        "type": "gpuctl.io/claim",
        "immutable": True,
        "stringData": {"digest": digest, "home": home},
    }
    try:
        around.api.create(SECRETS.path(around.namespace), body, Object)
    except AlreadyExists:
        known = around.api.get(SECRETS.path(around.namespace, name), ClaimSecret)
        if known.value("digest") != digest:
            raise ConflictError(
                f"cannot use request id {request_id} again: it was used for something else",
                code="request-id-used",
                hint="take another --request-id",
            ) from None
        return known.value("home") or home
    return home
