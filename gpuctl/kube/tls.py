"""TLS to an API server: whom we trust, and the certificate we show.

Python reads client certificates only from files; what a kubeconfig holds inline, or a plugin hands out, passes through an anonymous
memory file where the system has them, else through a file only we can read that is gone again at once.
"""

import os
import socket
import ssl
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from gpuctl.base.errors import AuthError, InvalidInput


class _Named(ssl.SSLContext):
    """A context that expects one name of every server, whatever the URL says; httpcore has no other way to say so behind a proxy."""

    expected: str | None = None

    def wrap_socket(  # type: ignore[override]
        self, sock: socket.socket, *, server_hostname: "str | bytes | None" = None, **more: Any
    ) -> ssl.SSLSocket:
        return super().wrap_socket(sock, **more, server_hostname=self.expected or server_hostname)

    def wrap_bio(  # type: ignore[override]
        self, incoming: ssl.MemoryBIO, outgoing: ssl.MemoryBIO, *, server_hostname: "str | bytes | None" = None, **more: Any
    ) -> ssl.SSLObject:
        return super().wrap_bio(incoming, outgoing, **more, server_hostname=self.expected or server_hostname)


def context(
    *,
    authority: bytes | None,
    insecure: bool,
    server_name: str | None = None,
    certificate: bytes | None = None,
    key: bytes | None = None,
) -> ssl.SSLContext:
    """A client's context.

    Args:
        authority: PEM of the certificates to trust instead of the system's.
        insecure: trust anybody, as the kubeconfig asks for.
        server_name: the name to expect instead of the URL's.
        certificate: PEM of our certificate with its chain; needs ``key``.
        key: PEM of its private key, not encrypted.

    Raises:
        InvalidInput: ``authority`` is no PEM certificate.
        AuthError: certificate and key do not fit, or cannot be read.
    """
    # Not create_default_context: since Python 3.13 it insists on extensions that the authorities of many clusters lack and that no
    # other Kubernetes client asks for.
    made = _Named(ssl.PROTOCOL_TLS_CLIENT)
    made.expected = server_name
    try:
        if authority:
            made.load_verify_locations(cadata=authority.decode("ascii"))
        else:
            made.load_default_certs()
    except (ssl.SSLError, ValueError) as error:
        raise InvalidInput(
            "the cluster's certificate-authority is not a PEM certificate", (), code="bad-kubeconfig", cause=str(error)
        ) from None
    if insecure:
        made.check_hostname = False
        made.verify_mode = ssl.CERT_NONE
    if certificate is not None:
        _show(made, certificate, key or b"")
    return made


def _show(made: ssl.SSLContext, certificate: bytes, key: bytes) -> None:
    def encrypted() -> str:
        raise AuthError(
            "the client key in the kubeconfig is encrypted; it has to be readable without a password", code="bad-client-certificate"
        )

    try:
        with _as_file(certificate + b"\n" + key) as path:
            made.load_cert_chain(path, password=encrypted)
    except (ssl.SSLError, OSError) as error:
        raise AuthError("the client certificate cannot be used with its key", code="bad-client-certificate", cause=str(error)) from None


@contextmanager
def _as_file(content: bytes) -> Iterator[str]:
    if hasattr(os, "memfd_create"):
        descriptor = os.memfd_create("client-certificate", os.MFD_CLOEXEC)
        try:
            os.write(descriptor, content)
            yield f"/proc/self/fd/{descriptor}"
        finally:
            os.close(descriptor)
        return
    with tempfile.NamedTemporaryFile(prefix="gpuctl-") as file:  # created with mode 0600
        file.write(content)
        file.flush()
        yield file.name
