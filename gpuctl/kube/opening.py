"""From a context's name to a transport: which files, which cluster, which credentials. Nothing is sent from here."""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

from gpuctl.base.errors import NotFoundError
from gpuctl.kube import kubeconfig as files
from gpuctl.kube.connection import Connection, Endpoint
from gpuctl.kube.credentials import Credential, Credentials, Fixed, TokenFile
from gpuctl.kube.execplugin import ExecCredentials, Plugin, cluster_info
from gpuctl.kube.plugincache import PluginCache
from gpuctl.kube.proxies import proxy_for
from gpuctl.kube.transport import Trace, Transport

if TYPE_CHECKING:
    from gpuctl.kube.api import Timeouts

IN_CLUSTER = "in-cluster"
SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")


def open_transport(
    context: str | None,
    *,
    env: Mapping[str, str],
    timeouts: "Timeouts",
    trace: Trace | None,
    interactive: bool,
    kubeconfig: str | None,
    service_account: Path = SERVICE_ACCOUNT,
) -> tuple[Transport, Endpoint]:
    """See :func:`gpuctl.kube.api.open_api`."""
    cache = cache_directory(env)
    if context == IN_CLUSTER:
        endpoint, credentials = _of_the_pod(env, service_account)
    else:
        paths = [Path(kubeconfig).expanduser()] if kubeconfig else files.locations(env)
        try:
            chosen = files.load(paths).choose(context)
        except NotFoundError as error:
            if error.code != "no-kubeconfig" or context or kubeconfig or "KUBERNETES_SERVICE_HOST" not in env:
                raise
            endpoint, credentials = _of_the_pod(env, service_account)
        else:
            endpoint, credentials = _of_a_context(chosen, env=env, cache=cache, interactive=interactive)
    # Two contexts may bear one name in two files; the server tells their discovery apart.
    place = hashlib.sha256(f"{endpoint.context}\n{endpoint.server}".encode()).hexdigest()[:24]
    transport = Transport(Connection(endpoint, credentials), timeouts=timeouts, trace=trace, cache=cache / "discovery" / f"{place}.json")
    return transport, endpoint


def cache_directory(env: Mapping[str, str]) -> Path:
    """Where what is learnt of clusters may be kept: ``$XDG_CACHE_HOME/gpuctl/kube``."""
    base = env.get("XDG_CACHE_HOME") or ""
    home = Path(env.get("HOME") or Path.home())
    return (Path(base) if base.startswith("/") else home / ".cache") / "gpuctl" / "kube"


def _of_a_context(chosen: files.Chosen, *, env: Mapping[str, str], cache: Path, interactive: bool) -> tuple[Endpoint, Credentials]:
    cluster, user = chosen.cluster, chosen.user
    authority = None
    if not cluster.insecure_skip_tls_verify:
        authority = files.material(
            cluster.certificate_authority_data, cluster.certificate_authority, chosen.cluster_directory, field="certificate-authority"
        )
    server = cluster.server if "://" in cluster.server else f"https://{cluster.server}"
    endpoint = Endpoint(
        context=chosen.name,
        namespace=chosen.context.namespace,
        server=server.rstrip("/"),
        authority=authority,
        insecure=cluster.insecure_skip_tls_verify,
        server_name=cluster.tls_server_name or None,
        proxy=proxy_for(server, configured=cluster.proxy_url or None, env=env),
        compressed=not cluster.disable_compression,
        headers=_impersonation(user),
    )
    certificate = files.material(user.client_certificate_data, user.client_certificate, chosen.user_directory, field="client-certificate")
    key = files.material(user.client_key_data, user.client_key, chosen.user_directory, field="client-key") if certificate else None
    base = Credential(certificate=certificate, key=key)
    return endpoint, _credentials(chosen, base, authority, env=env, cache=cache, interactive=interactive)


def _credentials(
    chosen: files.Chosen, base: Credential, authority: bytes | None, *, env: Mapping[str, str], cache: Path, interactive: bool
) -> Credentials:
    """Client-go's order: a token file, a token, a password; then plugins; a certificate goes with any of them."""
    user = chosen.user
    if user.token_file:
        return TokenFile(chosen.user_directory / Path(user.token_file).expanduser(), base=base)
    if user.token:
        return Fixed(Credential(authorization=f"Bearer {user.token}", certificate=base.certificate, key=base.key))
    if user.username:
        return Fixed(Credential(authorization=_basic(user.username, user.password), certificate=base.certificate, key=base.key))
    if user.exec is not None:
        plugin = Plugin(
            context=chosen.name,
            spec=user.exec,
            directory=chosen.user_directory,
            cluster=cluster_info(chosen, authority),
            env=env,
            interactive=interactive,
        )
        identity = [user.exec, chosen.cluster.server, plugin.command, env.get("HOME", "")]
        return ExecCredentials(plugin, cache=PluginCache(cache / "credentials", identity=identity), base=base)
    if user.auth_provider is not None:
        from gpuctl.kube.authprovider import AuthProviderCredentials

        return AuthProviderCredentials(chosen, base=base)
    return Fixed(base)


def _of_the_pod(env: Mapping[str, str], directory: Path) -> tuple[Endpoint, Credentials]:
    host, port = env.get("KUBERNETES_SERVICE_HOST", ""), env.get("KUBERNETES_SERVICE_PORT", "443")
    if not host:
        raise NotFoundError(
            "this is not a pod of a cluster: KUBERNETES_SERVICE_HOST is not set", code="no-such-context", hint="name a kubeconfig context"
        )
    authority = files.material("", "ca.crt", directory, field="certificate-authority")
    try:
        namespace = (directory / "namespace").read_text("utf-8").strip()
    except OSError:
        namespace = ""
    server = f"https://[{host}]:{port}" if ":" in host else f"https://{host}:{port}"
    return Endpoint(context=IN_CLUSTER, namespace=namespace, server=server, authority=authority), TokenFile(directory / "token")


def _impersonation(user: files.User) -> tuple[tuple[str, str], ...]:
    """The headers of ``as`` and what goes with it; keys of extra values are percent-encoded, as the API server expects."""
    headers = [("Impersonate-User", user.as_), ("Impersonate-Uid", user.as_uid)]
    headers += [("Impersonate-Group", group) for group in user.as_groups or ()]
    headers += [
        (f"Impersonate-Extra-{quote(key.lower(), safe='')}", each) for key, values in (user.as_user_extra or {}).items() for each in values
    ]
    return tuple((name, value) for name, value in headers if value)


def _basic(name: str, password: str) -> str:
    import base64

    return f"Basic {base64.b64encode(f'{name}:{password}'.encode()).decode()}"
