"""Connections that could not be made, or broke, in words."""

import ssl
from collections.abc import Iterator

from gpuctl.kube.connection import Endpoint, load_httpx, without_password
from gpuctl.kube.errors import ApiFailure, Unavailable
from gpuctl.kube.refusals import placed, sentence
from gpuctl.kube.resources import Target


def connection_failure(place: Endpoint, error: Exception, asked: Target, *, sent: bool, repeatable: bool) -> ApiFailure:
    """The error for a connection that could not be made, or broke.

    Args:
        place: where it led to.
        error: what httpx said.
        asked: what was asked for.
        sent: whether the request can have reached the server.
        repeatable: whether it does not matter if it was done.
    """
    said = sentence(place.context, asked)
    server = without_password(place.server)
    causes = list(_causes(error))
    untrusted = next((each for each in causes if isinstance(each, ssl.SSLCertVerificationError)), None)
    if untrusted is not None:
        made = Unavailable(
            f"{said}: the certificate of {server} is not to be trusted",
            code="certificate-not-trusted",
            cause=untrusted.verify_message or str(untrusted),
            hint="check certificate-authority and tls-server-name of this cluster in the kubeconfig",
        )
        return placed(made, place.context, asked)
    tail = "" if repeatable else f"; {'whether it was done is unknown' if sent else 'nothing was changed'}"
    words = next((str(each) for each in reversed(causes) if str(each)), type(error).__name__)
    made = Unavailable(f"{said}: {_how(error)} {server}{tail}", cause=words, hint=f"kubectl --context {place.context} version")
    made.reached = sent
    return placed(made, place.context, asked)


def _causes(error: BaseException) -> Iterator[BaseException]:
    current: BaseException | None = error
    while current is not None:
        yield current
        current = current.__cause__ or current.__context__


def _how(error: Exception) -> str:
    library = load_httpx()
    if isinstance(error, library.ConnectTimeout):
        return "no connection in time to"
    if isinstance(error, library.ProxyError):
        return "the proxy did not lead to"
    if isinstance(error, library.ConnectError):
        return "no connection to"
    if isinstance(error, library.TimeoutException):
        return "no answer in time from"
    return "the connection broke to"
