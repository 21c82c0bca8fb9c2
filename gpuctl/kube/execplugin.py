"""Credential plugins: programs that a kubeconfig names to get a token or certificate (``client.authentication.k8s.io`` v1 and v1beta1).

A plugin that is missing, fails, hangs or prints something else is an :class:`~gpuctl.base.errors.AuthError` that names it; there is no
request without credentials. What it gave is kept until it says it ends, in memory and in a cache only we can read.
Source: the Kubernetes documentation, "client-go credential plugins".
"""

import base64
import dataclasses
import os
import threading
import time
from collections.abc import Callable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

import msgspec

from gpuctl.base.errors import AuthError
from gpuctl.kube.credentials import Credential
from gpuctl.kube.kubeconfig import Chosen, Exec
from gpuctl.kube.plugincache import Kept, PluginCache
from gpuctl.kube.pluginprocess import LIMIT_S, Ended, run
from gpuctl.model import decoding

GROUP = "client.authentication.k8s.io"
VERSIONS = (f"{GROUP}/v1", f"{GROUP}/v1beta1")
EARLY_S = 30.0
"""How long before its end a credential is no longer used: the request has to arrive in time, and clocks differ."""
BELIEVED_S = 10.0
"""How long a failure counts for whoever asks next: several requests of one command shall not each wait for a plugin that hangs."""
CONFIG_EXTENSION = f"{GROUP}/exec"


class _CredentialStatus(msgspec.Struct, rename="camel"):
    token: str = ""
    client_certificate_data: str = ""
    client_key_data: str = ""
    expiration_timestamp: datetime | None = None


class _ExecCredential(msgspec.Struct, rename="camel"):
    kind: str = ""
    api_version: str = ""
    status: _CredentialStatus | None = None


@dataclasses.dataclass(frozen=True, kw_only=True)
class Plugin:
    """A plugin and how to run it.

    Attributes:
        context: whose credentials it gives.
        spec: as the kubeconfig says.
        directory: of the kubeconfig; a command with a slash in it is relative to it.
        cluster: what ``provideClusterInfo`` tells the plugin.
        env: the environment it inherits.
        interactive: whether there is a person at a terminal.
    """

    context: str
    spec: Exec
    directory: Path
    cluster: Mapping[str, Any]
    env: Mapping[str, str]
    interactive: bool

    @property
    def command(self) -> str:
        """What is executed: a path, or a name to be found on PATH."""
        given = self.spec.command
        return str(self.directory / given) if "/" in given and not os.path.isabs(given) else given

    def talks(self) -> bool:
        """Whether it gets our stdin.

        Raises:
            AuthError: it must be able to ask a person, and there is none; or its mode or version is unknown.
        """
        mode = self.spec.interactive_mode or "IfAvailable"
        if mode not in {"Never", "IfAvailable", "Always"}:
            raise self.error(f"interactiveMode {mode} is unknown")
        if mode == "Always" and not self.interactive:
            raise self.error("it has to ask a person, and stdin is not a terminal", hint=f"run {self.spec.command} in a terminal first")
        return self.interactive and mode != "Never"

    def info(self) -> str:
        """The content of KUBERNETES_EXEC_INFO."""
        spec: dict[str, Any] = {"interactive": self.talks()}
        if self.spec.provide_cluster_info:
            spec["cluster"] = dict(self.cluster)
        return msgspec.json.encode({"apiVersion": self.spec.api_version, "kind": "ExecCredential", "spec": spec}).decode()

    def error(self, cause: str, *, hint: str | None = None) -> AuthError:
        """An error that names the plugin."""
        return AuthError(
            f"the credential plugin {self.spec.command} gave no credentials",
            code="credential-plugin-failed",
            cause=cause,
            hint=hint or f"kubectl --context {self.context} auth whoami    runs it as well",
        )


class ExecCredentials:
    """Credentials from a plugin, run when there are none yet, when they end, and once after a 401."""

    def __init__(
        self,
        plugin: Plugin,
        *,
        cache: PluginCache | None,
        base: Credential | None = None,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._plugin = plugin
        self._cache = cache
        self._base = base or Credential()
        self._now = now
        self._lock = threading.Lock()
        self._held: Kept | None = None
        self._failed: tuple[float, AuthError] | None = None
        self._read_cache = cache is not None

    def current(self, limit_s: float) -> Credential:
        """What the plugin gave last, if it still lasts; else what it gives now.

        Raises:
            AuthError: see the module.
        """
        with self._lock:
            if not self._lasts(self._held):
                self._held = self._cached()
            if not self._lasts(self._held):
                self._held = self._run_unless_it_just_failed(limit_s)
                if self._cache is not None and self._held.ends_at is not None:
                    self._cache.write(self._held)
            assert self._held is not None  # one of the two above
            return self._credential(self._held)

    def renewed(self, refused: Credential) -> bool:
        """Drop what was refused, here and in the cache, so that the plugin runs again."""
        with self._lock:
            if self._held is not None and self._credential(self._held) == refused:
                self._held = None
                self._read_cache = False
            return True

    def _run_unless_it_just_failed(self, limit_s: float) -> Kept:
        if self._failed is not None and time.monotonic() - self._failed[0] < BELIEVED_S:
            raise self._failed[1]
        try:
            return self._run(limit_s)
        except AuthError as error:
            self._failed = (time.monotonic(), error)
            raise

    def _lasts(self, kept: Kept | None) -> bool:
        return kept is not None and (kept.ends_at is None or kept.ends_at - EARLY_S > self._now())

    def _cached(self) -> Kept | None:
        return self._cache.read() if self._cache is not None and self._read_cache else None

    def _credential(self, kept: Kept) -> Credential:
        return dataclasses.replace(
            self._base,
            authorization=f"Bearer {kept.token}" if kept.token else self._base.authorization,
            certificate=kept.certificate.encode() if kept.certificate else self._base.certificate,
            key=kept.key.encode() if kept.key else self._base.key,
        )

    def _run(self, limit_s: float) -> Kept:
        plugin = self._plugin
        if plugin.spec.api_version not in VERSIONS:
            raise plugin.error(f"apiVersion {plugin.spec.api_version or '(none)'} is not known (known: {', '.join(VERSIONS)})")
        env = dict(plugin.env) | {each.name: each.value for each in plugin.spec.env or ()} | {"KUBERNETES_EXEC_INFO": plugin.info()}
        try:
            ended = run([plugin.command, *(plugin.spec.args or ())], env=env, talking=plugin.talks(), limit_s=min(LIMIT_S, limit_s))
        except FileNotFoundError:
            raise plugin.error(f"{plugin.command} was not found", hint=plugin.spec.install_hint.strip() or None) from None
        except OSError as error:
            raise plugin.error(f"{plugin.command} could not be started: {error.strerror}") from None
        return self._understood(ended)

    def _understood(self, ended: Ended) -> Kept:
        plugin = self._plugin
        if ended.code is None:
            raise plugin.error(f"it did not end within {ended.seconds:.0f} s and was stopped")
        if ended.code != 0:
            how = f"it ended with {ended.code}" if ended.code > 0 else f"it died of signal {-ended.code}"
            raise plugin.error(f"{how}: {ended.last_words}" if ended.last_words else how)
        try:
            told = decoding.decode(ended.output, _ExecCredential)
        except (msgspec.DecodeError, UnicodeDecodeError):
            # Not one byte of what it printed: half of it may be a token.
            raise plugin.error("what it printed is not an ExecCredential") from None
        if told.kind != "ExecCredential" or told.api_version != plugin.spec.api_version:
            raise plugin.error(
                f"it printed {told.kind or 'an object without kind'} of {told.api_version or 'no version'},"
                f" the kubeconfig asks for ExecCredential of {plugin.spec.api_version}"
            )
        status = told.status
        if status is None or not (status.token or status.client_certificate_data):
            raise plugin.error("it printed neither a token nor a certificate")
        if bool(status.client_certificate_data) != bool(status.client_key_data):
            raise plugin.error("it printed a certificate without its key, or a key without its certificate")
        ends = status.expiration_timestamp
        return Kept(
            token=status.token,
            certificate=status.client_certificate_data,
            key=status.client_key_data,
            ends_at=ends.timestamp() if ends is not None else None,
        )


def cluster_info(chosen: Chosen, authority: bytes | None) -> dict[str, Any]:
    """What a plugin may learn of the cluster: the ``spec.cluster`` of an ExecCredential."""
    cluster = chosen.cluster
    config = next((each.extension for each in cluster.extensions or () if each.name == CONFIG_EXTENSION), None)
    told = {
        "server": cluster.server,
        "tls-server-name": cluster.tls_server_name,
        "insecure-skip-tls-verify": cluster.insecure_skip_tls_verify,
        "certificate-authority-data": base64.b64encode(authority).decode() if authority else "",
        "proxy-url": cluster.proxy_url,
        "disable-compression": cluster.disable_compression,
        "config": config,
    }
    return {name: value for name, value in told.items() if value}
